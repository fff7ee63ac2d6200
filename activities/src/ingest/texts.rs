//! What is true of texts alone: a number speaks for itself, whoever it belongs to, and what a provider
//! reports about a text has an order in which it never moves back.

use super::event::NewEvent;
use super::target::{Found, Target};
use super::{Signalled, lock_lead};
use crate::error::Result;
use crate::mailroom::Mailroom;
use crate::origin::Correspondent;
use crate::store::audit::{self, Act};
use crate::store::inbound_events::{self, EventId};
use crate::store::matches::NamedSend;
use crate::store::suppressions::{self, Reason, Value};
use crate::store::{Tx, clock, locks};
use crate::twilio::post::Status;

impl NewEvent {
    /// Whether it is about the newest ask of the send it names.
    pub(super) fn is_about(&self, named: &NamedSend) -> bool {
        self.attempt.is_none_or(|attempt| attempt == named.attempt)
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
        Found::Responder(_) | Found::Nobody => {
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
    Ok(ranks.any(|rank| rank >= progress.rank))
}
