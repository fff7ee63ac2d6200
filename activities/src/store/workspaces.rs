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

/// A workspace as it is shown.
#[derive(Debug, Clone)]
pub struct WorkspaceView {
    /// Its name.
    pub name: String,
    /// Rises with every change.
    pub version: i32,
    /// Whom handovers are offered to where a campaign names nobody.
    pub handover_address: Option<String>,
}

/// Returns a workspace, in a transaction confined to it.
pub async fn view(conn: &mut PgConnection, workspace: WorkspaceId) -> sqlx::Result<WorkspaceView> {
    sqlx::query_as!(
        WorkspaceView,
        r#"
        SELECT name, version, handover_address
        FROM workspaces
        WHERE workspace_id = $1
        "#,
        workspace.uuid()
    )
    .fetch_one(conn)
    .await
}

/// Returns the address to which handovers are offered where a campaign names nobody, which stays so
/// until the transaction ends.
pub async fn hold_handover_address(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        r#"
        SELECT handover_address
        FROM workspaces
        WHERE workspace_id = $1
        FOR SHARE
        "#,
        workspace.uuid()
    )
    .fetch_one(conn)
    .await
}

/// Locks a workspace, and returns its version.
pub async fn lock(conn: &mut PgConnection, workspace: WorkspaceId) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        r#"
        SELECT version
        FROM workspaces
        WHERE workspace_id = $1
        FOR NO KEY UPDATE
        "#,
        workspace.uuid()
    )
    .fetch_one(conn)
    .await
}

/// Sets the address to which handovers are offered where a campaign names nobody.
pub async fn set_handover_address(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    address: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE workspaces
        SET handover_address = $2, version = version + 1
        WHERE workspace_id = $1
        "#,
        workspace.uuid(),
        address
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the campaigns that hand over to the workspace's address hand over to this one. Returns how many.
pub async fn hand_over_to(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    address: &str,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        UPDATE campaigns
        SET settings = jsonb_set(settings, '{handover,to}', to_jsonb($2::text))
        WHERE workspace_id = $1 AND settings #>> '{handover,is_default}' = 'true'
        "#,
        workspace.uuid(),
        address
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Returns the name of a campaign that is not over and hands over to the workspace's address.
pub async fn hands_over_by_default(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        r#"
        SELECT name
        FROM campaigns
        WHERE workspace_id = $1 AND settings #>> '{handover,is_default}' = 'true'
          AND status <> 'stopped'
        ORDER BY name
        LIMIT 1
        "#,
        workspace.uuid()
    )
    .fetch_optional(conn)
    .await
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
