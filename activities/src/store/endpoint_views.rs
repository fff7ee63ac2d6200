//! Webhook endpoints as people look at them. Their secrets cannot be shown: only hashes are stored.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::webhook_endpoints::EndpointId;

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

/// Returns at most `limit` endpoints, the newest first, closed ones too, from behind `before`.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    before: Option<Uuid>,
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
          AND ($2::uuid IS NULL OR w.endpoint_id < $2)
        ORDER BY w.endpoint_id DESC
        LIMIT $3
        "#,
        workspace.uuid(),
        before,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns an endpoint, open or closed.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    endpoint: EndpointId,
) -> sqlx::Result<Option<EndpointView>> {
    sqlx::query_as!(
        EndpointView,
        r#"
        SELECT
            w.endpoint_id, w.provider, w.created_at, w.revoked_at,
            (SELECT max(i.received_at) FROM inbound_events i
             WHERE i.workspace_id = $1 AND i.provider = w.provider) AS last_event_at
        FROM webhook_endpoints w
        WHERE w.workspace_id = $1 AND w.endpoint_id = $2
        "#,
        workspace.uuid(),
        endpoint.uuid(),
    )
    .fetch_optional(conn)
    .await
}
