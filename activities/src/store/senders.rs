//! Senders: the mailboxes and numbers we send from, with their limits. What a URL or a secret
//! means is not known here.

use chrono::{DateTime, Utc};
use machine::ids::{SenderId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

/// One sender as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderRow {
    /// Its id.
    pub sender_id: Uuid,
    /// Unique in the workspace.
    pub name: String,
    /// `email` or `sms`.
    pub channel: String,
    /// How messages are handed over; without the password.
    pub url: String,
    /// The sealed password.
    pub secret: Option<Vec<u8>>,
    /// Who writes.
    pub from_address: String,
    /// The name beside the address.
    pub from_name: Option<String>,
    /// Stands in the footer.
    pub postal_address: Option<String>,
    /// An IANA name: its local date is the day of the quota.
    pub zone: String,
    /// Messages a day.
    pub per_day: Option<i32>,
    /// Seconds between two messages.
    pub spacing_s: i32,
    /// Its share among the senders of a campaign.
    pub weight: i32,
    /// `active` or `paused`.
    pub status: String,
    /// Why it is paused.
    pub status_reason: Option<String>,
    /// Campaign time of the first slot that pacing leaves free.
    pub next_free_at: Option<DateTime<Utc>>,
    /// Calls in a row that its provider did not answer.
    pub trouble_count: i32,
    /// What was seen last.
    pub trouble: Option<String>,
    /// Until when nothing leaves, wall time.
    pub trouble_until: Option<DateTime<Utc>>,
}

/// Writes a sender under its name, and returns its id and whether it is new.
///
/// A sender that exists keeps its id, its status and what pacing has promised; trouble it had is
/// forgotten, because a person has looked. A secret is sealed
/// for one id: the caller compares the id that is returned with the one it sealed for.
pub async fn upsert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    row: &SenderRow,
    now: DateTime<Utc>,
) -> sqlx::Result<(SenderId, bool)> {
    let written = sqlx::query!(
        r#"
        INSERT INTO senders (
            workspace_id, sender_id, name, channel, url, secret, from_address, from_name,
            postal_address, zone, per_day, spacing_s, weight, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        ON CONFLICT (workspace_id, name) DO UPDATE
        SET channel = excluded.channel,
            url = excluded.url,
            secret = excluded.secret,
            from_address = excluded.from_address,
            from_name = excluded.from_name,
            postal_address = excluded.postal_address,
            zone = excluded.zone,
            per_day = excluded.per_day,
            spacing_s = excluded.spacing_s,
            weight = excluded.weight,
            trouble_count = 0,
            trouble = NULL,
            trouble_until = NULL
        RETURNING sender_id, (xmax = 0) AS "inserted!"
        "#,
        workspace.uuid(),
        row.sender_id,
        row.name,
        row.channel,
        row.url,
        row.secret,
        row.from_address,
        row.from_name,
        row.postal_address,
        row.zone,
        row.per_day,
        row.spacing_s,
        row.weight,
        now,
    )
    .fetch_one(conn)
    .await?;
    Ok((written.sender_id.into(), written.inserted))
}

/// Returns the sender of this name, locked against changes until the transaction ends.
pub async fn lock_by_name(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    name: &str,
) -> sqlx::Result<Option<SenderRow>> {
    sqlx::query_as!(
        SenderRow,
        r#"
        SELECT sender_id, name, channel, url, secret, from_address, from_name, postal_address,
            zone, per_day, spacing_s, weight, status, status_reason, next_free_at, trouble_count,
            trouble, trouble_until
        FROM senders
        WHERE workspace_id = $1 AND name = $2
        FOR UPDATE
        "#,
        workspace.uuid(),
        name,
    )
    .fetch_optional(conn)
    .await
}

/// Returns the senders of these ids, in the order of their ids.
pub async fn by_ids(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[SenderId],
) -> sqlx::Result<Vec<SenderRow>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query_as!(
        SenderRow,
        r#"
        SELECT sender_id, name, channel, url, secret, from_address, from_name, postal_address,
            zone, per_day, spacing_s, weight, status, status_reason, next_free_at, trouble_count,
            trouble, trouble_until
        FROM senders
        WHERE workspace_id = $1 AND sender_id = ANY($2)
        ORDER BY sender_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        &ids,
    )
    .fetch_all(conn)
    .await
}

/// Returns the sender of this name.
pub async fn by_name(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    name: &str,
) -> sqlx::Result<Option<SenderRow>> {
    sqlx::query_as!(
        SenderRow,
        r#"
        SELECT sender_id, name, channel, url, secret, from_address, from_name, postal_address,
            zone, per_day, spacing_s, weight, status, status_reason, next_free_at, trouble_count,
            trouble, trouble_until
        FROM senders
        WHERE workspace_id = $1 AND name = $2
        "#,
        workspace.uuid(),
        name,
    )
    .fetch_optional(conn)
    .await
}

/// Returns the first `limit` senders by name.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    limit: i64,
) -> sqlx::Result<Vec<SenderRow>> {
    page(conn, workspace, None, limit).await
}

/// Returns at most `limit` senders by name, from behind the name `after`.
pub async fn page(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<SenderRow>> {
    sqlx::query_as!(
        SenderRow,
        r#"
        SELECT sender_id, name, channel, url, secret, from_address, from_name, postal_address,
            zone, per_day, spacing_s, weight, status, status_reason, next_free_at, trouble_count,
            trouble, trouble_until
        FROM senders
        WHERE workspace_id = $1 AND ($2::text IS NULL OR name > $2)
        ORDER BY name
        LIMIT $3
        "#,
        workspace.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Sets the status of a sender, and forgets what trouble there was: a person has looked. Returns its
/// id if there is one of this name.
pub async fn set_status(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    name: &str,
    status: &str,
    reason: Option<&str>,
) -> sqlx::Result<Option<SenderId>> {
    let id = sqlx::query_scalar!(
        r#"
        UPDATE senders
        SET status = $3, status_reason = $4, trouble_count = 0, trouble = NULL, trouble_until = NULL
        WHERE workspace_id = $1 AND name = $2
        RETURNING sender_id
        "#,
        workspace.uuid(),
        name,
        status,
        reason,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(SenderId::from))
}

/// Returns how often in a row the provider of a sender did not answer, locked until the transaction
/// ends; `None` if there is no such sender.
pub async fn lock_trouble(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sender: SenderId,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        r#"
        SELECT trouble_count FROM senders
        WHERE workspace_id = $1 AND sender_id = $2
        FOR NO KEY UPDATE
        "#,
        workspace.uuid(),
        sender.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Notes trouble. Until when nothing leaves is never brought forward.
pub async fn note_trouble(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sender: SenderId,
    count: i32,
    detail: &str,
    until: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE senders
        SET trouble_count = $3, trouble = $4, trouble_until = greatest(trouble_until, $5)
        WHERE workspace_id = $1 AND sender_id = $2
        "#,
        workspace.uuid(),
        sender.uuid(),
        count,
        detail,
        until,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that the provider of a sender answers again. Returns the sender's status where that is new.
pub async fn end_trouble(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sender: SenderId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        r#"
        UPDATE senders
        SET trouble_count = 0, trouble = NULL, trouble_until = NULL
        WHERE workspace_id = $1 AND sender_id = $2 AND trouble_count > 0
        RETURNING status
        "#,
        workspace.uuid(),
        sender.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Pauses a sender whose account is refused. Returns whether it was active.
pub async fn pause(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sender: SenderId,
    reason: &str,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE senders
        SET status = 'paused', status_reason = $3
        WHERE workspace_id = $1 AND sender_id = $2 AND status = 'active'
        "#,
        workspace.uuid(),
        sender.uuid(),
        reason,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a sender has promised and used on its own calendar's `day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DayUse {
    /// Slots promised to leads that sleep until then.
    pub booked: i32,
    /// Messages past the gate.
    pub used: i32,
}

/// Returns how many messages to leads passed the gate of each sender since the campaign time given beside
/// it. It reads the whole ledger: where a sender has a limit, [`use_of_day`] knows.
pub async fn passed_since(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    senders: &[(SenderId, DateTime<Utc>)],
) -> sqlx::Result<Vec<(SenderId, i32)>> {
    if senders.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = senders.iter().map(|(id, _)| id.uuid()).collect();
    let times: Vec<DateTime<Utc>> = senders.iter().map(|(_, time)| *time).collect();
    let rows = sqlx::query!(
        r#"
        SELECT s.sender_id AS "sender_id!", count(*)::int AS "n!"
        FROM sends s
        JOIN unnest($2::uuid[], $3::timestamptz[]) AS wanted (sender_id, since)
            ON wanted.sender_id = s.sender_id AND wanted.since <= s.gate_at
        WHERE s.workspace_id = $1
          AND s.kind = 'step'
          AND s.state IN ('dispatching', 'accepted', 'unknown', 'needs_review')
        GROUP BY s.sender_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        &ids,
        &times,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.sender_id.into(), row.n)).collect())
}

/// Returns what each sender has booked and used on the day given beside it.
pub async fn use_of_day(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    days: &[(SenderId, chrono::NaiveDate)],
) -> sqlx::Result<Vec<(SenderId, DayUse)>> {
    let ids: Vec<Uuid> = days.iter().map(|(id, _)| id.uuid()).collect();
    let days: Vec<chrono::NaiveDate> = days.iter().map(|(_, day)| *day).collect();
    let rows = sqlx::query!(
        r#"
        SELECT q.scope_id, q.booked, q.used
        FROM quotas q
        JOIN unnest($2::uuid[], $3::date[]) AS wanted (scope_id, day)
            ON wanted.scope_id = q.scope_id AND wanted.day = q.day
        WHERE q.workspace_id = $1 AND q.scope = 'sender_day'
        LIMIT 1000
        "#,
        workspace.uuid(),
        &ids,
        &days,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.scope_id.into(), DayUse { booked: row.booked, used: row.used }))
        .collect())
}
