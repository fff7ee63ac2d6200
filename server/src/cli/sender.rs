//! `meridian sender`: the mailboxes and numbers that campaigns send from.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use activities::capture::script::Script;
use activities::header_text::HeaderText;
use activities::held_leads;
use activities::mail::reach::{self, Reach};
use activities::name;
use activities::origin::Origin;
use activities::senders::{self, Added, NewSender, Sender, SenderStatus, Transport};
use activities::store::senders as store;
use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use clap::Subcommand;
use machine::delay::Delay;
use machine::ids::SenderId;
use machine::sequence::Channel;
use secrecy::SecretString;
use serde::Serialize;

use super::{ACTOR, Bench};
use crate::tables::{Column, Table};
use crate::terminal::Output;
use crate::times;

/// Where a password may be left for `sender add`.
const PASSWORD_VARIABLE: &str = "MERIDIAN_SENDER_PASSWORD";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Set a sender up, or change the one of this name, which keeps what is not said again
    Add(Box<Add>),
    /// List the senders with their limits and what they sent today
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Stop sending through a sender; its leads wait
    Pause {
        /// Its name
        name: String,
        /// Why, for those who see it in the list
        #[arg(long, value_parser = name::read_remark)]
        reason: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Send through it again
    Resume {
        /// Its name
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The password, key or token is taken from the URL, from MERIDIAN_SENDER_PASSWORD, or asked for, and is
stored sealed. Examples:

  meridian sender add ada smtp://ada@mail.example.com --from ada@example.com --per-day 80 --spacing 90s
  meridian sender add sales mailgun://mg.example.com@api.eu.mailgun.net --from sales@example.com
  meridian sender add texts twilio://ACCOUNT_SID@api.twilio.com --from +15550100 --spacing 1s
  meridian sender add demo capture: --from demo@example.com
  meridian sender add demo-texts capture: --from +15550100")]
pub(super) struct Add {
    /// What campaigns call it
    #[arg(value_parser = name::read)]
    name: String,
    /// smtp://user@host:587, smtps://user@host:465, mailgun://DOMAIN@api.mailgun.net,
    /// twilio://ACCOUNT_SID@api.twilio.com, or capture: to keep every message here
    url: String,
    /// The address that mails come from, or the number or messaging service that texts do
    #[arg(long, value_name = "ADDRESS")]
    from: Origin,
    /// The name beside the address
    #[arg(long, value_name = "NAME")]
    from_name: Option<HeaderText>,
    /// The sender's postal address, for the footer of every mail
    #[arg(long, value_name = "TEXT")]
    postal_address: Option<String>,
    /// The zone whose midnight begins its day [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<Tz>,
    /// Messages a day, or `none` for as many as there are [default: none]
    #[arg(long, value_name = "N", value_parser = per_day, allow_hyphen_values = true)]
    per_day: Option<PerDay>,
    /// Time between two messages, as in 30s or 2 minutes [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = spacing)]
    spacing: Option<u32>,
    /// Its share among the senders of a campaign [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    weight: Option<u32>,
    #[command(flatten)]
    output: Output,
}

/// A limit that somebody wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PerDay {
    None,
    Messages(u32),
}

#[derive(Serialize)]
struct Set {
    id: SenderId,
    name: String,
    change: &'static str,
    /// Leads that lacked a sender and were told to look again.
    woken: u64,
    /// What it should have before it writes to strangers.
    lacks: Vec<&'static str>,
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sender `{}` is {}", self.name, self.change)?;
        match self.woken {
            0 => {}
            1 => write!(f, "; 1 lead that was held for want of a sender goes on")?,
            n => write!(f, "; {n} leads that were held for want of a sender go on")?,
        }
        for lack in &self.lacks {
            write!(f, "\n  {lack}")?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct List {
    senders: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    id: SenderId,
    name: String,
    url: String,
    from: String,
    zone: &'static str,
    per_day: Option<u32>,
    spacing_s: u32,
    weight: u32,
    channel: Channel,
    status: &'static str,
    status_reason: Option<String>,
    /// `closed` while its provider answers; `open` while nothing leaves because it does not;
    /// `half_open` when one call tries again.
    breaker: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<TroubleJson>,
    sent_today: i32,
    booked_today: i32,
    next_free_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct TroubleJson {
    /// Calls in a row that the provider did not answer.
    calls: u32,
    /// What was seen last.
    detail: String,
    /// When one call tries again.
    until: Option<DateTime<Utc>>,
}

impl Listed {
    fn status(&self) -> String {
        if let Some(reason) = &self.status_reason {
            return format!("{} ({reason})", self.status);
        }
        match (&self.trouble, self.breaker) {
            (Some(trouble), "open") => {
                let until = trouble.until.map(times::utc).unwrap_or_default();
                format!("{}, rests until {until} ({})", self.status, trouble.detail)
            }
            (Some(trouble), "half_open") => {
                format!("{}, tries again ({})", self.status, trouble.detail)
            }
            _ => self.status.to_owned(),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(
            &[
                Column::Text("name"),
                Column::Text("status"),
                Column::Text("from"),
                Column::Text("url"),
                Column::Number("today"),
                Column::Number("a day"),
                Column::Number("spacing"),
            ],
            "no sender yet: run `meridian sender add NAME URL --from ADDRESS`",
        );
        for sender in &self.senders {
            let today = match sender.booked_today {
                0 => sender.sent_today.to_string(),
                booked => format!("{} + {booked} booked", sender.sent_today),
            };
            table.row([
                sender.name.clone(),
                sender.status(),
                sender.from.clone(),
                sender.url.clone(),
                today,
                sender.per_day.map_or("-".to_owned(), |n| n.to_string()),
                if sender.spacing_s == 0 {
                    "-".to_owned()
                } else {
                    format!("{}s", sender.spacing_s)
                },
            ]);
        }
        table.fmt(f)
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Add(command) => add(*command, bench).await?,
        Command::List { output } => list(output, bench).await?,
        Command::Pause { name, reason, output } => {
            set_status(name, SenderStatus::Paused, reason.as_deref(), output, bench).await?;
        }
        Command::Resume { name, output } => {
            set_status(name, SenderStatus::Active, None, output, bench).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(command: Add, mut bench: Bench<'_>) -> anyhow::Result<()> {
    let (url, pasted) = senders::split_password(&command.url);
    let transport = transport(&url, bench.config.reach)?;
    let channel = transport.channel(&command.from)?;
    let password = match pasted {
        Some(password) => Some(password),
        None => password(&command.name, &transport, &mut bench).await?,
    };
    let session = bench.session;
    let senders = senders::list(&session.store, session.workspace).await?;
    let before = senders.iter().find(|sender| sender.name == command.name);
    let new = NewSender {
        name: command.name.clone(),
        transport,
        password,
        from: command.from,
        from_name: command.from_name.or_else(|| before.and_then(|it| it.from_name.clone())),
        postal_address: command
            .postal_address
            .or_else(|| before.and_then(|it| it.postal_address.clone())),
        zone: command.zone.or(before.map(|it| it.zone)).unwrap_or(Tz::UTC),
        per_day: match command.per_day {
            Some(PerDay::None) => None,
            Some(PerDay::Messages(n)) => Some(n),
            None => before.and_then(|it| it.per_day),
        },
        spacing_s: command.spacing.or(before.map(|it| it.spacing_s)).unwrap_or(0),
        weight: command.weight.or(before.map(|it| it.weight)).unwrap_or(1),
    };
    let mut lacks = Vec::new();
    if channel == Channel::Email && new.postal_address.is_none() {
        lacks.push("it has no postal address, which many laws want under every mail: --postal-address TEXT");
    }
    if new.from_name.is_none() {
        lacks.push("it has no name: texts that print `sender.name` need --from-name NAME");
    }
    let (store, workspace) = (&session.store, session.workspace);
    let added = senders::add(store, workspace, &session.keys, &new, &ACTOR).await?;
    let (id, change) = match added {
        Added::New(id) => (id, "set up"),
        Added::Changed(id) => (id, "changed"),
        Added::SameFrom(other) => bail!("--from: {}", senders::same_from(&other)),
    };
    let woken = wake_held(&bench, id).await?;
    let set = Set { id, name: command.name, change, woken, lacks };
    bench.terminal.show(command.output.format(), &set)?;
    Ok(())
}

/// Reads a URL; a script is named by its whole path, and is read once to see that it can be.
fn transport(url: &str, reach: Reach) -> anyhow::Result<Transport> {
    let url = match url.strip_prefix("capture:").filter(|path| !path.is_empty()) {
        Some(path) => {
            let path = std::path::absolute(path).context("the path of the script is none")?;
            format!("capture:{}", path.display())
        }
        None => url.to_owned(),
    };
    let transport: Transport = url.parse()?;
    if let Some(script) = transport.script() {
        check_script(script)?;
    }
    if let Transport::Smtp(account) = &transport {
        reach.admits_account(account).map_err(|fault| anyhow!("{fault}: {}", reach::FIX))?;
    }
    Ok(transport)
}

fn check_script(path: &Path) -> anyhow::Result<()> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Script::parse(&text).with_context(|| format!("{} is no script", path.display()))?;
    Ok(())
}

async fn password(
    name: &str,
    transport: &Transport,
    bench: &mut Bench<'_>,
) -> anyhow::Result<Option<SecretString>> {
    if !transport.needs_password() {
        return Ok(None);
    }
    if let Some(password) = bench.environment.get(PASSWORD_VARIABLE) {
        return Ok(Some(password.into()));
    }
    let session = bench.session;
    if senders::has_password(&session.store, session.workspace, name, transport).await? {
        return Ok(None);
    }
    if !bench.terminal.is_interactive() {
        bail!("{transport} needs a password: set {PASSWORD_VARIABLE}, or run this in a terminal");
    }
    let password = bench.terminal.ask_secret(&format!("password for {transport}: "))?;
    Ok(Some(password))
}

fn zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| "it is not a time zone: write it like Europe/Lisbon".to_owned())
}

fn per_day(text: &str) -> Result<PerDay, String> {
    match text.parse() {
        _ if text == "none" => Ok(PerDay::None),
        Ok(n @ 1..1_000_000) => Ok(PerDay::Messages(n)),
        Ok(_) | Err(_) => Err("use 1 to 999999, or none".to_owned()),
    }
}

fn spacing(text: &str) -> Result<u32, String> {
    let wrong = || "write it like 30s or 2 minutes, at most a day".to_owned();
    let delay: Delay = text.parse().map_err(|_| wrong())?;
    let start = DateTime::UNIX_EPOCH;
    let seconds = (delay.after(start, Tz::UTC) - start).num_seconds();
    match u32::try_from(seconds) {
        Ok(seconds) if seconds <= 86_400 => Ok(seconds),
        Ok(_) | Err(_) => Err(wrong()),
    }
}

async fn list(output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let clocks = session.clocks().await?;
    let now = clocks.campaign;
    let senders = senders::list(&session.store, session.workspace).await?;
    let days: Vec<_> = senders
        .iter()
        .map(|sender| (sender.id, now.with_timezone(&sender.zone).date_naive()))
        .collect();
    let mut tx = session.store.begin(session.workspace).await?;
    let used = store::use_of_day(&mut tx, session.workspace, &days).await?;
    // Quotas count for those with a limit only.
    let unlimited = senders.iter().filter(|sender| sender.per_day.is_none());
    let unlimited: Vec<_> = unlimited.map(|it| (it.id, midnight(now, it.zone))).collect();
    let passed = store::passed_since(&mut tx, session.workspace, &unlimited).await?;
    let listed = senders.into_iter().map(|sender| {
        let today = used.iter().find(|(id, _)| *id == sender.id).map(|(_, used)| *used);
        let passed = passed.iter().find(|(id, _)| *id == sender.id);
        let today = match (today.unwrap_or_default(), passed) {
            (today, Some((_, used))) => store::DayUse { used: *used, ..today },
            (today, None) => today,
        };
        listed(sender, today, clocks.wall)
    });
    bench.terminal.show(output.format(), &List { senders: listed.collect() })?;
    Ok(())
}

/// Returns when the day began that it is in `zone`.
fn midnight(now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let midnight = now.with_timezone(&zone).date_naive().and_time(NaiveTime::MIN);
    match midnight.and_local_timezone(zone).earliest() {
        Some(midnight) => midnight.to_utc(),
        // The clock was put forward at midnight.
        None => midnight.and_utc(),
    }
}

fn listed(sender: Sender, today: store::DayUse, wall: DateTime<Utc>) -> Listed {
    Listed {
        id: sender.id,
        channel: sender.channel,
        breaker: sender.breaker(wall).as_str(),
        trouble: sender.trouble.map(|trouble| TroubleJson {
            calls: trouble.count,
            detail: trouble.detail,
            until: trouble.until,
        }),
        url: sender.transport.to_string(),
        from: sender.from.to_string(),
        zone: sender.zone.name(),
        per_day: sender.per_day,
        spacing_s: sender.spacing_s,
        weight: sender.weight,
        status: sender.status.as_str(),
        status_reason: sender.status_reason,
        sent_today: today.used,
        booked_today: today.booked,
        next_free_at: sender.next_free_at,
        name: sender.name,
    }
}

async fn set_status(
    name: String,
    status: SenderStatus,
    reason: Option<&str>,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    let set = senders::set_status(store, workspace, &name, status, reason, &ACTOR).await?;
    let Some(id) = set else { bail!("there is no sender `{name}`: run `meridian sender list`") };
    let woken = match status {
        SenderStatus::Active => wake_held(&bench, id).await?,
        SenderStatus::Paused => 0,
    };
    bench.terminal.show(
        output.format(),
        &Set { id, name, change: status.as_str(), woken, lacks: Vec::new() },
    )?;
    Ok(())
}

/// Tells leads that were held for want of a sender that there may be one now.
async fn wake_held(bench: &Bench<'_>, sender: SenderId) -> anyhow::Result<u64> {
    let session = bench.session;
    Ok(held_leads::sender_mended(&session.store, session.workspace, sender, &ACTOR).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_reads_like_any_delay() {
        assert_eq!(spacing("30s"), Ok(30));
        assert_eq!(spacing("1 minute 30 seconds"), Ok(90));
        assert!(spacing("2 days").is_err());
        assert!(spacing("soon").is_err());
    }
}
