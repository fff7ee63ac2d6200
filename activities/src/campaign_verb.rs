//! VERB: pausing, resuming and stopping a whole campaign. The verb is one row and holds at the gate
//! at once; its leads are told in the background, a page at a time.

use machine::ids::{CampaignId, LeadId, WorkspaceId};
use machine::signal::ResumeRule;
use uuid::Uuid;

use crate::error::{ActivityError, Result};
use crate::mailroom::Mailroom;
use crate::store::{Store, campaign_verbs as store, clock, enrollments, locks};
use crate::turn::{self, Turned};

/// How many leads one transaction tells.
const PAGE: i64 = 500;

/// An order about a whole campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Nothing leaves until it is resumed.
    Pause,
    /// It goes on.
    Resume(ResumeRule),
    /// Every live lead ends as stopped.
    Stop,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// It holds from now on.
    Done,
    /// It was so already.
    Already,
    /// The campaign is in a state in which the order means nothing.
    NotWhile(String),
}

/// Gives an order about `campaign`. When this returns, no gate lets anything of it pass any more
/// that the order forbids.
///
/// # Errors
///
/// When the database fails, or the campaign does not exist. The call may be repeated.
pub async fn order(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    verb: Verb,
) -> Result<Ordered> {
    let mut tx = store.begin(workspace).await?;
    locks::lock_exclusive(&mut tx, &[locks::workspace_key(workspace)]).await?;
    let clocks = clock::read(&mut tx).await?;
    let Some(status) = store::status(&mut tx, workspace, campaign).await? else {
        return Err(ActivityError::NoSuchCampaign(campaign));
    };
    let (word, rule, after) = match verb {
        Verb::Pause => ("pause", None, "paused"),
        Verb::Resume(rule) => ("resume", Some(rule_word(rule)), "active"),
        Verb::Stop => ("stop", None, "stopped"),
    };
    let lawful = match verb {
        Verb::Pause => status == "active",
        Verb::Resume(_) => status == "paused",
        Verb::Stop => matches!(status.as_str(), "active" | "paused"),
    };
    if status == after {
        return Ok(Ordered::Already);
    }
    if !lawful {
        return Ok(Ordered::NotWhile(status));
    }
    store::add(&mut tx, workspace, campaign, word, rule, after, clocks.campaign).await?;
    tx.commit().await?;
    Ok(Ordered::Done)
}

/// Tells every lead of `campaign` the verbs it has not seen, and hands what the turns led to over
/// to `turned`. Interrupted, it goes on where the rows say.
///
/// # Errors
///
/// When the database fails. The call may be repeated.
pub async fn tell(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    campaign: CampaignId,
    mut turned: impl FnMut(Turned),
) -> Result<()> {
    let mut tx = mailroom.store.begin(workspace).await?;
    let newest = store::newest(&mut tx, workspace, campaign).await?;
    tx.commit().await?;
    let mut after = LeadId::new(Uuid::nil());
    loop {
        let mut tx = mailroom.store.begin(workspace).await?;
        let page =
            enrollments::behind_verb(&mut tx, workspace, campaign, newest, after, PAGE).await?;
        tx.commit().await?;
        let Some((_, last)) = page.last() else { break };
        after = LeadId::new(*last);
        let ids: Vec<Uuid> = page.iter().map(|(enrollment, _)| *enrollment).collect();
        turned(turn::these(&mailroom.store, &mailroom.versions, workspace, &ids).await?);
    }
    let mut tx = mailroom.store.begin(workspace).await?;
    store::note_told(&mut tx, workspace, campaign, newest).await?;
    tx.commit().await
}

fn rule_word(rule: ResumeRule) -> &'static str {
    match rule {
        ResumeRule::Keep => "keep",
        ResumeRule::Shift => "shift",
        ResumeRule::Restart => "restart",
    }
}
