//! The send ledger. Rows move only along the edges the states allow; every statement that moves
//! one names the state it moves from.

use chrono::{DateTime, NaiveDate, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

/// An open send, locked for a turn.
#[derive(Debug, Clone)]
pub struct Open {
    /// Which.
    pub send_id: Uuid,
    /// Which ask of it.
    pub attempt: i32,
    /// Where it is in the ledger.
    pub state: String,
    /// Why it is deferred.
    pub detail: Option<String>,
    /// When a deferred send is asked for again, in campaign time.
    pub slot_at: Option<DateTime<Utc>>,
    /// Until when its call may take, in wall time.
    pub lease_until: Option<DateTime<Utc>>,
    /// Who makes the call.
    pub runner_id: Option<Uuid>,
    /// Of an unknown send: when its provider is asked for it next, in wall time.
    pub settle_at: Option<DateTime<Utc>>,
}

impl Open {
    /// Whether it is past the gate and not answered.
    pub fn in_flight(&self) -> bool {
        matches!(self.state.as_str(), "dispatching" | "unknown" | "needs_review")
    }
}

/// Locks sends by id; those another turn or call has locked are waited for.
pub async fn lock(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<Open>> {
    sqlx::query_as!(
        Open,
        r#"
        SELECT s.send_id, s.attempt, s.state, s.detail, s.slot_at, s.lease_until, s.runner_id,
               s.settle_at
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, send_id)
        JOIN sends s ON s.workspace_id = u.workspace_id AND s.send_id = u.send_id
        ORDER BY s.send_id
        FOR UPDATE OF s
        "#,
        &vec![workspace.uuid(); ids.len()],
        ids,
    )
    .fetch_all(conn)
    .await
}

/// Asks of a turn, column by column.
#[derive(Debug, Default)]
pub struct Planned {
    /// Which send.
    pub ids: Vec<Uuid>,
    /// Whose.
    pub enrollments: Vec<Uuid>,
    /// Its campaign.
    pub campaigns: Vec<Uuid>,
    /// The person.
    pub leads: Vec<Uuid>,
    /// `step` or `handover`.
    pub kinds: Vec<&'static str>,
    /// The step, or whom a handover is offered to.
    pub step_keys: Vec<String>,
    /// How often the lead has come to it.
    pub visits: Vec<i32>,
    /// Which ask this is.
    pub attempts: Vec<i32>,
    /// The newest signal the machine had seen.
    pub after_seqs: Vec<i32>,
    /// On which channel.
    pub channels: Vec<&'static str>,
    /// Which wording.
    pub variants: Vec<Option<String>>,
    /// From whom.
    pub senders: Vec<Option<Uuid>>,
}

/// Plans sends: new ones, and the next attempt of those that were deferred, refused or cancelled.
pub async fn plan(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    planned: &Planned,
) -> sqlx::Result<()> {
    if planned.ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO sends (
            workspace_id, send_id, enrollment_id, campaign_id, lead_id, kind, step_key, visit,
            attempt, after_seq, channel, variant, sender_id, state)
        SELECT $1, u.*, 'planned'
        FROM unnest(
            $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::int[],
            $9::int[], $10::int[], $11::text[], $12::text[], $13::uuid[]) AS u
        ON CONFLICT (workspace_id, send_id) DO UPDATE
        SET state = 'planned', attempt = excluded.attempt, after_seq = excluded.after_seq,
            step_key = excluded.step_key, variant = excluded.variant,
            sender_id = excluded.sender_id,
            detail = CASE WHEN sends.slot_day IS NULL THEN NULL ELSE sends.detail END
        WHERE sends.attempt < excluded.attempt
          AND sends.state IN ('deferred', 'rejected', 'cancelled', 'planned')
        "#,
        workspace.uuid(),
        &planned.ids,
        &planned.enrollments,
        &planned.campaigns,
        &planned.leads,
        &planned.kinds as _,
        &planned.step_keys,
        &planned.visits,
        &planned.attempts,
        &planned.after_seqs,
        &planned.channels as _,
        &planned.variants as _,
        &planned.senders as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Tells sends that stay planned which signals the machine has seen by now.
pub async fn raise_after_seq(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
    after_seqs: &[i32],
) -> sqlx::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        UPDATE sends AS s SET after_seq = u.after_seq
        FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS u (workspace_id, send_id, after_seq)
        WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id AND s.state = 'planned'
          AND s.after_seq < u.after_seq
        "#,
        &vec![workspace.uuid(); ids.len()],
        ids,
        after_seqs,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Cancels sends that are not past the gate. Returns what they had taken of quotas.
pub async fn cancel(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<Share>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        Share,
        r#"
        UPDATE sends AS s
        SET state = 'cancelled', slot_at = NULL, slot_day = NULL, slot_campaign_day = NULL,
            detail = NULL
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, send_id)
        CROSS JOIN LATERAL (
            SELECT slot_day, slot_campaign_day FROM sends
            WHERE workspace_id = u.workspace_id AND send_id = u.send_id
            LIMIT 1
        ) AS old
        WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id
          AND s.state IN ('planned', 'deferred')
        RETURNING s.sender_id, s.campaign_id, old.slot_day AS "sender_day?",
                  old.slot_campaign_day AS "campaign_day?"
        "#,
        &vec![workspace.uuid(); ids.len()],
        ids,
    )
    .fetch_all(conn)
    .await
}

/// What a send took of the quotas of its sender and its campaign.
#[derive(Debug, Clone)]
pub struct Share {
    /// Whose day.
    pub sender_id: Option<Uuid>,
    /// Which of its days, if one was taken.
    pub sender_day: Option<NaiveDate>,
    /// Whose day.
    pub campaign_id: Uuid,
    /// Which of its days, if one was taken.
    pub campaign_day: Option<NaiveDate>,
}

/// Marks sends in flight as accepted because evidence names them.
pub async fn accept_on_evidence(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
    detail: &str,
) -> sqlx::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        UPDATE sends AS s SET state = 'accepted', detail = $3
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, send_id)
        WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id
          AND s.state IN ('dispatching', 'unknown', 'needs_review')
        "#,
        &vec![workspace.uuid(); ids.len()],
        ids,
        detail,
    )
    .execute(conn)
    .await?;
    Ok(())
}
