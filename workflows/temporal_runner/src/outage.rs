//! Whether the database is away, as the activities of this process find it. Each of them is tried again and
//! again meanwhile; that it is away is said once, until it is back.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use activities::error::{ActivityError, chain};
use machine::ids::EnrollmentId;

/// What activities found last.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    is_away: bool,
    /// When the database last did what it was asked.
    worked_at: Option<Instant>,
}

/// What a failure says about the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tidings {
    /// It is away, which is new.
    Away,
    /// It is still away.
    StillAway,
    /// It works for others.
    Works,
}

/// What a success says about the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Success {
    /// It is back.
    Back,
    /// It was not away.
    Usual,
}

impl Outage {
    /// Logs that `what`, which began at `began`, failed for an enrollment, unless it says no more than
    /// that the database is still away.
    pub(crate) fn log(
        &self,
        what: &'static str,
        enrollment: EnrollmentId,
        began: Instant,
        error: &ActivityError,
    ) {
        let cause = chain(error);
        let tidings = if error.is_outage() { self.fails(began) } else { Tidings::Works };
        match tidings {
            Tidings::Away => tracing::error!(
                error = cause,
                "the database is away: no lead of Temporal moves until it is back"
            ),
            Tidings::StillAway => {
                tracing::debug!(enrollment.id = %enrollment, error = cause, "{what} failed");
            }
            Tidings::Works => {
                tracing::error!(enrollment.id = %enrollment, error = cause, "{what} failed");
            }
        }
    }

    /// Notes that the database did what it was asked.
    pub(crate) fn over(&self) {
        if self.works(Instant::now()) == Success::Back {
            tracing::info!("the database is back: leads of Temporal move");
        }
    }

    fn fails(&self, began: Instant) -> Tidings {
        let mut found = self.found();
        if found.is_away {
            Tidings::StillAway
        } else if found.worked_at.is_some_and(|at| began < at) {
            Tidings::Works
        } else {
            found.is_away = true;
            Tidings::Away
        }
    }

    fn works(&self, at: Instant) -> Success {
        let mut found = self.found();
        found.worked_at = Some(at);
        if std::mem::take(&mut found.is_away) { Success::Back } else { Success::Usual }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_outage_is_news_once_and_its_end_too() {
        let outage = Outage::default();
        let mut now = Instant::now();
        assert_eq!(outage.works(now), Success::Usual);
        for _ in 0..2 {
            now += Duration::from_secs(1);
            assert_eq!(outage.fails(now), Tidings::Away);
            assert_eq!(outage.fails(now), Tidings::StillAway);
            assert_eq!(outage.works(now), Success::Back);
            assert_eq!(outage.works(now), Success::Usual);
        }
    }

    #[test]
    fn one_that_fails_while_others_succeed_is_no_outage() {
        let outage = Outage::default();
        let began = Instant::now();
        assert_eq!(outage.works(began + Duration::from_secs(1)), Success::Usual);
        assert_eq!(outage.fails(began), Tidings::Works);
        assert_eq!(outage.works(began + Duration::from_secs(2)), Success::Usual);
    }
}
