//! Plays the recipients of captured messages: each answers at its time, through the same door as
//! the world's own events. A part is played once, however often the process is killed: the event it
//! makes is stored under its key before the message is marked as answered.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use lettre::message::header::ContentType;
use machine::ids::{LeadId, SendId, SenderId, WorkspaceId};
use machine::key::StepKey;
use machine::sequence::Channel;

use super::script::{Act, Rule, Script};
use crate::error::{ActivityError, Result};
use crate::inbound::Envelope;
use crate::ingest::{self, NewEvent, Played, Provider};
use crate::mail::message_id::MessageId;
use crate::mailroom::Mailroom;
use crate::senders::Sender;
use crate::store::captures::{self, Due};
use crate::store::{clock, senders};

/// How many answers one call plays.
const BATCH: i64 = 100;

/// Reads a script.
///
/// # Errors
///
/// When the file cannot be read or is no script.
pub fn load(path: &Path) -> Result<Arc<Script>> {
    let wrong = |why: String| ActivityError::Stored { what: "recipients' script", why };
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    let script =
        Script::parse(&text).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    Ok(Arc::new(script))
}

/// Returns when the recipient of a message answers it, in campaign time.
pub fn play_at(
    script: &Script,
    lead: LeadId,
    step: &StepKey,
    sent_at: DateTime<Utc>,
    zone: Tz,
) -> Option<DateTime<Utc>> {
    script.part(lead, step).map(|rule| rule.after.after(sent_at, zone))
}

/// Plays the answers of a workspace that are due. Returns how many.
///
/// # Errors
///
/// When the database fails. The call may be repeated.
pub async fn play(room: &Mailroom, workspace: WorkspaceId) -> Result<usize> {
    let mut tx = room.store.begin(workspace).await?;
    let now = clock::read(&mut tx).await?.campaign;
    let due = captures::due(&mut tx, workspace, now, BATCH).await?;
    let mut ids: Vec<SenderId> =
        due.iter().filter_map(|due| due.sender_id.map(SenderId::new)).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows = senders::by_ids(&mut tx, workspace, &ids).await?;
    tx.commit().await?;
    let senders = rows.into_iter().map(Sender::try_from).collect::<Result<Vec<_>>>()?;
    for due in &due {
        let sender = senders.iter().find(|sender| Some(sender.id.uuid()) == due.sender_id);
        if let Some((sender, event)) =
            sender.and_then(|it| Some((it, answer(room, workspace, it, due)?)))
        {
            tracing::debug!(send.id = %due.send_id, sender.id = %sender.id, "recipient played");
            ingest::signal(room, workspace, event).await?;
        }
        let mut tx = room.store.begin(workspace).await?;
        captures::note_played(&mut tx, workspace, due.capture_id).await?;
        tx.commit().await?;
    }
    Ok(due.len())
}

/// What the recipient of a message does; `None` where the script changed meanwhile.
fn answer(room: &Mailroom, workspace: WorkspaceId, sender: &Sender, due: &Due) -> Option<NewEvent> {
    let script = room.script(sender.transport.script()?)?;
    let step: StepKey = due.step_key.parse().ok()?;
    let rule = script.part(LeadId::new(due.lead_id), &step)?;
    let send = SendId::new(due.send_id);
    let key = format!("{send}/{}/{}", due.attempt, rule.name);
    let at = due.play_at;
    Some(match rule.act {
        Act::BounceHard => NewEvent::of_played(send, key, Played::BouncedHard),
        Act::BounceSoft => NewEvent::of_played(send, key, Played::BouncedSoft),
        Act::OptOut => NewEvent::of_played(send, key, Played::OptedOut),
        Act::Complain => NewEvent::of_played(send, key, Played::Complained),
        Act::Click => NewEvent::of_played(send, key, Played::Clicked),
        Act::Reply | Act::AutoReply if sender.channel == Channel::Sms => {
            NewEvent::of_played_text(key, due.recipient.parse().ok(), rule.text())
        }
        Act::Reply | Act::AutoReply => {
            let raw = mail(sender, due, rule, send)?;
            let envelope = Envelope {
                sender: (rule.act == Act::Reply).then(|| due.recipient.clone()),
                recipients: vec![sender.from.as_str().to_owned()],
            };
            NewEvent::of_raw_mail(room, workspace, Provider::Capture, key, &raw, envelope, at)
        }
    })
}

/// A mail as the recipient, or the recipient's machine, would write it.
fn mail(sender: &Sender, due: &Due, rule: &Rule, send: SendId) -> Option<Vec<u8>> {
    let subject = due.subject.as_deref().unwrap_or("your message");
    let (subject, text) = match (rule.act, rule.back_in) {
        (Act::AutoReply, Some(back_in)) => {
            let back = back_in.after(due.play_at, sender.zone).with_timezone(&sender.zone);
            let back = back.format("%-d %B %Y");
            (
                format!("Automatic reply: {subject}"),
                format!("{}\nI am back on {back}.", rule.text()),
            )
        }
        (Act::AutoReply, None) => (format!("Automatic reply: {subject}"), rule.text().to_owned()),
        _ => (format!("Re: {subject}"), rule.text().to_owned()),
    };
    let from = sender.from.mailbox()?;
    let original = MessageId::of_send(send, from).to_string();
    let mut message = lettre::Message::builder()
        .from(due.recipient.parse().ok()?)
        .to(from.as_str().parse().ok()?)
        .subject(subject)
        .date(due.play_at.into())
        .message_id(Some(format!("<played-{send}@recipients.invalid>")))
        .in_reply_to(original.clone())
        .references(original);
    if rule.act == Act::AutoReply {
        let name = lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted");
        let value = lettre::message::header::HeaderValue::new(name, "auto-replied".to_owned());
        message = message.raw_header(value);
    }
    let message = message.header(ContentType::TEXT_PLAIN).body(text).ok()?;
    Some(message.formatted())
}
