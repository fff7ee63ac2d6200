//! `meridian campaign move`: every live lead to another version, or only who would be affected.

use std::collections::HashMap;
use std::fmt;

use activities::campaigns::Campaign;
use activities::store::lead_views::{self, LeadView};
use activities::version_move::{self, Effect, Preview};
use chrono_tz::Tz;
use machine::ids::LeadId;
use serde::Serialize;

use crate::cli::{ACTOR, Bench};
use crate::tables::{Column, Table};
use crate::terminal::Output;
use crate::times;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Move {
    /// The campaign
    name: String,
    /// The version; the newest where it is left out
    #[arg(long)]
    to_version: Option<i32>,
    /// Only tell who would be affected
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Ordered {
    campaign: String,
    to_version: i32,
}

impl fmt::Display for Ordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { campaign, to_version } = self;
        writeln!(
            f,
            "the leads of `{campaign}` go on with version {to_version}; the engine moves them"
        )
    }
}

#[derive(Serialize)]
struct Foreseen {
    campaign: String,
    to_version: i32,
    looked_at: u64,
    complete: bool,
    effects: Vec<(Effect, u64)>,
    repeats: u64,
    examples: Vec<Example>,
    #[serde(skip)]
    zone: Tz,
}

#[derive(Serialize)]
struct Example {
    #[serde(flatten)]
    affected: version_move::Affected,
    email: Option<String>,
}

impl Foreseen {
    fn of(campaign: Campaign, preview: Preview, leads: Vec<LeadView>) -> Self {
        let Preview { to, looked_at, complete, effects, repeats, examples } = preview;
        let effects = effects.into_iter().collect();
        let mut emails: HashMap<LeadId, String> = leads
            .into_iter()
            .filter_map(|lead| Some((lead.lead_id.into(), lead.emails.into_iter().next()?)))
            .collect();
        let examples = examples.into_iter().map(|affected| {
            let email = emails.remove(&affected.lead);
            Example { affected, email }
        });
        Self {
            zone: campaign.settings.zone,
            campaign: campaign.name,
            to_version: to,
            looked_at,
            complete,
            effects,
            repeats,
            examples: examples.collect(),
        }
    }
}

impl fmt::Display for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = if self.complete { "" } else { "the first " };
        let Self { campaign, to_version, looked_at, repeats, .. } = self;
        let leads = if *looked_at == 1 { "live lead" } else { "live leads" };
        writeln!(f, "to version {to_version}, of {first}{looked_at} {leads} of `{campaign}`:")?;
        for (effect, n) in &self.effects {
            writeln!(f, "  {n} {}", in_words(*effect))?;
        }
        writeln!(f, "  {repeats} would get a step again that they have done")?;
        if self.examples.is_empty() {
            return Ok(());
        }
        let columns = [Column::Text("lead"), Column::Text("now"), Column::Text("then")];
        let mut table = Table::new(&columns, "");
        for Example { affected, email } in &self.examples {
            let told = |step: &Option<_>, at: Option<_>| match (step, at) {
                (Some(step), Some(at)) => format!("`{step}` {}", times::short(self.zone, at)),
                (Some(step), None) => format!("`{step}`"),
                (None, _) => "the end".to_owned(),
            };
            table.row([
                email.clone().unwrap_or_else(|| affected.lead.to_string()),
                told(&affected.next_step, affected.next_at),
                told(&affected.then_step, affected.then_at),
            ]);
        }
        write!(f, "\n{table}\ntimes are those of {}\n", self.zone)
    }
}

fn in_words(effect: Effect) -> &'static str {
    match effect {
        Effect::Unaffected => "are not affected",
        Effect::Retimed => "get the same step at another time",
        Effect::OnRemovedStep => {
            "are at a step that it does not have, and go on with the one after"
        }
        Effect::OtherStep => "get another step first",
        Effect::Ends => "have nothing left to do",
        Effect::WithPerson => "are with a person, and run it once they are given back",
        Effect::Already => "run it already",
    }
}

pub(super) async fn run(command: Move, bench: Bench<'_>) -> anyhow::Result<()> {
    let campaign = super::find(&bench, &command.name).await?;
    let session = bench.session;
    let (store, workspace, to) = (&session.store, session.workspace, command.to_version);
    let format = command.output.format();
    if command.dry_run {
        let versions = activities::versions::Versions::default();
        let preview = version_move::preview(store, &versions, workspace, campaign.id, to);
        let preview = preview.await??;
        let leads: Vec<LeadId> = preview.examples.iter().map(|affected| affected.lead).collect();
        let mut tx = store.begin(workspace).await?;
        let leads = lead_views::by_ids(&mut tx, workspace, &leads).await?;
        tx.commit().await?;
        bench.terminal.show(format, &Foreseen::of(campaign, preview, leads))?;
        return Ok(());
    }
    let to_version = version_move::order(store, workspace, campaign.id, to, &ACTOR).await??;
    bench.terminal.show(format, &Ordered { campaign: campaign.name, to_version })?;
    Ok(())
}
