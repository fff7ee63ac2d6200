//! Telephone numbers in the one spelling under which they are stored, compared, suppressed and
//! dialled: E.164, as in `+351912345678`. Whether a telephone answers there is not known here.

use std::fmt;
use std::str::FromStr;

use phonenumber::Mode;
use serde::{Deserialize, Serialize};

/// The longest text that is looked at, in bytes: a number with every bracket one can think of.
const TEXT_MAX: usize = 64;

/// The fewest digits of a number with its country code.
const DIGITS_MIN: usize = 8;

/// The most digits of a number with its country code (E.164).
const DIGITS_MAX: usize = 15;

/// A telephone number: `+`, the code of a country, and the number there, without anything between.
///
/// One telephone has one spelling: `+351 912 345 678`, `00351 912345678` read in Portugal and
/// `912 345 678` read in Portugal are all `+351912345678`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(String);

/// A country by its two letters (ISO 3166-1), in which numbers without a country code are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country(phonenumber::country::Id);

/// Why a text is not a telephone number. The text itself is left out: it may be personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPhone {
    /// Nothing but white space.
    #[error("the number is empty")]
    Empty,
    /// It does not say in which country it is.
    #[error("the number has no country code; write it like +351912345678, or name the country")]
    NoCountry,
    /// Letters, too few or too many digits, a code that no country has.
    #[error("not a telephone number such as +351912345678")]
    NotANumber,
    /// It reads like a number, and its country has none like it.
    #[error("no telephone of that country has such a number")]
    NotInUse,
    /// A number behind a switchboard cannot be texted.
    #[error("the number has an extension; write it without")]
    Extension,
}

/// A text that names no country.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no country; write its two letters, as in PT")]
pub struct UnknownCountry(String);

impl PhoneNumber {
    /// Reads a number; `country` is where it is dialled if it does not say so itself.
    ///
    /// A number written in full is believed if it could be one: plans of countries change faster
    /// than programs. One without its country must be in use there, because anything with some
    /// digits could be meant otherwise.
    ///
    /// # Errors
    ///
    /// [`InvalidPhone`].
    pub fn read(text: &str, country: Option<Country>) -> Result<Self, InvalidPhone> {
        // Spreadsheets leave byte-order marks and zero-width spaces around a cell.
        let text =
            text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'));
        if text.is_empty() {
            return Err(InvalidPhone::Empty);
        }
        if text.len() > TEXT_MAX || !text.chars().all(is_of_number) {
            return Err(InvalidPhone::NotANumber);
        }
        let is_whole = text.starts_with(['+', '\u{ff0b}']);
        if !is_whole && country.is_none() {
            return Err(InvalidPhone::NoCountry);
        }
        let read = phonenumber::parse(country.map(|country| country.0), text)
            .map_err(|_| InvalidPhone::NotANumber)?;
        if read.extension().is_some() {
            return Err(InvalidPhone::Extension);
        }
        if !is_whole && !read.is_valid() {
            return Err(InvalidPhone::NotInUse);
        }
        let number = read.format().mode(Mode::E164).to_string();
        let digits = number.len().saturating_sub(1);
        let is_short_or_long = !(DIGITS_MIN..=DIGITS_MAX).contains(&digits);
        if !number.starts_with('+') || is_short_or_long || !is_itself(&number) {
            return Err(InvalidPhone::NotANumber);
        }
        Ok(Self(number))
    }

    /// The number in E.164.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a spelling reads back as itself. Of a number that no country has, the beginning may be taken
/// for a prefix each time it is read.
fn is_itself(number: &str) -> bool {
    let read = phonenumber::parse(None, number);
    read.is_ok_and(|read| read.format().mode(Mode::E164).to_string() == number)
}

/// What may stand in a number as people write it.
fn is_of_number(c: char) -> bool {
    c.is_numeric() || c.is_whitespace() || "+\u{ff0b}-\u{2010}\u{2011}\u{2013}().,/".contains(c)
}

impl FromStr for PhoneNumber {
    type Err = InvalidPhone;

    /// Reads a number that is written in full.
    fn from_str(text: &str) -> Result<Self, InvalidPhone> {
        Self::read(text, None)
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = InvalidPhone;

    fn try_from(text: String) -> Result<Self, InvalidPhone> {
        text.parse()
    }
}

impl From<PhoneNumber> for String {
    fn from(number: PhoneNumber) -> Self {
        number.0
    }
}

impl FromStr for Country {
    type Err = UnknownCountry;

    fn from_str(text: &str) -> Result<Self, UnknownCountry> {
        let letters = text.trim().to_uppercase();
        match letters.parse() {
            Ok(id) if letters.len() == 2 => Ok(Self(id)),
            Ok(_) | Err(_) => Err(UnknownCountry(text.chars().take(20).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, country: &str) -> Result<String, InvalidPhone> {
        let country = (!country.is_empty()).then(|| country.parse().unwrap());
        PhoneNumber::read(text, country).map(String::from)
    }

    #[test]
    fn one_telephone_has_one_spelling() {
        for (text, country) in [
            ("+351912345678", ""),
            (" +351 912 345 678 ", ""),
            ("+351 (912) 345-678", "US"),
            ("912 345 678", "PT"),
            ("00351912345678", "PT"),
            ("＋351912345678", ""),
            ("\u{feff}912.345.678\u{200b}", "pt"),
        ] {
            assert_eq!(read(text, country).as_deref(), Ok("+351912345678"), "{text:?} {country}");
        }
        assert_eq!(read("(202) 555-0123", "US").as_deref(), Ok("+12025550123"));
        assert_eq!(read("+15550100", "").as_deref(), Ok("+15550100"), "written in full");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        use InvalidPhone::{Empty, NoCountry, NotANumber, NotInUse};
        for (text, country, fault) in [
            ("", "", Empty),
            (" \u{200b}", "PT", Empty),
            ("912345678", "", NoCountry),
            ("ask me", "PT", NotANumber),
            ("+351", "", NotANumber),
            ("+1234567890123456", "", NotANumber),
            ("+999912345678", "", NotANumber),
            ("+7-8000000", "", NotANumber),
            ("ada@example.com", "PT", NotANumber),
            ("12", "PT", NotInUse),
            ("555-0100", "US", NotInUse),
            ("+1 202 555 0123 ext. 7", "", NotANumber),
        ] {
            let is_same = read(text, country) == Err(fault);
            assert!(is_same, "{text:?} in {country:?}: {:?}", read(text, country));
        }
        assert!("Portugal".parse::<Country>().is_err() && "XX".parse::<Country>().is_err());
    }

    proptest! {
        #[test]
        fn reading_is_total_and_stable(text in "\\PC{0,20}", digits in "\\+?[0-9 ()-]{0,20}") {
            for text in [text, digits] {
                for country in ["", "PT", "US"] {
                    if let Ok(number) = read(&text, country) {
                        prop_assert_eq!(read(&number, ""), Ok(number));
                    }
                }
            }
        }
    }
}
