//! Enrollments: locked for a turn, written back in bulk.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, EnrollmentId, LeadId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::Engine;

/// Where a scan of due enrollments stopped: it goes on behind this, so that index entries already
/// handled, which a long transaction elsewhere may keep alive, are not read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The wake-up time of the last one taken.
    pub wake_at: DateTime<Utc>,
    /// Its id.
    pub enrollment: EnrollmentId,
}

/// An enrollment locked for a turn.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Which.
    pub enrollment_id: Uuid,
    /// Its campaign.
    pub campaign_id: Uuid,
    /// Its person.
    pub lead_id: Uuid,
    /// The engine that drives it.
    pub engine: Engine,
    /// The version it runs.
    pub version: i32,
    /// The serialised machine.
    pub snapshot: Vec<u8>,
    /// The number of its newest journal row.
    pub turn: i32,
    /// The newest signal.
    pub signal_seq: i32,
    /// The newest signal the machine has seen.
    pub applied_seq: i32,
    /// The newest verb of the campaign it has seen.
    pub verb_seq: i32,
    /// The sender of its mails, once chosen.
    pub email_sender_id: Option<Uuid>,
    /// The sender of its texts, once chosen.
    pub sms_sender_id: Option<Uuid>,
    /// The state as shown.
    pub state: String,
    /// Campaign time of its newest journal row.
    pub changed_at: DateTime<Utc>,
    /// When it is due.
    pub wake_at: Option<DateTime<Utc>>,
}

/// Locks up to `limit` due enrollments, oldest first, passing by those that others have locked.
pub async fn lock_due(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
    after: Option<Cursor>,
    limit: i64,
) -> sqlx::Result<Vec<Locked>> {
    let after_at = after.map_or(DateTime::UNIX_EPOCH, |cursor| cursor.wake_at);
    let after_id = after.map_or(Uuid::nil(), |cursor| cursor.enrollment.uuid());
    sqlx::query_as!(
        Locked,
        r#"
        SELECT enrollment_id, campaign_id, lead_id, engine AS "engine: Engine", version, snapshot,
               turn, signal_seq, applied_seq, verb_seq, email_sender_id, sms_sender_id, state, changed_at, wake_at
        FROM enrollments
        WHERE workspace_id = $1
          AND wake_at IS NOT NULL AND parked_at IS NULL AND engine = 'postgres'
          AND wake_at <= $2
          AND (wake_at, enrollment_id) > ($3, $4)
        ORDER BY wake_at, enrollment_id
        LIMIT $5
        FOR UPDATE SKIP LOCKED
        "#,
        workspace.uuid(),
        now,
        after_at,
        after_id,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Locks the enrollments with these ids, in the order of their ids.
pub async fn lock(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<Locked>> {
    sqlx::query_as!(
        Locked,
        r#"
        SELECT e.enrollment_id, e.campaign_id, e.lead_id, e.engine AS "engine: Engine",
               e.version, e.snapshot, e.turn,
               e.signal_seq, e.applied_seq, e.verb_seq, e.email_sender_id, e.sms_sender_id,
               e.state, e.changed_at, e.wake_at
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, enrollment_id)
        JOIN enrollments e ON e.workspace_id = u.workspace_id
                          AND e.enrollment_id = u.enrollment_id
        ORDER BY e.enrollment_id
        FOR UPDATE OF e
        "#,
        &vec![workspace.uuid(); ids.len()],
        ids,
    )
    .fetch_all(conn)
    .await
}

/// What a turn writes back, column by column.
#[derive(Debug, Default)]
pub struct Advanced {
    /// Which.
    pub ids: Vec<Uuid>,
    /// The serialised machine.
    pub snapshots: Vec<Vec<u8>>,
    /// The number of the newest journal row.
    pub turns: Vec<i32>,
    /// The newest signal the machine has seen.
    pub applied_seqs: Vec<i32>,
    /// The newest verb it has seen.
    pub verb_seqs: Vec<i32>,
    /// The sender of its mails.
    pub email_senders: Vec<Option<Uuid>>,
    /// The sender of its texts.
    pub sms_senders: Vec<Option<Uuid>>,
    /// The state as shown.
    pub states: Vec<&'static str>,
    /// Why it waits.
    pub whys: Vec<Option<&'static str>>,
    /// Until when.
    pub untils: Vec<Option<DateTime<Utc>>>,
    /// What comes next.
    pub next_steps: Vec<Option<String>>,
    /// When.
    pub next_ats: Vec<Option<DateTime<Utc>>>,
    /// Campaign time of the newest journal row.
    pub changed_ats: Vec<DateTime<Utc>>,
    /// When it is due.
    pub wake_ats: Vec<Option<DateTime<Utc>>>,
    /// When it ended.
    pub ended_ats: Vec<Option<DateTime<Utc>>>,
    /// When it reached the lead, if it did now.
    pub contacted_ats: Vec<Option<DateTime<Utc>>>,
}

/// Writes back what a turn made of its enrollments.
pub async fn write(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    advanced: &Advanced,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE enrollments AS e
        SET snapshot = u.snapshot, turn = u.turn, applied_seq = u.applied_seq,
            verb_seq = u.verb_seq, email_sender_id = u.email_sender_id,
            failures = CASE WHEN u.turn = e.turn THEN e.failures ELSE 0 END,
            sms_sender_id = u.sms_sender_id, state = u.state, why = u.why, until = u.until,
            next_step = u.next_step, next_at = u.next_at, changed_at = u.changed_at,
            wake_at = u.wake_at, ended_at = u.ended_at,
            contacted_at = coalesce(u.contacted_at, e.contacted_at)
        FROM unnest(
            $1::uuid[], $2::uuid[], $3::bytea[], $4::int[], $5::int[], $6::int[], $7::uuid[], $8::uuid[],
            $9::text[], $10::text[], $11::timestamptz[], $12::text[], $13::timestamptz[],
            $14::timestamptz[], $15::timestamptz[], $16::timestamptz[], $17::timestamptz[]
        ) AS u (workspace_id, enrollment_id, snapshot, turn, applied_seq, verb_seq,
                email_sender_id, sms_sender_id, state, why, until, next_step, next_at, changed_at,
                wake_at, ended_at, contacted_at)
        WHERE e.workspace_id = u.workspace_id AND e.enrollment_id = u.enrollment_id
        "#,
        &vec![workspace.uuid(); advanced.ids.len()],
        &advanced.ids,
        &advanced.snapshots,
        &advanced.turns,
        &advanced.applied_seqs,
        &advanced.verb_seqs,
        &advanced.email_senders as _,
        &advanced.sms_senders as _,
        &advanced.states as _,
        &advanced.whys as _,
        &advanced.untils as _,
        &advanced.next_steps as _,
        &advanced.next_ats as _,
        &advanced.changed_ats,
        &advanced.wake_ats as _,
        &advanced.ended_ats as _,
        &advanced.contacted_ats as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a turn or what it asked for failed. Returns how often that was so since the enrollment moved;
/// `None` where it is parked, or gone.
pub async fn note_failure(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    again_at: DateTime<Utc>,
) -> sqlx::Result<Option<i16>> {
    sqlx::query_scalar!(
        r#"
        UPDATE enrollments
        SET failures = failures + 1, wake_at = $3
        WHERE workspace_id = $1 AND enrollment_id = $2 AND parked_at IS NULL
        RETURNING failures
        "#,
        workspace.uuid(),
        enrollment.uuid(),
        again_at,
    )
    .fetch_optional(conn)
    .await
}

/// Takes enrollments out of the due index until a person acts. Returns those that were in it, each with its
/// campaign.
pub async fn park(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(CampaignId, EnrollmentId)>> {
    let parked = sqlx::query!(
        r#"
        UPDATE enrollments SET parked_at = $3
        WHERE workspace_id = $1 AND enrollment_id = ANY ($2) AND parked_at IS NULL
        RETURNING campaign_id, enrollment_id
        "#,
        workspace.uuid(),
        ids,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(parked.into_iter().map(|row| (row.campaign_id.into(), row.enrollment_id.into())).collect())
}

/// Puts a parked enrollment back to work: due at `now`; `overdue` is the time at which one of Temporal
/// was due so long ago that its workflow is poked.
///
/// Returns its campaign and its state, if it was parked.
pub async fn unpark(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    now: DateTime<Utc>,
    overdue: DateTime<Utc>,
) -> sqlx::Result<Option<(CampaignId, String)>> {
    let unparked = sqlx::query!(
        r#"
        UPDATE enrollments
        SET parked_at = NULL, failures = 0,
            wake_at = CASE WHEN engine = 'temporal' THEN $4::timestamptz ELSE $3 END
        WHERE workspace_id = $1 AND enrollment_id = $2 AND parked_at IS NOT NULL
        RETURNING campaign_id, state
        "#,
        workspace.uuid(),
        enrollment.uuid(),
        now,
        overdue,
    )
    .fetch_optional(conn)
    .await?;
    Ok(unparked.map(|row| (row.campaign_id.into(), row.state)))
}

/// Returns enrollments that may have a request under way, in the order of their ids, behind
/// `after`: those a runner that died may have left open. One that was stopped or paused meanwhile
/// has no reason of its own to wake.
pub async fn with_open_requests(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT enrollment_id FROM enrollments
        WHERE workspace_id = $1 AND enrollment_id > $2 AND parked_at IS NULL
          AND engine = 'postgres'
          AND (state IN ('sending', 'with_person')
               OR wake_at IS NOT NULL AND (ended_at IS NOT NULL OR state = 'paused'))
        ORDER BY enrollment_id
        LIMIT $3
        "#,
        workspace.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns enrollments of a campaign that have not seen its verb `seq`, with the lead each
/// belongs to, in the order of their leads, behind `after`.
pub async fn behind_verb(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    seq: i32,
    after: LeadId,
    limit: i64,
) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    let rows = sqlx::query!(
        r#"
        SELECT enrollment_id, lead_id FROM enrollments
        WHERE workspace_id = $1 AND campaign_id = $2 AND lead_id > $3
          AND verb_seq < $4 AND ended_at IS NULL
        ORDER BY lead_id
        LIMIT $5
        "#,
        workspace.uuid(),
        campaign.uuid(),
        after.uuid(),
        seq,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.enrollment_id, row.lead_id)).collect())
}

/// A live enrollment that runs another version than the one that is asked about, and whose turns do
/// not fail.
#[derive(Debug, Clone)]
pub struct Outdated {
    /// Which.
    pub enrollment_id: Uuid,
    /// Whose.
    pub lead_id: Uuid,
    /// The version it runs.
    pub version: i32,
    /// The serialised machine.
    pub snapshot: Vec<u8>,
}

/// Returns up to `limit` live enrollments of a campaign that do not run `version`, behind the lead
/// `after`, in the order of their leads.
pub async fn elsewhere(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    version: i32,
    after: LeadId,
    limit: i64,
) -> sqlx::Result<Vec<Outdated>> {
    sqlx::query_as!(
        Outdated,
        r#"
        SELECT enrollment_id, lead_id, version, snapshot
        FROM enrollments
        WHERE workspace_id = $1 AND campaign_id = $2 AND lead_id > $3
          AND version <> $4 AND ended_at IS NULL AND parked_at IS NULL
        ORDER BY lead_id
        LIMIT $5
        "#,
        workspace.uuid(),
        campaign.uuid(),
        after.uuid(),
        version,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Lets enrollments, which are locked, run another version.
pub async fn set_version(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
    version: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE enrollments
        SET version = $3
        WHERE workspace_id = $1 AND enrollment_id = ANY ($2)
        "#,
        workspace.uuid(),
        ids,
        version,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes an enrollment due.
pub async fn hurry(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE enrollments
        SET wake_at = least(wake_at, $3)
        WHERE workspace_id = $1 AND enrollment_id = $2
        "#,
        workspace.uuid(),
        enrollment.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
