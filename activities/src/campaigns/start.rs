//! Starting a campaign: it becomes active, now or at a time, and its audience enters. A start that is
//! left to the runners is in the campaign's row until the last lead is in.

use chrono::{DateTime, TimeDelta, Utc};
use machine::ids::{CampaignId, WorkspaceId};
use serde_json::json;

use super::enroll::{Enrolled, NotEnrolled, Progress, Selection, run};
use super::{Campaign, CampaignStatus};
use crate::changes::News;
use crate::error::Result;
use crate::store::audit::{self, Act};
use crate::store::campaigns as store;
use crate::store::{Store, Tx, bell, clock};

/// How far ahead a start may lie.
const AHEAD_MAX: TimeDelta = TimeDelta::days(400);

/// A start that passed this recently is still meant; an older one is a wrong date.
const PASSED_MAX: TimeDelta = TimeDelta::minutes(5);

/// When to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Now.
    Now,
    /// At a campaign time; one that passed within five minutes means now.
    At(DateTime<Utc>),
}

/// Why a campaign is not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStarted {
    /// It would have been in the past, as a wrong date is.
    Passed {
        /// What time it is, in campaign time.
        now: DateTime<Utc>,
    },
    /// It would be too far ahead.
    TooFar {
        /// The latest time, in campaign time.
        latest: DateTime<Utc>,
    },
    /// Only a draft can start later.
    Begun(CampaignStatus),
    /// A start does not end a pause, because a resume needs a rule.
    Paused,
    /// It is over for good.
    Stopped,
}

/// Makes a draft active and enrolls its audience before it returns. On an active campaign it enrolls
/// whoever of the audience is not in it yet.
///
/// # Errors
///
/// When the database fails, or there is no such campaign; repeating goes on where it was.
pub async fn at_once(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    actor: &str,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Result<Enrolled, NotEnrolled>> {
    let mut tx = store.begin(workspace).await?;
    let campaign = super::lock(&mut tx, workspace, campaign).await?;
    let name = campaign.name.clone();
    match campaign.status {
        CampaignStatus::Draft | CampaignStatus::Active | CampaignStatus::Finished => {}
        CampaignStatus::Paused => return Ok(Err(NotEnrolled::Paused(name))),
        CampaignStatus::Stopped => return Ok(Err(NotEnrolled::Stopped(name))),
    }
    let clocks = clock::read(&mut tx).await?;
    let now = clocks.campaign;
    begin(&mut tx, &campaign, now).await?;
    store::plan_start(&mut tx, workspace, campaign.id, None).await?;
    note(&mut tx, campaign.id, actor, None, clocks.wall).await?;
    tx.commit().await?;
    run(store, workspace, &campaign, &Selection::Audience, now, progress).await
}

/// Makes a draft active, or has it made so at its time, and leaves its audience to the runners.
/// Given again, the newest order counts.
///
/// # Errors
///
/// When the database fails, or there is no such campaign.
pub async fn order(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    when: When,
    actor: &str,
) -> Result<Result<(), NotStarted>> {
    let mut tx = store.begin(workspace).await?;
    let campaign = super::lock(&mut tx, workspace, campaign).await?;
    let clocks = clock::read(&mut tx).await?;
    let now = clocks.campaign;
    if matches!(when, When::At(at) if at < now - PASSED_MAX) {
        return Ok(Err(NotStarted::Passed { now }));
    }
    let later = match when {
        When::At(at) if at > now => Some(at),
        When::At(_) | When::Now => None,
    };
    let latest = now + AHEAD_MAX;
    if later.is_some_and(|at| at > latest) {
        return Ok(Err(NotStarted::TooFar { latest }));
    }
    match (campaign.status, later) {
        (CampaignStatus::Paused, _) => return Ok(Err(NotStarted::Paused)),
        (CampaignStatus::Stopped, _) => return Ok(Err(NotStarted::Stopped)),
        (status @ (CampaignStatus::Active | CampaignStatus::Finished), Some(_)) => {
            return Ok(Err(NotStarted::Begun(status)));
        }
        (CampaignStatus::Draft | CampaignStatus::Active | CampaignStatus::Finished, None) => {
            begin(&mut tx, &campaign, now).await?;
        }
        (CampaignStatus::Draft, Some(_)) => {}
    }
    store::plan_start(&mut tx, workspace, campaign.id, Some(later.unwrap_or(now))).await?;
    note(&mut tx, campaign.id, actor, later, clocks.wall).await?;
    bell::ring_for_plans(&mut tx, workspace).await?;
    tx.commit().await?;
    Ok(Ok(()))
}

/// Does what a start that is due left to the runners. Interrupted, or done by two at once, it comes
/// to the same.
///
/// # Errors
///
/// When the database fails, or what it holds does not load.
pub async fn perform(store: &Store, workspace: WorkspaceId, campaign: CampaignId) -> Result<()> {
    let mut tx = store.begin(workspace).await?;
    let campaign = super::lock(&mut tx, workspace, campaign).await?;
    let now = clock::read(&mut tx).await?.campaign;
    let Some(start_at) = due(&campaign, now) else { return Ok(()) };
    begin(&mut tx, &campaign, now).await?;
    tx.commit().await?;
    match run(store, workspace, &campaign, &Selection::Audience, now, &mut |_| {}).await? {
        Ok(enrolled) => {
            let Enrolled { added, .. } = enrolled;
            tracing::info!(campaign.id = %campaign.id, added, "the audience entered");
        }
        // Stopped meanwhile, which took the start off the row.
        Err(_) => return Ok(()),
    }
    let mut tx = store.begin(workspace).await?;
    store::note_entered(&mut tx, workspace, campaign.id, start_at).await?;
    tx.commit().await
}

/// Makes a campaign active.
async fn begin(tx: &mut Tx, campaign: &Campaign, now: DateTime<Utc>) -> Result<()> {
    let workspace = tx.workspace();
    store::start(tx, workspace, campaign.id, now).await?;
    if campaign.status != CampaignStatus::Active {
        tx.tell(News::Campaign { campaign: campaign.id, status: "active".to_owned() });
    }
    Ok(())
}

fn due(campaign: &Campaign, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match campaign.status {
        CampaignStatus::Draft | CampaignStatus::Active | CampaignStatus::Finished => {
            campaign.start_at.filter(|at| *at <= now)
        }
        CampaignStatus::Paused | CampaignStatus::Stopped => None,
    }
}

async fn note(
    tx: &mut Tx,
    campaign: CampaignId,
    actor: &str,
    later: Option<DateTime<Utc>>,
    wall: DateTime<Utc>,
) -> Result<()> {
    let workspace = tx.workspace();
    let subject = format!("campaign/{campaign}");
    let details = later.map(|at| json!({ "at": at }));
    let act = Act { actor, act: "campaign.start", subject: &subject, details };
    Ok(audit::record(tx, workspace, &act, wall).await?)
}
