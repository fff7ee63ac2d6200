//! The names of messages, by which answers and bounces find their way back.

use std::fmt;
use std::str::FromStr;

use machine::ids::SendId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::address::EmailAddress;

/// The longest id we take from elsewhere, in bytes: it has to fit on one header line.
const LENGTH_MAX: usize = 500;

/// A Message-ID, without the angle brackets that surround it in a header.
///
/// Ours is `{send id}@{sender's domain}`: one per send, the same for every attempt, so that a mail
/// program that gets two copies shows one, and whatever comes back names the send.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId(String);

/// A text that is no Message-ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message id such as <1@example.com>")]
pub struct InvalidMessageId;

impl MessageId {
    /// The id of the message of this send.
    pub fn of_send(send: SendId, sender: &EmailAddress) -> Self {
        Self(format!("{send}@{}", sender.ascii_domain()))
    }

    /// The send this names, if it is one of ours. That it is has still to be looked up.
    pub fn send_id(&self) -> Option<SendId> {
        let (local, _) = self.0.split_once('@')?;
        // The only spelling we write; others would let two ids name one send.
        Uuid::try_parse(local).ok().map(SendId::new).filter(|id| id.to_string() == local)
    }

    /// The id without angle brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MessageId {
    type Err = InvalidMessageId;

    /// Reads an id with or without angle brackets. Providers and old mail programs are lax about
    /// the `@`; nobody may bring in white space, control characters or another bracket.
    fn from_str(raw: &str) -> Result<Self, InvalidMessageId> {
        let raw = raw.trim();
        let id = raw.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(raw);
        let plain = id.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
        if id.is_empty() || id.len() > LENGTH_MAX || !plain {
            return Err(InvalidMessageId);
        }
        Ok(Self(id.to_owned()))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.0)
    }
}

impl TryFrom<String> for MessageId {
    type Error = InvalidMessageId;

    fn try_from(raw: String) -> Result<Self, InvalidMessageId> {
        raw.parse()
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_from_elsewhere_are_read_with_care() {
        for (raw, id) in
            [("<a.1@x.de>", "a.1@x.de"), (" a@b ", "a@b"), ("20260801.abc", "20260801.abc")]
        {
            assert_eq!(raw.parse::<MessageId>().unwrap().as_str(), id);
        }
        for raw in
            ["", "<>", "<a@b", "a b@c", "a@b\r\nBcc: x", "<a@b> <c@d>", "ä@b", &"x".repeat(501)]
        {
            assert_eq!(raw.parse::<MessageId>(), Err(InvalidMessageId), "{raw:?}");
        }
    }

    #[test]
    fn only_our_own_spelling_names_a_send() {
        let id = |raw: &str| raw.parse::<MessageId>().unwrap().send_id();
        assert!(id("6ba7b810-9dad-11d1-80b4-00c04fd430c8@example.com").is_some());
        assert!(id("6BA7B810-9DAD-11D1-80B4-00C04FD430C8@example.com").is_none());
        assert!(id("6ba7b8109dad11d180b400c04fd430c8@example.com").is_none());
        assert!(id("hello@example.com").is_none());
    }

    proptest! {
        #[test]
        fn the_id_names_its_send_and_no_other(a: u128, b: u128) {
            let sender: EmailAddress = "grace@bücher.de".parse().unwrap();
            let (a, b) = (SendId::new(Uuid::from_u128(a)), SendId::new(Uuid::from_u128(b)));
            let (id_a, id_b) = (MessageId::of_send(a, &sender), MessageId::of_send(b, &sender));
            prop_assert_eq!(id_a.send_id(), Some(a));
            prop_assert_eq!(id_a == id_b, a == b);
            prop_assert_eq!(&id_a.to_string().parse::<MessageId>().unwrap(), &id_a);
        }
    }
}
