//! A person takes over: offered, accepted, answered, closed, each with a deadline in the team's
//! working hours. The lead never falls between machine and person: what nobody takes is offered to
//! the fallback, and what the fallback misses stays there and is reminded. Where agents are asked in
//! turn, the gate knows whose turn it is: the machine asks it for another one as long as there is one,
//! then turns to the fallback. Without a fallback the lead is overdue, and whoever can take it is
//! reminded of it.

use chrono::{DateTime, TimeDelta, Utc};
use statig::Outcome as Next;
use statig::Outcome::{Handled, Transition};

use super::Turn;
use crate::effect::{Effect, EffectId};
use crate::ids::{Subject, send_id};
use crate::key::TriggerKey;
use crate::outcome::Outcome;
use crate::sequence::{FirstAsked, HandoverRule};
use crate::signal::{Answer, Missing, Refusal, Signal};
use crate::state::{Data, Handovers, Open, Responder, State, Why};

/// How soon an offer that could not be mailed is tried again, in minutes.
const OFFER_AGAIN_MINUTES: i64 = 15;

/// How often an offer that could not be mailed is tried at that pace; then once a working day.
const OFFER_TRIES: u32 = 4;

/// How long a person has where the version that asked for the handover is gone, in hours.
const ANSWER_HOURS: i64 = 4;

/// Triggers that hold now and have not handed the lead over before.
pub(super) struct Triggered {
    pub(super) keys: Vec<TriggerKey>,
    /// Whether they do so now.
    pub(super) hands_over: bool,
}

impl Data {
    /// Begins a handover.
    pub(super) fn offer(&mut self, turn: &mut Turn<'_>) -> Next<State> {
        self.release(turn);
        if turn.context.version.handover.is_none() {
            return self.end(Outcome::Completed, turn);
        }
        self.handovers.visits += 1;
        self.offer_to(Responder::First, turn)
    }

    /// Notes every trigger that holds and has not handed the lead over before, and tells whether one does
    /// so now. A person who has the lead, or gives it back, knows what they hold for; a pause puts
    /// them off.
    pub(super) fn trigger(&mut self, state: &State, signal: &Signal, turn: &Turn<'_>) -> Triggered {
        let none = Triggered { keys: Vec::new(), hands_over: false };
        let Some(rule) = &turn.context.version.handover else { return none };
        let hands_over = match state {
            State::Waiting { .. }
            | State::Dispatching { .. }
            | State::AwaitingApproval { .. }
            | State::AwaitingCall { .. }
            | State::Held { .. } => *signal != Signal::GivenBack,
            State::Ended { outcome } if *outcome <= Outcome::Replied => true,
            State::Offered { .. } | State::Accepted { .. } | State::Answered { .. } => false,
            State::Paused { .. } | State::Ended { .. } => return none,
        };
        let evidence = self.evidence(turn);
        let known = &self.handovers.triggered;
        let new = rule.triggers.iter().filter(|trigger| !known.contains(&trigger.key));
        let new = new.filter(|trigger| trigger.when.holds(evidence));
        let keys: Vec<TriggerKey> = new.map(|trigger| trigger.key.clone()).collect();
        self.handovers.triggered.extend(keys.iter().cloned());
        let hands_over = hands_over && !keys.is_empty();
        Triggered { keys, hands_over }
    }

    /// Offers the lead to somebody who was not asked yet.
    fn offer_to(&mut self, to: Responder, turn: &mut Turn<'_>) -> Next<State> {
        let answer_by = deadline(turn);
        self.handovers.attempts = 0;
        self.tell(to, answer_by, turn);
        Transition(State::Offered { to, answer_by, remind_at: None })
    }

    pub(super) fn accept(&mut self, by: Responder, turn: &mut Turn<'_>) -> Next<State> {
        // Nobody else needs to be asked.
        self.release(turn);
        Transition(State::Accepted { by, answer_by: deadline(turn) })
    }

    /// Nobody answered the offer in time, or it could not be mailed.
    pub(super) fn escalate(
        &mut self,
        to: Responder,
        answer_by: DateTime<Utc>,
        remind_at: Option<DateTime<Utc>>,
        turn: &mut Turn<'_>,
    ) -> Next<State> {
        if turn.context.now < answer_by {
            // The mail failed and its second try is due; the deadline stands.
            self.tell(to, answer_by, turn);
            return Transition(State::Offered { to, answer_by, remind_at: None });
        }
        if to == Responder::First && in_turn(turn) && remind_at.is_none() {
            // It went to an agent, who missed the deadline.
            return self.offer_to(Responder::First, turn);
        }
        if to == Responder::First && has_fallback(turn) {
            return self.offer_to(Responder::Fallback, turn);
        }
        self.tell(to, answer_by, turn);
        let remind_at = Some(next_working_day(turn));
        Transition(State::Offered { to, answer_by, remind_at })
    }

    /// Somebody took the lead and did not answer it in time.
    pub(super) fn press(&mut self, by: Responder, turn: &mut Turn<'_>) -> Next<State> {
        if by == Responder::First && in_turn(turn) {
            return self.offer_to(Responder::First, turn);
        }
        if by == Responder::First && has_fallback(turn) {
            return self.offer_to(Responder::Fallback, turn);
        }
        let answer_by = next_working_day(turn);
        self.tell(by, answer_by, turn);
        Transition(State::Accepted { by, answer_by })
    }

    /// Whether the offer lies there because no agent could be asked: its mail was put off or held, and
    /// none is under way.
    pub(super) fn waits_for_an_agent(&self, to: Responder, turn: &Turn<'_>) -> bool {
        let under_way = self.open.iter().any(Open::is_offer);
        to == Responder::First && in_turn(turn) && !under_way && self.handovers.attempts > 0
    }

    /// Whether `effect` is the open mail of an offer.
    pub(super) fn is_open_offer(&self, effect: EffectId) -> bool {
        self.open.iter().any(|open| open.id == effect && open.is_offer())
    }

    pub(super) fn offer_answered(
        &mut self,
        to: Responder,
        answer_by: DateTime<Utc>,
        remind_at: Option<DateTime<Utc>>,
        effect: EffectId,
        answer: &Answer,
        turn: &mut Turn<'_>,
    ) -> Next<State> {
        self.close(effect);
        if !self.is_newest_mail(effect, turn) {
            return Handled;
        }
        self.offer_left(answer);
        if *answer == Answer::Lost {
            self.tell(to, answer_by, turn);
            return Transition(State::Offered { to, answer_by, remind_at });
        }
        if to == Responder::First && in_turn(turn) {
            return self.agent_answered(answer_by, remind_at, answer, turn);
        }
        match answer {
            Answer::Accepted => Handled,
            Answer::Rejected { class: Refusal::Recipient | Refusal::Suppressed, .. }
                if to == Responder::First && has_fallback(turn) =>
            {
                self.offer_to(Responder::Fallback, turn)
            }
            Answer::Rejected { .. }
            | Answer::Lost
            | Answer::Deferred { .. }
            | Answer::Held { .. } => self.try_again(to, answer_by, remind_at, answer, turn),
        }
    }

    /// What becomes of an offer to the agent whose turn it is, once the gate or the agent's mail
    /// server answered.
    fn agent_answered(
        &mut self,
        answer_by: DateTime<Utc>,
        remind_at: Option<DateTime<Utc>>,
        answer: &Answer,
        turn: &mut Turn<'_>,
    ) -> Next<State> {
        let to = Responder::First;
        let overdue = answer_by <= turn.context.now;
        match answer {
            Answer::Accepted if overdue => Handled,
            // The agent's time begins when the offer leaves, however long it waited for one.
            Answer::Accepted => {
                Transition(State::Offered { to, answer_by: deadline(turn), remind_at: None })
            }
            // This agent cannot be told: another one is.
            Answer::Rejected { class: Refusal::Recipient | Refusal::Suppressed, .. }
                if !overdue =>
            {
                self.offer_to(to, turn)
            }
            Answer::Rejected { class: Refusal::Recipient | Refusal::Suppressed, .. } => {
                self.handovers.attempts = 0;
                Transition(State::Offered {
                    to,
                    answer_by,
                    remind_at: Some(next_working_day(turn)),
                })
            }
            Answer::Held { missing: Missing::Agent } if has_fallback(turn) => {
                self.offer_to(Responder::Fallback, turn)
            }
            Answer::Held { missing: Missing::Agent } => {
                self.try_again(to, answer_by.min(turn.context.now), remind_at, answer, turn)
            }
            // Nobody can take it before it would be late.
            Answer::Deferred { until, .. } if *until >= answer_by && has_fallback(turn) => {
                self.offer_to(Responder::Fallback, turn)
            }
            // It waits for the first who can, whose time begins then.
            Answer::Deferred { until, reason: Why::AgentsAway } if !overdue => {
                let answer_by = answer_by.max(answer_by_from(*until, turn));
                Transition(State::Offered { to, answer_by, remind_at: Some(*until) })
            }
            Answer::Rejected { .. }
            | Answer::Lost
            | Answer::Deferred { .. }
            | Answer::Held { .. } => self.try_again(to, answer_by, remind_at, answer, turn),
        }
    }

    /// The mail of an offer did not leave: it is tried again.
    fn try_again(
        &mut self,
        to: Responder,
        answer_by: DateTime<Utc>,
        remind_at: Option<DateTime<Utc>>,
        answer: &Answer,
        turn: &Turn<'_>,
    ) -> Next<State> {
        let now = turn.context.now;
        let again = match answer {
            Answer::Deferred { until, .. } => *until,
            _ if self.handovers.attempts < OFFER_TRIES => {
                now + TimeDelta::minutes(OFFER_AGAIN_MINUTES)
            }
            _ => next_working_day(turn),
        };
        // A second try does not put off the deadline.
        let again = if now < answer_by { again.min(answer_by) } else { again };
        let remind_at = Some(remind_at.map_or(again, |at| at.min(again)));
        Transition(State::Offered { to, answer_by, remind_at })
    }

    /// Whether `effect` is the last mail that was asked for; what became of older ones is history.
    pub(super) fn is_newest_mail(&self, effect: EffectId, turn: &Turn<'_>) -> bool {
        effect == self.newest_mail(turn)
    }

    fn newest_mail(&self, turn: &Turn<'_>) -> EffectId {
        let Handovers { mails, attempts, .. } = &self.handovers;
        let context = &turn.context;
        let send = send_id(context.workspace, context.enrollment, Subject::Handover, *mails);
        EffectId { send, attempt: *attempts }
    }

    /// A mail that left is a fact of its own: the next one is another message.
    pub(super) fn offer_left(&mut self, answer: &Answer) {
        if *answer == Answer::Accepted {
            self.handovers.attempts = 0;
        }
    }

    fn tell(&mut self, to: Responder, answer_by: DateTime<Utc>, turn: &mut Turn<'_>) {
        // An older mail about the same handover that has not left is not wanted any more.
        self.release(turn);
        let under_way = self.open.iter().any(Open::is_offer);
        if under_way || self.handovers.attempts == 0 {
            // One that left, or may have, is never sent again under its own name.
            self.handovers.mails += 1;
            self.handovers.attempts = 0;
        }
        self.handovers.attempts += 1;
        let id = self.newest_mail(turn);
        self.open.push(Open { id, step: None, letter: None, variant: None });
        let Handovers { visits: handover, mails: visit, .. } = &self.handovers;
        let (handover, visit) = (*handover, *visit);
        let triggers = Vec::new();
        let offer = Effect::OfferHandover { id, handover, visit, to, answer_by, triggers };
        turn.applied.effects.push(offer);
    }
}

fn has_fallback(turn: &Turn<'_>) -> bool {
    turn.context.version.handover.as_ref().is_some_and(|rule| rule.has_fallback)
}

/// Whether the agents are asked one after another.
fn in_turn(turn: &Turn<'_>) -> bool {
    let rule: Option<&HandoverRule> = turn.context.version.handover.as_ref();
    rule.is_some_and(|rule| match rule.first {
        FirstAsked::AgentsInTurn => true,
        FirstAsked::Address => false,
    })
}

/// Returns the time by which a person who is asked now must answer.
fn deadline(turn: &Turn<'_>) -> DateTime<Utc> {
    answer_by_from(turn.context.now, turn)
}

fn answer_by_from(from: DateTime<Utc>, turn: &Turn<'_>) -> DateTime<Utc> {
    match &turn.context.version.handover {
        Some(rule) => rule.answer_by(turn.context.version.zone, from),
        None => from + TimeDelta::hours(ANSWER_HOURS),
    }
}

/// Returns the beginning of the team's first working hours at least a day away.
fn next_working_day(turn: &Turn<'_>) -> DateTime<Utc> {
    opening(turn.context.now + TimeDelta::days(1), turn)
}

fn opening(from: DateTime<Utc>, turn: &Turn<'_>) -> DateTime<Utc> {
    let rule = turn.context.version.handover.as_ref();
    rule.map_or(from, |rule| rule.opening(turn.context.version.zone, from))
}
