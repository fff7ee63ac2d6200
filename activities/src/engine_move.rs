//! MOVE to another engine: a campaign's leads go on there. Nothing of them is converted, because rows
//! hold all of it: each is marked as overdue, so that its new engine looks at once, and the old one
//! finds at its next look that the lead is not its own. What is under way is recorded by whoever began it.

use machine::ids::{CampaignId, LeadId, WorkspaceId};
use serde_json::json;
use uuid::Uuid;

use crate::engine::Engine;
use crate::error::{ActivityError, Result};
use crate::store::audit::{self, Act};
use crate::store::{Store, bell, campaign_verbs, clock, engines, enrollments, locks};
use crate::turn::OVERDUE;

/// How many leads one transaction moves.
const PAGE: i64 = 500;

/// Lets `engine` drive a campaign, with every lead in it. Returns how many leads were moved.
/// Interrupted, it may be repeated; leads that have not been moved go on where they are.
///
/// # Errors
///
/// [`ActivityError::NoSuchCampaign`], or when the database fails. The call may be repeated.
pub async fn perform(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    engine: Engine,
    actor: &str,
) -> Result<u64> {
    let mut tx = store.begin(workspace).await?;
    // Who enters meanwhile is on one side of this or the other.
    locks::lock_exclusive(&mut tx, &[locks::workspace_key(workspace)]).await?;
    let standing = campaign_verbs::standing(&mut tx, workspace, campaign).await?;
    standing.ok_or(ActivityError::NoSuchCampaign(campaign))?;
    if engines::set_campaign(&mut tx, workspace, campaign, engine).await? {
        let wall = clock::read(&mut tx).await?.wall;
        let subject = format!("campaign/{campaign}");
        let details = Some(json!({ "engine": engine.as_str() }));
        let act = Act { actor, act: "campaign.engine", subject: &subject, details };
        audit::record(&mut tx, workspace, &act, wall).await?;
    }
    tx.commit().await?;
    let mut after = LeadId::new(Uuid::nil());
    let mut moved = 0;
    loop {
        let mut tx = store.begin(workspace).await?;
        let page = engines::elsewhere(&mut tx, workspace, campaign, engine, after, PAGE).await?;
        let Some((_, last)) = page.last() else { return Ok(moved) };
        after = LeadId::new(*last);
        let ids: Vec<Uuid> = page.iter().map(|(enrollment, _)| *enrollment).collect();
        enrollments::lock(&mut tx, workspace, &ids).await?;
        let overdue = clock::read(&mut tx).await?.campaign_in(-OVERDUE);
        moved += engines::set(&mut tx, workspace, &ids, engine, overdue).await?;
        bell::ring(&mut tx, workspace).await?;
        tx.commit().await?;
    }
}
