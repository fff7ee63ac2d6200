//! Who was reached by which campaign, for those that leave alone whom another one has. The ledger has
//! no index by lead: the enrollments know when they reached theirs, and each campaign has one of a lead.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

/// What the other campaigns have to do with a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// Who.
    pub lead_id: Uuid,
    /// When one of them reached it last, campaign time.
    pub contacted_at: Option<DateTime<Utc>>,
    /// Whether a person has it from one of them.
    pub with_person: bool,
}

/// Returns those of `leads` that are not in `campaign` and that a person has from another one, or
/// that another one has reached.
pub async fn elsewhere(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    leads: &[Uuid],
) -> sqlx::Result<Vec<Elsewhere>> {
    sqlx::query_as!(
        Elsewhere,
        r#"
        SELECT e.lead_id, max(e.contacted_at) AS contacted_at,
               bool_or(e.state = 'with_person') AS "with_person!"
        FROM campaigns c
        JOIN enrollments e ON e.workspace_id = c.workspace_id AND e.campaign_id = c.campaign_id
        WHERE c.workspace_id = $1 AND c.campaign_id <> $2 AND e.lead_id = ANY ($3)
          AND (e.contacted_at IS NOT NULL OR e.state = 'with_person')
          AND NOT EXISTS (
              SELECT 1 FROM enrollments own
              WHERE own.workspace_id = $1 AND own.campaign_id = $2 AND own.lead_id = e.lead_id)
        GROUP BY e.lead_id
        "#,
        workspace.uuid(),
        campaign.uuid(),
        leads,
    )
    .fetch_all(conn)
    .await
}

/// A lead's run through one campaign, as another one's gate sees it.
#[derive(Debug, Clone)]
pub struct Run {
    /// Whose.
    pub lead_id: Uuid,
    /// In which campaign.
    pub campaign_id: Uuid,
    /// Which.
    pub enrollment_id: Uuid,
    /// When it reached the lead last, campaign time.
    pub contacted_at: Option<DateTime<Utc>>,
    /// The step of which a message may be under way.
    pub under_way: Option<String>,
}

/// Returns the runs of `leads` that reached them or may be about to.
pub async fn runs(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    leads: &[Uuid],
) -> sqlx::Result<Vec<Run>> {
    sqlx::query_as!(
        Run,
        r#"
        SELECT e.lead_id, e.campaign_id, e.enrollment_id, e.contacted_at,
               CASE WHEN e.state IN ('sending', 'paused') THEN e.next_step END AS under_way
        FROM campaigns c
        CROSS JOIN unnest($2::uuid[]) AS u (lead_id)
        CROSS JOIN LATERAL (
            SELECT lead_id, campaign_id, enrollment_id, contacted_at, state, next_step
            FROM enrollments
            WHERE workspace_id = c.workspace_id AND campaign_id = c.campaign_id
              AND lead_id = u.lead_id
            OFFSET 0) AS e
        WHERE c.workspace_id = $1
          AND (e.contacted_at IS NOT NULL OR e.state IN ('sending', 'paused'))
        "#,
        workspace.uuid(),
        leads,
    )
    .fetch_all(conn)
    .await
}

/// A message that is past its gate.
#[derive(Debug, Clone)]
pub struct Gone {
    /// Which.
    pub send_id: Uuid,
    /// When it passed, campaign time.
    pub gate_at: Option<DateTime<Utc>>,
}

/// Returns those of `sends` that reached their lead, or may have.
pub async fn gone(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<Vec<Gone>> {
    if sends.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        Gone,
        r#"
        SELECT send_id, gate_at
        FROM sends
        WHERE workspace_id = $1 AND send_id = ANY ($2)
          AND state IN ('dispatching', 'unknown', 'needs_review', 'accepted')
        "#,
        workspace.uuid(),
        sends,
    )
    .fetch_all(conn)
    .await
}
