//! What a message is made of: the person, the address, the thread it goes on.

use std::collections::HashMap;

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
                WHERE a.workspace_id = l.workspace_id AND a.lead_id = l.lead_id
                  AND a.channel = 'email'
                ORDER BY a.address LIMIT 1) AS email,
               (SELECT a.address FROM addresses a
                WHERE a.workspace_id = l.workspace_id AND a.lead_id = l.lead_id
                  AND a.channel = 'sms'
                ORDER BY a.address LIMIT 1) AS phone
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, lead_id)
        JOIN leads l ON l.workspace_id = u.workspace_id AND l.lead_id = u.lead_id
        WHERE l.erased_at IS NULL
        "#,
        &vec![workspace.uuid(); ids.len()],
        ids,
    )
    .fetch_all(conn)
    .await
}

/// An earlier message of the same enrollment.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Which.
    pub send_id: Uuid,
    /// Whose.
    pub enrollment_id: Uuid,
    /// Its name.
    pub message_id: Option<String>,
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
        SELECT s.send_id, s.enrollment_id, s.message_id
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, send_id)
        JOIN sends s ON s.workspace_id = u.workspace_id AND s.send_id = u.send_id
                    AND s.state IN ('accepted', 'unknown', 'needs_review', 'dispatching')
        ORDER BY s.enrollment_id, s.gate_at
        "#,
        &vec![workspace.uuid(); sends.len()],
        sends,
    )
    .fetch_all(conn)
    .await
}

/// Returns the subjects of those of `sends` that have one.
pub async fn subjects(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, String>> {
    if sends.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"
        SELECT c.send_id, c.subject AS "subject!"
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, send_id)
        JOIN send_contents c ON c.workspace_id = u.workspace_id AND c.send_id = u.send_id
        WHERE c.subject IS NOT NULL
        "#,
        &vec![workspace.uuid(); sends.len()],
        sends,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.send_id, row.subject)).collect())
}
