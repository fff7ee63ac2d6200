//! `meridian campaign`: from a file to leads that move, and back to a standstill.

mod moving;
mod order;
mod rehearse;
mod retry;
mod send_test;
pub(super) mod show;
mod start;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use activities::campaign_verb::Verb;
use activities::campaigns::apply::{self, Applied, Change, NotApplied};
use activities::campaigns::check;
use activities::campaigns::enroll::Selection;
use activities::campaigns::{self, Campaign, CampaignStatus};
use activities::shell::word;
use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use machine::document::CampaignDocument;
use serde::Serialize;

use super::enrollment::order::Rule;
use super::{ACTOR, Bench};
use crate::campaign_file::CampaignFile;
use crate::config::LinkFlags;
use crate::terminal::Output;
use crate::times;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a campaign file and store it: a new draft, or a new version of the campaign
    Apply {
        /// The file, in YAML; `meridian schema` describes it
        file: PathBuf,
        /// Only say what is wrong with it
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Make a new draft from the newest version of a campaign
    Duplicate {
        /// The campaign
        name: String,
        /// The name of the draft
        new_name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Tell whom it would write to and when, on the real calendar, if nobody answered
    Rehearse(rehearse::Rehearse),
    /// Send every mail of a campaign to an address of yours, at once
    SendTest(send_test::SendTest),
    /// Make a draft active and enroll its audience, now or at a time
    Start {
        /// The campaign
        name: String,
        /// When, as in 2026-03-02T09:00:00+01:00; the engine does it then
        #[arg(long, value_name = "TIME", value_parser = times::read)]
        at: Option<DateTime<Utc>>,
        #[command(flatten)]
        output: Output,
    },
    /// Add leads to a campaign that was started
    Enroll(start::Enroll),
    /// Let nothing leave until it is resumed; a start that was to come is cancelled
    Pause {
        /// The campaign
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Let a paused campaign go on
    Resume {
        /// The campaign
        name: String,
        /// What becomes of the waits that were interrupted
        #[arg(long, value_name = "keep|shift|restart")]
        rule: Rule,
        #[command(flatten)]
        output: Output,
    },
    /// End a campaign for good: every live lead ends as stopped
    Stop {
        /// The campaign
        name: String,
        /// Do not ask whether it is meant
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Move every live lead to another version of the campaign
    Move(moving::Move),
    /// Try again every lead of a campaign that failed, from the step that failed
    Retry(retry::Retry),
    /// List the campaigns
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show a campaign: its steps, its leads, its numbers
    Show {
        /// The campaign
        name: String,
        /// Print its newest version as a campaign file
        #[arg(long, conflicts_with = "json")]
        file: bool,
        #[command(flatten)]
        output: Output,
    },
}

impl Command {
    /// Returns what was said of links, by a command that makes some.
    pub(super) fn links(&self) -> Option<&LinkFlags> {
        match self {
            Self::SendTest(command) => Some(&command.links),
            Self::Apply { .. }
            | Self::Duplicate { .. }
            | Self::Rehearse(_)
            | Self::Start { .. }
            | Self::Enroll(_)
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Stop { .. }
            | Self::Move(_)
            | Self::Retry(_)
            | Self::List { .. }
            | Self::Show { .. } => None,
        }
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Apply { file, check: true, output } => check(&file, output, bench)?,
        Command::Apply { file, check: false, output } => apply(&file, output, bench).await?,
        Command::Duplicate { name, new_name, output } => {
            duplicate(&name, new_name, output, bench).await?;
        }
        Command::Rehearse(command) => rehearse::run(command, bench).await?,
        Command::SendTest(command) => {
            let is_well = send_test::run(command, bench).await?;
            return Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Start { name, at, output } => start::run(name, at, output, bench).await?,
        Command::Enroll(command) => start::enroll(command, bench).await?,
        Command::Pause { name, output } => order::run(name, Verb::Pause, output, bench).await?,
        Command::Resume { name, rule, output } => {
            order::run(name, Verb::Resume(rule.into()), output, bench).await?;
        }
        Command::Stop { name, yes, output } => order::stop(name, yes, output, bench).await?,
        Command::Move(command) => moving::run(command, bench).await?,
        Command::Retry(command) => retry::run(command, bench).await?,
        Command::List { output } => show::list(output, bench).await?,
        Command::Show { name, file: true, output: _ } => show::file(&name, bench).await?,
        Command::Show { name, file: false, output } => show::one(&name, output, bench).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the campaign of this name.
///
/// # Errors
///
/// When there is none, with what to do.
pub(super) async fn find(bench: &Bench<'_>, name: &str) -> anyhow::Result<Campaign> {
    let session = bench.session;
    match campaigns::by_name(&session.store, session.workspace, name).await? {
        Some(campaign) => Ok(campaign),
        None => bail!("there is no campaign `{name}`: run `meridian campaign list`"),
    }
}

/// Returns the newest version of a campaign as its author wrote it.
pub(super) async fn document(
    bench: &Bench<'_>,
    campaign: &Campaign,
) -> anyhow::Result<CampaignDocument> {
    let session = bench.session;
    let mut tx = session.store.begin(session.workspace).await?;
    let (sequence, version) = (campaign.sequence, campaign.version);
    Ok(campaigns::document(&mut tx, session.workspace, sequence, version).await?)
}

#[derive(Serialize)]
struct Checked {
    name: String,
    steps: usize,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "campaign `{}` is sound: {} steps", self.name, self.steps)
    }
}

fn check(file: &Path, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let file = CampaignFile::read(file)?;
    let faults = check::faults(&file.document);
    if !faults.is_empty() {
        return Err(file.faulty(&faults).into());
    }
    let mut steps = 0;
    campaigns::compile(&file.document)?.each_step(&mut |_| steps += 1);
    let checked = Checked { name: file.document.name, steps };
    bench.terminal.show(output.format(), &checked)?;
    Ok(())
}

#[derive(Serialize)]
struct AppliedView(Applied);

impl fmt::Display for AppliedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Applied { name, version, status, change, capture_made, unserved, .. } = &self.0;
        match change {
            Change::Created => {
                writeln!(f, "campaign `{name}` is a draft, version {version}")?;
                let name = word(name);
                writeln!(f, "  look ahead:  meridian campaign rehearse {name}")?;
                writeln!(f, "  start it:    meridian campaign start {name}")?;
            }
            Change::Published => {
                writeln!(f, "campaign `{name}` has a new version, {version}")?;
                match status {
                    CampaignStatus::Draft => {}
                    CampaignStatus::Active
                    | CampaignStatus::Paused
                    | CampaignStatus::Stopped
                    | CampaignStatus::Finished => {
                        writeln!(f, "  leads in it go on with the version they began on")?;
                        writeln!(
                            f,
                            "  move them:  meridian campaign move {} --dry-run",
                            word(name)
                        )?;
                        writeln!(f, "  leads that enter from now on get version {version}")?;
                        writeln!(f, "  senders, caps and handover addresses count at once")?;
                    }
                }
            }
            Change::Settings => {
                writeln!(f, "campaign `{name}` stays at version {version}; its senders changed")?;
            }
            Change::Nothing => {
                writeln!(f, "campaign `{name}` is so already, version {version}")?;
            }
        }
        if *capture_made {
            writeln!(f, "  no sender was set up, so every mail is kept here: sender `capture`")?;
        }
        for key in unserved {
            writeln!(f, "  no sender serves step `{key}`: leads will be held there")?;
        }
        for sender in &self.0.deaf {
            writeln!(
                f,
                "  the steps heed clicks, and Mailgun tells of none that `{sender}` sends; run"
            )?;
            writeln!(
                f,
                "    meridian sender add {} 'mailgun://DOMAIN@HOST?tracking=clicks' --from ADDRESS",
                word(sender)
            )?;
        }
        for sender in &self.0.nameless {
            writeln!(
                f,
                "  the texts print `sender.name`, and `{sender}` has none: leads will be held; run"
            )?;
            let sender = word(sender);
            writeln!(f, "    meridian sender add {sender} URL --from ADDRESS --from-name NAME")?;
        }
        Ok(())
    }
}

async fn apply(path: &Path, output: Output, mut bench: Bench<'_>) -> anyhow::Result<()> {
    let file = CampaignFile::read(path)?;
    let session = bench.session;
    match apply::apply(&session.store, session.workspace, &file.document, &ACTOR).await? {
        Ok(applied) => {
            let is_told = !applied.unserved.is_empty() || !applied.nameless.is_empty();
            let (status, name) = (applied.status, applied.name.clone());
            bench.terminal.show(output.format(), &AppliedView(applied))?;
            if status == CampaignStatus::Draft && !is_told {
                let campaign = find(&bench, &name).await?;
                start::warn_of_held(&campaign, &Selection::Audience, &mut bench).await?;
            }
        }
        Err(faults) => return Err(file.faulty(&faults).into()),
    }
    Ok(())
}

async fn duplicate(
    name: &str,
    new_name: String,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let campaign = find(&bench, name).await?;
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    match apply::duplicate(store, workspace, campaign.id, &new_name, &ACTOR).await? {
        Ok(applied) => bench.terminal.show(output.format(), &AppliedView(applied))?,
        Err(NotApplied::NameTaken { name, .. }) => {
            bail!("there is a campaign `{name}` already: choose another name");
        }
        Err(NotApplied::Faulty(faults)) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            bail!("the draft would not be sound: {}", faults.join("; "));
        }
        Err(NotApplied::NotADraft(_) | NotApplied::Changed { .. }) => {
            bail!("somebody else made it meanwhile: try again");
        }
    }
    Ok(())
}
