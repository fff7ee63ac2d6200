//! CALL: one request to the provider, correlators inside, no retries. What it yields is a value;
//! nothing here can fail in a way that hides whether the message left.

use std::time::Duration;

use machine::ids::WorkspaceId;
use url::Url;

use super::content::{Content, Errand, Mail};
use super::gate::Dispatch;
use crate::capture::player;
use crate::lease::{Ended, Lease};
use crate::mail::message::{Message, MessageFault, Purpose};
use crate::mail::smtp::Envelope;
use crate::mailgun::client::Mail as MailgunMail;
use crate::mailroom::{Mailroom, Outlet};
use crate::origin::Origin;
use crate::outcome::{Detail, Outcome, Refusal, RefusalClass};
use crate::senders::trouble;
use crate::store::captures;
use crate::token::SendClaim;
use crate::turn::What;
use crate::twilio::client::{From, Text as TwilioText};

/// What is left of a lease for recording the outcome.
const REST: Duration = Duration::from_secs(5);

/// What became of a call.
#[derive(Debug)]
pub enum Called {
    /// The provider was asked, and this is what it said.
    Answered(Outcome),
    /// Nothing was handed over: the lease was half over before the turn of this send came, or it ended
    /// before the message had left.
    TooLate,
}

/// Sends one message that is past the gate, and notes what its outcome says about the sender.
/// `waited` is how long ago the gate was, in wall time, and the call is this process's own as long as
/// `is_ours` says so.
pub async fn call(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    dispatch: &Dispatch,
    waited: Duration,
    is_ours: impl Fn() -> bool + Send + Sync + 'static,
) -> Called {
    let message = &dispatch.message;
    let lease = message.outlet.lease().to_std().expect("a lease is not negative");
    if waited > lease / 2 {
        return Called::TooLate;
    }
    let budget = lease.saturating_sub(waited).saturating_sub(REST);
    let lease = Lease::new(budget).as_long_as(is_ours);
    let asked = match (&message.outlet, &message.content) {
        (Outlet::Discard, _) => Ok(accepted("discarded")),
        (Outlet::Capture, content) => match bytes_of(content, dispatch) {
            Ok(bytes) => capture(mailroom, workspace, dispatch, &bytes, &lease).await,
            Err(refused) => Ok(refused),
        },
        (Outlet::Smtp(transport), Content::Mail(mail)) => match mime(mail, dispatch) {
            Ok(bytes) => {
                let send = message.ask.send;
                let envelope = Envelope { from: &mail.from, to: &mail.to, send };
                transport.send(&envelope, &bytes, &lease).await
            }
            Err(refused) => Ok(refused),
        },
        (Outlet::Mailgun(client), Content::Mail(mail)) => match mime(mail, dispatch) {
            Ok(bytes) => {
                let (send, attempt) = (message.ask.send, message.ask.attempt);
                let mail = MailgunMail { send, attempt, to: &mail.to, message: &bytes };
                client.send(&mail, &lease).await
            }
            Err(refused) => Ok(refused),
        },
        (Outlet::Twilio(client), Content::Text(text)) => {
            match twilio_ends(mailroom, workspace, dispatch) {
                Some((status_callback, from)) => {
                    let validity = dispatch.open_for.to_std().unwrap_or_default();
                    let validity = validity.saturating_sub(waited);
                    let (to, body) = (&text.to, text.text.as_str());
                    let status_callback = &status_callback;
                    let text = TwilioText { from, to, body, status_callback, validity };
                    client.send(&text, &lease).await
                }
                None => Ok(wrong_channel()),
            }
        }
        (Outlet::Smtp(_) | Outlet::Mailgun(_), Content::Text(_))
        | (Outlet::Twilio(_), Content::Mail(_)) => Ok(wrong_channel()),
    };
    let Ok(outcome) = asked else { return Called::TooLate };
    match message.outlet {
        Outlet::Discard | Outlet::Capture => {}
        Outlet::Smtp(_) | Outlet::Mailgun(_) | Outlet::Twilio(_) => {
            trouble::note(mailroom, workspace, &message.sender, &outcome).await;
        }
    }
    Called::Answered(outcome)
}

/// A message as the capture sender keeps it: a mail whole, of a text what it says.
fn bytes_of(content: &Content, dispatch: &Dispatch) -> Result<Vec<u8>, Outcome> {
    match content {
        Content::Mail(mail) => mime(mail, dispatch),
        Content::Text(text) => Ok(text.text.clone().into_bytes()),
    }
}

fn mime(mail: &Mail, dispatch: &Dispatch) -> Result<Vec<u8>, Outcome> {
    let message = Message {
        send: dispatch.message.ask.send,
        from: &mail.from,
        from_name: dispatch.message.sender.from_name.as_ref(),
        to: &mail.to,
        reply_to: mail.reply_to.as_ref(),
        subject: &mail.subject,
        date: dispatch.gate_at,
        thread: &mail.thread,
        text: &mail.text,
        html: &mail.html,
        purpose: match &mail.errand {
            Errand::Outreach { unsubscribe } => Purpose::Outreach { unsubscribe },
            Errand::Notice => Purpose::Notice,
            Errand::Answer => Purpose::Personal,
        },
    };
    message.to_bytes().map_err(|fault: MessageFault| {
        Outcome::Refused(Refusal::of(RefusalClass::Content, crate::error::chain(&fault)))
    })
}

/// Where Twilio reports about a text, and from whom it comes.
fn twilio_ends<'a>(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    dispatch: &'a Dispatch,
) -> Option<(Url, From<'a>)> {
    let ask = &dispatch.message.ask;
    let (send, attempt) = (ask.send.uuid(), ask.attempt);
    let claim = SendClaim { workspace: workspace.uuid(), send, attempt };
    let token = mailroom.tokens.sign_send(claim);
    let callback = mailroom.public_url.join(&format!("webhooks/twilio/status/{token}")).ok()?;
    let from = match &dispatch.message.sender.from {
        Origin::Number(number) => From::Number(number),
        Origin::Service(service) => From::Service(service),
        Origin::Mailbox(_) => return None,
    };
    Some((callback, from))
}

/// The sender was changed into one of another channel since the message was prepared.
fn wrong_channel() -> Outcome {
    let detail = "the sender does not serve this channel";
    Outcome::Refused(Refusal::of(RefusalClass::Retry, detail))
}

/// The capture sender's own accept: it is on disk before it is said.
async fn capture(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    dispatch: &Dispatch,
    bytes: &[u8],
    lease: &Lease,
) -> Result<Outcome, Ended> {
    let ask = &dispatch.message.ask;
    let keep = async {
        let mut tx = mailroom.store.begin(workspace).await?;
        let new = captures::New {
            send: ask.send.uuid(),
            attempt: ask.attempt,
            recipient: dispatch.message.content.address(),
            message: bytes,
            at: dispatch.gate_at,
            play_at: play_at(mailroom, dispatch),
        };
        captures::keep(&mut tx, workspace, &new).await?;
        if let Err(ended) = lease.check() {
            return Ok(Err(ended));
        }
        tx.commit().await.map(|()| Ok(accepted("captured")))
    };
    match keep.await {
        Ok(kept) => kept,
        Err(error) => Ok(Outcome::Unknown { detail: Detail::new(crate::error::chain(&error)) }),
    }
}

/// When the recipient answers, if a script plays it.
fn play_at(mailroom: &Mailroom, dispatch: &Dispatch) -> Option<chrono::DateTime<chrono::Utc>> {
    let sender = &dispatch.message.sender;
    let What::Step { step, .. } = &dispatch.message.ask.what else { return None };
    let script = mailroom.script(sender.transport.script()?)?;
    player::play_at(&script, dispatch.message.ask.lead, step, dispatch.gate_at, sender.zone)
}

fn accepted(detail: &str) -> Outcome {
    Outcome::Accepted { provider_id: None, detail: Detail::new(detail) }
}
