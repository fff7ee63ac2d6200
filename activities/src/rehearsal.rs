//! A rehearsal: the audience of a campaign run ahead by the real machine on the real calendar,
//! through the gate's own allotment, with nothing sent and nobody answering. It tells whom a campaign
//! would write to and when, and who would be held and why.

mod cast;
pub mod summary;
pub mod trial;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use machine::context::Context;
use machine::effect::{Effect, EffectId};
use machine::enrollment::Enrollment;
use machine::ids::{CampaignId, LeadId, SenderId, WorkspaceId};
use machine::key::{StepKey, VariantKey};
use machine::outcome::Outcome;
use machine::sequence::Channel;
use machine::signal::{Answer, CallResult, Decision, Missing, Refusal, Signal};
use machine::state::{Done, State, Why};
use schemars::JsonSchema;
use serde::Serialize;

use cast::{Actor, Stage, cast};

use crate::campaigns::enroll::{Enrolled, Selection};
use crate::campaigns::{self, Campaign};
use crate::error::Result;
use crate::handover_cause::Cause;
use crate::mailroom::Mailroom;
use crate::send::slots::{Booking, Candidate, Verdict};
use crate::sms::Measure;
use crate::store::clock;

/// How long before its window closes a mail must leave, as at the gate.
const MARGIN: TimeDelta = TimeDelta::seconds(30);

/// How far ahead is looked.
const HORIZON: TimeDelta = TimeDelta::days(400);

/// How often one lead may wake: a sequence with two hundred steps and a slot for each needs less.
const WAKES_MAX: usize = 2_000;

/// One lead's way through the campaign.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Course {
    /// Who.
    pub lead: LeadId,
    /// The address.
    pub email: Option<String>,
    /// The number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The clock that counts for it.
    #[schemars(with = "String")]
    pub zone: Tz,
    /// What would happen, in order.
    pub touches: Vec<Touch>,
    /// How it would end.
    pub ending: Ending,
}

/// One message or call.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Touch {
    /// When.
    pub at: DateTime<Utc>,
    /// Which step.
    pub step: StepKey,
    /// On which channel.
    pub channel: Channel,
    /// In which wording.
    pub variant: Option<VariantKey>,
    /// From whom.
    pub sender: Option<SenderId>,
    /// What moved it to this time, beside the delay.
    pub moved_by: Option<Why>,
    /// Whether a person has to approve it first.
    pub needs_approval: bool,
    /// What a text comes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Measure>,
}

/// How a course ends.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// Every step is done.
    Finished {
        /// When.
        at: DateTime<Utc>,
    },
    /// The goal is met from the start, or on the way.
    Met,
    /// A step cannot go on.
    Held {
        /// Which.
        step: StepKey,
        /// What is missing.
        missing: Missing,
    },
    /// A person takes over.
    HandedOver {
        /// When.
        at: DateTime<Utc>,
        /// Why.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The address is on the list of suppressions.
    Suppressed,
    /// A mail cannot be made: its text comes out empty, or too long.
    Unmailable {
        /// Which step.
        step: StepKey,
    },
    /// It goes on for longer than is looked ahead.
    Beyond,
}

impl Ending {
    /// Returns the word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Finished { .. } => "finished",
            Self::Met => "met",
            Self::Held { .. } => "held",
            Self::HandedOver { .. } => "handed_over",
            Self::Suppressed => "suppressed",
            Self::Unmailable { .. } => "unmailable",
            Self::Beyond => "beyond",
        }
    }
}

/// A campaign run ahead.
pub struct Rehearsed {
    /// The campaign.
    pub campaign: Campaign,
    /// The campaign time from which it was run.
    pub from: DateTime<Utc>,
    /// Every lead's way.
    pub courses: Vec<Course>,
    /// What became of those who would not enter.
    pub left_out: Enrolled,
    /// The names of the senders.
    pub senders: BTreeMap<SenderId, String>,
    /// The steps that are messages or calls, in order.
    pub steps: Vec<StepKey>,
}

/// Runs a campaign ahead with at most `limit` leads of `selection`.
///
/// # Errors
///
/// When the database fails, or there is no such campaign.
pub async fn run(
    room: &Mailroom,
    workspace: WorkspaceId,
    campaign: CampaignId,
    selection: &Selection,
    limit: usize,
) -> Result<Rehearsed> {
    let mut tx = room.store.begin(workspace).await?;
    let campaign = campaigns::find(&mut tx, workspace, campaign).await?;
    let from = clock::read(&mut tx).await?.campaign;
    drop(tx);
    let (mut stage, actors, left_out) =
        cast(room, workspace, &campaign, selection, limit, from).await?;
    let work = move || {
        let courses = rehearse(&mut stage, actors, from);
        (stage, courses)
    };
    let (stage, courses) = match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only the end of the program cancels it.
        Err(_) => return Err(sqlx::Error::PoolClosed.into()),
    };
    let senders = stage.senders.values().map(|it| (it.id, it.name.clone())).collect();
    let mut steps = Vec::new();
    stage.each_message(&mut |key| steps.push(key.clone()));
    Ok(Rehearsed { campaign, from, courses, left_out, senders, steps })
}

/// Runs every actor to the end of its course.
fn rehearse(stage: &mut Stage, actors: Vec<Actor>, start: DateTime<Utc>) -> Vec<Course> {
    let mut runs: Vec<Run> = actors.into_iter().map(Run::new).collect();
    let mut agenda = BinaryHeap::new();
    for (index, run) in runs.iter_mut().enumerate() {
        let wake_at = run.enter(stage, start);
        agenda.extend(wake_at.map(|at| Reverse((at, index))));
    }
    while let Some(Reverse((at, index))) = agenda.pop() {
        let run = &mut runs[index];
        if at - start > HORIZON || run.wakes >= WAKES_MAX {
            continue;
        }
        let wake_at = run.wake(stage, at);
        agenda.extend(wake_at.map(|at| Reverse((at, index))));
    }
    runs.into_iter().map(Run::into_course).collect()
}

struct Run {
    actor: Actor,
    enrollment: Option<Enrollment>,
    booking: Option<Booking>,
    moved_by: Option<Why>,
    approved: bool,
    touches: Vec<Touch>,
    /// What handed the lead over, where no step did.
    cause: Option<Cause>,
    ending: Option<Ending>,
    wakes: usize,
}

impl Run {
    fn new(actor: Actor) -> Self {
        Self {
            actor,
            enrollment: None,
            booking: None,
            moved_by: None,
            approved: false,
            touches: Vec::new(),
            cause: None,
            ending: None,
            wakes: 0,
        }
    }

    fn enter(&mut self, stage: &mut Stage, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let first = stage.version.version.steps.first()?;
        self.enrollment = Some(Enrollment::begin(first, now));
        self.tell(stage, &Signal::Enrolled, now);
        self.next_wake(now)
    }

    fn wake(&mut self, stage: &mut Stage, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.wakes += 1;
        self.tell(stage, &Signal::Woke, now);
        self.next_wake(now)
    }

    /// Returns when to look again, or settles how it ends.
    fn next_wake(&mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.ending.is_some() {
            return None;
        }
        let enrollment = self.enrollment.as_ref()?;
        let ending = match &enrollment.state {
            State::Held { step, missing, .. } => {
                Ending::Held { step: step.clone(), missing: missing.clone() }
            }
            State::Offered { .. } | State::Accepted { .. } | State::Answered { .. } => {
                let history = &enrollment.data.history.done;
                let mut steps = history.iter().filter(|(_, done)| **done == Done::HandedOver);
                let step = || Cause::Step { step: steps.next().map(|(key, _)| key.clone()) };
                let cause = self.cause.take().unwrap_or_else(step);
                Ending::HandedOver { at: now, cause }
            }
            State::Ended { outcome: Outcome::Met } => Ending::Met,
            State::Ended { outcome: Outcome::OptedOut } => Ending::Suppressed,
            State::Ended {
                outcome:
                    Outcome::Failed
                    | Outcome::Completed
                    | Outcome::Replied
                    | Outcome::Bounced
                    | Outcome::Stopped,
            } => Ending::Finished { at: now },
            State::Waiting { .. }
            | State::Dispatching { .. }
            | State::AwaitingApproval { .. }
            | State::AwaitingCall { .. }
            | State::Paused { .. } => {
                return enrollment.wake_at().map(|at| at.max(now));
            }
        };
        self.ending = Some(ending);
        None
    }

    /// Applies a signal, and answers at once what the machine asks for.
    fn tell(&mut self, stage: &mut Stage, signal: &Signal, now: DateTime<Utc>) {
        let Some(enrollment) = &mut self.enrollment else { return };
        let context = Context {
            now,
            workspace: stage.workspace,
            enrollment: self.actor.enrollment,
            lead: self.actor.lead,
            version: &stage.version.version,
            facts: &self.actor.facts,
        };
        let applied = enrollment.apply(signal, context);
        for effect in applied.effects {
            match effect {
                Effect::Send { id, step, channel, variant, .. } => {
                    let answer = self.send(stage, &step, channel, variant, now);
                    self.answer(stage, id, answer, now);
                }
                Effect::RequestApproval { id, .. } => {
                    self.approved = true;
                    let decision = Decision::Approved;
                    self.tell(stage, &Signal::ApprovalDecided { effect: id, decision }, now);
                }
                Effect::OpenCallTask { id, step } => {
                    self.touch(now, &step, Channel::Call, None, None);
                    let result = CallResult::Reached;
                    self.tell(stage, &Signal::CallDone { effect: id, result }, now);
                }
                // What a person does with it cannot be foreseen.
                Effect::PassOn { .. } | Effect::Forward { .. } => {}
                Effect::OfferHandover { triggers, .. } if triggers.is_empty() => {}
                Effect::OfferHandover { triggers, .. } => {
                    self.cause = Some(Cause::Triggered { triggers });
                }
            }
        }
    }

    fn answer(&mut self, stage: &mut Stage, effect: EffectId, answer: Answer, now: DateTime<Utc>) {
        if let Answer::Rejected { class: Refusal::Content, .. } = &answer
            && let Some(State::Dispatching { step, .. }) =
                self.enrollment.as_ref().map(|enrollment| &enrollment.state)
        {
            self.ending = Some(Ending::Unmailable { step: step.clone() });
            return;
        }
        self.tell(stage, &Signal::SendAnswered { effect, answer }, now);
    }

    /// What PREPARE and GATE would answer.
    fn send(
        &mut self,
        stage: &mut Stage,
        step: &StepKey,
        channel: Channel,
        variant: Option<VariantKey>,
        now: DateTime<Utc>,
    ) -> Answer {
        let held = |missing| Answer::Held { missing };
        let sender = self.actor.senders.get(&channel).copied();
        let Some(sender) = sender else { return held(Missing::Sender { channel }) };
        let checked = stage.check_wording(&self.actor, step, variant.as_ref(), channel);
        let text = match checked {
            Ok(text) => text,
            Err(answer) => return answer,
        };
        if self.actor.suppressed.contains(&channel) {
            return Answer::Rejected { class: Refusal::Suppressed, retry_after_s: None };
        }
        let calendar = stage.version.version.calendar_of(channel);
        if !calendar.suits(&self.actor.zones, now) {
            return held(Missing::zone());
        }
        let candidate = Candidate {
            sender: sender.uuid(),
            campaign: stage.campaign.uuid(),
            calendar,
            windows: &stage.version.version.calendar,
            zones: &self.actor.zones,
            booked: self.booking.take(),
            margin: MARGIN,
            // Who was written to a short while ago does not enter.
            guarded: None,
        };
        match stage.book.allot(&candidate, now) {
            Verdict::Go { .. } => {
                self.touch(now, step, channel, variant, Some(sender));
                self.touches.last_mut().expect("it was just noted").text = text;
                Answer::Accepted
            }
            Verdict::Defer { until, because, days } => {
                self.booking = days.map(|(sender_day, campaign_day)| Booking {
                    at: until,
                    because,
                    sender_day,
                    campaign_day,
                });
                self.moved_by = Some(because);
                Answer::Deferred { until, reason: because }
            }
        }
    }

    fn touch(
        &mut self,
        at: DateTime<Utc>,
        step: &StepKey,
        channel: Channel,
        variant: Option<VariantKey>,
        sender: Option<SenderId>,
    ) {
        self.touches.push(Touch {
            at,
            step: step.clone(),
            channel,
            variant,
            sender,
            moved_by: self.moved_by.take(),
            needs_approval: std::mem::take(&mut self.approved),
            text: None,
        });
    }

    fn into_course(self) -> Course {
        Course {
            lead: self.actor.lead,
            email: self.actor.email.map(String::from),
            phone: self.actor.phone.map(String::from),
            zone: self.actor.zone,
            touches: self.touches,
            ending: self.ending.unwrap_or(Ending::Beyond),
        }
    }
}
