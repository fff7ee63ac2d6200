//! What was given up in a whole campaign, tried again: every lead that failed there is told to go on
//! from the step that failed. Interrupted, the order may be given again: who was told does not fail any
//! more.

use machine::ids::{CampaignId, LeadId, WorkspaceId};
use machine::signal::Signal;
use serde_json::json;

use crate::campaigns::{self, CampaignStatus};
use crate::error::Result;
use crate::store::audit::{self, Act};
use crate::store::signals::{self, Content, NewSignal};
use crate::store::{Store, clock, enrollment_views};

/// How many leads one transaction tells.
const PAGE: i64 = 500;

/// Why nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the campaign is stopped for good: duplicate it")]
pub struct Stopped;

/// Returns how many leads of a campaign failed and can go on.
///
/// # Errors
///
/// [`crate::error::ActivityError::NoSuchCampaign`], or when the database fails.
pub async fn count(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<Result<u64, Stopped>> {
    let mut tx = store.begin(workspace).await?;
    if campaigns::find(&mut tx, workspace, campaign).await?.status == CampaignStatus::Stopped {
        return Ok(Err(Stopped));
    }
    let failed = enrollment_views::count_failed(&mut tx, workspace, campaign).await?;
    Ok(Ok(u64::try_from(failed).unwrap_or_default()))
}

/// Tells every lead of a campaign that failed to go on, on record. Returns how many were told; the same
/// `source_key` tells each of them once.
///
/// # Errors
///
/// As [`count`]. The call may be repeated.
pub async fn order(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    source_key: &str,
    actor: &str,
) -> Result<Result<u64, Stopped>> {
    let mut after: Option<LeadId> = None;
    let mut told = 0;
    loop {
        let mut tx = store.begin_batch(workspace).await?;
        if campaigns::find(&mut tx, workspace, campaign).await?.status == CampaignStatus::Stopped {
            return Ok(Err(Stopped));
        }
        let page = enrollment_views::failed(&mut tx, workspace, campaign, after, PAGE).await?;
        let Some((_, last)) = page.last() else { return Ok(Ok(told)) };
        after = Some(*last);
        let new: Vec<NewSignal> = page
            .into_iter()
            .map(|(enrollment, _)| NewSignal {
                enrollment,
                content: Content::Known(Signal::Retried),
                source_key: source_key.to_owned(),
                event: None,
                refs: None,
            })
            .collect();
        let now = clock::read(&mut tx).await?;
        let heard = signals::write(&mut tx, workspace, &new, now.campaign).await?.len();
        if heard > 0 {
            told += u64::try_from(heard).unwrap_or_default();
            let subject = format!("campaign/{campaign}");
            let details = Some(json!({ "leads": heard }));
            let act = Act { actor, act: "campaign.retry", subject: &subject, details };
            audit::record(&mut tx, workspace, &act, now.wall).await?;
        }
        tx.commit().await?;
    }
}
