//! Finding work: the few looks across the walls, each through a function that runs as a role which
//! may read nothing else.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, WorkspaceId};
use sqlx::PgConnection;

/// Returns every workspace with the earliest time at which one of its leads is due.
pub async fn due_workspaces(
    conn: &mut PgConnection,
) -> sqlx::Result<Vec<(WorkspaceId, Option<DateTime<Utc>>)>> {
    let rows =
        sqlx::query!(r#"SELECT workspace_id AS "workspace_id!", wake_at FROM due_workspaces()"#)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|row| (WorkspaceId::new(row.workspace_id), row.wake_at)).collect())
}

/// Returns the workspaces that hold mail nobody has read.
pub async fn uninterpreted_workspaces(conn: &mut PgConnection) -> sqlx::Result<Vec<WorkspaceId>> {
    let rows = sqlx::query_scalar!(
        r#"SELECT workspace_id AS "workspace_id!" FROM uninterpreted_workspaces()"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(WorkspaceId::new).collect())
}

/// Returns the campaigns some of whose leads have not been told the newest order.
pub async fn untold_campaigns(
    conn: &mut PgConnection,
) -> sqlx::Result<Vec<(WorkspaceId, CampaignId)>> {
    let rows = sqlx::query!(
        r#"
        SELECT workspace_id AS "workspace_id!", campaign_id AS "campaign_id!"
        FROM untold_campaigns()
        "#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (WorkspaceId::new(row.workspace_id), CampaignId::new(row.campaign_id)))
        .collect())
}

/// Returns the campaigns whose audience is to enter, each with its time, the thousand earliest first.
pub async fn planned_starts(
    conn: &mut PgConnection,
) -> sqlx::Result<Vec<(WorkspaceId, CampaignId, DateTime<Utc>)>> {
    let rows = sqlx::query!(
        r#"
        SELECT workspace_id AS "workspace_id!", campaign_id AS "campaign_id!",
            start_at AS "start_at!"
        FROM planned_starts()
        ORDER BY start_at
        LIMIT 1000
        "#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.workspace_id.into(), row.campaign_id.into(), row.start_at))
        .collect())
}

/// Returns campaigns whose leads are being moved to another version, a thousand at a time.
pub async fn moving_campaigns(
    conn: &mut PgConnection,
) -> sqlx::Result<Vec<(WorkspaceId, CampaignId)>> {
    let rows = sqlx::query!(
        r#"
        SELECT workspace_id AS "workspace_id!", campaign_id AS "campaign_id!"
        FROM moving_campaigns()
        ORDER BY campaign_id
        LIMIT 1000
        "#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.workspace_id.into(), row.campaign_id.into())).collect())
}

/// Returns ids of due enrollments without locking them, oldest first.
pub async fn due_ids(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<uuid::Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT enrollment_id FROM enrollments
        WHERE workspace_id = $1
          AND wake_at IS NOT NULL AND parked_at IS NULL AND engine = 'postgres'
          AND wake_at <= $2
        ORDER BY wake_at, enrollment_id
        LIMIT $3
        "#,
        workspace.uuid(),
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Ends campaigns all of whose leads have ended. Returns which.
pub async fn finish_campaigns(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<CampaignId>> {
    let idle = sqlx::query_scalar!(
        r#"
        SELECT c.campaign_id FROM campaigns AS c
        WHERE c.workspace_id = $1 AND c.status = 'active'
          AND EXISTS (
              SELECT 1 FROM counter_deltas d
              WHERE d.workspace_id = $1 AND d.campaign_id = c.campaign_id)
          -- Those who have yet to enter are no less its leads.
          AND c.start_at IS NULL
          AND (SELECT coalesce(sum(d.n), 0) FROM counter_deltas d
               WHERE d.workspace_id = $1 AND d.campaign_id = c.campaign_id
                 AND d.measure IN (
                    'state/queued', 'state/waiting', 'state/sending', 'state/retrying',
                    'state/needs_approval', 'state/call_due', 'state/with_person', 'state/held',
                    'state/paused')) = 0
        ORDER BY c.campaign_id
        LIMIT 1000
        FOR NO KEY UPDATE OF c SKIP LOCKED
        "#,
        workspace.uuid(),
    )
    .fetch_all(&mut *conn)
    .await?;
    if idle.is_empty() {
        return Ok(Vec::new());
    }
    // A statement of its own after the lock: it sees who entered meanwhile.
    let done = sqlx::query_scalar!(
        r#"
        UPDATE campaigns AS c SET status = 'finished', finished_at = $2
        WHERE c.workspace_id = $1 AND c.campaign_id = ANY ($3)
          AND NOT EXISTS (
              SELECT 1 FROM enrollments e
              WHERE e.workspace_id = $1 AND e.campaign_id = c.campaign_id AND e.ended_at IS NULL)
        RETURNING c.campaign_id
        "#,
        workspace.uuid(),
        now,
        &idle,
    )
    .fetch_all(conn)
    .await?;
    Ok(done.into_iter().map(CampaignId::new).collect())
}

/// Folds the changes of each counter into one row.
pub async fn fold_counters(conn: &mut PgConnection, workspace: WorkspaceId) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        WITH oldest AS (
            SELECT delta_id, campaign_id, step_key, variant, measure FROM counter_deltas
            WHERE workspace_id = $1
            ORDER BY delta_id LIMIT 10000),
        counted AS (
            SELECT delta_id,
                   count(*) OVER (PARTITION BY campaign_id, step_key, variant, measure) AS parts
            FROM oldest),
        taken AS (
            DELETE FROM counter_deltas d
            WHERE d.workspace_id = $1
              AND d.delta_id IN (SELECT delta_id FROM counted WHERE parts > 1)
            RETURNING d.campaign_id, d.step_key, d.variant, d.measure, d.n)
        INSERT INTO counter_deltas (workspace_id, campaign_id, step_key, variant, measure, n)
        SELECT $1, campaign_id, step_key, variant, measure, sum(n)::bigint
        FROM taken
        GROUP BY campaign_id, step_key, variant, measure
        HAVING sum(n) <> 0
        "#,
        workspace.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
