//! Windows and holidays laid on a local clock: which readings are open, and, through the clock
//! changes of a zone, which instants. Instants and readings are those of [`super::offsets`].

use std::collections::BTreeSet;

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::offsets::{first_change, offset_at};
use super::{Weekday, Window};

const DAY: i64 = 24 * 60 * 60;

/// What is open on a local clock.
#[derive(Clone, Copy)]
pub(super) struct Hours<'a> {
    /// Empty: always open.
    pub(super) windows: &'a [Window],
    /// `None` asks what the windows alone would admit.
    pub(super) holidays: Option<&'a BTreeSet<NaiveDate>>,
}

impl Hours<'_> {
    /// Whether `instant` is open.
    pub(super) fn is_open(self, zone: Tz, instant: i64) -> bool {
        let (day, second) = split(instant + offset_at(zone, instant));
        self.stretches(day).any(|(start, end)| start <= second && second < end)
    }

    /// The first open instant from `from` to `until`.
    pub(super) fn first_open(self, zone: Tz, from: i64, until: i64) -> Option<i64> {
        first(zone, from, until, |reading, until| self.next_open(reading, until))
    }

    /// The first closed instant from `from` to `until`.
    pub(super) fn first_closed(self, zone: Tz, from: i64, until: i64) -> Option<i64> {
        first(zone, from, until, |reading, until| self.next_closed(reading, until))
    }

    /// The first open reading from `reading` to `until`, on a clock that nobody moves.
    fn next_open(self, reading: i64, until: i64) -> Option<i64> {
        let (first_day, mut second) = split(reading);
        for day in first_day..=split(until).0 {
            let opens = self
                .stretches(day)
                .filter(|&(_, end)| end > second)
                .map(|(start, _)| start.max(second))
                .min();
            if let Some(opens) = opens {
                return Some(day * DAY + opens).filter(|open| *open <= until);
            }
            second = 0;
        }
        None
    }

    /// The first closed reading from `reading` to `until`, on a clock that nobody moves.
    fn next_closed(self, reading: i64, until: i64) -> Option<i64> {
        let (first_day, mut second) = split(reading);
        for day in first_day..=split(until).0 {
            let closes = self.end_of_stretch(day, second);
            if closes < DAY {
                return Some(day * DAY + closes).filter(|closed| *closed <= until);
            }
            second = 0;
        }
        None
    }

    /// The end of the open stretch of `day` around `second`, however many windows make it up;
    /// `second` itself if that is closed.
    fn end_of_stretch(self, day: i64, second: i64) -> i64 {
        let mut end = second;
        loop {
            let reached = self
                .stretches(day)
                .filter(|&(start, _)| start <= end)
                .map(|(_, reached)| reached)
                .max();
            match reached {
                Some(reached) if reached > end => end = reached,
                Some(_) | None => return end,
            }
        }
    }

    /// The open stretches of a local day, as seconds of the day, half-open, in no order.
    fn stretches(self, day: i64) -> impl Iterator<Item = (i64, i64)> {
        let today = weekday(day);
        let yesterday = weekday(day - 1);
        let always = (self.windows.is_empty()).then_some((0, DAY));
        let windows = self.windows.iter().flat_map(move |window| {
            let (from, to) = (window.from.second_of_day(), window.to.second_of_day());
            let starts = window.days.contains(&today);
            if window.crosses_midnight() {
                // What began yesterday is closed by yesterday's holiday, too.
                let began = window.days.contains(&yesterday) && !self.is_holiday(day - 1);
                [began.then_some((0, to)), starts.then_some((from, DAY))]
            } else {
                [starts.then_some((from, to)), None]
            }
        });
        let closed = self.is_holiday(day);
        always.into_iter().chain(windows.flatten()).filter(move |_| !closed)
    }

    fn is_holiday(self, day: i64) -> bool {
        match self.holidays {
            Some(holidays) if !holidays.is_empty() => i32::try_from(day)
                .ok()
                .and_then(NaiveDate::from_epoch_days)
                .is_some_and(|date| holidays.contains(&date)),
            Some(_) | None => false,
        }
    }
}

/// Carries a search over readings through the clock changes of `zone`.
///
/// `search(reading, until)` looks on a clock that nobody moves. Its find holds unless the clock is
/// moved on the way there; then the search starts again from the change, with the new offset.
fn first(zone: Tz, from: i64, until: i64, search: impl Fn(i64, i64) -> Option<i64>) -> Option<i64> {
    let mut instant = from;
    loop {
        let offset = offset_at(zone, instant);
        let found = search(instant + offset, until + offset).map(|reading| reading - offset);
        match first_change(zone, instant, found.unwrap_or(until)) {
            Some(change) => instant = change,
            None => return found,
        }
    }
}

/// A reading as days since 1970 and seconds of that day.
fn split(reading: i64) -> (i64, i64) {
    (reading.div_euclid(DAY), reading.rem_euclid(DAY))
}

/// The day of the week of a day counted from 1 January 1970, a Thursday.
fn weekday(day: i64) -> Weekday {
    match (day + 3).rem_euclid(7) {
        0 => Weekday::Mon,
        1 => Weekday::Tue,
        2 => Weekday::Wed,
        3 => Weekday::Thu,
        4 => Weekday::Fri,
        5 => Weekday::Sat,
        _ => Weekday::Sun,
    }
}
