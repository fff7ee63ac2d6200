//! Waiting for others: long enough for a recovery after a crash, never in silence.

use std::time::Duration;

use tokio::time::Instant;

/// How long another start, a dying server or a recovery may take.
pub(super) const LIMIT: Duration = Duration::from_secs(300);

/// After this long, waiting is worth a line in the log.
const WORTH_A_WORD: Duration = Duration::from_secs(5);

/// One wait, from its beginning.
#[derive(Debug)]
pub(super) struct Patience {
    started: Instant,
    said: bool,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), said: false }
    }

    /// Whether the wait is over; when it gets long, says once what for.
    pub(super) fn is_over(&mut self, waiting_for: &str) -> bool {
        let waited = self.started.elapsed();
        if waited > WORTH_A_WORD && !self.said {
            self.said = true;
            tracing::info!("waiting for {waiting_for}");
        }
        waited > LIMIT
    }
}
