//! Whole messages as bytes, and what a mail program reads out of them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use activities::address::EmailAddress;
use activities::header_text::HeaderText;
use activities::mail::message::{Message, Purpose};
use activities::mail::message_id::MessageId;
use chrono::{DateTime, TimeZone, Utc};
use machine::ids::SendId;
use mail_parser::MessageParser;
use proptest::prelude::*;
use url::Url;
use uuid::Uuid;

struct Sample {
    from: EmailAddress,
    name: HeaderText,
    to: EmailAddress,
    reply_to: EmailAddress,
    subject: HeaderText,
    unsubscribe: Url,
    thread: Vec<MessageId>,
}

impl Sample {
    fn new() -> Self {
        Self {
            from: "grace@example.com".parse().unwrap(),
            name: "Grace Hopper".parse().unwrap(),
            to: "ada@bücher.example".parse().unwrap(),
            reply_to: "reply+w1.t0k3n@example.com".parse().unwrap(),
            subject: "Zimmer für Ada – ✓".parse().unwrap(),
            unsubscribe: "https://mail.example.com/u/w1.t0k3n".parse().unwrap(),
            thread: Vec::new(),
        }
    }

    fn message(&self) -> Message<'_> {
        Message {
            send: SendId::new(Uuid::from_u128(0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8)),
            from: &self.from,
            from_name: Some(&self.name),
            to: &self.to,
            reply_to: Some(&self.reply_to),
            subject: &self.subject,
            date: date(),
            thread: &self.thread,
            text: "Hallo Ada,\n\n.ein Punkt und ein Gruß.\n",
            html: "<!DOCTYPE html>\n<html><body><p>Hallo Ada,</p></body></html>\n",
            purpose: Purpose::Outreach { unsubscribe: &self.unsubscribe },
        }
    }
}

fn date() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2027, 3, 31, 9, 30, 0).unwrap()
}

fn snapshot(message: &Message<'_>) -> String {
    let bytes = message.to_bytes().unwrap();
    assert_eq!(message.to_bytes().unwrap(), bytes, "the same input gives the same bytes");
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.is_ascii());
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "only CRLF line ends");
    assert!(text.split("\r\n").all(|line| line.len() <= 998));
    text.replace("\r\n", "\n")
}

#[test]
fn the_first_mail_of_a_thread() {
    insta::assert_snapshot!(snapshot(&Sample::new().message()));
}

#[test]
fn a_follow_up_names_the_mails_before_it() {
    let mut sample = Sample::new();
    sample.subject = sample.subject.reply_subject();
    sample.thread = (1..=14)
        .map(|n| MessageId::of_send(SendId::new(Uuid::from_u128(n)), &sample.from))
        .collect();
    let message = sample.message();
    let text = snapshot(&message);
    let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
    let references = parsed.references().as_text_list().unwrap();
    assert_eq!(references.len(), 10, "{references:?}");
    assert_eq!(references[0], sample.thread[0].as_str());
    assert_eq!(references[9], sample.thread[13].as_str());
    assert_eq!(references[1], sample.thread[5].as_str());
    insta::assert_snapshot!(text);
}

#[test]
fn a_notice_is_marked_as_automatic_and_offers_no_way_out() {
    let sample = Sample::new();
    let message =
        Message { purpose: Purpose::Notice, reply_to: None, from_name: None, ..sample.message() };
    let text = snapshot(&message);
    assert!(
        text.contains("\nAuto-Submitted: auto-generated\n") && !text.contains("List-Unsubscribe")
    );
    assert!(!snapshot(&sample.message()).contains("Auto-Submitted"));
}

#[test]
fn short_threads_are_named_whole() {
    let mut sample = Sample::new();
    for n in 1..=10 {
        sample.thread.push(MessageId::of_send(SendId::new(Uuid::from_u128(n)), &sample.from));
        let text = snapshot(&sample.message());
        let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
        let references = parsed.references();
        let count = references.as_text_list().map_or(1, <[_]>::len);
        assert_eq!(count, sample.thread.len());
    }
}

/// Text a lead or an author may have given, control characters and all; what is not header text is
/// refused before it comes here.
fn header_text() -> impl Strategy<Value = HeaderText> {
    prop_oneof!["[ -~]{1,250}", "\\PC{1,120}", "[\"\\\\(),:;<>@\\[\\]=?_ a-z]{1,60}", "(?s).{1,40}"]
        .prop_filter_map("not header text", |raw| raw.parse().ok())
}

proptest! {
    #[test]
    fn a_mail_program_reads_what_was_written(
        subject in header_text(),
        name in header_text(),
        id: u128,
        parents in prop::collection::vec(any::<u128>(), 0..12),
        text in "(?s).{0,300}",
        html in "(?s).{0,300}",
    ) {
        let mut sample = Sample::new();
        sample.subject = subject;
        sample.name = name;
        sample.thread = parents.iter().map(|id| MessageId::of_send(SendId::new(Uuid::from_u128(*id)), &sample.from)).collect();
        let send = SendId::new(Uuid::from_u128(id));
        let message = Message { send, text: &text, html: &html, ..sample.message() };
        let bytes = message.to_bytes().unwrap();
        prop_assert!(bytes.is_ascii());
        let parsed = MessageParser::default().parse(&bytes).unwrap();

        let names: Vec<_> = parsed.headers().iter().map(|header| header.name.as_str().to_owned()).collect();
        let mut expected = vec!["From", "To", "Subject", "Date", "Message-ID", "Reply-To"];
        if !sample.thread.is_empty() {
            expected.extend(["In-Reply-To", "References"]);
        }
        expected.extend(["X-Meridian-Send", "List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version", "Content-Type"]);
        prop_assert_eq!(names, expected);

        prop_assert_eq!(parsed.subject().unwrap(), sample.subject.as_str());
        let from = parsed.from().unwrap().first().unwrap();
        prop_assert_eq!(from.address().unwrap(), "grace@example.com");
        prop_assert_eq!(from.name().unwrap(), sample.name.as_str());
        let to = parsed.to().unwrap();
        prop_assert_eq!(to.iter().count(), 1);
        prop_assert_eq!(to.first().unwrap().address().unwrap(), "ada@xn--bcher-kva.example");
        let id = message.id();
        prop_assert_eq!(parsed.message_id().unwrap(), id.as_str());
        prop_assert_eq!(id.send_id(), Some(send));
        prop_assert_eq!(parsed.date().unwrap().to_timestamp(), date().timestamp());
        prop_assert_eq!(
            parsed.in_reply_to().as_text().map(str::to_owned),
            sample.thread.last().map(|id| id.as_str().to_owned())
        );
        prop_assert_eq!(parsed.text_body_count(), 1);
        prop_assert_eq!(parsed.html_body_count(), 1);
        prop_assert_eq!(parsed.attachment_count(), 0);
        prop_assert_eq!(lines(&parsed.body_text(0).unwrap()), lines(&text));
        prop_assert_eq!(lines(&parsed.body_html(0).unwrap()), lines(&html));
    }
}

fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").trim_end_matches('\n').to_owned()
}
