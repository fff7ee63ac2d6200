//! What a turn reads besides the enrollments: campaigns, verbs, signals, facts about leads,
//! senders; and the small rows it leaves behind.

use chrono::{DateTime, TimeDelta, Utc};
use machine::ids::WorkspaceId;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// A campaign as a turn reads it.
#[derive(Debug, Clone)]
pub struct CampaignRow {
    /// Which.
    pub campaign_id: Uuid,
    /// What it runs.
    pub sequence_id: Uuid,
    /// The newest verb.
    pub verb_seq: i32,
    /// Its settings.
    pub settings: Value,
}

/// Reads campaigns by id.
pub async fn campaigns(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<CampaignRow>> {
    sqlx::query_as!(
        CampaignRow,
        r#"
        SELECT campaign_id, sequence_id, verb_seq, settings
        FROM campaigns
        WHERE workspace_id = $1 AND campaign_id = ANY ($2)
        "#,
        workspace.uuid(),
        ids,
    )
    .fetch_all(conn)
    .await
}

/// A verb of a campaign.
#[derive(Debug, Clone)]
pub struct VerbRow {
    /// Whose.
    pub campaign_id: Uuid,
    /// Its number.
    pub seq: i32,
    /// `pause`, `resume` or `stop`.
    pub verb: String,
    /// How to resume.
    pub rule: Option<String>,
    /// Campaign time.
    pub at: DateTime<Utc>,
}

/// Reads the verbs of campaigns behind number `after`, oldest first.
pub async fn verbs(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaigns: &[Uuid],
    after: i32,
) -> sqlx::Result<Vec<VerbRow>> {
    sqlx::query_as!(
        VerbRow,
        r#"
        SELECT campaign_id, seq, verb, rule, at
        FROM campaign_verbs
        WHERE workspace_id = $1 AND campaign_id = ANY ($2) AND seq > $3
        ORDER BY campaign_id, seq
        LIMIT 10000
        "#,
        workspace.uuid(),
        campaigns,
        after,
    )
    .fetch_all(conn)
    .await
}

/// A stored signal.
#[derive(Debug, Clone)]
pub struct SignalRow {
    /// Whose.
    pub enrollment_id: Uuid,
    /// Its number.
    pub seq: i32,
    /// As the machine reads it; `None` until interpreted.
    pub signal: Option<Value>,
    /// Where the trace of whoever told it goes on.
    pub trace: Option<String>,
}

/// Reads the signals of enrollments behind the number each has applied, in order.
pub async fn signals(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
    applied: &[i32],
) -> sqlx::Result<Vec<SignalRow>> {
    if enrollments.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        SignalRow,
        r#"
        SELECT s.enrollment_id, s.seq, s.signal, s.trace
        FROM unnest($1::uuid[], $2::uuid[], $3::int[])
             AS u (workspace_id, enrollment_id, applied_seq)
        JOIN signals s ON s.workspace_id = u.workspace_id AND s.enrollment_id = u.enrollment_id
                      AND s.seq > u.applied_seq
        ORDER BY s.enrollment_id, s.seq
        "#,
        &vec![workspace.uuid(); enrollments.len()],
        enrollments,
        applied,
    )
    .fetch_all(conn)
    .await
}

/// What a turn reads about a person.
#[derive(Debug, Clone)]
pub struct LeadRow {
    /// Who.
    pub lead_id: Uuid,
    /// The zone's IANA name.
    pub zone: Option<String>,
    /// The country, where the zone is not known.
    pub country: Option<String>,
    /// Consent to mail.
    pub email_consent: String,
    /// Consent to texts.
    pub sms_consent: String,
    /// Consent to calls.
    pub call_consent: String,
    /// The attributes, where a version names any.
    pub attributes: Option<Value>,
}

/// Reads leads by id, their attributes only where asked.
pub async fn leads(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
    attributes: Attributes,
) -> sqlx::Result<Vec<LeadRow>> {
    sqlx::query_as!(
        LeadRow,
        r#"
        SELECT l.lead_id, l.zone,
               CASE WHEN l.zone IS NULL THEN l.attributes ->> 'country' END AS country,
               l.email_consent, l.sms_consent, l.call_consent,
               CASE WHEN $3 THEN l.attributes END AS attributes
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, lead_id)
        JOIN leads l ON l.workspace_id = u.workspace_id AND l.lead_id = u.lead_id
        "#,
        &vec![workspace.uuid(); ids.len()],
        ids,
        attributes == Attributes::Wanted,
    )
    .fetch_all(conn)
    .await
}

/// Whether a batch needs the attributes of its leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes {
    /// A version names some.
    Wanted,
    /// No version names any.
    NotNeeded,
}

/// A sender as a turn chooses it.
#[derive(Debug, Clone)]
pub struct SenderRow {
    /// Which.
    pub sender_id: Uuid,
    /// `email` or `sms`.
    pub channel: String,
    /// Its share.
    pub weight: i32,
}

/// Reads the senders that may be chosen.
pub async fn active_senders(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<SenderRow>> {
    sqlx::query_as!(
        SenderRow,
        r#"
        SELECT sender_id, channel, weight
        FROM senders
        WHERE workspace_id = $1 AND sender_id = ANY ($2) AND status = 'active' AND weight > 0
        ORDER BY sender_id
        LIMIT 10000
        "#,
        workspace.uuid(),
        ids,
    )
    .fetch_all(conn)
    .await
}

/// Returns the runners heard of since `since`, in wall time.
pub async fn live_runners(
    conn: &mut PgConnection,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!("SELECT runner_id FROM runners WHERE beat_at > $1", since)
        .fetch_all(conn)
        .await
}

/// Notes that a runner lives, at `now` wall time.
pub async fn beat(conn: &mut PgConnection, runner: Uuid, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO runners (runner_id, started_at, beat_at) VALUES ($1, $2, $2)
        ON CONFLICT (runner_id) DO UPDATE SET beat_at = excluded.beat_at
        "#,
        runner,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes runners that have been silent for `silence`, in wall time. Returns how many.
pub async fn bury_silent(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    silence: TimeDelta,
) -> sqlx::Result<u64> {
    let done =
        sqlx::query!("DELETE FROM runners WHERE beat_at < $1", now - silence).execute(conn).await?;
    Ok(done.rows_affected())
}

/// Removes a runner that stops in order.
pub async fn bury(conn: &mut PgConnection, runner: Uuid) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM runners WHERE runner_id = $1", runner).execute(conn).await?;
    Ok(())
}

/// Changes of counters, column by column.
#[derive(Debug, Default)]
pub struct Deltas {
    /// Whose.
    pub campaigns: Vec<Uuid>,
    /// The step, where the measure belongs to one.
    pub steps: Vec<Option<String>>,
    /// The wording.
    pub variants: Vec<Option<String>>,
    /// What is counted.
    pub measures: Vec<String>,
    /// By how much.
    pub ns: Vec<i64>,
}

/// Adds changes of counters.
pub async fn count(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    deltas: &Deltas,
) -> sqlx::Result<()> {
    if deltas.campaigns.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO counter_deltas (workspace_id, campaign_id, step_key, variant, measure, n)
        SELECT $1, u.* FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[]) AS u
        "#,
        workspace.uuid(),
        &deltas.campaigns,
        &deltas.steps as _,
        &deltas.variants as _,
        &deltas.measures,
        &deltas.ns,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Requests to people, column by column.
#[derive(Debug, Default)]
pub struct Tasks {
    /// What each is about.
    pub sends: Vec<Uuid>,
    /// Which ask it is.
    pub attempts: Vec<i32>,
    /// Whose.
    pub enrollments: Vec<Uuid>,
    /// `approval` or `call`.
    pub kinds: Vec<&'static str>,
    /// The step.
    pub steps: Vec<String>,
    /// When.
    pub opened_ats: Vec<DateTime<Utc>>,
    /// Until when.
    pub expires_ats: Vec<Option<DateTime<Utc>>>,
}

/// Opens requests to people.
pub async fn open_tasks(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    tasks: &Tasks,
) -> sqlx::Result<()> {
    if tasks.sends.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO tasks (
            workspace_id, send_id, attempt, enrollment_id, kind, step_key, opened_at, expires_at)
        SELECT $1, u.*
        FROM unnest($2::uuid[], $3::int[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[],
                    $8::timestamptz[]) AS u
        ON CONFLICT (workspace_id, send_id, attempt) DO NOTHING
        "#,
        workspace.uuid(),
        &tasks.sends,
        &tasks.attempts,
        &tasks.enrollments,
        &tasks.kinds as _,
        &tasks.steps,
        &tasks.opened_ats,
        &tasks.expires_ats as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Closes requests to people that were answered or withdrawn.
pub async fn close_tasks(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
    attempts: &[i32],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if sends.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        UPDATE tasks AS t SET closed_at = $4
        FROM unnest($2::uuid[], $3::int[]) AS u (send_id, attempt)
        WHERE t.workspace_id = $1 AND t.send_id = u.send_id AND t.attempt = u.attempt
          AND t.closed_at IS NULL
        "#,
        workspace.uuid(),
        sends,
        attempts,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A handover as it stands after a turn.
#[derive(Debug)]
pub struct HandoverRow {
    /// Whose.
    pub enrollment_id: Uuid,
    /// The person.
    pub lead_id: Uuid,
    /// The campaign.
    pub campaign_id: Uuid,
    /// Which of the enrollment's handovers.
    pub visit: i32,
    /// Where it stands.
    pub state: &'static str,
    /// Whose turn it is.
    pub responder: Option<&'static str>,
    /// Until when.
    pub answer_by: Option<DateTime<Utc>>,
    /// How it ended.
    pub result: Option<&'static str>,
    /// Whether the agent it was with has it no more: somebody else is asked.
    pub leaves_agent: bool,
    /// Campaign time.
    pub at: DateTime<Utc>,
}

/// Writes how a handover stands. Returns whether an agent has one lead less by it.
pub async fn put_handover(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    row: &HandoverRow,
) -> sqlx::Result<bool> {
    let closed = matches!(row.state, "closed" | "given_back");
    let left = sqlx::query_scalar!(
        r#"
        WITH before AS (
            SELECT state, agent_id
            FROM handovers
            WHERE workspace_id = $1 AND enrollment_id = $2 AND visit = $3)
        INSERT INTO handovers (
            workspace_id, enrollment_id, visit, lead_id, campaign_id, state, responder, answer_by,
            result, opened_at, closed_at)
        VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, 'first'), $8, $9, $10,
                CASE WHEN $11 THEN $10::timestamptz END)
        ON CONFLICT (workspace_id, enrollment_id, visit) DO UPDATE
        SET state = excluded.state, responder = coalesce($7, handovers.responder),
            answer_by = excluded.answer_by, result = excluded.result,
            closed_at = excluded.closed_at,
            agent_id = CASE WHEN NOT $12 THEN handovers.agent_id END,
            offer_id = CASE WHEN NOT $12 THEN handovers.offer_id END
        RETURNING EXISTS (
            SELECT 1 FROM before
            WHERE agent_id IS NOT NULL AND state IN ('offered', 'accepted', 'answered')) AS "had!"
        "#,
        workspace.uuid(),
        row.enrollment_id,
        row.visit,
        row.lead_id,
        row.campaign_id,
        row.state,
        row.responder,
        row.answer_by,
        row.result,
        row.at,
        closed,
        row.leaves_agent,
    )
    .fetch_one(conn)
    .await?;
    Ok(left && (closed || row.leaves_agent))
}
