//! Campaigns with their numbers: how many leads are where, and what each step did.

use std::collections::{BTreeMap, BTreeSet};

use machine::document::{CampaignDocument, StepDocument};
use machine::explain::Shown;
use machine::ids::{CampaignId, WorkspaceId};
use machine::key::StepKey;
use sqlx::PgConnection;

use super::{Campaign, CampaignStatus};
use crate::error::Result;
use crate::store::Store;
use crate::store::campaigns::{self as store, Counter};
use crate::store::{reviews, senders};

/// The most senders a workspace may have.
const SENDERS_MAX: i64 = 1_000;

/// What is shown of a step's counters, in this order: the messages that were sent, and the leads of
/// them that something was heard of.
pub const MEASURES: [&str; 5] = ["sent", "delivered", "clicked", "replied", "bounced"];

/// For how many leads each of [`MEASURES`] happened; those that never did are left out.
pub type Counts = BTreeMap<&'static str, i64>;

/// A campaign in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// The campaign.
    pub campaign: Campaign,
    /// Leads that entered.
    pub leads: i64,
    /// Leads of them for which it is not over.
    pub live: i64,
    /// Messages that left.
    pub sent: i64,
    /// Leads that answered.
    pub replied: i64,
    /// How many leads are in each state, by its word; states without any are left out.
    pub states: BTreeMap<&'static str, i64>,
}

/// A campaign with its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// The campaign and its sums.
    pub overview: Overview,
    /// Its newest version, as its author wrote it.
    pub document: CampaignDocument,
    /// Messages of which nobody knows whether they left: a person must say.
    pub in_doubt: i64,
    /// The names of its senders.
    pub senders: Vec<String>,
    /// The steps of its newest version, lanes included, in the order of the document.
    pub steps: Vec<StepView>,
}

/// A step with its numbers, which count every version that had it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepView {
    /// Its number among all steps, from 1.
    pub number: usize,
    /// Its key.
    pub key: StepKey,
    /// How many conditions it stands in.
    pub depth: usize,
    /// What it does, in a few words.
    pub does: String,
    /// The delay before it, in words.
    pub after: Option<String>,
    /// Its numbers. An answer counts at the step that the lead answered first.
    pub counts: Counts,
    /// The same of each wording, where there are several.
    pub variants: BTreeMap<String, Counts>,
}

/// Returns up to `limit` campaigns behind the name `after`, in the order of their names; with a
/// `status`, only those.
///
/// # Errors
///
/// When the database fails, or what it holds is not a campaign.
pub async fn list(
    store: &Store,
    workspace: WorkspaceId,
    status: Option<CampaignStatus>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Overview>> {
    let mut tx = store.begin(workspace).await?;
    let status = status.map(CampaignStatus::as_str);
    let rows = store::list(&mut tx, workspace, status, after, limit).await?;
    let campaigns = rows.into_iter().map(Campaign::try_from).collect::<Result<Vec<_>>>()?;
    let ids: Vec<CampaignId> = campaigns.iter().map(|campaign| campaign.id).collect();
    let mut counters = store::counters(&mut tx, workspace, &ids).await?;
    Ok(campaigns
        .into_iter()
        .map(|campaign| {
            let id = campaign.id.uuid();
            let own: Vec<_> =
                counters.extract_if(.., |counter| counter.campaign_id == id).collect();
            Overview::of(campaign, &own)
        })
        .collect())
}

/// Returns a campaign with everything that is shown of it.
///
/// # Errors
///
/// [`crate::error::ActivityError::NoSuchCampaign`], or when the database fails or what it holds is
/// not a campaign.
pub async fn read(store: &Store, workspace: WorkspaceId, id: CampaignId) -> Result<Detail> {
    let mut tx = store.begin(workspace).await?;
    let campaign = super::find(&mut tx, workspace, id).await?;
    let (sequence, version) = (campaign.sequence, campaign.version);
    let document = super::document(&mut tx, workspace, sequence, version).await?;
    let counters = store::counters(&mut tx, workspace, &[id]).await?;
    let senders = names(&mut tx, workspace, &campaign).await?;
    let in_doubt = reviews::count(&mut tx, workspace, Some(id)).await?;
    let mut steps = Vec::new();
    collect(&document.steps, 0, &counters, &mut steps);
    let overview = Overview::of(campaign, &counters);
    Ok(Detail { overview, document, in_doubt, senders, steps })
}

async fn names(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    campaign: &Campaign,
) -> Result<Vec<String>> {
    let wanted = &campaign.settings.senders;
    let known = senders::list(conn, workspace, SENDERS_MAX).await?;
    let named = known.into_iter().filter(|row| wanted.iter().any(|id| id.uuid() == row.sender_id));
    Ok(named.map(|row| row.name).collect())
}

impl Overview {
    fn of(campaign: Campaign, counters: &[Counter]) -> Self {
        let count = |shown: Shown| sum(counters, &format!("state/{shown}"));
        let counts = Shown::ALL.into_iter().map(|shown| (shown, count(shown)));
        let counts: Vec<(Shown, i64)> = counts.filter(|(_, n)| *n != 0).collect();
        let live = counts.iter().filter(|(shown, _)| !shown.is_over());
        Self {
            campaign,
            leads: counts.iter().map(|(_, n)| n).sum(),
            live: live.map(|(_, n)| n).sum(),
            sent: sum(counters, "sent"),
            replied: sum(counters, "replied"),
            states: counts.iter().map(|(shown, n)| (shown.as_str(), *n)).collect(),
        }
    }
}

fn sum(counters: &[Counter], measure: &str) -> i64 {
    counters.iter().filter(|counter| counter.measure == measure).map(|counter| counter.n).sum()
}

fn counts<'a>(counters: impl Iterator<Item = &'a Counter> + Clone) -> Counts {
    let count = |measure: &'static str| {
        let of_it = counters.clone().filter(|it| it.measure == measure);
        let n: i64 = of_it.map(|it| it.n).sum();
        (n != 0).then_some((measure, n))
    };
    MEASURES.into_iter().filter_map(count).collect()
}

fn collect(steps: &[StepDocument], depth: usize, counters: &[Counter], views: &mut Vec<StepView>) {
    for step in steps {
        let own = || counters.iter().filter(|it| it.step_key.as_deref() == Some(step.key.as_str()));
        let wordings: BTreeSet<&String> = own().filter_map(|it| it.variant.as_ref()).collect();
        let variants = wordings.into_iter().map(|variant| {
            let counts = counts(own().filter(|it| it.variant.as_ref() == Some(variant)));
            (variant.clone(), counts)
        });
        views.push(StepView {
            number: views.len() + 1,
            key: step.key.clone(),
            depth,
            does: does(step),
            after: after(step),
            counts: counts(own()),
            variants: variants.collect(),
        });
        if let Some(condition) = &step.condition {
            collect(&condition.then, depth + 1, counters, views);
            collect(&condition.otherwise, depth + 1, counters, views);
        }
    }
}

/// Returns in a few words what a step does.
fn does(step: &StepDocument) -> String {
    let wordings = |n: usize| if n > 1 { format!(", {n} wordings") } else { String::new() };
    if let Some(email) = &step.email {
        format!("email{}", wordings(email.variants.len()))
    } else if let Some(sms) = &step.sms {
        format!("text message{}", wordings(sms.variants.len()))
    } else if step.call.is_some() {
        "call by a person".to_owned()
    } else if let Some(wait) = &step.wait_until {
        let clicks = !wait.clicks.is_empty();
        let events: Vec<&str> = [
            (wait.reply, "a reply"),
            (clicks, "a click"),
            (wait.attribute.is_some(), "an attribute"),
        ]
        .into_iter()
        .filter_map(|(named, event)| named.then_some(event))
        .collect();
        match events.as_slice() {
            [] => "wait".to_owned(),
            events => format!("wait for {}", events.join(" or ")),
        }
    } else if let Some(condition) = &step.condition {
        format!("decide: {} or {} steps", condition.then.len(), condition.otherwise.len())
    } else if step.handover.is_some() {
        "hand over to a person".to_owned()
    } else {
        "finish".to_owned()
    }
}

fn after(step: &StepDocument) -> Option<String> {
    match &step.wait_until {
        Some(wait) => Some(format!("at most {}", wait.limit)),
        None if step.wait.is_none() => None,
        None => Some(step.wait.to_string()),
    }
}
