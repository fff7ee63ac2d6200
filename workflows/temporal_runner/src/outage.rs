//! Whether the database is away, as the activities of this process find it. Each of them is tried again and
//! again meanwhile; that it is away is said once, until it is back.

use std::sync::atomic::{AtomicBool, Ordering};

use activities::error::{ActivityError, chain};
use machine::ids::EnrollmentId;

/// What activities found last.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    is_on: AtomicBool,
}

/// Whether something was known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tidings {
    News,
    Known,
}

impl Outage {
    /// Logs that `what` failed for an enrollment, unless it says no more than that the database is
    /// still away.
    pub(crate) fn log(&self, what: &'static str, enrollment: EnrollmentId, error: &ActivityError) {
        let cause = chain(error);
        if !error.is_outage() {
            tracing::error!(enrollment.id = %enrollment, error = cause, "{what} failed");
            return;
        }
        match self.begins() {
            Tidings::News => {
                tracing::error!(
                    error = cause,
                    "the database is away: no lead of Temporal moves until it is back"
                );
            }
            Tidings::Known => {
                tracing::debug!(enrollment.id = %enrollment, error = cause, "{what} failed");
            }
        }
    }

    /// Notes that the database did what it was asked.
    pub(crate) fn over(&self) {
        if self.ends() == Tidings::News {
            tracing::info!("the database is back: leads of Temporal move");
        }
    }

    fn begins(&self) -> Tidings {
        if self.is_on.swap(true, Ordering::Relaxed) { Tidings::Known } else { Tidings::News }
    }

    fn ends(&self) -> Tidings {
        // Nearly always it is not on, and then nobody writes.
        let was_on =
            self.is_on.load(Ordering::Relaxed) && self.is_on.swap(false, Ordering::Relaxed);
        if was_on { Tidings::News } else { Tidings::Known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_news_once_and_its_end_too() {
        let outage = Outage::default();
        assert_eq!(outage.ends(), Tidings::Known);
        for _ in 0..2 {
            assert_eq!(outage.begins(), Tidings::News);
            assert_eq!(outage.begins(), Tidings::Known);
            assert_eq!(outage.ends(), Tidings::News);
            assert_eq!(outage.ends(), Tidings::Known);
        }
    }
}
