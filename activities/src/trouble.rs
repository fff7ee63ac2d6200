//! Work for leads that fails: for nobody's sake while the database is away, else for that of the lead it
//! was done for, which is put out of the way after some times, so that the others go on.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use machine::ids::{EnrollmentId, WorkspaceId};

use crate::error::{ActivityError, Result, chain};
use crate::mailroom::Mailroom;
use crate::store::{clock, enrollments};
use crate::turn::{self, AFTER_FAILURE, FAILURES_MAX};

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It says why.
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
    /// last. An outage is counted against nobody.
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
        if self.is_outage() {
            return Ok(());
        }
        let cause = chain(self);
        let mut tx = mailroom.store.begin(workspace).await?;
        let clocks = clock::read(&mut tx).await?;
        let again_at = clocks.campaign_in(AFTER_FAILURE);
        let failures = enrollments::note_failure(&mut tx, workspace, enrollment, again_at).await?;
        tracing::error!(enrollment.id = %enrollment, failures, cause, "a lead failed to move");
        if failures >= FAILURES_MAX {
            turn::park(&mut tx, clocks, &[(enrollment, cause)]).await?;
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
