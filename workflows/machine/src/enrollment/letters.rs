//! Letters between the lead and the person who has it, beside whatever state the enrollment is in: what
//! the person wrote in a mail to us goes on to the lead, and what the lead writes then is told to the
//! person. A letter that cannot leave now has a time of its own; one that never will is given up.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Turn, send};
use crate::effect::{Effect, EffectId};
use crate::ids::{MailId, SendId, Subject, send_id};
use crate::outcome::Outcome;
use crate::signal::{Answer, Missing, Refusal};
use crate::state::{Data, Forwarding, Letter, Open, Passing, Responder, State};

/// How many answers of people go to one lead: whoever writes more often is a machine that answers
/// another one.
pub(super) const ANSWERS_MAX: usize = 100;

/// Returns who has the lead.
pub(super) fn has_the_lead(state: &State) -> Option<Responder> {
    match state {
        State::Accepted { by, .. } | State::Answered { by } => Some(*by),
        State::Waiting { .. }
        | State::Dispatching { .. }
        | State::AwaitingApproval { .. }
        | State::AwaitingCall { .. }
        | State::Held { .. }
        | State::Paused { .. }
        | State::Offered { .. }
        | State::Ended { .. } => None,
    }
}

/// Whether what a person wrote may still go to the lead. It was written while the person had the lead,
/// so that this is over, or given back, does not stop it.
pub(super) fn may_reach_the_lead(state: &State) -> bool {
    match state {
        State::Ended { outcome } => *outcome <= Outcome::Replied,
        State::Waiting { .. }
        | State::Dispatching { .. }
        | State::AwaitingApproval { .. }
        | State::AwaitingCall { .. }
        | State::Held { .. }
        | State::Paused { .. }
        | State::Offered { .. }
        | State::Accepted { .. }
        | State::Answered { .. } => true,
    }
}

/// What follows from the answer to a letter.
enum Next {
    /// It left.
    Left,
    /// It is asked for again, then.
    Again(DateTime<Utc>),
    /// Nothing: it is given up.
    GivenUp,
}

impl Data {
    /// Whether `effect` is an open request to pass a letter on.
    pub(super) fn is_letter(&self, effect: EffectId) -> bool {
        self.open.iter().any(|open| open.id == effect && open.letter.is_some())
    }

    /// Returns the mails of people of ours that wait to be passed on to the lead.
    pub fn waiting_answers(&self) -> impl Iterator<Item = MailId> {
        let open = self.open.iter().filter_map(Open::answer);
        let put_off = self.answers.iter().filter(|(_, passing)| passing.again_at.is_some());
        open.chain(put_off.map(|(mail, _)| *mail))
    }

    /// Returns when the first letter that was put off is asked for again.
    pub(super) fn letters_again_at(&self) -> Option<DateTime<Utc>> {
        let answers = self.answers.values().filter_map(|passing| passing.again_at);
        let forward = self.forwarding.as_ref().and_then(|it| it.passing.again_at);
        answers.chain(forward).min()
    }

    /// Notes that a mail was heard of.
    pub(super) fn note_answer(&mut self, mail: MailId) {
        self.answers.entry(mail).or_default();
    }

    /// Asks for a mail to be passed on to the lead.
    pub(super) fn pass_on(&mut self, mail: MailId, turn: &mut Turn<'_>) {
        let context = &turn.context;
        let send = send_id(context.workspace, context.enrollment, Subject::Answer(mail), 1);
        let id = self.answers.entry(mail).or_default().ask(send);
        let letter = Some(Letter::Answer { mail });
        self.open.push(Open { id, step: None, letter, variant: None });
        turn.applied.effects.push(Effect::PassOn { id, mail });
    }

    /// The lead wrote to the person who has it. One that has not left tells of everything.
    pub(super) fn forward(&mut self, to: Responder, turn: &mut Turn<'_>) {
        let in_flight = &turn.context.facts.in_flight;
        let waits = self.open.iter().any(|open| {
            open.letter == Some(Letter::Forward { to }) && !in_flight.contains(&open.id.send)
        });
        if waits {
            return;
        }
        self.handovers.forwards += 1;
        self.forwarding = Some(Forwarding { to, passing: Passing::default() });
        self.ask_to_forward(turn);
    }

    fn ask_to_forward(&mut self, turn: &mut Turn<'_>) {
        let (visit, send) = (self.handovers.forwards, self.newest_forward(turn));
        let Some(Forwarding { to, passing }) = &mut self.forwarding else { return };
        let (to, id) = (*to, passing.ask(send));
        let letter = Some(Letter::Forward { to });
        self.open.push(Open { id, step: None, letter, variant: None });
        turn.applied.effects.push(Effect::Forward { id, visit, to });
    }

    fn newest_forward(&self, turn: &Turn<'_>) -> SendId {
        let context = &turn.context;
        let visit = self.handovers.forwards;
        send_id(context.workspace, context.enrollment, Subject::Forward, visit)
    }

    /// What the answer to an open letter means. Returns whether it went to the lead.
    pub(super) fn letter_answered(
        &mut self,
        effect: EffectId,
        answer: &Answer,
        state: &State,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(letter) = self.close(effect).and_then(|open| open.letter) else {
            return false;
        };
        let newest = self.newest_forward(turn);
        let passing = match letter {
            Letter::Answer { mail } => self.answers.entry(mail).or_default(),
            Letter::Forward { .. } => match &mut self.forwarding {
                Some(forwarding) if effect.send == newest => &mut forwarding.passing,
                // A newer one tells of the same.
                Some(_) | None => return false,
            },
        };
        match passing.answered(answer, turn) {
            Next::Left => {}
            Next::Again(at) => {
                passing.again_at = Some(at);
                self.ask_for_letters_again(state, turn);
                return false;
            }
            Next::GivenUp => return false,
        }
        matches!(letter, Letter::Answer { .. })
    }

    /// Asks for the letters whose time has come, and for which `state` has a use.
    pub(super) fn ask_for_letters_again(&mut self, state: &State, turn: &mut Turn<'_>) {
        let now = turn.context.now;
        let is_due = |passing: &Passing| passing.again_at.is_some_and(|at| at <= now);
        if may_reach_the_lead(state) {
            let due = self.answers.iter().filter(|(_, passing)| is_due(passing));
            let due: Vec<MailId> = due.map(|(mail, _)| *mail).collect();
            for mail in due {
                self.pass_on(mail, turn);
            }
        }
        let is_wanted = |it: &Forwarding| is_due(&it.passing) && has_the_lead(state) == Some(it.to);
        if self.forwarding.as_ref().is_some_and(is_wanted) {
            self.ask_to_forward(turn);
        }
    }

    /// Forgets the times of letters that `state` has no use for, and what has left or was given up.
    pub(super) fn forget_letters(&mut self, state: &State) {
        if !may_reach_the_lead(state) {
            for passing in self.answers.values_mut() {
                passing.again_at = None;
            }
        }
        let open = |to: Responder| {
            self.open.iter().any(|open| open.letter == Some(Letter::Forward { to }))
        };
        let waits = |it: &Forwarding| {
            let wanted = has_the_lead(state) == Some(it.to);
            wanted && (it.passing.again_at.is_some() || open(it.to))
        };
        if !self.forwarding.as_ref().is_some_and(waits) {
            self.forwarding = None;
        }
    }
}

impl Passing {
    /// Counts one more ask of `send`.
    fn ask(&mut self, send: SendId) -> EffectId {
        self.attempts += 1;
        self.again_at = None;
        EffectId { send, attempt: self.attempts }
    }

    fn answered(&mut self, answer: &Answer, turn: &Turn<'_>) -> Next {
        let now = turn.context.now;
        let asked_s = match answer {
            Answer::Accepted => return Next::Left,
            // No refusal: nobody refused anything.
            Answer::Lost => return Next::Again(now),
            Answer::Deferred { until, .. } => return Next::Again(*until),
            Answer::Rejected { class: Refusal::Retry | Refusal::Account, retry_after_s } => {
                retry_after_s.unwrap_or(0)
            }
            Answer::Held { missing: Missing::Sender { .. } } => 0,
            Answer::Rejected {
                class: Refusal::Recipient | Refusal::Content | Refusal::Suppressed,
                ..
            }
            | Answer::Held {
                missing:
                    Missing::Variables { .. }
                    | Missing::Consent { .. }
                    | Missing::Address { .. }
                    | Missing::Approval
                    | Missing::Agent
                    | Missing::SmtpUtf8,
            } => return Next::GivenUp,
        };
        self.refusals += 1;
        if self.refusals >= turn.context.version.refusals_max {
            return Next::GivenUp;
        }
        // Letters are written one by one: nothing has to keep them apart.
        let pause = TimeDelta::minutes(send::backoff_minutes(self.refusals));
        Next::Again(now + pause.max(TimeDelta::seconds(asked_s.into())))
    }
}
