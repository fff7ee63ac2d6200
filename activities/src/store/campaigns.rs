//! Campaigns: the sequence version that new enrollments get, the status, and the settings that the
//! gate and the mails read.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, WorkspaceId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::Engine;

/// One campaign as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct CampaignRow {
    /// Its id.
    pub campaign_id: Uuid,
    /// Unique in the workspace.
    pub name: String,
    /// The engine that drives it.
    pub engine: Engine,
    /// `draft`, `active`, `paused`, `stopped` or `finished`.
    pub status: String,
    /// Its sequence.
    pub sequence_id: Uuid,
    /// The version that new enrollments get.
    pub version: i32,
    /// What the gate and the mails read.
    pub settings: Value,
    /// The newest verb.
    pub verb_seq: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Campaign time at which its audience enters; gone once it is in.
    pub start_at: Option<DateTime<Utc>>,
    /// Campaign time of its start.
    pub started_at: Option<DateTime<Utc>>,
    /// Campaign time of its end.
    pub finished_at: Option<DateTime<Utc>>,
    /// The version its leads are being moved to; gone once they are.
    pub moving_to: Option<i32>,
}

/// Returns a campaign.
pub async fn by_id(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> sqlx::Result<Option<CampaignRow>> {
    sqlx::query_as!(
        CampaignRow,
        r#"
        SELECT campaign_id, name, engine AS "engine: Engine", status, sequence_id, version, settings,
            verb_seq, created_at, start_at, started_at, finished_at, moving_to
        FROM campaigns
        WHERE workspace_id = $1 AND campaign_id = $2
        "#,
        workspace.uuid(),
        campaign.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Returns the campaign of this name.
pub async fn by_name(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    name: &str,
) -> sqlx::Result<Option<CampaignRow>> {
    sqlx::query_as!(
        CampaignRow,
        r#"
        SELECT campaign_id, name, engine AS "engine: Engine", status, sequence_id, version, settings,
            verb_seq, created_at, start_at, started_at, finished_at, moving_to
        FROM campaigns
        WHERE workspace_id = $1 AND name = $2
        "#,
        workspace.uuid(),
        name,
    )
    .fetch_optional(conn)
    .await
}

/// Returns the campaign of this name, locked against changes until the transaction ends.
pub async fn lock_by_name(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    name: &str,
) -> sqlx::Result<Option<CampaignRow>> {
    sqlx::query_as!(
        CampaignRow,
        r#"
        SELECT campaign_id, name, engine AS "engine: Engine", status, sequence_id, version, settings,
            verb_seq, created_at, start_at, started_at, finished_at, moving_to
        FROM campaigns
        WHERE workspace_id = $1 AND name = $2
        FOR NO KEY UPDATE
        "#,
        workspace.uuid(),
        name,
    )
    .fetch_optional(conn)
    .await
}

/// Returns a campaign, locked against changes until the transaction ends.
pub async fn lock(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> sqlx::Result<Option<CampaignRow>> {
    sqlx::query_as!(
        CampaignRow,
        r#"
        SELECT campaign_id, name, engine AS "engine: Engine", status, sequence_id, version, settings,
            verb_seq, created_at, start_at, started_at, finished_at, moving_to
        FROM campaigns
        WHERE workspace_id = $1 AND campaign_id = $2
        FOR NO KEY UPDATE
        "#,
        workspace.uuid(),
        campaign.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Returns up to `limit` campaigns behind the name `after`, in the order of their names; with a
/// `status`, only those.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    status: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<CampaignRow>> {
    sqlx::query_as!(
        CampaignRow,
        r#"
        SELECT campaign_id, name, engine AS "engine: Engine", status, sequence_id, version, settings,
            verb_seq, created_at, start_at, started_at, finished_at, moving_to
        FROM campaigns
        WHERE workspace_id = $1 AND name > $2 AND ($3::text IS NULL OR status = $3)
        ORDER BY name
        LIMIT $4
        "#,
        workspace.uuid(),
        after.unwrap_or_default(),
        status,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Makes a draft. Returns whether its name was free.
pub async fn insert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    row: &CampaignRow,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        INSERT INTO campaigns (
            workspace_id, campaign_id, name, engine, status, sequence_id, version, settings,
            created_at)
        VALUES ($1, $2, $3, $4, 'draft', $5, $6, $7, $8)
        ON CONFLICT (workspace_id, name) DO NOTHING
        "#,
        workspace.uuid(),
        row.campaign_id,
        row.name,
        row.engine.as_str(),
        row.sequence_id,
        row.version,
        row.settings,
        row.created_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives new enrollments this version, and the campaign this name and these settings.
///
/// # Errors
///
/// When the database fails, or another campaign has the name.
pub async fn set_version(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    name: &str,
    version: i32,
    settings: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE campaigns
        SET name = $3, version = $4, settings = $5
        WHERE workspace_id = $1 AND campaign_id = $2
        "#,
        workspace.uuid(),
        campaign.uuid(),
        name,
        version,
        settings,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a draft, or a campaign that had finished, active.
pub async fn start(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE campaigns
        SET status = 'active', started_at = coalesce(started_at, $3), finished_at = NULL
        WHERE workspace_id = $1 AND campaign_id = $2 AND status IN ('draft', 'finished')
        "#,
        workspace.uuid(),
        campaign.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes when the audience of a campaign enters, or that it need not any more.
pub async fn plan_start(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    start_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE campaigns
        SET start_at = $3
        WHERE workspace_id = $1 AND campaign_id = $2
        "#,
        workspace.uuid(),
        campaign.uuid(),
        start_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that the audience that was to enter at `start_at` is in, unless another time was set since.
pub async fn note_entered(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    start_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE campaigns
        SET start_at = NULL
        WHERE workspace_id = $1 AND campaign_id = $2 AND start_at = $3
        "#,
        workspace.uuid(),
        campaign.uuid(),
        start_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that the leads of a campaign are to be moved to `version`.
pub async fn plan_move(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    version: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE campaigns
        SET moving_to = $3
        WHERE workspace_id = $1 AND campaign_id = $2
        "#,
        workspace.uuid(),
        campaign.uuid(),
        version,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that the leads of a campaign were moved to `version`, unless another was ordered since.
pub async fn note_moved(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    version: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE campaigns
        SET moving_to = NULL
        WHERE workspace_id = $1 AND campaign_id = $2 AND moving_to = $3
        "#,
        workspace.uuid(),
        campaign.uuid(),
        version,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes finished campaigns active again, because a lead of theirs came back to life. Locks them all,
/// so that none is finished while that is not committed. Returns those that were finished.
pub async fn reopen(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaigns: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    if campaigns.is_empty() {
        return Ok(Vec::new());
    }
    super::gates::lock_campaigns(conn, workspace, campaigns).await?;
    sqlx::query_scalar!(
        r#"
        UPDATE campaigns SET status = 'active', finished_at = NULL
        WHERE workspace_id = $1 AND campaign_id = ANY ($2) AND status = 'finished'
        RETURNING campaign_id
        "#,
        workspace.uuid(),
        campaigns,
    )
    .fetch_all(conn)
    .await
}

/// One counter of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Whose.
    pub campaign_id: Uuid,
    /// The step it counts, if it counts one.
    pub step_key: Option<String>,
    /// The wording it counts, if the step has several.
    pub variant: Option<String>,
    /// What is counted.
    pub measure: String,
    /// How often.
    pub n: i64,
}

/// Returns the counters of these campaigns that are not zero.
pub async fn counters(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaigns: &[CampaignId],
) -> sqlx::Result<Vec<Counter>> {
    let campaigns: Vec<Uuid> = campaigns.iter().map(|id| id.uuid()).collect();
    sqlx::query_as!(
        Counter,
        r#"
        SELECT campaign_id, step_key, variant, measure, sum(n)::bigint AS "n!"
        FROM counter_deltas
        WHERE workspace_id = $1 AND campaign_id = ANY($2)
        GROUP BY campaign_id, step_key, variant, measure
        HAVING sum(n) <> 0
        ORDER BY campaign_id, step_key NULLS FIRST, variant NULLS FIRST, measure
        LIMIT 100000
        "#,
        workspace.uuid(),
        &campaigns,
    )
    .fetch_all(conn)
    .await
}
