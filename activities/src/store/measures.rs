//! What the metrics of the whole installation are made of: sums across the walls, and no lead.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, SenderId};
use sqlx::PgConnection;

/// How many leads of a campaign are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateCount {
    /// Whose.
    pub campaign: CampaignId,
    /// The state, as shown.
    pub state: String,
    /// How many.
    pub n: i64,
}

/// Returns how many leads of each campaign are in each state, in every workspace.
pub async fn campaign_states(conn: &mut PgConnection) -> sqlx::Result<Vec<StateCount>> {
    let rows = sqlx::query!(
        r#"
        SELECT campaign_id AS "campaign!", state AS "state!", n AS "n!"
        FROM campaign_states()
        ORDER BY campaign_id, state
        LIMIT 100000
        "#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| StateCount { campaign: row.campaign.into(), state: row.state, n: row.n })
        .collect())
}

/// What keeps a sender from sending, if anything does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderState {
    /// Which.
    pub sender: SenderId,
    /// `email` or `sms`.
    pub channel: String,
    /// `active` or `paused`.
    pub status: String,
    /// Until when its provider's trouble lets nothing leave, wall time.
    pub trouble_until: Option<DateTime<Utc>>,
}

/// Returns the senders of every workspace, the first thousand of them.
pub async fn sender_states(conn: &mut PgConnection) -> sqlx::Result<Vec<SenderState>> {
    let rows = sqlx::query!(
        r#"
        SELECT sender_id AS "sender!", channel AS "channel!", status AS "status!", trouble_until
        FROM sender_states()
        ORDER BY sender_id
        LIMIT 1000
        "#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| SenderState {
            sender: row.sender.into(),
            channel: row.channel,
            status: row.status,
            trouble_until: row.trouble_until,
        })
        .collect())
}

/// Returns how many sends of all workspaces need a person's word.
pub async fn sends_to_review(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT sends_to_review() AS "n!""#).fetch_one(conn).await
}
