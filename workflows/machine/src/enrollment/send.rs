//! Asking for messages and calls, and what their answers mean.

use chrono::TimeDelta;
use statig::Outcome as Next;
use statig::Outcome::{Handled, Transition};
use uuid::Uuid;

use super::{Turn, letters};
use crate::context::Consent;
use crate::effect::{Effect, EffectId};
use crate::ids::{LeadId, Subject, send_id};
use crate::key::{StepKey, VariantKey};
use crate::outcome::Outcome;
use crate::schedule::Earliest;
use crate::sequence::{Approval, Channel, Step, StepKind, Weighted};
use crate::signal::{Answer, CallResult, Missing, Refusal};
use crate::state::{Data, Done, Letter, Open, Resume, State, Why};

/// How often a lead comes to a step. Steps are done once; handovers count their own visits.
const FIRST_VISIT: u32 = 1;

/// How long a draft waits for a decision, in hours.
const APPROVAL_HOURS: i64 = 24;

/// Waits after the first, second, … refusal of a step, in minutes; the last one repeats.
const BACKOFF_MINUTES: [i64; 6] = [5, 15, 60, 240, 720, 1_440];

/// Minutes until an unanswered call is put on the list again.
const CALL_AGAIN_MINUTES: i64 = 240;

impl Data {
    /// Begins a message or a call, or holds it where consent is missing.
    pub(super) fn touch(&mut self, step: &Step, turn: &mut Turn<'_>) -> Next<State> {
        let channel = match &step.kind {
            StepKind::Message { channel, .. } => *channel,
            StepKind::Call
            | StepKind::WaitUntil(_)
            | StepKind::Condition { .. }
            | StepKind::Handover
            | StepKind::Finish => Channel::Call,
        };
        if !may_contact(channel, turn) {
            let missing = Missing::Consent { channel };
            return Transition(self.hold(&step.key, missing, turn));
        }
        let context = &turn.context;
        if !context.version.calendar_of(channel).suits(context.zones(), context.now) {
            return Transition(self.hold(&step.key, Missing::zone(), turn));
        }
        match &step.kind {
            StepKind::Message { approval: Approval::Required, .. } => {
                let id = self.next_effect(&step.key, None, turn);
                let expires_at = turn.context.now + TimeDelta::hours(APPROVAL_HOURS);
                let key = step.key.clone();
                turn.applied.effects.push(Effect::RequestApproval { id, step: key, expires_at });
                Transition(State::AwaitingApproval {
                    step: step.key.clone(),
                    draft: id,
                    expires_at,
                })
            }
            StepKind::Message { approval: Approval::NotNeeded, .. } => {
                self.ask_to_send(&step.key, turn)
            }
            _ => {
                let id = self.next_effect(&step.key, None, turn);
                turn.applied.effects.push(Effect::OpenCallTask { id, step: step.key.clone() });
                Transition(State::AwaitingCall { step: step.key.clone(), task: id })
            }
        }
    }

    pub(super) fn ask_to_send(&mut self, key: &StepKey, turn: &mut Turn<'_>) -> Next<State> {
        let Some(StepKind::Message { channel, variants, .. }) =
            turn.context.version.step(key).map(|step| &step.kind)
        else {
            return self.go_on(turn.context.now, turn);
        };
        let chosen = self.asked.get(key).and_then(|asked| asked.variant.clone());
        // A wording that was chosen stays, unless the version does not have it any more.
        let variant = chosen
            .filter(|chosen| variants.iter().any(|variant| variant.key.as_ref() == Some(chosen)))
            .or_else(|| choose(variants, key, turn.context.lead));
        let id = self.next_effect(key, variant.clone(), turn);
        turn.applied.effects.push(Effect::Send {
            id,
            step: key.clone(),
            visit: FIRST_VISIT,
            channel: *channel,
            variant,
        });
        Transition(State::Dispatching { step: key.clone(), effect: id })
    }

    /// Opens the next request about a step.
    fn next_effect(
        &mut self,
        key: &StepKey,
        variant: Option<VariantKey>,
        turn: &Turn<'_>,
    ) -> EffectId {
        let asked = self.asked.entry(key.clone()).or_default();
        asked.attempts += 1;
        asked.variant.clone_from(&variant);
        let context = &turn.context;
        let subject = Subject::Step(key.as_str());
        let send = send_id(context.workspace, context.enrollment, subject, FIRST_VISIT);
        let id = EffectId { send, attempt: asked.attempts };
        self.open.push(Open { id, step: Some(key.clone()), letter: None, variant });
        id
    }

    /// Counts a refusal of a step.
    fn note_refusal(&mut self, key: &StepKey) -> u32 {
        let asked = self.asked.entry(key.clone()).or_default();
        asked.refusals += 1;
        asked.refusals
    }

    /// What the answer to the current step's request means.
    pub(super) fn on_answer(
        &mut self,
        key: &StepKey,
        effect: EffectId,
        answer: &Answer,
        turn: &mut Turn<'_>,
    ) -> Next<State> {
        let Some(open) = self.close(effect) else { return Handled };
        match answer {
            Answer::Accepted => {
                self.done(key, Done::Sent { variant: open.variant });
                self.go_on(turn.context.now, turn)
            }
            Answer::Rejected { class, retry_after_s } => {
                self.refused(key, effect, *class, *retry_after_s, turn)
            }
            // No refusal: nobody refused anything.
            Answer::Lost => self.ask_again(key, turn),
            Answer::Deferred { until, reason } => {
                let earliest = Earliest { at: *until, because: *reason };
                self.wait_unless_moved(key, earliest, turn)
            }
            Answer::Held { missing } => Transition(self.hold(key, missing.clone(), turn)),
        }
    }

    fn refused(
        &mut self,
        key: &StepKey,
        effect: EffectId,
        class: Refusal,
        retry_after_s: Option<u32>,
        turn: &mut Turn<'_>,
    ) -> Next<State> {
        match class {
            Refusal::Retry => {
                let refusals = self.note_refusal(key);
                if refusals >= turn.context.version.refusals_max {
                    return self.end(Outcome::Failed, turn);
                }
                let asked = TimeDelta::seconds(retry_after_s.unwrap_or(0).into());
                let pause = backoff(refusals, effect).max(asked);
                let at = turn.context.now + pause;
                self.wait_unless_moved(key, Earliest { at, because: Why::RetryBackoff }, turn)
            }
            Refusal::Recipient => self.end(Outcome::Bounced, turn),
            Refusal::Content => self.end(Outcome::Failed, turn),
            Refusal::Account => {
                let channel = self.channel_of(key, turn);
                Transition(self.hold(key, Missing::Sender { channel }, turn))
            }
            Refusal::Suppressed => self.end(Outcome::OptedOut, turn),
        }
    }

    /// An answer that comes when the enrollment has left the step: data only, unless it is a
    /// stronger outcome.
    pub(super) fn late_answer(
        &mut self,
        effect: EffectId,
        answer: &Answer,
        turn: &mut Turn<'_>,
    ) -> Next<State> {
        let Some(open) = self.close(effect) else { return Handled };
        let Some(step) = open.step else {
            if self.is_newest_mail(effect, turn) {
                self.offer_left(answer);
            }
            return Handled;
        };
        match answer {
            Answer::Accepted => {
                self.done(&step, Done::Sent { variant: open.variant });
                Handled
            }
            Answer::Rejected { class: Refusal::Recipient, .. } => self.end(Outcome::Bounced, turn),
            Answer::Rejected { class: Refusal::Suppressed, .. } => {
                self.end(Outcome::OptedOut, turn)
            }
            // The step is asked for again if the lead comes back to it.
            Answer::Rejected { class: Refusal::Retry, .. } => {
                self.note_refusal(&step);
                Handled
            }
            Answer::Rejected { class: Refusal::Content | Refusal::Account, .. }
            | Answer::Lost
            | Answer::Deferred { .. }
            | Answer::Held { .. } => Handled,
        }
    }

    pub(super) fn called(
        &mut self,
        key: &StepKey,
        result: CallResult,
        turn: &mut Turn<'_>,
    ) -> Next<State> {
        if result == CallResult::NoAnswer {
            let refusals = self.note_refusal(key);
            if refusals < turn.context.version.refusals_max {
                let at = turn.context.now + TimeDelta::minutes(CALL_AGAIN_MINUTES);
                let earliest = Earliest { at, because: Why::RetryBackoff };
                return self.wait_unless_moved(key, earliest, turn);
            }
        }
        self.done(key, Done::Called { result });
        self.go_on(turn.context.now, turn)
    }

    pub(super) fn hold_for_approval(&mut self, key: &StepKey, turn: &Turn<'_>) -> Next<State> {
        Transition(self.hold(key, Missing::Approval, turn))
    }

    /// Holds a step; while a pause is in force the hold is the pause's.
    fn hold(&self, key: &StepKey, missing: Missing, turn: &Turn<'_>) -> State {
        let since = turn.context.now;
        let step = key.clone();
        if self.pauses.is_empty() {
            State::Held { step, missing, since }
        } else {
            State::Paused { since, resume: Resume::Held { step, missing, since } }
        }
    }

    /// Withdraws every open request that is not past the gate, but what a person wrote to the lead: that
    /// belongs to no step and to no offer.
    pub(super) fn release(&mut self, turn: &mut Turn<'_>) {
        self.release_unless(|open| open.answer().is_some(), turn);
    }

    /// Withdraws the requests that `state` has no use for and that are not past the gate: one that
    /// was past it when the lead left the step may have come back since.
    pub(super) fn release_unwanted(&mut self, state: &State, turn: &mut Turn<'_>) {
        self.release_unless(|open| wants(state, open), turn);
    }

    fn release_unless(&mut self, wanted: impl Fn(&Open) -> bool, turn: &mut Turn<'_>) {
        let in_flight = &turn.context.facts.in_flight;
        self.open.retain(|open| {
            let stays = wanted(open) || in_flight.contains(&open.id.send);
            if !stays {
                turn.applied.withdrawn.push(open.id);
            }
            stays
        });
    }

    /// Whether a request about a step is past the gate.
    pub(super) fn is_in_flight(&self, turn: &Turn<'_>) -> bool {
        let in_flight = &turn.context.facts.in_flight;
        let mut steps = self.open.iter().filter(|open| open.step.is_some());
        steps.any(|open| in_flight.contains(&open.id.send))
    }

    /// Takes an answered request off the list.
    pub(super) fn close(&mut self, effect: EffectId) -> Option<Open> {
        let index = self.open.iter().position(|open| open.id == effect)?;
        Some(self.open.remove(index))
    }

    /// Returns the step that an open `effect` belongs to.
    pub(super) fn step_of(&self, effect: EffectId) -> Option<StepKey> {
        self.open.iter().find(|open| open.id == effect)?.step.clone()
    }

    fn channel_of(&self, key: &StepKey, turn: &Turn<'_>) -> Channel {
        match turn.context.version.step(key).map(|step| &step.kind) {
            Some(StepKind::Message { channel, .. }) => *channel,
            _ => Channel::Call,
        }
    }
}

/// Whether `open` is what `state` waits for.
fn wants(state: &State, open: &Open) -> bool {
    match open.letter {
        Some(Letter::Answer { .. }) => return letters::may_reach_the_lead(state),
        Some(Letter::Forward { to }) => return letters::has_the_lead(state) == Some(to),
        None => {}
    }
    match state {
        State::Dispatching { effect: wanted, .. }
        | State::AwaitingApproval { draft: wanted, .. }
        | State::AwaitingCall { task: wanted, .. } => *wanted == open.id,
        State::Offered { .. } | State::Accepted { .. } => open.step.is_none(),
        State::Waiting { .. }
        | State::Held { .. }
        | State::Paused { .. }
        | State::Answered { .. }
        | State::Ended { .. } => false,
    }
}

/// Texts and calls need consent that was granted; mail only where the campaign says so.
fn may_contact(channel: Channel, turn: &Turn<'_>) -> bool {
    match (turn.context.facts.consent.on(channel), channel) {
        (Consent::Granted, _) => true,
        (Consent::Refused, _) => false,
        (Consent::Unknown, Channel::Email) => !turn.context.version.mail_needs_consent,
        (Consent::Unknown, Channel::Sms | Channel::Call) => false,
    }
}

/// Chooses a wording by a stable hash of the lead and the step: the same lead always gets the
/// same one, and shares follow the weights.
pub(crate) fn choose(variants: &[Weighted], key: &StepKey, lead: LeadId) -> Option<VariantKey> {
    let total: u128 = variants.iter().map(|variant| u128::from(variant.weight)).sum();
    if total == 0 {
        return None;
    }
    let hash = Uuid::new_v5(&lead.uuid(), key.as_str().as_bytes()).as_u128();
    let mut point = hash % total;
    for variant in variants {
        let weight = u128::from(variant.weight);
        if point < weight {
            return variant.key.clone();
        }
        point -= weight;
    }
    None
}

/// Grows with every refusal, bounded, and spread by a tenth so that refused leads do not return
/// together. The spread is a hash, not chance: a replay gets the same.
fn backoff(refusals: u32, effect: EffectId) -> TimeDelta {
    let minutes = backoff_minutes(refusals);
    let spread = i64::from(effect.send.uuid().as_fields().0 % 200) - 100;
    TimeDelta::seconds(minutes * 60 + minutes * 60 * spread / 1_000)
}

/// The wait after so many refusals.
pub(super) fn backoff_minutes(refusals: u32) -> i64 {
    let index = usize::try_from(refusals.saturating_sub(1)).unwrap_or(usize::MAX);
    BACKOFF_MINUTES[index.min(BACKOFF_MINUTES.len() - 1)]
}
