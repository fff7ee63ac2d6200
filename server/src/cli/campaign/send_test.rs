//! `meridian campaign send-test`: every mail of a campaign sent to an address of ours at once, or every
//! text to a number of ours.

use std::fmt;

use activities::origin::Correspondent;
use activities::rehearsal::trial::{self, TrialResult, Tried};
use serde::Serialize;

use crate::cli::{Bench, lead};
use crate::config::LinkFlags;
use crate::terminal::Output;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SendTest {
    /// The campaign
    name: String,
    /// Where the mails go, or with a number such as +351912345678 the texts
    #[arg(long, value_name = "ADDRESS")]
    to: Correspondent,
    /// Fill them with the data of this lead, by its mail address, number or id; else with the first of
    /// the audience
    #[arg(long, value_name = "LEAD")]
    lead: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) links: LinkFlags,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Report {
    campaign: String,
    to: String,
    mails: Vec<Tried>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for tried in &self.mails {
            let name = match &tried.variant {
                Some(variant) => format!("{} ({variant})", tried.step),
                None => tried.step.to_string(),
            };
            match &tried.result {
                TrialResult::Sent { subject, parts } => {
                    write!(f, "{name}: sent to {}", self.to)?;
                    if let Some(subject) = subject {
                        write!(f, " as \"{subject}\"")?;
                    }
                    match parts {
                        Some(parts) => writeln!(f, " in {parts}")?,
                        None => writeln!(f)?,
                    }
                }
                TrialResult::Shown { subject, text, parts } => {
                    let about = match (subject, parts) {
                        (Some(subject), _) => subject.clone(),
                        (None, Some(parts)) => format!("a text of {parts}"),
                        (None, None) => String::new(),
                    };
                    writeln!(f, "{name}: {about}\n")?;
                    for line in text.lines() {
                        writeln!(f, "{}", format!("    {line}").trim_end())?;
                    }
                    writeln!(f)?;
                }
                TrialResult::NotMade { why } => writeln!(f, "{name}: cannot be made: {why}")?,
                TrialResult::NotSent { why } => writeln!(f, "{name}: was not sent: {why}")?,
            }
        }
        let shown = |tried: &Tried| matches!(tried.result, TrialResult::Shown { .. });
        if self.mails.iter().any(shown) {
            writeln!(
                f,
                "The campaign's sender keeps what it is given: this was printed, not sent."
            )?;
        }
        Ok(())
    }
}

/// Returns whether every mail could be made and sent.
pub(super) async fn run(command: SendTest, bench: Bench<'_>) -> anyhow::Result<bool> {
    let campaign = super::find(&bench, &command.name).await?;
    let session = bench.session;
    let lead = match &command.lead {
        Some(who) => Some(lead::find(session, who).await?),
        None => None,
    };
    let room = session.mailroom(bench.config)?;
    let mails = trial::run(&room, session.workspace, campaign.id, lead, &command.to).await??;
    let well = |tried: &Tried| {
        matches!(tried.result, TrialResult::Sent { .. } | TrialResult::Shown { .. })
    };
    let is_well = mails.iter().all(well);
    let report = Report { campaign: campaign.name, to: command.to.to_string(), mails };
    bench.terminal.show(command.output.format(), &report)?;
    Ok(is_well)
}
