//! What the link in an offer leads to: the offer, and what became of it.

use chrono::{DateTime, Utc};
use machine::ids::{SendId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

/// An offer with the handover it is about.
#[derive(Debug, Clone)]
pub struct OfferRow {
    /// Whose handover.
    pub enrollment_id: Uuid,
    /// To whom it went.
    pub agent_id: Uuid,
    /// When the agent took the lead by the link.
    pub accepted_at: Option<DateTime<Utc>>,
    /// Where the handover stands.
    pub state: String,
    /// Whether it is this offer that stands.
    pub stands: bool,
    /// Until when an answer is expected.
    pub answer_by: Option<DateTime<Utc>>,
    /// The campaign's name.
    pub campaign: String,
    /// The campaign's settings, JSON.
    pub settings: serde_json::Value,
    /// The subject of the offer's mail; emptied by erase.
    pub subject: Option<String>,
    /// Its text; emptied by erase.
    pub text: Option<String>,
}

/// Returns the offer that was made by this mail.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    send: SendId,
) -> sqlx::Result<Option<OfferRow>> {
    sqlx::query_as!(
        OfferRow,
        r#"
        SELECT o.enrollment_id, o.agent_id, o.accepted_at, h.state,
               h.offer_id IS NOT DISTINCT FROM o.send_id AS "stands!", h.answer_by,
               c.name AS campaign, c.settings, x.subject AS "subject?", x.text AS "text?"
        FROM handover_offers o
        JOIN handovers h ON h.workspace_id = $1 AND h.enrollment_id = o.enrollment_id
                        AND h.visit = o.visit
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = h.campaign_id
        LEFT JOIN send_contents x ON x.workspace_id = $1 AND x.send_id = o.send_id
        WHERE o.workspace_id = $1 AND o.send_id = $2
        "#,
        workspace.uuid(),
        send.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Notes that the agent took the lead by the link.
pub async fn accept(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    send: SendId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE handover_offers SET accepted_at = $3
        WHERE workspace_id = $1 AND send_id = $2 AND accepted_at IS NULL
        "#,
        workspace.uuid(),
        send.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
