//! Orders of people about one enrollment: what the machine is told, or why the order means nothing as
//! things are. The machine itself takes every signal in every state; this is for the person, who wants
//! to know.

use machine::enrollment::Enrollment;
use machine::explain::Shown;
use machine::ids::{EnrollmentId, WorkspaceId};
use machine::key::StepKey;
use machine::outcome::Outcome;
use machine::signal::{CallResult, Decision, PauseScope, ReplyTo, ResumeRule, Signal};
use machine::state::State;

use crate::enrollment_view::{self, EnrollmentView};
use crate::error::Result;
use crate::ingest::{self, Verb};
use crate::store::{Store, signals};
use crate::versions::Versions;

/// What a person can order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Let it rest until it is resumed.
    Pause,
    /// Let it go on; the rule says what becomes of the wait that was interrupted.
    Resume(ResumeRule),
    /// Leave the next step out: this one, where the person named it.
    Skip(Option<StepKey>),
    /// Do not wait for the delay of the next step: of this one, where the person named it.
    SendNow(Option<StepKey>),
    /// Try again what was given up, from the step that failed.
    Retry,
    /// End it.
    Stop,
    /// Offer the lead to a person.
    HandOver,
    /// The lead replied where its mail does not come to us.
    Replied,
    /// Decide about the draft that waits.
    Decide(Decision),
    /// The call that was due was made.
    Called(CallResult),
}

/// Why an order means nothing as things are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The enrollment has ended.
    #[error("it is over: {0}")]
    Over(Shown),
    /// Nothing of it was given up.
    #[error("nothing of it was given up; it is {0}")]
    NotFailed(Shown),
    /// It failed to move, and no order reaches it.
    #[error("it failed to move, again and again: put it back to work with its dead letter")]
    Parked,
    /// Its campaign ended for good.
    #[error("its campaign is stopped for good")]
    CampaignStopped,
    /// The person was erased.
    #[error("the person was erased")]
    Erased,
    /// A person paused it before.
    #[error("it is paused already")]
    PausedAlready,
    /// There is no pause to end.
    #[error("it is not paused; it is {0}")]
    NotPaused(Shown),
    /// It rests because its whole campaign does.
    #[error("the whole campaign is paused: resume the campaign")]
    CampaignPaused,
    /// Nothing is to come.
    #[error("no step of it comes next; it is {0}")]
    NoNextStep(Shown),
    /// The person had another step in mind.
    #[error("`{named}` is not its next step, which is `{next}`: look at it again")]
    OtherStep {
        /// What the person named.
        named: StepKey,
        /// What comes next.
        next: StepKey,
    },
    /// A message is past the point where it can be called back.
    #[error("its message is under way and cannot be called back")]
    UnderWay,
    /// No delay holds it up.
    #[error("no delay holds it up; it is {0}")]
    NoDelay(Shown),
    /// A person has the lead.
    #[error("a person has it already")]
    WithPerson,
    /// There is nobody to hand over to.
    #[error(
        "the campaign names nobody to hand over to: add `handover.to` or `handover.agents` to its file"
    )]
    NobodyNamed,
    /// Nothing waits for an approval.
    #[error("no draft of it waits; it is {0}")]
    NoDraft(Shown),
    /// No call waits to be made.
    #[error("no call of it is due; it is {0}")]
    NoCall(Shown),
}

/// Gives an order, on record. Returns what the machine is told; the same `source_key` tells it once.
///
/// # Errors
///
/// [`crate::error::ActivityError::NoSuchEnrollment`], or when the database fails: the same order may
/// be given again.
pub async fn give(
    store: &Store,
    versions: &Versions,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    order: Order,
    source_key: String,
    actor: &str,
) -> Result<Result<Signal, Refused>> {
    let view = enrollment_view::read(store, versions, workspace, enrollment).await?;
    let mut tx = store.begin(workspace).await?;
    let told = signals::by_source(&mut tx, workspace, enrollment, &source_key).await?;
    drop(tx);
    // A repeat is what it was the first time, whatever it led to.
    if let Some(told) = told {
        return Ok(Ok(told));
    }
    let signal = match order.signal(&view) {
        Ok(signal) => signal,
        Err(refused) => return Ok(Err(refused)),
    };
    let actor = actor.to_owned();
    let verb = Verb { enrollment, signal: signal.clone(), source_key, actor };
    ingest::verb(store, workspace, verb).await?;
    Ok(Ok(signal))
}

impl Order {
    /// Returns what the machine is told.
    ///
    /// # Errors
    ///
    /// Why the order means nothing. While facts are on their way that no turn has seen, nobody knows
    /// how things are: then only what cannot even be said is refused.
    pub fn signal(self, view: &EnrollmentView) -> Result<Signal, Refused> {
        if view.stored.unseen == 0 {
            self.check(view)?;
        }
        let scope = PauseScope::Lead;
        Ok(match self {
            Self::Pause => Signal::Paused { scope },
            Self::Resume(rule) => Signal::Resumed { scope, rule },
            Self::Skip(named) => Signal::Skipped { step: next_step(view, named)? },
            Self::SendNow(named) => Signal::SendNow { step: next_step(view, named)? },
            Self::Retry => Signal::Retried,
            Self::Stop => Signal::Stopped,
            Self::HandOver if view.version.version.handover.is_none() => {
                return Err(Refused::NobodyNamed);
            }
            Self::HandOver => Signal::HandOver,
            Self::Replied => Signal::replied(ReplyTo::This, None),
            Self::Decide(decision) => {
                let State::AwaitingApproval { draft, .. } = &view.enrollment.state else {
                    return Err(Refused::NoDraft(view.plan.state));
                };
                Signal::ApprovalDecided { effect: *draft, decision }
            }
            Self::Called(result) => {
                let State::AwaitingCall { task, .. } = &view.enrollment.state else {
                    return Err(Refused::NoCall(view.plan.state));
                };
                Signal::CallDone { effect: *task, result }
            }
        })
    }

    /// Refuses what the machine would take note of and leave at that.
    fn check(&self, view: &EnrollmentView) -> Result<(), Refused> {
        let shown = view.plan.state;
        let Enrollment { state, data, .. } = &view.enrollment;
        let outcome = view.enrollment.outcome();
        let over_beyond = |strongest: Outcome| match outcome {
            Some(outcome) if outcome > strongest => Err(Refused::Over(shown)),
            Some(_) | None => Ok(()),
        };
        if *self == Self::Retry {
            return check_retry(view);
        }
        if outcome.is_some() {
            match self {
                // A stronger end still counts, and after the last message a reply does.
                Self::Stop => over_beyond(Outcome::Bounced)?,
                Self::HandOver | Self::Replied => over_beyond(Outcome::Replied)?,
                Self::Pause | Self::Resume(_) | Self::Skip(_) | Self::SendNow(_) | Self::Retry => {
                    return Err(Refused::Over(shown));
                }
                // Told by what they need.
                Self::Decide(_) | Self::Called(_) => {}
            }
            return Ok(());
        }
        match self {
            Self::Pause if data.pauses.contains(&PauseScope::Lead) => Err(Refused::PausedAlready),
            Self::Resume(_) if !data.pauses.contains(&PauseScope::Lead) => {
                let campaign = data.pauses.contains(&PauseScope::Campaign);
                Err(if campaign { Refused::CampaignPaused } else { Refused::NotPaused(shown) })
            }
            Self::Skip(_) if view.has_message_under_way() => Err(Refused::UnderWay),
            Self::SendNow(_) => match state {
                State::Waiting { .. } | State::Held { .. } => Ok(()),
                // Told by the missing next step.
                State::Offered { .. } | State::Accepted { .. } | State::Answered { .. } => Ok(()),
                State::Dispatching { .. }
                | State::AwaitingApproval { .. }
                | State::AwaitingCall { .. }
                | State::Paused { .. }
                | State::Ended { .. } => Err(Refused::NoDelay(shown)),
            },
            Self::HandOver => match state {
                State::Offered { .. } | State::Accepted { .. } | State::Answered { .. } => {
                    Err(Refused::WithPerson)
                }
                State::Waiting { .. }
                | State::Dispatching { .. }
                | State::AwaitingApproval { .. }
                | State::AwaitingCall { .. }
                | State::Held { .. }
                | State::Paused { .. }
                | State::Ended { .. } => Ok(()),
            },
            Self::Pause
            | Self::Resume(_)
            | Self::Skip(_)
            | Self::Retry
            | Self::Stop
            | Self::Replied
            | Self::Decide(_)
            | Self::Called(_) => Ok(()),
        }
    }
}

fn check_retry(view: &EnrollmentView) -> Result<(), Refused> {
    match view.enrollment.outcome() {
        _ if view.stored.parked_at.is_some() => Err(Refused::Parked),
        Some(Outcome::Failed) if view.stored.campaign_status == "stopped" => {
            Err(Refused::CampaignStopped)
        }
        Some(Outcome::Failed) if view.stored.is_erased => Err(Refused::Erased),
        Some(Outcome::Failed) => Ok(()),
        Some(_) | None => Err(Refused::NotFailed(view.plan.state)),
    }
}

fn next_step(view: &EnrollmentView, named: Option<StepKey>) -> Result<StepKey, Refused> {
    let Some(next) = &view.plan.next else { return Err(Refused::NoNextStep(view.plan.state)) };
    let next = next.step.clone();
    match named {
        Some(named) if named != next => Err(Refused::OtherStep { named, next }),
        Some(_) | None => Ok(next),
    }
}
