//! The states of an enrollment and the data it carries. Their names and fields are the storage
//! format: old snapshots must load for ever, so fields are added with defaults and never renamed.

mod data;
mod why;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use data::{
    Asked, Counted, Data, Done, Forwarding, Handovers, History, Lane, Letter, Open, Passing,
};
pub use why::Why;

use crate::effect::EffectId;
use crate::key::StepKey;
use crate::outcome::Outcome;
use crate::signal::Missing;

/// Where an enrollment is. Data that exists in one state lives in that state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Nothing to do before a time or an event.
    Waiting {
        /// The step that comes next.
        step: StepKey,
        /// The wait.
        #[serde(flatten)]
        wait: Wait,
    },
    /// A message was asked for and not answered.
    Dispatching {
        /// The step it belongs to.
        step: StepKey,
        /// The open request.
        effect: EffectId,
    },
    /// A person decides about a draft.
    AwaitingApproval {
        /// The step it belongs to.
        step: StepKey,
        /// The open request.
        draft: EffectId,
        /// When the step is held instead.
        expires_at: DateTime<Utc>,
    },
    /// A person makes a call.
    AwaitingCall {
        /// The step it belongs to.
        step: StepKey,
        /// The open task.
        task: EffectId,
    },
    /// Something is missing; a person must act.
    Held {
        /// The step that cannot go on.
        step: StepKey,
        /// What is missing.
        missing: Missing,
        /// Since when.
        since: DateTime<Utc>,
    },
    /// Stopped by a person, resumable.
    Paused {
        /// Since when.
        since: DateTime<Utc>,
        /// What was interrupted.
        resume: Resume,
    },
    /// A handover waits for a person.
    Offered {
        /// Whom it is offered to.
        to: Responder,
        /// Until when an answer is expected.
        answer_by: DateTime<Utc>,
        /// When to remind, once nobody is left to turn to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remind_at: Option<DateTime<Utc>>,
    },
    /// A person took it and has not yet answered the lead.
    Accepted {
        /// Who.
        by: Responder,
        /// Until when the lead should have an answer.
        answer_by: DateTime<Utc>,
    },
    /// The person answered the lead.
    Answered {
        /// Who.
        by: Responder,
    },
    /// It is over. Stronger outcomes may still follow.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

impl State {
    /// Returns the step whose message was asked for and put off by the gate: it lies in the ledger
    /// until this state is left.
    pub fn put_off(&self) -> Option<&StepKey> {
        match self {
            Self::Waiting { step, wait }
            | Self::Paused { resume: Resume::Wait { step, wait }, .. } => {
                wait.is_put_off().then_some(step)
            }
            Self::Dispatching { .. }
            | Self::AwaitingApproval { .. }
            | Self::AwaitingCall { .. }
            | Self::Held { .. }
            | Self::Paused { resume: Resume::Step { .. } | Resume::Held { .. }, .. }
            | Self::Offered { .. }
            | Self::Accepted { .. }
            | Self::Answered { .. }
            | Self::Ended { .. } => None,
        }
    }
}

/// A wait before a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// When it began.
    pub since: DateTime<Utc>,
    /// The earliest time, before windows and absences are applied.
    pub not_before: DateTime<Utc>,
    /// What made `not_before` so.
    pub because: Why,
    /// When it ends, unless a signal ends it sooner.
    pub wake_at: DateTime<Utc>,
    /// The constraint that made `wake_at` so.
    pub why: Why,
}

impl Wait {
    /// Whether the gate made it, because it had no room or the window was closed.
    fn is_put_off(&self) -> bool {
        match self.because {
            Why::SendWindow
            | Why::QuietHours
            | Why::Holiday
            | Why::SenderPacing
            | Why::SenderDailyLimit
            | Why::CampaignDailyLimit
            | Why::RecontactGuard
            | Why::ColleagueWithPerson
            | Why::SenderDisconnected
            | Why::ProviderOutage => true,
            Why::Delay
            | Why::UntilEvent
            | Why::LeadAsked
            | Why::RetryBackoff
            | Why::CampaignPaused
            | Why::LeadPaused
            | Why::MissingVariable
            | Why::ConsentMissing
            | Why::AddressMissing
            | Why::Approval
            | Why::CallQueue
            | Why::OwnerReply
            | Why::AgentsAway
            | Why::AgentsBusy
            | Why::AgentMissing => false,
        }
    }
}

/// What a pause interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "resume", rename_all = "snake_case")]
pub enum Resume {
    /// A wait before a step.
    Wait {
        /// The step that comes next.
        step: StepKey,
        /// The wait as it was.
        #[serde(flatten)]
        wait: Wait,
    },
    /// A step that was about to happen.
    Step {
        /// The step.
        step: StepKey,
    },
    /// A step that lacked something.
    Held {
        /// The step.
        step: StepKey,
        /// What is missing.
        missing: Missing,
        /// Since when.
        since: DateTime<Utc>,
    },
}

impl Resume {
    /// Returns the step that goes on.
    pub fn step(&self) -> &StepKey {
        match self {
            Self::Wait { step, .. } | Self::Step { step } | Self::Held { step, .. } => step,
        }
    }
}

/// Who is asked to take a handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Responder {
    /// The campaign's first address, or the agent whose turn it is.
    First,
    /// The address that is asked when the first does not answer.
    Fallback,
}

impl Responder {
    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Fallback => "fallback",
        }
    }
}
