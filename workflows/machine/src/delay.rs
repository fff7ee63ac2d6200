//! How long to wait before a step, as an author writes it: `3 days`, `90 minutes`,
//! `1 day 4 hours`, `2 days at 09:00`, `at 09:00`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::calendar::{self, LocalTime};

/// The longest delay, in days.
pub const MAX_DAYS: u32 = 400;

/// A delay. Days keep the local wall clock across a clock change; hours, minutes and seconds are
/// real time; a local time of day is the first such time after both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delay {
    days: u32,
    seconds: u32,
    at: Option<LocalTime>,
}

/// A text that is not a delay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDelay {
    /// Not of the form `3 days`, `2 hours 30 minutes`, `1 day at 09:00`.
    #[error(
        "`{0}` is not a delay: write it like `3 days`, `2 hours 30 minutes`, `45 seconds` or \
         `1 day at 09:00`"
    )]
    Form(String),
    /// More than [`MAX_DAYS`].
    #[error("`{0}` is too long: a delay is at most {MAX_DAYS} days")]
    TooLong(String),
}

impl Delay {
    /// No delay at all.
    pub const NONE: Self = Self { days: 0, seconds: 0, at: None };

    /// Whether the next step may follow at once.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Returns the instant at which the delay that began at `since` is over.
    pub fn after(&self, since: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
        let mut at = since;
        if self.days > 0 {
            at = calendar::add_days(zone, at, self.days);
        }
        at += TimeDelta::seconds(self.seconds.into());
        match self.at {
            Some(time) => calendar::next_local_time(zone, time, at),
            None => at,
        }
    }
}

impl FromStr for Delay {
    type Err = InvalidDelay;

    fn from_str(text: &str) -> Result<Self, InvalidDelay> {
        let wrong = || InvalidDelay::Form(text.chars().take(60).collect());
        let long = || InvalidDelay::TooLong(text.chars().take(60).collect());
        let (spans, at) = match text.trim().split_once("at ") {
            Some((spans, time)) => (spans, Some(time.trim().parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let mut days = 0_u32;
        let mut seconds = 0_u32;
        let mut rest = spans.trim();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let tail = tail.trim_start();
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let number: u32 = number.parse().map_err(|_| wrong())?;
            let (in_days, in_seconds) = match unit {
                "w" | "week" | "weeks" => (7, 0),
                "d" | "day" | "days" => (1, 0),
                "h" | "hour" | "hours" => (0, 3_600),
                "m" | "min" | "minute" | "minutes" => (0, 60),
                "s" | "sec" | "second" | "seconds" => (0, 1),
                _ => return Err(wrong()),
            };
            let more = |sum: u32, unit: u32| number.checked_mul(unit)?.checked_add(sum);
            days = more(days, in_days).ok_or_else(long)?;
            seconds = more(seconds, in_seconds).ok_or_else(long)?;
            rest = tail.trim_start().trim_start_matches(',').trim_start();
        }
        if spans.trim().is_empty() && at.is_none() {
            return Err(wrong());
        }
        if days > MAX_DAYS || seconds / 86_400 > MAX_DAYS {
            return Err(long());
        }
        Ok(Self { days, seconds, at })
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let units = [
            (self.days, "day"),
            (self.seconds / 3_600, "hour"),
            (self.seconds / 60 % 60, "minute"),
            (self.seconds % 60, "second"),
        ];
        for (number, unit) in units {
            match number {
                0 => {}
                1 => parts.push(format!("1 {unit}")),
                _ => parts.push(format!("{number} {unit}s")),
            }
        }
        if let Some(time) = self.at {
            parts.push(format!("at {time}"));
        }
        if parts.is_empty() {
            parts.push("0 seconds".to_owned());
        }
        f.write_str(&parts.join(" "))
    }
}

impl Serialize for Delay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Delay {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Delay".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "weeks, days, hours, minutes and seconds, then an optional local time: `1 day 4 hours`, `2 days at 09:00`; at most 400 days",
            "examples": ["3 days", "2 hours 30 minutes", "1 day at 09:00"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_read_as_people_write_them() {
        for (text, shown) in [
            ("3 days", "3 days"),
            ("1 week", "7 days"),
            ("1d 4h", "1 day 4 hours"),
            ("90 minutes", "1 hour 30 minutes"),
            ("2 days at 09:00", "2 days at 09:00"),
            ("at 09:00", "at 09:00"),
            ("0 seconds", "0 seconds"),
        ] {
            let delay: Delay = text.parse().unwrap();
            assert_eq!(delay.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Delay>().unwrap(), delay);
        }
    }

    #[test]
    fn what_is_not_a_delay_is_refused() {
        for text in
            ["", "3", "days", "3 moons", "-1 day", "401 days", "99999999999 days", "at noon"]
        {
            assert!(text.parse::<Delay>().is_err(), "{text}");
        }
    }
}
