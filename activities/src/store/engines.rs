//! Engines as rows name them: what new campaigns get, and the leads of Temporal whose workflows are to
//! be poked.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, EnrollmentId, LeadId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::enrollments::Cursor;
use crate::engine::Engine;

/// Returns the engine that new campaigns get.
pub async fn usual(conn: &mut PgConnection) -> sqlx::Result<Engine> {
    let usual = sqlx::query_scalar!(r#"SELECT engine AS "engine: Engine" FROM usual_engine"#);
    Ok(usual.fetch_optional(conn).await?.unwrap_or_default())
}

/// Lets new campaigns get `engine` from now on.
pub async fn make_usual(conn: &mut PgConnection, engine: Engine) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO usual_engine (engine) VALUES ($1)
        ON CONFLICT (only_row) DO UPDATE SET engine = excluded.engine
        "#,
        engine.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A workspace in which Temporal drives leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relayed {
    /// Which.
    pub workspace: WorkspaceId,
    /// When the first of them is due.
    pub wake_at: Option<DateTime<Utc>>,
    /// Whether one of them has not heard a signal.
    pub unheard: bool,
    /// Whether one of them was never turned.
    pub unstarted: bool,
}

/// Returns the workspaces in which Temporal drives leads that wait for something.
pub async fn relayed_workspaces(conn: &mut PgConnection) -> sqlx::Result<Vec<Relayed>> {
    let rows = sqlx::query!(
        r#"
        SELECT workspace_id AS "workspace_id!", wake_at, unheard AS "unheard!",
               unstarted AS "unstarted!"
        FROM relayed_workspaces()
        "#
    )
    .fetch_all(conn)
    .await?;
    let relayed = rows.into_iter().map(|row| Relayed {
        workspace: WorkspaceId::new(row.workspace_id),
        wake_at: row.wake_at,
        unheard: row.unheard,
        unstarted: row.unstarted,
    });
    Ok(relayed.collect())
}

/// A lead whose workflow is to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub enrollment: EnrollmentId,
    /// Its campaign.
    pub campaign: CampaignId,
    /// Its newest signal.
    pub signal_seq: i32,
    /// When it is due.
    pub wake_at: Option<DateTime<Utc>>,
    /// The transaction that wrote its row last (`xmin`): any change of the row is another one.
    pub row_version: String,
}

/// Returns up to `limit` leads of Temporal whose next signal can be heard, in the order of their ids
/// behind `after`. One whose mail waits to be read is woken by whoever reads it.
pub async fn unheard(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: EnrollmentId,
    limit: i64,
) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r#"
        SELECT e.enrollment_id AS enrollment, e.campaign_id AS campaign, e.signal_seq, e.wake_at,
               e.xmin::text AS "row_version!"
        FROM enrollments AS e
        WHERE e.workspace_id = $1 AND e.enrollment_id > $2
          AND e.signal_seq > e.applied_seq AND e.parked_at IS NULL AND e.engine = 'temporal'
          AND EXISTS (
              SELECT 1 FROM signals AS s
              WHERE s.workspace_id = $1 AND s.enrollment_id = e.enrollment_id
                AND s.seq = e.applied_seq + 1 AND s.kind IS NOT NULL)
        ORDER BY e.enrollment_id
        LIMIT $3
        "#,
        workspace.uuid(),
        after.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns up to `limit` leads of Temporal that were never turned, in the order of their ids behind
/// `after`.
pub async fn unstarted(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: EnrollmentId,
    limit: i64,
) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r#"
        SELECT enrollment_id AS enrollment, campaign_id AS campaign, signal_seq, wake_at,
               xmin::text AS "row_version!"
        FROM enrollments
        WHERE workspace_id = $1 AND enrollment_id > $2
          AND turn = 0 AND parked_at IS NULL AND engine = 'temporal'
        ORDER BY enrollment_id
        LIMIT $3
        "#,
        workspace.uuid(),
        after.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns up to `limit` leads of Temporal that are due at `now` behind `after`, oldest first.
pub async fn overdue(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
    after: Option<Cursor>,
    limit: i64,
) -> sqlx::Result<Vec<Waiting>> {
    let after_at = after.map_or(DateTime::UNIX_EPOCH, |cursor| cursor.wake_at);
    let after_id = after.map_or(Uuid::nil(), |cursor| cursor.enrollment.uuid());
    sqlx::query_as!(
        Waiting,
        r#"
        SELECT enrollment_id AS enrollment, campaign_id AS campaign, signal_seq, wake_at,
               xmin::text AS "row_version!"
        FROM enrollments
        WHERE workspace_id = $1
          AND wake_at IS NOT NULL AND parked_at IS NULL AND engine = 'temporal'
          AND wake_at <= $2
          AND (wake_at, enrollment_id) > ($3, $4)
        ORDER BY wake_at, enrollment_id
        LIMIT $5
        "#,
        workspace.uuid(),
        now,
        after_at,
        after_id,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// How an enrollment stands, as whoever drives it has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The engine that drives it.
    pub engine: Engine,
    /// The number of its newest journal row.
    pub turn: i32,
    /// The newest signal its machine has seen.
    pub applied_seq: i32,
    /// The state as shown.
    pub state: String,
    /// What comes next.
    pub next_step: Option<String>,
    /// When it is due.
    pub wake_at: Option<DateTime<Utc>>,
    /// Since when nobody turns it.
    pub parked_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Returns how an enrollment stands; `None` where there is none.
pub async fn standing(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
) -> sqlx::Result<Option<Standing>> {
    sqlx::query_as!(
        Standing,
        r#"
        SELECT engine AS "engine: Engine", turn, applied_seq, state, next_step, wake_at, parked_at, ended_at
        FROM enrollments
        WHERE workspace_id = $1 AND enrollment_id = $2
        "#,
        workspace.uuid(),
        enrollment.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Lets `engine` drive a campaign from now on. Returns whether another one did before.
pub async fn set_campaign(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    engine: Engine,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE campaigns SET engine = $3
        WHERE workspace_id = $1 AND campaign_id = $2 AND engine <> $3
        "#,
        workspace.uuid(),
        campaign.uuid(),
        engine.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns enrollments of a campaign that `engine` does not drive, each with its lead, in the order of
/// their leads behind `after`.
pub async fn elsewhere(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    engine: Engine,
    after: LeadId,
    limit: i64,
) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    let rows = sqlx::query!(
        r#"
        SELECT enrollment_id, lead_id FROM enrollments
        WHERE workspace_id = $1 AND campaign_id = $2 AND lead_id > $3 AND engine <> $4
        ORDER BY lead_id
        LIMIT $5
        "#,
        workspace.uuid(),
        campaign.uuid(),
        after.uuid(),
        engine.as_str(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.enrollment_id, row.lead_id)).collect())
}

/// Lets `engine` drive enrollments, which are locked. Those that wait for a time are due since
/// `overdue`, so that it looks at them. Returns how many it did not drive before.
pub async fn set(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
    engine: Engine,
    overdue: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        UPDATE enrollments
        SET engine = $3,
            wake_at = CASE WHEN wake_at IS NOT NULL THEN least(wake_at, $4) END
        WHERE workspace_id = $1 AND enrollment_id = ANY ($2) AND engine <> $3
        "#,
        workspace.uuid(),
        ids,
        engine.as_str(),
        overdue,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
