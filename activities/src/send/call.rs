//! CALL: one request to the provider, correlators inside, no retries. What it yields is a value;
//! nothing here can fail in a way that hides whether the message left.

use std::time::Duration;

use machine::ids::WorkspaceId;

use super::gate::{Dispatch, LEASE};
use crate::capture::player;
use crate::mail::message::{Message, Purpose};
use crate::mail::smtp::Envelope;
use crate::mailroom::{Mailroom, Outlet};
use crate::outcome::{Detail, Outcome, Refusal, RefusalClass};
use crate::store::captures;
use crate::turn::What;

/// What became of a call.
#[derive(Debug)]
pub enum Called {
    /// The provider was asked, and this is what it said.
    Answered(Outcome),
    /// Nobody was asked: the lease was half over before the turn of this send came.
    TooLate,
}

/// Sends one message that is past the gate. `waited` is how long ago the gate was, in wall time.
pub async fn call(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    dispatch: &Dispatch,
    waited: Duration,
) -> Called {
    let lease = LEASE.to_std().unwrap_or(Duration::from_secs(900));
    if waited > lease / 2 {
        return Called::TooLate;
    }
    let message = &dispatch.message;
    if let Outlet::Discard = message.outlet {
        return accepted("discarded");
    }
    let purpose = match &message.unsubscribe {
        Some(unsubscribe) => Purpose::Outreach { unsubscribe },
        None => Purpose::Notice,
    };
    let mail = Message {
        send: message.ask.send,
        from: &message.sender.from,
        from_name: message.sender.from_name.as_ref(),
        to: &message.to,
        reply_to: message.reply_to.as_ref(),
        subject: &message.subject,
        date: dispatch.gate_at,
        thread: &message.thread,
        text: &message.text,
        html: &message.html,
        purpose,
    };
    let bytes = match mail.to_bytes() {
        Ok(bytes) => bytes,
        Err(fault) => {
            let detail = crate::error::chain(&fault);
            return Called::Answered(Outcome::Refused(Refusal::of(RefusalClass::Content, detail)));
        }
    };
    match &message.outlet {
        Outlet::Discard => accepted("discarded"),
        Outlet::Smtp(transport) => {
            let envelope =
                Envelope { from: &message.sender.from, to: &message.to, send: message.ask.send };
            let budget = lease.saturating_sub(waited).saturating_sub(Duration::from_secs(5));
            Called::Answered(transport.send(&envelope, &bytes, budget).await)
        }
        Outlet::Capture => capture(mailroom, workspace, dispatch, &bytes).await,
    }
}

/// The capture sender's own accept: it is on disk before it is said.
async fn capture(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    dispatch: &Dispatch,
    bytes: &[u8],
) -> Called {
    let ask = &dispatch.message.ask;
    let keep = async {
        let mut tx = mailroom.store.begin(workspace).await?;
        let new = captures::New {
            send: ask.send.uuid(),
            attempt: ask.attempt,
            recipient: dispatch.message.to.as_str(),
            message: bytes,
            at: dispatch.gate_at,
            play_at: play_at(mailroom, dispatch),
        };
        captures::keep(&mut tx, workspace, &new).await?;
        tx.commit().await
    };
    match keep.await {
        Ok(()) => accepted("captured"),
        Err(error) => {
            let detail = Detail::new(crate::error::chain(&error));
            Called::Answered(Outcome::Unknown { detail })
        }
    }
}

/// When the recipient answers, if a script plays it.
fn play_at(mailroom: &Mailroom, dispatch: &Dispatch) -> Option<chrono::DateTime<chrono::Utc>> {
    let sender = &dispatch.message.sender;
    let What::Step { step, .. } = &dispatch.message.ask.what else { return None };
    let script = mailroom.script(sender.transport.script()?)?;
    player::play_at(&script, dispatch.message.ask.lead, step, dispatch.gate_at, sender.zone)
}

fn accepted(detail: &str) -> Called {
    Called::Answered(Outcome::Accepted { provider_id: None, detail: Detail::new(detail) })
}
