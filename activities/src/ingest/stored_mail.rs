//! A mail as it came, kept until somebody reads it and for as long as raw payloads are kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::inbound::{Envelope, InboundMail};
use crate::mailgun::{MailgunEvent, parse_mail};

/// A mail, in the form in which it was brought.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub(crate) enum StoredMail {
    /// The form of a Mailgun route.
    Mailgun { fields: Vec<(String, String)> },
    /// Whole.
    Raw { sender: Option<String>, recipients: Vec<String>, base64: String },
}

/// The stored bytes are no mail that we can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

impl StoredMail {
    pub(crate) fn raw(raw: &[u8], envelope: &Envelope) -> Self {
        Self::Raw {
            sender: envelope.sender.clone(),
            recipients: envelope.recipients.clone(),
            base64: STANDARD.encode(raw),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts serialise")
    }

    /// Reads what [`StoredMail::to_bytes`] wrote.
    pub(crate) fn parse(bytes: &[u8]) -> Result<InboundMail, Unreadable> {
        let stored = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
        match stored {
            Self::Mailgun { fields } => {
                match parse_mail(fields).map_err(|error| unreadable(&error))?.event {
                    MailgunEvent::Inbound(mail) => Ok(*mail),
                    MailgunEvent::Accepted(_)
                    | MailgunEvent::Delivered(_)
                    | MailgunEvent::FailedPermanent { .. }
                    | MailgunEvent::FailedTemporary { .. }
                    | MailgunEvent::Complained(_)
                    | MailgunEvent::Unsubscribed(_)
                    | MailgunEvent::Opened { .. }
                    | MailgunEvent::Clicked { .. }
                    | MailgunEvent::Ignored { .. } => Err(Unreadable("not a mail".to_owned())),
                }
            }
            Self::Raw { sender, recipients, base64 } => {
                let raw = STANDARD.decode(base64).map_err(|error| unreadable(&error))?;
                InboundMail::from_raw(&raw, &Envelope { sender, recipients })
                    .map_err(|error| unreadable(&error))
            }
        }
    }
}

fn unreadable(error: &dyn std::error::Error) -> Unreadable {
    Unreadable(error.to_string())
}
