//! Agents, their absences, and the offers that were made to them. What hours mean is not known here.

use chrono::{DateTime, Utc};
use machine::ids::{AgentId, WorkspaceId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// One agent as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentRow {
    /// Its id.
    pub agent_id: Uuid,
    /// Unique in the workspace.
    pub name: String,
    /// Where offers go.
    pub email: String,
    /// An IANA name.
    pub zone: String,
    /// Windows, JSON.
    pub hours: Value,
    /// How many leads the agent may have at once.
    pub open_max: i32,
    /// Whether offers are made.
    pub active: bool,
    /// The number of the newest offer.
    pub turn_no: i64,
    /// Campaign time of it.
    pub offered_at: Option<DateTime<Utc>>,
    /// Raised by every change.
    pub version: i32,
}

/// One absence as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsenceRow {
    /// Its id.
    pub absence_id: Uuid,
    /// Whose.
    pub agent_id: Uuid,
    /// Campaign time.
    pub from_at: DateTime<Utc>,
    /// Campaign time.
    pub until_at: Option<DateTime<Utc>>,
}

/// Adds an agent. Returns whether the name was free.
pub async fn add(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    row: &AgentRow,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        INSERT INTO agents (
            workspace_id, agent_id, name, email, zone, hours, open_max, active, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (workspace_id, name) DO NOTHING
        "#,
        workspace.uuid(),
        row.agent_id,
        row.name,
        row.email,
        row.zone,
        row.hours,
        row.open_max,
        row.active,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes what a person changed of an agent that is locked.
pub async fn change(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    row: &AgentRow,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE agents
        SET name = $3, email = $4, zone = $5, hours = $6, open_max = $7, active = $8,
            version = version + 1
        WHERE workspace_id = $1 AND agent_id = $2
        "#,
        workspace.uuid(),
        row.agent_id,
        row.name,
        row.email,
        row.zone,
        row.hours,
        row.open_max,
        row.active,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the first `limit` agents by name.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    limit: i64,
) -> sqlx::Result<Vec<AgentRow>> {
    sqlx::query_as!(
        AgentRow,
        r#"
        SELECT agent_id, name, email, zone, hours, open_max, active, turn_no, offered_at, version
        FROM agents
        WHERE workspace_id = $1
        ORDER BY name
        LIMIT $2
        "#,
        workspace.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns the agent of this name.
pub async fn by_name(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    name: &str,
) -> sqlx::Result<Option<AgentId>> {
    let id = sqlx::query_scalar!(
        "SELECT agent_id FROM agents WHERE workspace_id = $1 AND name = $2",
        workspace.uuid(),
        name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(AgentId::new))
}

/// Returns an agent, locked until the transaction ends.
pub async fn lock(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: AgentId,
) -> sqlx::Result<Option<AgentRow>> {
    sqlx::query_as!(
        AgentRow,
        r#"
        SELECT agent_id, name, email, zone, hours, open_max, active, turn_no, offered_at, version
        FROM agents
        WHERE workspace_id = $1 AND agent_id = $2
        FOR UPDATE
        "#,
        workspace.uuid(),
        agent.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Locks the active agents in the order of their ids: whoever holds them is the only one who offers.
pub async fn lock_active(conn: &mut PgConnection, workspace: WorkspaceId) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        SELECT agent_id
        FROM agents
        WHERE workspace_id = $1 AND active
        ORDER BY agent_id
        FOR NO KEY UPDATE
        "#,
        workspace.uuid(),
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// Returns the absences that are not over, of all agents, the first `limit`.
pub async fn absences(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<AbsenceRow>> {
    sqlx::query_as!(
        AbsenceRow,
        r#"
        SELECT absence_id, agent_id, from_at, until_at
        FROM agent_absences
        WHERE workspace_id = $1 AND (until_at IS NULL OR until_at > $2)
        ORDER BY from_at, absence_id
        LIMIT $3
        "#,
        workspace.uuid(),
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Adds an absence.
pub async fn add_absence(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    row: &AbsenceRow,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO agent_absences (workspace_id, absence_id, agent_id, from_at, until_at)
        VALUES ($1, $2, $3, $4, $5)
        "#,
        workspace.uuid(),
        row.absence_id,
        row.agent_id,
        row.from_at,
        row.until_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes an absence. Returns whether there was one.
pub async fn delete_absence(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: AgentId,
    absence: Uuid,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        DELETE FROM agent_absences
        WHERE workspace_id = $1 AND agent_id = $2 AND absence_id = $3
        "#,
        workspace.uuid(),
        agent.uuid(),
        absence,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes the absences of an agent that last at `now`. Returns how many there were.
pub async fn end_absences(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: AgentId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        DELETE FROM agent_absences
        WHERE workspace_id = $1 AND agent_id = $2 AND from_at <= $3
          AND (until_at IS NULL OR until_at > $3)
        "#,
        workspace.uuid(),
        agent.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Raises the version of an agent that is locked: its absences changed.
pub async fn touch(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: AgentId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE agents SET version = version + 1 WHERE workspace_id = $1 AND agent_id = $2",
        workspace.uuid(),
        agent.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes an agent that is locked, with the offers made to them; leads they have stay with the team.
pub async fn delete(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: AgentId,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE handovers SET agent_id = NULL, offer_id = NULL
        WHERE workspace_id = $1 AND agent_id = $2
        "#,
        workspace.uuid(),
        agent.uuid(),
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM handover_offers WHERE workspace_id = $1 AND agent_id = $2",
        workspace.uuid(),
        agent.uuid(),
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM agent_absences WHERE workspace_id = $1 AND agent_id = $2",
        workspace.uuid(),
        agent.uuid(),
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM agents WHERE workspace_id = $1 AND agent_id = $2",
        workspace.uuid(),
        agent.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many leads an agent has.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Who.
    pub agent_id: Uuid,
    /// Leads that are offered, taken or answered, and not closed.
    pub open: i64,
}

/// Returns how many leads the agents have, those who have any.
pub async fn loads(conn: &mut PgConnection, workspace: WorkspaceId) -> sqlx::Result<Vec<Load>> {
    sqlx::query_as!(
        Load,
        r#"
        SELECT agent_id AS "agent_id!", count(*) AS "open!"
        FROM handovers
        WHERE workspace_id = $1 AND agent_id IS NOT NULL
          AND state IN ('offered', 'accepted', 'answered')
        GROUP BY agent_id
        "#,
        workspace.uuid(),
    )
    .fetch_all(conn)
    .await
}

/// The newest handover of an enrollment.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Whose.
    pub enrollment_id: Uuid,
    /// Which handover.
    pub visit: i32,
    /// The agent who has it, or is asked.
    pub agent_id: Option<Uuid>,
}

/// Returns the newest handover of each of `enrollments`.
pub async fn standing(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
) -> sqlx::Result<Vec<Standing>> {
    sqlx::query_as!(
        Standing,
        r#"
        SELECT DISTINCT ON (enrollment_id) enrollment_id, visit, agent_id
        FROM handovers
        WHERE workspace_id = $1 AND enrollment_id = ANY ($2)
        ORDER BY enrollment_id, visit DESC
        "#,
        workspace.uuid(),
        enrollments,
    )
    .fetch_all(conn)
    .await
}

/// An offer that was made.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// By which mail.
    pub send_id: Uuid,
    /// About whose handover.
    pub enrollment_id: Uuid,
    /// Which of them.
    pub visit: i32,
    /// To whom.
    pub agent_id: Uuid,
}

/// Returns the offers that were made about `enrollments`.
pub async fn made(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
) -> sqlx::Result<Vec<Made>> {
    sqlx::query_as!(
        Made,
        r#"
        SELECT send_id, enrollment_id, visit, agent_id
        FROM handover_offers
        WHERE workspace_id = $1 AND enrollment_id = ANY ($2)
        "#,
        workspace.uuid(),
        enrollments,
    )
    .fetch_all(conn)
    .await
}

/// Offers that pass the gate, column by column.
#[derive(Debug, Default)]
pub struct Offers {
    /// By which mails.
    pub sends: Vec<Uuid>,
    /// About whose handovers.
    pub enrollments: Vec<Uuid>,
    /// Which of them.
    pub visits: Vec<i32>,
    /// To whom.
    pub agents: Vec<Uuid>,
    /// The numbers of the offers.
    pub turn_nos: Vec<i64>,
}

/// Writes offers that pass the gate: who has which lead now, and who was asked last.
pub async fn offer(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    offers: &Offers,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if offers.sends.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO handover_offers (
            workspace_id, send_id, enrollment_id, visit, agent_id, offered_at)
        SELECT $1, u.send_id, u.enrollment_id, u.visit, u.agent_id, $6
        FROM unnest($2::uuid[], $3::uuid[], $4::int[], $5::uuid[])
             AS u (send_id, enrollment_id, visit, agent_id)
        ON CONFLICT (workspace_id, send_id) DO UPDATE SET offered_at = excluded.offered_at
        "#,
        workspace.uuid(),
        &offers.sends,
        &offers.enrollments,
        &offers.visits,
        &offers.agents,
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        UPDATE handovers AS h SET agent_id = u.agent_id, offer_id = u.send_id
        FROM unnest($2::uuid[], $3::uuid[], $4::int[], $5::uuid[])
             AS u (send_id, enrollment_id, visit, agent_id)
        WHERE h.workspace_id = $1 AND h.enrollment_id = u.enrollment_id AND h.visit = u.visit
        "#,
        workspace.uuid(),
        &offers.sends,
        &offers.enrollments,
        &offers.visits,
        &offers.agents,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        UPDATE agents AS a SET turn_no = u.turn_no, offered_at = $4
        FROM (SELECT agent_id, max(turn_no) AS turn_no
              FROM unnest($2::uuid[], $3::bigint[]) AS o (agent_id, turn_no)
              GROUP BY agent_id) AS u
        WHERE a.workspace_id = $1 AND a.agent_id = u.agent_id
        "#,
        workspace.uuid(),
        &offers.agents,
        &offers.turn_nos,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
