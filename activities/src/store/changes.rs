//! The rows of what changed. They are in order by transaction and number, and every transaction up to
//! the horizon is over: what is read below it stays all there is below it.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;

use crate::changes::{Change, Position};

/// Adds what this transaction changed.
pub async fn add(conn: &mut PgConnection, workspace: WorkspaceId, news: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO changes (workspace_id, news) VALUES ($1, $2)",
        workspace.uuid(),
        news
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How far changes may be read.
#[derive(Debug, Clone, Copy)]
pub struct Horizon {
    /// The oldest transaction of this database that is not over; where there is none, the next.
    pub oldest_xid: i64,
    /// The transaction that begins next.
    pub next_xid: i64,
    /// Wall time.
    pub wall: DateTime<Utc>,
}

/// Returns how far changes may be read.
///
/// The snapshot knows the transactions of the whole server. One that is known to work on another
/// database writes no change of ours, and holds nobody up; one that nobody knows, because it has ended
/// meanwhile, counts as ours.
pub async fn horizon(conn: &mut PgConnection) -> sqlx::Result<Horizon> {
    sqlx::query_as!(
        Horizon,
        r#"
        SELECT
            coalesce(
                (SELECT min(x.xid::text::bigint)
                 FROM pg_snapshot_xip(s.now) AS x (xid)
                 WHERE NOT EXISTS (
                     SELECT 1 FROM pg_stat_activity a
                     WHERE a.backend_xid = x.xid::xid AND a.datname <> current_database())
                   AND NOT EXISTS (
                     SELECT 1 FROM pg_prepared_xacts p
                     WHERE p.transaction = x.xid::xid AND p.database <> current_database())),
                pg_snapshot_xmax(s.now)::text::bigint) AS "oldest_xid!",
            pg_snapshot_xmax(s.now)::text::bigint AS "next_xid!",
            clock_timestamp() AS "wall!"
        FROM (SELECT pg_current_snapshot() AS now) AS s
        "#
    )
    .fetch_one(conn)
    .await
}

/// Returns when the oldest change was noted that no stream of any workspace may tell yet, wall time.
pub async fn oldest_untold(
    conn: &mut PgConnection,
    horizon: Horizon,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("SELECT oldest_untold_change($1)", horizon.oldest_xid).fetch_one(conn).await
}

/// A transaction below which nothing may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The server's process, if it has one: a prepared transaction has none.
    pub pid: Option<i32>,
    /// Who that is, in its own words; of a prepared transaction its name.
    pub name: String,
}

/// Returns who has this transaction open, if it still is.
pub async fn holder(conn: &mut PgConnection, xid: i64) -> sqlx::Result<Option<Holder>> {
    sqlx::query_as!(
        Holder,
        r#"
        SELECT a.pid, coalesce(a.application_name, '') AS "name!"
        FROM pg_stat_activity a
        WHERE a.backend_xid = $1::bigint::text::xid8::xid
        UNION ALL
        SELECT NULL, p.gid
        FROM pg_prepared_xacts p
        WHERE p.transaction = $1::bigint::text::xid8::xid
        LIMIT 1
        "#,
        xid
    )
    .fetch_optional(conn)
    .await
}

/// Returns up to `limit` changes behind `after` and below the transaction `below`, oldest first.
pub async fn behind(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Position,
    below: i64,
    limit: i64,
) -> sqlx::Result<Vec<Change>> {
    let rows = sqlx::query!(
        r#"
        SELECT xid, change_id, at, news
        FROM changes
        WHERE workspace_id = $1 AND (xid, change_id) > ($2, $3) AND xid < $4
        ORDER BY xid, change_id
        LIMIT $5
        "#,
        workspace.uuid(),
        after.xid,
        after.change,
        below,
        limit
    )
    .fetch_all(conn)
    .await?;
    let change = |xid, change| Position { xid, change };
    Ok(rows
        .into_iter()
        .map(|row| Change { position: change(row.xid, row.change_id), at: row.at, news: row.news })
        .collect())
}

/// Returns where the newest change below the transaction `below` stands.
pub async fn newest(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    below: i64,
) -> sqlx::Result<Option<Position>> {
    sqlx::query_as!(
        Position,
        r#"
        SELECT xid, change_id AS change
        FROM changes
        WHERE workspace_id = $1 AND xid < $2
        ORDER BY xid DESC, change_id DESC
        LIMIT 1
        "#,
        workspace.uuid(),
        below
    )
    .fetch_optional(conn)
    .await
}

/// Returns where what is kept begins, if anything before it was forgotten.
pub async fn cut(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
) -> sqlx::Result<Option<Position>> {
    let row = sqlx::query!(
        r#"
        SELECT xid, change_id, is_cut
        FROM changes
        WHERE workspace_id = $1
        ORDER BY xid, change_id
        LIMIT 1
        "#,
        workspace.uuid()
    )
    .fetch_optional(conn)
    .await?;
    let cut = row.filter(|row| row.is_cut);
    Ok(cut.map(|row| Position { xid: row.xid, change: row.change_id }))
}

/// Forgets what stands before the newest change that was noted before `cutoff`, or before the newest
/// `rows_max`; nothing at or above the transaction `below`. The first row that is left is marked.
pub async fn forget(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    cutoff: DateTime<Utc>,
    rows_max: i64,
    below: i64,
) -> sqlx::Result<u64> {
    let first = sqlx::query_as!(
        Position,
        r#"
        SELECT f.xid AS "xid!", f.change_id AS "change!"
        FROM (
            (SELECT o.xid, o.change_id
             FROM (
                 SELECT xid, change_id, at
                 FROM changes
                 WHERE workspace_id = $1 AND xid < $4
                 ORDER BY xid, change_id
                 LIMIT 10000) AS o
             WHERE o.at < $2
             ORDER BY o.xid DESC, o.change_id DESC
             LIMIT 1)
            UNION ALL
            (SELECT xid, change_id
             FROM changes
             WHERE workspace_id = $1 AND xid < $4
             ORDER BY xid DESC, change_id DESC
             OFFSET $3
             LIMIT 1)) AS f
        ORDER BY f.xid DESC, f.change_id DESC
        LIMIT 1
        "#,
        workspace.uuid(),
        cutoff,
        rows_max,
        below
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(first) = first else { return Ok(0) };
    let done = sqlx::query!(
        "DELETE FROM changes WHERE workspace_id = $1 AND (xid, change_id) < ($2, $3)",
        workspace.uuid(),
        first.xid,
        first.change
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() > 0 {
        sqlx::query!(
            r#"
            UPDATE changes SET is_cut = true
            WHERE workspace_id = $1 AND xid = $2 AND change_id = $3
            "#,
            workspace.uuid(),
            first.xid,
            first.change
        )
        .execute(conn)
        .await?;
    }
    Ok(done.rows_affected())
}
