//! From raw bytes to headers, bodies and the parts of a report, over mail-parser. Written for mail
//! that wants to harm us: mail-parser is kept from decoding nested mail, the one place where it
//! recurses, and the tree it returns is taken apart without recursion.

use std::panic;

use encoding_rs::WINDOWS_1252;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use mail_parser::{
    GetHeader, Header, HeaderName, Message, MessageParser, MessagePart, MimeHeaders, PartType,
};

use super::{Content, NotAMail, ReportPart};

/// Parts that are looked at.
const PARTS_MAX: usize = 500;
/// Headers that are looked at.
const HEADERS_MAX: usize = 1000;

pub(super) fn parse(raw: &[u8]) -> Result<Content, NotAMail> {
    // mail-parser promises not to panic and keeps to it on all mail we know; a mail that finds the
    // exception must not take the worker down.
    panic::catch_unwind(|| read(raw)).unwrap_or(None).ok_or(NotAMail)
}

/// Reads the headers of a mail that is quoted by a report.
pub(super) fn headers_of(raw: &[u8]) -> Vec<(String, String)> {
    let headers = || parser().parse_headers(raw).map(|mail| headers(raw, mail.headers()));
    panic::catch_unwind(headers).ok().flatten().unwrap_or_default()
}

fn read(raw: &[u8]) -> Option<Content> {
    let mut mail = parser().parse(raw)?;
    let content = content(raw, &mail);
    take_apart(&mut mail);
    Some(content)
}

/// A parser that knows the structure of a mail and leaves every encoding alone: an encoding it reads
/// as a content type is one it does not recognise.
fn parser() -> MessageParser {
    MessageParser::new()
        .header_content_type(HeaderName::ContentType)
        .header_content_type(HeaderName::ContentDisposition)
        .header_content_type(HeaderName::ContentTransferEncoding)
        .default_header_raw()
}

fn content(raw: &[u8], mail: &Message<'_>) -> Content {
    let part = |id: &u32| {
        usize::try_from(*id).ok().filter(|id| *id < PARTS_MAX).and_then(|id| mail.parts.get(id))
    };
    let join = |parts: Vec<String>| parts.join("\n");
    let text = mail.text_body.iter().filter_map(part).filter(|part| is_plain(part));
    let html = mail.html_body.iter().filter_map(part).filter(|part| is_html(part));
    let html: Vec<String> = html.map(|part| text_of(raw, part)).collect();

    Content {
        headers: headers(raw, mail.headers()),
        text: join(text.map(|part| text_of(raw, part)).collect()),
        stripped_text: None,
        files: mail.attachments.len(),
        html: (!html.is_empty()).then(|| join(html)),
        report_parts: mail
            .parts
            .iter()
            .take(PARTS_MAX)
            .filter_map(|part| report_part(raw, part))
            .collect(),
    }
}

fn is_plain(part: &MessagePart<'_>) -> bool {
    matches!(part.body, PartType::Text(_))
}

fn is_html(part: &MessagePart<'_>) -> bool {
    matches!(part.body, PartType::Html(_))
}

fn report_part(raw: &[u8], part: &MessagePart<'_>) -> Option<ReportPart> {
    let kind = part.content_type()?;
    let subtype = kind.subtype()?.to_ascii_lowercase();
    match (kind.ctype().to_ascii_lowercase().as_str(), subtype.as_str()) {
        ("message", "delivery-status" | "global-delivery-status") => {
            Some(ReportPart::DeliveryStatus(text_of(raw, part)))
        }
        ("message", "feedback-report") => Some(ReportPart::Feedback(text_of(raw, part))),
        ("message", "rfc822" | "global") => {
            // Not decoded when it was parsed: what an encoding hides is read as headers, no deeper.
            Some(ReportPart::Returned(match (&part.body, encoding(part)) {
                (PartType::Message(nested), None) => headers(raw, nested.headers()),
                _ => headers_of(&bytes_of(raw, part)),
            }))
        }
        ("text", "rfc822-headers") | ("message", "rfc822-headers" | "global-headers") => {
            Some(ReportPart::Returned(headers_of(&bytes_of(raw, part))))
        }
        _ => None,
    }
}

fn headers(raw: &[u8], found: &[Header<'_>]) -> Vec<(String, String)> {
    found
        .iter()
        .take(HEADERS_MAX)
        .filter_map(|header| {
            let value = slice(raw, header.offset_start, header.offset_end)?;
            Some((header.name.as_str().to_owned(), decoded(value)))
        })
        .collect()
}

/// Unfolds a header and decodes its encoded words (RFC 2047).
pub(super) fn decoded(value: &[u8]) -> String {
    let mut line = in_utf8(value).trim().to_owned();
    line.push('\n');
    MessageStream::new(line.as_bytes())
        .parse_unstructured()
        .into_text()
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn text_of(raw: &[u8], part: &MessagePart<'_>) -> String {
    let bytes = bytes_of(raw, part);
    let charset = part.content_type().and_then(|kind| kind.attribute("charset"));
    match charset.and_then(|charset| charset_decoder(charset.as_bytes())) {
        Some(decode) => decode(&bytes),
        None => in_utf8(&bytes),
    }
}

/// Text that declares nothing is UTF-8, or else what Western mail programs used to write.
fn in_utf8(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

fn bytes_of(raw: &[u8], part: &MessagePart<'_>) -> Vec<u8> {
    let body = slice(raw, part.offset_body, part.offset_end).unwrap_or_default();
    let decoded = match encoding(part).as_deref() {
        Some("base64") => base64_decode(letters_of_base64(body)),
        Some("quoted-printable") => quoted_printable_decode(body),
        Some(_) | None => None,
    };
    // What does not decode is shown as it came, so that a person may still read it.
    decoded.unwrap_or_else(|| body.to_vec())
}

/// The body up to the first sign that is not of base 64: where an encoded mail was read as a plain
/// one, the boundary behind it is still part of it.
fn letters_of_base64(body: &[u8]) -> &[u8] {
    let is_letter = |sign: &u8| {
        sign.is_ascii_alphanumeric()
            || sign.is_ascii_whitespace()
            || matches!(sign, b'+' | b'/' | b'=')
    };
    let end = body.iter().position(|sign| !is_letter(sign)).unwrap_or(body.len());
    &body[..end]
}

/// The transfer encoding, in lower case, if it is one that changes bytes.
fn encoding(part: &MessagePart<'_>) -> Option<String> {
    let name = part
        .headers
        .header_value(&HeaderName::ContentTransferEncoding)?
        .as_content_type()?
        .ctype()
        .to_ascii_lowercase();
    matches!(name.as_str(), "base64" | "quoted-printable").then_some(name)
}

fn slice(raw: &[u8], start: u32, end: u32) -> Option<&[u8]> {
    raw.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

/// Drops nested mails one by one. Dropped as a tree, twenty thousand of them overflow the stack.
fn take_apart(mail: &mut Message<'_>) {
    let mut waiting = vec![std::mem::take(&mut mail.parts)];
    while let Some(parts) = waiting.pop() {
        for part in parts {
            if let PartType::Message(mut nested) = part.body {
                waiting.push(std::mem::take(&mut nested.parts));
            }
        }
    }
}
