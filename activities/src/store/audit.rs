//! Who did what: append-only, for people who ask later.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use serde_json::Value;
use sqlx::PgConnection;

use super::locks;

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
    // Whoever seals waits until nobody is here: numbers are drawn before they can be seen.
    locks::lock_shared(conn, locks::audit_key(workspace)).await?;
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

/// An act on record.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its number; later acts have higher ones.
    pub audit_id: i64,
    /// Wall time.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What.
    pub act: String,
    /// To what.
    pub subject: String,
    /// More about it: JSON, as the database writes it.
    pub details: Option<String>,
    /// Its seal, if it is sealed.
    pub seal: Option<Vec<u8>>,
}

/// Returns the number and the hash of the newest seal.
pub async fn newest_seal(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
) -> sqlx::Result<Option<(i64, Vec<u8>)>> {
    let row = sqlx::query!(
        r#"
        SELECT audit_id, hash
        FROM audit_seals
        WHERE workspace_id = $1
        ORDER BY audit_id DESC
        LIMIT 1
        "#,
        workspace.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.audit_id, row.hash)))
}

/// Returns at most `limit` acts with numbers above `after`, oldest first.
pub async fn after(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<Recorded>> {
    sqlx::query_as!(
        Recorded,
        r#"
        SELECT a.audit_id, a.at, a.actor, a.act, a.subject, a.details::text AS details,
            s.hash AS "seal?"
        FROM audit a
        LEFT JOIN audit_seals s ON s.workspace_id = $1 AND s.audit_id = a.audit_id
        WHERE a.workspace_id = $1
          AND a.audit_id > $2
        ORDER BY a.audit_id
        LIMIT $3
        "#,
        workspace.uuid(),
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Returns at most `limit` acts with numbers below `before`, newest first.
pub async fn before(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    before: i64,
    limit: i64,
) -> sqlx::Result<Vec<Recorded>> {
    sqlx::query_as!(
        Recorded,
        r#"
        SELECT a.audit_id, a.at, a.actor, a.act, a.subject, a.details::text AS details,
            s.hash AS "seal?"
        FROM audit a
        LEFT JOIN audit_seals s ON s.workspace_id = $1 AND s.audit_id = a.audit_id
        WHERE a.workspace_id = $1
          AND a.audit_id < $2
        ORDER BY a.audit_id DESC
        LIMIT $3
        "#,
        workspace.uuid(),
        before,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Stores seals.
pub async fn add_seals(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[i64],
    hashes: &[Vec<u8>],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO audit_seals (workspace_id, audit_id, hash)
        SELECT $1, audit_id, hash
        FROM unnest($2::bigint[], $3::bytea[]) AS u (audit_id, hash)
        "#,
        workspace.uuid(),
        ids,
        hashes
    )
    .execute(conn)
    .await?;
    Ok(())
}
