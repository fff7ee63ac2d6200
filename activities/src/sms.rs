//! Text messages: how much of a telephone's patience, and of our money, one takes.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// The most characters a message may have: providers refuse longer ones.
pub const CHARACTERS_MAX: usize = 1_600;

/// The alphabet in which a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TextEncoding")]
pub enum Encoding {
    /// Seven bits a character (GSM 03.38): 160 in one message, 153 in each part of a longer one.
    Gsm7,
    /// Sixteen bits a unit: 70 in one message, 67 in each part of a longer one. One character
    /// outside the seven-bit alphabet brings it on the whole message.
    Ucs2,
}

/// What a text comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "TextMeasure")]
pub struct Measure {
    /// Its alphabet.
    pub encoding: Encoding,
    /// How much of that alphabet it uses: of seven-bit characters the extended ones count twice, of
    /// sixteen-bit ones those outside the basic plane, emoji for one.
    pub units: usize,
    /// In how many parts it travels, each of which is paid for; 0 for an empty text.
    pub segments: usize,
}

/// The seven-bit alphabet, without its escape.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
                     ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// What is written as an escape and another character.
const EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// Measures a text as it stands.
pub fn measure(text: &str) -> Measure {
    match seven_bit(text) {
        Some(widths) => {
            let units = widths.iter().sum();
            let segments = parts(widths.into_iter(), units, 160, 153);
            Measure { encoding: Encoding::Gsm7, units, segments }
        }
        None => {
            let units = text.chars().map(char::len_utf16).sum();
            let segments = parts(text.chars().map(char::len_utf16), units, 70, 67);
            Measure { encoding: Encoding::Ucs2, units, segments }
        }
    }
}

/// The width of each character in the seven-bit alphabet; `None` if one is not in it.
fn seven_bit(text: &str) -> Option<Vec<usize>> {
    text.chars()
        .map(|c| match c {
            c if BASIC.contains(c) => Some(1),
            c if EXTENDED.contains(c) => Some(2),
            _ => None,
        })
        .collect()
}

/// Counts parts. A character of two units is never cut in two: it begins the next part.
fn parts(widths: impl Iterator<Item = usize>, units: usize, alone: usize, each: usize) -> usize {
    if units == 0 {
        return 0;
    }
    if units <= alone {
        return 1;
    }
    let (mut parts, mut used) = (1, 0);
    for width in widths {
        if used + width > each {
            parts += 1;
            used = 0;
        }
        used += width;
    }
    parts
}

/// Returns the text as it travels: in the seven-bit alphabet if nothing but typographic signs keeps it
/// out of it, else as it is.
pub fn travelling(text: &str) -> String {
    let plain = plain(text);
    match measure(&plain).encoding {
        Encoding::Gsm7 => plain,
        Encoding::Ucs2 => text.to_owned(),
    }
}

/// Replaces typographic signs that would bring the sixteen-bit alphabet on a text by the plain ones
/// that a reader takes for the same: quotes, dashes, dots, spaces.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{2032}' | '`' | '\u{b4}' => plain.push('\''),
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2033}' | '«' | '»' => plain.push('"'),
            '\u{2010}'..='\u{2015}' | '\u{2212}' => plain.push('-'),
            '\u{2026}' => plain.push_str("..."),
            '\u{2022}' => plain.push('*'),
            '\t' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
                plain.push(' ');
            }
            '\u{200b}' | '\u{2060}' | '\u{feff}' => {}
            other => plain.push(other),
        }
    }
    plain
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = if self.segments == 1 { "part" } else { "parts" };
        let alphabet = match self.encoding {
            Encoding::Gsm7 => "",
            Encoding::Ucs2 => ", 16-bit",
        };
        write!(f, "{} {parts}{alphabet}", self.segments)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(text: &str) -> (Encoding, usize, usize) {
        let Measure { encoding, units, segments } = measure(text);
        (encoding, units, segments)
    }

    #[test]
    fn plain_letters_fill_160_then_153() {
        assert_eq!(told(""), (Encoding::Gsm7, 0, 0));
        assert_eq!(told(&"a".repeat(160)), (Encoding::Gsm7, 160, 1));
        assert_eq!(told(&"a".repeat(161)), (Encoding::Gsm7, 161, 2));
        assert_eq!(told(&"a".repeat(306)), (Encoding::Gsm7, 306, 2));
        assert_eq!(told(&"a".repeat(307)), (Encoding::Gsm7, 307, 3));
        assert_eq!(told("Größe: @ñ à £5, ¿sí?").0, Encoding::Ucs2, "í is not in it");
        assert_eq!(told("Größe: @ñ à £5, ¿si?").0, Encoding::Gsm7);
    }

    #[test]
    fn extended_characters_count_twice_and_are_never_cut() {
        assert_eq!(told("€"), (Encoding::Gsm7, 2, 1));
        assert_eq!(told(&"€".repeat(80)), (Encoding::Gsm7, 160, 1));
        assert_eq!(told(&format!("{}€", "a".repeat(159))), (Encoding::Gsm7, 161, 2));
        // 152 letters leave one place in the first part: the sign goes into the next.
        let text = format!("{}[{}", "a".repeat(152), "b".repeat(151));
        assert_eq!(told(&text), (Encoding::Gsm7, 305, 2));
        let text = format!("{}[{}", "a".repeat(152), "b".repeat(152));
        assert_eq!(told(&text), (Encoding::Gsm7, 306, 3), "306 units, and yet three parts");
        for sign in "^{}\\[~]|€\u{c}".chars() {
            assert_eq!(told(&sign.to_string()), (Encoding::Gsm7, 2, 1), "{sign:?}");
        }
    }

    #[test]
    fn one_foreign_character_makes_it_70_then_67() {
        assert_eq!(told(&"я".repeat(70)), (Encoding::Ucs2, 70, 1));
        assert_eq!(told(&"я".repeat(71)), (Encoding::Ucs2, 71, 2));
        assert_eq!(told(&format!("{}я", "a".repeat(134))), (Encoding::Ucs2, 135, 3));
        assert_eq!(told("🙏"), (Encoding::Ucs2, 2, 1));
        // A pair of surrogates is not cut: 33 emoji fill 66 of 67.
        assert_eq!(told(&"🙏".repeat(67)), (Encoding::Ucs2, 134, 3));
        assert_eq!(told("it’s").0, Encoding::Ucs2);
        assert_eq!(travelling("it’s “so” – really…"), "it's \"so\" - really...");
        assert_eq!(travelling("“да”"), "“да”", "nothing is won");
    }

    proptest! {
        #[test]
        fn parts_grow_with_the_text_and_hold_all_of_it(text in "\\PC{0,400}", more in "\\PC{1,20}") {
            let one = measure(&text);
            let longer = measure(&format!("{text}{more}"));
            prop_assert!(longer.segments >= one.segments);
            let (alone, each) = match one.encoding { Encoding::Gsm7 => (160, 153), Encoding::Ucs2 => (70, 67) };
            let room = if one.segments <= 1 { alone } else { each * one.segments };
            prop_assert!(one.units <= room);
            prop_assert!(measure(&plain(&text)).segments <= one.segments.max(1) * 3);
        }
    }
}
