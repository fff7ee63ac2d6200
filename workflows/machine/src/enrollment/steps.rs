//! From step to step: entering, waiting, deciding, pausing, ending.

use chrono::{DateTime, TimeDelta, Utc};
use statig::Outcome as Next;
use statig::Outcome::{Handled, Super, Transition};

use super::Turn;
use crate::condition::{Condition, Evidence};
use crate::context::Context;
use crate::key::StepKey;
use crate::outcome::Outcome;
use crate::schedule::{self, Earliest};
use crate::sequence::{ReplyRule, ReplyScope, Step, StepKind, WaitUntil, Wake};
use crate::signal::{Bounce, ReplyTo, ResumeRule, Signal};
use crate::state::{Counted, Data, Done, Lane, Resume, State, Wait, Why};

/// Soft bounces on this many different days make a hard one.
const SOFT_BOUNCE_DAYS: usize = 3;

impl Data {
    pub(super) fn enter(&mut self, turn: &mut Turn<'_>) -> Next<State> {
        self.entered_at = Some(turn.context.now);
        self.go_on(turn.context.now, turn)
    }

    /// Turns to the next step that is not done; its delay begins at `since`.
    pub(super) fn go_on(&mut self, since: DateTime<Utc>, turn: &mut Turn<'_>) -> Next<State> {
        if self.goal_is_met(turn) {
            return self.end(Outcome::Met, turn);
        }
        let version = turn.context.version;
        let zone = turn.context.zone();
        while let Some(step) = version.next(&self.history) {
            let earliest = match &step.kind {
                StepKind::WaitUntil(until) if self.attribute_came(until, turn) => {
                    self.done(&step.key, Done::Waited { by: Wake::Attribute });
                    continue;
                }
                StepKind::WaitUntil(until) if self.click_came(until) => {
                    self.done(&step.key, Done::Waited { by: Wake::Click });
                    continue;
                }
                StepKind::WaitUntil(until) => {
                    Earliest { at: until.limit.after(since, zone), because: Why::UntilEvent }
                }
                StepKind::Condition { when, .. } if step.delay.is_none() => {
                    let lane = self.decide(when, turn);
                    self.done(&step.key, Done::Lane { lane });
                    continue;
                }
                StepKind::Finish if step.delay.is_none() => {
                    return self.end(Outcome::Completed, turn);
                }
                StepKind::Message { .. }
                | StepKind::Call
                | StepKind::Condition { .. }
                | StepKind::Handover
                | StepKind::Finish => {
                    Earliest { at: step.delay.after(since, zone), because: Why::Delay }
                }
            };
            return self.wait_for(step, earliest, turn);
        }
        self.end(Outcome::Completed, turn)
    }

    /// Waits until `step` may happen; while a pause is in force the wait is the pause's.
    pub(super) fn wait_for(
        &mut self,
        step: &Step,
        earliest: Earliest,
        turn: &Turn<'_>,
    ) -> Next<State> {
        let wait = schedule::wait(step, earliest, self, &turn.context);
        let step = step.key.clone();
        if self.pauses.is_empty() {
            Transition(State::Waiting { step, wait })
        } else {
            let resume = Resume::Wait { step, wait };
            Transition(State::Paused { since: turn.context.now, resume })
        }
    }

    /// The time of `key` has come.
    pub(super) fn arrive(&mut self, key: &StepKey, turn: &mut Turn<'_>) -> Next<State> {
        if self.goal_is_met(turn) {
            return self.end(Outcome::Met, turn);
        }
        let version = turn.context.version;
        let Some(step) = version.step(key).filter(|_| !self.history.done.contains_key(key)) else {
            return self.go_on(turn.context.now, turn);
        };
        match &step.kind {
            StepKind::Message { .. } | StepKind::Call => self.touch(step, turn),
            StepKind::WaitUntil(_) => self.waited(key, Wake::Time, turn),
            StepKind::Condition { when, .. } => {
                let lane = self.decide(when, turn);
                self.done(key, Done::Lane { lane });
                self.go_on(turn.context.now, turn)
            }
            StepKind::Handover => {
                self.done(key, Done::HandedOver);
                self.offer(turn)
            }
            StepKind::Finish => self.end(Outcome::Completed, turn),
        }
    }

    /// Takes `key` up again as soon as windows and absences allow.
    pub(super) fn ask_again(&mut self, key: &StepKey, turn: &mut Turn<'_>) -> Next<State> {
        let earliest = Earliest { at: turn.context.now, because: Why::Delay };
        self.wait_unless_moved(key, earliest, turn)
    }

    /// Waits for `key`, or for the step that a move to another version put in its place.
    pub(super) fn wait_unless_moved(
        &mut self,
        key: &StepKey,
        earliest: Earliest,
        turn: &mut Turn<'_>,
    ) -> Next<State> {
        match turn.context.version.next(&self.history) {
            Some(step) if step.key == *key => self.wait_for(step, earliest, turn),
            _ => self.go_on(turn.context.now, turn),
        }
    }

    /// A person does not want to wait: the delay and the absence are waived, the window is not.
    pub(super) fn hurry(&mut self, key: &StepKey, turn: &mut Turn<'_>) -> Next<State> {
        self.away_until = None;
        if self.awaited(key, turn).is_some() {
            return self.waited(key, Wake::Time, turn);
        }
        self.ask_again(key, turn)
    }

    /// Takes up again what was given up: the step that was refused too often has all its tries again,
    /// and its next request is another attempt of the same message. What facts have claimed stays
    /// claimed: the weakest outcome is in nobody's way.
    pub(super) fn retry(&mut self, turn: &mut Turn<'_>) -> Next<State> {
        let next = turn.context.version.next(&self.history).map(|step| step.key.clone());
        let refused = next.filter(|key| self.asked.contains_key(key));
        let Some(key) = refused else { return self.go_on(turn.context.now, turn) };
        if let Some(asked) = self.asked.get_mut(&key) {
            asked.refusals = 0;
        }
        self.ask_again(&key, turn)
    }

    pub(super) fn skip(&mut self, key: &StepKey, turn: &mut Turn<'_>) -> Next<State> {
        self.release(turn);
        self.done(key, Done::Skipped);
        self.go_on(turn.context.now, turn)
    }

    /// Evaluates the wait again under changed facts; it keeps its beginning and its cause.
    pub(super) fn reschedule(
        &mut self,
        key: &StepKey,
        wait: &Wait,
        turn: &Turn<'_>,
    ) -> Next<State> {
        let Some(step) = turn.context.version.step(key) else { return Handled };
        let earliest = Earliest { at: wait.not_before, because: wait.because };
        let again = schedule::wait(step, earliest, self, &turn.context);
        let again = Wait { since: wait.since, ..again };
        if again == *wait {
            return Handled;
        }
        Transition(State::Waiting { step: key.clone(), wait: again })
    }

    pub(super) fn resume(
        &mut self,
        resume: &Resume,
        paused_at: DateTime<Utc>,
        rule: ResumeRule,
        turn: &mut Turn<'_>,
    ) -> Next<State> {
        match resume {
            Resume::Held { step, missing, since } => Transition(State::Held {
                step: step.clone(),
                missing: missing.clone(),
                since: *since,
            }),
            Resume::Step { step } => self.back_to(step, turn),
            Resume::Wait { step: key, wait } => match turn.context.version.next(&self.history) {
                Some(step) if step.key == *key => {
                    let at = resumed_at(step, wait, paused_at, rule, &turn.context);
                    self.wait_for(step, Earliest { at, because: wait.because }, turn)
                }
                // The version was moved meanwhile.
                _ => self.go_on(turn.context.now, turn),
            },
        }
    }

    pub(super) fn give_back(&mut self, turn: &mut Turn<'_>) -> Next<State> {
        match self.open.iter().find_map(|open| open.step.clone()) {
            Some(step) if self.pauses.is_empty() => self.back_to(&step, turn),
            Some(step) => {
                let resume = Resume::Step { step };
                Transition(State::Paused { since: turn.context.now, resume })
            }
            None => self.go_on(turn.context.now, turn),
        }
    }

    /// Returns to a step: to its open request if there is one, else asks anew.
    pub(super) fn back_to(&mut self, key: &StepKey, turn: &mut Turn<'_>) -> Next<State> {
        match self.open.iter().find(|open| open.step.as_ref() == Some(key)) {
            Some(open) => Transition(State::Dispatching { step: key.clone(), effect: open.id }),
            None => self.ask_again(key, turn),
        }
    }

    /// States in which a person was asked for a step: what interrupts them withdraws the request.
    pub(super) fn unless_with_a_person(
        &mut self,
        step: &StepKey,
        turn: &mut Turn<'_>,
        signal: &Signal,
    ) -> Next<State> {
        match signal {
            Signal::Paused { scope } => {
                self.pauses.insert(*scope);
                self.release(turn);
                let resume = Resume::Step { step: step.clone() };
                Transition(State::Paused { since: turn.context.now, resume })
            }
            Signal::AttributeChanged if self.goal_is_met(turn) => self.end(Outcome::Met, turn),
            Signal::Skipped { step: skipped } if skipped == step => self.skip(step, turn),
            Signal::VersionMoved => {
                self.release(turn);
                self.ask_again(step, turn)
            }
            _ => Super,
        }
    }

    pub(super) fn by_reply_rule(&mut self, signal: &Signal, turn: &mut Turn<'_>) -> Next<State> {
        let Signal::Replied { to, .. } = signal else { return Handled };
        let version = turn.context.version;
        self.note_reply(signal, turn);
        match (to, version.reply_scope, version.on_reply) {
            (ReplyTo::Other, ReplyScope::Campaign, _) => Handled,
            // The campaign that was answered tells a person; once is enough.
            (ReplyTo::Other, ReplyScope::Person | ReplyScope::Company, _) => {
                self.end(Outcome::Replied, turn)
            }
            (ReplyTo::This, _, ReplyRule::Stop) => self.end(Outcome::Replied, turn),
            (ReplyTo::This, _, ReplyRule::HandOver) => self.offer(turn),
        }
    }

    pub(super) fn bounced(&mut self, severity: Bounce, turn: &mut Turn<'_>) -> Next<State> {
        match severity {
            Bounce::Hard => self.end(Outcome::Bounced, turn),
            Bounce::Soft => {
                let day = turn.context.now.with_timezone(&turn.context.zone()).date_naive();
                self.soft_bounces.insert(day);
                if self.soft_bounces.len() >= SOFT_BOUNCE_DAYS {
                    return self.end(Outcome::Bounced, turn);
                }
                Handled
            }
        }
    }

    /// Ends the enrollment with `outcome`, or with a stronger one that was claimed before.
    pub(super) fn end(&mut self, outcome: Outcome, turn: &mut Turn<'_>) -> Next<State> {
        self.release(turn);
        let reached = self.reached.map_or(outcome, |reached| reached.max(outcome));
        self.reached = Some(reached);
        Transition(State::Ended { outcome: reached })
    }

    pub(super) fn done(&mut self, key: &StepKey, done: Done) {
        self.history.done.insert(key.clone(), done);
        self.asked.remove(key);
    }

    pub(super) fn waited(&mut self, key: &StepKey, by: Wake, turn: &mut Turn<'_>) -> Next<State> {
        self.done(key, Done::Waited { by });
        self.go_on(turn.context.now, turn)
    }

    pub(super) fn decide(&self, when: &Condition, turn: &Turn<'_>) -> Lane {
        if when.holds(self.evidence(turn)) { Lane::Then } else { Lane::Else }
    }

    pub(super) fn goal_is_met(&self, turn: &Turn<'_>) -> bool {
        let goal = turn.context.version.goal.as_ref();
        goal.is_some_and(|goal| goal.holds(self.evidence(turn)))
    }

    pub(super) fn attribute_came(&self, until: &WaitUntil, turn: &Turn<'_>) -> bool {
        let attribute = until.attribute.as_ref();
        attribute.is_some_and(|attribute| attribute.holds(self.evidence(turn)))
    }

    pub(super) fn evidence<'a>(&'a self, turn: &Turn<'a>) -> Evidence<'a> {
        let (attributes, history) = (&turn.context.facts.attributes, &self.history);
        Evidence { attributes, history, score: turn.context.version.score(attributes, history) }
    }

    pub(super) fn awaited<'a>(&self, key: &StepKey, turn: &Turn<'a>) -> Option<&'a WaitUntil> {
        match &turn.context.version.step(key)?.kind {
            StepKind::WaitUntil(until) => Some(until),
            StepKind::Message { .. }
            | StepKind::Call
            | StepKind::Condition { .. }
            | StepKind::Handover
            | StepKind::Finish => None,
        }
    }

    /// Whether a message that the wait is about was clicked before the wait began: the fact and the
    /// answer to the send may arrive in either order.
    fn click_came(&self, until: &WaitUntil) -> bool {
        until.clicks.iter().any(|step| self.history.clicked.contains(step))
    }

    /// Notes an answer that counts here: one to another campaign is none of this one's steps.
    pub(super) fn note_reply(&mut self, signal: &Signal, turn: &Turn<'_>) {
        let Signal::Replied { to, step, said } = signal else { return };
        match (to, turn.context.version.reply_scope) {
            (ReplyTo::This, ReplyScope::Person | ReplyScope::Campaign | ReplyScope::Company) => {
                self.history.replied.extend(step.clone());
                self.history.said.extend(said.iter().cloned());
            }
            (ReplyTo::Other, ReplyScope::Person | ReplyScope::Company) => {}
            (ReplyTo::Other, ReplyScope::Campaign) => return,
        }
        self.reached = self.reached.max(Some(Outcome::Replied));
    }

    /// Notes what the lead is counted for by a signal that has not been applied: nothing, if it was
    /// counted for it before.
    pub(super) fn count(&mut self, signal: &Signal) -> Option<Counted> {
        let history = &self.history;
        match signal {
            Signal::Delivered { step } => {
                (!history.delivered.contains(step)).then_some(Counted::Delivered)
            }
            Signal::Clicked { step } => {
                (!history.clicked.contains(step)).then_some(Counted::Clicked)
            }
            Signal::Replied { to: ReplyTo::This, .. } => self.count_lead(Counted::Replied),
            Signal::Bounced { severity: Bounce::Hard, .. } => self.count_lead(Counted::Bounced),
            Signal::Bounced { severity: Bounce::Soft, .. } => self.count_lead(Counted::SoftBounced),
            Signal::OptedOut => self.count_lead(Counted::OptedOut),
            Signal::Complained => self.count_lead(Counted::Complained),
            Signal::Replied { to: ReplyTo::Other, .. }
            | Signal::Enrolled
            | Signal::Woke
            | Signal::SendAnswered { .. }
            | Signal::AutoReplied { .. }
            | Signal::AttributeChanged
            | Signal::Paused { .. }
            | Signal::Resumed { .. }
            | Signal::Skipped { .. }
            | Signal::SendNow { .. }
            | Signal::Retried
            | Signal::Stopped
            | Signal::HandOver
            | Signal::HandoverAccepted { .. }
            | Signal::HandoverAnswered
            | Signal::HandoverClosed { .. }
            | Signal::GivenBack
            | Signal::PersonWrote { .. }
            | Signal::ApprovalDecided { .. }
            | Signal::CallDone { .. }
            | Signal::VersionMoved
            | Signal::Freed => None,
        }
    }

    fn count_lead(&mut self, as_one_that: Counted) -> Option<Counted> {
        self.counted.insert(as_one_that).then_some(as_one_that)
    }

    /// A later return replaces an earlier one; an absence is never shortened by a second notice.
    pub(super) fn note_absence(&mut self, signal: &Signal) {
        if let Signal::AutoReplied { back_on: Some(back_on) } = signal {
            self.away_until = self.away_until.max(Some(*back_on));
        }
    }

    pub(super) fn delivered(&mut self, step: &StepKey) {
        self.soft_bounces.clear();
        self.history.delivered.insert(step.clone());
    }

    pub(super) fn clicked(&mut self, step: &StepKey) {
        self.history.clicked.insert(step.clone());
    }

    /// Ends the enrollment if what was just noted is the campaign's goal.
    pub(super) fn unless_met(&mut self, turn: &mut Turn<'_>) -> Next<State> {
        if self.goal_is_met(turn) { self.end(Outcome::Met, turn) } else { Handled }
    }

    /// Notes that the goal is met where a person has the lead and decides how it ends.
    pub(super) fn note_goal(&mut self, turn: &Turn<'_>) {
        if self.goal_is_met(turn) {
            self.reached = self.reached.max(Some(Outcome::Met));
        }
    }
}

/// Returns the earliest time of a wait that a pause interrupted.
fn resumed_at(
    step: &Step,
    wait: &Wait,
    paused_at: DateTime<Utc>,
    rule: ResumeRule,
    context: &Context<'_>,
) -> DateTime<Utc> {
    let now = context.now;
    match rule {
        ResumeRule::Keep => wait.not_before,
        ResumeRule::Shift => {
            let rest = wait.not_before - paused_at.max(wait.since);
            now + rest.max(TimeDelta::zero())
        }
        ResumeRule::Restart => match (wait.because, &step.kind) {
            (Why::Delay, _) => step.delay.after(now, context.zone()),
            (Why::UntilEvent, StepKind::WaitUntil(until)) => until.limit.after(now, context.zone()),
            _ => now + (wait.not_before - wait.since).max(TimeDelta::zero()),
        },
    }
}
