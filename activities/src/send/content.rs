//! What goes out: a mail or a text, ready for the gate, with everything its channel needs.

use machine::ids::SendId;
use sha2::{Digest, Sha256};
use url::Url;

use crate::address::EmailAddress;
use crate::header_text::HeaderText;
use crate::mail::message_id::MessageId;
use crate::phone::PhoneNumber;

/// What goes out.
#[derive(Debug, Clone)]
pub enum Content {
    /// A mail.
    Mail(Box<Mail>),
    /// A text.
    Text(Text),
}

/// A mail.
#[derive(Debug, Clone)]
pub struct Mail {
    /// From whom.
    pub from: EmailAddress,
    /// To whom.
    pub to: EmailAddress,
    /// The subject line.
    pub subject: HeaderText,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The messages of the thread before it, oldest first.
    pub thread: Vec<MessageId>,
    /// What it is for.
    pub errand: Errand,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<EmailAddress>,
}

/// What a mail is for.
#[derive(Debug, Clone)]
pub enum Errand {
    /// The message of a step.
    Outreach {
        /// Where one click opts out.
        unsubscribe: Url,
    },
    /// A mail to a person of ours.
    Notice,
    /// What a person of ours wrote to a lead.
    Answer,
}

/// A text.
#[derive(Debug, Clone)]
pub struct Text {
    /// To whom.
    pub to: PhoneNumber,
    /// What it says, as it travels.
    pub text: String,
}

impl Content {
    /// To whom it goes.
    pub fn address(&self) -> &str {
        match self {
            Self::Mail(mail) => mail.to.as_str(),
            Self::Text(text) => text.to.as_str(),
        }
    }

    /// What it says, in plain text.
    pub fn text(&self) -> &str {
        match self {
            Self::Mail(mail) => &mail.text,
            Self::Text(text) => &text.text,
        }
    }

    /// The subject line, where there is one.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Mail(mail) => Some(mail.subject.as_str()),
            Self::Text(_) => None,
        }
    }

    /// The HTML part, where there is one.
    pub fn html(&self) -> Option<&str> {
        match self {
            Self::Mail(mail) => Some(&mail.html),
            Self::Text(_) => None,
        }
    }

    /// The name under which it travels as the message of `send`, where its channel has names.
    pub fn message_id(&self, send: SendId) -> Option<MessageId> {
        match self {
            Self::Mail(mail) => Some(MessageId::of_send(send, &mail.from)),
            Self::Text(_) => None,
        }
    }

    /// Returns the hash of everything the reader sees.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let parts =
            [self.subject().unwrap_or_default(), self.text(), self.html().unwrap_or_default()];
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().into()
    }
}
