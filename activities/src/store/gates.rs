//! What the gate reads and writes.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

/// A planned send with everything the gate looks at, read after the locks were taken.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Which.
    pub send_id: Uuid,
    /// The newest verb of its campaign that the enrollment has seen.
    pub verb_seq: i32,
    /// Whether a signal that may stop it has not been seen.
    pub held_up: bool,
    /// Whether its enrollment has not reached the lead yet.
    pub first: bool,
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

/// Locks planned sends, passing by those that others have locked, and reads what may stop each.
/// A statement of its own after the advisory locks: in the same one it would see the past.
pub async fn lock_planned(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
    attempts: &[i32],
) -> sqlx::Result<Vec<Candidate>> {
    sqlx::query_as!(
        Candidate,
        r#"
        SELECT s.send_id, e.verb_seq,
               CASE WHEN e.signal_seq > s.after_seq THEN EXISTS (
                   SELECT 1 FROM signals g
                   WHERE g.workspace_id = u.workspace_id AND g.enrollment_id = s.enrollment_id
                     AND g.seq > s.after_seq AND g.holds)
               ELSE false END AS "held_up!",
               e.contacted_at IS NULL AS "first!",
               l.version AS lead_version, l.zone, l.country, l.email_consent, l.sms_consent,
               s.slot_at, s.slot_day, s.slot_campaign_day, s.detail, s.fence
        FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS u (workspace_id, send_id, attempt)
        JOIN sends s ON s.workspace_id = u.workspace_id AND s.send_id = u.send_id
                    AND s.attempt = u.attempt AND s.state = 'planned'
        CROSS JOIN LATERAL (
            SELECT verb_seq, signal_seq, contacted_at FROM enrollments
            WHERE workspace_id = u.workspace_id AND enrollment_id = s.enrollment_id
            LIMIT 1) AS e
        CROSS JOIN LATERAL (
            SELECT version, zone, CASE WHEN zone IS NULL THEN attributes ->> 'country' END AS country,
                   email_consent, sms_consent
            FROM leads
            WHERE workspace_id = u.workspace_id AND lead_id = s.lead_id
            LIMIT 1) AS l
        ORDER BY s.send_id
        FOR UPDATE OF s SKIP LOCKED
        "#,
        &vec![workspace.uuid(); sends.len()],
        sends,
        attempts,
    )
    .fetch_all(conn)
    .await
}

/// A campaign as the gate reads it.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Which.
    pub campaign_id: Uuid,
    /// Whether it may send.
    pub active: bool,
    /// Whether it has come to its end by itself.
    pub finished: bool,
    /// Its newest verb.
    pub verb_seq: i32,
}

/// Reads campaigns by id.
pub async fn campaigns(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<Campaign>> {
    sqlx::query_as!(
        Campaign,
        r#"
        SELECT campaign_id, status = 'active' AS "active!", status = 'finished' AS "finished!",
               verb_seq
        FROM campaigns
        WHERE workspace_id = $1 AND campaign_id = ANY ($2)
        "#,
        workspace.uuid(),
        ids,
    )
    .fetch_all(conn)
    .await
}

/// Returns why addresses and domains are suppressed, those that are, by the hash of each.
pub async fn suppressions(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    addresses: &[&[u8]],
    domains: &[&[u8]],
) -> sqlx::Result<HashMap<Vec<u8>, String>> {
    let scopes: Vec<&str> =
        addresses.iter().map(|_| "address").chain(domains.iter().map(|_| "domain")).collect();
    let hashes: Vec<&[u8]> = addresses.iter().chain(domains).copied().collect();
    let rows = sqlx::query!(
        r#"
        SELECT u.value_hash AS "value_hash!", x.reason
        FROM unnest($1::uuid[], $2::text[], $3::bytea[]) AS u (workspace_id, scope, value_hash)
        CROSS JOIN LATERAL (
            SELECT reason FROM suppressions
            WHERE workspace_id = u.workspace_id AND scope = u.scope
              AND value_hash = u.value_hash AND lifted_at IS NULL
            LIMIT 1) AS x
        "#,
        &vec![workspace.uuid(); hashes.len()],
        &scopes as _,
        &hashes as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.value_hash, row.reason)).collect())
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
        FROM unnest($1::uuid[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::date[],
                    $9::date[])
             AS u (workspace_id, send_id, address, message_id, lease_until, day, campaign_day)
        WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id
        "#,
        &vec![workspace.uuid(); passed.ids.len()],
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
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::date[], $6::date[])
             AS u (workspace_id, send_id, detail, slot_at, day, campaign_day)
        WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id
        "#,
        &vec![workspace.uuid(); put_off.ids.len()],
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
