//! What the capture sender was given, and when its played recipients answer.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

/// A message to be kept.
#[derive(Debug)]
pub struct New<'a> {
    /// Which send.
    pub send: Uuid,
    /// Which ask of it.
    pub attempt: i32,
    /// To whom.
    pub recipient: &'a str,
    /// RFC 5322.
    pub message: &'a [u8],
    /// Campaign time.
    pub at: DateTime<Utc>,
    /// When its recipient answers, in campaign time.
    pub play_at: Option<DateTime<Utc>>,
}

/// Keeps a message.
pub async fn keep(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    new: &New<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO captured_messages (
            workspace_id, send_id, attempt, recipient, message, at, play_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        workspace.uuid(),
        new.send,
        new.attempt,
        new.recipient,
        new.message,
        new.at,
        new.play_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns those of `sends` that were kept.
pub async fn kept(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
    attempts: &[i32],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT DISTINCT m.send_id AS "send_id!"
        FROM captured_messages m
        JOIN unnest($2::uuid[], $3::int[]) AS u (send_id, attempt)
          ON m.send_id = u.send_id AND m.attempt = u.attempt
        WHERE m.workspace_id = $1
        "#,
        workspace.uuid(),
        sends,
        attempts,
    )
    .fetch_all(conn)
    .await
}

/// A message whose recipient answers now.
#[derive(Debug, Clone)]
pub struct Due {
    /// Which capture.
    pub capture_id: i64,
    /// Which send.
    pub send_id: Uuid,
    /// Which ask of it.
    pub attempt: i32,
    /// To whom it went.
    pub recipient: String,
    /// When the recipient answers.
    pub play_at: DateTime<Utc>,
    /// The step it belongs to.
    pub step_key: String,
    /// The person.
    pub lead_id: Uuid,
    /// From whom it came.
    pub sender_id: Option<Uuid>,
    /// What it was about.
    pub subject: Option<String>,
}

/// Returns messages whose recipients answer by `now`, earliest first.
pub async fn due(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as!(
        Due,
        r#"
        SELECT m.capture_id, m.send_id, m.attempt, m.recipient, m.play_at AS "play_at!",
               s.step_key, s.lead_id, s.sender_id, c.subject AS "subject?"
        FROM captured_messages m
        JOIN sends s ON s.workspace_id = $1 AND s.send_id = m.send_id
        LEFT JOIN send_contents c ON c.workspace_id = $1 AND c.send_id = m.send_id
        WHERE m.workspace_id = $1 AND m.play_at <= $2
        ORDER BY m.play_at
        LIMIT $3
        "#,
        workspace.uuid(),
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Notes that the recipient of a message has answered.
pub async fn note_played(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    capture: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE captured_messages SET play_at = NULL
        WHERE workspace_id = $1 AND capture_id = $2
        "#,
        workspace.uuid(),
        capture,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns every workspace in which recipients are played, with the time of the next answer.
pub async fn playing_workspaces(
    conn: &mut PgConnection,
) -> sqlx::Result<Vec<(WorkspaceId, DateTime<Utc>)>> {
    let rows = sqlx::query!(
        r#"
        SELECT workspace_id AS "workspace_id!", play_at AS "play_at!"
        FROM playing_workspaces() WHERE play_at IS NOT NULL
        "#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (WorkspaceId::new(row.workspace_id), row.play_at)).collect())
}
