//! Facts told to the machine. They carry ids, times and keys only: no address, no text.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::effect::EffectId;
use crate::ids::MailId;
use crate::key::{KeywordKey, StepKey};
use crate::sequence::Channel;
use crate::state::{Responder, Why};

/// One fact. Applying it twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Signal {
    /// The lead entered the campaign.
    Enrolled,
    /// The wake-up time has come.
    Woke,
    /// An effect that sends was answered.
    SendAnswered {
        /// The request that is answered.
        effect: EffectId,
        /// The answer.
        answer: Answer,
    },
    /// A message reached the recipient's server.
    Delivered {
        /// The step whose message it was.
        step: StepKey,
    },
    /// A message came back.
    Bounced {
        /// The step whose message it was, where the report names one of ours.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepKey>,
        /// Whether the address is bad or only troubled.
        severity: Bounce,
    },
    /// The lead reported a message as unwanted.
    Complained,
    /// The lead wants no more.
    OptedOut,
    /// A person answered.
    Replied {
        /// Which campaign the answer belongs to.
        to: ReplyTo,
        /// The step it answers, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepKey>,
        /// The keywords that stand in it.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        said: BTreeSet<KeywordKey>,
    },
    /// A machine answered: out of office, acknowledgement.
    AutoReplied {
        /// The first day the lead is back, on the lead's own calendar.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        back_on: Option<NaiveDate>,
    },
    /// A person followed a link in the message of a step. It moves a lead where the version names the
    /// step.
    Clicked {
        /// The step.
        step: StepKey,
    },
    /// Data of the lead changed: an attribute the version names, the zone, consent or a sender.
    AttributeChanged,
    /// A person paused the lead or the campaign.
    Paused {
        /// What was paused.
        scope: PauseScope,
    },
    /// A person resumed it.
    Resumed {
        /// What was resumed.
        scope: PauseScope,
        /// What happens to the wait that was interrupted.
        rule: ResumeRule,
    },
    /// A person skipped a step. It is named, so that the order repeated, or given while the lead
    /// moved on, does not skip the step after it.
    Skipped {
        /// The step that was current when the person decided.
        step: StepKey,
    },
    /// A person asked not to wait for the delay. Windows, limits and suppressions still count.
    SendNow {
        /// The step that was current when the person decided.
        step: StepKey,
    },
    /// A person wants what was given up to be tried again, from the step that failed.
    Retried,
    /// A person or a rule ended the enrollment.
    Stopped,
    /// A person asked for a handover.
    HandOver,
    /// A person took the handover.
    HandoverAccepted {
        /// Who.
        by: Responder,
    },
    /// The person who took it answered the lead.
    HandoverAnswered,
    /// A person of ours who was asked to take the lead wrote to it, in a mail to us that is to be passed
    /// on.
    PersonWrote {
        /// Who.
        by: Responder,
        /// In which mail.
        mail: MailId,
        /// How many files came with it; they are not passed on.
        #[serde(default, skip_serializing_if = "is_zero")]
        files: u32,
    },
    /// The person closed it.
    HandoverClosed {
        /// How it ended.
        result: HandoverResult,
    },
    /// The person gave the lead back to automation.
    GivenBack,
    /// A person decided about a draft.
    ApprovalDecided {
        /// The request that is answered.
        effect: EffectId,
        /// The decision.
        decision: Decision,
    },
    /// A call was made.
    CallDone {
        /// The task that is answered.
        effect: EffectId,
        /// How it went.
        result: CallResult,
    },
    /// The enrollment was moved to another version of its sequence.
    VersionMoved,
    /// What the gate put it off for may be over: an agent can take a lead again, a colleague is with
    /// nobody any more. Where it waits for that, it asks once more.
    Freed,
}

/// The answer to a request to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The provider took it.
    Accepted,
    /// The provider, or the gate, refused it.
    Rejected {
        /// Why.
        class: Refusal,
        /// How long the provider asked us to wait, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u32>,
    },
    /// Nobody knew whether it left; a person says that it did not, and orders it again.
    Lost,
    /// There is no room now; a slot is booked.
    Deferred {
        /// When the slot begins.
        until: DateTime<Utc>,
        /// Which limit or window made it so.
        reason: Why,
    },
    /// Something is missing that a person must supply.
    Held {
        /// What.
        missing: Missing,
    },
}

/// Why a send was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Trouble that may pass: try again later.
    Retry,
    /// The address is bad.
    Recipient,
    /// The message is bad; another try would be refused too.
    Content,
    /// Our account at the provider is refused.
    Account,
    /// The address is suppressed.
    Suppressed,
}

/// What a person must supply before a step can go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "missing", rename_all = "snake_case")]
pub enum Missing {
    /// Values that the text needs.
    Variables {
        /// The names of the fields.
        fields: Vec<String>,
    },
    /// Consent to be written to.
    Consent {
        /// On which channel.
        channel: Channel,
    },
    /// A sender that works.
    Sender {
        /// For which channel.
        channel: Channel,
    },
    /// An address to write to.
    Address {
        /// On which channel.
        channel: Channel,
    },
    /// An approval: the draft was refused or expired.
    Approval,
    /// An agent who could take the lead and was not asked yet.
    Agent,
    /// A mail server that takes mailbox names outside ASCII, or an address without any (SMTPUTF8).
    SmtpUtf8,
}

impl Missing {
    /// The lead's zone: no hour is inside the window in all zones the lead may live in.
    pub fn zone() -> Self {
        Self::Variables { fields: vec!["zone".to_owned()] }
    }
}

/// How bad a bounce is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bounce {
    /// The address does not exist.
    Hard,
    /// A full mailbox or the like.
    Soft,
}

/// Which campaign an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyTo {
    /// This enrollment's own message, or its person when no message is named.
    This,
    /// Another campaign's message to the same person.
    Other,
}

/// What a pause covers. The two are independent: both must be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseScope {
    /// This enrollment.
    Lead,
    /// The whole campaign.
    Campaign,
}

/// What happens to a wait that a pause interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResumeRule {
    /// The original time; at once if it has passed.
    Keep,
    /// The rest of the wait, from now.
    Shift,
    /// The whole wait, from now.
    Restart,
}

/// How a handover ended. Data only: the goal of a campaign is an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandoverResult {
    /// The person got what we wanted.
    Won,
    /// The person did not.
    Lost,
}

/// A decision about a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Send it.
    Approved,
    /// Do not.
    Rejected,
}

/// How a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallResult {
    /// The lead was spoken to.
    Reached,
    /// Nobody answered.
    NoAnswer,
    /// The number is wrong.
    WrongNumber,
}

impl Signal {
    /// An answer of which nothing more is known than what it belongs to.
    pub fn replied(to: ReplyTo, step: Option<StepKey>) -> Self {
        Self::Replied { to, step, said: BTreeSet::new() }
    }

    /// Returns the word that is stored and shown.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Woke => "woke",
            Self::SendAnswered { .. } => "send_answered",
            Self::Delivered { .. } => "delivered",
            Self::Bounced { .. } => "bounced",
            Self::Complained => "complained",
            Self::OptedOut => "opted_out",
            Self::Replied { .. } => "replied",
            Self::AutoReplied { .. } => "auto_replied",
            Self::Clicked { .. } => "clicked",
            Self::AttributeChanged => "attribute_changed",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Skipped { .. } => "skipped",
            Self::SendNow { .. } => "send_now",
            Self::Retried => "retried",
            Self::Stopped => "stopped",
            Self::HandOver => "hand_over",
            Self::HandoverAccepted { .. } => "handover_accepted",
            Self::HandoverAnswered => "handover_answered",
            Self::PersonWrote { .. } => "person_wrote",
            Self::HandoverClosed { .. } => "handover_closed",
            Self::GivenBack => "given_back",
            Self::ApprovalDecided { .. } => "approval_decided",
            Self::CallDone { .. } => "call_done",
            Self::VersionMoved => "version_moved",
            Self::Freed => "freed",
        }
    }

    /// Whether the signal answers `effect`.
    pub fn answers(&self, effect: EffectId) -> bool {
        match self {
            Self::SendAnswered { effect: answered, .. }
            | Self::ApprovalDecided { effect: answered, .. }
            | Self::CallDone { effect: answered, .. } => *answered == effect,
            _ => false,
        }
    }

    /// Returns the step whose message the signal proves to have reached the provider.
    pub fn proves(&self) -> Option<&StepKey> {
        match self {
            Self::Delivered { step } | Self::Clicked { step } => Some(step),
            Self::Bounced { step, .. } | Self::Replied { step, .. } => step.as_ref(),
            Self::Enrolled
            | Self::Woke
            | Self::SendAnswered { .. }
            | Self::Complained
            | Self::OptedOut
            | Self::AutoReplied { .. }
            | Self::AttributeChanged
            | Self::Paused { .. }
            | Self::Resumed { .. }
            | Self::Skipped { .. }
            | Self::SendNow { .. }
            | Self::Retried
            | Self::Stopped
            | Self::HandOver
            | Self::HandoverAccepted { .. }
            | Self::HandoverAnswered
            | Self::PersonWrote { .. }
            | Self::HandoverClosed { .. }
            | Self::GivenBack
            | Self::ApprovalDecided { .. }
            | Self::CallDone { .. }
            | Self::VersionMoved
            | Self::Freed => None,
        }
    }

    /// Whether the gate must refuse new sends of the enrollment until a turn has seen the signal.
    ///
    /// True for everything that may stop the sequence: nothing is sent past a stop that is stored.
    pub fn holds(&self) -> bool {
        match self {
            Self::Bounced { .. }
            | Self::Complained
            | Self::OptedOut
            | Self::Replied { .. }
            | Self::AutoReplied { .. }
            | Self::Paused { .. }
            | Self::Skipped { .. }
            | Self::Stopped
            | Self::HandOver => true,
            Self::Enrolled
            | Self::Woke
            | Self::SendAnswered { .. }
            | Self::Delivered { .. }
            | Self::Clicked { .. }
            | Self::AttributeChanged
            | Self::Resumed { .. }
            | Self::SendNow { .. }
            | Self::Retried
            | Self::HandoverAccepted { .. }
            | Self::HandoverAnswered
            | Self::PersonWrote { .. }
            | Self::HandoverClosed { .. }
            | Self::GivenBack
            | Self::ApprovalDecided { .. }
            | Self::CallDone { .. }
            | Self::VersionMoved
            | Self::Freed => false,
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
