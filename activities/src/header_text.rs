//! Text that may stand in a mail header: the only thing that reaches a subject or a display name.
//! Lead data comes from files and forms; a line break in it would start a header of the
//! attacker's choice, or panic the MIME builder.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest text, in characters. Mail programs show a quarter of this.
const LENGTH_MAX: usize = 250;

/// One line of visible text, trimmed, 1 to 250 characters, free of control characters.
///
/// Blanks stand alone: headers are folded at them, and two would not come back as two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeaderText(String);

/// Why a text may not stand in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeaderText {
    /// Nothing visible.
    #[error("the text is empty")]
    Empty,
    /// More than 250 characters.
    #[error("the text is longer than {LENGTH_MAX} characters")]
    TooLong,
    /// A line break, NUL, tab or another control character, at this character counted from 1.
    #[error("the text holds a line break or control character at position {0}")]
    Control(usize),
}

impl HeaderText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The subject of an answer to a mail with this subject: `Re: ` before it, once.
    pub fn reply_subject(&self) -> Self {
        if self.0.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:")) {
            return self.clone();
        }
        let text: String = "Re: ".chars().chain(self.0.chars()).take(LENGTH_MAX).collect();
        Self(text.trim_end().to_owned())
    }
}

impl FromStr for HeaderText {
    type Err = InvalidHeaderText;

    fn from_str(raw: &str) -> Result<Self, InvalidHeaderText> {
        let text = raw.trim();
        if text.is_empty() {
            return Err(InvalidHeaderText::Empty);
        }
        if text.chars().take(LENGTH_MAX + 1).count() > LENGTH_MAX {
            return Err(InvalidHeaderText::TooLong);
        }
        if let Some(position) = text.chars().position(breaks_a_line) {
            return Err(InvalidHeaderText::Control(position + 1));
        }
        let mut line = String::with_capacity(text.len());
        for c in text.chars() {
            if c != ' ' || !line.ends_with(' ') {
                line.push(c);
            }
        }
        Ok(Self(line))
    }
}

/// Control characters, and the two separators of Unicode that some programs treat as line ends.
fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for HeaderText {
    type Error = InvalidHeaderText;

    fn try_from(raw: String) -> Result<Self, InvalidHeaderText> {
        raw.parse()
    }
}

impl From<HeaderText> for String {
    fn from(text: HeaderText) -> Self {
        text.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_refused() {
        for evil in ["\r", "\n", "\r\n", "\0", "\t", "\u{7f}", "\u{85}", "\u{2028}", "\u{2029}"] {
            let raw = format!("Hello{evil}Bcc: eve@example.com");
            assert_eq!(raw.parse::<HeaderText>(), Err(InvalidHeaderText::Control(6)), "{evil:?}");
        }
    }

    #[test]
    fn text_is_trimmed_and_bounded() {
        assert_eq!(" Hello   ✓\n".parse::<HeaderText>().unwrap().as_str(), "Hello ✓");
        assert_eq!(" \r\n".parse::<HeaderText>(), Err(InvalidHeaderText::Empty));
        assert!("ä".repeat(250).parse::<HeaderText>().is_ok());
        assert_eq!("ä".repeat(251).parse::<HeaderText>(), Err(InvalidHeaderText::TooLong));
    }

    #[test]
    fn an_answer_has_one_re() {
        let subject: HeaderText = "Quick question".parse().unwrap();
        let answer = subject.reply_subject();
        assert_eq!(answer.as_str(), "Re: Quick question");
        assert_eq!(answer.reply_subject(), answer);
        let long: HeaderText = "ä".repeat(250).parse().unwrap();
        assert!(long.reply_subject().as_str().parse::<HeaderText>().is_ok());
        let other: HeaderText = "RÉ: x".parse().unwrap();
        assert_eq!(other.reply_subject().as_str(), "Re: RÉ: x");
    }
}
