//! Reports of delivery (RFC 3464, with the codes of RFC 3463) and the two plain-text forms that older
//! servers still send. A report is believed only as far as it returns an identity of ours: its
//! envelope id or the `Message-ID` of the mail it gives back, never its subject or its sender.

use std::fmt;
use std::str::FromStr;

use super::{InboundMail, Mailbox, ReportPart, ReturnPath, bare_message_id, header_in, mime};

/// Recipients of one report that are looked at. A mail of ours has one.
const RECIPIENTS_MAX: usize = 50;

/// The line above the mail that a plain-text report gives back: qmail and Exim.
const COPY_MARKS: [&str; 3] = [
    "--- Below this line is a copy of the message.",
    "------ This is a copy of the message, including all the headers.",
    "------ This is a copy of your message, including all the headers.",
];

/// What a failed delivery says about the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BounceClass {
    /// The address is dead: never write to it again.
    Hard,
    /// The recipient's mailbox or server is in trouble; three on different days make a hard one.
    Soft,
    /// Our mail, our reputation or our set-up was refused. The address is not to blame.
    NotTheRecipient,
}

/// An enhanced status code, such as 5.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    /// 2 for success, 4 for a passing failure, 5 for a lasting one.
    pub class: u8,
    /// What the failure is about.
    pub subject: u16,
    /// What exactly it is.
    pub detail: u16,
}

/// The text is no enhanced status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code")]
pub struct NotACode;

/// What became of one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Given up.
    Failed,
    /// Still being tried: information only.
    Delayed,
    /// Arrived.
    Delivered,
    /// Handed to a server that reports nothing.
    Relayed,
    /// Handed to a list.
    Expanded,
    /// Not said, or not in a word we know.
    Unknown,
}

/// A report about one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientReport {
    /// The address the report names, lower-case; may be one we never wrote to.
    pub address: Option<String>,
    /// What became of it.
    pub action: Action,
    /// The status, if it is readable.
    pub status: Option<EnhancedCode>,
    /// What the remote server said.
    pub diagnostic: Option<String>,
}

/// A report of delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dsn {
    /// One report for each recipient.
    pub recipients: Vec<RecipientReport>,
    /// The envelope id we gave with the mail (RFC 3461 `ENVID`).
    pub original_envelope_id: Option<String>,
    /// The `Message-ID` of the mail that is given back, without brackets.
    pub returned_message_id: Option<String>,
}

impl BounceClass {
    /// The class of a status code, for a delivery that failed.
    ///
    /// What the table does not name is soft: an address is never given up on a code we cannot read.
    pub fn of(code: EnhancedCode) -> Self {
        match (code.class, code.subject, code.detail) {
            (5, 1, 1 | 2 | 3 | 6 | 10) | (5, 2, 1) => Self::Hard,
            // The sender's address, and a mail too long for this mailbox.
            (5, 1, 7 | 8) | (5, 2, 3) => Self::NotTheRecipient,
            (5, 5..=7, _) => Self::NotTheRecipient,
            _ => Self::Soft,
        }
    }

    /// The class of an SMTP reply that failed for good and gave no enhanced code.
    pub(crate) fn of_reply(code: u16, text: &str) -> Self {
        match code {
            554 => Self::NotTheRecipient,
            550..=553 if names_an_unknown_mailbox(text) => Self::Hard,
            _ => Self::Soft,
        }
    }
}

impl EnhancedCode {
    /// Finds a code inside a server's answer, such as `smtp; 550 5.1.1 unknown`.
    pub fn find(text: &str) -> Option<Self> {
        text.split(|sign: char| !(sign.is_ascii_digit() || sign == '.'))
            .filter_map(|word| word.trim_end_matches('.').parse().ok())
            // Addresses of the Internet have four numbers and are refused; 2.x is no failure.
            .find(|code: &Self| matches!(code.class, 4 | 5))
    }

    /// Whether it says only that something failed.
    fn is_generic(self) -> bool {
        self.subject == 0
    }
}

impl FromStr for EnhancedCode {
    type Err = NotACode;

    /// Reads `5.1.1`, also with a comment after it.
    fn from_str(text: &str) -> Result<Self, NotACode> {
        let word = text.split_whitespace().next().ok_or(NotACode)?;
        let mut numbers = word.split('.');
        let (Some(class), Some(subject), Some(detail), None) =
            (numbers.next(), numbers.next(), numbers.next(), numbers.next())
        else {
            return Err(NotACode);
        };
        let number = |text: &str| -> Result<u16, NotACode> {
            if text.is_empty() || text.len() > 3 || !text.bytes().all(|sign| sign.is_ascii_digit())
            {
                return Err(NotACode);
            }
            text.parse().map_err(|_| NotACode)
        };
        match class {
            "2" | "4" | "5" => Ok(Self {
                class: class.parse().map_err(|_| NotACode)?,
                subject: number(subject)?,
                detail: number(detail)?,
            }),
            _ => Err(NotACode),
        }
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl RecipientReport {
    /// What the report says about the address; `None` if the delivery did not fail.
    pub fn class(&self) -> Option<BounceClass> {
        match self.action {
            Action::Failed => {}
            Action::Delayed
            | Action::Delivered
            | Action::Relayed
            | Action::Expanded
            | Action::Unknown => return None,
        }
        // 5.0.0 is what a server writes when the next one gave no code of its own; if that one did,
        // its code stands in the diagnostic.
        let said = self.status.filter(|code| !code.is_generic());
        let told = || self.diagnostic.as_deref().and_then(EnhancedCode::find);
        Some(said.or_else(told).map_or(BounceClass::Soft, BounceClass::of))
    }
}

impl Dsn {
    /// Reads a mail's report; `None` if it carries none.
    pub fn read(mail: &InboundMail) -> Option<Self> {
        let status = mail.report_parts.iter().find_map(|part| match part {
            ReportPart::DeliveryStatus(text) => Some(text.as_str()),
            ReportPart::Feedback(_) | ReportPart::Returned(_) => None,
        });
        match status {
            Some(status) => Some(from_status(status, returned_message_id(mail))),
            None => from_plain_text(mail),
        }
    }

    /// The gravest class among the failed recipients; `None` if nothing failed.
    pub fn class(&self) -> Option<BounceClass> {
        let classes = || self.recipients.iter().filter_map(RecipientReport::class);
        [BounceClass::Hard, BounceClass::Soft, BounceClass::NotTheRecipient]
            .into_iter()
            .find(|class| classes().any(|found| found == *class))
    }
}

/// The id of the mail that a report gives back.
pub(super) fn returned_message_id(mail: &InboundMail) -> Option<String> {
    mail.report_parts.iter().find_map(|part| match part {
        ReportPart::Returned(headers) => header_in(headers, "Message-ID").and_then(bare_message_id),
        ReportPart::DeliveryStatus(_) | ReportPart::Feedback(_) => None,
    })
}

/// Splits the text of a report into groups of fields, unfolded; empty lines part the groups.
pub(super) fn field_groups(text: &str) -> Vec<Vec<(String, String)>> {
    let mut groups: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for line in text.lines() {
        let group = groups.last_mut().expect("starts with one");
        if line.trim().is_empty() {
            if !group.is_empty() {
                groups.push(Vec::new());
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = group.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            group.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        if groups.len() > RECIPIENTS_MAX + 1 {
            break;
        }
    }
    groups
}

fn from_status(status: &str, returned_message_id: Option<String>) -> Dsn {
    let groups = field_groups(status);
    let envelope_id = groups.iter().find_map(|group| header_in(group, "Original-Envelope-Id"));
    Dsn {
        original_envelope_id: envelope_id.filter(|id| !id.is_empty()).map(str::to_owned),
        recipients: groups.iter().filter_map(|group| recipient(group)).collect(),
        returned_message_id,
    }
}

fn recipient(group: &[(String, String)]) -> Option<RecipientReport> {
    let field = |name| header_in(group, name);
    // The group about the mail as a whole has none of these.
    let address = field("Original-Recipient").or(field("Final-Recipient"));
    if address.is_none() && field("Action").is_none() {
        return None;
    }
    Some(RecipientReport {
        address: address.and_then(|text| Mailbox::parse(untyped(text))).map(|found| found.address),
        action: field("Action").map_or(Action::Unknown, action),
        status: field("Status").and_then(|status| status.parse().ok()),
        diagnostic: field("Diagnostic-Code").map(|text| untyped(text).to_owned()),
    })
}

fn action(word: &str) -> Action {
    match word.split_whitespace().next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "failed" => Action::Failed,
        "delayed" => Action::Delayed,
        "delivered" => Action::Delivered,
        "relayed" => Action::Relayed,
        "expanded" => Action::Expanded,
        _ => Action::Unknown,
    }
}

/// Drops the type before a value: `rfc822; ada@example.com`.
fn untyped(value: &str) -> &str {
    value.split_once(';').map_or(value, |(_, value)| value).trim()
}

/// Reads the reports of qmail and old Exim: prose, a mark, and the mail they give back.
fn from_plain_text(mail: &InboundMail) -> Option<Dsn> {
    if mail.return_path != ReturnPath::Empty && !is_from_a_mailer(mail) {
        return None;
    }
    let (said, copy) = COPY_MARKS.iter().find_map(|mark| mail.text.split_once(mark))?;
    let copy = copy.trim_start_matches(['-', ' ', '\r', '\n']);
    let returned = mime::headers_of(copy.as_bytes());
    let failed = mail.header("X-Failed-Recipients").map(str::to_owned).or_else(|| {
        said.lines().find_map(|line| {
            let address = line.trim().strip_suffix(':')?.strip_prefix('<')?.strip_suffix('>')?;
            Some(address.to_owned())
        })
    });
    Some(Dsn {
        recipients: vec![RecipientReport {
            address: failed.as_deref().and_then(Mailbox::parse).map(|found| found.address),
            action: Action::Failed,
            status: EnhancedCode::find(said),
            diagnostic: None,
        }],
        original_envelope_id: None,
        returned_message_id: header_in(&returned, "Message-ID").and_then(bare_message_id),
    })
}

fn is_from_a_mailer(mail: &InboundMail) -> bool {
    let local = mail.from.as_ref().and_then(|from| from.address.split_once('@'));
    matches!(local, Some(("mailer-daemon" | "postmaster", _)))
}

fn names_an_unknown_mailbox(text: &str) -> bool {
    let text = text.to_lowercase();
    [
        "user unknown",
        "unknown user",
        "no such user",
        "no such recipient",
        "no such mailbox",
        "does not exist",
        "doesn't exist",
        "user not found",
        "mailbox not found",
        "recipient not found",
        "unknown recipient",
        "no mailbox here",
        "invalid recipient",
    ]
    .iter()
    .any(|phrase| text.contains(phrase))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Action, BounceClass, Dsn, EnhancedCode, field_groups, from_status};
    use crate::inbound::{Envelope, InboundMail};

    fn read(raw: &str) -> Option<Dsn> {
        let raw = raw.replace('\n', "\r\n");
        let mail = InboundMail::from_raw(raw.as_bytes(), &Envelope::default()).expect("a mail");
        Dsn::read(&mail)
    }

    const REPORT: &str = "From: MAILER-DAEMON@mx.example.com\n\
        Return-Path: <>\n\
        Subject: Undelivered Mail Returned to Sender\n\
        Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\
        \n\
        --b\n\
        \n\
        I'm sorry. In-Reply-To: <someone-elses@example.org>\n\
        --b\n\
        Content-Type: message/delivery-status\n\
        \n\
        Reporting-MTA: dns; mx.example.com\n\
        Original-Envelope-Id: 0192-abc\n\
        \n\
        Original-Recipient: rfc822;Ada@example.com\n\
        Final-Recipient: rfc822; ada@mailboxes.example.com\n\
        Action: failed\n\
        Status: 5.1.1 (bad mailbox)\n\
        Diagnostic-Code: smtp; 550 5.1.1 <ada@example.com>:\n \
        user unknown\n\
        --b\n\
        Content-Type: text/rfc822-headers\n\
        \n\
        From: sales@example.org\n\
        Message-ID: <ours@example.org>\n\
        --b--\n";

    #[test]
    fn a_report_names_recipient_status_and_the_mail_it_returns() {
        let dsn = read(REPORT).expect("a report");
        assert_eq!(dsn.original_envelope_id.as_deref(), Some("0192-abc"));
        assert_eq!(dsn.returned_message_id.as_deref(), Some("ours@example.org"));
        assert_eq!(dsn.recipients.len(), 1);
        assert_eq!(dsn.recipients[0].address.as_deref(), Some("ada@example.com"));
        assert_eq!(dsn.recipients[0].action, Action::Failed);
        assert_eq!(
            dsn.recipients[0].diagnostic.as_deref(),
            Some("550 5.1.1 <ada@example.com>: user unknown")
        );
        assert_eq!(dsn.class(), Some(BounceClass::Hard));
    }

    #[test]
    fn the_returned_mail_is_found_whole_nested_or_encoded() {
        let whole = REPORT.replace("text/rfc822-headers", "message/rfc822");
        let dsn = read(&whole).expect("a report");
        assert_eq!(dsn.returned_message_id.as_deref(), Some("ours@example.org"));

        use base64::Engine;
        let headers = "From: sales@example.org\nMessage-ID: <ours@example.org>\n";
        let coded = base64::engine::general_purpose::STANDARD.encode(headers);
        let coded = format!("Content-Transfer-Encoding: base64\n\n{coded}\n");
        let encoded = whole.replace(&format!("\n{headers}"), &coded);
        let dsn = read(&encoded).expect("a report");
        assert_eq!(dsn.returned_message_id.as_deref(), Some("ours@example.org"));
    }

    #[test]
    fn a_report_without_our_mail_names_nothing_of_ours() {
        let forged = REPORT.replace("Message-ID: <ours@example.org>\n", "");
        let dsn = read(&forged.replace("Original-Envelope-Id: 0192-abc\n", "")).expect("a report");
        assert_eq!((dsn.original_envelope_id, dsn.returned_message_id), (None, None));
    }

    #[test]
    fn a_delay_is_information() {
        let dsn = read(&REPORT.replace("Action: failed", "Action: delayed")).expect("a report");
        assert_eq!(dsn.class(), None);
        assert_eq!(dsn.recipients[0].action, Action::Delayed);
    }

    #[test]
    fn classes_follow_the_table() {
        for (code, class) in [
            ("5.1.1", BounceClass::Hard),
            ("5.1.2", BounceClass::Hard),
            ("5.1.3", BounceClass::Hard),
            ("5.1.6", BounceClass::Hard),
            ("5.1.10", BounceClass::Hard),
            ("5.2.1", BounceClass::Hard),
            ("5.2.2", BounceClass::Soft),
            ("5.3.4", BounceClass::Soft),
            ("5.4.1", BounceClass::Soft),
            ("4.4.7", BounceClass::Soft),
            ("4.7.1", BounceClass::Soft),
            ("5.0.0", BounceClass::Soft),
            ("5.7.1", BounceClass::NotTheRecipient),
            ("5.7.26", BounceClass::NotTheRecipient),
            ("5.5.2", BounceClass::NotTheRecipient),
            ("5.6.0", BounceClass::NotTheRecipient),
            ("5.1.8", BounceClass::NotTheRecipient),
        ] {
            assert_eq!(BounceClass::of(code.parse().expect("a code")), class, "{code}");
        }
        assert_eq!(BounceClass::of_reply(550, "No such user here"), BounceClass::Hard);
        assert_eq!(BounceClass::of_reply(550, "rejected"), BounceClass::Soft);
        assert_eq!(BounceClass::of_reply(554, "no such user"), BounceClass::NotTheRecipient);
    }

    #[test]
    fn a_generic_status_gives_way_to_the_remote_servers_code() {
        let status = "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 5.7.1 spam\n";
        assert_eq!(from_status(status, None).class(), Some(BounceClass::NotTheRecipient));
        let exact = status.replace("5.0.0", "5.1.1");
        assert_eq!(from_status(&exact, None).class(), Some(BounceClass::Hard));
    }

    #[test]
    fn codes_are_found_in_answers_and_addresses_are_not_codes() {
        let find = |text| EnhancedCode::find(text).map(|code| code.to_string());
        assert_eq!(find("550 #5.1.0 Address rejected").as_deref(), Some("5.1.0"));
        assert_eq!(find("host 5.1.1.7 said: 550-5.2.1 disabled").as_deref(), Some("5.2.1"));
        assert_eq!(find("250 2.0.0 ok"), None);
        assert_eq!(find("550 nothing"), None);
    }

    #[test]
    fn qmail_and_exim_are_understood() {
        let qmail = "Return-Path: <>\nFrom: MAILER-DAEMON@example.com\nSubject: failure notice\n\n\
            Hi. This is the qmail-send program at example.com.\n\n\
            <ada@example.com>:\n\
            Sorry, no mailbox here by that name. (#5.1.1)\n\n\
            --- Below this line is a copy of the message.\n\n\
            Return-Path: <sales@example.org>\n\
            Message-ID: <ours@example.org>\nSubject: Hello\n\nHello\n";
        let dsn = read(qmail).expect("a report");
        assert_eq!(dsn.class(), Some(BounceClass::Hard));
        assert_eq!(dsn.recipients[0].address.as_deref(), Some("ada@example.com"));
        assert_eq!(dsn.returned_message_id.as_deref(), Some("ours@example.org"));

        let by_a_person = qmail.replace("Return-Path: <>\n", "").replace("MAILER-DAEMON", "bob");
        assert_eq!(read(&by_a_person), None, "a person who quotes a bounce has not bounced");
    }

    proptest! {
        #[test]
        fn reading_a_status_is_total(text in "(?s).{0,300}") {
            let _ = from_status(&text, None).class();
            let _ = EnhancedCode::find(&text);
            let _ = text.parse::<EnhancedCode>();
            field_groups(&text);
        }

        #[test]
        fn the_class_depends_on_action_and_status_alone(
            subject in ".{0,30}", address in "[a-z]{1,8}", class in 4..=5u8, a in 1..9u16, b in 0..99u16,
        ) {
            let status = format!("Final-Recipient: rfc822; {address}@example.com\nAction: failed\nStatus: {class}.{a}.{b}\n");
            let code = EnhancedCode { class, subject: a, detail: b };
            let dsn = from_status(&status, Some(subject));
            prop_assert_eq!(dsn.class(), Some(BounceClass::of(code)));
        }
    }
}
