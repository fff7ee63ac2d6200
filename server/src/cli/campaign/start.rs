//! How leads get into a campaign: its start, and those who are added later.

use std::fmt;
use std::path::{Path, PathBuf};

use activities::campaigns::enroll::{self, Enrolled, NotEnrolled, Progress, Selection};
use activities::campaigns::start::{self, NotStarted};
use activities::campaigns::{Campaign, CampaignStatus};
use activities::import::Options;
use activities::rehearsal;
use activities::rehearsal::summary::{HeldLeads, Summary};
use activities::shell::word;
use activities::suppression_key::SuppressionKey;
use activities::tag::Tag;
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::find;
use crate::cli::lead::{self, Imported, Which};
use crate::cli::{ACTOR, Bench};
use crate::terminal::Output;
use crate::{timeline, times};

/// At how many leads is looked to tell who will be held.
const LOOKED_AT: usize = 200;

#[derive(Debug, clap::Args)]
#[command(
    override_usage = "meridian campaign enroll [OPTIONS] <NAME> <--tag <TAG>|--file <FILE>|--all|--stage <STAGE>|...>"
)]
#[group(id = "whom", required = true, multiple = true, args = WHOM)]
pub(in crate::cli) struct Enroll {
    /// The campaign
    name: String,
    /// Leads with this tag; with several, leads that have all of them
    #[arg(long)]
    tag: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// The leads of this CSV file, which is imported first
    #[arg(long, conflicts_with_all = ["tag", "Which"])]
    file: Option<PathBuf>,
    /// Every lead of the workspace
    #[arg(long, conflicts_with_all = ["tag", "Which", "file"])]
    all: bool,
    #[command(flatten)]
    output: Output,
}

/// What says whom to enroll.
const WHOM: [&str; 12] = [
    "tag",
    "state",
    "stage",
    "source",
    "has_email",
    "country",
    "tier",
    "score_min",
    "text",
    "since",
    "file",
    "all",
];

/// Why leads are left out that other campaigns have to do with, as the end of a sentence.
pub(super) const RECENTLY_CONTACTED: &str = "were written to by another campaign a short while ago";
pub(super) const WITH_PERSON: &str = "are with a person, from another campaign";

#[derive(Serialize)]
struct EnrolledView {
    campaign: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    imported: Option<Imported>,
    #[serde(flatten)]
    enrolled: Enrolled,
    /// Leads of the campaign that leave it unwritten, because an address is suppressed.
    suppressed: u64,
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
        match self.suppressed {
            0 => {}
            1 => writeln!(f, "  1 lead in it is suppressed and will not be written to")?,
            n => writeln!(f, "  {n} leads in it are suppressed and will not be written to")?,
        }
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

pub(super) async fn run(
    name: String,
    at: Option<DateTime<Utc>>,
    output: Output,
    mut bench: Bench<'_>,
) -> anyhow::Result<()> {
    let campaign = find(&bench, &name).await?;
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    match campaign.status {
        CampaignStatus::Draft => {
            warn_of_held(&campaign, &Selection::Audience, &mut bench).await?;
        }
        CampaignStatus::Active
        | CampaignStatus::Paused
        | CampaignStatus::Stopped
        | CampaignStatus::Finished => {}
    }
    if let Some(at) = at {
        let when = start::When::At(at);
        let refused = start::order(store, workspace, campaign.id, when, &ACTOR).await?.err();
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
    let done = start::at_once(store, workspace, campaign.id, &ACTOR, &mut progress).await;
    bar.finish_and_clear();
    entered(&campaign, None, done?, output, &mut bench).await
}

/// Warns of leads that will be held because something is missing. Looks at the first leads only.
pub(super) async fn warn_of_held(
    campaign: &Campaign,
    selection: &Selection,
    bench: &mut Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let room = session.mailroom(bench.config)?;
    let workspace = session.workspace;
    let done = rehearsal::run(&room, workspace, campaign.id, selection, LOOKED_AT).await?;
    let looked_at = done.courses.len();
    let among = if looked_at < LOOKED_AT { "" } else { "first " };
    for HeldLeads { step, missing, leads, example } in
        Summary::of(&done.courses, campaign.settings.zone).held
    {
        let (why, example) = (timeline::lacks(&missing), example.unwrap_or_else(|| "-".to_owned()));
        bench.terminal.remark(format_args!(
            "warning: {leads} of the {among}{looked_at} leads will be held at `{step}`: {why} (for \
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

pub(super) async fn enroll(command: Enroll, mut bench: Bench<'_>) -> anyhow::Result<()> {
    let Enroll { name, tag, which, file, all: _, output } = command;
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
    let selection = if which == Which::default() {
        Selection::Matching { tags, filter: None }
    } else {
        let tags = tags.iter().map(|tag| tag.parse()).collect::<Result<Vec<Tag>, _>>()?;
        let mut tags = tags.into_iter();
        let search = Box::new(which.query(tags.next()));
        Selection::Found { search, tags: tags.collect(), filter: None }
    };
    let session = bench.session;
    let bar = bench.terminal.progress("enrolling", 0);
    let mut new = Vec::new();
    let mut progress = |progress: Progress<'_>| {
        bar.set_length(progress.total);
        bar.set_position(progress.seen);
        let looked_at = progress.entered.iter().take(LOOKED_AT - new.len());
        new.extend(looked_at.map(|(lead, _)| *lead));
    };
    let (store, workspace) = (&session.store, session.workspace);
    let done =
        enroll::enroll(store, workspace, campaign.id, &selection, &ACTOR, &mut progress).await;
    bar.finish_and_clear();
    entered(&campaign, imported, done?, output, &mut bench).await?;
    if !new.is_empty()
        && let Err(error) = warn_of_held(&campaign, &Selection::Leads(new), &mut bench).await
    {
        // They are in the campaign all the same.
        bench.terminal.remark(format_args!(
            "warning: whether some of them will be held could not be told: {error:#}"
        ))?;
    }
    Ok(())
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

async fn entered(
    campaign: &Campaign,
    imported: Option<Imported>,
    done: Result<Enrolled, NotEnrolled>,
    output: Output,
    bench: &mut Bench<'_>,
) -> anyhow::Result<()> {
    let enrolled = done?;
    let session = bench.session;
    let key = SuppressionKey::new(&session.keys);
    let suppressed =
        enroll::suppressed(&session.store, &key, session.workspace, campaign.id).await?;
    let view = EnrolledView { campaign: campaign.name.clone(), imported, enrolled, suppressed };
    bench.terminal.show(output.format(), &view)?;
    Ok(())
}
