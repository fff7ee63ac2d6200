//! VERB: pausing, resuming and stopping a whole campaign. The verb is one row and holds at the gate
//! at once; its leads are told in the background, a page at a time.

use machine::ids::{CampaignId, LeadId, WorkspaceId};
use machine::signal::ResumeRule;
use uuid::Uuid;

use crate::changes::News;
use crate::error::{ActivityError, Result};
use crate::mailroom::Mailroom;
use crate::store::audit::{self, Act};
use crate::store::{Store, bell, campaign_verbs as store, campaigns, clock, enrollments, locks};
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
    /// A start that was to come will not; the campaign is the draft that it was.
    StartCancelled,
    /// The campaign is in a state in which the order means nothing.
    NotWhile(String),
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume(_) => "resume",
            Self::Stop => "stop",
        }
    }

    /// The word under which it is on record.
    fn act(self) -> &'static str {
        match self {
            Self::Pause => "campaign.pause",
            Self::Resume(_) => "campaign.resume",
            Self::Stop => "campaign.stop",
        }
    }

    /// The status that it leads to.
    fn leads_to(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume(_) => "active",
            Self::Stop => "stopped",
        }
    }

    fn is_lawful(self, status: &str) -> bool {
        match self {
            Self::Pause => status == "active",
            Self::Resume(_) => status == "paused",
            Self::Stop => matches!(status, "active" | "paused"),
        }
    }
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
    actor: &str,
) -> Result<Ordered> {
    let mut tx = store.begin(workspace).await?;
    locks::lock_exclusive(&mut tx, &[locks::workspace_key(workspace)]).await?;
    let clocks = clock::read(&mut tx).await?;
    let standing = store::standing(&mut tx, workspace, campaign).await?;
    let standing = standing.ok_or(ActivityError::NoSuchCampaign(campaign))?;
    let status = standing.status.as_str();
    if status == verb.leads_to() {
        return Ok(Ordered::Already);
    }
    let ordered = match verb {
        Verb::Pause | Verb::Stop if status == "draft" && standing.start_at.is_some() => {
            campaigns::plan_start(&mut tx, workspace, campaign, None).await?;
            Ordered::StartCancelled
        }
        Verb::Pause | Verb::Resume(_) | Verb::Stop if verb.is_lawful(status) => {
            let rule = match verb {
                Verb::Resume(rule) => Some(rule_word(rule)),
                Verb::Pause | Verb::Stop => None,
            };
            let (word, after, now) = (verb.word(), verb.leads_to(), clocks.campaign);
            store::add(&mut tx, workspace, campaign, word, rule, after, now).await?;
            Ordered::Done
        }
        Verb::Pause | Verb::Resume(_) | Verb::Stop => {
            return Ok(Ordered::NotWhile(standing.status));
        }
    };
    if ordered == Ordered::Done {
        tx.tell(News::Campaign { campaign, status: verb.leads_to().to_owned() });
    }
    let subject = format!("campaign/{campaign}");
    let act = Act { actor, act: verb.act(), subject: &subject, details: None };
    audit::record(&mut tx, workspace, &act, clocks.wall).await?;
    // A pause may have interrupted the entering of an audience.
    bell::ring_for_plans(&mut tx, workspace).await?;
    tx.commit().await?;
    Ok(ordered)
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
