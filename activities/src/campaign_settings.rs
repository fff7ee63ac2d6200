//! What may be changed while a campaign runs: the gate and the mails read it, the machine does not.

use chrono_tz::Tz;
use machine::ids::SenderId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ActivityError, Result};

/// The settings of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignSettings {
    /// The senders that may be used.
    pub senders: Vec<SenderId>,
    /// Messages a day, on the campaign's own calendar.
    #[serde(default)]
    pub per_day: Option<u32>,
    /// The campaign's own zone.
    pub zone: Tz,
    /// Whom handovers are offered to.
    #[serde(default)]
    pub handover: Option<HandoverAddresses>,
}

/// Whom handovers are offered to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandoverAddresses {
    /// Told first; `None` where agents are, in turn.
    #[serde(default)]
    pub to: Option<String>,
    /// Told when the first does not answer in time.
    #[serde(default)]
    pub fallback: Option<String>,
    /// Whether `to` is the workspace's own address, and changes with it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_default: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl CampaignSettings {
    /// Reads stored settings.
    ///
    /// # Errors
    ///
    /// When they are not settings of this build.
    pub fn load(stored: Value) -> Result<Self> {
        serde_json::from_value(stored).map_err(|error| ActivityError::Stored {
            what: "campaign settings",
            why: error.to_string(),
        })
    }
}
