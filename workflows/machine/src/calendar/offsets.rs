//! Where a zone's clock stands, and when it is next moved. Knows nothing of windows.
//!
//! An *instant* counts seconds since 1970 on the universal clock. A *reading* counts the seconds a
//! local clock shows since its own 1 January 1970: reading = instant + offset.

use chrono::{DateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

/// The longest step over which equal offsets at both ends mean that the clock was not moved.
///
/// The zone data holds no two changes closer than 6 days 23 hours (Gaza around Ramadan, Brazil's
/// north-east in 2000), so that a step never hides a change and its reversal.
const STEP: i64 = 6 * 24 * 60 * 60;

/// What the clock of `zone` adds to `instant`, in seconds.
pub(super) fn offset_at(zone: Tz, instant: i64) -> i64 {
    let utc = DateTime::from_timestamp(instant, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    i64::from(zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc())
}

/// The first instant after `from` and not after `until` at which the clock of `zone` is moved.
pub(super) fn first_change(zone: Tz, from: i64, until: i64) -> Option<i64> {
    if from >= until {
        return None;
    }
    let before = offset_at(zone, from);
    let mut unmoved = from;
    while unmoved < until {
        let probe = until.min(unmoved + STEP);
        if offset_at(zone, probe) != before {
            return Some(bisect(zone, before, unmoved, probe));
        }
        unmoved = probe;
    }
    None
}

/// The one change between `unmoved`, where the offset is `before`, and `moved`, where it is not.
fn bisect(zone: Tz, before: i64, mut unmoved: i64, mut moved: i64) -> i64 {
    while moved - unmoved > 1 {
        let middle = unmoved + (moved - unmoved) / 2;
        if offset_at(zone, middle) == before {
            unmoved = middle;
        } else {
            moved = middle;
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A premise of [`first_change`], to be met again by every release of the zone data.
    #[test]
    fn no_zone_moves_its_clock_twice_within_a_step() {
        const DAY: i64 = 24 * 60 * 60;
        // Twenty-five years from the end of 2019.
        let from = 50 * 365 * DAY;
        for zone in chrono_tz::TZ_VARIANTS {
            let mut last_change = i64::MIN / 2;
            let mut offset = offset_at(zone, from);
            for day in 1..=(25 * 366) {
                let probe = from + day * DAY;
                if offset_at(zone, probe) != offset {
                    let change = bisect(zone, offset, probe - DAY, probe);
                    offset = offset_at(zone, probe);
                    assert!(change - last_change > STEP, "{zone} at {change} and {last_change}");
                    last_change = change;
                }
            }
        }
    }
}
