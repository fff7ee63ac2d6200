//! The engines: what decides when turns and sends run. The set is closed, and neither owns any truth.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;

/// What drives a campaign and its leads.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    JsonSchema,
    sqlx::Type,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Engine {
    /// Due rows in Postgres.
    #[default]
    Postgres,
    /// A workflow in Temporal for each lead.
    Temporal,
}

/// The word names no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no engine: write postgres or temporal")]
pub struct UnknownEngine(String);

impl Engine {
    /// The word under which it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Temporal => "temporal",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(word: &str) -> Result<Self, UnknownEngine> {
        match word {
            "postgres" => Ok(Self::Postgres),
            "temporal" => Ok(Self::Temporal),
            other => Err(UnknownEngine(other.to_owned())),
        }
    }
}
