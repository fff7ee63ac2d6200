//! Whether the database is away, as the activities of this process find it. Each of them is tried again and
//! again meanwhile; that it is away is said once, until it is back.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use activities::error::{ActivityError, chain};
use machine::ids::EnrollmentId;

/// How long nothing may have failed until it is back: while it comes and goes it is away.
const CALM: Duration = Duration::from_secs(5);

/// What activities found last.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// When it last failed, while it is away.
    failed_at: Mutex<Option<Instant>>,
}

/// Whether something was known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tidings {
    News,
    Known,
}

impl Outage {
    /// Does some work in the database for an enrollment, and learns from what comes of it. That it failed is
    /// logged, unless it says no more than that the database is still away.
    ///
    /// # Errors
    ///
    /// Those of the work.
    pub(crate) async fn heed<T>(
        &self,
        what: &'static str,
        enrollment: EnrollmentId,
        work: impl Future<Output = Result<T, ActivityError>>,
    ) -> Result<T, ActivityError> {
        let done = work.await;
        match &done {
            Ok(_) => self.over(),
            Err(error) => self.log(what, enrollment, error),
        }
        done
    }

    fn log(&self, what: &'static str, enrollment: EnrollmentId, error: &ActivityError) {
        let cause = chain(error);
        if !error.is_outage() {
            tracing::error!(enrollment.id = %enrollment, error = cause, "{what} failed");
            return;
        }
        match self.fails(Instant::now()) {
            Tidings::News => tracing::error!(
                enrollment.id = %enrollment,
                error = cause,
                "the database is away: no lead of Temporal moves until it is back"
            ),
            Tidings::Known => {
                tracing::debug!(enrollment.id = %enrollment, error = cause, "{what} failed");
            }
        }
    }

    fn over(&self) {
        if self.works(Instant::now()) == Tidings::News {
            tracing::info!("the database is back: leads of Temporal move");
        }
    }

    fn fails(&self, at: Instant) -> Tidings {
        match self.failed_at().replace(at) {
            None => Tidings::News,
            Some(_) => Tidings::Known,
        }
    }

    fn works(&self, at: Instant) -> Tidings {
        match self.failed_at().take_if(|failed_at| at >= *failed_at + CALM) {
            Some(_) => Tidings::News,
            None => Tidings::Known,
        }
    }

    fn failed_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed_at.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_news_once_and_its_end_too() {
        let outage = Outage::default();
        let mut now = Instant::now();
        assert_eq!(outage.works(now), Tidings::Known);
        for _ in 0..2 {
            assert_eq!(outage.fails(now), Tidings::News);
            assert_eq!(outage.fails(now), Tidings::Known);
            now += CALM;
            assert_eq!(outage.works(now), Tidings::News);
            assert_eq!(outage.works(now), Tidings::Known);
        }
    }

    #[test]
    fn while_some_fail_and_others_succeed_nothing_is_said_again() {
        let outage = Outage::default();
        let begun = Instant::now();
        assert_eq!(outage.fails(begun), Tidings::News);
        for second in 1..60 {
            let now = begun + Duration::from_secs(second);
            assert_eq!(outage.works(now), Tidings::Known);
            assert_eq!(outage.fails(now), Tidings::Known);
        }
    }
}
