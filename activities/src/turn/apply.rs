//! Step 3 of a turn: in memory, one lead at a time, through the pure machine.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use machine::context::{Context, Facts};
use machine::effect::{Effect, EffectId};
use machine::enrollment::Enrollment;
use machine::explain::{self, Summary};
use machine::ids::{EnrollmentId, LeadId, MailId, SendId, WorkspaceId};
use machine::key::VariantKey;
use machine::signal::{Answer, Signal};
use machine::state::{Counted, Open, State};

use super::Read;
use crate::store::clock::Clocks;

/// How often one turn may wake one lead: a lead that is due at once again and again is a bug.
const WAKES_MAX: usize = 256;

/// One application of the machine, as it is journaled.
pub(super) struct Applied {
    pub(super) at: DateTime<Utc>,
    pub(super) signal: Signal,
    pub(super) from: Summary,
    pub(super) to: Summary,
    pub(super) effects: Vec<Effect>,
    pub(super) withdrawn: Vec<EffectId>,
    /// What the machine read, JSON; `None` where there was nothing to read.
    pub(super) facts: Option<String>,
    /// The version moved, so a replay begins here.
    pub(super) begins: bool,
    /// What the lead is counted for.
    pub(super) counted: Option<Counted>,
    /// In which wording the message left that it reports on.
    pub(super) variant: Option<VariantKey>,
}

/// What a turn made of one lead.
pub(super) struct Done {
    pub(super) read: Read,
    pub(super) before: State,
    pub(super) applied: Vec<Applied>,
    /// What is asked for now and was not withdrawn again.
    pub(super) asked: BTreeMap<EffectId, Effect>,
    /// What was asked for in earlier turns and is not wanted any more.
    pub(super) withdrawn: Vec<EffectId>,
    /// Sends in flight that a signal proves to have been accepted.
    pub(super) proved: Vec<SendId>,
    /// The requests that were open before.
    pub(super) open_before: Vec<Open>,
    /// The mails of people of ours that waited to be passed on before.
    pub(super) answers_before: Vec<MailId>,
    pub(super) applied_seq: i32,
    pub(super) now: DateTime<Utc>,
    /// When to look again while mail waits to be read.
    pub(super) rest_until: Option<DateTime<Utc>>,
}

impl Done {
    /// What the lead does now, in a sentence without a name.
    pub(super) fn headline(&self, workspace: WorkspaceId) -> String {
        let read = &self.read;
        let context = Context {
            now: self.now,
            workspace,
            enrollment: EnrollmentId::new(read.row.enrollment_id),
            lead: LeadId::new(read.row.lead_id),
            version: &read.version.version,
            facts: &read.facts,
        };
        explain::headline(&read.enrollment, &context)
    }
}

/// Applies everything one lead has not seen.
///
/// # Errors
///
/// [`Stuck`]: the same would happen again.
pub(super) fn apply(workspace: WorkspaceId, clocks: Clocks, read: Read) -> Result<Done, Stuck> {
    catch_unwind(AssertUnwindSafe(|| Run::new(workspace, clocks, read).finish())).unwrap_or_else(
        |panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Stuck::Panicked(text.unwrap_or_default()))
        },
    )
}

/// Why an enrollment cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stuck {
    /// A bug of the machine.
    #[error("the machine panicked: {0}")]
    Panicked(String),
    /// A bug of the machine.
    #[error("still due after {WAKES_MAX} wake-ups in one turn")]
    Restless,
}

struct Run {
    workspace: WorkspaceId,
    done: Done,
}

impl Run {
    fn new(workspace: WorkspaceId, clocks: Clocks, read: Read) -> Self {
        let now = clocks.campaign.max(read.row.changed_at);
        let applied_seq = read.row.applied_seq;
        let before = read.enrollment.state.clone();
        let open_before = read.enrollment.data.open.clone();
        let answers_before = read.enrollment.data.waiting_answers().collect();
        let done = Done {
            read,
            before,
            open_before,
            answers_before,
            rest_until: Some(clocks.campaign_in(super::LOOK_AGAIN)),
            applied: Vec::new(),
            asked: BTreeMap::new(),
            withdrawn: Vec::new(),
            proved: Vec::new(),
            applied_seq,
            now,
        };
        Self { workspace, done }
    }

    fn finish(mut self) -> Result<Done, Stuck> {
        let now = self.done.now;
        if self.done.read.row.turn == 0 {
            self.tell(Signal::Enrolled, now);
        }
        for (at, verb) in std::mem::take(&mut self.done.read.verbs) {
            let at = at.max(self.done.read.row.changed_at).min(now);
            self.tell(verb, at);
        }
        for signal in std::mem::take(&mut self.done.read.told) {
            self.tell(signal, now);
        }
        for (seq, signal) in std::mem::take(&mut self.done.read.signals) {
            self.believe(&signal, now);
            self.tell(signal, now);
            self.done.applied_seq = seq;
        }
        if !self.done.read.uninterpreted {
            self.wake(now)?;
        }
        Ok(self.done)
    }

    fn wake(&mut self, now: DateTime<Utc>) -> Result<(), Stuck> {
        for _ in 0..WAKES_MAX {
            match self.done.read.enrollment.wake_at() {
                Some(wake_at) if wake_at <= now => self.tell(Signal::Woke, now),
                Some(_) | None => return Ok(()),
            }
        }
        Err(Stuck::Restless)
    }

    /// A report about a message in flight proves that the provider took it.
    fn believe(&mut self, signal: &Signal, now: DateTime<Utc>) {
        let Some(step) = signal.proves() else { return };
        let in_flight = &self.done.read.facts.in_flight;
        let open = self.done.read.enrollment.data.open.iter();
        let mut proved = open
            .filter(|open| open.step.as_ref() == Some(step) && in_flight.contains(&open.id.send));
        if let Some(effect) = proved.next().map(|open| open.id) {
            self.done.proved.push(effect.send);
            self.tell(Signal::SendAnswered { effect, answer: Answer::Accepted }, now);
        }
    }

    fn tell(&mut self, signal: Signal, now: DateTime<Utc>) {
        let read = &mut self.done.read;
        let from = match self.done.applied.last() {
            Some(last) => last.to.clone(),
            None => explain::summary(&read.enrollment, &read.version.version),
        };
        let before: Option<Enrollment> = matches!(signal, Signal::Woke | Signal::Clicked { .. })
            .then(|| read.enrollment.clone());
        let context = Context {
            now,
            workspace: self.workspace,
            enrollment: EnrollmentId::new(read.row.enrollment_id),
            lead: LeadId::new(read.row.lead_id),
            version: &read.version.version,
            facts: &read.facts,
        };
        let facts = (read.facts != Facts::default())
            .then(|| serde_json::to_string(&read.facts).expect("facts are plain data"));
        let applied = read.enrollment.apply(&signal, context);
        if let Signal::SendAnswered { effect, .. } = &signal {
            read.facts.in_flight.retain(|send| *send != effect.send);
        }
        // Waking too early is not an event, nor is a link that is followed again.
        if before.is_some_and(|before| before == read.enrollment) && applied.effects.is_empty() {
            return;
        }
        // No id is asked for twice, so what is both was asked for first.
        for effect in &applied.effects {
            self.done.asked.insert(effect.id(), effect.clone());
        }
        for withdrawn in &applied.withdrawn {
            if self.done.asked.remove(withdrawn).is_none() {
                self.done.withdrawn.push(*withdrawn);
            }
        }
        let variant =
            signal.proves().and_then(|step| read.enrollment.data.history.wording_of(step)).cloned();
        let to = explain::summary(&read.enrollment, &read.version.version);
        let begins = matches!(signal, Signal::VersionMoved);
        self.done.applied.push(Applied {
            at: now,
            signal,
            from,
            to,
            effects: applied.effects,
            withdrawn: applied.withdrawn,
            facts,
            begins,
            counted: applied.counted,
            variant,
        });
    }
}
