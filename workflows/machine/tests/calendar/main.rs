//! The calendar against its one definition: an instant is open if the local clock, read at that
//! instant, shows a time inside a window of that local day, and the day is no holiday.
//!
//! [`Reading::is_open`] says so in the plainest way; examples name the cases people trip over,
//! a sweep compares every quarter of an hour around every clock change of every zone, and random
//! calendars cover the rest.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod every_change;
mod examples;
mod notation;
mod random;

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use chrono_tz::Tz;
use machine::calendar::{Calendar, LocalTime, Weekday, Window};

fn time(text: &str) -> LocalTime {
    text.parse().unwrap()
}

fn window(days: &[Weekday], from: &str, to: &str) -> Window {
    Window { days: days.to_vec(), from: time(from), to: time(to) }
}

fn daily(from: &str, to: &str) -> Calendar {
    Calendar { windows: vec![window(&Weekday::ALL, from, to)], holidays: BTreeSet::new() }
}

fn office_hours() -> Calendar {
    Calendar {
        windows: vec![window(&Weekday::ALL[..5], "09:00", "17:00")],
        holidays: BTreeSet::new(),
    }
}

trait WithHolidays {
    fn closed_on(self, dates: &[&str]) -> Self;
}

impl WithHolidays for Calendar {
    fn closed_on(mut self, dates: &[&str]) -> Self {
        self.holidays.extend(dates.iter().map(|date| date.parse::<NaiveDate>().unwrap()));
        self
    }
}

/// Parses an instant with its offset: `2026-03-29T02:30:00+01:00`.
fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// What a local clock and its calendar leaf show.
struct Reading {
    minute_of_day: u16,
    today: (NaiveDate, Weekday),
    yesterday: (NaiveDate, Weekday),
}

impl Reading {
    fn of(zone: Tz, at: DateTime<Utc>) -> Self {
        let local = at.with_timezone(&zone).naive_local();
        let leaf = |date: NaiveDate| (date, Weekday::from(date.weekday()));
        Self {
            minute_of_day: u16::try_from(local.hour() * 60 + local.minute()).unwrap(),
            today: leaf(local.date()),
            yesterday: leaf(local.date().pred_opt().unwrap()),
        }
    }

    fn is_open(&self, calendar: &Calendar) -> bool {
        let minute = self.minute_of_day;
        let starts_on = |window: &Window, (date, day): (NaiveDate, Weekday)| {
            window.days.contains(&day) && !calendar.holidays.contains(&date)
        };
        let admits = |window: &Window| {
            let (from, to) = (window.from.minute_of_day(), window.to.minute_of_day());
            if from < to {
                from <= minute && minute < to && starts_on(window, self.today)
            } else {
                (from <= minute && starts_on(window, self.today))
                    || (minute < to && starts_on(window, self.yesterday))
            }
        };
        !calendar.holidays.contains(&self.today.0)
            && (calendar.windows.is_empty() || calendar.windows.iter().any(admits))
    }
}

fn is_open_by_definition(calendar: &Calendar, zone: Tz, at: DateTime<Utc>) -> bool {
    Reading::of(zone, at).is_open(calendar)
}
