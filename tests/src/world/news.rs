//! What may be heard of a person, and what may change about one.

use chrono::NaiveDate;
use machine::context::Consent;
use machine::sequence::Channel;
use machine::signal::Bounce;
use machine::state::Responder;
use serde_json::Value;

/// Something that arrives from outside. It is about the enrollment that is named beside it; what
/// concerns the whole person reaches every enrollment.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A person answered the newest message of the enrollment.
    Reply {
        /// In these words.
        text: String,
    },
    /// A machine answered.
    OutOfOffice {
        /// The first day the lead is back.
        back_on: Option<NaiveDate>,
    },
    /// The newest message came back.
    Bounce(Bounce),
    /// The lead wants no more.
    OptOut,
    /// The lead reported a message as unwanted.
    Complaint,
    /// The message of a step arrived.
    Delivered {
        /// The step.
        step: String,
    },
    /// Somebody answers the newest mail about the lead that went to a person of ours.
    TeamAnswer {
        /// Whose mail.
        of: Responder,
        /// Who answers it.
        author: Author,
        /// In these words.
        text: String,
    },
    /// A link in the message of a step was followed.
    Click {
        /// The step.
        step: String,
    },
}

/// Who answers a mail to a person of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// That person.
    Themselves,
    /// That person's mail program, while they are away.
    TheirMachine,
    /// Somebody else.
    Stranger,
}

/// What changes about a person.
#[derive(Debug, Clone, PartialEq)]
pub enum LeadChange {
    /// An attribute has this value now.
    Attribute(String, Value),
    /// Consent on a channel was given or refused.
    Consent(Channel, Consent),
}
