//! What became of one request to a provider, in the words every channel shares. The tables that
//! read a provider's codes lie beside their channel; this file knows none of them but the format.

pub mod mailgun_answers;
pub mod smtp_replies;
pub mod twilio_answers;

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// The answer to one attempt at sending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The provider took the message and is answerable for it.
    Accepted {
        /// The provider's own name for the message, where it gives one.
        provider_id: Option<String>,
        /// What it said.
        detail: Detail,
    },
    /// The message certainly did not go out.
    Refused(Refusal),
    /// It may have gone out. No program may send it again.
    Unknown {
        /// What was seen last.
        detail: Detail,
    },
}

/// A definite no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Whose fault it is, and so what has to happen next.
    pub class: RefusalClass,
    /// Whom it concerns beside this message.
    #[serde(default)]
    pub scope: Scope,
    /// How long the provider wants us to wait at least, where that is known.
    pub retry_after: Option<TimeDelta>,
    /// The provider's basic code (SMTP reply or HTTP status).
    pub code: Option<u16>,
    /// The enhanced status code of RFC 3463.
    pub enhanced: Option<EnhancedCode>,
    /// What the provider said, or what we saw.
    pub detail: Detail,
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalClass {
    /// Passing: the same message may be taken later.
    Retry,
    /// The address does not work. Nothing else is to blame.
    Recipient,
    /// The message or our reputation: the address may be fine and must not be suppressed.
    Content,
    /// The mailbox, domain or account we send from: pause it, blame no recipient.
    Account,
    /// The recipient has told the provider to take no more from us.
    OptedOut,
    /// The server cannot carry mail for mailbox names outside ASCII. Nothing is wrong with the address.
    SmtpUtf8,
}

/// Whom a refusal concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This message: the next one may pass.
    #[default]
    Message,
    /// Everything that leaves through the same sender.
    Sender,
}

impl Refusal {
    /// A refusal we state ourselves, without a provider's code.
    pub fn of(class: RefusalClass, detail: impl AsRef<str>) -> Self {
        Self {
            class,
            scope: Scope::Message,
            retry_after: None,
            code: None,
            enhanced: None,
            detail: Detail::new(detail),
        }
    }

    /// The same, of everything that leaves through the sender.
    #[must_use]
    pub fn of_sender(self) -> Self {
        Self { scope: Scope::Sender, ..self }
    }
}

/// What an outcome says about the sender it came through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderHealth {
    /// Its provider answers.
    Well,
    /// It does not, or asks for time: others would fare no better now.
    Trouble {
        /// What was seen.
        detail: Detail,
        /// How long the provider wants us to wait at least.
        retry_after: Option<TimeDelta>,
    },
    /// It refuses our account: nothing passes until a person has acted.
    Fault {
        /// What was seen.
        detail: Detail,
    },
}

impl Outcome {
    /// Returns what this says about the sender.
    pub fn sender_health(&self) -> SenderHealth {
        match self {
            Self::Accepted { .. } => SenderHealth::Well,
            Self::Refused(Refusal { scope: Scope::Message, .. }) => SenderHealth::Well,
            Self::Refused(Refusal { class: RefusalClass::Account, detail, .. }) => {
                SenderHealth::Fault { detail: detail.clone() }
            }
            Self::Refused(Refusal { detail, retry_after, .. }) => {
                SenderHealth::Trouble { detail: detail.clone(), retry_after: *retry_after }
            }
            Self::Unknown { detail } => {
                SenderHealth::Trouble { detail: detail.clone(), retry_after: None }
            }
        }
    }
}

/// What a provider said: one line of at most 300 characters.
///
/// A server may name an address in it, so it belongs in the ledger, which erase empties, and not
/// in a log or in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Detail(String);

impl Detail {
    /// The longest detail, in characters.
    const LENGTH_MAX: usize = 300;

    /// Makes one line of `raw`: control characters and runs of white space become one space.
    pub fn new(raw: impl AsRef<str>) -> Self {
        // A server may answer with megabytes; no more than needed is looked at.
        let raw = raw.as_ref().chars().take(4 * Self::LENGTH_MAX);
        let visible: String = raw.map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut line = String::new();
        for word in visible.split_whitespace() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if let Some((cut, _)) = line.char_indices().nth(Self::LENGTH_MAX) {
            line.truncate(cut);
            line.truncate(line.trim_end().len());
        }
        Self(line)
    }

    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The line without addresses and numbers, for what outlives the people it may name.
    pub fn impersonal(&self) -> String {
        let words = self.0.split(' ').map(|word| if is_personal(word) { "…" } else { word });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Whether a word may be a mail address or a telephone number.
fn is_personal(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    word.contains('@') || digits >= 7 && !word.contains(char::is_alphabetic)
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Detail {
    fn from(raw: String) -> Self {
        Self::new(raw)
    }
}

impl From<Detail> for String {
    fn from(detail: Detail) -> Self {
        detail.0
    }
}

/// An enhanced mail status code (RFC 3463): `5.1.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnhancedCode {
    class: u8,
    subject: u16,
    detail: u16,
}

/// A text that is no enhanced status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code such as 5.1.1")]
pub struct InvalidEnhancedCode;

impl EnhancedCode {
    /// Finds the code at the start of a server's text, where servers put it.
    pub fn at_start_of(text: &str) -> Option<Self> {
        let word = text.split_whitespace().next()?;
        word.trim_end_matches([':', ',', ';', '-']).parse().ok()
    }

    /// 2 for success, 4 for a passing failure, 5 for a lasting one.
    pub fn class(self) -> u8 {
        self.class
    }

    /// The second number: 1 addressing, 2 mailbox, 3 system, 4 network, 5 protocol, 6 content, 7 policy.
    pub fn subject(self) -> u16 {
        self.subject
    }

    /// The third number, read within its subject.
    pub fn detail(self) -> u16 {
        self.detail
    }
}

impl FromStr for EnhancedCode {
    type Err = InvalidEnhancedCode;

    fn from_str(raw: &str) -> Result<Self, InvalidEnhancedCode> {
        let number = |part: Option<&str>| {
            part.filter(|digits| {
                (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
            })
            .and_then(|digits| digits.parse::<u16>().ok())
            .ok_or(InvalidEnhancedCode)
        };
        let mut parts = raw.split('.');
        let class = match parts.next() {
            Some("2") => 2,
            Some("4") => 4,
            Some("5") => 5,
            Some(_) | None => return Err(InvalidEnhancedCode),
        };
        let code = Self { class, subject: number(parts.next())?, detail: number(parts.next())? };
        match parts.next() {
            None => Ok(code),
            Some(_) => Err(InvalidEnhancedCode),
        }
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl TryFrom<String> for EnhancedCode {
    type Error = InvalidEnhancedCode;

    fn try_from(raw: String) -> Result<Self, InvalidEnhancedCode> {
        raw.parse()
    }
}

impl From<EnhancedCode> for String {
    fn from(code: EnhancedCode) -> Self {
        code.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_and_numbers_are_taken_out_of_what_outlives_them() {
        let said = Detail::new(
            "550 5.7.1 <ada@example.com>: from +351912345678 (351-912-345) denied, SM0123456789",
        );
        assert_eq!(said.impersonal(), "550 5.7.1 … from … … denied, SM0123456789");
    }

    #[test]
    fn enhanced_codes_are_read_from_the_start_only() {
        let code = |text| EnhancedCode::at_start_of(text).map(|code| code.to_string());
        assert_eq!(code("5.1.1 <ada@example.com>: user unknown").as_deref(), Some("5.1.1"));
        assert_eq!(code("4.7.0").as_deref(), Some("4.7.0"));
        assert_eq!(code("5.7.26: unauthenticated").as_deref(), Some("5.7.26"));
        for text in [
            "",
            "user unknown 5.1.1",
            "3.1.1 x",
            "5.1 x",
            "5.1.1.1 x",
            "5.1.1000 x",
            "5..1",
            "10.0.0.1",
        ] {
            assert_eq!(code(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_outcome_survives_storage() {
        let outcome = Outcome::Refused(Refusal {
            class: RefusalClass::Retry,
            scope: Scope::Sender,
            retry_after: Some(TimeDelta::minutes(15)),
            code: Some(450),
            enhanced: "4.7.1".parse().ok(),
            detail: Detail::new("greylisted"),
        });
        let stored = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&stored).unwrap(), outcome);
    }

    proptest! {
        #[test]
        fn a_detail_is_one_short_line(raw in "(?s).{0,2000}") {
            let detail = Detail::new(&raw);
            prop_assert!(detail.as_str().chars().count() <= 300);
            prop_assert!(!detail.as_str().chars().any(char::is_control));
            prop_assert_eq!(Detail::new(detail.as_str()), detail);
        }
    }
}
