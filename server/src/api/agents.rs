//! `/agents`: people of ours who take leads over, in turn.

use activities::address::EmailAddress;
use activities::agents::roster;
use activities::agents::{
    self, Absence, AbsenceId, Agent, LIST_MAX, NotWritten, OPEN_MAX, Profile,
};
use activities::name;
use activities::store::clock;
use aide::axum::ApiRouter;
use aide::axum::routing::{delete_with, get_with};
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use chrono::{DateTime, Datelike as _, Utc};
use chrono_tz::Tz;
use machine::calendar::{Calendar, Window};
use machine::ids::AgentId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::answer::{Created, Versioned};
use super::caller::{Admin, Operator, Viewer};
use super::if_match::IfMatch;
use super::page::Page;
use super::patch::Patch;
use super::problem::{FieldFault, Problem};
use super::request::{Body, Path};

/// How many windows the hours of an agent may have.
const HOURS_MAX: usize = 100;

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/agents",
            get_with(list, |op| {
                op.id("listAgents").summary("List the agents by name").tag("agents")
            })
            .post_with(create, |op| op.id("createAgent").summary("Add an agent").tag("agents")),
        )
        .api_route(
            "/agents/{agent}",
            get_with(show, |op| op.id("getAgent").summary("Show an agent").tag("agents"))
                .patch_with(change, |op| {
                    op.id("changeAgent").summary("Change an agent by a merge patch").tag("agents")
                })
                .delete_with(remove, |op| {
                    op.id("deleteAgent")
                        .summary("Remove an agent; leads they have stay with the team")
                        .tag("agents")
                }),
        )
        .api_route(
            "/agents/{agent}/absences",
            get_with(list_absences, |op| {
                op.id("listAbsences").summary("List the absences that are not over").tag("agents")
            })
            .post_with(add_absence, |op| {
                op.id("createAbsence")
                    .summary("Say that an agent takes no leads for a time")
                    .tag("agents")
            }),
        )
        .api_route(
            "/agents/{agent}/absences/{absence}",
            delete_with(delete_absence, |op| {
                op.id("deleteAbsence").summary("Take an absence back").tag("agents")
            }),
        )
}

/// A person who takes leads over.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Agent")]
struct AgentView {
    /// Its id.
    id: AgentId,
    /// Unique in the workspace.
    name: String,
    /// Where offers go.
    email: String,
    /// On whose clock the hours are.
    zone: String,
    /// The working hours; none: always.
    hours: Vec<Window>,
    /// How many leads the agent may have at once.
    open_max: u32,
    /// Whether offers are made.
    active: bool,
    /// How many leads the agent has: offered, taken or answered, and not closed.
    open: usize,
    /// Campaign time of the newest offer.
    offered_at: Option<DateTime<Utc>>,
    /// Campaign time from which the agent works: now or later; absent: nobody knows, or it is not active.
    works_from: Option<DateTime<Utc>>,
    /// The absences that are not over, the earliest first.
    absences: Vec<AbsenceView>,
}

/// A time in which an agent takes no leads.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Absence")]
struct AbsenceView {
    /// Its id.
    id: AbsenceId,
    /// Its beginning, campaign time.
    from: DateTime<Utc>,
    /// Its end, campaign time; absent: nobody knows.
    until: Option<DateTime<Utc>>,
}

impl AgentView {
    fn of(agent: Agent) -> Self {
        Self {
            id: agent.id,
            name: agent.profile.name,
            email: agent.profile.email.to_string(),
            zone: agent.profile.zone.name().to_owned(),
            hours: agent.profile.hours,
            open_max: agent.profile.open_max,
            active: agent.profile.active,
            open: agent.open,
            offered_at: agent.offered_at,
            works_from: agent.works_from,
            absences: agent.absences.into_iter().map(AbsenceView::from).collect(),
        }
    }
}

impl From<Absence> for AbsenceView {
    fn from(absence: Absence) -> Self {
        Self { id: absence.id, from: absence.time.from, until: absence.time.until }
    }
}

async fn list(State(app): State<App>, caller: Viewer) -> Result<Json<Page<AgentView>>, Problem> {
    let Viewer(caller) = caller;
    let agents = agents::list(&app.room.store, caller.workspace).await?;
    Ok(Json(Page { items: agents.into_iter().map(AgentView::of).collect(), next: None }))
}

#[derive(Debug, Deserialize, JsonSchema)]
struct AgentPath {
    /// The agent's id.
    agent: AgentId,
}

async fn show(
    State(app): State<App>,
    caller: Viewer,
    Path(AgentPath { agent }): Path<AgentPath>,
) -> Result<Versioned<AgentView>, Problem> {
    let Viewer(caller) = caller;
    let found = agents::get(&app.room.store, caller.workspace, agent).await?;
    let found = found.ok_or_else(|| none(agent))?;
    Ok(Versioned { version: found.version, body: AgentView::of(found) })
}

/// An agent to be added.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewAgent {
    /// Unique in the workspace.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// Where offers go.
    email: String,
    /// On whose clock the hours are; absent: UTC.
    zone: Option<String>,
    /// The working hours; none: always.
    #[serde(default)]
    hours: Vec<Window>,
    /// How many leads the agent may have at once; absent: 10.
    #[schemars(range(min = 1, max = 10_000))]
    open_max: Option<u32>,
    /// Whether offers are made; absent: yes.
    active: Option<bool>,
}

async fn create(
    State(app): State<App>,
    caller: Admin,
    Body(new): Body<NewAgent>,
) -> Result<Created<AgentView>, Problem> {
    let Admin(caller) = caller;
    let mut faults = Faults::default();
    let name = faults.name(new.name);
    let email = faults.email(&new.email);
    let zone = new.zone.map_or(Some(Tz::UTC), |zone| faults.zone(&zone));
    let hours = faults.hours(new.hours);
    let open_max = faults.open_max(new.open_max.unwrap_or(agents::OPEN_MAX_DEFAULT));
    let (Some(email), Some(zone)) = (email, zone) else { return Err(faults.into_problem()) };
    faults.none()?;
    let active = new.active.unwrap_or(true);
    let profile = Profile { name, email, zone, hours, open_max, active };
    let (store, workspace) = (&app.room.store, caller.workspace);
    let added = agents::add(store, workspace, &profile, &caller.actor()).await?;
    let id = added.map_err(|refused| not_written(refused, None))?;
    let agent = agents::get(store, workspace, id).await?.ok_or_else(|| none(id))?;
    Ok(Created { location: format!("/api/v1/agents/{id}"), body: AgentView::of(agent) })
}

/// What is to be different: a merge patch (RFC 7396). What is absent stays, lists are replaced as a whole.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AgentChange {
    /// Unique in the workspace.
    name: Option<String>,
    /// Where offers go.
    email: Option<String>,
    /// On whose clock the hours are; null: UTC.
    #[serde(default)]
    zone: Patch<String>,
    /// All the working hours; null: always.
    #[serde(default)]
    hours: Patch<Vec<Window>>,
    /// How many leads the agent may have at once; null: 10.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    open_max: Patch<u32>,
    /// Whether offers are made.
    active: Option<bool>,
}

async fn change(
    State(app): State<App>,
    caller: Admin,
    Path(AgentPath { agent }): Path<AgentPath>,
    if_match: IfMatch,
    Body(change): Body<AgentChange>,
) -> Result<Versioned<AgentView>, Problem> {
    let Admin(caller) = caller;
    let edit = change.parsed()?;
    let (store, workspace) = (&app.room.store, caller.workspace);
    let admits = |version| if_match.admits(version);
    let done = agents::change(store, workspace, agent, admits, edit, &caller.actor()).await?;
    done.map_err(|refused| not_written(refused, Some(agent)))?;
    let changed = agents::get(store, workspace, agent).await?.ok_or_else(|| none(agent))?;
    Ok(Versioned { version: changed.version, body: AgentView::of(changed) })
}

impl AgentChange {
    /// Reads every field; every fault is told at once.
    fn parsed(self) -> Result<impl FnOnce(Profile) -> Profile, Problem> {
        let mut faults = Faults::default();
        let name = self.name.map(|name| faults.name(name));
        let email = self.email.and_then(|email| faults.email(&email));
        let zone = match self.zone {
            Patch::Keep => None,
            Patch::Clear => Some(Tz::UTC),
            Patch::Set(zone) => faults.zone(&zone),
        };
        let hours = match self.hours {
            Patch::Keep => None,
            Patch::Clear => Some(Vec::new()),
            Patch::Set(hours) => Some(faults.hours(hours)),
        };
        let open_max = match self.open_max {
            Patch::Keep => None,
            Patch::Clear => Some(agents::OPEN_MAX_DEFAULT),
            Patch::Set(open_max) => Some(faults.open_max(open_max)),
        };
        let active = self.active;
        faults.none()?;
        Ok(move |old: Profile| Profile {
            name: name.unwrap_or(old.name),
            email: email.unwrap_or(old.email),
            zone: zone.unwrap_or(old.zone),
            hours: hours.unwrap_or(old.hours),
            open_max: open_max.unwrap_or(old.open_max),
            active: active.unwrap_or(old.active),
        })
    }
}

async fn remove(
    State(app): State<App>,
    caller: Admin,
    Path(AgentPath { agent }): Path<AgentPath>,
) -> Result<NoContent, Problem> {
    let Admin(caller) = caller;
    match agents::remove(&app.room.store, caller.workspace, agent, &caller.actor()).await? {
        true => Ok(NoContent),
        false => Err(none(agent)),
    }
}

async fn list_absences(
    State(app): State<App>,
    caller: Viewer,
    Path(AgentPath { agent }): Path<AgentPath>,
) -> Result<Json<Page<AbsenceView>>, Problem> {
    let Viewer(caller) = caller;
    let found = agents::get(&app.room.store, caller.workspace, agent).await?;
    let found = found.ok_or_else(|| none(agent))?;
    let items = found.absences.into_iter().map(AbsenceView::from).collect();
    Ok(Json(Page { items, next: None }))
}

/// An absence to be noted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewAbsence {
    /// Its beginning, campaign time; absent: now.
    from: Option<DateTime<Utc>>,
    /// Its end, campaign time; absent: until it is taken back.
    until: Option<DateTime<Utc>>,
}

async fn add_absence(
    State(app): State<App>,
    caller: Operator,
    Path(AgentPath { agent }): Path<AgentPath>,
    Body(new): Body<NewAbsence>,
) -> Result<Created<AbsenceView>, Problem> {
    let Operator(caller) = caller;
    let (store, workspace) = (&app.room.store, caller.workspace);
    let mut tx = store.begin(workspace).await?;
    let now = clock::read(&mut tx).await?.campaign;
    tx.commit().await?;
    let time = roster::Absence { from: new.from.unwrap_or(now), until: new.until };
    let years = 1970..10_000;
    for (field, at) in [("from", Some(time.from)), ("until", time.until)] {
        if at.is_some_and(|at| !years.contains(&at.year())) {
            return Err(Problem::invalid_field(field, "use a year from 1970 to 9999"));
        }
    }
    if time.until.is_some_and(|until| until <= time.from) {
        return Err(Problem::invalid_field("until", "it is not after the beginning"));
    }
    let added = agents::add_absence(store, workspace, agent, time, &caller.actor()).await?;
    let added = added.ok_or_else(|| none(agent))?;
    let location = format!("/api/v1/agents/{agent}/absences/{}", added.id);
    Ok(Created { location, body: added.into() })
}

#[derive(Debug, Deserialize, JsonSchema)]
struct AbsencePath {
    /// The agent's id.
    agent: AgentId,
    /// The absence's id.
    absence: AbsenceId,
}

async fn delete_absence(
    State(app): State<App>,
    caller: Operator,
    Path(AbsencePath { agent, absence }): Path<AbsencePath>,
) -> Result<NoContent, Problem> {
    let Operator(caller) = caller;
    let (store, workspace) = (&app.room.store, caller.workspace);
    match agents::delete_absence(store, workspace, agent, absence, &caller.actor()).await? {
        true => Ok(NoContent),
        false => Err(Problem::not_found(format!("agent {agent} has no absence {absence}"))),
    }
}

/// What is wrong with an agent, field by field.
#[derive(Default)]
struct Faults(Vec<FieldFault>);

impl Faults {
    fn add(&mut self, field: &str, message: String) {
        self.0.push(FieldFault { field: field.to_owned(), message });
    }

    fn name(&mut self, name: String) -> String {
        name::read(&name).unwrap_or_else(|bad| {
            self.add("name", bad.to_string());
            name
        })
    }

    fn email(&mut self, email: &str) -> Option<EmailAddress> {
        email.parse().map_err(|error| self.add("email", format!("{error}"))).ok()
    }

    fn zone(&mut self, zone: &str) -> Option<Tz> {
        let parsed = zone.parse();
        if parsed.is_err() {
            self.add("zone", format!("`{zone}` is no zone: write it like `Europe/Lisbon`"));
        }
        parsed.ok()
    }

    fn hours(&mut self, hours: Vec<Window>) -> Vec<Window> {
        if hours.len() > HOURS_MAX {
            self.add("hours", format!("use at most {HOURS_MAX} windows"));
            return Vec::new();
        }
        let calendar = Calendar { windows: hours, ..Calendar::default() };
        for fault in calendar.validate().err().unwrap_or_default() {
            let message = fault.to_string().replacen("windows", "hours", 1);
            self.add(&fault.field().replacen("windows", "hours", 1), message);
        }
        calendar.windows
    }

    fn open_max(&mut self, open_max: u32) -> u32 {
        if !(1..=OPEN_MAX).contains(&open_max) {
            self.add("open_max", format!("use 1 to {OPEN_MAX}"));
        }
        open_max
    }

    fn none(&self) -> Result<(), Problem> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Problem::invalid(self.0.clone())),
        }
    }

    fn into_problem(self) -> Problem {
        Problem::invalid(self.0)
    }
}

fn not_written(refused: NotWritten, agent: Option<AgentId>) -> Problem {
    match (refused, agent) {
        (NotWritten::NoSuchAgent, Some(agent)) => none(agent),
        (NotWritten::NoSuchAgent, None) => Problem::not_found("there is no such agent"),
        (NotWritten::NameTaken, _) => {
            Problem::conflict("another agent has this name: give this one another")
        }
        (NotWritten::Stale, _) => {
            Problem::changed("it was changed since it was read: read it again")
        }
        (NotWritten::Full, _) => Problem::conflict(format!("there are {LIST_MAX} agents already")),
    }
}

fn none(agent: AgentId) -> Problem {
    Problem::not_found(format!("there is no agent {agent}"))
}
