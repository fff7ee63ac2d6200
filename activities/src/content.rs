//! What a step says: templates, and from them the two parts of a mail.
//!
//! minijinja reads the syntax people know; `grammar` turns its tree into one of our own that
//! cannot express a loop, a macro or a call, and `template` prints that. A template therefore
//! ends after one pass over its source, in memory proportional to what it prints, and it knows
//! exactly which fields it lacks. Nothing here knows a lead, an address or a server.

pub mod body;
pub mod step;
pub mod template;

mod filter;
mod grammar;
mod limits;
mod value;

use std::fmt;

use serde::{Deserialize, Serialize};

/// One part of a step's wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The subject line.
    Subject,
    /// The body as plain text.
    Text,
    /// The body as HTML. What fields hold is escaped here, and only here.
    Html,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => "subject",
            Self::Text => "body",
            Self::Html => "html",
        })
    }
}
