//! What a program was answered under an `Idempotency-Key`.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// A request that was seen before.
#[derive(Debug)]
pub struct AnswerRow {
    /// What was asked.
    pub fingerprint: Vec<u8>,
    /// Wall time at which somebody began to work on it.
    pub begun_at: DateTime<Utc>,
    /// `None`: it is being worked on.
    pub status: Option<i16>,
    /// Names and values.
    pub headers: Option<Value>,
    /// Sealed.
    pub body: Option<Vec<u8>>,
}

/// Claims a request for the caller. Returns whether nobody had it.
pub async fn claim(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: Uuid,
    idempotency_key: &str,
    fingerprint: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        INSERT INTO idempotent_answers
            (workspace_id, key_id, idempotency_key, fingerprint, begun_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        "#,
        workspace.uuid(),
        key,
        idempotency_key,
        fingerprint,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns what is known of a request.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: Uuid,
    idempotency_key: &str,
) -> sqlx::Result<Option<AnswerRow>> {
    sqlx::query_as!(
        AnswerRow,
        r#"
        SELECT fingerprint, begun_at, status, headers, body
        FROM idempotent_answers
        WHERE workspace_id = $1
          AND key_id = $2
          AND idempotency_key = $3
        "#,
        workspace.uuid(),
        key,
        idempotency_key
    )
    .fetch_optional(conn)
    .await
}

/// Takes a request over from somebody who began at `begun_at` and never finished. Returns whether it
/// was still theirs.
pub async fn take_over(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: Uuid,
    idempotency_key: &str,
    begun_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE idempotent_answers
        SET begun_at = $5
        WHERE workspace_id = $1
          AND key_id = $2
          AND idempotency_key = $3
          AND begun_at = $4
          AND status IS NULL
        "#,
        workspace.uuid(),
        key,
        idempotency_key,
        begun_at,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores the answer.
pub async fn finish(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: Uuid,
    idempotency_key: &str,
    status: i16,
    headers: &Value,
    body: &[u8],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE idempotent_answers
        SET status = $4, headers = $5, body = $6
        WHERE workspace_id = $1
          AND key_id = $2
          AND idempotency_key = $3
        "#,
        workspace.uuid(),
        key,
        idempotency_key,
        status,
        headers,
        body
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets a request, so that it can be made again.
pub async fn forget(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: Uuid,
    idempotency_key: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM idempotent_answers
        WHERE workspace_id = $1
          AND key_id = $2
          AND idempotency_key = $3
        "#,
        workspace.uuid(),
        key,
        idempotency_key
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what was begun before `before`, at most `limit` of it. Returns how many.
pub async fn expire(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        DELETE FROM idempotent_answers
        WHERE workspace_id = $1
          AND (key_id, idempotency_key) IN (
            SELECT key_id, idempotency_key
            FROM idempotent_answers
            WHERE workspace_id = $1
              AND begun_at < $2
            ORDER BY begun_at
            LIMIT $3)
        "#,
        workspace.uuid(),
        before,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
