//! Adding leads to a campaign, in pages: each page is one transaction, so a run that is killed in
//! the middle goes on where it was when it is repeated.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::condition::{Condition, Evidence};
use machine::context::Attributes;
use machine::document::{CampaignDocument, Recontact, WithPerson};
use machine::enrollment::Enrollment;
use machine::ids::{CampaignId, EnrollmentId, LeadId, WorkspaceId};
use machine::key::StepKey;
use machine::sequence::{Channel, StepKind, Version};
use machine::state::History;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Campaign, CampaignStatus};
use crate::changes::News;
use crate::error::{ActivityError, Result};
use crate::ids;
use crate::leads::search::{self, Query};
use crate::shell::word;
use crate::store::audience::{self, Candidate, Entry, LiveAddress, Wanted};
use crate::store::audit::{self, Act};
use crate::store::campaigns as store;
use crate::store::contacts::{self, Elsewhere};
use crate::store::{Store, Tx, clock, leads, suppressions};
use crate::suppression_key::{SuppressionHash, SuppressionKey};
use crate::tag::Tag;

/// Leads in one transaction.
const PAGE: usize = 5_000;

/// Who is to enter.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// Whom the campaign file names under `audience`.
    Audience,
    /// Leads with all of these tags, for which the filter holds.
    Matching {
        /// The tags. None: every lead.
        tags: Vec<String>,
        /// What has to hold, beside the tags.
        filter: Option<Box<Condition>>,
    },
    /// Leads that a search finds, with all of these tags, for which the filter holds.
    Found {
        /// What is looked for.
        search: Box<Query>,
        /// The tags, beside the one that is looked for.
        tags: Vec<Tag>,
        /// What has to hold.
        filter: Option<Box<Condition>>,
    },
    /// These leads.
    Leads(Vec<LeadId>),
}

/// What became of those who were to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Enrolled {
    /// They entered.
    pub added: u64,
    /// They were in the campaign before.
    pub already_in: u64,
    /// They have no address on any channel that the sequence uses.
    pub no_address: u64,
    /// The filter does not hold for them.
    pub filtered_out: u64,
    /// Another campaign wrote to them a shorter while ago than this one allows.
    pub recently_contacted: u64,
    /// A person has them from another campaign.
    pub with_person: u64,
    /// There is no such lead.
    pub unknown: u64,
}

/// Why a lead did not enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SkipReason")]
pub enum LeftOut {
    /// It was in the campaign before.
    AlreadyIn,
    /// It has no address on any channel that the sequence uses.
    NoAddress,
    /// The filter does not hold for it.
    FilteredOut,
    /// Another campaign wrote to it a shorter while ago than this one allows.
    RecentlyContacted,
    /// A person has it from another campaign.
    WithPerson,
    /// There is no such lead.
    Unknown,
}

impl Enrolled {
    /// Returns how many leads were looked at.
    pub fn seen(&self) -> u64 {
        let kept_away = self.recently_contacted + self.with_person;
        let left_out = self.already_in + self.no_address + self.filtered_out + self.unknown;
        self.added + left_out + kept_away
    }

    /// Counts one that did not enter.
    pub fn leave_out(&mut self, why: LeftOut) {
        match why {
            LeftOut::AlreadyIn => self.already_in += 1,
            LeftOut::NoAddress => self.no_address += 1,
            LeftOut::FilteredOut => self.filtered_out += 1,
            LeftOut::RecentlyContacted => self.recently_contacted += 1,
            LeftOut::WithPerson => self.with_person += 1,
            LeftOut::Unknown => self.unknown += 1,
        }
    }
}

/// Why nobody can enter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEnrolled {
    /// It has to be started first.
    #[error("the campaign `{0}` is a draft: run `meridian campaign start {word}`", word = word(.0))]
    Draft(String),
    /// A start does not end a pause, because a resume needs a rule.
    #[error(
        "the campaign `{0}` is paused: run `meridian campaign resume {word} --rule keep`",
        word = word(.0)
    )]
    Paused(String),
    /// It is over for good.
    #[error("the campaign `{0}` is stopped for good: apply its file under another name")]
    Stopped(String),
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Leads looked at.
    pub seen: u64,
    /// Leads there are to look at.
    pub total: u64,
    /// Those who entered since the last call.
    pub entered: &'a [(LeadId, EnrollmentId)],
    /// Those who did not, since the last call.
    pub left_out: &'a [(LeadId, LeftOut)],
}

/// Adds leads to a campaign that was started. A lead is in a campaign at most once.
///
/// # Errors
///
/// When the database fails, or there is no such campaign; repeating goes on where it was.
pub async fn enroll(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    selection: &Selection,
    actor: &str,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Result<Enrolled, NotEnrolled>> {
    let mut tx = store.begin(workspace).await?;
    let campaign = super::lock(&mut tx, workspace, campaign).await?;
    let clocks = clock::read(&mut tx).await?;
    let name = campaign.name.clone();
    match campaign.status {
        CampaignStatus::Active | CampaignStatus::Paused => {}
        CampaignStatus::Draft => return Ok(Err(NotEnrolled::Draft(name))),
        CampaignStatus::Stopped => return Ok(Err(NotEnrolled::Stopped(name))),
        CampaignStatus::Finished => {
            store::start(&mut tx, workspace, campaign.id, clocks.campaign).await?;
        }
    }
    let subject = format!("campaign/{}", campaign.id);
    let act = Act { actor, act: "campaign.enroll", subject: &subject, details: None };
    audit::record(&mut tx, workspace, &act, clocks.wall).await?;
    tx.commit().await?;
    run(store, workspace, &campaign, selection, clocks.campaign, progress).await
}

/// Returns for how many leads a campaign is not over although an address it would write to is
/// suppressed: they leave it at the first message to that address.
///
/// # Errors
///
/// When the database fails, or there is no such campaign.
pub async fn suppressed(
    store: &Store,
    key: &SuppressionKey,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<u64> {
    let mut tx = store.begin(workspace).await?;
    let campaign = super::find(&mut tx, workspace, campaign).await?;
    let document = super::document(&mut tx, workspace, campaign.sequence, campaign.version).await?;
    let channels = channels(&super::compile(&document)?);
    let mut after = LiveAddress { lead_id: Uuid::nil(), address: String::new() };
    let mut leads = BTreeSet::new();
    loop {
        let limit = i64::try_from(PAGE).expect("a page is small");
        let page =
            audience::live_addresses(&mut tx, workspace, campaign.id, &channels, &after, limit)
                .await?;
        let hashed: Vec<(Uuid, SuppressionHash)> = page
            .iter()
            .flat_map(|it| {
                let domain = key.domain_of(&it.address);
                let hashes = [key.address(&it.address)].into_iter().chain(domain);
                hashes.map(|hash| (it.lead_id, hash))
            })
            .collect();
        let hashes: Vec<SuppressionHash> = hashed.iter().map(|(_, hash)| *hash).collect();
        let in_force = suppressions::in_force(&mut tx, workspace, &hashes).await?;
        let met = hashed.into_iter().filter(|(_, hash)| in_force.contains(hash));
        leads.extend(met.map(|(lead, _)| lead));
        match page.into_iter().last() {
            Some(last) => after = last,
            None => return Ok(u64::try_from(leads.len()).unwrap_or(u64::MAX)),
        }
    }
}

/// Whom a selection means in a campaign, ready to be read in pages.
pub struct Pages {
    source: Source,
    filter: Option<Condition>,
    channels: Vec<String>,
    guard: Guard,
    after: Uuid,
}

/// What keeps away leads that other campaigns have to do with.
struct Guard {
    campaign: CampaignId,
    rule: Recontact,
    zone: Tz,
    now: DateTime<Utc>,
}

impl Guard {
    /// Moves those of a page that other campaigns keep away to those that do not enter.
    async fn apply(&self, tx: &mut Tx, page: &mut Page) -> Result<()> {
        if page.leads.is_empty() {
            return Ok(());
        }
        let workspace = tx.workspace();
        let leads: Vec<Uuid> = page.leads.iter().map(|lead| lead.uuid()).collect();
        let elsewhere = contacts::elsewhere(tx, workspace, self.campaign, &leads).await?;
        let kept_away: BTreeMap<LeadId, LeftOut> = elsewhere
            .into_iter()
            .filter_map(|it| Some((LeadId::new(it.lead_id), self.against(&it)?)))
            .collect();
        page.leads.retain(|lead| !kept_away.contains_key(lead));
        page.left_out.extend(kept_away);
        Ok(())
    }

    fn against(&self, elsewhere: &Elsewhere) -> Option<LeftOut> {
        let taken = match self.rule.with_person {
            WithPerson::LeaveOut => elsewhere.with_person,
            WithPerson::Enter => false,
        };
        let contact = self.rule.not_within.zip(elsewhere.contacted_at);
        let recent = contact.is_some_and(|(time, at)| time.after(at, self.zone) > self.now);
        match (taken, recent) {
            (true, _) => Some(LeftOut::WithPerson),
            (false, true) => Some(LeftOut::RecentlyContacted),
            (false, false) => None,
        }
    }
}

enum Source {
    Everyone,
    Tagged { tag: String, more: Vec<String> },
    Found { search: Box<Query>, more: Vec<Tag> },
    Leads(std::vec::IntoIter<LeadId>),
}

/// One page of a selection.
#[derive(Debug, Default)]
pub struct Page {
    /// Those who may enter.
    pub leads: Vec<LeadId>,
    /// The others.
    pub left_out: Vec<(LeadId, LeftOut)>,
}

impl Pages {
    /// Prepares to read at `now`, campaign time, `selection` for a campaign with this document.
    pub fn new(
        campaign: CampaignId,
        selection: &Selection,
        document: &CampaignDocument,
        version: &Version,
        now: DateTime<Utc>,
    ) -> Self {
        let audience = document.audience.clone().unwrap_or_default();
        let (tags, filter) = match selection {
            Selection::Audience => (audience.tags, audience.filter),
            Selection::Matching { tags, filter } => (tags.clone(), filter.as_deref().cloned()),
            Selection::Found { filter, .. } => (Vec::new(), filter.as_deref().cloned()),
            Selection::Leads(_) => (Vec::new(), None),
        };
        let mut tags = tags.into_iter();
        let source = match (selection, tags.next()) {
            (Selection::Leads(leads), _) => {
                let leads: BTreeSet<LeadId> = leads.iter().copied().collect();
                Source::Leads(leads.into_iter().collect::<Vec<_>>().into_iter())
            }
            (Selection::Found { search, tags, .. }, _) => {
                Source::Found { search: search.clone(), more: tags.clone() }
            }
            (_, Some(tag)) => Source::Tagged { tag, more: tags.collect() },
            (_, None) => Source::Everyone,
        };
        let guard = Guard { campaign, rule: document.recontact, zone: document.zone, now };
        Self { source, filter, channels: channels(version), guard, after: Uuid::nil() }
    }

    /// Returns how many leads there are to look at; more where several tags are wanted, or leads are
    /// searched for.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn total(&self, tx: &mut Tx) -> Result<u64> {
        let workspace = tx.workspace();
        let total = match &self.source {
            Source::Everyone | Source::Found { .. } => {
                audience::count_everyone(tx, workspace).await?
            }
            Source::Tagged { tag, .. } => audience::count_tagged(tx, workspace, tag).await?,
            Source::Leads(leads) => i64::try_from(leads.len()).unwrap_or(i64::MAX),
        };
        Ok(total.unsigned_abs())
    }

    /// Returns the next page of at most `limit` leads, or `None` at the end.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn next(&mut self, tx: &mut Tx, limit: usize) -> Result<Option<Page>> {
        let workspace = tx.workspace();
        let wanted = Wanted { channels: &self.channels, attributes: self.filter.is_some() };
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let candidates = match &mut self.source {
            Source::Everyone => audience::everyone(tx, workspace, wanted, self.after, rows).await?,
            Source::Tagged { tag, more } => {
                audience::tagged(tx, workspace, wanted, tag, more, self.after, rows).await?
            }
            Source::Found { search, more } => {
                let after = Some(LeadId::new(self.after));
                let mut found = search::ids(tx, workspace, search, after, rows).await?;
                let Some(last) = found.last() else { return Ok(None) };
                self.after = last.uuid();
                if !more.is_empty() {
                    let tags = leads::tags_of(tx, workspace, &found).await?;
                    let has = |lead: &LeadId, tag: &Tag| {
                        let tags = tags.get(lead);
                        tags.is_some_and(|tags| tags.iter().any(|one| one == tag.as_str()))
                    };
                    found.retain(|lead| more.iter().all(|tag| has(lead, tag)));
                }
                let candidates = audience::named(tx, workspace, wanted, &found).await?;
                let mut page = self.sort_out(candidates);
                self.guard.apply(tx, &mut page).await?;
                return Ok(Some(page));
            }
            Source::Leads(leads) => {
                let leads: Vec<LeadId> = leads.by_ref().take(limit).collect();
                if leads.is_empty() {
                    return Ok(None);
                }
                let found = audience::named(tx, workspace, wanted, &leads).await?;
                let mut page = self.sort_out_named(&leads, found);
                self.guard.apply(tx, &mut page).await?;
                return Ok(Some(page));
            }
        };
        let Some(last) = candidates.last() else { return Ok(None) };
        self.after = last.lead_id;
        let mut page = self.sort_out(candidates);
        self.guard.apply(tx, &mut page).await?;
        Ok(Some(page))
    }

    fn sort_out_named(&self, named: &[LeadId], found: Vec<Candidate>) -> Page {
        let known: BTreeSet<Uuid> = found.iter().map(|candidate| candidate.lead_id).collect();
        let unknown = named.iter().filter(|lead| !known.contains(&lead.uuid()));
        let mut page = self.sort_out(found);
        page.left_out.extend(unknown.map(|lead| (*lead, LeftOut::Unknown)));
        page
    }

    fn sort_out(&self, candidates: Vec<Candidate>) -> Page {
        let mut page = Page::default();
        for candidate in candidates {
            let lead = LeadId::new(candidate.lead_id);
            if !candidate.reachable && !self.channels.is_empty() {
                page.left_out.push((lead, LeftOut::NoAddress));
            } else if !self.admits(candidate.attributes) {
                page.left_out.push((lead, LeftOut::FilteredOut));
            } else {
                page.leads.push(lead);
            }
        }
        page
    }

    fn admits(&self, attributes: Option<Value>) -> bool {
        let Some(filter) = &self.filter else { return true };
        let attributes = attributes_of(attributes.unwrap_or_default());
        let history = History::default();
        filter.holds(Evidence { attributes: &attributes, history: &history, score: 0 })
    }
}

/// Returns a lead's attributes as conditions read them; what cannot be named cannot be asked about.
pub fn attributes_of(stored: Value) -> Attributes {
    match stored {
        Value::Object(fields) => fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Attributes::new()
        }
    }
}

/// Returns the channels with addresses that the steps of a version use.
fn channels(version: &Version) -> Vec<String> {
    let mut channels = BTreeSet::new();
    version.each_step(&mut |step| match &step.kind {
        StepKind::Message { channel: channel @ (Channel::Email | Channel::Sms), .. } => {
            channels.insert(channel.as_str().to_owned());
        }
        StepKind::Message { channel: Channel::Call, .. }
        | StepKind::Call
        | StepKind::WaitUntil(_)
        | StepKind::Condition { .. }
        | StepKind::Handover
        | StepKind::Finish => {}
    });
    channels.into_iter().collect()
}

/// Enrolls whoever of a selection is not in the campaign yet.
pub(super) async fn run(
    store: &Store,
    workspace: WorkspaceId,
    campaign: &Campaign,
    selection: &Selection,
    now: DateTime<Utc>,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Result<Enrolled, NotEnrolled>> {
    let mut tx = store.begin(workspace).await?;
    let (document, version, mut beginning) = begin(&mut tx, campaign, now).await?;
    let mut pages = Pages::new(campaign.id, selection, &document, &version, now);
    let total = pages.total(&mut tx).await?;
    drop(tx);

    let mut enrolled = Enrolled::default();
    progress(Progress { seen: 0, total, entered: &[], left_out: &[] });
    loop {
        let mut tx = store.begin(workspace).await?;
        let Some(page) = pages.next(&mut tx, PAGE).await? else { break };
        let entered =
            match enroll_page(&mut tx, campaign.id, &mut beginning, now, &page.leads).await? {
                Ok(entered) => entered,
                Err(refused) => return Ok(Err(refused)),
            };
        tx.commit().await?;
        let new: BTreeSet<LeadId> = entered.iter().map(|(lead, _)| *lead).collect();
        let mut left_out = page.left_out;
        let before = page.leads.into_iter().filter(|lead| !new.contains(lead));
        left_out.extend(before.map(|lead| (lead, LeftOut::AlreadyIn)));
        enrolled.added += entered.len() as u64;
        left_out.iter().for_each(|(_, why)| enrolled.leave_out(*why));
        let seen = enrolled.seen();
        progress(Progress { seen, total: total.max(seen), entered: &entered, left_out: &left_out });
    }
    Ok(Ok(enrolled))
}

/// How those who enter begin: at the first step of the newest version.
struct Beginning {
    version: i32,
    snapshot: Vec<u8>,
    first_step: StepKey,
}

/// Loads what those who enter `campaign` at `now` begin with.
async fn begin(
    tx: &mut Tx,
    campaign: &Campaign,
    now: DateTime<Utc>,
) -> Result<(CampaignDocument, Version, Beginning)> {
    let workspace = tx.workspace();
    let document = super::document(tx, workspace, campaign.sequence, campaign.version).await?;
    let version = super::compile(&document)?;
    let first = version.steps.first().ok_or_else(|| ActivityError::Stored {
        what: "sequence version",
        why: "it has no step".to_owned(),
    })?;
    let snapshot = serde_json::to_vec(&Enrollment::begin(first, now))
        .expect("an enrollment that has heard nothing is plain data");
    let first_step = first.key.clone();
    let beginning = Beginning { version: campaign.version, snapshot, first_step };
    Ok((document, version, beginning))
}

/// Enrolls one page while nobody can pause, stop or end the campaign, or publish another version of it.
async fn enroll_page(
    tx: &mut Tx,
    campaign: CampaignId,
    beginning: &mut Beginning,
    now: DateTime<Utc>,
    leads: &[LeadId],
) -> Result<Result<Vec<(LeadId, EnrollmentId)>, NotEnrolled>> {
    let workspace = tx.workspace();
    let held = super::lock(tx, workspace, campaign).await?;
    let verb_seq = match held.status {
        CampaignStatus::Active => held.verb_seq,
        // Its last lead ended while this run was under way.
        CampaignStatus::Finished => {
            store::start(tx, workspace, campaign, now).await?;
            tx.tell(News::Campaign { campaign, status: "active".to_owned() });
            held.verb_seq
        }
        // The pause is the newest verb; whoever enters now has yet to hear it.
        CampaignStatus::Paused => held.verb_seq - 1,
        CampaignStatus::Draft => return Ok(Err(NotEnrolled::Draft(held.name))),
        CampaignStatus::Stopped => return Ok(Err(NotEnrolled::Stopped(held.name))),
    };
    if held.version != beginning.version {
        // A move to that version may be over already: nobody would move who enters with an older one.
        (_, _, *beginning) = begin(tx, &held, now).await?;
    }
    let enrollments: Vec<Uuid> =
        leads.iter().map(|_| ids::new::<machine::ids::Enrollment>().uuid()).collect();
    let leads: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    let entry = Entry {
        campaign,
        version: beginning.version,
        engine: held.engine,
        verb_seq,
        snapshot: &beginning.snapshot,
        first_step: beginning.first_step.as_str(),
        now,
    };
    let entered = audience::enroll(tx, workspace, entry, &enrollments, &leads).await?;
    if !entered.is_empty() {
        let enrollments = entered.iter().map(|(_, enrollment)| *enrollment).collect();
        tx.tell(News::Enrollments { campaign, state: "queued".to_owned(), enrollments });
    }
    Ok(Ok(entered))
}
