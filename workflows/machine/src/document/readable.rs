//! Reading what other crates read too, with faults that tell an author what to write.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::de::{Deserialize, Deserializer, Error};

/// Reads a time zone.
pub(super) fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    read(&String::deserialize(deserializer)?, "time zone", "Europe/Lisbon")
}

/// Reads a list of days.
pub(super) fn days<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeSet<NaiveDate>, D::Error> {
    let days = Vec::<Day>::deserialize(deserializer)?;
    Ok(days.into_iter().map(|day| day.0).collect())
}

struct Day(NaiveDate);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(&String::deserialize(deserializer)?, "day", "2026-12-24").map(Self)
    }
}

fn read<T: FromStr, E: Error>(text: &str, what: &str, example: impl Display) -> Result<T, E> {
    text.parse()
        .map_err(|_| E::custom(format_args!("`{text}` is not a {what}: write it like {example}")))
}
