//! Why a lead waits, as a code.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sequence::Channel;
use crate::signal::Missing;

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
