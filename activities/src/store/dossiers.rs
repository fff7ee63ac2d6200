//! What a dossier is made of beside the journal: what was written to the lead, where it lives and how
//! its run stands.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

/// A message that left.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its id.
    pub send_id: Uuid,
    /// Whose.
    pub enrollment_id: Uuid,
    /// The step it belongs to.
    pub step_key: String,
    /// When it left, campaign time.
    pub gate_at: DateTime<Utc>,
    /// Its subject.
    pub subject: Option<String>,
    /// Its plain part.
    pub text: Option<String>,
}

/// Returns those of `sends` that left, or may have, oldest first.
pub async fn sent(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<Vec<Sent>> {
    sqlx::query_as!(
        Sent,
        r#"
        SELECT s.send_id, s.enrollment_id, s.step_key, s.gate_at AS "gate_at!", c.subject AS "subject?",
               c.text AS "text?"
        FROM unnest($2::uuid[]) AS u (send_id)
        JOIN sends s ON s.workspace_id = $1 AND s.send_id = u.send_id
                    AND s.state IN ('accepted', 'unknown', 'needs_review', 'dispatching')
        LEFT JOIN send_contents c ON c.workspace_id = $1 AND c.send_id = u.send_id
        ORDER BY s.gate_at, s.send_id
        "#,
        workspace.uuid(),
        sends,
    )
    .fetch_all(conn)
    .await
}

/// Where a lead lives, and who writes to it.
#[derive(Debug, Clone)]
pub struct Home {
    /// Whose run.
    pub enrollment_id: Uuid,
    /// The zone of its own.
    pub zone: Option<String>,
    /// The tenant's name.
    pub workspace: String,
    /// The serialised machine, JSON.
    pub snapshot: Vec<u8>,
}

/// Returns the homes of `enrollments`.
pub async fn homes(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
) -> sqlx::Result<Vec<Home>> {
    sqlx::query_as!(
        Home,
        r#"
        SELECT e.enrollment_id, l.zone, w.name AS workspace, e.snapshot
        FROM enrollments e
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = e.lead_id
        JOIN workspaces w ON w.workspace_id = $1
        WHERE e.workspace_id = $1 AND e.enrollment_id = ANY ($2)
        "#,
        workspace.uuid(),
        enrollments,
    )
    .fetch_all(conn)
    .await
}
