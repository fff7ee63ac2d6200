//! The bell: a commit that brings work says so, and the runners of the workspace look.

use machine::ids::WorkspaceId;
use sqlx::PgConnection;

/// The channel on which it rings; the payload is the workspace.
pub const CHANNEL: &str = "meridian";

/// Rings when the transaction commits, once, however often it is called inside.
pub async fn ring(conn: &mut PgConnection, workspace: WorkspaceId) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, workspace.to_string())
        .fetch_one(conn)
        .await?;
    Ok(())
}
