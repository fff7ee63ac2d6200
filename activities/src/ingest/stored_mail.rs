//! A mail or a text as it came, kept until somebody reads it and for as long as raw payloads are kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::inbound::{Envelope, InboundMail};
use crate::mailgun::parse_mail;
use crate::twilio::post::TwilioPost;

/// A mail or a text, in the form in which it was brought.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub(crate) enum StoredMail {
    /// The form of a Mailgun route.
    Mailgun { fields: Vec<(String, String)> },
    /// Whole.
    Raw { sender: Option<String>, recipients: Vec<String>, base64: String },
    /// The form of a text that came through Twilio.
    Twilio { fields: Vec<(String, String)> },
    /// A text.
    Text { number: Option<String>, text: String },
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A mail.
    Mail(Box<InboundMail>),
    /// A text.
    Text { number: Option<String>, id: Option<String>, text: String },
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

    /// Reads a mail that [`StoredMail::to_bytes`] wrote.
    pub(crate) fn parse(bytes: &[u8]) -> Result<InboundMail, Unreadable> {
        match Self::open(bytes)? {
            Opened::Mail(mail) => Ok(*mail),
            Opened::Text { .. } => Err(Unreadable("not a mail".to_owned())),
        }
    }

    /// Reads what [`StoredMail::to_bytes`] wrote.
    pub(crate) fn open(bytes: &[u8]) -> Result<Opened, Unreadable> {
        let stored = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
        match stored {
            Self::Mailgun { fields } => {
                let post = parse_mail(fields).map_err(|error| unreadable(&error))?;
                let mail = post.event.into_mail();
                mail.map(Opened::Mail).ok_or_else(|| Unreadable("not a mail".to_owned()))
            }
            Self::Raw { sender, recipients, base64 } => {
                let raw = STANDARD.decode(base64).map_err(|error| unreadable(&error))?;
                InboundMail::from_raw(&raw, &Envelope { sender, recipients })
                    .map(|mail| Opened::Mail(Box::new(mail)))
                    .map_err(|error| unreadable(&error))
            }
            Self::Twilio { fields } => {
                match TwilioPost::read(&fields).map_err(|error| unreadable(&error))? {
                    TwilioPost::Message(post) => {
                        let number = fields.into_iter().find(|(name, _)| name == "From");
                        let (number, id) = (number.map(|it| it.1), Some(post.sid));
                        Ok(Opened::Text { number, id, text: post.body })
                    }
                    TwilioPost::Status(_) => Err(Unreadable("not a text".to_owned())),
                }
            }
            Self::Text { number, text } => Ok(Opened::Text { number, id: None, text }),
        }
    }
}

fn unreadable(error: &dyn std::error::Error) -> Unreadable {
    Unreadable(error.to_string())
}
