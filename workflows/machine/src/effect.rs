//! What the machine asks of the world. Ids, keys and times only: no address, no text.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{MailId, SendId};
use crate::key::{StepKey, TriggerKey, VariantKey};
use crate::sequence::Channel;
use crate::state::Responder;

/// One request: what it is about, and which ask of it this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EffectId {
    /// The send, or the handover, the request is about.
    pub send: SendId,
    /// Counts every ask, from 1.
    pub attempt: u32,
}

/// One request of the world. Performing it yields exactly one signal that carries its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Send the message of a step.
    Send {
        /// Answered by [`crate::signal::Signal::SendAnswered`].
        id: EffectId,
        /// Which step.
        step: StepKey,
        /// How often the lead has come to the step, from 1.
        visit: u32,
        /// On which channel.
        channel: Channel,
        /// Which wording.
        variant: Option<VariantKey>,
    },
    /// Tell a person that the lead needs one.
    OfferHandover {
        /// Answered by [`crate::signal::Signal::SendAnswered`].
        id: EffectId,
        /// Which handover of this enrollment, from 1.
        handover: u32,
        /// Which mail about handovers, from 1: offers to the fallback and reminders are messages
        /// of their own.
        visit: u32,
        /// Whom to tell.
        to: Responder,
        /// Until when an answer is expected.
        answer_by: DateTime<Utc>,
        /// The triggers that hand the lead over with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        triggers: Vec<TriggerKey>,
    },
    /// Pass on to the lead what the person who has it wrote in a mail to us.
    PassOn {
        /// Answered by [`crate::signal::Signal::SendAnswered`].
        id: EffectId,
        /// Which mail.
        mail: MailId,
    },
    /// Tell the person who has the lead that it wrote again.
    Forward {
        /// Answered by [`crate::signal::Signal::SendAnswered`].
        id: EffectId,
        /// Which mail of this kind, from 1.
        visit: u32,
        /// Whom to tell.
        to: Responder,
    },
    /// Ask a person to approve a draft.
    RequestApproval {
        /// Answered by [`crate::signal::Signal::ApprovalDecided`].
        id: EffectId,
        /// Which step.
        step: StepKey,
        /// Until when; the step is held afterwards.
        expires_at: DateTime<Utc>,
    },
    /// Put a call on somebody's list.
    OpenCallTask {
        /// Answered by [`crate::signal::Signal::CallDone`].
        id: EffectId,
        /// Which step.
        step: StepKey,
    },
}

impl Effect {
    /// Returns the id of the request.
    pub fn id(&self) -> EffectId {
        match self {
            Self::Send { id, .. }
            | Self::OfferHandover { id, .. }
            | Self::PassOn { id, .. }
            | Self::Forward { id, .. }
            | Self::RequestApproval { id, .. }
            | Self::OpenCallTask { id, .. } => *id,
        }
    }
}
