//! `meridian agent`: people of ours who take leads over, in turn.

mod wording;

use std::fmt;
use std::process::ExitCode;

use activities::address::EmailAddress;
use activities::agents::{self, Agent, LIST_MAX, NotWritten, OPEN_MAX, Profile, roster};
use activities::name;
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::Subcommand;
use machine::calendar::Window;
use machine::ids::AgentId;
use serde::Serialize;

use super::{ACTOR, Bench};
use crate::session::Session;
use crate::tables::{Column, Facts, Table};
use crate::terminal::Output;
use crate::times;
use wording::{Hours, Moment};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add an agent, or change the one of this name, who keeps what is not said again
    Add(Box<Add>),
    /// List the agents with what they have and when they work next
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one agent
    Show {
        /// The agent's name
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Say that an agent takes no leads for a time
    Away {
        /// The agent's name
        name: String,
        /// Since when, on the agent's own clock: 2026-03-09, or 2026-03-09T13:00 [default: now]
        #[arg(long, value_name = "TIME")]
        from: Option<Moment>,
        /// Until when, on the agent's own clock: the first moment back [default: until `agent back`]
        #[arg(long, value_name = "TIME")]
        until: Option<Moment>,
    },
    /// Say that an agent is back
    Back {
        /// The agent's name
        name: String,
    },
    /// Make no more offers to an agent; leads they have stay theirs
    Pause {
        /// The agent's name
        name: String,
    },
    /// Make offers again
    Resume {
        /// The agent's name
        name: String,
    },
    /// Remove an agent; leads they have stay with the team
    Remove {
        /// The agent's name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Agents take leads of campaigns whose file says `handover: { agents: in_turn }`. Examples:

  meridian agent add Ada --email ada@example.com --zone Europe/Lisbon --hours 'mon-fri 09:00-17:00'
  meridian agent add Ada --hours 'mon-thu 09:00-17:00' --hours 'fri 09:00-13:00' --open-max 5
  meridian agent away Ada --until 2026-03-09")]
pub(super) struct Add {
    /// The agent's name
    name: String,
    /// Where offers go
    #[arg(long, value_name = "ADDRESS")]
    email: Option<EmailAddress>,
    /// On whose clock the hours are [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<Tz>,
    /// Working hours, as in 'mon-fri 09:00-17:00'; may be given several times; `always` for no limit
    /// [default: always]
    #[arg(long, value_name = "HOURS")]
    hours: Vec<Hours>,
    /// How many leads the agent may have at once [default: 10]
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(OPEN_MAX)))]
    open_max: Option<u32>,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Listed {
    id: AgentId,
    name: String,
    email: String,
    zone: &'static str,
    hours: Vec<Window>,
    open_max: u32,
    active: bool,
    open: usize,
    offered_at: Option<DateTime<Utc>>,
    works_from: Option<DateTime<Utc>>,
    absences: Vec<ListedAbsence>,
    #[serde(skip)]
    now: DateTime<Utc>,
}

#[derive(Serialize)]
struct ListedAbsence {
    from: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
}

impl Listed {
    fn of(agent: Agent, now: DateTime<Utc>) -> Self {
        let absences = agent.absences.iter();
        Self {
            id: agent.id,
            email: agent.profile.email.to_string(),
            zone: agent.profile.zone.name(),
            open_max: agent.profile.open_max,
            active: agent.profile.active,
            open: agent.open,
            offered_at: agent.offered_at,
            works_from: agent.works_from,
            absences: absences
                .map(|it| ListedAbsence { from: it.time.from, until: it.time.until })
                .collect(),
            name: agent.profile.name,
            hours: agent.profile.hours,
            now,
        }
    }

    /// What keeps the agent from being asked, if anything does.
    fn status(&self) -> String {
        match self.works_from {
            _ if !self.active => "paused".to_owned(),
            None => "away".to_owned(),
            Some(from) if from > self.now => {
                let zone = self.zone.parse().unwrap_or(Tz::UTC);
                format!("works from {}", times::short(zone, from))
            }
            Some(_) if self.open >= usize::try_from(self.open_max).unwrap_or(usize::MAX) => {
                "has enough leads".to_owned()
            }
            Some(_) => "free".to_owned(),
        }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.parse().unwrap_or(Tz::UTC);
        let mut facts = Facts::new();
        facts
            .add("agent", &self.name)
            .add("email", &self.email)
            .add("hours", format!("{} ({})", wording::hours(&self.hours), self.zone))
            .add("leads", format!("{} of {}", self.open, self.open_max))
            .add("now", self.status())
            .add_some("last offer", self.offered_at.map(|at| times::on(zone, at)));
        for absence in &self.absences {
            let from = times::short(zone, absence.from);
            let until = absence.until.map(|until| times::short(zone, until));
            let until = until.map_or_else(String::new, |until| format!(" until {until}"));
            facts.add("away", format!("from {from}{until}"));
        }
        facts.fmt(f)
    }
}

#[derive(Serialize)]
struct List {
    agents: Vec<Listed>,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text("agent"),
            Column::Text("email"),
            Column::Text("hours"),
            Column::Text("zone"),
            Column::Number("leads"),
            Column::Number("at most"),
            Column::Text("now"),
        ];
        let mut table = Table::new(&columns, "there are no agents: run `meridian agent add`");
        for agent in &self.agents {
            table.row([
                agent.name.clone(),
                agent.email.clone(),
                wording::hours(&agent.hours),
                agent.zone.to_owned(),
                agent.open.to_string(),
                agent.open_max.to_string(),
                agent.status(),
            ]);
        }
        table.fmt(f)
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Add(command) => add(*command, bench).await?,
        Command::List { output } => {
            let agents = agents::list(&bench.session.store, bench.session.workspace).await?;
            // Later than the times in it: who works now is not said to work from now on.
            let now = bench.session.now().await?;
            let agents = agents.into_iter().map(|agent| Listed::of(agent, now)).collect();
            bench.terminal.show(output.format(), &List { agents })?;
        }
        Command::Show { name, output } => show(&name, output, bench).await?,
        Command::Away { name, from, until } => away(&name, from, until, bench).await?,
        Command::Back { name } => {
            let agent = find(bench.session, &name).await?;
            let (store, workspace) = (&bench.session.store, bench.session.workspace);
            let said = match agents::back(store, workspace, agent.id, &ACTOR).await? {
                None | Some(0) => format!("agent `{name}` was not away"),
                Some(_) => format!("agent `{name}` is back"),
            };
            bench.terminal.print(&said)?;
        }
        Command::Pause { name } => activate(&name, Active::No, bench).await?,
        Command::Resume { name } => activate(&name, Active::Yes, bench).await?,
        Command::Remove { name } => {
            let agent = find(bench.session, &name).await?;
            let (store, workspace) = (&bench.session.store, bench.session.workspace);
            agents::remove(store, workspace, agent.id, &ACTOR).await?;
            bench.terminal.print(&format!("agent `{name}` is removed"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(command: Add, bench: Bench<'_>) -> anyhow::Result<()> {
    let (store, workspace) = (&bench.session.store, bench.session.workspace);
    let name = name::read(&command.name).context("the name is no name")?;
    let known = agents::list(store, workspace).await?;
    let before = known.into_iter().find(|agent| agent.profile.name == name);
    let hours: Vec<Window> = command.hours.iter().flat_map(|hours| hours.0.clone()).collect();
    match before {
        Some(agent) => {
            let said_hours = !command.hours.is_empty();
            let edit = |old: Profile| Profile {
                email: command.email.unwrap_or(old.email),
                zone: command.zone.unwrap_or(old.zone),
                hours: if said_hours { hours } else { old.hours },
                open_max: command.open_max.unwrap_or(old.open_max),
                ..old
            };
            let done = agents::change(store, workspace, agent.id, |_| true, edit, &ACTOR).await?;
            done.or_else(|refused| bail!(words(refused, &name)))?;
        }
        None => {
            let Some(email) = command.email else {
                bail!("there is no agent `{name}` yet: add --email, where offers go");
            };
            let profile = Profile {
                name: name.clone(),
                email,
                zone: command.zone.unwrap_or(Tz::UTC),
                hours,
                open_max: command.open_max.unwrap_or(agents::OPEN_MAX_DEFAULT),
                active: true,
            };
            let done = agents::add(store, workspace, &profile, &ACTOR).await?;
            done.or_else(|refused| bail!(words(refused, &name)))?;
        }
    }
    show(&name, command.output, bench).await
}

async fn show(name: &str, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let agent = find(bench.session, name).await?;
    let now = bench.session.now().await?;
    bench.terminal.show(output.format(), &Listed::of(agent, now))?;
    Ok(())
}

async fn away(
    name: &str,
    from: Option<Moment>,
    until: Option<Moment>,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let now = bench.session.now().await?;
    let agent = find(bench.session, name).await?;
    let zone = agent.profile.zone;
    let from = from.map_or(now, |from| from.on(zone));
    let until = until.map(|until| until.on(zone));
    if until.is_some_and(|until| until <= from) {
        bail!("the absence would end before it begins: look at --from and --until");
    }
    let (store, workspace) = (&bench.session.store, bench.session.workspace);
    let time = roster::Absence { from, until };
    agents::add_absence(store, workspace, agent.id, time, &ACTOR).await?;
    let until = match until {
        Some(until) => format!("until {}", times::on(zone, until)),
        None => format!("until `meridian agent back {name}`"),
    };
    let since = times::on(zone, from);
    bench.terminal.print(&format!("agent `{name}` is away from {since} {until}"))?;
    Ok(())
}

#[derive(Clone, Copy)]
enum Active {
    Yes,
    No,
}

async fn activate(name: &str, active: Active, bench: Bench<'_>) -> anyhow::Result<()> {
    let agent = find(bench.session, name).await?;
    let (store, workspace) = (&bench.session.store, bench.session.workspace);
    let (active, said) = match active {
        Active::Yes => (true, "gets offers again"),
        Active::No => (false, "gets no more offers"),
    };
    let edit = |old: Profile| Profile { active, ..old };
    let done = agents::change(store, workspace, agent.id, |_| true, edit, &ACTOR).await?;
    done.or_else(|refused| bail!(words(refused, name)))?;
    bench.terminal.print(&format!("agent `{name}` {said}"))?;
    Ok(())
}

async fn find(session: &Session, name: &str) -> anyhow::Result<Agent> {
    let agents = agents::list(&session.store, session.workspace).await?;
    match agents.into_iter().find(|agent| agent.profile.name == name.trim()) {
        Some(agent) => Ok(agent),
        None => bail!("there is no agent `{name}`: run `meridian agent list`"),
    }
}

fn words(refused: NotWritten, name: &str) -> String {
    match refused {
        NotWritten::NoSuchAgent => format!("there is no agent `{name}` any more"),
        NotWritten::NameTaken => format!("another agent is called `{name}`"),
        NotWritten::Stale => format!("agent `{name}` was changed meanwhile: try again"),
        NotWritten::Full => format!("there are {LIST_MAX} agents already: remove one first"),
    }
}

fn zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| "it is not a time zone: write it like Europe/Lisbon".to_owned())
}
