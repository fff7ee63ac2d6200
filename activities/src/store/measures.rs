//! What the metrics of the whole installation are made of: sums across the walls, and no lead.

use machine::ids::CampaignId;
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
