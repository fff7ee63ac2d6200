//! Who did what: append-only, for people who ask later.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use serde_json::Value;
use sqlx::PgConnection;

/// One act.
#[derive(Debug, Clone)]
pub struct Act<'a> {
    /// Who: a person's name, `cli`, or a part of the program.
    pub actor: &'a str,
    /// What, in a word: the kind of a signal, `lead.import`, `endpoint.create`.
    pub act: &'a str,
    /// To what: a kind and an id, as in `enrollment/…`.
    pub subject: &'a str,
    /// More about it; never an address.
    pub details: Option<Value>,
}

/// Records an act at `now`, wall time.
pub async fn record(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    act: &Act<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO audit (workspace_id, at, actor, act, subject, details)
        VALUES ($1, $2, $3, $4, $5, $6)
        "#,
        workspace.uuid(),
        now,
        act.actor,
        act.act,
        act.subject,
        act.details
    )
    .execute(conn)
    .await?;
    Ok(())
}
