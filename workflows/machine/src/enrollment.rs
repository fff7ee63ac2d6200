//! The machine: one lead's run through one campaign. `statig` dispatches; the struct is ours, so
//! that what is stored is data and state and nothing else. No entry or exit actions: they would
//! run again whenever a saved machine is loaded.

mod handover;
mod letters;
mod send;
mod states;
mod steps;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use statig::Outcome::Transition;
use statig::blocking::StateExt as _;

use crate::context::Context;
use crate::effect::{Effect, EffectId};
use crate::ids::MailId;
use crate::key::TriggerKey;
use crate::outcome::Outcome;
use crate::sequence::Step;
use crate::signal::{ReplyTo, Signal};
use crate::state::{Counted, Data, Responder, State, Wait, Why};

/// The rules this build applies. It rises when code changes what a journal would replay to.
pub const RULES: u32 = 4;

/// One lead's run through one campaign, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    /// The rules that were applied last.
    pub rules: u32,
    /// What it carries through every state.
    pub data: Data,
    /// Where it is.
    pub state: State,
}

/// What one signal led to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// New requests of the world.
    pub effects: Vec<Effect>,
    /// Open requests that are not wanted any more; none of them is past the gate.
    pub withdrawn: Vec<EffectId>,
    /// What the lead is counted for: the signal reports it for the first time.
    pub counted: Option<Counted>,
}

/// One application of the machine: what it may read, and what it asks for.
pub struct Turn<'a> {
    context: Context<'a>,
    applied: Applied,
}

impl Turn<'_> {
    /// Names what holds in the offer that hands the lead over.
    fn name_triggers(&mut self, keys: &[TriggerKey]) {
        for effect in &mut self.applied.effects {
            if let Effect::OfferHandover { triggers, .. } = effect {
                *triggers = keys.to_vec();
            }
        }
    }
}

impl Enrollment {
    /// Returns an enrollment that has not heard a signal yet.
    pub fn begin(first: &Step, now: DateTime<Utc>) -> Self {
        let wait = Wait {
            since: now,
            not_before: now,
            because: Why::Delay,
            wake_at: now,
            why: Why::Delay,
        };
        Self {
            rules: RULES,
            data: Data::default(),
            state: State::Waiting { step: first.key.clone(), wait },
        }
    }

    /// Applies one signal. Every state answers every signal; a repeated one changes nothing.
    pub fn apply(&mut self, signal: &Signal, context: Context<'_>) -> Applied {
        self.rules = RULES;
        let counted = self.data.count(signal);
        let mut turn = Turn { context, applied: Applied { counted, ..Applied::default() } };
        let was_with_person = matches!(
            self.state,
            State::Offered { .. } | State::Accepted { .. } | State::Answered { .. }
        );
        match signal {
            Signal::PersonWrote { by, mail, .. } => self.person_wrote(*by, *mail, &mut turn),
            Signal::SendAnswered { effect, answer } if self.data.is_letter(*effect) => {
                if self.data.letter_answered(*effect, answer, &self.state, &mut turn) {
                    self.handle(&Signal::HandoverAnswered, &mut turn);
                }
            }
            Signal::Woke => {
                self.handle(signal, &mut turn);
                self.data.ask_for_letters_again(&self.state, &mut turn);
            }
            Signal::Replied { to: ReplyTo::This, .. } => {
                let with = letters::has_the_lead(&self.state);
                self.handle(signal, &mut turn);
                if let Some(to) = with {
                    self.data.forward(to, &mut turn);
                }
            }
            _ => self.handle(signal, &mut turn),
        }
        // What a fact brought about may be what a person has to look at.
        let triggered = self.data.trigger(&self.state, signal, &turn);
        if triggered.hands_over {
            self.handle(&Signal::HandOver, &mut turn);
        }
        if !was_with_person {
            turn.name_triggers(&triggered.keys);
        }
        self.data.release_unwanted(&self.state, &mut turn);
        self.data.forget_letters(&self.state);
        turn.applied
    }

    fn handle(&mut self, signal: &Signal, turn: &mut Turn<'_>) {
        if let Transition(state) = self.state.handle(&mut self.data, signal, turn) {
            self.state = state;
        }
    }

    /// A person of ours wrote to the lead. Whoever answers what was offered has taken it; that it is
    /// answered is said when the letter has left.
    fn person_wrote(&mut self, by: Responder, mail: MailId, turn: &mut Turn<'_>) {
        let known = &self.data.answers;
        if known.contains_key(&mail) || known.len() >= letters::ANSWERS_MAX {
            return;
        }
        if let State::Offered { .. } = self.state {
            self.handle(&Signal::HandoverAccepted { by }, turn);
        }
        self.data.note_answer(mail);
        if letters::has_the_lead(&self.state) == Some(by) {
            self.data.pass_on(mail, turn);
        }
    }

    /// Returns when the machine wants to be woken, in campaign time. An open request to send keeps
    /// a time of its own, set by whoever performs it.
    pub fn wake_at(&self) -> Option<DateTime<Utc>> {
        let letters = self.data.letters_again_at();
        self.state_wakes_at().into_iter().chain(letters).min()
    }

    fn state_wakes_at(&self) -> Option<DateTime<Utc>> {
        match &self.state {
            State::Waiting { wait, .. } => Some(wait.wake_at),
            State::AwaitingApproval { expires_at, .. } => Some(*expires_at),
            State::Offered { answer_by, remind_at, .. } => Some(remind_at.unwrap_or(*answer_by)),
            State::Accepted { answer_by, .. } => Some(*answer_by),
            State::Dispatching { .. }
            | State::AwaitingCall { .. }
            | State::Held { .. }
            | State::Paused { .. }
            | State::Answered { .. }
            | State::Ended { .. } => None,
        }
    }

    /// Returns the outcome, once there is one.
    pub fn outcome(&self) -> Option<Outcome> {
        if let State::Ended { outcome } = self.state { Some(outcome) } else { None }
    }
}
