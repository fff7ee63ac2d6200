//! What is true of texts alone: a number speaks for itself, whoever it belongs to, and what a provider
//! reports about a text has an order in which it never moves back.

use machine::ids::SendId;
use machine::signal::Bounce;

use super::event::{Fact, MessageProgress, Names, NewEvent, Provider, Said};
use super::stored_mail::StoredMail;
use super::target::{Found, Target};
use super::{Signalled, lock_lead};
use crate::error::Result;
use crate::inbound::keywords::{self, Keyword};
use crate::mailroom::Mailroom;
use crate::origin::Correspondent;
use crate::outcome::Detail;
use crate::outcome::twilio_answers::Undelivered;
use crate::phone::PhoneNumber;
use crate::store::audit::{self, Act};
use crate::store::inbound_events::{self, EventId};
use crate::store::matches::NamedSend;
use crate::store::suppressions::{self, Reason, Value};
use crate::store::{Tx, clock, locks};
use crate::token::SendClaim;
use crate::twilio::post::{MessagePost, Status, StatusPost};

/// The rank from which on a message has come to its end: what else is reported then tells nothing new.
const FINAL: u8 = 4;

impl NewEvent {
    /// Reads what Twilio reports about a text; `claim` is what the address it reports to says, which we
    /// signed and nobody else.
    pub fn of_twilio_status(claim: SendClaim, post: &StatusPost, payload: Vec<u8>) -> Self {
        let (fact, account_fault) = of_status(post);
        let rank = post.status.rank();
        Self {
            attempt: Some(claim.attempt),
            progress: Some(MessageProgress { message: post.sid.clone(), rank }),
            account_fault,
            payload,
            ..Self::plain(Provider::Twilio, post.event_key(), fact, Names::send(claim.send.into()))
        }
    }

    /// Twilio reports about a text that does not name a send of ours: it is kept.
    pub fn of_twilio_stray(post: &StatusPost, payload: Vec<u8>) -> Self {
        let (fact, names) = (Fact::Noted(post.status.as_str().to_owned()), Names::default());
        Self { payload, ..Self::plain(Provider::Twilio, post.event_key(), fact, names) }
    }

    /// A text came in through Twilio, as this form.
    pub fn of_twilio_text(post: MessagePost, fields: Vec<(String, String)>) -> Self {
        let (key, keyword) = (format!("{}/received", post.sid), post.asks());
        let words = post.body;
        Self::of_text(
            Provider::Twilio,
            key,
            post.from,
            (keyword, words),
            &StoredMail::Twilio { fields },
        )
    }

    /// A played recipient wrote a text. `event_key` is the same for every repeat.
    pub fn of_played_text(event_key: String, from: Option<PhoneNumber>, text: &str) -> Self {
        let number = from.as_ref().map(ToString::to_string);
        let stored = StoredMail::Text { number, text: text.to_owned() };
        let said = (keywords::read(text), text.to_owned());
        Self::of_text(Provider::Capture, event_key, from, said, &stored)
    }

    /// A text came in. Its provider vouches for the number it came from. `event_key` is the same
    /// whenever the same text is brought.
    fn of_text(
        provider: Provider,
        event_key: String,
        from: Option<PhoneNumber>,
        (keyword, words): (Option<Keyword>, String),
        stored: &StoredMail,
    ) -> Self {
        let said = match keyword {
            Some(Keyword::Stop) => Said::Stop,
            Some(Keyword::Start) => Said::Start,
            Some(Keyword::Help) => Said::Help,
            None => Said::Reply,
        };
        let sender = from.map(Correspondent::Phone);
        let names = Names { sends: Vec::new(), sender };
        let payload = stored.to_bytes();
        let words = Some(words);
        Self { payload, words, ..Self::plain(provider, event_key, Fact::Text(said), names) }
    }

    /// A provider refuses a recipient who has told it to take no more from us.
    pub fn of_refused_opt_out(send: SendId, attempt: i32) -> Self {
        let key = format!("{send}/{attempt}");
        Self::plain(Provider::Refusal, key, Fact::OptedOut, Names::send(send))
    }

    /// Whether it proves that the newest ask of the send it names was taken. A refusal proves that it
    /// was not.
    pub(super) fn proves(&self, named: &NamedSend) -> bool {
        self.provider != Provider::Refusal
            && self.attempt.is_none_or(|attempt| attempt == named.attempt)
    }

    fn number(&self) -> Option<&str> {
        match &self.names.sender {
            Some(Correspondent::Phone(number)) => Some(number.as_str()),
            Some(Correspondent::Mailbox(_)) | None => None,
        }
    }
}

/// Lifts the opt-out of the number that a text came from, on record. Returns whether there was one: if
/// not, the text is an answer like any other.
pub(super) async fn begin_again(
    tx: &mut Tx,
    room: &Mailroom,
    event: &NewEvent,
    found: &Found,
) -> Result<bool> {
    let workspace = tx.workspace();
    let Some(number) = event.number() else { return Ok(false) };
    let value = Value::address(&room.suppressions, number);
    // All that what follows may lock, at once.
    match found {
        Found::Lead(target) => {
            let reason = Some(Reason::OptedOut);
            lock_lead(tx, room, target.lead, target.channel, Some(number), reason).await?;
        }
        Found::Responder(_) | Found::Erased(_) | Found::Nobody => {
            let key = locks::address_key(workspace, value.hash());
            locks::lock_exclusive(tx, &[key]).await?;
        }
    }
    let now = clock::read(tx).await?;
    let lifted = suppressions::lift_opt_out(tx, workspace, value.hash(), now.campaign).await?;
    let Some(lifted) = lifted else { return Ok(false) };
    let subject = format!("suppression/{lifted}");
    let act = Act { actor: "recipient", act: "suppression.lift", subject: &subject, details: None };
    audit::record(tx, workspace, &act, now.wall).await?;
    Ok(true)
}

/// Somebody who is no lead of ours wants no more texts: the promise is kept all the same.
pub(super) async fn stop_stranger(
    tx: &mut Tx,
    room: &Mailroom,
    event: &NewEvent,
) -> Result<Signalled> {
    let workspace = tx.workspace();
    let Some(number) = event.number() else { return Ok(Signalled::Unmatched) };
    let value = Value::address(&room.suppressions, number);
    locks::lock_exclusive(tx, &[locks::address_key(workspace, value.hash())]).await?;
    let now = clock::read(tx).await?.campaign;
    suppressions::add(tx, workspace, &value, Reason::OptedOut, now).await?;
    Ok(Signalled::Stored { enrollments: Vec::new() })
}

/// Whether the message that an event reports about is as far already, or farther.
pub(super) async fn is_overtaken(
    tx: &mut Tx,
    (id, event): (EventId, &NewEvent),
    target: &Target,
) -> Result<bool> {
    let (Some(progress), Some(named)) = (&event.progress, &target.named) else { return Ok(false) };
    let workspace = tx.workspace();
    let provider = event.provider.as_str();
    let keys = inbound_events::keys_about(tx, workspace, provider, named.send, id).await?;
    let mut ranks = keys.iter().filter_map(|key| {
        let (message, status) = key.split_once('/')?;
        (message == progress.message).then(|| Status::stored(status).rank())
    });
    Ok(ranks.any(|rank| rank >= progress.rank.min(FINAL)))
}

/// What a status means for a lead, and what it says against our account.
fn of_status(post: &StatusPost) -> (Fact, Option<Detail>) {
    let noted = |word: &str| Fact::Noted(word.to_owned());
    let fact = match (&post.status, post.undelivered()) {
        (Status::Delivered | Status::Read, _) => Fact::Delivered,
        (_, Some(Undelivered::ForNow)) => Fact::Bounced(Bounce::Soft),
        (_, Some(Undelivered::ForGood)) => Fact::Bounced(Bounce::Hard),
        (_, Some(Undelivered::OptedOut)) => Fact::OptedOut,
        (_, Some(Undelivered::Filtered)) => noted("filtered"),
        (_, Some(Undelivered::Account)) => {
            let code = post.error.unwrap_or_default();
            let why = format!("{code}: the provider refuses to deliver what this account sends");
            return (noted("account_refused"), Some(Detail::new(why)));
        }
        (_, Some(Undelivered::Unclear)) => noted("undelivered"),
        (status, None) => noted(status.as_str()),
    };
    (fact, None)
}
