//! What each state makes of each signal. A state's own handler goes first; what it leaves alone
//! falls through to `with_person` and `live`.

use chrono::{DateTime, Utc};
use statig::Outcome as Next;
use statig::Outcome::{Handled, Super, Transition};
use statig::blocking::state_machine;

use super::Turn;
use crate::effect::EffectId;
use crate::key::StepKey;
use crate::outcome::Outcome;
use crate::sequence::Wake;
use crate::signal::{Decision, Missing, ReplyTo, Signal};
use crate::state::{Data, Responder, Resume, State, Wait, Why};

#[state_machine(
    // Asked for by the trait; enrollments are made by `Enrollment::begin`.
    initial = "State::Ended { outcome: Outcome::Failed }",
    event_identifier = "signal",
    context_identifier = "turn",
    state(name = "State", custom),
    superstate(name = "Superstate", derive(Debug)),
    visibility = "pub"
)]
impl Data {
    #[state(superstate = "live")]
    fn waiting(
        &mut self,
        step: &mut StepKey,
        wait: &mut Wait,
        turn: &mut Turn<'_>,
        signal: &Signal,
    ) -> Next<State> {
        match signal {
            Signal::Enrolled if self.entered_at.is_none() => self.enter(turn),
            Signal::Woke if wait.wake_at <= turn.context.now && self.entered_at.is_none() => {
                self.enter(turn)
            }
            Signal::Woke if wait.wake_at <= turn.context.now => self.arrive(step, turn),
            Signal::SendNow { step: hurried } if hurried == step => self.hurry(step, turn),
            Signal::Skipped { step: skipped } if skipped == step => self.skip(step, turn),
            Signal::Paused { scope } => {
                self.pauses.insert(*scope);
                let resume = Resume::Wait { step: step.clone(), wait: wait.clone() };
                Transition(State::Paused { since: turn.context.now, resume })
            }
            Signal::Replied { to: ReplyTo::This, .. } => match self.awaited(step, turn) {
                Some(until) if until.reply => {
                    self.note_reply(signal, turn);
                    self.waited(step, Wake::Reply, turn)
                }
                _ => Super,
            },
            Signal::Clicked { step: clicked } => match self.awaited(step, turn) {
                Some(until) if until.clicks.contains(clicked) => {
                    self.clicked(clicked);
                    self.waited(step, Wake::Click, turn)
                }
                _ => Super,
            },
            Signal::AttributeChanged if self.goal_is_met(turn) => self.end(Outcome::Met, turn),
            Signal::AttributeChanged => match self.awaited(step, turn) {
                Some(until) if self.attribute_came(until, turn) => {
                    self.waited(step, Wake::Attribute, turn)
                }
                _ => self.reschedule(step, wait, turn),
            },
            Signal::AutoReplied { .. } => {
                self.note_absence(signal);
                self.reschedule(step, wait, turn)
            }
            Signal::Freed if wait.because == Why::ColleagueWithPerson => self.ask_again(step, turn),
            Signal::VersionMoved => match turn.context.version.next(&self.history) {
                Some(next) if next.key == *step => self.reschedule(step, wait, turn),
                _ => self.go_on(wait.since, turn),
            },
            _ => Super,
        }
    }

    #[state(superstate = "live")]
    fn dispatching(
        &mut self,
        step: &mut StepKey,
        effect: &mut EffectId,
        turn: &mut Turn<'_>,
        signal: &Signal,
    ) -> Next<State> {
        match signal {
            Signal::SendAnswered { effect: answered, answer } if answered == effect => {
                self.on_answer(step, *effect, answer, turn)
            }
            Signal::Paused { scope } => {
                self.pauses.insert(*scope);
                self.release(turn);
                let resume = Resume::Step { step: step.clone() };
                Transition(State::Paused { since: turn.context.now, resume })
            }
            Signal::AttributeChanged if self.goal_is_met(turn) => self.end(Outcome::Met, turn),
            // Past the gate it cannot be called back; the answer decides what comes next.
            Signal::Skipped { .. } | Signal::AutoReplied { .. } | Signal::VersionMoved
                if turn.context.facts.in_flight.contains(&effect.send) =>
            {
                self.note_absence(signal);
                Handled
            }
            Signal::Skipped { step: skipped } if skipped == step => self.skip(step, turn),
            Signal::AutoReplied { .. } | Signal::VersionMoved => {
                self.note_absence(signal);
                self.release(turn);
                self.ask_again(step, turn)
            }
            _ => Super,
        }
    }

    #[state(superstate = "live")]
    fn awaiting_approval(
        &mut self,
        step: &mut StepKey,
        draft: &mut EffectId,
        expires_at: &mut DateTime<Utc>,
        turn: &mut Turn<'_>,
        signal: &Signal,
    ) -> Next<State> {
        match signal {
            Signal::ApprovalDecided { effect, decision } if effect == draft => {
                self.close(*effect);
                match decision {
                    Decision::Approved => self.ask_to_send(step, turn),
                    Decision::Rejected => self.hold_for_approval(step, turn),
                }
            }
            Signal::Woke if *expires_at <= turn.context.now => {
                self.release(turn);
                self.hold_for_approval(step, turn)
            }
            _ => self.unless_with_a_person(step, turn, signal),
        }
    }

    #[state(superstate = "live")]
    fn awaiting_call(
        &mut self,
        step: &mut StepKey,
        task: &mut EffectId,
        turn: &mut Turn<'_>,
        signal: &Signal,
    ) -> Next<State> {
        match signal {
            Signal::CallDone { effect, result } if effect == task => {
                self.close(*effect);
                self.called(step, *result, turn)
            }
            _ => self.unless_with_a_person(step, turn, signal),
        }
    }

    #[state(superstate = "live")]
    fn held(
        &mut self,
        step: &mut StepKey,
        missing: &mut Missing,
        since: &mut DateTime<Utc>,
        turn: &mut Turn<'_>,
        signal: &Signal,
    ) -> Next<State> {
        match signal {
            Signal::AttributeChanged if self.goal_is_met(turn) => self.end(Outcome::Met, turn),
            Signal::AttributeChanged => self.ask_again(step, turn),
            Signal::SendNow { step: hurried } if hurried == step => self.hurry(step, turn),
            Signal::VersionMoved => self.ask_again(step, turn),
            Signal::Skipped { step: skipped } if skipped == step => self.skip(step, turn),
            Signal::Paused { scope } => {
                self.pauses.insert(*scope);
                let resume =
                    Resume::Held { step: step.clone(), missing: missing.clone(), since: *since };
                Transition(State::Paused { since: turn.context.now, resume })
            }
            _ => Super,
        }
    }

    #[state(superstate = "live")]
    fn paused(
        &mut self,
        since: &mut DateTime<Utc>,
        resume: &mut Resume,
        turn: &mut Turn<'_>,
        signal: &Signal,
    ) -> Next<State> {
        match signal {
            Signal::Resumed { scope, rule } => {
                if self.pauses.remove(scope) && self.pauses.is_empty() {
                    self.resume(resume, *since, *rule, turn)
                } else {
                    Handled
                }
            }
            // Enrolled into a campaign that was paused already.
            Signal::Enrolled if self.entered_at.is_none() => self.enter(turn),
            Signal::SendAnswered { effect, answer } => match self.step_of(*effect) {
                Some(step) => self.on_answer(&step, *effect, answer, turn),
                None => Super,
            },
            Signal::AttributeChanged if self.goal_is_met(turn) => self.end(Outcome::Met, turn),
            Signal::AttributeChanged => match resume {
                Resume::Held { step, .. } => {
                    let resume = Resume::Step { step: step.clone() };
                    Transition(State::Paused { since: *since, resume })
                }
                Resume::Wait { .. } | Resume::Step { .. } => Handled,
            },
            // Past the gate it cannot be called back.
            Signal::Skipped { .. } if self.is_in_flight(turn) => Handled,
            Signal::Skipped { step } if step == resume.step() => self.skip(step, turn),
            _ => Super,
        }
    }

    #[state(superstate = "with_person")]
    fn offered(
        &mut self,
        to: &mut Responder,
        answer_by: &mut DateTime<Utc>,
        remind_at: &mut Option<DateTime<Utc>>,
        turn: &mut Turn<'_>,
        signal: &Signal,
    ) -> Next<State> {
        match signal {
            Signal::Woke if remind_at.unwrap_or(*answer_by) <= turn.context.now => {
                self.escalate(*to, *answer_by, *remind_at, turn)
            }
            Signal::Freed if self.waits_for_an_agent(*to, turn) => {
                self.escalate(*to, *answer_by, *remind_at, turn)
            }
            Signal::HandoverAccepted { by } => self.accept(*by, turn),
            Signal::HandoverAnswered => Transition(State::Answered { by: *to }),
            Signal::SendAnswered { effect, answer } if self.is_open_offer(*effect) => {
                self.offer_answered(*to, *answer_by, *remind_at, *effect, answer, turn)
            }
            _ => Super,
        }
    }

    #[state(superstate = "with_person")]
    fn accepted(
        &mut self,
        by: &mut Responder,
        answer_by: &mut DateTime<Utc>,
        turn: &mut Turn<'_>,
        signal: &Signal,
    ) -> Next<State> {
        match signal {
            Signal::Woke if *answer_by <= turn.context.now => self.press(*by, turn),
            Signal::HandoverAnswered => Transition(State::Answered { by: *by }),
            _ => Super,
        }
    }

    #[state(superstate = "with_person")]
    fn answered(&mut self, by: &mut Responder, signal: &Signal) -> Next<State> {
        let _ = (by, signal);
        Super
    }

    /// A person has the lead: automation is off until it is given back.
    #[superstate(superstate = "live")]
    fn with_person(&mut self, turn: &mut Turn<'_>, signal: &Signal) -> Next<State> {
        match signal {
            Signal::Replied { .. } => {
                self.note_reply(signal, turn);
                self.note_goal(turn);
                Handled
            }
            Signal::AttributeChanged => {
                self.note_goal(turn);
                Handled
            }
            Signal::Delivered { step } => {
                self.delivered(step);
                self.note_goal(turn);
                Handled
            }
            Signal::Clicked { step } => {
                self.clicked(step);
                self.note_goal(turn);
                Handled
            }
            Signal::HandoverClosed { .. } => self.end(Outcome::Completed, turn),
            Signal::GivenBack => self.give_back(turn),
            Signal::HandOver => Handled,
            _ => Super,
        }
    }

    /// Common ground of every state in which the campaign is not over.
    #[superstate]
    fn live(&mut self, turn: &mut Turn<'_>, signal: &Signal) -> Next<State> {
        match signal {
            Signal::Replied { .. } => self.by_reply_rule(signal, turn),
            Signal::Bounced { severity, .. } => self.bounced(*severity, turn),
            Signal::Complained | Signal::OptedOut => self.end(Outcome::OptedOut, turn),
            Signal::Stopped => self.end(Outcome::Stopped, turn),
            Signal::HandOver if turn.context.version.handover.is_some() => self.offer(turn),
            Signal::Paused { scope } => {
                self.pauses.insert(*scope);
                Handled
            }
            Signal::Resumed { scope, .. } => {
                self.pauses.remove(scope);
                Handled
            }
            Signal::AutoReplied { .. } => {
                self.note_absence(signal);
                Handled
            }
            Signal::SendAnswered { effect, answer } => self.late_answer(*effect, answer, turn),
            Signal::Delivered { step } => {
                self.delivered(step);
                self.unless_met(turn)
            }
            Signal::Clicked { step } => {
                self.clicked(step);
                self.unless_met(turn)
            }
            // Early, late or repeated: already accounted for.
            Signal::Enrolled
            | Signal::Woke
            | Signal::AttributeChanged
            | Signal::Skipped { .. }
            | Signal::SendNow { .. }
            | Signal::Retried
            | Signal::HandOver
            | Signal::HandoverAccepted { .. }
            | Signal::HandoverAnswered
            | Signal::PersonWrote { .. }
            | Signal::HandoverClosed { .. }
            | Signal::GivenBack
            | Signal::ApprovalDecided { .. }
            | Signal::CallDone { .. }
            | Signal::VersionMoved
            | Signal::Freed => Handled,
        }
    }

    /// It is over, but facts still arrive and stronger outcomes still count.
    #[state]
    fn ended(
        &mut self,
        outcome: &mut Outcome,
        turn: &mut Turn<'_>,
        signal: &Signal,
    ) -> Next<State> {
        match signal {
            Signal::Replied { .. } if *outcome <= Outcome::Replied => {
                self.by_reply_rule(signal, turn)
            }
            Signal::HandOver
                if *outcome <= Outcome::Replied && turn.context.version.handover.is_some() =>
            {
                self.offer(turn)
            }
            // Nothing stronger happened since: it goes on where it was given up.
            Signal::Retried if *outcome == Outcome::Failed => self.retry(turn),
            Signal::Replied { .. } => {
                self.note_reply(signal, turn);
                Handled
            }
            Signal::Paused { scope } => {
                // A late answer may lead back from a person to automation.
                self.pauses.insert(*scope);
                Handled
            }
            Signal::Resumed { scope, .. } => {
                self.pauses.remove(scope);
                Handled
            }
            Signal::Bounced { severity, .. } => self.bounced(*severity, turn),
            Signal::Complained | Signal::OptedOut => self.end(Outcome::OptedOut, turn),
            Signal::Stopped => self.end(Outcome::Stopped, turn),
            Signal::AttributeChanged if self.goal_is_met(turn) => self.end(Outcome::Met, turn),
            Signal::SendAnswered { effect, answer } => self.late_answer(*effect, answer, turn),
            Signal::Delivered { step } => {
                self.delivered(step);
                self.unless_met(turn)
            }
            Signal::Clicked { step } => {
                self.clicked(step);
                self.unless_met(turn)
            }
            Signal::Enrolled
            | Signal::Woke
            | Signal::AttributeChanged
            | Signal::AutoReplied { .. }
            | Signal::Skipped { .. }
            | Signal::SendNow { .. }
            | Signal::Retried
            | Signal::HandOver
            | Signal::HandoverAccepted { .. }
            | Signal::HandoverAnswered
            | Signal::PersonWrote { .. }
            | Signal::HandoverClosed { .. }
            | Signal::GivenBack
            | Signal::ApprovalDecided { .. }
            | Signal::CallDone { .. }
            | Signal::VersionMoved
            | Signal::Freed => Handled,
        }
    }
}
