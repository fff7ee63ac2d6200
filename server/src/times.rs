//! Times as people read them: on a clock with a name, the weekday first.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// Returns a time on the clock of `zone`: `Mon 24 Nov 2025 09:04 Europe/Lisbon`.
pub fn on(zone: Tz, at: DateTime<Utc>) -> String {
    format!("{} {}", short(zone, at), zone.name())
}

/// Returns a time on the clock of `zone` without saying whose it is: `Mon 24 Nov 2025 09:04`.
pub fn short(zone: Tz, at: DateTime<Utc>) -> String {
    at.with_timezone(&zone).format("%a %-d %b %Y %H:%M").to_string()
}

/// Returns a time on the clock of no place in particular.
pub fn utc(at: DateTime<Utc>) -> String {
    on(Tz::UTC, at)
}

/// Reads a time that is told to the second, with its offset.
///
/// # Errors
///
/// How to write it.
pub fn read(text: &str) -> Result<DateTime<Utc>, &'static str> {
    text.trim().parse().map_err(|_| "write it like 2026-03-02T09:00:00+01:00")
}
