//! Where somebody may be of whom only the country is known: the zones of each country.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// The zones of each country by its code, from `zone.tab` of the IANA time zone database 2025b, which is
/// in the public domain. Of zones whose clocks agree from 2024 to 2034 one stands for all.
static ZONES: LazyLock<BTreeMap<[u8; 2], Vec<Tz>>> = LazyLock::new(|| {
    let lines = include_str!("country/zones.tsv").lines();
    let entry = |line: &str| {
        let (code, names) = line.split_once('\t')?;
        let zones = names.split(' ').map(str::parse).collect::<Result<Vec<Tz>, _>>();
        Some((code.as_bytes().try_into().ok()?, zones.ok()?))
    };
    lines.map(|line| entry(line).expect("the table is well formed")).collect()
});

/// A country of the table, by its code of two letters (ISO 3166-1 alpha-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Country([u8; 2]);

/// A text that is no code of a country.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no country; write its code of two letters, as in PT")]
pub struct InvalidCountry(String);

impl Country {
    /// Returns the zones somebody there may live in: at least one.
    pub fn zones(self) -> &'static [Tz] {
        &ZONES[&self.0]
    }
}

/// Returns the zones that must be right for somebody: their own, else those of their country, else the
/// campaign's.
pub fn candidates<'a>(own: Option<&'a Tz>, country: Option<Country>, campaign: &'a Tz) -> &'a [Tz] {
    match (own, country) {
        (Some(own), _) => std::slice::from_ref(own),
        (None, Some(country)) => country.zones(),
        (None, None) => std::slice::from_ref(campaign),
    }
}

impl FromStr for Country {
    type Err = InvalidCountry;

    fn from_str(text: &str) -> Result<Self, InvalidCountry> {
        let code = text.trim().to_ascii_uppercase();
        let code = <[u8; 2]>::try_from(code.as_bytes()).ok();
        let known = code.filter(|code| ZONES.contains_key(code));
        known.map(Self).ok_or_else(|| InvalidCountry(text.to_owned()))
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.0).expect("codes are letters"))
    }
}

impl TryFrom<String> for Country {
    type Error = InvalidCountry;

    fn try_from(text: String) -> Result<Self, InvalidCountry> {
        text.parse()
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_reads() {
        assert_eq!(ZONES.len(), 247);
        assert!(ZONES.values().all(|zones| !zones.is_empty()));
        assert_eq!("pt".parse::<Country>().unwrap().zones().len(), 2);
        assert_eq!("DE".parse::<Country>().unwrap().zones(), [Tz::Europe__Berlin]);
        assert_eq!("US".parse::<Country>().unwrap().zones().len(), 8);
    }

    #[test]
    fn names_of_countries_are_no_codes() {
        for text in ["Portugal", "", "P", "ZZ", "ÄÖ"] {
            assert!(text.parse::<Country>().is_err(), "{text}");
        }
    }
}
