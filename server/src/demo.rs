//! The demonstration: the example campaign on a clock that runs thousands of times as fast, with
//! recipients that answer. It has a data directory, and so a database, of its own, because the clock
//! it turns is that of everything in a database.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use activities::api_keys::{self, Role};
use activities::campaigns::{self, Campaign, CampaignStatus, apply, start};
use activities::import::{self, Options};
use activities::senders::{self, NewSender, Transport};
use activities::store::campaigns::Counter;
use activities::store::clock;
use activities::store::enrollment_views::{self, EnrollmentRow};
use activities::suppression_key::SuppressionKey;
use anyhow::{Context as _, bail};
use chrono::{DateTime, Datelike, Days, TimeDelta, Utc, Weekday};
use machine::explain::Shown;

use crate::campaign_file::CampaignFile;
use crate::config::{Config, Database, KeySource};
use crate::session::Session;
use crate::times;

/// The campaign that is shown.
pub const CAMPAIGN: &str = "hotel-outreach";

/// Under which name its acts are recorded.
const ACTOR: &str = "demo";

/// What the key of the demonstration is called.
const KEY_NAME: &str = "demonstration";

/// The file with the header that a program sends.
const HEADER_FILE: &str = "authorization";

/// Campaign seconds in a second: the days that are shown take seven minutes.
const FACTOR: f64 = 5_000.0;

/// How long it is shown, in campaign days.
const DAYS: i64 = 24;

/// Says that a demonstration came to its end, so that the next one begins anew.
const OVER: &str = "demonstration-is-over";

const CAMPAIGN_FILE: &str = include_str!("../../examples/hotel-outreach.yaml");
const LEADS_FILE: &[u8] = include_bytes!("../../examples/hotels.csv");
const SCRIPT_FILE: &str = include_str!("../../examples/recipients.yaml");

/// Turns a configuration into that of the demonstration.
///
/// # Errors
///
/// When a database is named, or an earlier demonstration cannot be cleared away.
pub fn configure(config: Config) -> anyhow::Result<Config> {
    if config.database != Database::Private {
        bail!(
            "the demonstration turns the clock, so it runs on a private database of its own: unset \
             DATABASE_URL"
        );
    }
    let dir = config.data_dir.join("demo");
    if dir.join(OVER).exists() {
        std::fs::remove_dir_all(&dir)
            .with_context(|| format!("cannot clear {} away", dir.display()))?;
    }
    // Commands that look at the demonstration name its directory, and find the key there.
    let keys = match config.keys {
        KeySource::File(path) if path == config.data_dir.join("key") => {
            KeySource::File(dir.join("key"))
        }
        other => other,
    };
    Ok(Config { data_dir: dir, workspace: "default".to_owned(), keys, ..config })
}

/// Sets the stage: senders, leads, the campaign, and the clock shortly before a working week.
/// One that was interrupted goes on where it was.
///
/// # Errors
///
/// When the database fails or the examples are not sound.
pub async fn set_stage(session: &Session, dir: &Path) -> anyhow::Result<()> {
    let (store, workspace) = (&session.store, session.workspace);
    let before = campaigns::by_name(store, workspace, CAMPAIGN).await?;
    if before.is_some_and(|campaign| campaign.status != CampaignStatus::Draft) {
        return Ok(());
    }
    let mut tx = store.begin_outside().await?;
    let now = clock::read(&mut tx).await?.campaign;
    clock::advance_to(&mut tx, week_begins(now)).await?;
    tx.commit().await?;

    let script = dir.join("recipients.yaml");
    std::fs::write(&script, SCRIPT_FILE)
        .with_context(|| format!("cannot write {}", script.display()))?;
    for (name, address, person) in
        [("ada", "ada@harbour.example", "Ada Winter"), ("ben", "ben@harbour.example", "Ben Okafor")]
    {
        let new = sender(name, address, person, &script)?;
        senders::add(store, workspace, &session.keys, &new, ACTOR).await?;
    }
    let options = Options {
        source: "import/hotels.csv".to_owned(),
        actor: ACTOR.to_owned(),
        ..Options::default()
    };
    let key = SuppressionKey::new(&session.keys);
    import::leads(store, &key, workspace, Cursor::new(LEADS_FILE), &options, |_| {}).await?;
    let file = CampaignFile::parse(Path::new("examples/hotel-outreach.yaml"), CAMPAIGN_FILE)?;
    if let Err(faults) = apply::apply(store, workspace, &file.document, ACTOR).await? {
        return Err(file.faulty(&faults).into());
    }
    Ok(())
}

/// Turns the clock back to where an earlier run was interrupted: it ran on meanwhile. Before anything works by
/// it.
///
/// # Errors
///
/// When the database fails.
pub async fn take_up(session: &Session) -> anyhow::Result<()> {
    let (store, workspace) = (&session.store, session.workspace);
    let Some(campaign) = campaigns::by_name(store, workspace, CAMPAIGN).await? else {
        return Ok(());
    };
    let mut tx = store.begin(workspace).await?;
    let latest = enrollment_views::latest(&mut tx, workspace, campaign.id, 1).await?;
    tx.commit().await?;
    let Some(latest) = latest.first() else { return Ok(()) };
    let mut tx = store.begin_outside().await?;
    clock::go_on_at(&mut tx, latest.changed_at).await?;
    tx.commit().await?;
    Ok(())
}

/// Lets the clock run, and the campaign with it, unless somebody paused or stopped it before an
/// interruption. Returns the campaign.
///
/// # Errors
///
/// When the database fails or the campaign cannot be started.
pub async fn begin(session: &Session) -> anyhow::Result<Campaign> {
    run_clock(session).await?;
    let (store, workspace) = (&session.store, session.workspace);
    let campaign = shown(session).await?;
    match campaign.status {
        CampaignStatus::Draft | CampaignStatus::Active | CampaignStatus::Finished => {
            start::at_once(store, workspace, campaign.id, ACTOR, &mut |_| {}).await??;
        }
        CampaignStatus::Paused | CampaignStatus::Stopped => {}
    }
    Ok(campaign)
}

/// Lets the clock run on from now: a demonstration that is killed goes on no earlier.
///
/// # Errors
///
/// When the database fails.
pub async fn run_clock(session: &Session) -> anyhow::Result<()> {
    let mut tx = session.store.begin_outside().await?;
    clock::set_factor(&mut tx, FACTOR).await?;
    tx.commit().await?;
    Ok(())
}

/// Makes a key for programs, instead of that of an earlier start, whose text nobody knows any more.
/// Returns a file with the header they send, which only its owner may read.
///
/// # Errors
///
/// When the database fails or the file cannot be written.
pub async fn make_key(session: &Session, dir: &Path) -> anyhow::Result<PathBuf> {
    let (store, workspace) = (&session.store, session.workspace);
    for key in api_keys::list(store, workspace).await? {
        if key.name == KEY_NAME && key.revoked_at.is_none() {
            api_keys::revoke(store, workspace, key.id, ACTOR).await?;
        }
    }
    let (_, secret) = api_keys::create(store, workspace, KEY_NAME, Role::Operator, ACTOR).await?;
    let path = dir.join(HEADER_FILE);
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    let written = opened.and_then(|mut file| writeln!(file, "Authorization: Bearer {secret}"));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

async fn shown(session: &Session) -> anyhow::Result<Campaign> {
    let campaign = campaigns::by_name(&session.store, session.workspace, CAMPAIGN).await?;
    campaign.context("somebody removed the campaign of the demonstration")
}

fn sender(name: &str, address: &str, person: &str, script: &Path) -> anyhow::Result<NewSender> {
    Ok(NewSender {
        name: name.to_owned(),
        transport: Transport::Capture { script: Some(script.to_owned()) },
        password: None,
        from: address.parse()?,
        from_name: Some(person.parse()?),
        postal_address: Some("Harbour, Rua das Flores 12, 1200-195 Lisboa, Portugal".to_owned()),
        zone: chrono_tz::Europe::Lisbon,
        per_day: Some(60),
        spacing_s: 120,
        weight: 1,
    })
}

/// Returns the midnight with which the next working week begins in Europe, when it is morning in
/// the Far East.
fn week_begins(now: DateTime<Utc>) -> DateTime<Utc> {
    let mut day = now.date_naive();
    loop {
        day = day.checked_add_days(Days::new(1)).expect("a week from now is a day");
        if day.weekday() == Weekday::Mon {
            return day.and_time(chrono::NaiveTime::MIN).and_utc();
        }
    }
}

/// What is seen of a demonstration at one moment.
pub struct Scene {
    now: DateTime<Utc>,
    since: DateTime<Utc>,
    status: CampaignStatus,
    counters: Vec<Counter>,
    latest: Vec<EnrollmentRow>,
}

/// Looks at the demonstration.
///
/// # Errors
///
/// When the database fails.
pub async fn look(session: &Session) -> anyhow::Result<Scene> {
    let (store, workspace) = (&session.store, session.workspace);
    let campaign = shown(session).await?;
    let now = session.now().await?;
    let counters = campaigns::counters(store, workspace, campaign.id).await?;
    let mut tx = store.begin(workspace).await?;
    let latest = enrollment_views::latest(&mut tx, workspace, campaign.id, 6).await?;
    let since = campaign.started_at.unwrap_or(now);
    Ok(Scene { now, since, status: campaign.status, counters, latest })
}

impl Scene {
    /// Whether there is nothing more to see.
    pub fn is_over(&self) -> bool {
        self.status == CampaignStatus::Finished || self.now - self.since > TimeDelta::days(DAYS)
    }

    /// Returns the whole scene in one line.
    pub fn line(&self) -> String {
        let mut line = format!("{}  ", times::utc(self.now));
        let states = self.states();
        let states = states.iter().map(|(state, n)| format!("{} {n}", words(state.as_str())));
        line.push_str(&states.collect::<Vec<_>>().join(", "));
        write!(line, "  (mails: {})", self.sum("sent")).expect("a String takes everything");
        line
    }

    fn sum(&self, measure: &str) -> i64 {
        let counters = self.counters.iter().filter(|counter| counter.measure == measure);
        counters.map(|counter| counter.n).sum()
    }

    fn states(&self) -> Vec<(Shown, i64)> {
        let count = |shown: Shown| (shown, self.sum(&format!("state/{shown}")));
        Shown::ALL.into_iter().map(count).filter(|(_, n)| *n > 0).collect()
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = (self.now - self.since).num_days() + 1;
        let states = self.states();
        let leads: i64 = states.iter().map(|(_, n)| n).sum();
        writeln!(
            f,
            "{}   day {day}   {leads} leads, campaign {}",
            times::utc(self.now),
            self.status
        )?;
        writeln!(f)?;
        for (state, n) in states {
            let share = usize::try_from(n * 50 / leads.max(1)).unwrap_or_default();
            writeln!(f, "  {:<15} {n:>4}  {}", words(state.as_str()), "█".repeat(share.max(1)))?;
        }
        let measures = ["sent", "clicked", "replied", "bounced", "opted_out", "complained"];
        let sums = measures.map(|measure| format!("{} {}", words(measure), self.sum(measure)));
        writeln!(f, "\n  mails and answers: {}\n", sums.join(", "))?;
        for row in &self.latest {
            let email = row.email.as_deref().unwrap_or("somebody");
            let next = match (&row.next_step, row.next_at) {
                (Some(step), Some(at)) => {
                    let zone = row.zone.as_deref().and_then(|zone| zone.parse().ok());
                    format!(", `{step}` on {}", times::on(zone.unwrap_or_default(), at))
                }
                (Some(_) | None, _) => String::new(),
            };
            writeln!(f, "  {email}: {}{next}", words(&row.state))?;
        }
        Ok(())
    }
}

fn words(code: &str) -> String {
    code.replace('_', " ")
}

/// Ends the demonstration: the clock takes its usual pace, and the next one begins anew.
///
/// # Errors
///
/// When the database or the directory cannot be written.
pub async fn end(session: &Session, dir: &Path) -> anyhow::Result<()> {
    let mut tx = session.store.begin_outside().await?;
    clock::set_factor(&mut tx, 1.0).await?;
    tx.commit().await?;
    let marker: PathBuf = dir.join(OVER);
    std::fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_week_begins_on_the_next_monday() {
        for (now, week) in [
            ("2026-11-21T11:08:00Z", "2026-11-23T00:00:00Z"),
            ("2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z"),
            ("2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
        ] {
            let now: DateTime<Utc> = now.parse().unwrap();
            assert_eq!(week_begins(now), week.parse::<DateTime<Utc>>().unwrap());
        }
    }
}
