//! What kind of mail came in. The order of the questions is the rule: what machines report is asked
//! first, then whether a machine answered for a person, then whether a person wants us to stop;
//! what is left was written by someone, and counts as a reply. It knows nothing of leads: which one
//! a mail concerns, and what follows, is decided elsewhere.

use chrono::{DateTime, Utc};

use super::auto_reply::AutoReply;
use super::dsn::Dsn;
use super::feedback::Feedback;
use super::{InboundMail, opt_out};

/// What kind of mail it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A person wrote.
    Reply,
    /// A person wrote, and nothing but that we should stop.
    OptOutRequest,
    /// A machine answered: absent, received, read. Never a reply.
    AutoReply(AutoReply),
    /// A server reports what became of a mail; see [`Dsn::class`] for whether it bounced.
    DeliveryReport(Dsn),
    /// A mailbox provider reports what a recipient thinks of a mail.
    FeedbackReport(Feedback),
}

/// Classifies a mail that was received at `received_at`, from which its dates are reckoned.
pub fn classify(mail: &InboundMail, received_at: DateTime<Utc>) -> Kind {
    if let Some(feedback) = Feedback::read(mail) {
        return Kind::FeedbackReport(feedback);
    }
    if let Some(dsn) = Dsn::read(mail) {
        return Kind::DeliveryReport(dsn);
    }
    match AutoReply::read(mail, received_at) {
        // What a mail program writes for the link behind an unsubscribe header. A stop must not be
        // lost because a machine typed it.
        Some(_) if mail.text.trim().is_empty() && opt_out::asks("", &mail.subject) => {
            Kind::OptOutRequest
        }
        Some(notice) => Kind::AutoReply(notice),
        None if opt_out::asks(&mail.stripped_text, &mail.subject) => Kind::OptOutRequest,
        None => Kind::Reply,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::{Kind, classify};
    use crate::inbound::{Content, Envelope, InboundMail};

    fn mail(headers: Vec<(String, String)>, text: String) -> InboundMail {
        let (stripped_text, html, report_parts, files) = (None, None, Vec::new(), 0);
        let content = Content { headers, text, stripped_text, html, report_parts, files };
        InboundMail::assemble(content, &Envelope::default())
    }

    #[test]
    fn a_stop_typed_by_a_machine_is_a_stop() {
        let headers = [("Subject", "unsubscribe"), ("Auto-Submitted", "auto-generated")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let kind = classify(&mail(headers.to_vec(), String::new()), DateTime::UNIX_EPOCH);
        assert_eq!(kind, Kind::OptOutRequest);
    }

    proptest! {
        #[test]
        fn classifying_is_total(
            names in proptest::collection::vec(prop_oneof![
                Just("Auto-Submitted"), Just("Precedence"), Just("Return-Path"), Just("Subject"),
                Just("Date"), Just("Content-Type"), Just("X-Autoreply"), Just("From"),
            ], 0..6),
            value in "(?s).{0,60}",
            text in "(?s).{0,300}",
            seconds in -4_000_000_000i64..8_000_000_000,
        ) {
            let headers = names.into_iter().map(|name| (name.to_owned(), value.clone())).collect();
            let at = DateTime::from_timestamp(seconds, 0).expect("within chrono's years");
            classify(&mail(headers, text), at);
        }

        #[test]
        fn notices_made_of_their_own_words_are_total(
            words in proptest::collection::vec(prop_oneof![
                Just("until"), Just("back"), Just("from"), Just("not"), Just("31"), Just("30"),
                Just("24.11."), Just("29/02/2028"), Just("2026-02-30"), Just("Nov"), Just("of"),
                Just("Monday"), Just("-"), Just("bis"), Just("\n\n"), Just("."), Just("today"),
                Just("99999999999999999999"), Just("00"), Just("/"), Just("29"), Just("Februar"),
                Just("segunda"), Just("November"), Just("2026"),
            ], 0..30),
            days in -200_000i64..200_000,
        ) {
            let headers = vec![("Auto-Submitted".to_owned(), "auto-replied".to_owned())];
            let at = DateTime::from_timestamp(days * 86_400, 0).expect("within chrono's years");
            let kind = classify(&mail(headers, words.join(" ")), at);
            if let Kind::AutoReply(notice) = kind
                && let Some(back_on) = notice.back_on
            {
                let ahead = (back_on - at.date_naive()).num_days();
                prop_assert!((0..=400).contains(&ahead), "{ahead} days ahead");
            }
        }
    }
}
