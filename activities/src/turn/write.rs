//! Step 4 of a turn: everything its leads led to, written in bulk.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use machine::effect::{Effect, EffectId};
use machine::enrollment::RULES;
use machine::explain::{self, Shown};
use machine::ids::{
    CampaignId, EnrollmentId, LeadId, MailId, SendId, SenderId, Subject, WorkspaceId, send_id,
};
use machine::key::StepKey;
use machine::sequence::Channel;
use machine::signal::{Answer, CallResult, Signal};
use machine::state::{State, Why};
use serde::Serialize;
use uuid::Uuid;

use super::apply::{Applied, Done};
use super::asks::{self, Raised, kept_sender};
use super::counts::Counts;
use super::people::People;
use super::requests::Requests;
use super::{OVERDUE, Turned, given_up};
use crate::changes::News;
use crate::engine::Engine;
use crate::error::Result;
use crate::senders;
use crate::store::clock::Clocks;
use crate::store::dead_letters;
use crate::store::inbound_events::EventId;
use crate::store::sends::{self, Share};
use crate::store::turns::{self, HandoverRow, Tasks};
use crate::store::{Tx, bell, campaigns, enrollments, journal};

/// What a batch of leads led to, ready to be written.
#[derive(Default)]
pub(super) struct Writes {
    /// Whose requests are handed out here.
    engine: Engine,
    /// Whether leads of another engine are to be looked at there.
    elsewhere: bool,
    advanced: enrollments::Advanced,
    journal: journal::Rows,
    planned: sends::Planned,
    raised: Raised,
    cancelled: Vec<Uuid>,
    proved: Vec<Uuid>,
    tasks: Tasks,
    closed_tasks: (Vec<Uuid>, Vec<i32>),
    people: People,
    /// Campaigns of which a lead came back to life.
    revived: BTreeSet<Uuid>,
    /// Who came into which state of which campaign, if it is worth telling.
    moved: BTreeMap<(Uuid, &'static str), Vec<EnrollmentId>>,
    counts: Counts,
    /// Mails of people of ours that will not be passed on, and why.
    given_up: Vec<(MailId, String)>,
}

impl Writes {
    pub(super) fn of(engine: Engine) -> Self {
        Self { engine, ..Self::default() }
    }

    pub(super) fn add(
        &mut self,
        workspace: WorkspaceId,
        clocks: Clocks,
        mut done: Done,
        turned: &mut Turned,
    ) {
        self.give_senders(&mut done);
        self.note_journal(&done);
        self.note_requests(&done);
        self.people.add(&done);
        self.counts.add(&done);
        self.note_move(&done);
        self.note_revival(&done);
        self.given_up.extend(given_up::answers(workspace, &done));
        let out = asks::hand_out(clocks, &done, &mut self.raised);
        self.release_put_off(workspace, &done);
        let is_ours = done.read.row.engine == self.engine;
        // Another engine hands out itself what its lead asks for, and is to look now.
        let look_again = if is_ours { out.look_again } else { Some(clocks.campaign_in(-OVERDUE)) };
        let wake_at = self.note_enrollment(&done, look_again);
        turned.applied += done.applied.len();
        if !is_ours {
            self.elsewhere = true;
            return;
        }
        turned.asks.extend(out.asks);
        let enrollment = EnrollmentId::new(done.read.row.enrollment_id);
        turned.lost.extend(out.lost.into_iter().map(|send| (enrollment, send)));
        turned.next_wake = match (turned.next_wake, wake_at) {
            (Some(earlier), Some(wake_at)) => Some(earlier.min(wake_at)),
            (earlier, wake_at) => earlier.or(wake_at),
        };
    }

    /// A lead keeps the sender it gets at its first message on a channel.
    fn give_senders(&self, done: &mut Done) {
        for effect in done.asked.values() {
            let channel = match effect {
                Effect::Send { channel, .. } => *channel,
                Effect::OfferHandover { .. } | Effect::PassOn { .. } | Effect::Forward { .. } => {
                    Channel::Email
                }
                Effect::RequestApproval { .. } | Effect::OpenCallTask { .. } => continue,
            };
            let read = &mut done.read;
            let lead = LeadId::new(read.row.lead_id);
            let allowed = &read.settings.senders;
            let kept = match channel {
                Channel::Email => &mut read.row.email_sender_id,
                Channel::Sms => &mut read.row.sms_sender_id,
                Channel::Call => continue,
            };
            if kept.is_none() {
                let fit = read.senders.iter().filter(|sender| {
                    sender.channel == channel.as_str()
                        && allowed.contains(&SenderId::new(sender.sender_id))
                });
                let fit = fit.map(|sender| (SenderId::new(sender.sender_id), sender.weight));
                *kept = senders::choose(fit, lead).map(|sender| sender.uuid());
            }
        }
    }

    fn note_journal(&mut self, done: &Done) {
        let rows = &mut self.journal;
        let mut turn = done.read.row.turn;
        for applied in &done.applied {
            turn += 1;
            rows.enrollments.push(done.read.row.enrollment_id);
            rows.turns.push(turn);
            rows.ats.push(applied.at);
            rows.causes.push(applied.signal.kind());
            rows.signals.push(to_json(&applied.signal));
            rows.from_states.push(applied.from.state.as_str());
            rows.to_states.push(applied.to.state.as_str());
            rows.effects.push(effects_of(applied));
            rows.next_steps.push(applied.to.next_step.as_ref().map(ToString::to_string));
            rows.next_ats.push(applied.to.next_at);
            rows.whys.push(applied.to.why.map(Why::as_str));
            rows.facts.push(applied.facts.clone());
            rows.snapshots.push(None);
        }
        // Rows before the move were made by another version, and those after it in this turn are in the
        // snapshot too.
        let begins = done.applied.iter().any(|applied| applied.begins);
        let rules_rose = done.read.rules_before < RULES;
        if (begins || rules_rose) && !done.applied.is_empty() {
            let snapshot = serde_json::to_vec(&done.read.enrollment).expect("plain data");
            *rows.snapshots.last_mut().expect("a row was added") = Some(snapshot);
        }
    }

    fn note_requests(&mut self, done: &Done) {
        let row = &done.read.row;
        for effect in done.asked.values() {
            match effect {
                Effect::Send { id, step, visit, channel, variant } => {
                    let sender = kept_sender(done, *channel);
                    self.plan(done, id.send, id.attempt, *visit, "step", step.to_string());
                    self.planned.channels.push(channel.as_str());
                    self.planned.variants.push(variant.as_ref().map(ToString::to_string));
                    self.planned.senders.push(sender);
                }
                Effect::OfferHandover { id, visit, to, .. } | Effect::Forward { id, visit, to } => {
                    self.plan_mail(done, *id, *visit, "handover", to.as_str().to_owned());
                }
                Effect::PassOn { id, mail } => {
                    self.plan_mail(done, *id, 1, "answer", mail.to_string());
                }
                Effect::RequestApproval { id, step, expires_at } => {
                    self.open_task(row.enrollment_id, *id, "approval", step, done.now);
                    self.tasks.expires_ats.push(Some(*expires_at));
                }
                Effect::OpenCallTask { id, step } => {
                    self.open_task(row.enrollment_id, *id, "call", step, done.now);
                    self.tasks.expires_ats.push(None);
                }
            }
        }
        for withdrawn in &done.withdrawn {
            self.cancelled.push(withdrawn.send.uuid());
            self.closed_tasks.0.push(withdrawn.send.uuid());
            self.closed_tasks.1.push(to_i32(withdrawn.attempt));
        }
        for applied in &done.applied {
            if let Signal::ApprovalDecided { effect, .. } | Signal::CallDone { effect, .. } =
                &applied.signal
            {
                self.closed_tasks.0.push(effect.send.uuid());
                self.closed_tasks.1.push(to_i32(effect.attempt));
            }
        }
        self.proved.extend(done.proved.iter().map(|send| send.uuid()));
    }

    /// Plans a mail that is no step's.
    fn plan_mail(
        &mut self,
        done: &Done,
        id: EffectId,
        visit: u32,
        kind: &'static str,
        step_key: String,
    ) {
        self.plan(done, id.send, id.attempt, visit, kind, step_key);
        self.planned.channels.push(Channel::Email.as_str());
        self.planned.variants.push(None);
        self.planned.senders.push(kept_sender(done, Channel::Email));
    }

    fn plan(
        &mut self,
        done: &Done,
        send: SendId,
        attempt: u32,
        visit: u32,
        kind: &'static str,
        step_key: String,
    ) {
        self.planned.ids.push(send.uuid());
        self.planned.enrollments.push(done.read.row.enrollment_id);
        self.planned.campaigns.push(done.read.row.campaign_id);
        self.planned.leads.push(done.read.row.lead_id);
        self.planned.kinds.push(kind);
        self.planned.step_keys.push(step_key);
        self.planned.visits.push(to_i32(visit));
        self.planned.attempts.push(to_i32(attempt));
        self.planned.after_seqs.push(done.applied_seq);
    }

    fn open_task(
        &mut self,
        enrollment: Uuid,
        id: EffectId,
        kind: &'static str,
        step: &StepKey,
        now: DateTime<Utc>,
    ) {
        self.tasks.sends.push(id.send.uuid());
        self.tasks.attempts.push(to_i32(id.attempt));
        self.tasks.enrollments.push(enrollment);
        self.tasks.kinds.push(kind);
        self.tasks.steps.push(step.to_string());
        self.tasks.opened_ats.push(now);
    }

    fn note_move(&mut self, done: &Done) {
        let Some(last) = done.applied.last() else { return };
        let after = last.to.state.as_str();
        // Sending passes in seconds, and what comes of it is told with the outcome of the message.
        if done.read.row.state != after && after != Shown::Sending.as_str() {
            let campaign = done.read.row.campaign_id;
            let enrollment = EnrollmentId::new(done.read.row.enrollment_id);
            self.moved.entry((campaign, after)).or_default().push(enrollment);
        }
    }

    /// A lead may come back after its campaign was finished: a person has it, or gave it back.
    fn note_revival(&mut self, done: &Done) {
        let was_over = matches!(done.before, State::Ended { .. });
        if was_over && done.read.enrollment.outcome().is_none() {
            self.revived.insert(done.read.row.campaign_id);
        }
    }

    /// A message that the gate put off is cancelled, and its slot given back, when its lead leaves
    /// the wait for it or never came to wait.
    fn release_put_off(&mut self, workspace: WorkspaceId, done: &Done) {
        let enrollment = EnrollmentId::new(done.read.row.enrollment_id);
        let send_of =
            |step: &StepKey| send_id(workspace, enrollment, Subject::Step(step.as_str()), 1);
        let answer_of = |mail: MailId| send_id(workspace, enrollment, Subject::Answer(mail), 1);
        let before = done.before.put_off().map(send_of);
        let before = before.into_iter().chain(done.answers_before.iter().copied().map(answer_of));
        let still = done.read.enrollment.state.put_off().map(send_of);
        let answers = done.read.enrollment.data.waiting_answers().map(answer_of);
        let still: BTreeSet<SendId> = still.into_iter().chain(answers).collect();
        let told = done.applied.iter().filter_map(|applied| match &applied.signal {
            Signal::SendAnswered { effect, answer: Answer::Deferred { .. } } => Some(effect.send),
            _ => None,
        });
        for send in before.chain(told) {
            if !still.contains(&send) && !done.asked.keys().any(|id| id.send == send) {
                self.cancelled.push(send.uuid());
            }
        }
    }

    fn note_enrollment(
        &mut self,
        done: &Done,
        look_again: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        let read = &done.read;
        let summary = match done.applied.last() {
            Some(last) => last.to.clone(),
            None => explain::summary(&read.enrollment, &read.version.version),
        };
        let wake_at = match (read.enrollment.wake_at(), look_again) {
            (Some(wake), Some(look)) => Some(wake.min(look)),
            (wake, look) => wake.or(look),
        };
        // While mail waits to be read the timer must not spin; reading it sets the time.
        let spins = read.uninterpreted && wake_at.is_some_and(|wake_at| wake_at <= done.now);
        let wake_at = if spins { done.rest_until } else { wake_at };
        let advanced = &mut self.advanced;
        advanced.ids.push(read.row.enrollment_id);
        advanced.snapshots.push(serde_json::to_vec(&read.enrollment).expect("plain data"));
        advanced.turns.push(read.row.turn + i32::try_from(done.applied.len()).expect("few"));
        advanced.applied_seqs.push(done.applied_seq);
        advanced.verb_seqs.push(read.verb_seq);
        advanced.email_senders.push(read.row.email_sender_id);
        advanced.sms_senders.push(read.row.sms_sender_id);
        advanced.states.push(summary.state.as_str());
        advanced.whys.push(summary.why.map(Why::as_str));
        advanced.untils.push(summary.until);
        advanced.next_steps.push(summary.next_step.map(|key| key.to_string()));
        advanced.next_ats.push(summary.next_at);
        let changed_at = if done.applied.is_empty() { read.row.changed_at } else { done.now };
        advanced.changed_ats.push(changed_at);
        advanced.wake_ats.push(wake_at);
        advanced.ended_ats.push(read.enrollment.outcome().map(|_| changed_at));
        let reached = done.applied.iter().any(|applied| has_reached(&applied.signal, done));
        advanced.contacted_ats.push(reached.then_some(done.now));
        wake_at
    }

    /// Writes everything but what is given back to quotas, which it returns.
    pub(super) async fn write(self, tx: &mut Tx, clocks: Clocks) -> Result<Vec<Share>> {
        if self.advanced.ids.is_empty() {
            return Ok(Vec::new());
        }
        let workspace = tx.workspace();
        enrollments::write(tx, workspace, &self.advanced).await?;
        if self.elsewhere {
            bell::ring(tx, workspace).await?;
        }
        journal::append(tx, workspace, &self.journal, i16::try_from(RULES).expect("small")).await?;
        let released = sends::cancel(tx, workspace, &self.cancelled).await?;
        sends::accept_on_evidence(tx, workspace, &self.proved, "reported by the provider").await?;
        sends::plan(tx, workspace, &self.planned).await?;
        sends::raise_after_seq(tx, workspace, &self.raised.sends, &self.raised.after_seqs).await?;
        let revived: Vec<Uuid> = self.revived.into_iter().collect();
        let reopened = campaigns::reopen(tx, workspace, &revived).await?;
        turns::open_tasks(tx, workspace, &self.tasks).await?;
        let (sends, attempts) = &self.closed_tasks;
        turns::close_tasks(tx, workspace, sends, attempts, clocks.campaign).await?;
        self.people.write(tx, &self.advanced.ids, clocks.campaign).await?;
        for (mail, cause) in &self.given_up {
            let subject = dead_letters::Subject::Unmatched(EventId::new(mail.uuid()));
            dead_letters::add(tx, workspace, subject, cause, clocks.campaign).await?;
        }
        tell(tx, self.moved, &self.people.handovers, &reopened, self.proved);
        turns::count(tx, workspace, &self.counts.into_deltas()).await?;
        Ok(released)
    }
}

/// Tells those who watch what a batch of leads led to.
fn tell(
    tx: &mut Tx,
    moved: BTreeMap<(Uuid, &'static str), Vec<EnrollmentId>>,
    handovers: &[HandoverRow],
    reopened: &[Uuid],
    proved: Vec<Uuid>,
) {
    for ((campaign, state), enrollments) in moved {
        let (campaign, state) = (CampaignId::new(campaign), state.to_owned());
        tx.tell(News::Enrollments { campaign, state, enrollments });
    }
    for row in handovers {
        tx.tell(News::Handover {
            enrollment: EnrollmentId::new(row.enrollment_id),
            campaign: CampaignId::new(row.campaign_id),
            lead: LeadId::new(row.lead_id),
            state: row.state.to_owned(),
        });
    }
    for campaign in reopened {
        let (campaign, status) = (CampaignId::new(*campaign), "active".to_owned());
        tx.tell(News::Campaign { campaign, status });
    }
    if !proved.is_empty() {
        let sends = proved.into_iter().map(SendId::new).collect();
        tx.tell(News::Sends { state: "accepted".to_owned(), sends });
    }
}

/// Takes enrollments that cannot be turned out of the way, with the cause on record.
pub(crate) async fn park(
    tx: &mut Tx,
    clocks: Clocks,
    spoiled: &[(EnrollmentId, String)],
) -> Result<()> {
    let workspace = tx.workspace();
    let ids: Vec<Uuid> = spoiled.iter().map(|(id, _)| id.uuid()).collect();
    let parked = enrollments::park(tx, workspace, &ids, clocks.campaign).await?;
    let is_new = |id: &EnrollmentId| parked.iter().any(|(_, parked)| parked == id);
    let mut told = BTreeMap::<CampaignId, Vec<EnrollmentId>>::new();
    for (campaign, id) in &parked {
        told.entry(*campaign).or_default().push(*id);
    }
    for (campaign, enrollments) in told {
        tx.tell(News::Enrollments { campaign, state: "parked".to_owned(), enrollments });
    }
    for (enrollment, cause) in spoiled.iter().filter(|(id, _)| is_new(id)) {
        let subject = dead_letters::Subject::Enrollment(*enrollment);
        dead_letters::add(tx, workspace, subject, cause, clocks.campaign).await?;
        tracing::error!(enrollment.id = %enrollment, cause, "enrollment parked");
    }
    Ok(())
}

/// Whether the signal says that a message of a step went to the lead, or that it was spoken to.
fn has_reached(signal: &Signal, done: &Done) -> bool {
    if let Signal::SendAnswered { effect, answer: Answer::Accepted } = signal {
        return done.open_before.iter().any(|open| open.id == *effect && open.step.is_some());
    }
    matches!(signal, Signal::CallDone { result: CallResult::Reached, .. })
}

fn effects_of(applied: &Applied) -> Option<String> {
    let Applied { effects: asked, withdrawn, .. } = applied;
    let none = asked.is_empty() && withdrawn.is_empty();
    (!none).then(|| to_json(&Requests { asked: asked.into(), withdrawn: withdrawn.into() }))
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data")
}

fn to_i32(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
