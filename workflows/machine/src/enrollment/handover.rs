//! A person takes over: offered, accepted, answered, closed, each with a deadline in the team's
//! working hours. The lead never falls between machine and person: what nobody takes is offered to
//! the fallback, and what the fallback misses stays there and is reminded.

use chrono::{DateTime, TimeDelta, Utc};
use statig::Outcome as Next;
use statig::Outcome::{Handled, Transition};

use super::Turn;
use crate::effect::{Effect, EffectId};
use crate::ids::{Subject, send_id};
use crate::outcome::Outcome;
use crate::sequence::HandoverRule;
use crate::signal::{Answer, Refusal};
use crate::state::{Data, Handovers, Open, Responder, State};

/// How soon an offer that could not be mailed is tried again, in minutes.
const OFFER_AGAIN_MINUTES: i64 = 15;

impl Data {
    /// Begins a handover.
    pub(super) fn offer(&mut self, turn: &mut Turn<'_>) -> Next<State> {
        self.release(turn);
        let Some(rule) = &turn.context.version.handover else {
            return self.end(Outcome::Completed, turn);
        };
        let answer_by = deadline(rule, turn);
        self.handovers = Handovers { visits: self.handovers.visits + 1, attempts: 0 };
        self.tell(Responder::First, answer_by, turn);
        Transition(State::Offered { to: Responder::First, answer_by, remind_at: None })
    }

    pub(super) fn accept(&mut self, by: Responder, turn: &mut Turn<'_>) -> Next<State> {
        let Some(rule) = &turn.context.version.handover else { return Handled };
        let answer_by = deadline(rule, turn);
        Transition(State::Accepted { by, answer_by })
    }

    /// Nobody answered the offer in time, or it could not be mailed.
    pub(super) fn escalate(
        &mut self,
        to: Responder,
        answer_by: DateTime<Utc>,
        turn: &mut Turn<'_>,
    ) -> Next<State> {
        let Some(rule) = &turn.context.version.handover else { return Handled };
        if turn.context.now < answer_by {
            // The mail failed and its second try is due; the deadline stands.
            self.tell(to, answer_by, turn);
            return Transition(State::Offered { to, answer_by, remind_at: None });
        }
        if to == Responder::First && rule.has_fallback {
            let answer_by = deadline(rule, turn);
            self.tell(Responder::Fallback, answer_by, turn);
            return Transition(State::Offered {
                to: Responder::Fallback,
                answer_by,
                remind_at: None,
            });
        }
        self.tell(to, answer_by, turn);
        let remind_at = Some(next_working_day(rule, turn));
        Transition(State::Offered { to, answer_by, remind_at })
    }

    /// Somebody took the lead and did not answer it in time.
    pub(super) fn press(&mut self, by: Responder, turn: &mut Turn<'_>) -> Next<State> {
        let Some(rule) = &turn.context.version.handover else { return Handled };
        if by == Responder::First && rule.has_fallback {
            let answer_by = deadline(rule, turn);
            self.tell(Responder::Fallback, answer_by, turn);
            return Transition(State::Offered {
                to: Responder::Fallback,
                answer_by,
                remind_at: None,
            });
        }
        let answer_by = next_working_day(rule, turn);
        self.tell(by, answer_by, turn);
        Transition(State::Accepted { by, answer_by })
    }

    /// Whether `effect` is the open mail of an offer.
    pub(super) fn is_open_offer(&self, effect: EffectId) -> bool {
        self.open.iter().any(|open| open.id == effect && open.step.is_none())
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
        let has_fallback =
            turn.context.version.handover.as_ref().is_some_and(|rule| rule.has_fallback);
        match answer {
            Answer::Accepted => Handled,
            Answer::Rejected { class: Refusal::Recipient | Refusal::Suppressed, .. }
                if to == Responder::First && has_fallback =>
            {
                self.escalate(to, turn.context.now, turn)
            }
            Answer::Rejected { .. } | Answer::Deferred { .. } | Answer::Held { .. } => {
                let again = turn.context.now + TimeDelta::minutes(OFFER_AGAIN_MINUTES);
                let again = match answer {
                    Answer::Deferred { until, .. } => *until,
                    _ => again,
                };
                let remind_at = Some(remind_at.map_or(again, |at| at.min(again)));
                Transition(State::Offered { to, answer_by, remind_at })
            }
        }
    }

    fn tell(&mut self, to: Responder, answer_by: DateTime<Utc>, turn: &mut Turn<'_>) {
        // An older mail about the same handover that has not left is not wanted any more.
        self.release(turn);
        self.handovers.attempts += 1;
        let context = &turn.context;
        let visit = self.handovers.visits;
        let send = send_id(context.workspace, context.enrollment, Subject::Handover, visit);
        let id = EffectId { send, attempt: self.handovers.attempts };
        if self.open.iter().any(|open| open.id.send == send) {
            // The older mail is past the gate: its answer comes first, then the reminder.
            return;
        }
        self.open.push(Open { id, step: None, variant: None });
        turn.applied.effects.push(Effect::OfferHandover { id, visit, to, answer_by });
    }
}

/// Returns the time by which a person must answer: counted from the team's next working hour.
fn deadline(rule: &HandoverRule, turn: &Turn<'_>) -> DateTime<Utc> {
    let zone = turn.context.version.zone;
    let from = opening(rule, turn.context.now, turn);
    rule.answer_within.after(from, zone)
}

/// Returns the beginning of the team's first working hours at least a day away.
fn next_working_day(rule: &HandoverRule, turn: &Turn<'_>) -> DateTime<Utc> {
    opening(rule, turn.context.now + TimeDelta::days(1), turn)
}

fn opening(rule: &HandoverRule, from: DateTime<Utc>, turn: &Turn<'_>) -> DateTime<Utc> {
    // Hours without any opening are refused when a version is made.
    rule.hours.next_opening(turn.context.version.zone, from).map_or(from, |opening| opening.at)
}
