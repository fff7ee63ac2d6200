//! Pokes on their way: who was poked when, and what its row was then. While nobody has changed the row, the lead
//! has not looked, and another poke would only be in the way of those before it: each waits twice as
//! long as the last, and so many are under way at once. Knows nothing of Temporal.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use activities::store::engines::Waiting;
use machine::ids::EnrollmentId;

/// How long the first poke is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one is waited for at most.
const PATIENCE_MAX: Duration = Duration::from_secs(16 * 60);

/// How long a poke counts as under way. Whoever has not looked by then keeps nobody else waiting.
const UNDER_WAY: Duration = Duration::from_secs(120);

/// Who was poked.
#[derive(Default)]
pub(crate) struct Poked(HashMap<EnrollmentId, Last>);

/// The last poke of a lead.
struct Last {
    /// What its row was.
    row_version: String,
    at: Instant,
    /// How long it is waited for.
    patience: Duration,
}

impl Poked {
    /// Whether a lead is to be poked.
    pub(crate) fn is_due(&self, waiting: &Waiting, now: Instant) -> bool {
        self.last(waiting).is_none_or(|last| now - last.at > last.patience)
    }

    /// Whether a lead was poked lately and has not looked since.
    pub(crate) fn is_under_way(&self, waiting: &Waiting, now: Instant) -> bool {
        self.last(waiting).is_some_and(|last| now - last.at <= UNDER_WAY)
    }

    /// Notes that a lead is poked.
    pub(crate) fn note(&mut self, waiting: Waiting, now: Instant) {
        let again = self.last(&waiting).map(|last| (last.patience * 2).min(PATIENCE_MAX));
        let patience = again.unwrap_or(PATIENCE);
        let last = Last { row_version: waiting.row_version, at: now, patience };
        self.0.insert(waiting.enrollment, last);
    }

    /// Forgets those that nobody has asked for in a long time: they have looked.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.0.retain(|_, last| now - last.at <= (last.patience * 2).max(UNDER_WAY));
    }

    /// Forgets all: whoever took them may be gone.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn last(&self, waiting: &Waiting) -> Option<&Last> {
        self.0.get(&waiting.enrollment).filter(|last| last.row_version == waiting.row_version)
    }
}

#[cfg(test)]
mod tests {
    use machine::ids::CampaignId;
    use uuid::Uuid;

    use super::*;

    fn lead(row_version: &str) -> Waiting {
        Waiting {
            enrollment: EnrollmentId::new(Uuid::from_u128(1)),
            campaign: CampaignId::new(Uuid::from_u128(2)),
            signal_seq: 0,
            wake_at: None,
            row_version: row_version.to_owned(),
        }
    }

    #[test]
    fn a_lead_that_does_not_look_is_poked_ever_more_rarely() {
        let (mut poked, mut now) = (Poked::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..8 {
            let before = now;
            while !poked.is_due(&lead("1"), now) {
                now += Duration::from_secs(1);
                poked.forget(now);
            }
            waits.push((now - before).as_secs());
            poked.note(lead("1"), now);
        }
        assert_eq!(waits, [0, 31, 61, 121, 241, 481, 961, 961]);
    }

    #[test]
    fn a_lead_that_has_looked_is_poked_anew() {
        let (mut poked, now) = (Poked::default(), Instant::now());
        poked.note(lead("1"), now);
        assert!(!poked.is_due(&lead("1"), now) && poked.is_under_way(&lead("1"), now));
        assert!(poked.is_due(&lead("2"), now) && !poked.is_under_way(&lead("2"), now));
        poked.note(lead("2"), now);
        let later = now + PATIENCE + Duration::from_secs(1);
        assert!(poked.is_due(&lead("2"), later), "it is waited for as at first");
    }

    #[test]
    fn who_does_not_look_is_under_way_for_a_time_only() {
        let (mut poked, now) = (Poked::default(), Instant::now());
        poked.note(lead("1"), now);
        assert!(poked.is_under_way(&lead("1"), now + UNDER_WAY));
        assert!(!poked.is_under_way(&lead("1"), now + UNDER_WAY + Duration::from_secs(1)));
    }
}
