//! What a journal row keeps of requests.

use std::borrow::Cow;

use machine::effect::{Effect, EffectId};
use serde::{Deserialize, Serialize};

/// What one application of the machine asked for and withdrew.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Requests<'a> {
    #[serde(default, skip_serializing_if = "<[Effect]>::is_empty")]
    pub(crate) asked: Cow<'a, [Effect]>,
    #[serde(default, skip_serializing_if = "<[EffectId]>::is_empty")]
    pub(crate) withdrawn: Cow<'a, [EffectId]>,
}

impl Requests<'_> {
    /// Reads a journal row's; `None` where this build cannot.
    pub(crate) fn read(effects: &str) -> Option<Requests<'static>> {
        serde_json::from_str(effects).ok()
    }
}
