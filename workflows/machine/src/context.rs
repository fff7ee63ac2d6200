//! What `apply` may read besides state and signal. Everything variable in it is journaled, so
//! that a replay reads the same.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::country::{self, Country};
use crate::ids::{EnrollmentId, LeadId, SendId, WorkspaceId};
use crate::key::AttributeName;
use crate::sequence::{Channel, Version};

/// The attributes a version names, as the lead has them.
pub type Attributes = BTreeMap<AttributeName, Value>;

/// Whether the lead agreed to be written to on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Nobody asked.
    #[default]
    Unknown,
    /// The lead agreed.
    Granted,
    /// The lead refused.
    Refused,
}

/// Consent on every channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Consents {
    /// For mail.
    #[serde(skip_serializing_if = "is_unknown")]
    pub email: Consent,
    /// For text messages.
    #[serde(skip_serializing_if = "is_unknown")]
    pub sms: Consent,
    /// For calls.
    #[serde(skip_serializing_if = "is_unknown")]
    pub call: Consent,
}

impl Consents {
    /// Returns the consent for `channel`.
    pub fn on(&self, channel: Channel) -> Consent {
        match channel {
            Channel::Email => self.email,
            Channel::Sms => self.sms,
            Channel::Call => self.call,
        }
    }

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// What a turn read about the lead. Stored with each journal row, emptied by erase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The lead's own time zone, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Tz>,
    /// The lead's country, where the zone is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// What the lead agreed to.
    #[serde(skip_serializing_if = "Consents::is_unknown")]
    pub consent: Consents,
    /// The attributes that the version names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
    /// The sends of this enrollment that are past the gate and whose answer was not applied yet.
    /// One that was answered while other signals wait to be applied before the answer still counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_flight: Vec<SendId>,
}

/// Everything `apply` may look at.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Campaign time, never earlier than that of the signal before.
    pub now: DateTime<Utc>,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The enrollment.
    pub enrollment: EnrollmentId,
    /// The person; variants are chosen by it.
    pub lead: LeadId,
    /// The version of the sequence this enrollment runs.
    pub version: &'a Version,
    /// What was read about the lead.
    pub facts: &'a Facts,
}

impl Context<'_> {
    /// Returns the zone on whose wall clock delays are counted: the lead's, else the campaign's.
    pub fn zone(&self) -> Tz {
        match self.zones() {
            [only] => *only,
            _ => self.version.zone,
        }
    }

    /// Returns the zones in each of which a window must be open: the lead's own, or all it may live in.
    pub fn zones(&self) -> &[Tz] {
        country::candidates(self.facts.zone.as_ref(), self.facts.country, &self.version.zone)
    }
}

fn is_unknown(consent: &Consent) -> bool {
    *consent == Consent::Unknown
}
