//! The real machine, made small enough for a model: one lead, two mails without delays, time
//! standing still. States are numbered as they are met, and each application is done once.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use machine::context::{Context, Facts};
use machine::document::compile;
use machine::effect::{Effect, EffectId};
use machine::enrollment::Enrollment;
use machine::ids::{SendId, Subject, send_id};
use machine::sequence::Version;
use machine::signal::{Answer, PauseScope, Refusal, ReplyTo, ResumeRule, Signal};
use machine::state::State;
use serde_json::json;
use uuid::Uuid;

/// The steps, and the rows of the ledger.
pub(crate) const STEPS: [&str; 2] = ["intro", "nudge"];

/// A number of an enrollment's state.
pub(crate) type Lead = u16;

/// What a lead may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Enrolled,
    Woke,
    Reply,
    OptOut,
    Pause(PauseScope),
    Resume(PauseScope),
    GiveBack,
    SkipFirst,
    Answer { row: u8, attempt: u8, accepted: bool },
}

/// A request: which row of the ledger, and which ask of it.
pub(crate) type Ask = (u8, u8);

/// What telling it led to.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) lead: Lead,
    pub(crate) asked: Vec<Ask>,
    pub(crate) withdrawn: Vec<Ask>,
}

/// What the model needs to know of a lead's state.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) open: Vec<Ask>,
    /// Due, or dispatching: it does not wait for a person and is not over.
    pub(crate) is_moving: bool,
    pub(crate) is_due: bool,
}

/// Every state met so far, and what each led to.
pub(crate) struct Leads {
    version: Version,
    now: DateTime<Utc>,
    sends: [SendId; 2],
    known: Vec<(Enrollment, Seen)>,
    numbers: HashMap<Vec<u8>, Lead>,
    heard: HashMap<(Lead, Told, [bool; 2]), Heard>,
}

impl Leads {
    pub(crate) fn new() -> Self {
        let document = json!({
            "name": "Model", "zone": "UTC", "retry": { "refusals": 1 },
            "handover": { "to": "owner@example.com" },
            "steps": STEPS.map(|key| json!({ "key": key, "email": { "body": "text" } })),
        });
        let version = compile(&serde_json::from_value(document).unwrap()).unwrap();
        let (workspace, enrollment) = ids();
        let send = |key| send_id(workspace.into(), enrollment.into(), Subject::Step(key), 1);
        Self {
            version,
            now: "2026-03-02T08:00:00Z".parse().unwrap(),
            sends: STEPS.map(send),
            known: Vec::new(),
            numbers: HashMap::new(),
            heard: HashMap::new(),
        }
    }

    /// A lead that has just entered.
    pub(crate) fn entered(&mut self) -> Lead {
        let begun = Enrollment::begin(&self.version.steps[0], self.now);
        let begun = self.number(begun);
        self.tell(begun, Told::Enrolled, [false; 2]).lead
    }

    pub(crate) fn seen(&self, lead: Lead) -> &Seen {
        &self.known[usize::from(lead)].1
    }

    /// Tells a lead something; `in_flight` says which rows are past the gate.
    pub(crate) fn tell(&mut self, lead: Lead, told: Told, in_flight: [bool; 2]) -> Heard {
        if let Some(heard) = self.heard.get(&(lead, told, in_flight)) {
            return heard.clone();
        }
        let heard = self.apply(lead, told, in_flight);
        self.heard.insert((lead, told, in_flight), heard.clone());
        heard
    }

    fn apply(&mut self, lead: Lead, told: Told, in_flight: [bool; 2]) -> Heard {
        let mut enrollment = self.known[usize::from(lead)].0.clone();
        let in_flight = self.sends.iter().zip(in_flight).filter(|(_, is)| *is);
        let facts =
            Facts { in_flight: in_flight.map(|(send, _)| *send).collect(), ..Facts::default() };
        let (workspace, id) = ids();
        let context = Context {
            now: self.now,
            workspace: workspace.into(),
            enrollment: id.into(),
            lead: Uuid::from_u128(3).into(),
            version: &self.version,
            facts: &facts,
        };
        let mut applied = enrollment.apply(&self.signal(told), context);
        // Mail to our own people is not what the model is about: it leaves at once.
        let offers =
            applied.effects.iter().filter(|effect| matches!(effect, Effect::OfferHandover { .. }));
        for offer in offers.map(Effect::id).collect::<Vec<_>>() {
            let answer = Signal::SendAnswered { effect: offer, answer: Answer::Accepted };
            applied.withdrawn.extend(enrollment.apply(&answer, context).withdrawn);
        }
        let asked = applied.effects.iter().filter_map(|effect| self.ask(effect.id())).collect();
        let withdrawn = applied.withdrawn.iter().filter_map(|id| self.ask(*id)).collect();
        Heard { lead: self.number(enrollment), asked, withdrawn }
    }

    fn ask(&self, effect: EffectId) -> Option<Ask> {
        let row = self.sends.iter().position(|send| *send == effect.send)?;
        Some((u8::try_from(row).unwrap(), u8::try_from(effect.attempt).unwrap()))
    }

    fn number(&mut self, enrollment: Enrollment) -> Lead {
        let stored = serde_json::to_vec(&enrollment).unwrap();
        if let Some(number) = self.numbers.get(&stored) {
            return *number;
        }
        let seen = Seen {
            open: enrollment.data.open.iter().filter_map(|open| self.ask(open.id)).collect(),
            is_moving: matches!(
                enrollment.state,
                State::Waiting { .. } | State::Dispatching { .. }
            ),
            is_due: enrollment.wake_at().is_some_and(|at| at <= self.now),
        };
        let number = Lead::try_from(self.known.len()).unwrap();
        self.known.push((enrollment, seen));
        self.numbers.insert(stored, number);
        number
    }

    fn signal(&self, told: Told) -> Signal {
        match told {
            Told::Enrolled => Signal::Enrolled,
            Told::Woke => Signal::Woke,
            Told::Reply => Signal::replied(ReplyTo::This, None),
            Told::OptOut => Signal::OptedOut,
            Told::Pause(scope) => Signal::Paused { scope },
            Told::Resume(scope) => Signal::Resumed { scope, rule: ResumeRule::Keep },
            Told::GiveBack => Signal::GivenBack,
            Told::SkipFirst => Signal::Skipped { step: STEPS[0].parse().unwrap() },
            Told::Answer { row, attempt, accepted } => {
                let send = self.sends[usize::from(row)];
                let effect = EffectId { send, attempt: attempt.into() };
                let answer = if accepted {
                    Answer::Accepted
                } else {
                    Answer::Rejected { class: Refusal::Retry, retry_after_s: None }
                };
                Signal::SendAnswered { effect, answer }
            }
        }
    }
}

fn ids() -> (Uuid, Uuid) {
    (Uuid::from_u128(1), Uuid::from_u128(2))
}
