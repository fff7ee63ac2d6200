//! The turn: a lead is loaded, told everything it has not seen, and stored, in one go.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use machine::context::{Context, Facts};
use machine::effect::{Effect, EffectId};
use machine::enrollment::Enrollment;
use machine::explain;
use machine::ids::{EnrollmentId, MailId};
use machine::signal::{Answer, PauseScope, Signal};
use machine::state::State;

use super::ledger::{Stand, What};
use super::{Inner, Journaled};
use crate::world::backend::CampaignVerb;

/// How often one turn may wake one lead.
const WAKES_MAX: usize = 256;

/// How soon a planned send that did not pass is looked at again.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(60);

impl Inner {
    /// Turns one enrollment; `told` are answers, which have no rows of their own.
    pub(super) fn turn(&mut self, id: EnrollmentId, told: Vec<Signal>) {
        let stored = self.enrollments[&id].snapshot.clone();
        let enrollment = match serde_json::from_slice(&stored) {
            Ok(enrollment) => enrollment,
            Err(error) => {
                self.row(id).parked = Some(format!("the snapshot does not load: {error}"));
                return;
            }
        };
        let held = self.holds_its_company(id);
        let mut turn = Turn::begin(self, id, enrollment);
        turn.hear_everything(told);
        turn.write();
        if held && !self.holds_its_company(id) {
            self.let_colleagues_go(id);
        }
    }

    /// Whether there is anything to turn.
    pub(super) fn is_due(&self, id: EnrollmentId) -> bool {
        let row = &self.enrollments[&id];
        let campaign = &self.campaigns[&row.campaign];
        row.parked.is_none()
            && (row.turn == 0
                || row.verb_seq < campaign.verb_seq()
                || row.next_signal().is_some_and(|(_, signal)| signal.is_some())
                || row.wake_at.is_some_and(|at| at <= self.now) && !row.waits_for_reading())
    }
}

/// One turn of one lead.
struct Turn<'a> {
    inner: &'a mut Inner,
    id: EnrollmentId,
    enrollment: Enrollment,
    asked: BTreeMap<EffectId, Effect>,
    withdrawn: Vec<EffectId>,
    /// Answers that this turn brings and the machine has not heard yet.
    unheard: Vec<EffectId>,
}

impl<'a> Turn<'a> {
    fn begin(inner: &'a mut Inner, id: EnrollmentId, enrollment: Enrollment) -> Self {
        let (asked, withdrawn, unheard) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { inner, id, enrollment, asked, withdrawn, unheard }
    }

    fn hear_everything(&mut self, told: Vec<Signal>) {
        let now = self.inner.now;
        self.unheard = told.iter().filter_map(answered).collect();
        if self.inner.enrollments[&self.id].turn == 0 {
            self.tell(&Signal::Enrolled, now);
        }
        for (at, verb) in self.unseen_verbs() {
            let changed_at = self.inner.enrollments[&self.id].changed_at;
            self.tell(&verb, at.max(changed_at).min(now));
        }
        for signal in told {
            self.tell(&signal, now);
            self.unheard.retain(|effect| answered(&signal) != Some(*effect));
        }
        while let Some((seq, Some(signal))) = self.inner.enrollments[&self.id].next_signal() {
            self.believe(&signal, now);
            self.tell(&signal, now);
            self.inner.row(self.id).applied_seq = seq;
        }
        // While a message waits to be read nothing new is asked for.
        if !self.inner.enrollments[&self.id].waits_for_reading() {
            self.wake(now);
        }
    }

    fn unseen_verbs(&mut self) -> Vec<(DateTime<Utc>, Signal)> {
        let row = &self.inner.enrollments[&self.id];
        let campaign = &self.inner.campaigns[&row.campaign];
        let unseen = campaign.verbs.iter().skip(row.verb_seq);
        let scope = PauseScope::Campaign;
        let signals = unseen.map(|(at, verb)| {
            let signal = match verb {
                CampaignVerb::Pause => Signal::Paused { scope },
                CampaignVerb::Resume(rule) => Signal::Resumed { scope, rule: *rule },
                CampaignVerb::Stop => Signal::Stopped,
            };
            (*at, signal)
        });
        let signals = signals.collect();
        let newest = campaign.verb_seq();
        self.inner.row(self.id).verb_seq = newest;
        signals
    }

    fn wake(&mut self, now: DateTime<Utc>) {
        for _ in 0..WAKES_MAX {
            match self.enrollment.wake_at() {
                Some(at) if at <= now => self.tell(&Signal::Woke, now),
                Some(_) | None => break,
            }
        }
        assert!(self.enrollment.wake_at().is_none_or(|at| at > now), "due for ever");
        // A look at what is open: what came back from the gate and is not wanted is withdrawn.
        self.tell(&Signal::Woke, now);
    }

    /// A report about a message in flight proves that the provider took it.
    fn believe(&mut self, signal: &Signal, now: DateTime<Utc>) {
        let step = signal.proves();
        let in_flight = self.facts().in_flight;
        let proved = self.enrollment.data.open.iter().find(|open| {
            open.step.is_some() && open.step.as_ref() == step && in_flight.contains(&open.id.send)
        });
        let Some(effect) = proved.map(|open| open.id) else { return };
        let stand = self.inner.ledger.row(effect.send).stand;
        if stand == Stand::Dispatching {
            self.inner.ledger.set(effect.send, Stand::Unknown);
        }
        self.inner.ledger.set(effect.send, Stand::Accepted);
        self.inner.provider.forget(effect);
        self.unheard.push(effect);
        self.tell(&Signal::SendAnswered { effect, answer: Answer::Accepted }, now);
        self.unheard.retain(|unheard| *unheard != effect);
    }

    /// What the machine may read. A send counts as in flight until the machine has heard what
    /// became of it, whatever the ledger knows by now.
    fn facts(&self) -> Facts {
        let row = &self.inner.enrollments[&self.id];
        let campaign = &self.inner.campaigns[&row.campaign];
        let lead = &self.inner.leads[&row.lead];
        let attributes =
            campaign.version.attributes.iter().filter_map(|name| {
                Some((name.clone(), lead.attributes.get(name.as_str())?.clone()))
            });
        let open = self.enrollment.data.open.iter().filter(|open| {
            let stand = self.inner.ledger.get(open.id.send).map(|row| row.stand);
            match stand {
                Some(Stand::Dispatching | Stand::Unknown | Stand::NeedsReview) => true,
                Some(
                    Stand::Planned
                    | Stand::Deferred
                    | Stand::Cancelled
                    | Stand::Accepted
                    | Stand::Rejected,
                )
                | None => self.unheard.contains(&open.id),
            }
        });
        Facts {
            zone: lead.zone,
            country: lead.country(),
            consent: lead.consent,
            in_flight: open.map(|open| open.id.send).collect(),
            attributes: attributes.collect(),
        }
    }

    fn tell(&mut self, signal: &Signal, at: DateTime<Utc>) {
        let facts = self.facts();
        let row = &self.inner.enrollments[&self.id];
        let version = &self.inner.campaigns[&row.campaign].version;
        let (workspace, enrollment, lead) = (self.inner.workspace, self.id, row.lead);
        let context = Context { now: at, workspace, enrollment, lead, version, facts: &facts };
        let before = self.enrollment.clone();
        let applied = self.enrollment.apply(signal, context);
        let unchanged = before == self.enrollment && applied.effects.is_empty();
        if matches!(signal, Signal::Woke) && unchanged {
            return;
        }
        self.explain(&context);
        for effect in applied.effects {
            self.asked.insert(effect.id(), effect);
        }
        for withdrawn in applied.withdrawn {
            if self.asked.remove(&withdrawn).is_none() {
                self.withdrawn.push(withdrawn);
            }
        }
        let row = self.inner.row(self.id);
        row.turn += 1;
        row.changed_at = at;
        row.journal.push(Journaled { at, signal: signal.clone(), facts });
    }

    /// What the plan says is what the machine will do.
    fn explain(&self, context: &Context<'_>) {
        let plan = explain::explain(&self.enrollment, context);
        let summary = explain::summary(&self.enrollment, context.version);
        assert_eq!(plan.state, summary.state);
        if let State::Waiting { wait, .. } = &self.enrollment.state {
            assert_eq!(plan.next.and_then(|next| next.at), Some(wait.wake_at));
        }
    }

    /// Everything the turn led to, in one go.
    fn write(mut self) {
        let after_seq = self.inner.enrollments[&self.id].applied_seq;
        for withdrawn in std::mem::take(&mut self.withdrawn) {
            self.inner.tasks.remove(&withdrawn);
            if self.inner.ledger.get(withdrawn.send).is_some_and(is_before_the_gate) {
                self.inner.cancel(withdrawn.send);
            }
        }
        self.release_put_off();
        let mut asked = self.asked.values();
        let asks_anew = asked.any(|effect| matches!(effect, Effect::OfferHandover { .. }));
        let frees_an_agent = self.inner.note_handover(self.id, &self.enrollment.state, asks_anew);
        for (id, effect) in std::mem::take(&mut self.asked) {
            let what = match effect {
                Effect::Send { step, variant, .. } => What::Step { step, variant },
                Effect::OfferHandover { to, answer_by, .. } => What::Handover { to, answer_by },
                Effect::PassOn { mail, .. } => What::Answer { mail },
                Effect::Forward { to, .. } => What::Forward { to },
                Effect::RequestApproval { .. } | Effect::OpenCallTask { .. } => {
                    self.inner.tasks.insert(id, self.id);
                    continue;
                }
            };
            self.inner.ledger.plan(id, self.id, what, after_seq);
        }
        let mut wake_at = self.enrollment.wake_at();
        for open in &self.enrollment.data.open {
            let Some(stand) = self.inner.ledger.get(open.id.send).map(|row| row.stand) else {
                continue;
            };
            let look_again = match stand {
                Stand::Planned => {
                    // What is past the gate is not raised: should it come back, the gate waits
                    // until a turn has said that it is still wanted.
                    self.inner.ledger.row(open.id.send).after_seq = after_seq;
                    Some(self.inner.now + LOOK_AGAIN)
                }
                Stand::Dispatching => self.inner.ledger.row(open.id.send).lease_until,
                Stand::Deferred
                | Stand::Cancelled
                | Stand::Accepted
                | Stand::Rejected
                | Stand::Unknown
                | Stand::NeedsReview => None,
            };
            wake_at = wake_at.into_iter().chain(look_again).min();
        }
        let snapshot = serde_json::to_vec(&self.enrollment).expect("plain data");
        let row = self.inner.row(self.id);
        row.snapshot = snapshot;
        row.wake_at = wake_at;
        if frees_an_agent {
            self.inner.tell_who_waits_for_an_agent(Some(self.id));
        }
    }

    /// A message that was put off is cancelled when nobody waits for it any more.
    fn release_put_off(&mut self) {
        let waits_for = self.enrollment.state.put_off();
        let answers: Vec<MailId> = self.enrollment.data.waiting_answers().collect();
        let put_off = self.inner.ledger.iter().filter(|(send, row)| {
            let is_waited_for = match &row.what {
                What::Step { step, .. } => Some(step) == waits_for,
                What::Answer { mail } => answers.contains(mail),
                What::Handover { .. } | What::Forward { .. } => false,
            };
            row.enrollment == self.id
                && row.stand == Stand::Deferred
                && !is_waited_for
                && !self.asked.keys().any(|asked| asked.send == *send)
        });
        let put_off: Vec<_> = put_off.map(|(send, _)| send).collect();
        for send in put_off {
            self.inner.cancel(send);
        }
    }
}

fn is_before_the_gate(row: &super::ledger::Row) -> bool {
    matches!(row.stand, Stand::Planned | Stand::Deferred)
}

/// The effect that a signal answers.
fn answered(signal: &Signal) -> Option<EffectId> {
    match signal {
        Signal::SendAnswered { effect, .. }
        | Signal::ApprovalDecided { effect, .. }
        | Signal::CallDone { effect, .. } => Some(*effect),
        _ => None,
    }
}
