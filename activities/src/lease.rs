//! The right to make one call. A process that was frozen in the middle of one may find, when it comes
//! back, that others have given the call up and that a person has sent the message again; so the right
//! is asked for once more at the last moment before the message begins to leave this machine. One that
//! has begun goes on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The right to make one call, as long as it lasts.
#[derive(Clone)]
pub struct Lease {
    budget: Duration,
    holds: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The lease ended before the message had left: it was kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not handed over: this process was silent for so long that others may have given the call up"
)]
pub struct Ended;

impl Lease {
    /// A lease that never ends early: the call may take `budget`.
    pub fn new(budget: Duration) -> Self {
        Self { budget, holds: Arc::new(|| true) }
    }

    /// The same, as long as `holds` says so.
    #[must_use]
    pub fn as_long_as(self, holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { holds: Arc::new(holds), ..self }
    }

    /// How long the call may take in all.
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// Asks whether a message that has not left may still leave.
    ///
    /// # Errors
    ///
    /// [`Ended`]: it may not.
    pub fn check(&self) -> Result<(), Ended> {
        if (self.holds)() { Ok(()) } else { Err(Ended) }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("budget", &self.budget).finish_non_exhaustive()
    }
}
