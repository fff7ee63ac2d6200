//! Enrollments as people look at them: rows with the reason in a column, and what one of them sent.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, EnrollmentId, LeadId, WorkspaceId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::Engine;

/// An enrollment in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct EnrollmentRow {
    /// Its id.
    pub enrollment_id: Uuid,
    /// The campaign's name.
    pub campaign: String,
    /// The person.
    pub lead_id: Uuid,
    /// The person's mail address.
    pub email: Option<String>,
    /// The person's own zone, else the campaign's.
    pub zone: Option<String>,
    /// The state, as shown.
    pub state: String,
    /// Why it is there.
    pub why: Option<String>,
    /// Until when.
    pub until: Option<DateTime<Utc>>,
    /// What comes next.
    pub next_step: Option<String>,
    /// When.
    pub next_at: Option<DateTime<Utc>>,
    /// Campaign time of the newest event.
    pub changed_at: DateTime<Utc>,
    /// When it was taken out of the run because it failed to move.
    pub parked_at: Option<DateTime<Utc>>,
}

/// Which enrollments are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Of this campaign.
    pub campaign: Option<CampaignId>,
    /// In this state, as shown.
    pub state: Option<&'a str>,
    /// Of this person.
    pub lead: Option<LeadId>,
}

/// Returns up to `limit` enrollments that pass `filter`, behind `after` in the order of their ids.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: Filter<'_>,
    after: Option<EnrollmentId>,
    limit: i64,
) -> sqlx::Result<Vec<EnrollmentRow>> {
    sqlx::query_as!(
        EnrollmentRow,
        r#"
        SELECT
            e.enrollment_id, c.name AS campaign, e.lead_id,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = e.lead_id AND a.channel = 'email'
             ORDER BY a.address LIMIT 1) AS email,
            coalesce(l.zone, c.settings ->> 'zone') AS zone, e.state, e.why, e.until, e.next_step, e.next_at, e.changed_at, e.parked_at
        FROM enrollments e
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = e.campaign_id
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = e.lead_id
        WHERE e.workspace_id = $1 AND e.enrollment_id > $2
            AND ($3::uuid IS NULL OR e.campaign_id = $3)
            AND ($4::text IS NULL OR e.state = $4)
            AND ($5::uuid IS NULL OR e.lead_id = $5)
        ORDER BY e.enrollment_id
        LIMIT $6
        "#,
        workspace.uuid(),
        after.map_or(Uuid::nil(), EnrollmentId::uuid),
        filter.campaign.map(CampaignId::uuid),
        filter.state,
        filter.lead.map(LeadId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The states for which the table has an index of their own: leads of them are few among many.
/// Queries name them one by one, because the planner compares texts.
const RARE: [&str; 12] = [
    "retrying",
    "needs_approval",
    "call_due",
    "with_person",
    "held",
    "paused",
    "replied",
    "met",
    "bounced",
    "opted_out",
    "stopped",
    "failed",
];

/// Returns up to `limit` enrollments of a campaign behind the lead `after`, in the order of their
/// leads; with a `state`, as shown, only those.
pub async fn of_campaign(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    state: Option<&str>,
    after: Option<LeadId>,
    limit: i64,
) -> sqlx::Result<Vec<EnrollmentRow>> {
    let after = after.map_or(Uuid::nil(), LeadId::uuid);
    match state {
        Some(state) if RARE.contains(&state) => {
            in_rare_state(conn, workspace, campaign, state, after, limit).await
        }
        Some(_) | None => in_any_state(conn, workspace, campaign, state, after, limit).await,
    }
}

async fn in_any_state(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    state: Option<&str>,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<EnrollmentRow>> {
    sqlx::query_as!(
        EnrollmentRow,
        r#"
        SELECT
            e.enrollment_id, c.name AS campaign, e.lead_id,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = e.lead_id AND a.channel = 'email'
             ORDER BY a.address LIMIT 1) AS email,
            coalesce(l.zone, c.settings ->> 'zone') AS zone, e.state, e.why, e.until, e.next_step,
            e.next_at, e.changed_at, e.parked_at
        FROM enrollments e
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = e.campaign_id
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = e.lead_id
        WHERE e.workspace_id = $1 AND e.campaign_id = $2 AND e.lead_id > $3
            AND ($4::text IS NULL OR e.state = $4)
        ORDER BY e.lead_id
        LIMIT $5
        "#,
        workspace.uuid(),
        campaign.uuid(),
        after,
        state,
        limit,
    )
    .fetch_all(conn)
    .await
}

async fn in_rare_state(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    state: &str,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<EnrollmentRow>> {
    sqlx::query_as!(
        EnrollmentRow,
        r#"
        SELECT
            e.enrollment_id, c.name AS campaign, e.lead_id,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = e.lead_id AND a.channel = 'email'
             ORDER BY a.address LIMIT 1) AS email,
            coalesce(l.zone, c.settings ->> 'zone') AS zone, e.state, e.why, e.until, e.next_step,
            e.next_at, e.changed_at, e.parked_at
        FROM enrollments e
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = e.campaign_id
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = e.lead_id
        WHERE e.workspace_id = $1 AND e.campaign_id = $2 AND e.lead_id > $3 AND e.state = $4
            AND e.state IN (
                'retrying', 'needs_approval', 'call_due', 'with_person', 'held', 'paused',
                'replied', 'met', 'bounced', 'opted_out', 'stopped', 'failed')
        ORDER BY e.lead_id
        LIMIT $5
        "#,
        workspace.uuid(),
        campaign.uuid(),
        after,
        state,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns the enrollments of a person, in the order of their ids.
///
/// There is no index by lead: a lead is in a campaign at most once, so each campaign is asked.
pub async fn of_lead(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
) -> sqlx::Result<Vec<EnrollmentRow>> {
    sqlx::query_as!(
        EnrollmentRow,
        r#"
        SELECT
            e.enrollment_id, c.name AS campaign, e.lead_id,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = e.lead_id AND a.channel = 'email'
             ORDER BY a.address LIMIT 1) AS email,
            coalesce(l.zone, c.settings ->> 'zone') AS zone, e.state, e.why, e.until, e.next_step,
            e.next_at, e.changed_at, e.parked_at
        FROM campaigns c
        CROSS JOIN LATERAL (
            SELECT * FROM enrollments
            WHERE workspace_id = $1 AND campaign_id = c.campaign_id AND lead_id = $2
            OFFSET 0) e
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = $2
        WHERE c.workspace_id = $1
        ORDER BY e.enrollment_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        lead.uuid(),
    )
    .fetch_all(conn)
    .await
}

/// One enrollment with what an explanation reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its campaign.
    pub campaign_id: Uuid,
    /// The campaign's name.
    pub campaign: String,
    /// The engine that drives it.
    pub engine: Engine,
    /// What it runs.
    pub sequence_id: Uuid,
    /// Which version.
    pub version: i32,
    /// The serialised machine.
    pub snapshot: Vec<u8>,
    /// The person.
    pub lead_id: Uuid,
    /// The person's mail address.
    pub email: Option<String>,
    /// The person's own zone.
    pub zone: Option<String>,
    /// Consent to mail.
    pub email_consent: String,
    /// Consent to texts.
    pub sms_consent: String,
    /// Consent to calls.
    pub call_consent: String,
    /// Everything known about the person.
    pub attributes: Value,
    /// The name of the mailbox it keeps.
    pub sender: Option<String>,
    /// When it was taken out of the run because it failed to move.
    pub parked_at: Option<DateTime<Utc>>,
    /// Facts on their way that no turn has seen.
    pub unseen: i32,
    /// Where its campaign stands.
    pub campaign_status: String,
    /// Whether the person was erased.
    pub is_erased: bool,
}

/// Returns one enrollment.
pub async fn one(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
) -> sqlx::Result<Option<Stored>> {
    sqlx::query_as!(
        Stored,
        r#"
        SELECT
            e.campaign_id, c.name AS campaign, e.engine AS "engine: Engine", c.sequence_id, e.version, e.snapshot, e.lead_id,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = e.lead_id AND a.channel = 'email'
             ORDER BY a.address LIMIT 1) AS email,
            l.zone, l.email_consent, l.sms_consent, l.call_consent, l.attributes,
            s.name AS "sender?", e.parked_at, e.signal_seq - e.applied_seq AS "unseen!",
            c.status AS campaign_status, l.erased_at IS NOT NULL AS "is_erased!"
        FROM enrollments e
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = e.campaign_id
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = e.lead_id
        LEFT JOIN senders s ON s.workspace_id = $1 AND s.sender_id = e.email_sender_id
        WHERE e.workspace_id = $1 AND e.enrollment_id = $2
        "#,
        workspace.uuid(),
        enrollment.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Returns enrollments that are held for want of a sender, or of something that a sender has, behind
/// `after` in the order of their ids.
pub async fn held_for_a_sender(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Option<EnrollmentId>,
    limit: i64,
) -> sqlx::Result<Vec<EnrollmentId>> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT enrollment_id
        FROM enrollments
        WHERE workspace_id = $1 AND state = 'held' AND enrollment_id > $2
          AND CASE why
              WHEN 'sender_disconnected' THEN true
              WHEN 'missing_variable' THEN convert_from(snapshot, 'UTF8')::jsonb
                  @? '$.state.missing.fields[*] ? (@ starts with "sender.")'
              ELSE false END
        ORDER BY enrollment_id
        LIMIT $3
        "#,
        workspace.uuid(),
        after.map_or(Uuid::nil(), EnrollmentId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(EnrollmentId::new).collect())
}

/// Returns up to `limit` enrollments of a campaign that were given up and can go on, each with its lead,
/// behind the lead `after` in the order of their leads.
pub async fn failed(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    after: Option<LeadId>,
    limit: i64,
) -> sqlx::Result<Vec<(EnrollmentId, LeadId)>> {
    let rows = sqlx::query!(
        r#"
        SELECT e.enrollment_id, e.lead_id
        FROM enrollments e
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = e.lead_id
        WHERE e.workspace_id = $1 AND e.campaign_id = $2 AND e.lead_id > $3 AND e.state = 'failed'
          AND e.parked_at IS NULL AND l.erased_at IS NULL
        ORDER BY e.lead_id
        LIMIT $4
        "#,
        workspace.uuid(),
        campaign.uuid(),
        after.map_or(Uuid::nil(), LeadId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.enrollment_id.into(), row.lead_id.into())).collect())
}

/// Returns how many enrollments of a campaign were given up and can go on.
pub async fn count_failed(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n!"
        FROM enrollments e
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = e.lead_id
        WHERE e.workspace_id = $1 AND e.campaign_id = $2 AND e.state = 'failed'
          AND e.parked_at IS NULL AND l.erased_at IS NULL
        "#,
        workspace.uuid(),
        campaign.uuid(),
    )
    .fetch_one(conn)
    .await
}

/// Returns the `limit` enrollments of a campaign that changed last. It reads all of them: for
/// campaigns that somebody watches, not for large ones.
pub async fn latest(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    limit: i64,
) -> sqlx::Result<Vec<EnrollmentRow>> {
    sqlx::query_as!(
        EnrollmentRow,
        r#"
        SELECT
            e.enrollment_id, c.name AS campaign, e.lead_id,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = e.lead_id AND a.channel = 'email'
             ORDER BY a.address LIMIT 1) AS email,
            coalesce(l.zone, c.settings ->> 'zone') AS zone, e.state, e.why, e.until, e.next_step, e.next_at, e.changed_at, e.parked_at
        FROM enrollments e
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = e.campaign_id
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = e.lead_id
        WHERE e.workspace_id = $1 AND e.campaign_id = $2
        ORDER BY e.changed_at DESC, e.enrollment_id
        LIMIT $3
        "#,
        workspace.uuid(),
        campaign.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await
}
