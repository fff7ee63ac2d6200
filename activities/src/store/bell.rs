//! The bell: a commit that brings work says so, and the runners look.

use machine::ids::WorkspaceId;
use sqlx::PgConnection;

/// The channel of work for turns, orders and mail; the payload is the workspace.
pub const WORK: &str = "meridian";

/// The channel of what campaigns have in store for many leads; the payload is the workspace.
pub const PLANS: &str = "meridian_plans";

/// Rings when the transaction commits, once, however often it is called inside.
pub async fn ring(conn: &mut PgConnection, workspace: WorkspaceId) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_notify($1, $2)", WORK, workspace.to_string()).fetch_one(conn).await?;
    Ok(())
}

/// As [`ring`], for those who carry out plans.
pub async fn ring_for_plans(conn: &mut PgConnection, workspace: WorkspaceId) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_notify($1, $2)", PLANS, workspace.to_string()).fetch_one(conn).await?;
    Ok(())
}
