//! The list of suppressions as people see it.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::suppression_key::SuppressionHash;

/// One entry, in force or lifted.
#[derive(Debug, Clone)]
pub struct SuppressionView {
    /// Its id.
    pub suppression_id: Uuid,
    /// `address` or `domain`.
    pub scope: String,
    /// The address or domain; `None` once erased.
    pub value: Option<String>,
    /// Why.
    pub reason: String,
    /// Campaign time.
    pub suppressed_at: DateTime<Utc>,
    /// Campaign time.
    pub lifted_at: Option<DateTime<Utc>>,
}

/// Returns at most `limit` entries in force, the newest first, from behind `before`.
pub async fn in_force(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<SuppressionView>> {
    sqlx::query_as!(
        SuppressionView,
        r#"
        SELECT suppression_id, scope, value, reason, suppressed_at, lifted_at
        FROM suppressions
        WHERE workspace_id = $1
          AND lifted_at IS NULL
          AND ($2::uuid IS NULL OR suppression_id < $2)
        ORDER BY suppression_id DESC
        LIMIT $3
        "#,
        workspace.uuid(),
        before,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Returns an entry that is in force.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: Uuid,
) -> sqlx::Result<Option<SuppressionView>> {
    sqlx::query_as!(
        SuppressionView,
        r#"
        SELECT suppression_id, scope, value, reason, suppressed_at, lifted_at
        FROM suppressions
        WHERE workspace_id = $1
          AND suppression_id = $2
          AND lifted_at IS NULL
        "#,
        workspace.uuid(),
        id
    )
    .fetch_optional(conn)
    .await
}

/// Returns at most a thousand entries in force with one of these hashes, of addresses and domains alike.
pub async fn by_hashes(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    hashes: &[SuppressionHash],
) -> sqlx::Result<Vec<SuppressionView>> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    sqlx::query_as!(
        SuppressionView,
        r#"
        SELECT suppression_id, scope, value, reason, suppressed_at, lifted_at
        FROM suppressions
        WHERE workspace_id = $1
          AND scope IN ('address', 'domain')
          AND value_hash = ANY($2)
          AND lifted_at IS NULL
        ORDER BY suppression_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        &hashes
    )
    .fetch_all(conn)
    .await
}

/// Lifts an entry. Returns whether it was in force.
pub async fn lift(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE suppressions
        SET lifted_at = $3
        WHERE workspace_id = $1
          AND suppression_id = $2
          AND lifted_at IS NULL
        "#,
        workspace.uuid(),
        id,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
