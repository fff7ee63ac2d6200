//! Agents as people set them up: a name, an address, working hours, a limit, absences. Whose turn it is
//! is decided in [`roster`]; the offers themselves pass the gate like every mail.

pub(crate) mod offers;
pub mod roster;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::calendar::{Calendar, Window};
use machine::ids::{AgentId, Id, WorkspaceId};
use serde_json::{Value, json};

use crate::address::EmailAddress;
use crate::error::{ActivityError, Result};
use crate::store::agents::{self as store, AbsenceRow, AgentRow};
use crate::store::audit::{self, Act};
use crate::store::clock::{self, Clocks};
use crate::store::{Store, Tx};
use crate::{freed_leads, ids};

/// The most agents of a workspace.
pub const LIST_MAX: i64 = 1_000;

/// The most absences that are looked at.
const ABSENCES_MAX: i64 = 10_000;

/// The most leads an agent may be given at once.
pub const OPEN_MAX: u32 = 10_000;

/// How many leads an agent may have where nobody says.
pub const OPEN_MAX_DEFAULT: u32 = 10;

/// Names an absence.
pub enum AbsenceKind {}

/// An absence's id.
pub type AbsenceId = Id<AbsenceKind>;

/// What a person says of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Unique in the workspace.
    pub name: String,
    /// Where offers go.
    pub email: EmailAddress,
    /// On whose clock the hours are.
    pub zone: Tz,
    /// The working hours; no window: always.
    pub hours: Vec<Window>,
    /// How many leads the agent may have at once, from 1.
    pub open_max: u32,
    /// Whether offers are made.
    pub active: bool,
}

/// A time in which an agent takes no leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// Its id.
    pub id: AbsenceId,
    /// When.
    pub time: roster::Absence,
}

impl From<&AbsenceRow> for Absence {
    fn from(row: &AbsenceRow) -> Self {
        let time = roster::Absence { from: row.from_at, until: row.until_at };
        Self { id: row.absence_id.into(), time }
    }
}

/// An agent with what there is to see of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Which.
    pub id: AgentId,
    /// What people said of them.
    pub profile: Profile,
    /// How many leads they have.
    pub open: usize,
    /// Campaign time of the newest offer.
    pub offered_at: Option<DateTime<Utc>>,
    /// The absences that are not over, the earliest first.
    pub absences: Vec<Absence>,
    /// When they can be asked next, short of the limit: now, or later; `None`: never, as far as is known.
    pub works_from: Option<DateTime<Utc>>,
    /// Raised by every change.
    pub version: i32,
}

/// Why an agent was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotWritten {
    /// There is none of this id.
    NoSuchAgent,
    /// Another agent has the name.
    NameTaken,
    /// It was changed since its author looked.
    Stale,
    /// There are as many as there may be.
    Full,
}

/// Adds an agent, on record.
///
/// # Errors
///
/// When the database fails.
pub async fn add(
    at: &Store,
    workspace: WorkspaceId,
    profile: &Profile,
    actor: &str,
) -> Result<Result<AgentId, NotWritten>> {
    let mut tx = at.begin(workspace).await?;
    let now = clock::read(&mut tx).await?;
    let known = store::list(&mut tx, workspace, LIST_MAX).await?.len();
    if i64::try_from(known).unwrap_or(LIST_MAX) >= LIST_MAX {
        return Ok(Err(NotWritten::Full));
    }
    let id: AgentId = ids::new();
    if !store::add(&mut tx, workspace, &row(id, profile), now.wall).await? {
        return Ok(Err(NotWritten::NameTaken));
    }
    record(&mut tx, id, ("agent.create", actor), None, now).await?;
    freed_leads::ask_for_an_agent(&mut tx, &[], now.campaign).await?;
    tx.commit().await?;
    Ok(Ok(id))
}

/// Changes an agent if `admits` takes the version it has, on record.
///
/// # Errors
///
/// When the database fails, or what it holds is no agent.
pub async fn change(
    at: &Store,
    workspace: WorkspaceId,
    agent: AgentId,
    admits: impl Fn(i32) -> bool,
    edit: impl FnOnce(Profile) -> Profile,
    actor: &str,
) -> Result<Result<(), NotWritten>> {
    let mut tx = at.begin(workspace).await?;
    let now = clock::read(&mut tx).await?;
    let Some(before) = store::lock(&mut tx, workspace, agent).await? else {
        return Ok(Err(NotWritten::NoSuchAgent));
    };
    if !admits(before.version) {
        return Ok(Err(NotWritten::Stale));
    }
    let old = profile(before)?;
    let new = edit(old.clone());
    let namesake = store::by_name(&mut tx, workspace, &new.name).await?;
    if namesake.is_some_and(|other| other != agent) {
        return Ok(Err(NotWritten::NameTaken));
    }
    if new != old {
        store::change(&mut tx, workspace, &row(agent, &new)).await?;
        let details = json!({ "active": new.active, "open_max": new.open_max });
        record(&mut tx, agent, ("agent.change", actor), Some(details), now).await?;
        if new.active {
            freed_leads::ask_for_an_agent(&mut tx, &[], now.campaign).await?;
        }
    }
    tx.commit().await?;
    Ok(Ok(()))
}

/// Removes an agent, on record. Leads they have stay with the team, and what they are offered moves on
/// at its deadline. Returns whether there was one.
///
/// # Errors
///
/// When the database fails.
pub async fn remove(
    at: &Store,
    workspace: WorkspaceId,
    agent: AgentId,
    actor: &str,
) -> Result<bool> {
    let mut tx = at.begin(workspace).await?;
    let now = clock::read(&mut tx).await?;
    if store::lock(&mut tx, workspace, agent).await?.is_none() {
        return Ok(false);
    }
    store::delete(&mut tx, workspace, agent).await?;
    record(&mut tx, agent, ("agent.delete", actor), None, now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Notes that an agent takes no leads for a time, on record; `None`: there is no such agent.
///
/// # Errors
///
/// When the database fails.
pub async fn add_absence(
    at: &Store,
    workspace: WorkspaceId,
    agent: AgentId,
    time: roster::Absence,
    actor: &str,
) -> Result<Option<Absence>> {
    let mut tx = at.begin(workspace).await?;
    let now = clock::read(&mut tx).await?;
    if store::lock(&mut tx, workspace, agent).await?.is_none() {
        return Ok(None);
    }
    let id: AbsenceId = ids::new();
    let row = AbsenceRow {
        absence_id: id.uuid(),
        agent_id: agent.uuid(),
        from_at: time.from,
        until_at: time.until,
    };
    store::add_absence(&mut tx, workspace, &row).await?;
    store::touch(&mut tx, workspace, agent).await?;
    let details = json!({ "absence": id, "from": time.from, "until": time.until });
    record(&mut tx, agent, ("agent.away", actor), Some(details), now).await?;
    tx.commit().await?;
    Ok(Some(Absence { id, time }))
}

/// Takes an absence back, on record. Returns whether there was one.
///
/// # Errors
///
/// When the database fails.
pub async fn delete_absence(
    at: &Store,
    workspace: WorkspaceId,
    agent: AgentId,
    absence: AbsenceId,
    actor: &str,
) -> Result<bool> {
    let mut tx = at.begin(workspace).await?;
    let now = clock::read(&mut tx).await?;
    if store::lock(&mut tx, workspace, agent).await?.is_none()
        || !store::delete_absence(&mut tx, workspace, agent, absence.uuid()).await?
    {
        return Ok(false);
    }
    store::touch(&mut tx, workspace, agent).await?;
    let details = json!({ "absence": absence });
    record(&mut tx, agent, ("agent.back", actor), Some(details), now).await?;
    freed_leads::ask_for_an_agent(&mut tx, &[], now.campaign).await?;
    tx.commit().await?;
    Ok(true)
}

/// Ends the absences of an agent that last now, on record. Returns how many there were; `None`: there is
/// no such agent.
///
/// # Errors
///
/// When the database fails.
pub async fn back(
    at: &Store,
    workspace: WorkspaceId,
    agent: AgentId,
    actor: &str,
) -> Result<Option<u64>> {
    let mut tx = at.begin(workspace).await?;
    let now = clock::read(&mut tx).await?;
    if store::lock(&mut tx, workspace, agent).await?.is_none() {
        return Ok(None);
    }
    let ended = store::end_absences(&mut tx, workspace, agent, now.campaign).await?;
    if ended > 0 {
        store::touch(&mut tx, workspace, agent).await?;
        record(&mut tx, agent, ("agent.back", actor), None, now).await?;
        freed_leads::ask_for_an_agent(&mut tx, &[], now.campaign).await?;
    }
    tx.commit().await?;
    Ok(Some(ended))
}

/// Returns every agent of the workspace by name.
///
/// # Errors
///
/// When the database fails, or what it holds is no agent.
pub async fn list(at: &Store, workspace: WorkspaceId) -> Result<Vec<Agent>> {
    let mut tx = at.begin(workspace).await?;
    let now = clock::read(&mut tx).await?.campaign;
    let known = known(&mut tx, now).await?;
    known.into_iter().map(|known| known.agent(now)).collect()
}

/// Returns an agent.
///
/// # Errors
///
/// As [`list`].
pub async fn get(at: &Store, workspace: WorkspaceId, agent: AgentId) -> Result<Option<Agent>> {
    Ok(list(at, workspace).await?.into_iter().find(|it| it.id == agent))
}

/// An agent as stored, with what others know of them.
struct Known {
    row: AgentRow,
    /// Those that are not over, the earliest first.
    absences: Vec<Absence>,
    /// How many leads they have.
    open: usize,
}

/// Reads every agent of the workspace, by name.
async fn known(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<Known>> {
    let workspace = tx.workspace();
    let rows = store::list(tx, workspace, LIST_MAX).await?;
    let absences = store::absences(tx, workspace, now, ABSENCES_MAX).await?;
    let loads = store::loads(tx, workspace).await?;
    let known = rows.into_iter().map(|row| {
        let load = loads.iter().find(|load| load.agent_id == row.agent_id);
        let own = absences.iter().filter(|absence| absence.agent_id == row.agent_id);
        Known {
            absences: own.map(Absence::from).collect(),
            open: load.map_or(0, |load| usize::try_from(load.open).unwrap_or(usize::MAX)),
            row,
        }
    });
    Ok(known.collect())
}

impl Known {
    fn on_roster(&self) -> Result<roster::Agent> {
        let row = &self.row;
        Ok(roster::Agent {
            id: row.agent_id.into(),
            name: row.name.clone(),
            email: row.email.clone(),
            hours: windows(row.hours.clone())?,
            zone: row.zone.parse().map_err(stored)?,
            absences: self.absences.iter().map(|absence| absence.time).collect(),
            open_max: usize::try_from(row.open_max).unwrap_or_default(),
            open: self.open,
            turn_no: row.turn_no,
        })
    }

    fn agent(self, now: DateTime<Utc>) -> Result<Agent> {
        let works_from = self.on_roster()?.works_from(now).filter(|_| self.row.active);
        Ok(Agent {
            id: self.row.agent_id.into(),
            open: self.open,
            offered_at: self.row.offered_at,
            version: self.row.version,
            profile: profile(self.row)?,
            absences: self.absences,
            works_from,
        })
    }
}

/// Reads stored working hours.
fn windows(hours: Value) -> Result<Calendar> {
    let windows = serde_json::from_value(hours).map_err(stored)?;
    Ok(Calendar { windows, ..Calendar::default() })
}

fn stored<E: std::fmt::Display>(error: E) -> ActivityError {
    ActivityError::Stored { what: "agent", why: error.to_string() }
}

fn profile(row: AgentRow) -> Result<Profile> {
    Ok(Profile {
        name: row.name,
        email: row.email.parse().map_err(stored)?,
        zone: row.zone.parse().map_err(stored)?,
        hours: windows(row.hours)?.windows,
        open_max: row.open_max.try_into().map_err(stored)?,
        active: row.active,
    })
}

fn row(agent: AgentId, profile: &Profile) -> AgentRow {
    AgentRow {
        agent_id: agent.uuid(),
        name: profile.name.clone(),
        email: profile.email.to_string(),
        zone: profile.zone.name().to_owned(),
        hours: json!(profile.hours),
        open_max: i32::try_from(profile.open_max).unwrap_or(i32::MAX),
        active: profile.active,
        turn_no: 0,
        offered_at: None,
        version: 1,
    }
}

async fn record(
    tx: &mut Tx,
    agent: AgentId,
    (act, actor): (&str, &str),
    details: Option<Value>,
    now: Clocks,
) -> Result<()> {
    let workspace = tx.workspace();
    let subject = format!("agent/{agent}");
    let act = Act { actor, act, subject: &subject, details };
    audit::record(tx, workspace, &act, now.wall).await?;
    Ok(())
}
