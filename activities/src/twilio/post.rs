//! What Twilio posts: the status of a text we sent, or a text that came in. Forms, and rarely JSON with
//! the same names.

use serde_json::Value;

use crate::inbound::keywords::{self, Keyword};
use crate::outcome::twilio_answers::{self, Undelivered};
use crate::phone::PhoneNumber;

/// The longest id or word that is kept.
const WORD_MAX: usize = 64;

/// One post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TwilioPost {
    /// What became of a text of ours.
    Status(StatusPost),
    /// A text came in.
    Message(MessagePost),
}

/// What became of a text of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusPost {
    /// Twilio's name for the text.
    pub sid: String,
    /// How far it is.
    pub status: Status,
    /// Why it did not arrive.
    pub error: Option<u32>,
}

/// A text that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePost {
    /// Twilio's name for it.
    pub sid: String,
    /// Who wrote; `None` where that is no number we could text, as of a company.
    pub from: Option<PhoneNumber>,
    /// What it says.
    pub body: String,
    /// What Twilio has made of it by the words the account has set up there.
    pub keyword: Option<Keyword>,
}

impl MessagePost {
    /// What it asks by a word, if it does: Twilio blocks by its own reading, so that counts too.
    pub fn asks(&self) -> Option<Keyword> {
        match (self.keyword, keywords::read(&self.body)) {
            (Some(Keyword::Stop), _) | (_, Some(Keyword::Stop)) => Some(Keyword::Stop),
            (theirs, ours) => theirs.or(ours),
        }
    }
}

/// How far a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Twilio has it.
    Queued,
    /// It is on its way to the carrier.
    Sending,
    /// The carrier has it.
    Sent,
    /// It arrived.
    Delivered,
    /// It arrived and was read.
    Read,
    /// The carrier could not deliver it.
    Undelivered,
    /// Twilio could not send it.
    Failed,
    /// It was called back before it left.
    Canceled,
    /// A word we do not know.
    Other(String),
}

/// Why a post cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostFault {
    /// The body is not JSON with names and texts.
    #[error("the body is not a JSON object of texts")]
    NotJson,
    /// A field without which it means nothing.
    #[error("field {0} is missing")]
    Missing(&'static str),
}

impl TwilioPost {
    /// Reads a form.
    ///
    /// # Errors
    ///
    /// [`PostFault::Missing`].
    pub fn read(fields: &[(String, String)]) -> Result<Self, PostFault> {
        let field = |name: &str| {
            let mut named = fields.iter().filter(|(key, _)| key == name);
            named.next().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let sid =
            field("MessageSid").or_else(|| field("SmsSid")).or_else(|| field("SmsMessageSid"));
        let sid: String =
            sid.ok_or(PostFault::Missing("MessageSid"))?.chars().take(WORD_MAX).collect();
        let status = field("MessageStatus").or_else(|| field("SmsStatus"));
        match status.map(Status::of) {
            // A text that comes in has a status, too.
            Some(status) if field("MessageStatus").is_some() || !status.is_inbound() => {
                let error = field("ErrorCode").and_then(|code| code.parse().ok());
                Ok(Self::Status(StatusPost { sid, status, error }))
            }
            Some(_) | None => {
                let from = field("From").ok_or(PostFault::Missing("From"))?;
                let body = field("Body").unwrap_or_default().to_owned();
                let keyword = field("OptOutType").and_then(keyword);
                Ok(Self::Message(MessagePost { sid, from: number(from), body, keyword }))
            }
        }
    }
}

/// Splits a JSON object into names and texts, as a form would have them.
///
/// # Errors
///
/// [`PostFault::NotJson`].
pub fn json_fields(body: &[u8]) -> Result<Vec<(String, String)>, PostFault> {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
        return Err(PostFault::NotJson);
    };
    let text = |value: Value| match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    Ok(object.into_iter().map(|(name, value)| (name, text(value))).collect())
}

fn keyword(word: &str) -> Option<Keyword> {
    match word.to_ascii_uppercase().as_str() {
        "STOP" => Some(Keyword::Stop),
        "START" => Some(Keyword::Start),
        "HELP" => Some(Keyword::Help),
        _ => None,
    }
}

/// Rich channels put their own name before the number.
fn number(text: &str) -> Option<PhoneNumber> {
    text.rsplit(':').next()?.parse().ok()
}

impl Status {
    fn of(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "accepted" | "scheduled" | "queued" => Self::Queued,
            "sending" => Self::Sending,
            "sent" => Self::Sent,
            "delivered" | "partially_delivered" => Self::Delivered,
            "read" => Self::Read,
            "undelivered" => Self::Undelivered,
            "failed" => Self::Failed,
            "canceled" => Self::Canceled,
            other => Self::Other(other.chars().take(WORD_MAX).collect()),
        }
    }

    /// Returns the word that is stored.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Other(word) => word,
        }
    }

    /// Returns how far a text with this stored status is: it never moves back, and of several that
    /// cannot follow each other the first counts.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Other(_) => 0,
            Self::Queued => 1,
            Self::Sending => 2,
            Self::Sent => 3,
            Self::Delivered | Self::Undelivered | Self::Failed | Self::Canceled => 4,
            Self::Read => 5,
        }
    }

    fn is_inbound(&self) -> bool {
        matches!(self, Self::Other(word) if matches!(word.as_str(), "received" | "receiving"))
    }

    /// Returns the status of this stored word.
    pub fn stored(word: &str) -> Self {
        Self::of(word)
    }
}

impl StatusPost {
    /// What makes a repeat a repeat.
    pub fn event_key(&self) -> String {
        format!("{}/{}", self.sid, self.status.as_str())
    }

    /// Why the text did not arrive, if it did not.
    pub fn undelivered(&self) -> Option<Undelivered> {
        match self.status {
            Status::Undelivered | Status::Failed => Some(twilio_answers::undelivered(self.error)),
            Status::Queued
            | Status::Sending
            | Status::Sent
            | Status::Delivered
            | Status::Read
            | Status::Canceled
            | Status::Other(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_status_and_a_text_are_told_apart() {
        let status = fields(&[
            ("MessageSid", "SM1"),
            ("SmsStatus", "undelivered"),
            ("MessageStatus", "undelivered"),
            ("ErrorCode", "30003"),
            ("From", "+15550100"),
        ]);
        let TwilioPost::Status(status) = TwilioPost::read(&status).unwrap() else { panic!() };
        assert_eq!(status.event_key(), "SM1/undelivered");
        assert_eq!(status.undelivered(), Some(Undelivered::ForNow));

        let text = fields(&[
            ("SmsMessageSid", "SM2"),
            ("MessageSid", "SM2"),
            ("SmsStatus", "received"),
            ("From", "+12025550123"),
            ("To", "+15550100"),
            ("Body", "Tell me more"),
        ]);
        let TwilioPost::Message(text) = TwilioPost::read(&text).unwrap() else { panic!() };
        assert_eq!(text.from.unwrap().as_str(), "+12025550123");
        assert_eq!(text.body, "Tell me more");

        let company = fields(&[("MessageSid", "SM3"), ("From", "ACME"), ("Body", "x")]);
        let TwilioPost::Message(company) = TwilioPost::read(&company).unwrap() else { panic!() };
        assert_eq!(company.from, None);
        for missing in [fields(&[("From", "+12025550123")]), fields(&[("MessageSid", "SM4")])] {
            assert!(TwilioPost::read(&missing).is_err());
        }
    }

    #[test]
    fn no_status_moves_back() {
        let words = ["queued", "sending", "sent", "delivered", "read"];
        for pair in words.windows(2) {
            assert!(Status::stored(pair[0]).rank() < Status::stored(pair[1]).rank(), "{pair:?}");
        }
        assert_eq!(Status::stored("undelivered").rank(), Status::stored("delivered").rank());
        for word in words.iter().chain(&["undelivered", "failed", "canceled", "brand_new"]) {
            assert_eq!(Status::stored(word).as_str(), *word);
        }
    }

    proptest! {
        #[test]
        fn reading_is_total(body in ".{0,60}", status in ".{0,20}", from in ".{0,20}") {
            let pairs = [("MessageSid", "SM1"), ("MessageStatus", &status), ("From", &from), ("Body", &body)];
            drop(TwilioPost::read(&fields(&pairs)));
            drop(TwilioPost::read(&fields(&pairs[2..])));
            drop(json_fields(body.as_bytes()));
        }
    }
}
