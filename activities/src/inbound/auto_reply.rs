//! Answers that machines give for people: absence notices, acknowledgements, read receipts. They are
//! recognised by headers that only machines write, or by a subject *and* a body that both say so. One
//! of the two alone proves nothing, and neither does `X-Auto-Response-Suppress` (a wish, which
//! Outlook puts on everyday mail) or `Precedence: list`.

mod announcements;
mod dates;
mod return_date;
mod vocabulary;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::{InboundMail, ReturnPath};
use return_date::Topic;

/// What an automatic answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoReply {
    /// The first day the person is back, if the notice tells one. It may fall on a day off: which
    /// days are worked, the lead's calendar knows. At most 400 days ahead.
    pub back_on: Option<NaiveDate>,
    /// How it was recognised.
    pub sign: Sign,
}

/// By what an automatic answer was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sign {
    /// `Auto-Submitted`, and not `no` (RFC 3834).
    AutoSubmitted,
    /// `X-Autoreply`, `X-Autorespond` or one of their kin.
    AutoReplyHeader,
    /// `Precedence: bulk`, `junk` or `auto_reply`.
    Precedence,
    /// A report that is neither about delivery nor a complaint, such as a read receipt.
    Report,
    /// The empty return path.
    EmptyReturnPath,
    /// A subject and a body that both announce an automatic answer.
    SubjectAndBody,
}

/// A `Date` further than this from the time of receipt is not believed about the sender's zone.
const CLOCK_ERROR_MAX: TimeDelta = TimeDelta::days(3);

/// Headers that only automatic answers carry.
const AUTO_REPLY_HEADERS: [&str; 5] =
    ["X-Autoreply", "X-Autorespond", "X-Autoreply-From", "X-Mail-Autoreply", "X-Auto-Reply"];

impl AutoReply {
    /// Reads an automatic answer; `None` if a person may have written the mail.
    pub fn read(mail: &InboundMail, received_at: DateTime<Utc>) -> Option<Self> {
        let sign = sign(mail)?;
        let body = if mail.stripped_text.is_empty() { &mail.text } else { &mail.stripped_text };
        let today = sender_date(mail, received_at);
        let tells = return_date::tells_of_absence;
        let about =
            if tells(body) || tells(&mail.subject) { Topic::Absence } else { Topic::SomethingElse };
        let back_on = return_date::read(body, about, today)
            .or_else(|| return_date::read(&mail.subject, about, today));
        Some(Self { back_on, sign })
    }
}

fn sign(mail: &InboundMail) -> Option<Sign> {
    let values = |name: &'static str| {
        mail.headers
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_ascii_lowercase())
    };
    let starts_type = |value: String| value.starts_with("multipart/report");

    if values("Auto-Submitted").any(|value| first_word(&value) != "no") {
        Some(Sign::AutoSubmitted)
    } else if AUTO_REPLY_HEADERS
        .iter()
        .any(|name| values(name).any(|value| !matches!(first_word(&value), "no" | "false" | "0")))
    {
        Some(Sign::AutoReplyHeader)
    } else if values("Precedence")
        .any(|value| matches!(first_word(&value), "bulk" | "junk" | "auto_reply" | "auto-reply"))
    {
        Some(Sign::Precedence)
    } else if values("Content-Type").any(starts_type) {
        Some(Sign::Report)
    } else if mail.return_path == ReturnPath::Empty {
        Some(Sign::EmptyReturnPath)
    } else if announcements::in_subject(&mail.subject)
        && announcements::in_body(&mail.stripped_text)
    {
        Some(Sign::SubjectAndBody)
    } else {
        None
    }
}

fn first_word(value: &str) -> &str {
    value.split([';', ' ', '\t', '(']).next().unwrap_or_default()
}

/// The date on the sender's wall when the mail came: a notice that says "Monday" means theirs.
fn sender_date(mail: &InboundMail, received_at: DateTime<Utc>) -> NaiveDate {
    let written_at = mail.header("Date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    match written_at {
        Some(date) if (date.to_utc() - received_at).abs() <= CLOCK_ERROR_MAX => {
            received_at.with_timezone(date.offset()).date_naive()
        }
        Some(_) | None => received_at.date_naive(),
    }
}
