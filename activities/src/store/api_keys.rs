//! The keys of programs that drive us.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::endpoint_key::KeyHash;

/// A key as stored.
#[derive(Debug, Clone)]
pub struct ApiKeyRow {
    /// Its id.
    pub key_id: Uuid,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// Wall time.
    pub created_at: DateTime<Utc>,
    /// Wall time, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Wall time.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Stores a key.
pub async fn add(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    row: &ApiKeyRow,
    hash: &KeyHash,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO api_keys (workspace_id, key_id, name, role, secret_hash, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        "#,
        workspace.uuid(),
        row.key_id,
        row.name,
        row.role,
        hash.as_bytes().as_slice(),
        row.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the key with this hash, if it is not revoked.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    hash: &KeyHash,
) -> sqlx::Result<Option<ApiKeyRow>> {
    sqlx::query_as!(
        ApiKeyRow,
        r#"
        SELECT key_id, name, role, created_at, last_used_at, revoked_at
        FROM api_keys
        WHERE workspace_id = $1
          AND secret_hash = $2
          AND revoked_at IS NULL
        "#,
        workspace.uuid(),
        hash.as_bytes().as_slice()
    )
    .fetch_optional(conn)
    .await
}

/// Returns a key, in force or revoked.
pub async fn by_id(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: Uuid,
) -> sqlx::Result<Option<ApiKeyRow>> {
    sqlx::query_as!(
        ApiKeyRow,
        r#"
        SELECT key_id, name, role, created_at, last_used_at, revoked_at
        FROM api_keys
        WHERE workspace_id = $1
          AND key_id = $2
        "#,
        workspace.uuid(),
        key
    )
    .fetch_optional(conn)
    .await
}

/// Returns at most `limit` keys of a workspace, the newest first, revoked ones too, from behind `before`.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<ApiKeyRow>> {
    sqlx::query_as!(
        ApiKeyRow,
        r#"
        SELECT key_id, name, role, created_at, last_used_at, revoked_at
        FROM api_keys
        WHERE workspace_id = $1
          AND ($2::uuid IS NULL OR key_id < $2)
        ORDER BY key_id DESC
        LIMIT $3
        "#,
        workspace.uuid(),
        before,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Notes that a key was used at `now`, wall time.
pub async fn used(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE api_keys SET last_used_at = $3 WHERE workspace_id = $1 AND key_id = $2",
        workspace.uuid(),
        key,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a key is in force.
pub async fn is_in_force(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM api_keys
            WHERE workspace_id = $1 AND key_id = $2 AND revoked_at IS NULL) AS "in_force!"
        "#,
        workspace.uuid(),
        key
    )
    .fetch_one(conn)
    .await
}

/// Ends a key. Returns whether it was in force.
pub async fn revoke(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE api_keys
        SET revoked_at = $3
        WHERE workspace_id = $1
          AND key_id = $2
          AND revoked_at IS NULL
        "#,
        workspace.uuid(),
        key,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
