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
    /// While it is away.
    failed: Mutex<Option<Failed>>,
}

/// How the last failure was.
#[derive(Debug, Clone, Copy)]
struct Failed {
    at: Instant,
    /// Whether something has succeeded since.
    has_worked: bool,
}

/// Whether something was known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tidings {
    News,
    Known,
}

impl Outage {
    /// Does some work in the database for an enrollment, and learns from what comes of it. That the database
    /// is away is logged; what else fails is for the caller to tell.
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
            Err(error) if error.is_outage() => self.log(what, enrollment, error),
            Err(_) => {}
        }
        done
    }

    fn log(&self, what: &'static str, enrollment: EnrollmentId, error: &ActivityError) {
        let cause = chain(error);
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
        let before = self.failed().replace(Failed { at, has_worked: false });
        match before {
            // It was back, and nothing was done since that could have told.
            Some(before) if before.has_worked && at >= before.at + CALM => Tidings::News,
            Some(_) => Tidings::Known,
            None => Tidings::News,
        }
    }

    fn works(&self, at: Instant) -> Tidings {
        let mut failed = self.failed();
        let Some(last) = failed.as_mut() else { return Tidings::Known };
        last.has_worked = true;
        if at < last.at + CALM {
            return Tidings::Known;
        }
        *failed = None;
        Tidings::News
    }

    fn failed(&self) -> MutexGuard<'_, Option<Failed>> {
        self.failed.lock().expect("no holder panics")
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

    #[test]
    fn an_outage_is_news_again_after_a_time_in_which_nothing_was_done() {
        let outage = Outage::default();
        let begun = Instant::now();
        assert_eq!(outage.fails(begun), Tidings::News);
        assert_eq!(outage.works(begun + Duration::from_secs(1)), Tidings::Known);
        let hours_later = begun + Duration::from_secs(10_000);
        assert_eq!(outage.fails(hours_later), Tidings::News);
        assert_eq!(outage.fails(hours_later + CALM * 3), Tidings::Known);
    }
}
