//! What a person of ours wrote to a lead, in answer to a mail of ours about it, made ready to go on: in the
//! lead's own conversation, and without a word of the mail that was answered.

use std::collections::HashMap;
use std::sync::Arc;

use machine::ids::{MailId, WorkspaceId};
use secrecy::ExposeSecret;
use serde_json::{Map, json};
use uuid::Uuid;

use crate::content::step::{BodySource, CompiledStep, Values};
use crate::error::Result;
use crate::header_text::HeaderText;
use crate::inbound::answer::{self, Answered};
use crate::ingest::stored_mail::{Opened, StoredMail};
use crate::key_ring::KeyRing;
use crate::mail::message_id::MessageId;
use crate::mailroom::Mailroom;
use crate::received;
use crate::store::inbound_events::{self, Event, EventId};
use crate::store::received_mails::{self, ReceivedRow};
use crate::store::{Tx, answers};
use crate::turn::{Ask, What};

/// The longest answer that is passed on, in characters. What is longer is not typed.
const LENGTH_MAX: usize = 20_000;

/// Answers as they are stored: sealed.
#[derive(Default)]
pub(super) struct Files {
    events: HashMap<MailId, Event>,
    answered: HashMap<MailId, Answered>,
    /// The newest mail or text of each lead that is answered, by enrollment.
    letters: Vec<ReceivedRow>,
}

/// An answer to a lead.
pub(super) struct Letter {
    /// What goes to the lead; `None` if there is nothing that could.
    pub(super) text: Option<String>,
}

/// What the lead wrote last.
#[derive(Debug, Default)]
pub(super) struct Last {
    /// The name of the mail.
    pub(super) message_id: Option<MessageId>,
    /// What it is about.
    pub(super) subject: Option<HeaderText>,
}

/// What was opened: answers by their mail, and what the leads wrote last by their enrollment.
pub(super) type Letters = (HashMap<MailId, Letter>, HashMap<Uuid, Last>);

/// Reads what the answers among `asks` say, sealed.
pub(super) async fn read(tx: &mut Tx, asks: &[Ask]) -> Result<Files> {
    let answers = asks.iter().filter_map(|ask| match ask.what {
        What::Answer { mail } => Some((mail, ask.enrollment.uuid())),
        What::Step { .. } | What::Handover { .. } | What::Forward { .. } => None,
    });
    let (mails, enrollments): (Vec<MailId>, Vec<Uuid>) = answers.unzip();
    let mut files = Files::default();
    if mails.is_empty() {
        return Ok(files);
    }
    let workspace = tx.workspace();
    for mail in &mails {
        let event = inbound_events::get(tx, workspace, EventId::new(mail.uuid())).await?;
        files.events.extend(event.map(|event| (*mail, event)));
    }
    let events: Vec<Uuid> = mails.iter().map(|mail| mail.uuid()).collect();
    for row in answers::answered(tx, workspace, &events).await? {
        let answered = Answered { from: row.from_address, subject: row.subject, text: row.text };
        files.answered.insert(MailId::new(row.event_id), answered);
    }
    files.letters = received_mails::newest(tx, workspace, &enrollments, Some("replied"), 1).await?;
    Ok(files)
}

/// Opens what was read, away from the threads that serve others.
pub(super) async fn open(mailroom: &Mailroom, workspace: WorkspaceId, files: Files) -> Letters {
    if files.events.is_empty() && files.letters.is_empty() {
        return Letters::default();
    }
    let keys = Arc::clone(&mailroom.keys);
    let work = move || {
        let Files { events, mut answered, letters } = files;
        let texts = events.into_iter().map(|(mail, event)| {
            let text = own_text(&keys, workspace, &event, answered.remove(&mail));
            (mail, Letter { text })
        });
        let last = letters.into_iter().map(|row| {
            let enrollment = row.enrollment_id;
            (enrollment, last(&keys, workspace, row).unwrap_or_default())
        });
        (texts.collect(), last.collect())
    };
    // What cannot be read is passed on to nobody.
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

fn own_text(
    keys: &KeyRing,
    workspace: WorkspaceId,
    event: &Event,
    answered: Option<Answered>,
) -> Option<String> {
    // Without the mail that was answered nobody could say what is quoted of it.
    let answered = answered?;
    let mail = opened(keys, workspace, event)?;
    let Opened::Mail(mail) = mail else { return None };
    let text = received::plain(&answer::own_text(&mail, Some(&answered)));
    let fits = text.chars().count() <= LENGTH_MAX;
    Some(text.trim().to_owned()).filter(|text| fits && !text.is_empty())
}

fn last(keys: &KeyRing, workspace: WorkspaceId, row: ReceivedRow) -> Option<Last> {
    let ReceivedRow { event_id, at, attempts, payload: sealed, .. } = row;
    let event = Event { id: EventId::new(event_id), at, attempts, sealed };
    let Opened::Mail(mail) = opened(keys, workspace, &event)? else { return None };
    Some(Last {
        message_id: mail.message_id.as_deref().and_then(|id| id.parse().ok()),
        subject: mail.subject.parse().ok(),
    })
}

fn opened(keys: &KeyRing, workspace: WorkspaceId, event: &Event) -> Option<Opened> {
    let payload = inbound_events::open_payload(keys, workspace, event).ok()?;
    StoredMail::open(payload.expose_secret()).ok()
}

/// Writes a letter as plain text and as HTML.
pub(super) fn compose(text: &str) -> Option<(String, String)> {
    let values = json!({ "text": text });
    let (empty, values) = (Map::new(), values.as_object().cloned().unwrap_or_default());
    let wording = CompiledStep::compile(None, BodySource::Text("{{ text }}")).ok()?;
    let rendered = wording.render(Values::new(&empty, &values), None).ok()?;
    Some((rendered.text, rendered.html))
}
