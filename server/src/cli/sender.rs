//! `meridian sender`: the mailboxes that campaigns send from.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use activities::address::EmailAddress;
use activities::capture::script::Script;
use activities::header_text::HeaderText;
use activities::held_leads;
use activities::senders::{self, Added, NewSender, Sender, SenderStatus, Transport};
use activities::store::senders as store;
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::Subcommand;
use machine::delay::Delay;
use machine::ids::SenderId;
use secrecy::SecretString;
use serde::Serialize;

use super::Bench;
use crate::tables::{Column, Table};
use crate::terminal::Output;

/// Where a password may be left for `sender add`.
const PASSWORD_VARIABLE: &str = "MERIDIAN_SENDER_PASSWORD";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Set a sender up, or change the one of this name
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
        #[arg(long)]
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
The password is taken from the URL, from MERIDIAN_SENDER_PASSWORD, or asked for, and is stored
sealed. Examples:

  meridian sender add ada smtp://ada@mail.example.com --from ada@example.com --per-day 80 --spacing 90s
  meridian sender add demo capture: --from demo@example.com")]
pub(super) struct Add {
    /// What campaigns call it
    name: String,
    /// smtp://user@host:587, smtps://user@host:465, or capture: to keep every message here
    url: String,
    /// The address that mails come from
    #[arg(long, value_name = "ADDRESS")]
    from: EmailAddress,
    /// The name beside the address
    #[arg(long, value_name = "NAME")]
    from_name: Option<HeaderText>,
    /// The sender's postal address, for the footer of every mail
    #[arg(long, value_name = "TEXT")]
    postal_address: Option<String>,
    /// The zone whose midnight begins its day
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: Tz,
    /// Mails a day
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    per_day: Option<u32>,
    /// Time between two mails, as in 30s or 2 minutes
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = spacing)]
    spacing: u32,
    /// Its share among the senders of a campaign
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    weight: u32,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Set {
    id: SenderId,
    name: String,
    change: &'static str,
    /// Leads that lacked a sender and were told to look again.
    woken: u64,
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sender `{}` is {}", self.name, self.change)?;
        match self.woken {
            0 => Ok(()),
            n => write!(f, "; {n} leads that were held for want of a sender go on"),
        }
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
    status: &'static str,
    status_reason: Option<String>,
    sent_today: i32,
    booked_today: i32,
    next_free_at: Option<DateTime<Utc>>,
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
            let status = match &sender.status_reason {
                Some(reason) => format!("{} ({reason})", sender.status),
                None => sender.status.to_owned(),
            };
            // Where nothing is limited nothing is counted.
            let today = match (sender.per_day, sender.booked_today) {
                (None, _) => "-".to_owned(),
                (Some(_), 0) => sender.sent_today.to_string(),
                (Some(_), booked) => format!("{} + {booked} booked", sender.sent_today),
            };
            table.row([
                sender.name.clone(),
                status,
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
    let transport = transport(&url)?;
    let password = match pasted {
        Some(password) => Some(password),
        None => password(&command.name, &transport, &mut bench).await?,
    };
    let new = NewSender {
        name: command.name.clone(),
        transport,
        password,
        from: command.from,
        from_name: command.from_name,
        postal_address: command.postal_address,
        zone: command.zone,
        per_day: command.per_day,
        spacing_s: command.spacing,
        weight: command.weight,
    };
    let session = bench.session;
    let now = session.now().await?;
    let added = senders::add(&session.store, session.workspace, &session.keys, &new, now).await?;
    let (id, change) = match added {
        Added::New(id) => (id, "set up"),
        Added::Changed(id) => (id, "changed"),
    };
    let woken = wake_held(&bench, id).await?;
    let set = Set { id, name: command.name, change, woken };
    bench.terminal.show(command.output.format(), &set)?;
    Ok(())
}

/// Reads a URL; a script is named by its whole path, and is read once to see that it can be.
fn transport(url: &str) -> anyhow::Result<Transport> {
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

fn spacing(text: &str) -> Result<u32, String> {
    let delay: Delay = text.parse().map_err(|error| format!("{error}"))?;
    let start = DateTime::UNIX_EPOCH;
    let seconds = (delay.after(start, Tz::UTC) - start).num_seconds();
    match u32::try_from(seconds) {
        Ok(seconds) if seconds <= 86_400 => Ok(seconds),
        Ok(_) | Err(_) => Err("spacing is at most a day".to_owned()),
    }
}

async fn list(output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let now = session.now().await?;
    let senders = senders::list(&session.store, session.workspace).await?;
    let days: Vec<_> = senders
        .iter()
        .map(|sender| (sender.id, now.with_timezone(&sender.zone).date_naive()))
        .collect();
    let mut tx = session.store.begin(session.workspace).await?;
    let used = store::use_of_day(&mut tx, session.workspace, &days).await?;
    let listed = senders.into_iter().map(|sender| {
        let today = used.iter().find(|(id, _)| *id == sender.id).map(|(_, used)| *used);
        listed(sender, today.unwrap_or_default())
    });
    bench.terminal.show(output.format(), &List { senders: listed.collect() })?;
    Ok(())
}

fn listed(sender: Sender, today: store::DayUse) -> Listed {
    Listed {
        id: sender.id,
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
    let set = senders::set_status(&session.store, session.workspace, &name, status, reason).await?;
    let Some(id) = set else { bail!("there is no sender `{name}`: run `meridian sender list`") };
    let woken = match status {
        SenderStatus::Active => wake_held(&bench, id).await?,
        SenderStatus::Paused => 0,
    };
    bench.terminal.show(output.format(), &Set { id, name, change: status.as_str(), woken })?;
    Ok(())
}

/// Tells leads that were held for want of a sender that there may be one now.
async fn wake_held(bench: &Bench<'_>, sender: SenderId) -> anyhow::Result<u64> {
    let session = bench.session;
    Ok(held_leads::sender_mended(&session.store, session.workspace, sender, super::ACTOR).await?)
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
