//! The form of an inbound route. Headers are read from `message-headers`, the one place that keeps
//! their order; Mailgun also repeats each as a field of its own, in a case that varies.

use super::{MailgunEvent, MailgunPost, PostFault, Signature, bounded_key, hash};
use crate::inbound::{Content, Envelope, InboundMail, ReportPart, header_in};

/// Fields of the form that are not headers of the mail.
const FORM_FIELDS: [&str; 21] = [
    "recipient",
    "sender",
    "from",
    "subject",
    "body-plain",
    "body-html",
    "body-mime",
    "stripped-text",
    "stripped-signature",
    "stripped-html",
    "attachment-count",
    "attachments",
    "content-id-map",
    "message-headers",
    "message-url",
    "timestamp",
    "token",
    "signature",
    "domain",
    "event-timestamps",
    "recipients",
];

/// Attachments that are looked at for the parts of a report.
const ATTACHMENTS_MAX: usize = 20;

pub(super) fn parse(fields: Vec<(String, String)>) -> Result<MailgunPost, PostFault> {
    let field = |name: &str| header_in(&fields, name);
    let required = |name: &'static str| {
        field(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .ok_or(PostFault::Missing { field: name })
    };
    let signature = Signature {
        timestamp: required("timestamp")?,
        token: required("token")?,
        signature: required("signature")?,
    };
    let recipients = field("recipient").unwrap_or_default();
    let envelope = Envelope {
        sender: field("sender").map(str::to_owned),
        recipients: recipients
            .split(',')
            .filter(|one| !one.trim().is_empty())
            .map(str::to_owned)
            .collect(),
    };

    let mail = match field("body-mime") {
        Some(mime) => InboundMail::from_raw(mime.as_bytes(), &envelope)
            .map_err(|_| PostFault::Wrong { field: "body-mime", expected: "a mail" })?,
        None => InboundMail::assemble(content(fields)?, &envelope),
    };
    let event_key = event_key(&mail, &signature);
    Ok(MailgunPost { signature, event_key, event: MailgunEvent::Inbound(Box::new(mail)) })
}

fn content(mut fields: Vec<(String, String)>) -> Result<Content, PostFault> {
    let report_parts = report_parts(&fields);
    let mut take = |name: &str| {
        fields
            .iter()
            .position(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|at| std::mem::take(&mut fields[at].1))
    };
    let text = take("body-plain").unwrap_or_default();
    let html = take("body-html").filter(|html| !html.is_empty());
    let stripped_text = take("stripped-text");
    let subject = take("subject");
    let from = take("from");
    let files = take("attachment-count").and_then(|count| count.trim().parse().ok());
    let listed = take("message-headers").filter(|list| !list.trim().is_empty());

    let mut headers = match listed {
        Some(list) => serde_json::from_str::<Vec<(String, String)>>(&list).map_err(|_| {
            PostFault::Wrong { field: "message-headers", expected: "a list of pairs" }
        })?,
        None => fields
            .into_iter()
            .filter(|(name, _)| {
                let name = name.to_ascii_lowercase();
                !FORM_FIELDS.contains(&name.as_str()) && !name.starts_with("attachment-")
            })
            .collect(),
    };
    for (name, value) in [("From", from), ("Subject", subject)] {
        if let Some(value) = value
            && header_in(&headers, name).is_none()
        {
            headers.push((name.to_owned(), value));
        }
    }
    Ok(Content { headers, text, stripped_text, html, report_parts, files: files.unwrap_or(0) })
}

/// The parts of a report come as attachments that have lost their types; what they are shows in the
/// fields they hold.
fn report_parts(fields: &[(String, String)]) -> Vec<ReportPart> {
    let content_type = header_in(fields, "Content-Type").unwrap_or_default().to_ascii_lowercase();
    let listed = header_in(fields, "message-headers").unwrap_or_default().to_ascii_lowercase();
    if !content_type.contains("multipart/report") && !listed.contains("multipart/report") {
        return Vec::new();
    }
    let is_attachment = |name: &str| {
        let number = name.to_ascii_lowercase();
        number
            .strip_prefix("attachment-")
            .is_some_and(|number| number.bytes().all(|sign| sign.is_ascii_digit()))
    };
    fields
        .iter()
        .filter(|(name, _)| is_attachment(name))
        .take(ATTACHMENTS_MAX)
        .filter_map(|(_, text)| {
            let has = |name: &str| {
                text.lines().take(200).any(|line| {
                    line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name))
                })
            };
            if has("Feedback-Type") {
                Some(ReportPart::Feedback(text.clone()))
            } else if has("Action") && (has("Final-Recipient") || has("Status")) {
                Some(ReportPart::DeliveryStatus(text.clone()))
            } else if has("Message-ID") {
                Some(ReportPart::returned(text.as_bytes()))
            } else {
                None
            }
        })
        .collect()
}

/// A mail's own id is written by its sender, who could use up another's: the body belongs to the key.
fn event_key(mail: &InboundMail, signature: &Signature) -> String {
    bounded_key(match &mail.message_id {
        Some(id) => {
            let from = mail.from.as_ref().map(|from| from.address.as_str()).unwrap_or_default();
            let recipients = mail.recipients.join(",");
            format!("mail/{}", hash(&[id, from, &recipients, &mail.subject, &mail.text]))
        }
        None => format!("token/{}", signature.token),
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use crate::inbound::classification::{Kind, classify};
    use crate::inbound::dsn::BounceClass;
    use crate::inbound::{Correlator, InboundMail, ReturnPath};
    use crate::mailgun::{MailgunEvent, MailgunPost, PostFault, parse_mail};

    fn form(extra: &[(&str, &str)]) -> Vec<(String, String)> {
        let signed = [("timestamp", "1529006854"), ("token", "t0ken"), ("signature", "abcd")];
        signed
            .iter()
            .chain(extra)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn read(extra: &[(&str, &str)]) -> (MailgunPost, InboundMail) {
        let post = parse_mail(form(extra)).expect("a post");
        let MailgunEvent::Inbound(mail) = post.event.clone() else { panic!("{:?}", post.event) };
        (post, *mail)
    }

    const HEADERS: &str = r#"[["Received","by x"],["From","Ada <ada@example.com>"],
        ["Subject","Re: Hello"],["Message-Id","<new@example.com>"],
        ["In-Reply-To","<ours@example.org>"],["References","<first@example.org> <ours@example.org>"]]"#;

    #[test]
    fn a_reply_is_read_from_the_form() {
        let (post, mail) = read(&[
            ("recipient", "Reply-ABC@in.example.org,two@in.example.org"),
            ("sender", "ada@example.com"),
            ("from", "Ada <ada@example.com>"),
            ("subject", "Re: Hello"),
            ("body-plain", "Tell me more\n\nOn 2 Nov 2026, Bob wrote:\n> Hello"),
            ("stripped-text", "Tell me more"),
            ("body-html", "<p>Tell me more</p>"),
            ("message-headers", HEADERS),
            ("X-Unknown", "kept elsewhere"),
        ]);
        assert!(post.event_key.starts_with("mail/"));
        assert_eq!(mail.headers.len(), 6);
        assert_eq!(mail.stripped_text, "Tell me more");
        assert_eq!(mail.recipients, ["reply-abc@in.example.org", "two@in.example.org"]);
        assert_eq!(mail.return_path, ReturnPath::Address("ada@example.com".to_owned()));
        assert_eq!(
            mail.correlators(),
            [
                Correlator::MessageId("ours@example.org".to_owned()),
                Correlator::MessageId("first@example.org".to_owned()),
                Correlator::ReplyToken("abc".to_owned()),
                Correlator::Sender("ada@example.com".to_owned()),
            ]
        );
        assert_eq!(classify(&mail, DateTime::UNIX_EPOCH), Kind::Reply);
    }

    #[test]
    fn without_the_list_headers_are_taken_from_their_fields() {
        let (_, mail) = read(&[
            ("from", "ada@example.com"),
            ("subject", "Automatic reply: Hello"),
            ("body-plain", "I am away"),
            ("auto-submitted", "auto-replied"),
            ("In-reply-to", "<ours@example.org>"),
            ("attachment-count", "0"),
        ]);
        assert_eq!(mail.header("Auto-Submitted"), Some("auto-replied"));
        assert_eq!(mail.in_reply_to, ["ours@example.org"]);
        assert_eq!(mail.from.as_ref().map(|from| from.address.as_str()), Some("ada@example.com"));
        assert!(mail.headers.iter().all(|(name, _)| name != "body-plain" && name != "token"));
        assert!(matches!(classify(&mail, DateTime::UNIX_EPOCH), Kind::AutoReply(_)));
    }

    #[test]
    fn a_route_that_posts_the_whole_mail_is_read_whole() {
        let (_, mail) = read(&[
            ("recipient", "reply-abc@in.example.org"),
            ("sender", ""),
            ("body-mime", "From: ada@example.com\r\nSubject: Hi\r\n\r\nHello\r\n"),
        ]);
        assert_eq!(mail.subject, "Hi");
        assert_eq!(mail.return_path, ReturnPath::Empty);
        assert_eq!(mail.recipients, ["reply-abc@in.example.org"]);
    }

    #[test]
    fn a_bounce_is_understood_through_its_attachments() {
        let (_, mail) = read(&[
            ("sender", ""),
            (
                "message-headers",
                r#"[["Content-Type","multipart/report; report-type=delivery-status"]]"#,
            ),
            ("body-plain", "It did not work."),
            (
                "attachment-1",
                "Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; ada@example.com\nAction: failed\nStatus: 5.1.1\n",
            ),
            ("attachment-2", "From: us\nMessage-ID: <ours@example.org>\n\nHello"),
        ]);
        let Kind::DeliveryReport(dsn) = classify(&mail, DateTime::UNIX_EPOCH) else {
            panic!("{mail:?}")
        };
        assert_eq!(dsn.class(), Some(BounceClass::Hard));
        assert_eq!(dsn.returned_message_id.as_deref(), Some("ours@example.org"));
    }

    #[test]
    fn an_attachment_of_a_reply_makes_no_bounce() {
        let (_, mail) = read(&[
            ("message-headers", HEADERS),
            ("body-plain", "See the bounce we got from you."),
            (
                "attachment-1",
                "Final-Recipient: rfc822; ada@example.com\nAction: failed\nStatus: 5.1.1\n",
            ),
        ]);
        assert_eq!(classify(&mail, DateTime::UNIX_EPOCH), Kind::Reply);
    }

    #[test]
    fn a_repeat_has_the_same_key_and_another_mail_under_the_same_id_has_not() {
        let one = [("message-headers", HEADERS), ("body-plain", "Yes"), ("sender", "a@b.c")];
        let mut again = form(&one);
        again[1].1 = "another".to_owned();
        let again = parse_mail(again).expect("a post");
        assert_eq!(read(&one).0.event_key, again.event_key);
        let forged = [("message-headers", HEADERS), ("body-plain", "No"), ("sender", "a@b.c")];
        assert_ne!(read(&forged).0.event_key, again.event_key);
        assert_eq!(read(&[("body-plain", "no id")]).0.event_key, "token/t0ken");
    }

    #[test]
    fn faults_name_the_field() {
        assert_eq!(parse_mail(Vec::new()), Err(PostFault::Missing { field: "timestamp" }));
        assert_eq!(
            parse_mail(form(&[("message-headers", "{}")])),
            Err(PostFault::Wrong { field: "message-headers", expected: "a list of pairs" })
        );
        assert_eq!(
            parse_mail(form(&[("body-mime", "")])),
            Err(PostFault::Wrong { field: "body-mime", expected: "a mail" })
        );
    }

    proptest! {
        #[test]
        fn reading_is_total(fields in proptest::collection::vec((
            prop_oneof![
                Just("message-headers".to_owned()), Just("recipient".to_owned()),
                Just("body-plain".to_owned()), Just("attachment-1".to_owned()),
                Just("Content-Type".to_owned()), "[a-zA-Z-]{0,12}",
            ],
            prop_oneof![Just("multipart/report".to_owned()), Just(HEADERS.to_owned()), "(?s).{0,60}"],
        ), 0..12)) {
            let mut all = form(&[]);
            all.extend(fields.clone());
            let _ = parse_mail(all);
            let _ = parse_mail(fields);
        }
    }
}
