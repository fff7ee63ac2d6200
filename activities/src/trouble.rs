//! Failures of the work that is done for a lead: counted against it, so that it is parked after some and holds
//! nobody up. That the database is away, or that others were in the way, counts against nobody. Knows
//! neither engine, and nothing of the work.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use machine::ids::{EnrollmentId, WorkspaceId};

use crate::error::{ActivityError, Result, chain};
use crate::mailroom::Mailroom;
use crate::store::{clock, enrollments};
use crate::turn::{AFTER_FAILURE, FAILURES_MAX, write};

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// With an error.
    #[error(transparent)]
    Failed(#[from] ActivityError),
    /// The log has its words, which may be about somebody.
    #[error("it panicked")]
    Panicked,
}

/// Works. A panic is a failure like others.
///
/// # Errors
///
/// When it fails.
pub async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T, Trouble> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Trouble::Panicked),
    }
}

impl Trouble {
    /// Whether the database is away, so that no lead is to blame.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Failed(error) => error.is_outage(),
            Self::Panicked => false,
        }
    }

    /// Counts it against the one enrollment that it was about, which is parked after too many since it moved
    /// last. What is no lead's fault is counted against none.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn blame(
        &self,
        mailroom: &Mailroom,
        workspace: WorkspaceId,
        enrollment: EnrollmentId,
    ) -> Result<()> {
        let cause = chain(self);
        if let Self::Failed(error) = self
            && (error.is_outage() || error.is_conflict())
        {
            tracing::debug!(enrollment.id = %enrollment, cause, "a lead did not move");
            return Ok(());
        }
        let mut tx = mailroom.store.begin(workspace).await?;
        let clocks = clock::read(&mut tx).await?;
        let again_at = clocks.campaign_in(AFTER_FAILURE);
        let failures = enrollments::note_failure(&mut tx, workspace, enrollment, again_at).await?;
        if failures.is_some_and(|failures| failures >= FAILURES_MAX) {
            write::park(&mut tx, clocks, &[(enrollment, cause)]).await?;
        } else {
            tracing::error!(enrollment.id = %enrollment, failures, cause, "a lead failed to move");
        }
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_panic_says_is_for_the_log_alone() {
        let trouble = caught::<()>(async { panic!("no room for ada@example.com") }).await;
        assert_eq!(trouble.unwrap_err().to_string(), "it panicked");
    }
}
