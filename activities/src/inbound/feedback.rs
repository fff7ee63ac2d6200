//! Complaints: feedback reports of mailbox providers (RFC 5965). Like a bounce, a complaint is
//! believed only where it gives back a mail of ours.

use super::dsn::{field_groups, returned_message_id};
use super::{InboundMail, Mailbox, ReportPart, header_in};

/// What a feedback report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedbackType {
    /// Someone called the mail spam: an opt-out.
    Abuse,
    /// Someone pressed the provider's unsubscribe button: an opt-out.
    OptOut,
    /// Someone took the mail out of the spam folder.
    NotSpam,
    /// Anything else (fraud, virus, authentication failure), in lower case: for a person to read.
    Other(String),
}

/// A feedback report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// What it is about.
    pub feedback_type: FeedbackType,
    /// The recipient it names, lower-case; often withheld.
    pub original_recipient: Option<String>,
    /// The `Message-ID` of the mail that is given back, without brackets.
    pub returned_message_id: Option<String>,
}

impl Feedback {
    /// Reads a mail's feedback report; `None` if it carries none.
    pub fn read(mail: &InboundMail) -> Option<Self> {
        let report = mail.report_parts.iter().find_map(|part| match part {
            ReportPart::Feedback(text) => Some(text.as_str()),
            ReportPart::DeliveryStatus(_) | ReportPart::Returned(_) => None,
        })?;
        let fields: Vec<_> = field_groups(report).into_iter().flatten().collect();
        let recipient = header_in(&fields, "Original-Rcpt-To").and_then(Mailbox::parse);
        Some(Self {
            feedback_type: feedback_type(header_in(&fields, "Feedback-Type").unwrap_or_default()),
            original_recipient: recipient.map(|mailbox| mailbox.address),
            returned_message_id: returned_message_id(mail),
        })
    }

    /// Whether the recipient asked us, in effect, never to write again.
    pub fn is_opt_out(&self) -> bool {
        match self.feedback_type {
            FeedbackType::Abuse | FeedbackType::OptOut => true,
            FeedbackType::NotSpam | FeedbackType::Other(_) => false,
        }
    }
}

fn feedback_type(word: &str) -> FeedbackType {
    match word.trim().to_lowercase().as_str() {
        "abuse" => FeedbackType::Abuse,
        "opt-out" | "opt-out-list" => FeedbackType::OptOut,
        "not-spam" => FeedbackType::NotSpam,
        other => FeedbackType::Other(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Feedback, FeedbackType};
    use crate::inbound::{Envelope, InboundMail};

    const COMPLAINT: &str = "From: <abusedesk@example.com>\r\n\
        Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain\r\n\r\nThis is a complaint.\r\n\
        --b\r\nContent-Type: message/feedback-report\r\n\r\n\
        Feedback-Type: abuse\r\nVersion: 1\r\nOriginal-Rcpt-To: <Ada@example.com>\r\n\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\n\
        From: sales@example.org\r\nMessage-ID: <ours@example.org>\r\n\r\nHello\r\n--b--\r\n";

    fn read(raw: &str) -> Option<Feedback> {
        let mail = InboundMail::from_raw(raw.as_bytes(), &Envelope::default()).expect("a mail");
        Feedback::read(&mail)
    }

    #[test]
    fn a_complaint_is_an_opt_out_of_the_mail_it_returns() {
        let feedback = read(COMPLAINT).expect("a report");
        assert_eq!(feedback.feedback_type, FeedbackType::Abuse);
        assert_eq!(feedback.original_recipient.as_deref(), Some("ada@example.com"));
        assert_eq!(feedback.returned_message_id.as_deref(), Some("ours@example.org"));
        assert!(feedback.is_opt_out());
    }

    #[test]
    fn praise_and_unknown_types_are_no_opt_out() {
        for (word, expected) in [
            ("not-spam", FeedbackType::NotSpam),
            ("Virus", FeedbackType::Other("virus".to_owned())),
        ] {
            let raw = COMPLAINT.replace("Feedback-Type: abuse", &format!("Feedback-Type: {word}"));
            let feedback = read(&raw).expect("a report");
            assert!(!feedback.is_opt_out());
            assert_eq!(feedback.feedback_type, expected);
        }
    }
}
