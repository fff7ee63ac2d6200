//! Webhook endpoints as people look at them. Their secrets cannot be shown: only hashes are stored.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

/// An endpoint in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointView {
    /// Its id.
    pub endpoint_id: Uuid,
    /// Who posts to it.
    pub provider: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was closed.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When this provider's newest event came, to whichever endpoint.
    pub last_event_at: Option<DateTime<Utc>>,
}

/// Returns the first `limit` endpoints, newest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    limit: i64,
) -> sqlx::Result<Vec<EndpointView>> {
    sqlx::query_as!(
        EndpointView,
        r#"
        SELECT
            w.endpoint_id, w.provider, w.created_at, w.revoked_at,
            (SELECT max(i.received_at) FROM inbound_events i
             WHERE i.workspace_id = $1 AND i.provider = w.provider) AS last_event_at
        FROM webhook_endpoints w
        WHERE w.workspace_id = $1
        ORDER BY w.endpoint_id DESC
        LIMIT $2
        "#,
        workspace.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await
}
