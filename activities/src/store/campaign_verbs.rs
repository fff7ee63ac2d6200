//! Orders about whole campaigns, and how far they have been told.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, WorkspaceId};
use sqlx::PgConnection;

use super::bell;

/// Where a campaign stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its status.
    pub status: String,
    /// When its audience is to enter.
    pub start_at: Option<DateTime<Utc>>,
}

/// Returns where a campaign stands, locked until the transaction ends.
pub async fn standing(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> sqlx::Result<Option<Standing>> {
    sqlx::query_as!(
        Standing,
        r#"
        SELECT status, start_at FROM campaigns
        WHERE workspace_id = $1 AND campaign_id = $2
        FOR UPDATE
        "#,
        workspace.uuid(),
        campaign.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Adds an order and sets the status it leads to. Wakes the runners at commit.
pub async fn add(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    verb: &str,
    rule: Option<&str>,
    status: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        WITH raised AS (
            UPDATE campaigns
            SET verb_seq = verb_seq + 1, status = $5,
                start_at = CASE WHEN $5 <> 'stopped' THEN start_at END
            WHERE workspace_id = $1 AND campaign_id = $2
            RETURNING verb_seq)
        INSERT INTO campaign_verbs (workspace_id, campaign_id, seq, verb, rule, at)
        SELECT $1, $2, raised.verb_seq, $3, $4, $6 FROM raised
        "#,
        workspace.uuid(),
        campaign.uuid(),
        verb,
        rule,
        status,
        now,
    )
    .execute(&mut *conn)
    .await?;
    bell::ring(conn, workspace).await
}

/// Returns the number of the newest order.
pub async fn newest(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        "SELECT verb_seq FROM campaigns WHERE workspace_id = $1 AND campaign_id = $2",
        workspace.uuid(),
        campaign.uuid(),
    )
    .fetch_one(conn)
    .await
}

/// Notes that every lead was told the orders up to `seq`.
pub async fn note_told(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    seq: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE campaigns SET verbs_told = greatest(verbs_told, $3)
        WHERE workspace_id = $1 AND campaign_id = $2
        "#,
        workspace.uuid(),
        campaign.uuid(),
        seq,
    )
    .execute(conn)
    .await?;
    Ok(())
}
