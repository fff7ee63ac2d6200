//! One message as bytes: the same bytes serve SMTP and every provider that takes raw mail, and the
//! same input gives the same bytes.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::address::AddressError;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, MultiPartKind, SinglePart};
use machine::ids::SendId;
use url::Url;

use super::message_id::MessageId;
use crate::address::EmailAddress;
use crate::header_text::HeaderText;

/// Most ids in `References`: the first, which opened the thread, and the newest.
const REFERENCES_MAX: usize = 10;

/// Everything a message says, to the mail program and to the reader.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// The send; it names the message.
    pub send: SendId,
    /// Who writes.
    pub from: &'a EmailAddress,
    /// The name shown for the writer.
    pub from_name: Option<&'a HeaderText>,
    /// The one recipient.
    pub to: &'a EmailAddress,
    /// Where answers go, if not to the writer: an address that carries a token.
    pub reply_to: Option<&'a EmailAddress>,
    /// The subject line.
    pub subject: &'a HeaderText,
    /// When it was written, in campaign time.
    pub date: DateTime<Utc>,
    /// The messages of the thread before this one, oldest first; empty for the first.
    pub thread: &'a [MessageId],
    /// The plain part.
    pub text: &'a str,
    /// The HTML part.
    pub html: &'a str,
    /// What it is for.
    pub purpose: Purpose<'a>,
}

/// What a message is for, which decides the headers that automatic mail has to carry.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A step of a campaign, with the way out by one click (RFC 8058).
    Outreach {
        /// Alone identifies the recipient and is hard to forge. Mail programs offer one-click only
        /// for `https`.
        unsubscribe: &'a Url,
    },
    /// A notice to one of our own agents. Marked as automatic (RFC 3834), so that no out-of-office
    /// answers it.
    Notice,
    /// What a person wrote to one other: nothing marks it as more than that.
    Personal,
}

/// An address our MIME builder does not take. The check of [`EmailAddress`] is the stricter one, so
/// this is a bug.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be built: {part}")]
pub struct MessageFault {
    part: &'static str,
    #[source]
    source: Option<AddressError>,
}

impl Message<'_> {
    /// The name of the message: the same for every attempt of its send.
    pub fn id(&self) -> MessageId {
        MessageId::of_send(self.send, self.from)
    }

    /// Writes the message, with CRLF line ends and nothing but ASCII (save where an address itself
    /// is in another script before the `@`).
    ///
    /// # Errors
    ///
    /// [`MessageFault`] if an address is refused by the MIME builder, which would be a bug.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MessageFault> {
        let from = mailbox("from", self.from, self.from_name)?;
        let mut builder = lettre::Message::builder()
            .from(from)
            .to(mailbox("to", self.to, None)?)
            .subject(self.subject.as_str())
            .date(SystemTime::from(self.date))
            .message_id(Some(self.id().to_string()));
        if let Some(reply_to) = self.reply_to {
            builder = builder.reply_to(mailbox("reply-to", reply_to, None)?);
        }
        if let Some(parent) = self.thread.last() {
            builder = builder.in_reply_to(parent.to_string()).references(references(self.thread));
        }
        for (name, value) in self.own_headers() {
            let name = HeaderName::new_from_ascii_str(name);
            builder = builder.raw_header(HeaderValue::new(name, value));
        }
        // Quoted-printable writes `=` as `=3D`, so a line of a body cannot look like this.
        let parts = MultiPart::builder()
            .kind(MultiPartKind::Alternative)
            .boundary(format!("=_{}", self.send.uuid().simple()))
            .singlepart(SinglePart::plain(self.text.to_owned()))
            .singlepart(SinglePart::html(self.html.to_owned()));
        let message = builder
            .multipart(parts)
            .map_err(|_| MessageFault { part: "envelope", source: None })?;
        Ok(message.formatted())
    }

    fn own_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("X-Meridian-Send", self.send.to_string())];
        match self.purpose {
            Purpose::Outreach { unsubscribe } => {
                headers.push(("List-Unsubscribe", format!("<{unsubscribe}>")));
                headers.push(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()));
            }
            Purpose::Notice => headers.push(("Auto-Submitted", "auto-generated".to_owned())),
            Purpose::Personal => {}
        }
        headers
    }
}

/// The chain of a thread, capped in the middle: programs thread by its two ends.
fn references(thread: &[MessageId]) -> String {
    let newest = thread.len().saturating_sub(REFERENCES_MAX - 1).max(1);
    let ids = thread.iter().take(1).chain(thread.iter().skip(newest));
    ids.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The address as SMTP takes it: the domain in ASCII, so that a server needs to know nothing of
/// other scripts unless the mailbox name itself is in one.
pub(super) fn wire_address(address: &EmailAddress) -> Result<lettre::Address, AddressError> {
    lettre::Address::new(address.local_part(), address.ascii_domain())
}

fn mailbox(
    part: &'static str,
    address: &EmailAddress,
    name: Option<&HeaderText>,
) -> Result<Mailbox, MessageFault> {
    let address =
        wire_address(address).map_err(|source| MessageFault { part, source: Some(source) })?;
    Ok(Mailbox::new(name.map(|name| name.as_str().to_owned()), address))
}
