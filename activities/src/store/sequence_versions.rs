//! Published versions of sequences. They never change: a lead runs the one it started on.

use chrono::{DateTime, Utc};
use machine::ids::{SequenceId, WorkspaceId};
use serde_json::Value;
use sqlx::PgConnection;

/// One version, with the hash of the document it was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceVersionRow {
    /// Counts from 1.
    pub version: i32,
    /// The campaign file as data.
    pub document: Value,
    /// SHA-256 over the document as the author's build wrote it.
    pub hash: Vec<u8>,
    /// When it was published.
    pub created_at: DateTime<Utc>,
}

/// Returns one version.
pub async fn load(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sequence: SequenceId,
    version: i32,
) -> sqlx::Result<Option<SequenceVersionRow>> {
    sqlx::query_as!(
        SequenceVersionRow,
        r#"
        SELECT version, document, hash, created_at
        FROM sequence_versions
        WHERE workspace_id = $1 AND sequence_id = $2 AND version = $3
        "#,
        workspace.uuid(),
        sequence.uuid(),
        version,
    )
    .fetch_optional(conn)
    .await
}

/// Returns up to `limit` versions below number `below`, the newest first, with the times of their
/// making.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sequence: SequenceId,
    below: Option<i32>,
    limit: i64,
) -> sqlx::Result<Vec<(i32, DateTime<Utc>)>> {
    let rows = sqlx::query!(
        r#"
        SELECT version, created_at
        FROM sequence_versions
        WHERE workspace_id = $1 AND sequence_id = $2 AND version < $3
        ORDER BY version DESC
        LIMIT $4
        "#,
        workspace.uuid(),
        sequence.uuid(),
        below.unwrap_or(i32::MAX),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.version, row.created_at)).collect())
}

/// Publishes a version. The caller holds the campaign's row, so that numbers stay without gaps.
pub async fn insert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sequence: SequenceId,
    row: &SequenceVersionRow,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO sequence_versions (
            workspace_id, sequence_id, version, document, hash, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        "#,
        workspace.uuid(),
        sequence.uuid(),
        row.version,
        row.document,
        row.hash,
        row.created_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}
