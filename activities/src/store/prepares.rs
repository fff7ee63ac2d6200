//! What a message is made of: the person, the address, the thread it goes on.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// A person as a message sees them.
#[derive(Debug, Clone)]
pub struct LeadRow {
    /// Who.
    pub lead_id: Uuid,
    /// The version of the data that is read here; the gate compares.
    pub version: i32,
    /// Everything the texts may name.
    pub attributes: Value,
    /// Where mail goes.
    pub email: Option<String>,
    /// Where texts go.
    pub phone: Option<String>,
}

/// Reads leads with the mail address and the telephone number each has.
pub async fn leads(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<LeadRow>> {
    sqlx::query_as!(
        LeadRow,
        r#"
        SELECT l.lead_id, l.version, l.attributes,
               (SELECT a.address FROM addresses a
                WHERE a.workspace_id = $1 AND a.lead_id = l.lead_id AND a.channel = 'email'
                ORDER BY a.address LIMIT 1) AS email,
               (SELECT a.address FROM addresses a
                WHERE a.workspace_id = $1 AND a.lead_id = l.lead_id AND a.channel = 'sms'
                ORDER BY a.address LIMIT 1) AS phone
        FROM leads l
        WHERE l.workspace_id = $1 AND l.lead_id = ANY ($2) AND l.erased_at IS NULL
        "#,
        workspace.uuid(),
        ids,
    )
    .fetch_all(conn)
    .await
}

/// An earlier message of the same enrollment.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Whose.
    pub enrollment_id: Uuid,
    /// Its name.
    pub message_id: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// When it left.
    pub gate_at: Option<DateTime<Utc>>,
}

/// Reads those of `sends` that were accepted, oldest first.
pub async fn earlier(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<Vec<Earlier>> {
    if sends.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        Earlier,
        r#"
        SELECT s.enrollment_id, s.message_id, c.subject AS "subject?", s.gate_at
        FROM unnest($2::uuid[]) AS u (send_id)
        JOIN sends s ON s.workspace_id = $1 AND s.send_id = u.send_id
                    AND s.state IN ('accepted', 'unknown', 'needs_review', 'dispatching')
        LEFT JOIN send_contents c ON c.workspace_id = $1 AND c.send_id = u.send_id
        ORDER BY s.enrollment_id, s.gate_at
        "#,
        workspace.uuid(),
        sends,
    )
    .fetch_all(conn)
    .await
}
