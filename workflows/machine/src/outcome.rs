//! How an enrollment ends. Outcomes form a ladder: whatever the order in which facts arrive, the
//! highest one stays.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The end of an enrollment, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The world refused too often.
    Failed,
    /// Every step is done.
    Completed,
    /// The campaign's goal is met.
    Met,
    /// The lead answered.
    Replied,
    /// The address is bad.
    Bounced,
    /// A person or a rule ended it.
    Stopped,
    /// The lead wants no more.
    OptedOut,
}

impl Outcome {
    /// Every outcome, weakest first.
    pub const ALL: [Self; 7] = [
        Self::Failed,
        Self::Completed,
        Self::Met,
        Self::Replied,
        Self::Bounced,
        Self::Stopped,
        Self::OptedOut,
    ];

    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Completed => "completed",
            Self::Met => "met",
            Self::Replied => "replied",
            Self::Bounced => "bounced",
            Self::Stopped => "stopped",
            Self::OptedOut => "opted_out",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
