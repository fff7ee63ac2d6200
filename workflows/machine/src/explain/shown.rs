//! The words a lead's state is shown by: fewer than the states, and the same everywhere.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::enrollment::Enrollment;
use crate::outcome::Outcome;
use crate::sequence::{StepKind, Version};
use crate::state::{Done, State, Why};

/// The word for where a lead is, in tables, filters, API and exports.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "EnrollmentState")]
pub enum Shown {
    /// Enrolled; the first step was not asked for yet.
    Queued,
    /// Nothing to do before a time or an event.
    Waiting,
    /// A step is being carried out right now.
    Sending,
    /// An attempt failed; the next one has a time.
    Retrying,
    /// A draft waits for a decision.
    NeedsApproval,
    /// A call waits to be made.
    CallDue,
    /// A person has the lead; automation is off.
    WithPerson,
    /// Something is missing; someone must act.
    Held,
    /// Stopped by a person, resumable.
    Paused,
    /// The lead answered.
    Replied,
    /// The campaign's goal is met.
    Met,
    /// Every step is done, and there was no reply.
    Finished,
    /// The address is bad.
    Bounced,
    /// The lead wants no more.
    OptedOut,
    /// Ended by a person or a rule.
    Stopped,
    /// Given up; someone should look.
    Failed,
}

impl Shown {
    /// Every word, in the order of a lead's life.
    pub const ALL: [Self; 16] = [
        Self::Queued,
        Self::Waiting,
        Self::Sending,
        Self::Retrying,
        Self::NeedsApproval,
        Self::CallDue,
        Self::WithPerson,
        Self::Held,
        Self::Paused,
        Self::Replied,
        Self::Met,
        Self::Finished,
        Self::Bounced,
        Self::OptedOut,
        Self::Stopped,
        Self::Failed,
    ];

    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::NeedsApproval => "needs_approval",
            Self::CallDue => "call_due",
            Self::WithPerson => "with_person",
            Self::Held => "held",
            Self::Paused => "paused",
            Self::Replied => "replied",
            Self::Met => "met",
            Self::Finished => "finished",
            Self::Bounced => "bounced",
            Self::OptedOut => "opted_out",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether the enrollment is over.
    pub fn is_over(self) -> bool {
        match self {
            Self::Replied
            | Self::Met
            | Self::Finished
            | Self::Bounced
            | Self::OptedOut
            | Self::Stopped
            | Self::Failed => true,
            Self::Queued
            | Self::Waiting
            | Self::Sending
            | Self::Retrying
            | Self::NeedsApproval
            | Self::CallDue
            | Self::WithPerson
            | Self::Held
            | Self::Paused => false,
        }
    }

    /// Returns the word for an enrollment.
    pub fn of(enrollment: &Enrollment, version: &Version) -> Self {
        match &enrollment.state {
            State::Waiting { wait, .. } if wait.because == Why::RetryBackoff => Self::Retrying,
            State::Waiting { .. } if is_queued(enrollment, version) => Self::Queued,
            State::Waiting { .. } => Self::Waiting,
            State::Dispatching { .. } => Self::Sending,
            State::AwaitingApproval { .. } => Self::NeedsApproval,
            State::AwaitingCall { .. } => Self::CallDue,
            State::Held { .. } => Self::Held,
            State::Paused { .. } => Self::Paused,
            State::Offered { .. } | State::Accepted { .. } | State::Answered { .. } => {
                Self::WithPerson
            }
            State::Ended { outcome } => Self::from(*outcome),
        }
    }
}

impl From<Outcome> for Shown {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Failed => Self::Failed,
            Outcome::Completed => Self::Finished,
            Outcome::Met => Self::Met,
            Outcome::Replied => Self::Replied,
            Outcome::Bounced => Self::Bounced,
            Outcome::Stopped => Self::Stopped,
            Outcome::OptedOut => Self::OptedOut,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a waiting lead has not begun: nothing was asked for, nothing but decisions is done, and
/// it does not wait for an event, which is a step that has begun.
fn is_queued(enrollment: &Enrollment, version: &Version) -> bool {
    let State::Waiting { step, .. } = &enrollment.state else { return false };
    let history = &enrollment.data.history;
    let awaits = version.step(step).is_some_and(|s| matches!(s.kind, StepKind::WaitUntil(_)));
    !awaits
        && enrollment.data.asked.is_empty()
        && history.done.values().all(|done| matches!(done, Done::Lane { .. }))
}
