//! `meridian campaign retry`: every lead that failed goes on, or only how many there are.

use std::fmt;

use activities::{ids, retries};
use serde::Serialize;

use super::find;
use crate::cli::{ACTOR, Bench};
use crate::terminal::Output;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Retry {
    /// The campaign
    name: String,
    /// Only tell how many would be tried again
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Retried {
    campaign: String,
    ordered: bool,
    leads: u64,
}

impl fmt::Display for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { campaign, ordered, leads } = self;
        match (*leads, ordered) {
            (0, _) => write!(f, "no lead of `{campaign}` failed"),
            (1, true) => write!(f, "1 lead of `{campaign}` goes on from the step that failed"),
            (n, true) => write!(f, "{n} leads of `{campaign}` go on from the step that failed"),
            (1, false) => write!(f, "1 lead of `{campaign}` failed and would be tried again"),
            (n, false) => write!(f, "{n} leads of `{campaign}` failed and would be tried again"),
        }
    }
}

pub(super) async fn run(command: Retry, bench: Bench<'_>) -> anyhow::Result<()> {
    let campaign = find(&bench, &command.name).await?;
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    let leads = if command.dry_run {
        retries::count(store, workspace, campaign.id).await??
    } else {
        // What tells this order from every other.
        let key = format!("cli/{}", ids::new::<machine::ids::Send>());
        retries::order(store, workspace, campaign.id, &key, &ACTOR).await??
    };
    let retried = Retried { campaign: campaign.name, ordered: !command.dry_run, leads };
    bench.terminal.show(command.output.format(), &retried)?;
    Ok(())
}
