//! A mail that came in, whoever brought it: a route's form post or raw RFC 5322 bytes. It owns the
//! parsed mail and the keys by which it may be matched to a send; looking those up, and deciding
//! what the mail means for a lead, belongs to others. Nothing here trusts the mail: a sender's
//! address is a weak hint, and a bounce counts only by the identity of ours that it returns.

pub mod answer;
pub mod auto_reply;
pub mod classification;
pub mod dsn;
pub mod feedback;
pub mod keywords;
mod mime;
pub mod opt_out;
mod quoted;
pub(crate) mod said;
pub mod vouched;
mod words;

use crate::token;

/// Identities quoted by one mail that are worth a look-up. Real threads end at a few dozen.
const IDS_MAX: usize = 50;

/// Bytes of a header in which they are looked for, counted from its end.
const IDS_LEN_MAX: usize = 64 * 1024;

/// One mailbox of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The name beside the address; may be empty.
    pub name: String,
    /// The address, trimmed and lower-case.
    pub address: String,
}

/// The envelope's sender, which automatic mail leaves empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnPath {
    /// Nobody told us.
    Unknown,
    /// `<>`: no machine may answer, so a machine wrote it.
    Empty,
    /// An address, lower-case.
    Address(String),
}

/// What the receiving server knew beside the mail itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// `MAIL FROM`, if known; empty means the empty return path.
    pub sender: Option<String>,
    /// `RCPT TO`, if known. Where it is empty the headers are read.
    pub recipients: Vec<String>,
}

/// A part of a report (`multipart/report`), as found at the top level of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportPart {
    /// `message/delivery-status`, RFC 3464.
    DeliveryStatus(String),
    /// `message/feedback-report`, RFC 5965.
    Feedback(String),
    /// The headers of the mail that is reported on.
    Returned(Vec<(String, String)>),
}

impl ReportPart {
    /// Reads the headers of a returned mail, whole or headers alone.
    pub(crate) fn returned(mail: &[u8]) -> Self {
        Self::Returned(mime::headers_of(mail))
    }
}

/// A mail that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundMail {
    /// Who says to have written it.
    pub from: Option<Mailbox>,
    /// The envelope's sender.
    pub return_path: ReturnPath,
    /// Who brought it, by the envelope alone: `MAIL FROM`, lower-case.
    pub mail_from: Option<String>,
    /// The addresses it was delivered to, lower-case.
    pub recipients: Vec<String>,
    /// The subject, decoded; may be empty.
    pub subject: String,
    /// All headers in order, decoded and unfolded.
    pub headers: Vec<(String, String)>,
    /// The whole body as text.
    pub text: String,
    /// The body without quoted mail and signature, as far as one can tell.
    pub stripped_text: String,
    /// The body as HTML, uncleaned: never to be shown as it is.
    pub html: Option<String>,
    /// Its own id, without brackets.
    pub message_id: Option<String>,
    /// The ids of `In-Reply-To`, without brackets.
    pub in_reply_to: Vec<String>,
    /// The ids of `References`, oldest first, without brackets; at most the last fifty.
    pub references: Vec<String>,
    /// The machine-readable parts of a report.
    pub report_parts: Vec<ReportPart>,
    /// How many files came with it.
    pub files: usize,
}

/// A key by which a mail may belong to one of our sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Correlator {
    /// The id of a mail of ours, without brackets.
    MessageId(String),
    /// The unverified token of a `reply-TOKEN@` address.
    ReplyToken(String),
    /// The sender's address. Anyone can write it, so it only ever stops, and a person confirms.
    Sender(String),
}

/// The bytes are no mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mail: no header was found")]
pub struct NotAMail;

impl InboundMail {
    /// Parses a raw mail.
    ///
    /// Reads at most 500 parts, and of nested mails the headers only. Damaged mail is read as far as
    /// it goes.
    ///
    /// # Errors
    ///
    /// [`NotAMail`] if the bytes hold no header at all.
    pub fn from_raw(raw: &[u8], envelope: &Envelope) -> Result<Self, NotAMail> {
        mime::parse(raw).map(|content| Self::assemble(content, envelope))
    }

    /// The keys to match by, best first: the ids of `In-Reply-To`, those of `References` from the
    /// last, reply tokens, then the sender.
    pub fn correlators(&self) -> Vec<Correlator> {
        let mut keys = Vec::new();
        for id in self.in_reply_to.iter().chain(self.references.iter().rev()) {
            push_new(&mut keys, Correlator::MessageId(id.clone()));
        }
        for address in &self.recipients {
            if let Some(token) = token::in_reply_address(address) {
                push_new(&mut keys, Correlator::ReplyToken(token.to_owned()));
            }
        }
        if let Some(from) = &self.from {
            keys.push(Correlator::Sender(from.address.clone()));
        }
        keys
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header_in(&self.headers, name)
    }

    /// Builds a mail from its headers and bodies. What the envelope leaves open is read from headers.
    pub(crate) fn assemble(content: Content, envelope: &Envelope) -> Self {
        let Content { headers, text, stripped_text, html, report_parts, files } = content;
        let return_path = return_path(&headers, envelope.sender.as_deref());
        let recipients = if envelope.recipients.is_empty() {
            recipients_in(&headers)
        } else {
            envelope.recipients.iter().filter_map(|one| address_in(one)).collect()
        };
        let ids = |name: &str| -> Vec<String> {
            let mut found = Vec::new();
            for (_, value) in headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.extend(message_ids(value));
            }
            found.split_off(found.len().saturating_sub(IDS_MAX))
        };
        let header = |name: &str| header_in(&headers, name);

        let html_as_text = html.as_deref().filter(|_| text.trim().is_empty());
        let text = match html_as_text {
            Some(html) => quoted::html_to_text(html),
            None => text,
        };
        let stripped_text = match stripped_text {
            // Another's guess, made again here: both cut, and the shorter one holds.
            Some(guess) if !guess.trim().is_empty() => quoted::strip(&guess),
            Some(_) | None => match html_as_text {
                Some(html) => {
                    quoted::strip(&quoted::html_to_text(quoted::without_quoted_html(html)))
                }
                None => quoted::strip(&text),
            },
        };
        Self {
            from: header("From").and_then(Mailbox::parse),
            return_path,
            mail_from: envelope.sender.as_deref().and_then(address_in),
            recipients,
            subject: header("Subject").unwrap_or_default().trim().to_owned(),
            message_id: ids("Message-ID").pop(),
            in_reply_to: ids("In-Reply-To"),
            references: ids("References"),
            text,
            stripped_text,
            html,
            report_parts,
            files,
            headers,
        }
    }
}

/// What a mail consists of, before its headers are read.
pub(crate) struct Content {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
    /// The body without quotes, where the provider has guessed it.
    pub(crate) stripped_text: Option<String>,
    pub(crate) html: Option<String>,
    pub(crate) report_parts: Vec<ReportPart>,
    /// How many files came with it.
    pub(crate) files: usize,
}

impl Mailbox {
    /// Reads `Name <address>` or a bare address; of several mailboxes, the last in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, address) = match (text.rfind('<'), text.rfind('>')) {
            (Some(open), Some(close)) if open < close => (&text[..open], &text[open + 1..close]),
            _ => ("", text),
        };
        Some(Self {
            name: name.trim().trim_matches('"').trim().to_owned(),
            address: plain_address(address)?,
        })
    }
}

/// Returns the ids in a header such as `References`: what stands in angle brackets, or, where
/// nobody wrote brackets, every word with an `@`.
pub fn message_ids(value: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut rest = &value[value.ceil_char_boundary(value.len().saturating_sub(IDS_LEN_MAX))..];
    while let Some((_, after)) = rest.split_once('<') {
        let Some((id, after)) = after.split_once('>') else { break };
        ids.extend(bare_message_id(id));
        rest = after;
    }
    if ids.is_empty() {
        ids.extend(rest.split([' ', '\t', ',', '\r', '\n']).filter_map(bare_message_id));
    }
    ids
}

/// Returns a message id without brackets and spaces, or `None` if it is none.
pub fn bare_message_id(id: &str) -> Option<String> {
    let id: String = id.chars().filter(|sign| !sign.is_whitespace()).collect();
    let id = id.trim_start_matches('<').trim_end_matches('>');
    // RFC 5322 allows lines of 998 characters, so a longer id was never ours.
    (id.len() <= 998 && id.contains('@')).then(|| id.to_owned())
}

fn push_new(keys: &mut Vec<Correlator>, key: Correlator) {
    if keys.len() < 2 * IDS_MAX && !keys.contains(&key) {
        keys.push(key);
    }
}

pub(crate) fn header_in<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Reads one address out of a header's or envelope's text.
fn address_in(text: &str) -> Option<String> {
    Mailbox::parse(text).map(|mailbox| mailbox.address)
}

fn plain_address(text: &str) -> Option<String> {
    let address = text.trim().to_lowercase();
    let (local, domain) = address.rsplit_once('@')?;
    let one_word = !address.contains(|sign: char| {
        sign.is_whitespace() || sign.is_control() || matches!(sign, ',' | ';' | '<' | '>')
    });
    // 254 is the longest path SMTP can carry.
    (one_word && !local.is_empty() && !domain.is_empty() && address.len() <= 254).then_some(address)
}

fn return_path(headers: &[(String, String)], sender: Option<&str>) -> ReturnPath {
    let Some(path) = header_in(headers, "Return-Path").or(sender) else {
        return ReturnPath::Unknown;
    };
    if path.trim_matches(|sign: char| sign.is_whitespace() || matches!(sign, '<' | '>')).is_empty()
    {
        return ReturnPath::Empty;
    }
    address_in(path).map_or(ReturnPath::Unknown, ReturnPath::Address)
}

fn recipients_in(headers: &[(String, String)]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in ["Delivered-To", "X-Original-To", "Envelope-To", "To", "Cc"] {
        for (_, value) in headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)) {
            for address in value.split(',').filter_map(address_in) {
                if found.len() < IDS_MAX && !found.contains(&address) {
                    found.push(address);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Correlator, Envelope, InboundMail, Mailbox, ReportPart, ReturnPath, message_ids};

    fn read(raw: &str) -> InboundMail {
        let raw = raw.replace('\n', "\r\n");
        InboundMail::from_raw(raw.as_bytes(), &Envelope::default()).expect("a mail")
    }

    #[test]
    fn a_reply_is_matched_by_parent_then_thread_then_token_then_sender() {
        let mail = read(
            "Return-Path: <ada@example.com>\n\
             From: =?utf-8?q?M=C3=BCller=2C_Ada?= <Ada@Example.com>\n\
             To: Sales <reply-ABC@in.example.org>, bob@example.org\n\
             Subject: =?utf-8?q?Re=3A_Caf=C3=A9?=\n\
             Message-ID: <new@example.com>\n\
             In-Reply-To: <three@example.org>\n\
             References: <one@example.org>\n \
             <two@example.org> <three@example.org>\n\
             \n\
             Tell me more.\n\
             \n\
             On Mon, 2 Nov 2026 at 10:00, Sales <sales@example.org> wrote:\n\
             > Hello\n",
        );
        assert_eq!(
            mail.correlators(),
            [
                Correlator::MessageId("three@example.org".to_owned()),
                Correlator::MessageId("two@example.org".to_owned()),
                Correlator::MessageId("one@example.org".to_owned()),
                Correlator::ReplyToken("abc".to_owned()),
                Correlator::Sender("ada@example.com".to_owned()),
            ]
        );
        assert_eq!(mail.subject, "Re: Café");
        assert_eq!(mail.from.as_ref().map(|from| from.name.as_str()), Some("Müller, Ada"));
        assert_eq!(mail.message_id.as_deref(), Some("new@example.com"));
        assert_eq!(mail.return_path, ReturnPath::Address("ada@example.com".to_owned()));
        assert_eq!(mail.stripped_text, "Tell me more.");
        assert!(mail.text.contains("> Hello"));
    }

    #[test]
    fn bodies_are_decoded_whatever_their_encoding() {
        let mail = read(
            "From: a@example.com\n\
             Content-Type: multipart/alternative; boundary=b\n\
             \n\
             --b\n\
             Content-Type: text/plain; charset=iso-8859-1\n\
             Content-Transfer-Encoding: quoted-printable\n\
             \n\
             Gr=FC=DFe aus M=FCnchen, sehr=\n langer Text\n\
             --b\n\
             Content-Type: text/html; charset=utf-8\n\
             Content-Transfer-Encoding: base64\n\
             \n\
             PHA+R3LDvMOfZTwvcD4=\n\
             --b--\n",
        );
        assert_eq!(mail.text.trim(), "Grüße aus München, sehr langer Text");
        assert_eq!(mail.html.as_deref(), Some("<p>Grüße</p>"));
    }

    #[test]
    fn a_mail_in_html_alone_has_text_without_what_it_quotes() {
        let mail = read(
            "From: a@example.com\n\
             Content-Type: text/html\n\
             \n\
             <p>Yes, please.</p><div class=\"gmail_quote\">On Monday we wrote: <b>unsubscribe</b></div>\n",
        );
        assert_eq!(mail.stripped_text, "Yes, please.");
        assert!(mail.text.contains("unsubscribe"));
    }

    #[test]
    fn latin_1_without_a_declared_charset_is_still_read() {
        let raw = b"From: a@example.com\r\nSubject: Gr\xfc\xdfe\r\n\r\nGr\xfc\xdfe\r\n";
        let mail = InboundMail::from_raw(raw, &Envelope::default()).expect("a mail");
        assert_eq!(mail.stripped_text, "Grüße");
        assert_eq!(mail.subject, "Grüße");
    }

    #[test]
    fn an_envelope_goes_before_headers() {
        let raw = b"From: a@example.com\r\nTo: list@example.org\r\n\r\nHi\r\n";
        let envelope = Envelope {
            sender: Some(String::new()),
            recipients: vec!["Reply-X@in.example.org".to_owned()],
        };
        let mail = InboundMail::from_raw(raw, &envelope).expect("a mail");
        assert_eq!(mail.return_path, ReturnPath::Empty);
        assert_eq!(mail.recipients, ["reply-x@in.example.org"]);
    }

    #[test]
    fn mailboxes_are_one_address_or_none() {
        let parse = |text| Mailbox::parse(text).map(|mailbox| mailbox.address);
        assert_eq!(parse(" Ada@Example.COM ").as_deref(), Some("ada@example.com"));
        assert_eq!(parse("\"x <a@b.c>\" <d@e.f>").as_deref(), Some("d@e.f"));
        for bad in ["", "ada", "a@b.c, d@e.f", "a b@c.d", "@c.d", "a@", "<>"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&format!("{}@example.com", "a".repeat(10_000))), None);
    }

    #[test]
    fn ids_are_read_with_and_without_brackets() {
        assert_eq!(message_ids("<a@b><c@d> junk <broken"), ["a@b", "c@d"]);
        assert_eq!(message_ids("a@b, c@d"), ["a@b", "c@d"]);
        assert_eq!(message_ids("<a@\r\n b>"), ["a@b"]);
        assert!(message_ids("no id here").is_empty());
    }

    #[test]
    fn a_thousand_references_are_capped_at_the_newest() {
        let list: String = (0..1000).map(|n| format!("<{n}@example.org> ")).collect();
        let mail = read(&format!("From: a@example.com\nReferences: {list}\n\nHi\n"));
        assert_eq!(mail.references.len(), 50);
        assert_eq!(mail.references.last().map(String::as_str), Some("999@example.org"));
    }

    #[test]
    fn mails_nested_without_end_are_read_in_bounded_stack() {
        let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(20_000);
        let mail = InboundMail::from_raw(nested.as_bytes(), &Envelope::default());
        assert!(mail.is_ok());

        // Hidden behind an encoding, where a parser that decodes would recurse.
        use base64::Engine;
        let hidden = base64::engine::general_purpose::STANDARD.encode(nested);
        let raw = format!(
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{hidden}\r\n"
        );
        assert!(InboundMail::from_raw(raw.as_bytes(), &Envelope::default()).is_ok());
    }

    #[test]
    fn parts_without_end_are_capped() {
        let part = "--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n";
        let raw = format!(
            "Content-Type: multipart/report; boundary=b\r\n\r\n{}--b--\r\n",
            part.repeat(20_000)
        );
        let mail = InboundMail::from_raw(raw.as_bytes(), &Envelope::default()).expect("a mail");
        assert!(mail.report_parts.len() <= 500);
        assert!(matches!(mail.report_parts[0], ReportPart::DeliveryStatus(_)));

        let mut deep = String::new();
        for level in 0..20_000 {
            deep.push_str(&format!(
                "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"
            ));
        }
        assert!(InboundMail::from_raw(deep.as_bytes(), &Envelope::default()).is_ok());
    }

    proptest! {
        #[test]
        fn parsing_is_total(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = InboundMail::from_raw(&raw, &Envelope::default());
        }

        #[test]
        fn parsing_mail_like_text_is_total(lines in proptest::collection::vec(
            prop_oneof![
                Just("Content-Type: multipart/report; boundary=b".to_owned()),
                Just("Content-Type: message/rfc822".to_owned()),
                Just("Content-Type: text/html; charset=utf-7".to_owned()),
                Just("Content-Transfer-Encoding: base64".to_owned()),
                Just("Content-Transfer-Encoding: quoted-printable".to_owned()),
                Just("--b".to_owned()),
                Just("--b--".to_owned()),
                Just(String::new()),
                Just("From: =?utf-8?q?a?= <a@b.c>".to_owned()),
                Just("<blockquote>=C3=".to_owned()),
                "[ -~]{0,20}",
                ".{0,20}",
            ], 0..30)
        ) {
            if let Ok(mail) = InboundMail::from_raw(lines.join("\r\n").as_bytes(), &Envelope::default()) {
                mail.correlators();
            }
        }
    }
}
