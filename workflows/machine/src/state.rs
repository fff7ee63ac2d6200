//! The states of an enrollment and the data it carries. Their names and fields are the storage
//! format: old snapshots must load for ever, so fields are added with defaults and never renamed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::effect::EffectId;
use crate::ids::MailId;
use crate::key::{KeywordKey, StepKey, TriggerKey, VariantKey};
use crate::outcome::Outcome;
use crate::sequence::{Channel, Wake};
use crate::signal::{CallResult, Missing, PauseScope};

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

/// Why a lead waits until the time it waits until.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Reason")]
pub enum Why {
    /// The delay the author wrote.
    Delay,
    /// An event, or the end of the wait for it.
    UntilEvent,
    /// The lead is away until then.
    LeadAsked,
    /// The sending window is closed.
    SendWindow,
    /// A holiday.
    Holiday,
    /// Too early or too late for a text at the lead's place, whatever the campaign's window is.
    QuietHours,
    /// The sender leaves time between messages.
    SenderPacing,
    /// The sender's messages of the day are used up.
    SenderDailyLimit,
    /// The campaign's messages of the day are used up.
    CampaignDailyLimit,
    /// Another campaign wrote to the lead a short while ago.
    RecontactGuard,
    /// Somebody of the same company answered and is with a person.
    ColleagueWithPerson,
    /// The provider refused; the next try has a time.
    RetryBackoff,
    /// The sender's provider does not work; it is tried again then.
    ProviderOutage,
    /// The campaign is paused.
    CampaignPaused,
    /// The lead is paused.
    LeadPaused,
    /// A value the text needs is missing.
    MissingVariable,
    /// Consent is missing.
    ConsentMissing,
    /// No sender works.
    SenderDisconnected,
    /// There is no address on the channel.
    AddressMissing,
    /// A draft waits for a decision.
    Approval,
    /// A call waits to be made.
    CallQueue,
    /// A person has the lead.
    OwnerReply,
    /// No agent works now.
    AgentsAway,
    /// Every agent who works now has as many leads as they may.
    AgentsBusy,
    /// No agent is left who could be asked.
    AgentMissing,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 25] = [
        Self::Delay,
        Self::UntilEvent,
        Self::LeadAsked,
        Self::SendWindow,
        Self::Holiday,
        Self::QuietHours,
        Self::SenderPacing,
        Self::SenderDailyLimit,
        Self::CampaignDailyLimit,
        Self::RecontactGuard,
        Self::ColleagueWithPerson,
        Self::RetryBackoff,
        Self::ProviderOutage,
        Self::CampaignPaused,
        Self::LeadPaused,
        Self::MissingVariable,
        Self::ConsentMissing,
        Self::SenderDisconnected,
        Self::AddressMissing,
        Self::Approval,
        Self::CallQueue,
        Self::OwnerReply,
        Self::AgentsAway,
        Self::AgentsBusy,
        Self::AgentMissing,
    ];

    /// Returns the reason with this code.
    pub fn of(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == code)
    }

    /// Returns the code that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::UntilEvent => "until_event",
            Self::LeadAsked => "lead_asked",
            Self::SendWindow => "send_window",
            Self::Holiday => "holiday",
            Self::QuietHours => "quiet_hours",
            Self::SenderPacing => "sender_pacing",
            Self::SenderDailyLimit => "sender_daily_limit",
            Self::CampaignDailyLimit => "campaign_daily_limit",
            Self::RecontactGuard => "recontact_guard",
            Self::ColleagueWithPerson => "colleague_with_person",
            Self::RetryBackoff => "retry_backoff",
            Self::ProviderOutage => "provider_outage",
            Self::CampaignPaused => "campaign_paused",
            Self::LeadPaused => "lead_paused",
            Self::MissingVariable => "missing_variable",
            Self::ConsentMissing => "consent_missing",
            Self::SenderDisconnected => "sender_disconnected",
            Self::AddressMissing => "address_missing",
            Self::Approval => "approval",
            Self::CallQueue => "call_queue",
            Self::OwnerReply => "owner_reply",
            Self::AgentsAway => "agents_away",
            Self::AgentsBusy => "agents_busy",
            Self::AgentMissing => "agent_missing",
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

/// A lane of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// The condition held.
    Then,
    /// It did not.
    Else,
}

/// How a step was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Done {
    /// Its message was accepted.
    Sent {
        /// In which wording.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<VariantKey>,
    },
    /// Its wait ended.
    Waited {
        /// By what.
        by: Wake,
    },
    /// A lane was taken.
    Lane {
        /// Which.
        lane: Lane,
    },
    /// Its call was made.
    Called {
        /// How it went.
        result: CallResult,
    },
    /// The lead was offered to a person.
    HandedOver,
    /// A person skipped it.
    Skipped,
}

/// What happened so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// The steps that are done.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub done: BTreeMap<StepKey, Done>,
    /// The steps whose message was delivered.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub delivered: BTreeSet<StepKey>,
    /// The steps in whose message a link was followed.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub clicked: BTreeSet<StepKey>,
    /// The steps whose message was answered.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub replied: BTreeSet<StepKey>,
    /// The keywords that stood in its answers.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub said: BTreeSet<KeywordKey>,
}

impl History {
    /// Returns the wording in which the message of a step left, where it has several.
    pub fn wording_of(&self, step: &StepKey) -> Option<&VariantKey> {
        match self.done.get(step)? {
            Done::Sent { variant } => variant.as_ref(),
            Done::Waited { .. }
            | Done::Lane { .. }
            | Done::Called { .. }
            | Done::HandedOver
            | Done::Skipped => None,
        }
    }
}

/// An effect that is not answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The request.
    pub id: EffectId,
    /// The step it belongs to; `None` for a handover's offer, and for a letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepKey>,
    /// The letter it passes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<Letter>,
    /// The wording that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantKey>,
}

impl Open {
    /// Whether it offers a handover to a person.
    pub fn is_offer(&self) -> bool {
        self.step.is_none() && self.letter.is_none()
    }

    /// Whether it is a mail to a person of ours.
    pub fn is_to_the_team(&self) -> bool {
        self.step.is_none() && self.answer().is_none()
    }

    /// Returns the mail of a person of ours that it passes on to the lead.
    pub fn answer(&self) -> Option<MailId> {
        match self.letter {
            Some(Letter::Answer { mail }) => Some(mail),
            Some(Letter::Forward { .. }) | None => None,
        }
    }
}

/// A letter between the lead and the person who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "letter", rename_all = "snake_case")]
pub enum Letter {
    /// To the lead: what the person wrote.
    Answer {
        /// In this mail.
        mail: MailId,
    },
    /// To the person: what the lead wrote since.
    Forward {
        /// Who has the lead.
        to: Responder,
    },
}

/// What a letter has been through.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Passing {
    /// How often it was asked for; 0: nobody had the lead, or somebody else.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// How often it was refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub refusals: u32,
    /// When it is asked for again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_at: Option<DateTime<Utc>>,
}

/// The newest mail to the person who has the lead about what it wrote since, until it has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarding {
    /// Who has the lead.
    pub to: Responder,
    /// What it has been through.
    #[serde(flatten)]
    pub passing: Passing,
}

/// What an enrollment carries through every state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// When the lead entered; `None` until the first signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entered_at: Option<DateTime<Utc>>,
    /// What happened so far.
    #[serde(flatten)]
    pub history: History,
    /// The requests that are not answered yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Open>,
    /// The steps that were asked for and are not done.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<StepKey, Asked>,
    /// How many handovers there were, and how many mails about them.
    #[serde(skip_serializing_if = "Handovers::is_none")]
    pub handovers: Handovers,
    /// The mails in which people of ours wrote to the lead, each heard of once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<MailId, Passing>,
    /// What the lead wrote that the person who has it has not been told yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Forwarding>,
    /// The first day the lead is back from an absence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away_until: Option<NaiveDate>,
    /// The days on which a message bounced softly.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub soft_bounces: BTreeSet<NaiveDate>,
    /// The pauses in force.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub pauses: BTreeSet<PauseScope>,
    /// The strongest outcome that facts have claimed so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached: Option<Outcome>,
    /// What the lead was counted for, beside what the history tells of its messages.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub counted: BTreeSet<Counted>,
}

/// What a lead is counted for once, however often it is reported; once a message, where it is about one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// A message arrived.
    Delivered,
    /// A link in a message was followed.
    Clicked,
    /// It answered a message of this campaign.
    Replied,
    /// Its address is bad.
    Bounced,
    /// A message did not get through, this time.
    SoftBounced,
    /// It wants no more.
    OptedOut,
    /// It called a message spam.
    Complained,
}

impl Counted {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Clicked => "clicked",
            Self::Replied => "replied",
            Self::Bounced => "bounced",
            Self::SoftBounced => "soft_bounced",
            Self::OptedOut => "opted_out",
            Self::Complained => "complained",
        }
    }
}

/// What a step has been through before it is done. Kept by step: when a version moves a lead to
/// another step and back, the counts must go on, or a request would get the id of an older one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// How often it was asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// How often it was refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub refusals: u32,
    /// The wording that was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantKey>,
}

/// The handovers of an enrollment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Handovers {
    /// How many there were.
    pub visits: u32,
    /// How many mails were meant for the team, reminders included. Each is a send of its own.
    pub mails: u32,
    /// How often the newest mail was asked for; 0 once it left.
    pub attempts: u32,
    /// How many mails told the person who has the lead that it wrote again.
    #[serde(skip_serializing_if = "is_zero")]
    pub forwards: u32,
    /// The triggers that have handed the lead over: none does it twice.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub triggered: BTreeSet<TriggerKey>,
}

impl Handovers {
    fn is_none(&self) -> bool {
        self.visits == 0 && self.triggered.is_empty()
    }
}

impl Missing {
    /// Returns the reason code of what is missing.
    pub fn why(&self) -> Why {
        match self {
            Self::Variables { .. } => Why::MissingVariable,
            Self::Consent { .. } => Why::ConsentMissing,
            // Both go on when the sender is mended.
            Self::Sender { .. } | Self::SmtpUtf8 => Why::SenderDisconnected,
            Self::Address { .. } => Why::AddressMissing,
            Self::Approval => Why::Approval,
            Self::Agent => Why::AgentMissing,
        }
    }

    /// Returns the channel on which something is missing, if it is about one.
    pub fn channel(&self) -> Option<Channel> {
        match self {
            Self::Consent { channel } | Self::Sender { channel } | Self::Address { channel } => {
                Some(*channel)
            }
            Self::SmtpUtf8 => Some(Channel::Email),
            Self::Variables { .. } | Self::Approval | Self::Agent => None,
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
