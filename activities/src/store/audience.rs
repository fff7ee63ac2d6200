//! Who enters a campaign: leads read page by page in the order of their ids, and enrollments
//! written in bulk. A page that was written is written for good; repeating it changes nothing.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, EnrollmentId, LeadId, WorkspaceId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::Engine;

/// A lead that may enter.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Who.
    pub lead_id: Uuid,
    /// Whether there is an address on one of the channels asked about.
    pub reachable: bool,
    /// What is known about the lead; `None` unless asked for.
    pub attributes: Option<Value>,
}

/// What to read about candidates.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The channels on one of which an address is needed.
    pub channels: &'a [String],
    /// Whether the attributes are read too.
    pub attributes: bool,
}

/// Returns the next `limit` leads after `after`, whoever they are.
pub async fn everyone(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    wanted: Wanted<'_>,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Candidate>> {
    sqlx::query_as!(
        Candidate,
        r#"
        SELECT
            l.lead_id,
            EXISTS (
                SELECT 1 FROM addresses a
                WHERE a.workspace_id = l.workspace_id AND a.lead_id = l.lead_id
                    AND a.channel = ANY($3)) AS "reachable!",
            CASE WHEN $4 THEN l.attributes END AS attributes
        FROM leads l
        WHERE l.workspace_id = $1 AND l.lead_id > $2 AND l.erased_at IS NULL
        ORDER BY l.lead_id
        LIMIT $5
        "#,
        workspace.uuid(),
        after,
        wanted.channels,
        wanted.attributes,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns the next `limit` leads after `after` that have `tag` and all of `more`.
pub async fn tagged(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    wanted: Wanted<'_>,
    tag: &str,
    more: &[String],
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Candidate>> {
    sqlx::query_as!(
        Candidate,
        r#"
        SELECT
            l.lead_id,
            EXISTS (
                SELECT 1 FROM addresses a
                WHERE a.workspace_id = l.workspace_id AND a.lead_id = l.lead_id
                    AND a.channel = ANY($3)) AS "reachable!",
            CASE WHEN $4 THEN l.attributes END AS attributes
        FROM lead_tags t
        JOIN leads l ON l.workspace_id = t.workspace_id AND l.lead_id = t.lead_id
        WHERE t.workspace_id = $1 AND t.tag = $6 AND t.lead_id > $2 AND l.erased_at IS NULL
            AND NOT EXISTS (
                SELECT 1 FROM unnest($7::text[]) AS other (tag)
                WHERE NOT EXISTS (
                    SELECT 1 FROM lead_tags o
                    WHERE o.workspace_id = l.workspace_id AND o.tag = other.tag
                        AND o.lead_id = l.lead_id))
        ORDER BY t.lead_id
        LIMIT $5
        "#,
        workspace.uuid(),
        after,
        wanted.channels,
        wanted.attributes,
        limit,
        tag,
        more,
    )
    .fetch_all(conn)
    .await
}

/// Returns those of `leads` that exist, in the order of their ids.
pub async fn named(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    wanted: Wanted<'_>,
    leads: &[LeadId],
) -> sqlx::Result<Vec<Candidate>> {
    let leads: Vec<Uuid> = leads.iter().map(|id| id.uuid()).collect();
    sqlx::query_as!(
        Candidate,
        r#"
        SELECT
            l.lead_id,
            EXISTS (
                SELECT 1 FROM addresses a
                WHERE a.workspace_id = l.workspace_id AND a.lead_id = l.lead_id
                    AND a.channel = ANY($3)) AS "reachable!",
            CASE WHEN $4 THEN l.attributes END AS attributes
        FROM leads l
        WHERE l.workspace_id = $1 AND l.lead_id = ANY($2) AND l.erased_at IS NULL
        ORDER BY l.lead_id
        LIMIT 10000
        "#,
        workspace.uuid(),
        &leads,
        wanted.channels,
        wanted.attributes,
    )
    .fetch_all(conn)
    .await
}

/// An address of a lead that is in a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAddress {
    /// Whose.
    pub lead_id: Uuid,
    /// The address, or the number.
    pub address: String,
}

/// Returns addresses on these channels of leads for which a campaign is not over, behind `after`, by
/// lead and address.
pub async fn live_addresses(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    channels: &[String],
    after: &LiveAddress,
    limit: i64,
) -> sqlx::Result<Vec<LiveAddress>> {
    sqlx::query_as!(
        LiveAddress,
        r#"
        SELECT a.lead_id, a.address
        FROM enrollments e
        JOIN addresses a ON a.workspace_id = $1 AND a.lead_id = e.lead_id
        WHERE e.workspace_id = $1
          AND e.campaign_id = $2
          AND e.ended_at IS NULL
          AND a.channel = ANY($3)
          AND e.lead_id >= $4
          AND (a.lead_id, a.address) > ($4, $5)
        ORDER BY e.lead_id, a.address
        LIMIT $6
        "#,
        workspace.uuid(),
        campaign.uuid(),
        channels,
        after.lead_id,
        after.address,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns how many leads there are.
pub async fn count_everyone(conn: &mut PgConnection, workspace: WorkspaceId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n!"
        FROM leads
        WHERE workspace_id = $1 AND erased_at IS NULL
        "#,
        workspace.uuid(),
    )
    .fetch_one(conn)
    .await
}

/// Returns how many leads have `tag`.
pub async fn count_tagged(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    tag: &str,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n!"
        FROM lead_tags
        WHERE workspace_id = $1 AND tag = $2
        "#,
        workspace.uuid(),
        tag,
    )
    .fetch_one(conn)
    .await
}

/// What all enrollments of one page have in common.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Into which campaign.
    pub campaign: CampaignId,
    /// The version they run.
    pub version: i32,
    /// The engine that drives them.
    pub engine: Engine,
    /// The newest verb they need not be told.
    pub verb_seq: i32,
    /// The machine before its first signal, JSON.
    pub snapshot: &'a [u8],
    /// The first step.
    pub first_step: &'a str,
    /// Campaign time.
    pub now: DateTime<Utc>,
}

/// Enrolls the leads beside the ids given for their enrollments; those who are in the campaign
/// already stay as they are. Returns those who entered, each with the enrollment.
pub async fn enroll(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    entry: Entry<'_>,
    enrollments: &[Uuid],
    leads: &[Uuid],
) -> sqlx::Result<Vec<(LeadId, EnrollmentId)>> {
    let rows = sqlx::query!(
        r#"
        INSERT INTO enrollments (
            workspace_id, enrollment_id, campaign_id, lead_id, version, engine, snapshot, verb_seq,
            state, next_step, next_at, changed_at, wake_at)
        SELECT $1, e.enrollment_id, $2, e.lead_id, $3, $4, $5, $6, 'queued', $7, $8, $8, $8
        FROM unnest($9::uuid[], $10::uuid[]) AS e (enrollment_id, lead_id)
        ON CONFLICT (workspace_id, campaign_id, lead_id) DO NOTHING
        RETURNING lead_id, enrollment_id
        "#,
        workspace.uuid(),
        entry.campaign.uuid(),
        entry.version,
        entry.engine.as_str(),
        entry.snapshot,
        entry.verb_seq,
        entry.first_step,
        entry.now,
        enrollments,
        leads,
    )
    .fetch_all(&mut *conn)
    .await?;
    let entered: Vec<(LeadId, EnrollmentId)> =
        rows.into_iter().map(|row| (row.lead_id.into(), row.enrollment_id.into())).collect();
    if !entered.is_empty() {
        sqlx::query!(
            r#"
            INSERT INTO counter_deltas (workspace_id, campaign_id, measure, n)
            VALUES ($1, $2, 'state/queued', $3)
            "#,
            workspace.uuid(),
            entry.campaign.uuid(),
            i64::try_from(entered.len()).unwrap_or(i64::MAX),
        )
        .execute(&mut *conn)
        .await?;
        super::bell::ring(conn, workspace).await?;
    }
    Ok(entered)
}
