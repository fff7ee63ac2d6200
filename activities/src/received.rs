//! Mails and texts that came in, opened for people of ours. They are stored sealed; what is opened here goes to
//! a screen or into a mail to the team, never into state, journal or log.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use secrecy::ExposeSecret;
use serde::Serialize;
use uuid::Uuid;

use crate::ingest::stored_mail::{Opened, StoredMail};
use crate::key_ring::KeyRing;
use crate::store::inbound_events::{self, Event, EventId};
use crate::store::received_mails::ReceivedRow;
use crate::store::signals::{MatchedBy, Refs};

/// The longest text that is shown, in characters. Nobody types more; what is longer is quoted.
const TEXT_MAX: usize = 20_000;

/// The longest name of an author or a message that is shown, in characters.
const NAME_MAX: usize = 1_000;

/// A mail or a text that a lead was told to have written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// The enrollment that was told of it.
    #[serde(skip)]
    pub enrollment: Uuid,
    /// When it came, campaign time.
    pub at: DateTime<Utc>,
    /// What it was taken for, as in `replied`; `None` while nobody has read it.
    pub kind: Option<String>,
    /// Whether it is known that it answers a mail of ours or comes from the lead's number, or only says
    /// to come from the lead.
    pub proven: bool,
    /// The step it answers.
    pub step: Option<String>,
    /// What it says.
    #[serde(flatten)]
    pub letter: Letter,
}

impl Received {
    /// Whether it is a text.
    pub fn is_text(&self) -> bool {
        matches!(self.letter, Letter::Read { subject: None, .. })
    }
}

/// What a mail or a text says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Letter {
    /// It was read.
    Read {
        /// Who says to have written it.
        from: Option<String>,
        /// The name that it came with: a mail's Message-ID, a provider's id of a text.
        message_id: Option<String>,
        /// Its subject; a text has none.
        subject: Option<String>,
        /// What the person wrote, without what was quoted, as far as one can tell.
        text: String,
    },
    /// It cannot be read, and why.
    Unreadable(String),
}

/// Opens what is stored, in its order.
///
/// It reads what strangers wrote, so it runs away from the threads that serve others.
pub async fn open(
    keys: &Arc<KeyRing>,
    workspace: WorkspaceId,
    rows: Vec<ReceivedRow>,
) -> Vec<Received> {
    let mut opened = Vec::with_capacity(rows.len());
    for row in rows {
        let refs: Option<Refs> = row.refs.and_then(|refs| serde_json::from_value(refs).ok());
        let event = Event {
            id: EventId::new(row.event_id),
            at: row.at,
            attempts: row.attempts,
            sealed: row.payload,
        };
        opened.push(Received {
            enrollment: row.enrollment_id,
            at: row.at,
            kind: row.kind,
            proven: refs.as_ref().is_some_and(|refs| refs.by != MatchedBy::Sender),
            step: refs.and_then(|refs| refs.step).map(|step| step.to_string()),
            letter: letter(keys, workspace, event).await,
        });
    }
    opened
}

/// Opens one stored mail or text.
pub async fn letter(keys: &Arc<KeyRing>, workspace: WorkspaceId, event: Event) -> Letter {
    let keys = Arc::clone(keys);
    let work = move || {
        let payload = inbound_events::open_payload(&keys, workspace, &event)
            .map_err(|error| error.to_string())?;
        let opened =
            StoredMail::open(payload.expose_secret()).map_err(|error| error.to_string())?;
        let mail = match opened {
            Opened::Mail(mail) => mail,
            Opened::Text { number, id, text } => {
                let (from, message_id) = (number.as_deref().map(line), id.as_deref().map(line));
                return Ok(Letter::Read { from, message_id, subject: None, text: shown(&text) });
            }
        };
        let text = match mail.stripped_text.trim() {
            "" => mail.text.trim(),
            stripped => stripped,
        };
        Ok(Letter::Read {
            from: mail.from.map(|from| from.address),
            message_id: mail.message_id.as_deref().map(line),
            subject: Some(shown(&mail.subject).replace('\n', " ")),
            text: shown(text),
        })
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(letter)) => letter,
        Ok(Err(why)) => Letter::Unreadable(why),
        Err(_) => Letter::Unreadable("reading it panicked".to_owned()),
    }
}

/// Returns a short text on one line.
fn line(text: &str) -> String {
    let line: String = text.chars().take(NAME_MAX).collect();
    plain(&line).replace('\n', " ")
}

/// Returns `text` without what could steer a terminal, and not longer than anybody reads.
fn shown(text: &str) -> String {
    let mut shown: String = plain(text).chars().take(TEXT_MAX).collect();
    if text.chars().nth(TEXT_MAX).is_some() {
        shown.push_str(" […]");
    }
    shown
}

/// Returns `text` without what could steer a terminal.
pub(crate) fn plain(text: &str) -> String {
    let spaced = text.chars().map(|c| if c == '\t' { ' ' } else { c });
    spaced.filter(|c| !c.is_control() || *c == '\n').collect()
}

#[cfg(test)]
mod tests {
    use super::{TEXT_MAX, shown};

    #[test]
    fn a_mail_cannot_steer_a_terminal_or_fill_it() {
        assert_eq!(shown("Yes\u{1b}[2J,\r\n\tplease"), "Yes[2J,\n please");
        let long = "a".repeat(TEXT_MAX + 1);
        assert_eq!(shown(&long), format!("{} […]", "a".repeat(TEXT_MAX)));
    }
}
