//! What can go wrong with our own infrastructure. A lawful "no" of the world is a value, not an
//! error; an error means "try again" or "bug".

use std::time::Duration;

use machine::ids::{CampaignId, EnrollmentId};

/// The result of an activity.
pub type Result<T, E = ActivityError> = std::result::Result<T, E>;

/// A session was ended because it rested in a transaction: we were frozen.
const RESTED_TOO_LONG: &str = "25P03";

/// Our own infrastructure failed, or stored data is not what this build understands.
#[derive(Debug, thiserror::Error)]
pub enum ActivityError {
    /// The database failed or refused.
    #[error("database failed")]
    Database(#[from] sqlx::Error),
    /// A migration failed.
    #[error("migration failed")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A stored snapshot does not load.
    #[error("snapshot of enrollment {enrollment} does not load")]
    Snapshot {
        /// Whose.
        enrollment: EnrollmentId,
        /// Why.
        source: serde_json::Error,
    },
    /// A stored document does not load.
    #[error("stored {what} does not load: {why}")]
    Stored {
        /// What it is.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// A campaign that should be there is not.
    #[error("campaign {0} does not exist")]
    NoSuchCampaign(CampaignId),
    /// An enrollment that should be there is not.
    #[error("enrollment {0} does not exist")]
    NoSuchEnrollment(EnrollmentId),
    /// A search was given up, because it took longer than anybody waits.
    #[error("the search takes longer than {} seconds: say more of what you look for", .0.as_secs())]
    SearchTooSlow(Duration),
    /// The database is not safe to work on.
    #[error(
        "the database runs with {setting} = {value}; set it to `on`, or acknowledged work can be lost"
    )]
    Unsafe {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// The role we connect as cannot be confined to a workspace.
    #[error(
        "the role `{role}` may not become `meridian_app`; run `meridian doctor` for the statements"
    )]
    Role {
        /// The role of the URL.
        role: String,
    },
    /// A secret could not be opened.
    #[error("a stored secret could not be opened: {0}")]
    Secret(String),
}

impl ActivityError {
    /// Whether the database is away, so that no lead is to blame.
    pub fn is_outage(&self) -> bool {
        let Self::Database(error) = self else { return false };
        match error {
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                code == RESTED_TOO_LONG
                    || ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            }),
            // It answered, and a row is not what this build understands.
            sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_) => false,
            _ => true,
        }
    }

    /// Whether others were in the way, so that no lead is to blame: of two that wait for each other one
    /// is sent back (class 40, and 55P03).
    pub fn is_conflict(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| code.starts_with("40") || code == "55P03")
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(_) => self.is_outage() || self.is_conflict(),
            Self::Migration(_)
            | Self::Snapshot { .. }
            | Self::Stored { .. }
            | Self::NoSuchCampaign(_)
            | Self::NoSuchEnrollment(_)
            | Self::SearchTooSlow(_)
            | Self::Unsafe { .. }
            | Self::Role { .. }
            | Self::Secret(_) => false,
        }
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
