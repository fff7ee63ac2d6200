//! Mailgun: handing mails over, and what it posts to us: events of mails we sent, and mails that came in
//! through a route. It owns the signature and the way from a post to typed facts. The signature covers a time and a token,
//! never the body: whoever acts on a post must have stored its token as used, and believe the body
//! only where it names a send of our own.

pub mod account;
pub mod client;
mod event;
mod json;
mod route;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::inbound::InboundMail;
use crate::inbound::dsn::{BounceClass, EnhancedCode};

/// Mailgun repeats a post for eight hours; what is older than this is not one of its repeats.
const AGE_MAX: TimeDelta = TimeDelta::hours(24);

/// Longer keys are stored as their hash.
const KEY_LEN_MAX: usize = 200;

/// Returns whether Mailgun, knowing the webhook signing key, signed this time and token.
///
/// Compares in constant time.
pub fn verify(key: &[u8], timestamp: &str, token: &str, signature_hex: &str) -> bool {
    let Ok(signature) = hex::decode(signature_hex) else { return false };
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(timestamp.as_bytes());
    mac.update(token.as_bytes());
    mac.verify_slice(&signature).is_ok()
}

/// Returns whether a signed time, in seconds since 1970, is older than 24 hours or no time at all.
///
/// A narrower window would drop real stops: Mailgun repeats for eight hours after an outage.
pub fn stale(timestamp: &str, now: DateTime<Utc>) -> bool {
    let signed_at = timestamp.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    signed_at.is_none_or(|signed_at| now.signed_duration_since(signed_at) > AGE_MAX)
}

/// The signature of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Seconds since 1970, as they were signed.
    pub timestamp: String,
    /// Used once.
    pub token: String,
    /// HMAC-SHA256 in hexadecimal.
    pub signature: String,
}

impl Signature {
    /// As [`verify`].
    pub fn verify(&self, key: &[u8]) -> bool {
        verify(key, &self.timestamp, &self.token, &self.signature)
    }
}

/// One post.
#[derive(Debug, Clone, PartialEq)]
pub struct MailgunPost {
    /// To be verified before anything else is looked at.
    pub signature: Signature,
    /// The same for every repeat of the same event, different for any other; at most 200 bytes.
    pub event_key: String,
    /// What it says.
    pub event: MailgunEvent,
}

/// What a post says.
#[derive(Debug, Clone, PartialEq)]
pub enum MailgunEvent {
    /// Mailgun took the mail: evidence for a send of unknown outcome.
    Accepted(About),
    /// The recipient's server took it.
    Delivered(About),
    /// Given up.
    FailedPermanent {
        /// Which mail.
        about: About,
        /// Why.
        failure: Failure,
    },
    /// Mailgun will try again.
    FailedTemporary {
        /// Which mail.
        about: About,
        /// Why.
        failure: Failure,
    },
    /// The recipient called it spam: an opt-out for the whole organisation.
    Complained(About),
    /// The recipient used Mailgun's own unsubscribe link.
    Unsubscribed(About),
    /// The pixel was fetched; means nothing for a lead's course.
    Opened {
        /// Which mail.
        about: About,
        /// By whom.
        visitor: Visitor,
    },
    /// A link was followed.
    Clicked {
        /// Which mail.
        about: About,
        /// The link.
        url: String,
        /// By whom: a machine's click must not advance a sequence.
        visitor: Visitor,
    },
    /// A mail came in.
    Inbound(Box<InboundMail>),
    /// A kind of event we do nothing about.
    Ignored {
        /// Its name.
        kind: String,
    },
}

impl MailgunEvent {
    /// Returns the mail, if one came in.
    pub fn into_mail(self) -> Option<Box<InboundMail>> {
        match self {
            Self::Inbound(mail) => Some(mail),
            Self::Accepted(_)
            | Self::Delivered(_)
            | Self::FailedPermanent { .. }
            | Self::FailedTemporary { .. }
            | Self::Complained(_)
            | Self::Unsubscribed(_)
            | Self::Opened { .. }
            | Self::Clicked { .. }
            | Self::Ignored { .. } => None,
        }
    }
}

/// Which mail an event is about. Nothing of it is signed.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// Mailgun's id of the event; unique within a day.
    pub event_id: Option<String>,
    /// When it happened.
    pub at: Option<DateTime<Utc>>,
    /// The recipient, lower-case.
    pub recipient: Option<String>,
    /// The mail's id, without brackets.
    pub message_id: Option<String>,
    /// Our own send, where the event names one.
    pub send_id: Option<Uuid>,
    /// Which ask of it, where the event says so.
    pub attempt: Option<i32>,
    /// Whether the mail was sent in Mailgun's test mode: nothing was delivered to anyone.
    pub mode: SendMode,
}

/// Whether Mailgun really sent a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendMode {
    /// It did, or meant to.
    Real,
    /// `o:testmode`: it only said so.
    Test,
}

/// Who fetched a pixel or followed a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visitor {
    /// A person, for all Mailgun knows.
    Person,
    /// A program; its name as Mailgun gives it: `apple`, `gmail`, `generic`.
    Bot(String),
}

/// Why a mail failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Mailgun's reason.
    pub reason: Reason,
    /// The SMTP reply code, or one of Mailgun's own, such as 605.
    pub code: Option<u16>,
    /// The enhanced status code.
    pub enhanced: Option<EnhancedCode>,
    /// What the server said.
    pub message: String,
    /// Whether the server first took the mail and returned it later.
    pub arrival: BounceArrival,
}

/// When a failure became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BounceArrival {
    /// While the mail was handed over.
    AtOnce,
    /// After it had been taken.
    Delayed,
}

/// Mailgun's word for why a mail failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The recipient's server refused.
    Bounce,
    /// As `Bounce`, in the words of older accounts.
    HardFail,
    /// No special reason.
    Generic,
    /// The provider blocks the sending address.
    EspBlock,
    /// Asked to come back later.
    Greylisted,
    /// The sending address is on a list.
    Blacklisted,
    /// Not sent: the address bounced before.
    SuppressBounce,
    /// Not sent: the address complained before.
    SuppressComplaint,
    /// Not sent: the address opted out before.
    SuppressUnsubscribe,
    /// Tried for too long.
    Old,
    /// A word we do not know.
    Other(String),
}

/// What a failure means for the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureMeaning {
    /// A bounce of this class.
    Bounce(BounceClass),
    /// Nothing was sent: Mailgun already keeps the address on this list. No bounce is counted.
    Suppressed(SuppressionList),
}

/// Mailgun's lists of suppressed addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SuppressionList {
    /// Bounced before.
    Bounces,
    /// Complained before.
    Complaints,
    /// Opted out before.
    Unsubscribes,
}

impl Failure {
    /// Reads a failure that is final.
    pub fn meaning(&self) -> FailureMeaning {
        let by_code = || match (self.enhanced, self.code) {
            (Some(code), _) => BounceClass::of(code),
            (None, Some(reply)) => BounceClass::of_reply(reply, &self.message),
            (None, None) => BounceClass::Soft,
        };
        match self.reason {
            Reason::SuppressBounce => FailureMeaning::Suppressed(SuppressionList::Bounces),
            Reason::SuppressComplaint => FailureMeaning::Suppressed(SuppressionList::Complaints),
            Reason::SuppressUnsubscribe => {
                FailureMeaning::Suppressed(SuppressionList::Unsubscribes)
            }
            // Tried for too long: the address is not proven bad, whatever the last answer was.
            Reason::Old => FailureMeaning::Bounce(BounceClass::Soft),
            Reason::Bounce
            | Reason::HardFail
            | Reason::Generic
            | Reason::EspBlock
            | Reason::Greylisted
            | Reason::Blacklisted
            | Reason::Other(_) => FailureMeaning::Bounce(by_code()),
        }
    }
}

/// Why a post cannot be read. Answered with 400, and nothing is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostFault {
    /// The body is not JSON, or names a field twice.
    #[error("the body is not JSON with each field named once (line {line}, column {column})")]
    NotJson {
        /// Counted from one.
        line: usize,
        /// Counted from one.
        column: usize,
    },
    /// A field without which the post means nothing.
    #[error("field {field} is missing")]
    Missing {
        /// Its path.
        field: &'static str,
    },
    /// A field of another type than it has to be.
    #[error("field {field} is not {expected}")]
    Wrong {
        /// Its path.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// Reads the JSON body of an event webhook.
///
/// Fields we know may be absent and others present; only the signature and the kind of event must be
/// there.
///
/// # Errors
///
/// [`PostFault`], which names the field.
pub fn parse_event(body: &[u8]) -> Result<MailgunPost, PostFault> {
    event::parse(body)
}

/// Reads the form of an inbound route, split into names and values.
///
/// A file among them is taken where it is text, which is how a bounce's report travels; others may be
/// left out. A route that ends in `mime` posts the mail whole as `body-mime`.
///
/// # Errors
///
/// [`PostFault`], which names the field.
pub fn parse_mail(fields: Vec<(String, String)>) -> Result<MailgunPost, PostFault> {
    route::parse(fields)
}

/// Keeps a key as it is, or its hash where it is too long for an index.
fn bounded_key(key: String) -> String {
    if key.len() <= KEY_LEN_MAX { key } else { format!("sha256/{}", hash(&[&key])) }
}

fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).expect("a length fits 64 bits").to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    use super::{
        BounceArrival, BounceClass, Failure, FailureMeaning, Reason, SuppressionList, stale, verify,
    };

    // Made with: printf '1529006854a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0' |
    //            openssl dgst -sha256 -hmac key-example
    const TIMESTAMP: &str = "1529006854";
    const TOKEN: &str = "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0";
    const SIGNATURE: &str = "034634357816b50bd07f40acde38686ff7e40f8e154283bd8cfbf0aef6430d60";

    #[test]
    fn a_genuine_signature_verifies_and_nothing_else_does() {
        let key = b"key-example";
        assert!(verify(key, TIMESTAMP, TOKEN, SIGNATURE));
        assert!(verify(key, TIMESTAMP, TOKEN, &SIGNATURE.to_uppercase()));
        for signature in ["", "00", &SIGNATURE[..62], "not hexadecimal", &format!("{SIGNATURE}00")]
        {
            assert!(!verify(key, TIMESTAMP, TOKEN, signature), "{signature}");
        }
        assert!(!verify(b"key-of-another-workspace", TIMESTAMP, TOKEN, SIGNATURE));
        assert!(!verify(key, "1529006855", TOKEN, SIGNATURE));
        assert!(!verify(key, TIMESTAMP, "another", SIGNATURE));
    }

    #[test]
    fn a_repeat_after_hours_is_fresh_and_a_replay_after_a_day_is_not() {
        let signed_at = DateTime::from_timestamp(1_529_006_854, 0).expect("a time");
        assert!(!stale(TIMESTAMP, signed_at + TimeDelta::minutes(470)));
        assert!(!stale(TIMESTAMP, signed_at + TimeDelta::hours(24)));
        assert!(stale(TIMESTAMP, signed_at + TimeDelta::hours(24) + TimeDelta::seconds(1)));
        assert!(!stale(TIMESTAMP, signed_at - TimeDelta::minutes(5)), "their clock may run ahead");
        for text in ["", "now", "99999999999999999999", "1529006854.5"] {
            assert!(stale(text, signed_at), "{text}");
        }
    }

    #[test]
    fn failures_mean_what_their_codes_say() {
        let failure = |reason, code: Option<u16>, enhanced: Option<&str>, message: &str| Failure {
            reason,
            code,
            enhanced: enhanced.map(|code| code.parse().expect("a code")),
            message: message.to_owned(),
            arrival: BounceArrival::AtOnce,
        };
        let bounce = FailureMeaning::Bounce;
        for (failure, meaning) in [
            (failure(Reason::Bounce, Some(550), Some("5.1.1"), ""), bounce(BounceClass::Hard)),
            (failure(Reason::Bounce, Some(552), Some("5.2.2"), ""), bounce(BounceClass::Soft)),
            (
                failure(Reason::EspBlock, Some(550), Some("5.7.1"), ""),
                bounce(BounceClass::NotTheRecipient),
            ),
            (failure(Reason::Generic, Some(554), None, ""), bounce(BounceClass::NotTheRecipient)),
            (failure(Reason::Bounce, Some(550), None, "No such user"), bounce(BounceClass::Hard)),
            (failure(Reason::Old, Some(550), Some("5.1.1"), ""), bounce(BounceClass::Soft)),
            (failure(Reason::Other("new".into()), None, None, ""), bounce(BounceClass::Soft)),
            (
                failure(Reason::SuppressBounce, Some(605), None, "Not delivering"),
                FailureMeaning::Suppressed(SuppressionList::Bounces),
            ),
            (
                failure(Reason::SuppressUnsubscribe, Some(606), None, ""),
                FailureMeaning::Suppressed(SuppressionList::Unsubscribes),
            ),
        ] {
            assert_eq!(failure.meaning(), meaning, "{failure:?}");
        }
    }

    proptest! {
        #[test]
        fn verifying_is_total(timestamp in ".{0,20}", token in ".{0,60}", signature in ".{0,70}") {
            prop_assert!(!verify(b"key-example", &timestamp, &token, &signature));
            stale(&timestamp, DateTime::UNIX_EPOCH);
        }

        #[test]
        fn any_flipped_bit_of_a_signature_fails(at in 0..32usize, bit in 0..8u8) {
            let mut bytes = hex::decode(SIGNATURE).expect("hexadecimal");
            bytes[at] ^= 1 << bit;
            prop_assert!(!verify(b"key-example", TIMESTAMP, TOKEN, &hex::encode(bytes)));
        }
    }
}
