//! How campaigns look.

use std::collections::BTreeMap;

use activities::campaigns::CampaignStatus;
use activities::campaigns::view::{Counts, Detail, Overview, StepView};
use activities::engine::Engine;
use chrono::{DateTime, Utc};
use machine::document::CampaignDocument;
use machine::ids::{CampaignId, SequenceId};
use machine::key::StepKey;
use schemars::JsonSchema;
use serde::Serialize;
use url::Url;

use crate::workflow_pages::WorkflowPages;

/// A campaign in a list. Times are campaign time.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CampaignSummary {
    /// Its id.
    id: CampaignId,
    /// Unique in the workspace.
    name: String,
    /// Where it stands.
    status: CampaignStatus,
    /// What drives its leads.
    engine: Engine,
    /// Its sequence, of which every version is kept.
    sequence: SequenceId,
    /// The version that leads get who enter now.
    version: i32,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it starts; gone once its whole audience has entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_at: Option<DateTime<Utc>>,
    /// When it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<DateTime<Utc>>,
    /// When the last of its leads ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<DateTime<Utc>>,
    /// The version its leads are being moved to; gone once all of them were.
    #[serde(skip_serializing_if = "Option::is_none")]
    moving_to: Option<i32>,
    /// Leads that entered.
    leads: i64,
    /// Leads of them for which it is not over.
    live: i64,
    /// Messages that left.
    sent: i64,
    /// Leads that answered.
    replied: i64,
    /// How many leads are in each state; states without any are left out.
    states: BTreeMap<&'static str, i64>,
}

/// A campaign.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Campaign {
    #[serde(flatten)]
    summary: CampaignSummary,
    /// The list of its leads' workflows in Temporal's pages, where Temporal drives it and an address of
    /// its pages is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    temporal_url: Option<Url>,
    /// Messages of which nobody knows whether they left. A person looks and says: `GET
    /// /sends?state=needs_review`, then `POST /sends/{send}/review`.
    in_doubt: i64,
    /// The names of its senders.
    senders: Vec<String>,
    /// The steps of its newest version with their numbers, lanes included.
    steps: Vec<CampaignStep>,
    /// Its newest version, as its author wrote it.
    document: CampaignDocument,
}

/// A step with its numbers, which count every version that had it.
#[derive(Debug, Serialize, JsonSchema)]
struct CampaignStep {
    /// Its key.
    key: StepKey,
    /// How many conditions it stands in.
    depth: usize,
    /// What it does, in a few words.
    does: String,
    /// The delay before it, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// How many leads its message was `sent` to, and of how many it was `delivered`, `clicked`,
    /// `replied` to or `bounced`; what never happened is left out. An answer counts at the step that
    /// the lead answered first.
    counts: Counts,
    /// The same of each wording, where there are several.
    variants: BTreeMap<String, Counts>,
}

/// A campaign after its document was taken.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AppliedCampaign {
    #[serde(flatten)]
    pub(super) campaign: Campaign,
    /// Steps on a channel that none of its senders serves: leads will be held there.
    pub(super) unserved_steps: Vec<StepKey>,
    /// Senders without a name, where a text prints `sender.name`: their leads will be held.
    pub(super) nameless_senders: Vec<String>,
    /// Senders whose provider is asked to tell of no clicks, where the campaign heeds them.
    pub(super) deaf_senders: Vec<String>,
    /// Whether a sender that keeps every message was made, because there was none at all.
    pub(super) capture_made: bool,
}

impl From<Overview> for CampaignSummary {
    fn from(overview: Overview) -> Self {
        let Overview { campaign, leads, live, sent, replied, states } = overview;
        Self {
            id: campaign.id,
            name: campaign.name,
            status: campaign.status,
            engine: campaign.engine,
            sequence: campaign.sequence,
            version: campaign.version,
            created_at: campaign.created_at,
            start_at: campaign.start_at,
            started_at: campaign.started_at,
            finished_at: campaign.finished_at,
            moving_to: campaign.moving_to,
            leads,
            live,
            sent,
            replied,
            states,
        }
    }
}

impl Campaign {
    pub(super) fn of(detail: Detail, workflows: Option<&WorkflowPages>) -> Self {
        Self {
            temporal_url: match detail.overview.campaign.engine {
                Engine::Temporal => {
                    workflows.map(|pages| pages.campaign(detail.overview.campaign.id))
                }
                Engine::Postgres => None,
            },
            summary: detail.overview.into(),
            in_doubt: detail.in_doubt,
            senders: detail.senders,
            steps: detail.steps.into_iter().map(CampaignStep::from).collect(),
            document: detail.document,
        }
    }
}

impl From<StepView> for CampaignStep {
    fn from(step: StepView) -> Self {
        let StepView { number: _, key, depth, does, after, counts, variants } = step;
        Self { key, depth, does, after, counts, variants }
    }
}
