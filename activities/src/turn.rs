//! TURN: loads enrollments, applies what happened, and writes state, journal, sends and wake-up
//! times in one transaction. Both engines call it; neither owns any truth.

mod apply;
mod asks;
mod counts;
pub(crate) mod facts;
mod given_up;
pub mod one;
mod people;
pub(crate) mod requests;
pub(crate) mod write;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use machine::context::Facts;
use machine::enrollment::Enrollment;
use machine::ids::{CampaignId, EnrollmentId, LeadId, MailId, SendId, SenderId, WorkspaceId};
use machine::key::{StepKey, VariantKey};
use machine::sequence::Channel;
use machine::signal::Signal;
use machine::state::Responder;
use tracing::Span;
use uuid::Uuid;

use crate::campaign_settings::CampaignSettings;
use crate::engine::Engine;
use crate::error::Result;
use crate::store::clock::{self, Clocks};
use crate::store::enrollments::{self, Cursor, Locked};
use crate::store::quotas::{self, Released};
use crate::store::sends::Open;
use crate::store::{Store, Tx};
use crate::trace::TraceParent;
use crate::versions::{Loaded, Versions};

/// How often an enrollment may fail to move before it is parked: its turn, or what that asked for.
pub(crate) const FAILURES_MAX: i16 = 5;

/// How long a planned send may lie before it is handed out again, in wall time.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(60);

/// How long a runner may be silent before its calls count as lost, in wall time.
pub const RUNNER_SILENCE: TimeDelta = TimeDelta::seconds(15);

/// How long a lead of Temporal may be due before somebody looks whether its workflow is there, in wall
/// time. What is marked as due for that long is looked at now.
pub const OVERDUE: TimeDelta = TimeDelta::seconds(30);

/// When an enrollment is looked at again that failed to move, in wall time.
pub(crate) const AFTER_FAILURE: TimeDelta = TimeDelta::seconds(5);

/// One send that waits for its gate.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which send.
    pub send: SendId,
    /// Which ask of it.
    pub attempt: i32,
    /// Whose.
    pub enrollment: EnrollmentId,
    /// Its campaign.
    pub campaign: CampaignId,
    /// The person.
    pub lead: LeadId,
    /// The version it runs.
    pub version: Arc<Loaded>,
    /// What the gate and the mails need to know of the campaign.
    pub settings: Arc<CampaignSettings>,
    /// From whom, if there is a sender.
    pub sender: Option<SenderId>,
    /// What it says.
    pub what: What,
    /// When its lead was due; earlier ones go first.
    pub wake_at: DateTime<Utc>,
    /// The turn that asked for it.
    pub trace: TraceParent,
}

/// What a send says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The message of a step.
    Step {
        /// Which.
        step: StepKey,
        /// In which wording.
        variant: Option<VariantKey>,
        /// On which channel.
        channel: Channel,
    },
    /// A mail to a person of ours.
    Handover {
        /// Whom.
        to: Responder,
        /// Until when an answer is expected; `None` when the offer is handed out again.
        answer_by: Option<DateTime<Utc>>,
    },
    /// What the person who has the lead wrote to it, in a mail to us.
    Answer {
        /// Which mail.
        mail: MailId,
    },
    /// A mail to the person who has the lead: it wrote again.
    Forward {
        /// Who has it.
        to: Responder,
    },
}

impl What {
    /// On which channel it goes.
    pub fn channel(&self) -> Channel {
        match self {
            Self::Step { channel, .. } => *channel,
            Self::Handover { .. } | Self::Answer { .. } | Self::Forward { .. } => Channel::Email,
        }
    }

    /// Whether it goes to a person of ours, and not to the lead.
    pub fn is_to_the_team(&self) -> bool {
        match self {
            Self::Step { .. } | Self::Answer { .. } => false,
            Self::Handover { .. } | Self::Forward { .. } => true,
        }
    }
}

/// What one transaction of turns led to.
#[derive(Debug)]
pub struct Turned {
    /// How many enrollments it took.
    pub taken: usize,
    /// How many applications of the machine it journaled.
    pub applied: usize,
    /// Sends that wait for their gate.
    pub asks: Vec<Ask>,
    /// Sends whose call was lost, for [`crate::send::sweep()`], each with its enrollment.
    pub lost: Vec<(EnrollmentId, SendId)>,
    /// Enrollments that could not be turned, with the reason.
    pub spoiled: Vec<(EnrollmentId, String)>,
    /// The earliest time at which one of them is due again.
    pub next_wake: Option<DateTime<Utc>>,
    /// What each does, in a sentence, where the engine shows it.
    pub headlines: Vec<(EnrollmentId, String)>,
}

/// An answer to an effect, or another signal that has no row of its own.
#[derive(Debug, Clone)]
pub struct Told {
    /// Who is told.
    pub enrollment: EnrollmentId,
    /// What.
    pub signal: Signal,
}

/// Due enrollments that are locked and wait for their turn. Dropped, they are left to others.
pub struct Due {
    tx: Tx,
    clocks: Clocks,
    enrollments: Vec<Locked>,
}

impl Due {
    /// Takes up to `limit` due enrollments of `workspace` behind `after`, oldest first.
    ///
    /// # Errors
    ///
    /// When the database fails. The call may be repeated.
    pub async fn take(
        store: &Store,
        workspace: WorkspaceId,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Self> {
        let mut tx = store.begin_batch(workspace).await?;
        let clocks = clock::read(&mut tx).await?;
        let now = clocks.campaign;
        let enrollments = enrollments::lock_due(&mut tx, workspace, now, after, limit).await?;
        Ok(Self { tx, clocks, enrollments })
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.enrollments.len()
    }

    /// Returns where the scan stopped; `None` where nothing was due.
    pub fn cursor(&self) -> Option<Cursor> {
        let last = self.enrollments.last()?;
        let enrollment = EnrollmentId::new(last.enrollment_id);
        Some(Cursor { wake_at: last.wake_at?, enrollment })
    }

    /// Turns them.
    ///
    /// # Errors
    ///
    /// When the database fails. Nothing is written then, and they are due as before.
    pub async fn turn(mut self, versions: &Versions) -> Result<Turned> {
        let taken = Taken::of(self.enrollments);
        let turned = advance(&mut self.tx, versions, self.clocks, taken).await?;
        self.tx.commit().await?;
        Ok(turned)
    }
}

/// Turns the enrollments with these ids, for the Postgres engine: leads of another one go on there.
///
/// # Errors
///
/// When the database fails. Nothing is written then; the call may be repeated.
pub async fn these(
    store: &Store,
    versions: &Versions,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> Result<Turned> {
    let mut tx = store.begin_batch(workspace).await?;
    let clocks = clock::read(&mut tx).await?;
    let taken = Taken::of(enrollments::lock(&mut tx, workspace, ids).await?);
    let turned = advance(&mut tx, versions, clocks, taken).await?;
    tx.commit().await?;
    Ok(turned)
}

/// What a transaction brings to its turns.
#[derive(Default)]
pub(crate) struct Taken {
    /// Which engine is handed what they ask for.
    pub(crate) engine: Engine,
    /// Enrollments it has locked.
    pub(crate) enrollments: Vec<Locked>,
    /// Sends of theirs that it has just written, as they are now.
    pub(crate) sends: Vec<Open>,
    /// Signals that have no rows.
    pub(crate) told: Vec<Told>,
    /// What it gives back, with what the turns do, last of all.
    pub(crate) released: Released,
}

impl Taken {
    fn of(enrollments: Vec<Locked>) -> Self {
        Self { enrollments, ..Self::default() }
    }
}

/// Steps 2 to 4 of a turn.
pub(crate) async fn advance(
    tx: &mut Tx,
    versions: &Versions,
    clocks: Clocks,
    taken: Taken,
) -> Result<Turned> {
    let mut turned = Turned {
        taken: taken.enrollments.len(),
        applied: 0,
        asks: Vec::new(),
        lost: Vec::new(),
        spoiled: Vec::new(),
        next_wake: None,
        headlines: Vec::new(),
    };
    let workspace = tx.workspace();
    let Taken { engine, enrollments, sends, told, mut released } = taken;
    if enrollments.is_empty() {
        quotas::give_back(tx, workspace, &released).await?;
        return Ok(turned);
    }
    let (leads, spoiled) = facts::read(tx, versions, clocks, enrollments, sends, told).await?;
    turned.spoiled = spoiled;
    let mut written = write::Writes::of(engine);
    // They end when everything is written.
    let mut spans = Vec::new();
    for mut lead in leads {
        let enrollment = EnrollmentId::new(lead.row.enrollment_id);
        let (lead_id, traces) = (LeadId::new(lead.row.lead_id), std::mem::take(&mut lead.traces));
        match apply::apply(workspace, clocks, lead) {
            Ok(done) => {
                if engine == Engine::Temporal {
                    turned.headlines.push((enrollment, done.headline(workspace)));
                }
                let asked = turned.asks.len();
                written.add(workspace, clocks, done, &mut turned);
                let asks = &mut turned.asks[asked..];
                spans.extend(trace(workspace, enrollment, lead_id, &traces, asks));
            }
            Err(stuck) => turned.spoiled.push((enrollment, stuck.to_string())),
        }
    }
    released.booked.extend(written.write(tx, clocks).await?);
    if !turned.spoiled.is_empty() {
        write::park(tx, clocks, &turned.spoiled).await?;
    }
    quotas::give_back(tx, workspace, &released).await?;
    Ok(turned)
}

/// Returns the span of a turn that was told something by others, or asks for messages, which belong to
/// it. It goes on with the trace of the first who told something.
fn trace(
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    lead: LeadId,
    told_by: &[TraceParent],
    asks: &mut [Ask],
) -> Option<Span> {
    if told_by.is_empty() && asks.is_empty() {
        return None;
    }
    let span = tracing::debug_span!(
        parent: None,
        "turn",
        workspace.id = %workspace,
        enrollment.id = %enrollment,
        lead.id = %lead,
    );
    if span.is_disabled() {
        return None;
    }
    if let Some((first, others)) = told_by.split_first() {
        first.lead_to(&span);
        others.iter().for_each(|other| other.link_to(&span));
    }
    let here = TraceParent::of(&span);
    for ask in asks {
        ask.trace = here.clone();
    }
    Some(span)
}

/// One enrollment with everything its turn reads.
struct Read {
    row: Locked,
    enrollment: Enrollment,
    version: Arc<Loaded>,
    settings: Arc<CampaignSettings>,
    /// The rules that were applied last time.
    rules_before: u32,
    /// The campaign's newest verb.
    verb_seq: i32,
    facts: Facts,
    /// Its open sends as the ledger has them.
    open: HashMap<Uuid, Open>,
    /// Verbs it has not seen, with their times.
    verbs: Vec<(DateTime<Utc>, Signal)>,
    /// Answers and other signals without rows.
    told: Vec<Signal>,
    /// Signals it has not seen, up to the first that nobody has interpreted.
    signals: Vec<(i32, Signal)>,
    /// The traces of those who told them.
    traces: Vec<TraceParent>,
    /// Whether a signal waits for interpretation: nothing new is asked for meanwhile.
    uninterpreted: bool,
    /// Senders it may be given.
    senders: Arc<Vec<crate::store::turns::SenderRow>>,
    /// Runners that live.
    runners: Arc<Vec<Uuid>>,
}
