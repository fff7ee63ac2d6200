//! MOVE to another version: a lead goes on with another version of its sequence. In one transaction its
//! row names that version and its machine hears so; the journal row that tells it holds the snapshot
//! from which a replay goes on. Done steps stay done, a removed one is passed by, an added one is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use machine::context::Context;
use machine::enrollment::Enrollment;
use machine::explain::{self, Shown};
use machine::ids::{CampaignId, EnrollmentId, LeadId, SequenceId, WorkspaceId};
use machine::key::StepKey;
use machine::signal::Signal;
use machine::state::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::campaigns::{self, Campaign, CampaignStatus};
use crate::error::{ActivityError, Result, chain};
use crate::mailroom::Mailroom;
use crate::store::audit::{self, Act};
use crate::store::campaigns as store;
use crate::store::clock::Clocks;
use crate::store::enrollments::{self, Locked, Outdated};
use crate::store::turns::{self, Attributes};
use crate::store::{Store, Tx, bell, clock, sequence_versions};
use crate::turn::{self, Taken, Told, Turned, facts};
use crate::versions::{Loaded, Versions};

/// How many leads one transaction moves.
const PAGE: i64 = 500;

/// How many leads are looked at in one transaction.
const LOOK_PAGE: i64 = 2_000;

/// How many leads a preview looks at.
const LOOK_MAX: u64 = 200_000;

/// How many leads a preview shows one by one.
const EXAMPLES_MAX: usize = 20;

/// Why nothing is moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMoved {
    /// There is no such version.
    #[error("there is no version {version}: the newest is {newest}")]
    NoSuchVersion {
        /// What was asked for.
        version: i32,
        /// The newest there is.
        newest: i32,
    },
    /// The enrollment has ended.
    #[error("it is over: {0}")]
    Over(Shown),
    /// The campaign has no live leads.
    #[error("the campaign is {0}, so it has no leads to move")]
    NotWhile(CampaignStatus),
    /// Its turn failed.
    #[error("its turn failed: {0}")]
    Spoiled(String),
}

/// What became of one lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It goes on with the other version.
    Done,
    /// It ran that version before.
    Already,
}

/// Moves one lead, at once; to the newest version, unless one is named.
///
/// # Errors
///
/// [`ActivityError::NoSuchEnrollment`], or when the database fails. The call may be repeated.
pub async fn one(
    store: &Store,
    versions: &Versions,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    to: Option<i32>,
    actor: &str,
) -> Result<Result<Moved, NotMoved>> {
    let mut tx = store.begin(workspace).await?;
    let locked = enrollments::lock(&mut tx, workspace, &[enrollment.uuid()]).await?.pop();
    let locked = locked.ok_or(ActivityError::NoSuchEnrollment(enrollment))?;
    let campaign = campaigns::find(&mut tx, workspace, locked.campaign_id.into()).await?;
    let to = match target(&mut tx, &campaign, to).await? {
        Ok(to) => to,
        Err(refused) => return Ok(Err(refused)),
    };
    if locked.version == to {
        return Ok(Ok(Moved::Already));
    }
    if let Some(over) = over(&locked) {
        return Ok(Err(NotMoved::Over(over)));
    }
    let clocks = clock::read(&mut tx).await?;
    let turned = turn_to(&mut tx, versions, clocks, to, vec![locked]).await?;
    if let Some((_, why)) = turned.spoiled.into_iter().next() {
        return Ok(Err(NotMoved::Spoiled(why)));
    }
    let subject = format!("enrollment/{enrollment}");
    let details = Some(json!({ "version": to }));
    let act = Act { actor, act: Signal::VersionMoved.kind(), subject: &subject, details };
    audit::record(&mut tx, workspace, &act, clocks.wall).await?;
    // Nobody here sends: the runners find what is asked for.
    for ask in &turned.asks {
        enrollments::hurry(&mut tx, workspace, ask.enrollment, clocks.campaign).await?;
    }
    bell::ring(&mut tx, workspace).await?;
    tx.commit().await?;
    Ok(Ok(Moved::Done))
}

/// Has every live lead of a campaign moved in the background; to the newest version, unless one is
/// named. Given again, the newest order counts. Returns the version.
///
/// # Errors
///
/// [`ActivityError::NoSuchCampaign`], or when the database fails. The call may be repeated.
pub async fn order(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    to: Option<i32>,
    actor: &str,
) -> Result<Result<i32, NotMoved>> {
    let mut tx = store.begin(workspace).await?;
    let campaign = campaigns::lock(&mut tx, workspace, campaign).await?;
    let to = match target(&mut tx, &campaign, to).await? {
        Ok(to) => to,
        Err(refused) => return Ok(Err(refused)),
    };
    match campaign.status {
        CampaignStatus::Active | CampaignStatus::Paused => {}
        CampaignStatus::Draft | CampaignStatus::Stopped | CampaignStatus::Finished => {
            return Ok(Err(NotMoved::NotWhile(campaign.status)));
        }
    }
    store::plan_move(&mut tx, workspace, campaign.id, to).await?;
    let clocks = clock::read(&mut tx).await?;
    let subject = format!("campaign/{}", campaign.id);
    let details = Some(json!({ "version": to }));
    let act = Act { actor, act: "campaign.move", subject: &subject, details };
    audit::record(&mut tx, workspace, &act, clocks.wall).await?;
    bell::ring_for_plans(&mut tx, workspace).await?;
    tx.commit().await?;
    Ok(Ok(to))
}

/// Moves the leads of a campaign as was ordered, and hands what the turns led to over to `turned`.
/// Interrupted, or done by two at once, it comes to the same. A lead whose turn fails stays where it is,
/// parked.
///
/// # Errors
///
/// When the database fails. The call may be repeated.
pub async fn perform(
    room: &Mailroom,
    workspace: WorkspaceId,
    campaign: CampaignId,
    mut turned: impl FnMut(Turned),
) -> Result<()> {
    let beginning = LeadId::new(Uuid::nil());
    let (mut after, mut heading, mut found) = (beginning, None, false);
    loop {
        let mut tx = room.store.begin(workspace).await?;
        let Some(to) = campaigns::find(&mut tx, workspace, campaign).await?.moving_to else {
            return Ok(());
        };
        if heading.replace(to) != Some(to) {
            // Whoever an older order was done for has to be looked at again.
            (after, found) = (beginning, false);
        }
        let page = enrollments::elsewhere(&mut tx, workspace, campaign, to, after, PAGE).await?;
        let Some(last) = page.last() else {
            if found {
                // Somebody may have entered behind the place where this was.
                (after, found) = (beginning, false);
                continue;
            }
            store::note_moved(&mut tx, workspace, campaign, to).await?;
            return tx.commit().await;
        };
        after = last.lead_id.into();
        let ids: Vec<Uuid> = page.iter().map(|row| row.enrollment_id).collect();
        let mut locked = enrollments::lock(&mut tx, workspace, &ids).await?;
        // Something may have happened to them before they were locked.
        locked.retain(|row| row.version != to && over(row).is_none());
        found |= !locked.is_empty();
        let clocks = clock::read(&mut tx).await?;
        let done = turn_to(&mut tx, &room.versions, clocks, to, locked).await?;
        tx.commit().await?;
        turned(done);
    }
}

/// Lets locked enrollments run version `to` from now on.
async fn turn_to(
    tx: &mut Tx,
    versions: &Versions,
    clocks: Clocks,
    to: i32,
    mut locked: Vec<Locked>,
) -> Result<Turned> {
    let workspace = tx.workspace();
    let ids: Vec<Uuid> = locked.iter().map(|row| row.enrollment_id).collect();
    enrollments::set_version(tx, workspace, &ids, to).await?;
    let mut told = Vec::with_capacity(locked.len());
    let mut before = BTreeMap::new();
    for row in &mut locked {
        before.insert(row.enrollment_id, row.version);
        row.version = to;
        told.push(Told { enrollment: row.enrollment_id.into(), signal: Signal::VersionMoved });
    }
    let taken = Taken { enrollments: locked, told, ..Taken::default() };
    let turned = turn::advance(tx, versions, clocks, taken).await?;
    for (enrollment, _) in &turned.spoiled {
        let version = before[&enrollment.uuid()];
        enrollments::set_version(tx, workspace, &[enrollment.uuid()], version).await?;
    }
    Ok(turned)
}

/// Returns the version that is meant, if it is there.
async fn target(
    tx: &mut Tx,
    campaign: &Campaign,
    to: Option<i32>,
) -> Result<Result<i32, NotMoved>> {
    let newest = campaign.version;
    let version = to.unwrap_or(newest);
    let workspace = tx.workspace();
    let row = sequence_versions::load(tx, workspace, campaign.sequence, version).await?;
    Ok(row.map(|_| version).ok_or(NotMoved::NoSuchVersion { version, newest }))
}

fn over(row: &Locked) -> Option<Shown> {
    Shown::ALL.into_iter().find(|shown| shown.is_over() && shown.as_str() == row.state)
}

/// What a move does to a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "MoveEffect")]
pub enum Effect {
    /// The same step comes next, at the same time.
    Unaffected,
    /// The same step comes next, at another time.
    Retimed,
    /// Its next step is not in that version: it goes on with the one after.
    OnRemovedStep,
    /// Another step comes first, which its version did not have there.
    OtherStep,
    /// Nothing is left to do for it.
    Ends,
    /// A person has it; it runs that version once it is given back.
    WithPerson,
    /// It runs that version already.
    Already,
}

/// Who is affected by a move.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The version.
    pub to: i32,
    /// Live leads that were looked at.
    pub looked_at: u64,
    /// Whether those are all.
    pub complete: bool,
    /// How many leads it does what to.
    pub effects: BTreeMap<Effect, u64>,
    /// Leads whose next step is one that they have done: there are none, by the machine's own evaluation.
    pub repeats: u64,
    /// Some of those for whom something changes.
    pub examples: Vec<Affected>,
}

/// A lead for which something changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "AffectedLead")]
pub struct Affected {
    /// Which.
    pub enrollment: EnrollmentId,
    /// Whose.
    pub lead: LeadId,
    /// The version it runs.
    pub version: i32,
    /// What changes.
    pub effect: Effect,
    /// The step that comes next as it is.
    pub next_step: Option<StepKey>,
    /// When.
    pub next_at: Option<DateTime<Utc>>,
    /// The step that would come next.
    pub then_step: Option<StepKey>,
    /// When.
    pub then_at: Option<DateTime<Utc>>,
}

/// Tells what moving every live lead of a campaign would do, by the machine itself on today's facts;
/// to the newest version, unless one is named. Nothing is stored.
///
/// # Errors
///
/// [`ActivityError::NoSuchCampaign`], or when the database fails.
pub async fn preview(
    store: &Store,
    versions: &Versions,
    workspace: WorkspaceId,
    campaign: CampaignId,
    to: Option<i32>,
) -> Result<Result<Preview, NotMoved>> {
    let mut tx = store.begin(workspace).await?;
    let campaign = campaigns::find(&mut tx, workspace, campaign).await?;
    let to = match target(&mut tx, &campaign, to).await? {
        Ok(to) => to,
        Err(refused) => return Ok(Err(refused)),
    };
    drop(tx);
    let mut preview = Preview {
        to,
        looked_at: 0,
        complete: true,
        effects: BTreeMap::new(),
        repeats: 0,
        examples: Vec::new(),
    };
    let mut after = LeadId::new(Uuid::nil());
    loop {
        let mut tx = store.begin(workspace).await?;
        // Version 0 is nobody's: all are elsewhere.
        let page =
            enrollments::elsewhere(&mut tx, workspace, campaign.id, 0, after, LOOK_PAGE).await?;
        let Some(last) = page.last() else { return Ok(Ok(preview)) };
        if preview.looked_at >= LOOK_MAX {
            preview.complete = false;
            return Ok(Ok(preview));
        }
        after = last.lead_id.into();
        look(&mut tx, versions, campaign.sequence, &page, &mut preview).await?;
    }
}

async fn look(
    tx: &mut Tx,
    versions: &Versions,
    sequence: SequenceId,
    page: &[Outdated],
    preview: &mut Preview,
) -> Result<()> {
    let workspace = tx.workspace();
    let now = clock::read(tx).await?.campaign;
    let mut names: BTreeSet<(SequenceId, i32)> =
        page.iter().map(|row| (sequence, row.version)).collect();
    names.insert((sequence, preview.to));
    let loaded = versions.get(tx, workspace, &names).await?;
    let target = &loaded[&(sequence, preview.to)];
    let leads: Vec<Uuid> = page.iter().map(|row| row.lead_id).collect();
    let leads: BTreeMap<Uuid, _> = turns::leads(tx, workspace, &leads, Attributes::Wanted)
        .await?
        .into_iter()
        .map(|row| (row.lead_id, row))
        .collect();
    for row in page {
        let Some(lead) = leads.get(&row.lead_id) else { continue };
        let facts = facts::of_lead(lead, &target.version);
        let context = Context {
            now,
            workspace,
            enrollment: row.enrollment_id.into(),
            lead: row.lead_id.into(),
            version: &target.version,
            facts: &facts,
        };
        let current = &loaded[&(sequence, row.version)];
        match judge(row, current, target, context) {
            Ok((affected, repeats)) => preview.note(affected, repeats),
            Err(error) => tracing::warn!(error = chain(&error), "a lead cannot be foreseen"),
        }
    }
    Ok(())
}

impl Preview {
    fn note(&mut self, affected: Affected, repeats: bool) {
        self.looked_at += 1;
        self.repeats += u64::from(repeats);
        *self.effects.entry(affected.effect).or_default() += 1;
        let changes = match affected.effect {
            Effect::Retimed | Effect::OnRemovedStep | Effect::OtherStep | Effect::Ends => true,
            Effect::Unaffected | Effect::WithPerson | Effect::Already => false,
        };
        if changes && self.examples.len() < EXAMPLES_MAX {
            self.examples.push(affected);
        }
    }
}

/// Runs a copy of the machine over the move. Also returns whether the step it comes to was done before.
fn judge(
    row: &Outdated,
    current: &Arc<Loaded>,
    target: &Arc<Loaded>,
    context: Context<'_>,
) -> Result<(Affected, bool)> {
    let enrollment = EnrollmentId::new(row.enrollment_id);
    let before: Enrollment = serde_json::from_slice(&row.snapshot)
        .map_err(|source| ActivityError::Snapshot { enrollment, source })?;
    let was = explain::summary(&before, &current.version);
    let mut after = before.clone();
    if !matches!(before.state, State::Dispatching { .. }) {
        after.apply(&Signal::VersionMoved, context);
    }
    let mut is = explain::summary(&after, &target.version);
    if matches!(after.state, State::Dispatching { .. } | State::Paused { .. }) {
        // Where it goes on is decided when the answer comes, or the pause ends.
        let next = target.version.next(&after.data.history).map(|step| step.key.clone());
        is.next_step = next;
    }
    let done = &before.data.history.done;
    let repeats = is.next_step.as_ref().is_some_and(|step| done.contains_key(step));
    let gone = was.next_step.as_ref().is_some_and(|step| target.version.step(step).is_none());
    let effect = if row.version == target.number {
        Effect::Already
    } else if was.state == Shown::WithPerson {
        Effect::WithPerson
    } else if gone {
        Effect::OnRemovedStep
    } else if is.state.is_over() || is.next_step.is_none() {
        Effect::Ends
    } else if is.next_step != was.next_step {
        Effect::OtherStep
    } else if is.next_at != was.next_at {
        Effect::Retimed
    } else {
        Effect::Unaffected
    };
    let affected = Affected {
        enrollment,
        lead: row.lead_id.into(),
        version: row.version,
        effect,
        next_step: was.next_step,
        next_at: was.next_at,
        then_step: is.next_step,
        then_at: is.next_at,
    };
    Ok((affected, repeats))
}
