//! `meridian campaign`: from a file to leads that move, and back to a standstill.

mod moving;
mod rehearse;
mod send_test;
mod show;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use activities::campaign_verb::{self, Ordered, Verb};
use activities::campaigns::apply::{self, Applied, Change, NotApplied};
use activities::campaigns::enroll::{self, Enrolled, NotEnrolled, Progress, Selection};
use activities::campaigns::start::{self, NotStarted};
use activities::campaigns::view;
use activities::campaigns::{self, Campaign, CampaignStatus};
use activities::import::Options;
use activities::rehearsal;
use activities::rehearsal::summary::{HeldLeads, Summary};
use activities::shell::word;
use activities::tag::Tag;
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use machine::document::CampaignDocument;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Bench;
use super::enrollment::order::Rule;
use super::lead::{self, Imported};
use crate::campaign_file::CampaignFile;
use crate::config::LinkFlags;
use crate::terminal::Output;
use crate::{timeline, times};

/// At how many leads a start looks before it begins.
const LOOKED_AT: usize = 200;

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
        #[arg(long, value_name = "TIME")]
        at: Option<DateTime<Utc>>,
        #[command(flatten)]
        output: Output,
    },
    /// Add leads to a campaign that was started
    Enroll(Enroll),
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
            | Self::List { .. }
            | Self::Show { .. } => None,
        }
    }
}

#[derive(Debug, clap::Args)]
#[group(id = "whom", required = true, multiple = false, args = ["tag", "file", "all"])]
pub(super) struct Enroll {
    /// The campaign
    name: String,
    /// Leads with this tag; with several, leads that have all of them
    #[arg(long)]
    tag: Vec<String>,
    /// The leads of this CSV file, which is imported first
    #[arg(long)]
    file: Option<PathBuf>,
    /// Every lead of the workspace
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Output,
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
        Command::Start { name, at, output } => start(name, at, output, bench).await?,
        Command::Enroll(command) => enroll(command, bench).await?,
        Command::Pause { name, output } => order(name, Verb::Pause, output, bench).await?,
        Command::Resume { name, rule, output } => {
            order(name, Verb::Resume(rule.into()), output, bench).await?;
        }
        Command::Stop { name, yes, output } => stop(name, yes, output, bench).await?,
        Command::Move(command) => moving::run(command, bench).await?,
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
    let faults = apply::faults(&file.document);
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
        let Applied { name, version, status, change, capture_made, unserved, nameless, .. } =
            &self.0;
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
        for sender in nameless {
            writeln!(
                f,
                "  the texts print `sender.name`, and `{sender}` has none: leads will be held; run"
            )?;
            writeln!(f, "    meridian sender add {sender} URL --from ADDRESS --from-name NAME")?;
        }
        Ok(())
    }
}

async fn apply(path: &Path, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let file = CampaignFile::read(path)?;
    let session = bench.session;
    match apply::apply(&session.store, session.workspace, &file.document, super::ACTOR).await? {
        Ok(applied) => bench.terminal.show(output.format(), &AppliedView(applied))?,
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
    match apply::duplicate(store, workspace, campaign.id, &new_name, super::ACTOR).await? {
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

/// Why leads are left out that other campaigns have to do with, as the end of a sentence.
const RECENTLY_CONTACTED: &str = "were written to by another campaign a short while ago";
const WITH_PERSON: &str = "are with a person, from another campaign";

#[derive(Serialize)]
struct EnrolledView {
    campaign: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    imported: Option<Imported>,
    #[serde(flatten)]
    enrolled: Enrolled,
}

impl fmt::Display for EnrolledView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Enrolled {
            added,
            already_in,
            no_address,
            filtered_out,
            recently_contacted,
            with_person,
            unknown,
        } = self.enrolled;
        if let Some(imported) = &self.imported {
            write!(f, "{imported}")?;
        }
        let leads = if added == 1 { "lead" } else { "leads" };
        writeln!(f, "{added} {leads} entered `{}`", self.campaign)?;
        for (number, what) in [
            (already_in, "were in it before"),
            (no_address, "have no address to write to"),
            (filtered_out, "do not pass the campaign's filter"),
            (recently_contacted, RECENTLY_CONTACTED),
            (with_person, WITH_PERSON),
            (unknown, "are not there"),
        ] {
            if number > 0 {
                writeln!(f, "  {number} {what}")?;
            }
        }
        Ok(())
    }
}

async fn start(
    name: String,
    at: Option<DateTime<Utc>>,
    output: Output,
    mut bench: Bench<'_>,
) -> anyhow::Result<()> {
    let campaign = find(&bench, &name).await?;
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    match campaign.status {
        CampaignStatus::Draft => warn_of_held(&campaign, &mut bench).await?,
        CampaignStatus::Active
        | CampaignStatus::Paused
        | CampaignStatus::Stopped
        | CampaignStatus::Finished => {}
    }
    if let Some(at) = at {
        let when = start::When::At(at);
        let refused = start::order(store, workspace, campaign.id, when, super::ACTOR).await?.err();
        return match refused {
            None => planned(name, at, output, bench),
            Some(NotStarted::Passed { now }) => {
                bail!(
                    "{} has passed: it is {}; to start now, leave --at out",
                    times::utc(at),
                    times::utc(now)
                )
            }
            Some(NotStarted::TooFar { latest }) => {
                bail!("{} is too far ahead: at most {}", times::utc(at), times::utc(latest))
            }
            Some(NotStarted::Begun(status)) => {
                bail!("campaign `{name}` is {status}: only a draft can start later")
            }
            Some(NotStarted::Paused) => Err(NotEnrolled::Paused(name).into()),
            Some(NotStarted::Stopped) => Err(NotEnrolled::Stopped(name).into()),
        };
    }
    let bar = bench.terminal.progress("enrolling", 0);
    let mut progress = |progress: Progress<'_>| {
        bar.set_length(progress.total);
        bar.set_position(progress.seen);
    };
    let done = start::at_once(store, workspace, campaign.id, super::ACTOR, &mut progress).await;
    bar.finish_and_clear();
    entered(name, None, done?, output, bench)
}

/// Warns if nobody would get anything because something is missing. Looks at the first leads only.
async fn warn_of_held(campaign: &Campaign, bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let room = session.mailroom(bench.config)?;
    let (workspace, audience) = (session.workspace, Selection::Audience);
    let done = rehearsal::run(&room, workspace, campaign.id, &audience, LOOKED_AT).await?;
    let looked_at = done.courses.len();
    let held = Summary::of(&done.courses, campaign.settings.zone);
    if looked_at == 0 || held.reached > 0 {
        return Ok(());
    }
    for HeldLeads { step, missing, leads, example } in held.held {
        let (why, example) = (timeline::lacks(&missing), example.unwrap_or_else(|| "-".to_owned()));
        bench.terminal.remark(format_args!(
            "warning: {leads} of the first {looked_at} leads will be held at `{step}`: {why} (for \
             example {example})"
        ))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct PlannedView {
    campaign: String,
    start_at: DateTime<Utc>,
}

impl fmt::Display for PlannedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = times::utc(self.start_at);
        writeln!(f, "campaign `{}` starts {at}, where the engine runs then", self.campaign)?;
        writeln!(f, "  cancel it:  meridian campaign pause {}", word(&self.campaign))
    }
}

fn planned(
    campaign: String,
    start_at: DateTime<Utc>,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    bench.terminal.show(output.format(), &PlannedView { campaign, start_at })?;
    Ok(())
}

async fn enroll(command: Enroll, bench: Bench<'_>) -> anyhow::Result<()> {
    let Enroll { name, tag, file, all: _, output } = command;
    let campaign = find(&bench, &name).await?;
    let (imported, tags) = match file {
        Some(file) => {
            let (imported, tag) = match import_as(&file, &bench).await {
                Ok(done) => done,
                Err(error) => return Err(lead::tell_before(error, &file, output, bench.terminal)?),
            };
            (Some(imported), vec![tag])
        }
        // Without a tag it is everybody.
        None => (None, tag),
    };
    let selection = Selection::Matching { tags, filter: None };
    let session = bench.session;
    let bar = bench.terminal.progress("enrolling", 0);
    let mut progress = |progress: Progress<'_>| {
        bar.set_length(progress.total);
        bar.set_position(progress.seen);
    };
    let (store, workspace) = (&session.store, session.workspace);
    let actor = super::ACTOR;
    let done =
        enroll::enroll(store, workspace, campaign.id, &selection, actor, &mut progress).await;
    bar.finish_and_clear();
    entered(name, imported, done?, output, bench)
}

/// Imports a file under a tag of its own, made of its content: the same file always gets the same
/// one. Returns what the import said, and the tag.
async fn import_as(path: &Path, bench: &Bench<'_>) -> anyhow::Result<(Imported, String)> {
    let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let tag = format!("file-{}", hex::encode(&Sha256::digest(&content)[..4]));
    let tags = vec![tag.parse::<Tag>()?];
    let bar = bench.terminal.progress("importing", 0);
    let options = Options { tags, ..Options::default() };
    let imported = lead::import_file(bench.session, path, options, &bar).await;
    bar.finish_and_clear();
    Ok((imported?, tag))
}

fn entered(
    campaign: String,
    imported: Option<Imported>,
    done: Result<Enrolled, NotEnrolled>,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let view = EnrolledView { campaign, imported, enrolled: done? };
    bench.terminal.show(output.format(), &view)?;
    Ok(())
}

#[derive(Serialize)]
struct OrderedView {
    campaign: String,
    status: &'static str,
    changed: bool,
    /// Leads for which it was not over.
    live: i64,
}

impl fmt::Display for OrderedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let already = if self.changed { "" } else { " already" };
        write!(f, "campaign `{}` is {}{already}", self.campaign, self.status)?;
        if self.changed && self.live > 0 {
            let hear = if self.live == 1 { "hears" } else { "hear" };
            write!(f, "; {} in it {hear} of it now", leads(self.live))?;
        }
        Ok(())
    }
}

fn leads(count: i64) -> String {
    if count == 1 { "1 live lead".to_owned() } else { format!("{count} live leads") }
}

async fn stop(name: String, yes: bool, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    if !yes && !bench.terminal.is_interactive() {
        bail!(
            "a campaign that is stopped cannot be resumed: add --yes to end `{name}` for good, or \
             run `meridian campaign pause {}`",
            word(&name)
        );
    }
    if !yes {
        let live = live(&bench, &find(&bench, &name).await?).await?;
        let question = format!("End `{name}` for good, with {}? [y/N] ", leads(live));
        if !bench.terminal.confirms(&question)? {
            bail!(
                "nothing was changed; to let it rest, run `meridian campaign pause {}`",
                word(&name)
            );
        }
    }
    order(name, Verb::Stop, output, bench).await
}

/// Returns for how many leads a campaign is not over.
async fn live(bench: &Bench<'_>, campaign: &Campaign) -> anyhow::Result<i64> {
    let session = bench.session;
    let detail = view::read(&session.store, session.workspace, campaign.id).await?;
    Ok(detail.overview.live)
}

async fn order(name: String, verb: Verb, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let campaign = find(&bench, &name).await?;
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    let status = match verb {
        Verb::Pause => CampaignStatus::Paused,
        Verb::Resume(_) => CampaignStatus::Active,
        Verb::Stop => CampaignStatus::Stopped,
    };
    let live = live(&bench, &campaign).await?;
    let ordered = campaign_verb::order(store, workspace, campaign.id, verb, super::ACTOR).await?;
    let (status, changed) = match ordered {
        Ordered::Done => (status, true),
        Ordered::Already => (status, false),
        // The start that was to come was cancelled.
        Ordered::StartCancelled => (CampaignStatus::Draft, true),
        Ordered::NotWhile(now) if now == CampaignStatus::Draft.as_str() => match verb {
            Verb::Stop => bail!(
                "campaign `{name}` is a draft, so there is nothing to stop: leave it as it is, or \
                 apply another file under its name"
            ),
            Verb::Pause | Verb::Resume(_) => bail!(
                "campaign `{name}` is a draft, so it cannot be {status}: run `meridian campaign \
                 start {}`",
                word(&name)
            ),
        },
        Ordered::NotWhile(now) => {
            bail!("campaign `{name}` is {now}, so it cannot be {status}")
        }
    };
    let view = OrderedView { campaign: name, status: status.as_str(), changed, live };
    bench.terminal.show(output.format(), &view)?;
    Ok(())
}
