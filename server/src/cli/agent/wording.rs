//! Hours and times as people type them.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use machine::calendar::{self, Calendar, LocalTime, Weekday, Window};

/// Working hours: `mon-fri 09:00-17:00`, `sat,sun 10:00-12:00`, `09:00-17:00`, or `always`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Hours(pub(super) Vec<Window>);

/// A moment on the clock of a place that is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Moment {
    Local(NaiveDateTime),
    Exact(DateTime<Utc>),
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` are no hours: write them like 'mon-fri 09:00-17:00'");
        if text.trim() == "always" {
            return Ok(Self(Vec::new()));
        }
        let (days, span) = match text.trim().rsplit_once(char::is_whitespace) {
            Some((days, span)) => (days_of(days).ok_or_else(wrong)?, span),
            None => (Weekday::ALL.to_vec(), text.trim()),
        };
        let (from, to) = span.split_once('-').ok_or_else(wrong)?;
        let time = |text: &str| text.parse::<LocalTime>().map_err(|_| wrong());
        let window = Window { days, from: time(from)?, to: time(to)? };
        let calendar = Calendar { windows: vec![window], ..Calendar::default() };
        match calendar.validate() {
            Ok(()) => Ok(Self(calendar.windows)),
            Err(_) => Err(wrong()),
        }
    }
}

fn days_of(text: &str) -> Option<Vec<Weekday>> {
    let day = |text: &str| {
        let text = text.trim();
        Weekday::ALL.into_iter().find(|day| day.to_string().eq_ignore_ascii_case(text))
    };
    let mut days = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            None => days.push(day(part)?),
            Some((first, last)) => {
                let (first, last) = (day(first)?, day(last)?);
                let mut from_first = Weekday::ALL.iter().cycle().skip_while(|day| **day != first);
                loop {
                    let next = *from_first.next()?;
                    days.push(next);
                    if next == last {
                        break;
                    }
                }
            }
        }
    }
    Some(days)
}

/// Says when somebody works.
pub(super) fn hours(windows: &[Window]) -> String {
    if windows.is_empty() {
        return "always".to_owned();
    }
    let words = windows.iter().map(|window| {
        let days: Vec<String> = window.days.iter().map(ToString::to_string).collect();
        let days = match window.days.as_slice() {
            all if all.len() == Weekday::ALL.len() => String::new(),
            [first, .., last] if is_a_stretch(&window.days) => format!("{first}-{last} "),
            _ => format!("{} ", days.join(",")),
        };
        format!("{days}{}-{}", window.from, window.to)
    });
    words.collect::<Vec<_>>().join(", ")
}

fn is_a_stretch(days: &[Weekday]) -> bool {
    days.len() > 2 && Weekday::ALL.windows(days.len()).any(|stretch| stretch == days)
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(exact) = text.parse::<DateTime<Utc>>() {
            return Ok(Self::Exact(exact));
        }
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Self::Local(date.and_time(NaiveTime::MIN)));
        }
        let local = ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
            .into_iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        local.map(Self::Local).ok_or_else(|| {
            format!("`{text}` is no time: write it like 2026-03-09 or 2026-03-09T13:00")
        })
    }
}

impl Moment {
    /// Returns the instant at which the clock of `zone` shows it.
    pub(super) fn on(self, zone: Tz) -> DateTime<Utc> {
        match self {
            Self::Exact(exact) => exact,
            Self::Local(local) => calendar::resolve_local(zone, local),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_read_as_they_are_told() {
        for text in ["mon-fri 09:00-17:00", "sat,sun 10:00-12:00", "22:00-06:00", "always"] {
            let read: Hours = text.parse().unwrap();
            assert_eq!(hours(&read.0), text);
        }
        let weekend: Hours = "sat-mon 09:00-17:00".parse().unwrap();
        assert_eq!(hours(&weekend.0), "sat,sun,mon 09:00-17:00");
        for wrong in ["", "mon", "mon-fry 09:00-17:00", "mon,mon 09:00-10:00", "9-17"] {
            assert!(wrong.parse::<Hours>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments_are_on_the_agent_s_clock() {
        let at = |text: &str| text.parse::<Moment>().unwrap().on(Tz::America__New_York).to_string();
        assert_eq!(at("2026-03-02"), "2026-03-02 05:00:00 UTC");
        assert_eq!(at("2026-03-02T13:00"), "2026-03-02 18:00:00 UTC");
        assert_eq!(at("2026-03-02T13:00:00Z"), "2026-03-02 13:00:00 UTC");
        assert!("soon".parse::<Moment>().is_err());
    }
}
