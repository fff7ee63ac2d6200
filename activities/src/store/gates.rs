//! What the gate reads and writes.

use chrono::{DateTime, NaiveDate, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

/// A planned send with everything the gate looks at, read after the locks were taken.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Which.
    pub send_id: Uuid,
    /// Whether the campaign may send.
    pub active: bool,
    /// Whether the enrollment has not seen the campaign's newest verb.
    pub stale: bool,
    /// Whether a signal that may stop it has not been seen.
    pub held_up: bool,
    /// Whether its enrollment has not reached the lead yet.
    pub first: bool,
    /// Why the address is suppressed.
    pub suppressed: Option<String>,
    /// The person's data as it is now.
    pub lead_version: i32,
    /// The person's zone as it is now.
    pub zone: Option<String>,
    /// The person's country as it is now, where the zone is not known.
    pub country: Option<String>,
    /// Consent to mail as it is now.
    pub email_consent: String,
    /// Consent to texts as it is now.
    pub sms_consent: String,
    /// Its slot, if it was deferred before.
    pub slot_at: Option<DateTime<Utc>>,
    /// The sender's day the slot is booked on.
    pub slot_day: Option<NaiveDate>,
    /// The campaign's day the slot is booked on.
    pub slot_campaign_day: Option<NaiveDate>,
    /// Why it was deferred.
    pub detail: Option<String>,
    /// The number of its newest gate.
    pub fence: i32,
}

/// Locks planned sends, passing by those that others have locked, and reads what may stop them.
/// A statement of its own after the advisory locks: in the same one it would see the past.
pub async fn lock_planned(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
    attempts: &[i32],
    address_hashes: &[Vec<u8>],
    domain_hashes: &[Vec<u8>],
) -> sqlx::Result<Vec<Candidate>> {
    sqlx::query_as!(
        Candidate,
        r#"
        SELECT s.send_id,
               c.status = 'active' AS "active!",
               e.verb_seq < c.verb_seq AS "stale!",
               CASE WHEN e.signal_seq > s.after_seq THEN EXISTS (
                   SELECT 1 FROM signals g
                   WHERE g.workspace_id = $1 AND g.enrollment_id = s.enrollment_id
                     AND g.seq > s.after_seq AND g.holds)
               ELSE false END AS "held_up!",
               e.contacted_at IS NULL AS "first!",
               (SELECT x.reason FROM suppressions x
                WHERE x.workspace_id = $1 AND x.lifted_at IS NULL
                  AND ((x.scope = 'address' AND x.value_hash = u.address_hash)
                       OR (x.scope = 'domain' AND x.value_hash = u.domain_hash))
                LIMIT 1) AS suppressed,
               l.version AS lead_version, l.zone,
               CASE WHEN l.zone IS NULL THEN l.attributes ->> 'country' END AS country,
               l.email_consent, l.sms_consent,
               s.slot_at, s.slot_day, s.slot_campaign_day, s.detail, s.fence
        FROM unnest($2::uuid[], $3::int[], $4::bytea[], $5::bytea[])
             AS u (send_id, attempt, address_hash, domain_hash)
        JOIN sends s ON s.workspace_id = $1 AND s.send_id = u.send_id
                    AND s.attempt = u.attempt AND s.state = 'planned'
        JOIN enrollments e ON e.workspace_id = $1 AND e.enrollment_id = s.enrollment_id
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = s.campaign_id
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = s.lead_id
        ORDER BY s.send_id
        FOR UPDATE OF s SKIP LOCKED
        "#,
        workspace.uuid(),
        sends,
        attempts,
        address_hashes,
        domain_hashes,
    )
    .fetch_all(conn)
    .await
}

/// A sender as the gate reads it.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Which.
    pub sender_id: Uuid,
    /// Whether it may send.
    pub active: bool,
    /// Messages a day.
    pub per_day: Option<i32>,
    /// Seconds between two messages.
    pub spacing_s: i32,
    /// The zone's IANA name.
    pub zone: String,
    /// The first slot that pacing leaves free.
    pub next_free_at: Option<DateTime<Utc>>,
    /// Until when its provider's trouble lets nothing leave, wall time.
    pub trouble_until: Option<DateTime<Utc>>,
}

/// Locks senders in the order of their ids.
pub async fn lock_senders(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<Sender>> {
    sqlx::query_as!(
        Sender,
        r#"
        SELECT sender_id, status = 'active' AS "active!", per_day, spacing_s, zone, next_free_at,
            trouble_until
        FROM senders
        WHERE workspace_id = $1 AND sender_id = ANY ($2)
        ORDER BY sender_id
        FOR NO KEY UPDATE
        "#,
        workspace.uuid(),
        ids,
    )
    .fetch_all(conn)
    .await
}

/// Locks campaigns in the order of their ids.
pub async fn lock_campaigns(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        SELECT 1 AS one FROM campaigns
        WHERE workspace_id = $1 AND campaign_id = ANY ($2)
        ORDER BY campaign_id
        FOR NO KEY UPDATE
        "#,
        workspace.uuid(),
        ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// Notes the first slot that pacing leaves free.
pub async fn move_cursors(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
    next_free: &[DateTime<Utc>],
) -> sqlx::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        UPDATE senders AS s SET next_free_at = u.next_free_at
        FROM unnest($2::uuid[], $3::timestamptz[]) AS u (sender_id, next_free_at)
        WHERE s.workspace_id = $1 AND s.sender_id = u.sender_id
        "#,
        workspace.uuid(),
        ids,
        next_free,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets one call of each of these senders try whether its provider answers again: until `until` no other
/// does.
pub async fn begin_trials(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE senders SET trouble_until = $3
        WHERE workspace_id = $1 AND sender_id = ANY ($2)
        "#,
        workspace.uuid(),
        ids,
        until,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sends that pass, column by column.
#[derive(Debug, Default)]
pub struct Passed {
    /// Which.
    pub ids: Vec<Uuid>,
    /// To which address.
    pub addresses: Vec<String>,
    /// The name of the message, where its channel has names.
    pub message_ids: Vec<Option<String>>,
    /// Until when its call may take, wall time.
    pub leases: Vec<DateTime<Utc>>,
    /// Counted on which of the sender's days.
    pub days: Vec<NaiveDate>,
    /// Counted on which of the campaign's days.
    pub campaign_days: Vec<NaiveDate>,
    /// The hash of the content.
    pub hashes: Vec<Vec<u8>>,
    /// The content.
    pub subjects: Vec<Option<String>>,
    /// The content.
    pub texts: Vec<String>,
    /// The content.
    pub htmls: Vec<Option<String>>,
}

/// Lets sends pass: dispatching, under a new fence and a lease. Their contents are kept.
pub async fn pass(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    passed: &Passed,
    runner: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if passed.ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        UPDATE sends AS s
        SET state = 'dispatching', fence = s.fence + 1, runner_id = $2, gate_at = $3,
            lease_until = u.lease_until, address = u.address, message_id = u.message_id,
            gate_day = u.day, gate_campaign_day = u.campaign_day, slot_at = NULL, slot_day = NULL,
            slot_campaign_day = NULL, detail = NULL, looks = 0, settle_at = NULL
        FROM unnest($4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::date[], $9::date[])
             AS u (send_id, address, message_id, lease_until, day, campaign_day)
        WHERE s.workspace_id = $1 AND s.send_id = u.send_id
        "#,
        workspace.uuid(),
        runner,
        now,
        &passed.ids,
        &passed.addresses,
        &passed.message_ids as _,
        &passed.leases,
        &passed.days,
        &passed.campaign_days,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO send_contents (workspace_id, send_id, hash, subject, text, html)
        SELECT $1, u.* FROM unnest($2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::text[]) AS u
        ON CONFLICT (workspace_id, send_id) DO UPDATE
        SET hash = excluded.hash, subject = excluded.subject, text = excluded.text,
            html = excluded.html
        "#,
        workspace.uuid(),
        &passed.ids,
        &passed.hashes,
        &passed.subjects as _,
        &passed.texts,
        &passed.htmls as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sends that are put off, column by column.
#[derive(Debug, Default)]
pub struct PutOff {
    /// Which.
    pub ids: Vec<Uuid>,
    /// Why.
    pub details: Vec<&'static str>,
    /// Until when.
    pub slot_ats: Vec<DateTime<Utc>>,
    /// The sender's day the slot is booked on.
    pub days: Vec<Option<NaiveDate>>,
    /// The campaign's day the slot is booked on.
    pub campaign_days: Vec<Option<NaiveDate>>,
}

/// Puts sends off until their slots.
pub async fn put_off(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    put_off: &PutOff,
) -> sqlx::Result<()> {
    if put_off.ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        UPDATE sends AS s
        SET state = 'deferred', detail = u.detail, slot_at = u.slot_at, slot_day = u.day,
            slot_campaign_day = u.campaign_day
        FROM unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::date[], $6::date[])
             AS u (send_id, detail, slot_at, day, campaign_day)
        WHERE s.workspace_id = $1 AND s.send_id = u.send_id
        "#,
        workspace.uuid(),
        &put_off.ids,
        &put_off.details as _,
        &put_off.slot_ats,
        &put_off.days as _,
        &put_off.campaign_days as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}
