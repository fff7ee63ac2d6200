//! Tenants: found by name across the walls, made inside their own.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;

use super::{Store, clock};
use crate::error::Result;
use crate::ids;

/// The workspace of whoever does not name one.
pub const DEFAULT: &str = "default";

/// Returns the workspace of this name.
pub async fn find(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<WorkspaceId>> {
    let id = sqlx::query_scalar!("SELECT find_workspace($1)", name).fetch_one(conn).await?;
    Ok(id.map(WorkspaceId::new))
}

/// Makes `workspace`, in a transaction confined to it. Returns whether the name was free.
pub async fn create(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    name: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        INSERT INTO workspaces (workspace_id, name, created_at)
        VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING
        "#,
        workspace.uuid(),
        name,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns the workspace of this name, making it if there is none. Safe to call from several
/// processes at once.
pub async fn ensure(store: &Store, name: &str) -> Result<WorkspaceId> {
    loop {
        let mut outside = store.begin_outside().await?;
        let found = find(&mut outside, name).await?;
        outside.rollback().await?;
        if let Some(workspace) = found {
            return Ok(workspace);
        }
        let workspace = ids::new();
        let mut tx = store.begin(workspace).await?;
        let now = clock::read(&mut tx).await?.wall;
        let is_new = create(&mut tx, workspace, name, now).await?;
        tx.commit().await?;
        if is_new {
            return Ok(workspace);
        }
        // Another process was faster: its row is committed, since ours waited for it.
    }
}
