//! One enrollment driven by random moves, with a ledger that behaves as the real one: a request is
//! planned, passes the gate, may come back, and is answered once. Repeated, late and disordered
//! signals are moves like any other.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use machine::context::{Consent, Context, Facts};
use machine::effect::{Effect, EffectId};
use machine::enrollment::{Applied, Enrollment};
use machine::ids::SendId;
use machine::key::StepKey;
use machine::outcome::Outcome;
use machine::sequence::{Channel, Version};
use machine::signal::{
    Answer, Bounce, CallResult, Decision, HandoverResult, Missing, PauseScope, Refusal, ReplyTo,
    ResumeRule, Signal,
};
use machine::state::{Responder, State, Why};
use serde_json::json;
use uuid::Uuid;

use crate::campaigns::{self, CANARY, ZONES};
use crate::dice::Dice;

/// What one signal did.
pub(crate) struct Change<'a> {
    pub(crate) before: &'a Enrollment,
    pub(crate) signal: &'a Signal,
    pub(crate) context: Context<'a>,
    pub(crate) applied: &'a Applied,
    pub(crate) after: &'a Enrollment,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Planned,
    InFlight,
}

#[derive(Debug, Clone)]
struct Request {
    effect: Effect,
    stand: Stand,
}

pub(crate) struct Run {
    pub(crate) enrollment: Enrollment,
    pub(crate) now: DateTime<Utc>,
    pub(crate) facts: Facts,
    /// The version at the start and, after it, an edited one.
    pub(crate) versions: [Version; 2],
    pub(crate) running: usize,
    dice: Dice,
    steps: Vec<StepKey>,
    requests: BTreeMap<EffectId, Request>,
    past: Vec<Signal>,
    reload: Reload,
}

/// Whether the enrollment is stored and loaded between any two signals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    Never,
    Always,
}

impl Run {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let document = campaigns::campaign(&mut dice);
        let edited = campaigns::edited(&document, &mut dice);
        let versions = [campaigns::version(&document), campaigns::version(&edited)];
        let now = "2026-03-02T08:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let mut steps = Vec::new();
        for version in &versions {
            version.each_step(&mut |step| steps.push(step.key.clone()));
        }
        let mut facts =
            Facts { zone: dice.pick(&[None, Some(ZONES[1]), Some(ZONES[2])]), ..Facts::default() };
        if facts.zone.is_none() {
            let country = dice.pick(&[None, None, Some("PT"), Some("US"), Some("RU")]);
            facts.country = country.map(|code| code.parse().unwrap());
        }
        if dice.chance(70) {
            facts.consent.sms = Consent::Granted;
            facts.consent.call = Consent::Granted;
            facts.consent.email = Consent::Granted;
        }
        Self {
            enrollment: Enrollment::begin(&versions[0].steps[0], now),
            now,
            facts,
            versions,
            running: 0,
            dice,
            steps,
            requests: BTreeMap::new(),
            past: Vec::new(),
            reload: Reload::Never,
        }
    }

    pub(crate) fn reloading(mut self, reload: Reload) -> Self {
        self.reload = reload;
        self
    }

    pub(crate) fn context<'a>(&'a self, facts: &'a Facts) -> Context<'a> {
        Context {
            now: self.now,
            workspace: Uuid::from_u128(1).into(),
            enrollment: Uuid::from_u128(2).into(),
            lead: Uuid::from_u128(3).into(),
            version: &self.versions[self.running],
            facts,
        }
    }

    /// Enrolls the lead and makes `moves`; `watch` sees every change.
    pub(crate) fn drive(&mut self, moves: &[u32], watch: &mut impl FnMut(&Change<'_>)) {
        self.apply(&Signal::Enrolled, watch);
        for number in moves {
            self.step(*number, watch);
        }
    }

    pub(crate) fn apply(&mut self, signal: &Signal, watch: &mut impl FnMut(&Change<'_>)) {
        if let Some(id) = answers(signal) {
            self.requests.remove(&id);
        }
        let facts = Facts { in_flight: self.in_flight(), ..self.facts.clone() };
        if self.reload == Reload::Always {
            let stored = serde_json::to_vec(&self.enrollment).unwrap();
            self.enrollment = serde_json::from_slice(&stored).unwrap();
        }
        let before = self.enrollment.clone();
        let mut after = before.clone();
        let context = self.context(&facts);
        let applied = after.apply(signal, context);
        watch(&Change { before: &before, signal, context, applied: &applied, after: &after });
        self.enrollment = after;
        for id in &applied.withdrawn {
            self.requests.remove(id);
        }
        for effect in applied.effects {
            self.requests.insert(effect.id(), Request { effect, stand: Stand::Planned });
        }
        self.past.push(signal.clone());
    }

    fn in_flight(&self) -> Vec<SendId> {
        let past = self.requests.iter().filter(|(_, request)| request.stand == Stand::InFlight);
        past.map(|(id, _)| id.send).collect()
    }

    /// One move: time passes, the world answers, or somebody says something.
    fn step(&mut self, number: u32, watch: &mut impl FnMut(&Change<'_>)) {
        let mut dice = Dice::new(self.dice.roll() ^ u64::from(number));
        let signal = match number % 32 {
            0..=7 => {
                if let Some(wake_at) = self.enrollment.wake_at() {
                    self.now = self.now.max(wake_at);
                }
                Signal::Woke
            }
            8 => {
                self.now += TimeDelta::seconds(i64::try_from(dice.below(900_000)).unwrap());
                Signal::Woke
            }
            9 | 10 => return self.move_in_the_ledger(&mut dice),
            11..=16 => match self.answer(&mut dice) {
                Some(signal) => signal,
                None => Signal::Woke,
            },
            17 => self.late(&mut dice),
            18 => self.past.last().cloned().unwrap_or(Signal::Woke),
            19..=23 => self.fact(&mut dice),
            24 | 25 => {
                self.change_attributes(&mut dice);
                Signal::AttributeChanged
            }
            26..=29 => self.verb(&mut dice),
            30 => self.of_a_person(&mut dice),
            _ if dice.chance(40) => {
                self.running = 1 - self.running;
                Signal::VersionMoved
            }
            _ => self.of_a_person(&mut dice),
        };
        self.apply(&signal, watch);
    }

    /// Something that was said before, by preference an answer, or one of the wrong kind.
    fn late(&self, dice: &mut Dice) -> Signal {
        let answered: Vec<_> = self.past.iter().filter_map(answers).collect();
        if answered.is_empty() || dice.chance(30) {
            return dice.pick(&self.past);
        }
        let effect = dice.pick(&answered);
        match dice.below(3) {
            0 => Signal::SendAnswered { effect, answer: Answer::Accepted },
            1 => Signal::ApprovalDecided { effect, decision: Decision::Approved },
            _ => Signal::CallDone { effect, result: CallResult::NoAnswer },
        }
    }

    fn move_in_the_ledger(&mut self, dice: &mut Dice) {
        let ids: Vec<EffectId> = self.requests.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        if let Some(request) = self.requests.get_mut(&dice.pick(&ids)) {
            request.stand = match (&request.effect, request.stand) {
                (
                    Effect::Send { .. }
                    | Effect::OfferHandover { .. }
                    | Effect::PassOn { .. }
                    | Effect::Forward { .. },
                    Stand::Planned,
                ) => Stand::InFlight,
                _ => Stand::Planned,
            };
        }
    }

    fn answer(&mut self, dice: &mut Dice) -> Option<Signal> {
        let ids: Vec<EffectId> = self.requests.keys().copied().collect();
        if ids.is_empty() {
            return None;
        }
        let id = dice.pick(&ids);
        Some(match &self.requests[&id].effect {
            Effect::Send { .. }
            | Effect::OfferHandover { .. }
            | Effect::PassOn { .. }
            | Effect::Forward { .. } => {
                Signal::SendAnswered { effect: id, answer: self.any_answer(dice) }
            }
            Effect::RequestApproval { .. } => {
                let decision =
                    dice.pick(&[Decision::Approved, Decision::Approved, Decision::Rejected]);
                Signal::ApprovalDecided { effect: id, decision }
            }
            Effect::OpenCallTask { .. } => {
                let results = [CallResult::Reached, CallResult::NoAnswer, CallResult::WrongNumber];
                Signal::CallDone { effect: id, result: dice.pick(&results) }
            }
        })
    }

    fn any_answer(&self, dice: &mut Dice) -> Answer {
        match dice.below(10) {
            0..=5 => Answer::Accepted,
            6 | 7 => Answer::Rejected {
                class: dice.pick(&[
                    Refusal::Retry,
                    Refusal::Retry,
                    Refusal::Retry,
                    Refusal::Recipient,
                    Refusal::Content,
                    Refusal::Account,
                    Refusal::Suppressed,
                ]),
                retry_after_s: dice.pick(&[None, Some(30), Some(90_000)]),
            },
            8 if dice.chance(20) => Answer::Lost,
            8 => Answer::Deferred {
                until: self.now + TimeDelta::hours(i64::try_from(dice.below(72)).unwrap()),
                reason: dice.pick(&[
                    Why::SenderDailyLimit,
                    Why::SenderPacing,
                    Why::CampaignDailyLimit,
                    Why::RecontactGuard,
                    Why::ColleagueWithPerson,
                    Why::SendWindow,
                    Why::QuietHours,
                    Why::ProviderOutage,
                    Why::AgentsAway,
                    Why::AgentsBusy,
                ]),
            },
            _ => Answer::Held {
                missing: dice.pick(&[
                    Missing::Variables { fields: vec!["first_name".to_owned()] },
                    Missing::Consent { channel: Channel::Email },
                    Missing::Sender { channel: Channel::Email },
                    Missing::Address { channel: Channel::Sms },
                    Missing::Agent,
                    Missing::SmtpUtf8,
                ]),
            },
        }
    }

    fn fact(&mut self, dice: &mut Dice) -> Signal {
        let step = dice.pick(&self.steps);
        let maybe = dice.pick(&[None, Some(step.clone())]);
        match dice.below(22) {
            0..=3 => Signal::Delivered { step },
            4..=7 => Signal::Clicked { step },
            8..=12 => Signal::Replied {
                to: dice.pick(&[ReplyTo::This, ReplyTo::Other]),
                step: maybe,
                said: dice
                    .chance(30)
                    .then(|| crate::campaigns::KEYWORD.parse().unwrap())
                    .into_iter()
                    .collect(),
            },
            13..=15 => {
                let day = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();
                let back_on = day + chrono::Days::new(u64::try_from(dice.below(40)).unwrap());
                Signal::AutoReplied { back_on: dice.pick(&[None, Some(back_on)]) }
            }
            16..=18 => Signal::Bounced { step: maybe, severity: Bounce::Soft },
            19 => Signal::Bounced { step: maybe, severity: Bounce::Hard },
            20 => Signal::Complained,
            _ => Signal::OptedOut,
        }
    }

    fn change_attributes(&mut self, dice: &mut Dice) {
        let name = dice.pick(&["a", "b", "c"]).parse().unwrap();
        match dice.below(4) {
            0 => drop(self.facts.attributes.remove(&name)),
            1 => drop(self.facts.attributes.insert(name, json!(CANARY))),
            2 => drop(self.facts.attributes.insert(name, json!(dice.below(6)))),
            _ => {
                self.facts.zone = Some(dice.pick(&ZONES));
                self.facts.consent.email = dice.pick(&[Consent::Granted, Consent::Unknown]);
                self.facts.consent.sms = dice.pick(&[Consent::Granted, Consent::Refused]);
            }
        }
    }

    fn verb(&mut self, dice: &mut Dice) -> Signal {
        if self.enrollment.outcome() == Some(Outcome::Failed) && dice.chance(60) {
            return Signal::Retried;
        }
        let scope = dice.pick(&[PauseScope::Lead, PauseScope::Campaign]);
        let rule = dice.pick(&[ResumeRule::Keep, ResumeRule::Shift, ResumeRule::Restart]);
        let step = match current(&self.enrollment.state) {
            Some(step) if dice.chance(80) => step.clone(),
            _ => dice.pick(&self.steps),
        };
        match dice.below(16) {
            0..=4 => Signal::Paused { scope },
            5..=9 => Signal::Resumed { scope, rule },
            10 | 11 => Signal::Skipped { step },
            12 | 13 => Signal::SendNow { step },
            14 => Signal::HandOver,
            _ => Signal::Stopped,
        }
    }

    fn of_a_person(&mut self, dice: &mut Dice) -> Signal {
        let result = dice.pick(&[HandoverResult::Won, HandoverResult::Lost]);
        match dice.below(10) {
            0 | 1 => Signal::GivenBack,
            2 => {
                Signal::HandoverAccepted { by: dice.pick(&[Responder::First, Responder::Fallback]) }
            }
            3 => Signal::HandoverAnswered,
            4 => Signal::HandoverClosed { result },
            5 => Signal::Freed,
            6 | 7 => Signal::PersonWrote {
                by: dice.pick(&[Responder::First, Responder::Fallback]),
                mail: Uuid::from_u128(u128::try_from(dice.below(6)).unwrap()).into(),
                files: dice.pick(&[0, 2]),
            },
            8 if dice.chance(40) => Signal::Retried,
            _ => Signal::HandOver,
        }
    }

    /// The world helps: every request is granted, every pause lifted, whatever is missing supplied.
    /// Returns the signal that brings the lead on, or `None` if it is over.
    pub(crate) fn help(&mut self) -> Option<Signal> {
        for name in ["sms", "call", "email"] {
            match name {
                "sms" => self.facts.consent.sms = Consent::Granted,
                "call" => self.facts.consent.call = Consent::Granted,
                _ => self.facts.consent.email = Consent::Granted,
            }
        }
        // No hour may be inside the window in all zones of a country.
        if self.facts.country.take().is_some() {
            self.facts.zone = Some(ZONES[1]);
        }
        if let Some(scope) = self.enrollment.data.pauses.first() {
            return Some(Signal::Resumed { scope: *scope, rule: ResumeRule::Shift });
        }
        match &self.enrollment.state {
            State::Waiting { wait, .. } => {
                self.now = self.now.max(wait.wake_at);
                Some(Signal::Woke)
            }
            State::Dispatching { effect, .. } => {
                Some(Signal::SendAnswered { effect: *effect, answer: Answer::Accepted })
            }
            State::AwaitingApproval { draft, .. } => {
                Some(Signal::ApprovalDecided { effect: *draft, decision: Decision::Approved })
            }
            State::AwaitingCall { task, .. } => {
                Some(Signal::CallDone { effect: *task, result: CallResult::Reached })
            }
            State::Held { .. } => Some(Signal::AttributeChanged),
            State::Paused { .. } => None,
            State::Offered { .. } | State::Accepted { .. } | State::Answered { .. } => {
                Some(Signal::GivenBack)
            }
            State::Ended { .. } => None,
        }
    }
}

/// The effect a signal answers.
pub(crate) fn answers(signal: &Signal) -> Option<EffectId> {
    match signal {
        Signal::SendAnswered { effect, .. }
        | Signal::ApprovalDecided { effect, .. }
        | Signal::CallDone { effect, .. } => Some(*effect),
        _ => None,
    }
}

/// The step a state is about.
pub(crate) fn current(state: &State) -> Option<&StepKey> {
    match state {
        State::Waiting { step, .. }
        | State::Dispatching { step, .. }
        | State::AwaitingApproval { step, .. }
        | State::AwaitingCall { step, .. }
        | State::Held { step, .. } => Some(step),
        State::Paused { resume, .. } => Some(resume.step()),
        State::Offered { .. }
        | State::Accepted { .. }
        | State::Answered { .. }
        | State::Ended { .. } => None,
    }
}
