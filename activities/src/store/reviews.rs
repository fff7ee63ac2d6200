//! Sends of which nobody knows whether they left: a person looks, and decides.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, SendId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

/// A send that waits for a person's word.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// Its id.
    pub send_id: Uuid,
    /// Which ask of it.
    pub attempt: i32,
    /// Whose.
    pub enrollment_id: Uuid,
    /// The campaign's name.
    pub campaign: String,
    /// `step`, `handover` or `answer`.
    pub kind: String,
    /// The step, whom a handover is offered to, or the mail of a person of ours that is passed on.
    pub step_key: String,
    /// To whom.
    pub address: Option<String>,
    /// The sender's name.
    pub sender: Option<String>,
    /// Campaign time of its gate.
    pub gate_at: Option<DateTime<Utc>>,
    /// What was seen last.
    pub detail: Option<String>,
}

/// Returns the first `limit` sends that wait, oldest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    limit: i64,
) -> sqlx::Result<Vec<Review>> {
    sqlx::query_as!(
        Review,
        r#"
        SELECT
            s.send_id, s.attempt, s.enrollment_id, c.name AS campaign, s.kind,
            s.step_key, s.address, n.name AS "sender?", s.gate_at, s.detail
        FROM sends s
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = s.campaign_id
        LEFT JOIN senders n ON n.workspace_id = $1 AND n.sender_id = s.sender_id
        WHERE s.workspace_id = $1 AND s.state = 'needs_review'
        ORDER BY s.gate_at, s.send_id
        LIMIT $2
        "#,
        workspace.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns how many sends wait, of all campaigns or of one.
pub async fn count(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: Option<CampaignId>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n!"
        FROM reviews r
        JOIN sends s ON s.workspace_id = $1 AND s.send_id = r.send_id
        WHERE r.workspace_id = $1
          AND s.state = 'needs_review'
          AND s.campaign_id = coalesce($2, s.campaign_id)
        "#,
        workspace.uuid(),
        campaign.map(CampaignId::uuid),
    )
    .fetch_one(conn)
    .await
}

/// Returns one send that waits.
pub async fn one(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    send: SendId,
) -> sqlx::Result<Option<Review>> {
    sqlx::query_as!(
        Review,
        r#"
        SELECT
            s.send_id, s.attempt, s.enrollment_id, c.name AS campaign, s.kind, s.step_key,
            s.address, n.name AS "sender?", s.gate_at, s.detail
        FROM sends s
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = s.campaign_id
        LEFT JOIN senders n ON n.workspace_id = $1 AND n.sender_id = s.sender_id
        WHERE s.workspace_id = $1 AND s.send_id = $2 AND s.state = 'needs_review'
        "#,
        workspace.uuid(),
        send.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Notes that sends need a person's word.
pub async fn note(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<()> {
    if sends.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO reviews (workspace_id, send_id)
        SELECT $1, send_id FROM unnest($2::uuid[]) AS u (send_id)
        ON CONFLICT (workspace_id, send_id) DO NOTHING
        "#,
        workspace.uuid(),
        sends,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the notes of sends that need nobody's word any more.
pub async fn forget_settled(conn: &mut PgConnection, workspace: WorkspaceId) -> sqlx::Result<()> {
    let settled = sqlx::query_scalar!(
        r#"
        SELECT s.send_id
        FROM reviews r
        JOIN sends s ON s.workspace_id = $1 AND s.send_id = r.send_id
        WHERE r.workspace_id = $1 AND s.state <> 'needs_review'
        ORDER BY s.send_id
        LIMIT 1000
        FOR NO KEY UPDATE OF s SKIP LOCKED
        "#,
        workspace.uuid(),
    )
    .fetch_all(&mut *conn)
    .await?;
    if settled.is_empty() {
        return Ok(());
    }
    // A statement of its own after the lock: one that needs a person again keeps its note.
    sqlx::query!(
        r#"
        DELETE FROM reviews AS r
        USING sends s
        WHERE r.workspace_id = $1 AND r.send_id = ANY ($2)
          AND s.workspace_id = $1 AND s.send_id = r.send_id AND s.state <> 'needs_review'
        "#,
        workspace.uuid(),
        &settled,
    )
    .execute(conn)
    .await?;
    Ok(())
}
