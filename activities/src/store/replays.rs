//! What a replay compares with.

use machine::ids::{EnrollmentId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

/// An enrollment as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The person.
    pub lead_id: Uuid,
    /// What it runs.
    pub sequence_id: Uuid,
    /// Which version.
    pub version: i32,
    /// The serialised machine.
    pub snapshot: Vec<u8>,
    /// Whether the person was erased.
    pub erased: bool,
}

/// Reads an enrollment.
pub async fn enrollment(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
) -> sqlx::Result<Option<Stored>> {
    sqlx::query_as!(
        Stored,
        r#"
        SELECT e.lead_id, c.sequence_id, e.version, e.snapshot,
               l.erased_at IS NOT NULL AS "erased!"
        FROM enrollments e
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = e.campaign_id
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = e.lead_id
        WHERE e.workspace_id = $1 AND e.enrollment_id = $2
        "#,
        workspace.uuid(),
        enrollment.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Returns enrollments that have a journal, in the order of their ids.
pub async fn page(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT enrollment_id FROM enrollments
        WHERE workspace_id = $1 AND enrollment_id > $2 AND turn > 0
        ORDER BY enrollment_id
        LIMIT $3
        "#,
        workspace.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}
