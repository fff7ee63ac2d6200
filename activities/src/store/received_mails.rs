//! The mails and texts that leads wrote, as they are stored: sealed.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// A mail or a text that an enrollment was told of.
#[derive(Debug)]
pub struct ReceivedRow {
    /// Who was told.
    pub enrollment_id: Uuid,
    /// When it came, campaign time.
    pub at: DateTime<Utc>,
    /// What it was taken for; `None` while nobody has read it.
    pub kind: Option<String>,
    /// What is known about where it came from.
    pub refs: Option<Value>,
    /// The stored event.
    pub event_id: Uuid,
    /// How often reading it failed.
    pub attempts: i16,
    /// What came, sealed.
    pub payload: Vec<u8>,
}

/// Returns the newest mails and texts of each of `enrollments`, at most `limit` of each, oldest first. With a
/// `kind`, only those that were taken for it.
pub async fn newest(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
    kind: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<ReceivedRow>> {
    if enrollments.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        ReceivedRow,
        r#"
        SELECT u.enrollment_id AS "enrollment_id!", m.at, m.kind, m.refs, m.event_id, m.attempts,
               m.payload
        FROM unnest($2::uuid[]) AS u (enrollment_id)
        CROSS JOIN LATERAL (
            SELECT s.seq, s.at, s.kind, s.refs, v.event_id, v.attempts, v.payload
            FROM signals s
            JOIN inbound_events v ON v.workspace_id = $1 AND v.event_id = s.event_id
            WHERE s.workspace_id = $1
              AND s.enrollment_id = u.enrollment_id
              AND v.kind IN ('mail', 'text', 'text_stop', 'text_start', 'text_help')
              AND ($3::text IS NULL OR s.kind = $3)
            ORDER BY s.seq DESC
            LIMIT $4) AS m
        ORDER BY u.enrollment_id, m.seq
        "#,
        workspace.uuid(),
        enrollments,
        kind,
        limit,
    )
    .fetch_all(conn)
    .await
}
