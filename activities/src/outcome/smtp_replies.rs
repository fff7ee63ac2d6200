//! What an SMTP reply means for us: a table, read from the top, the first row that fits wins.
//! Bounce reports and the events of mail providers carry the same codes and use the same table.

use chrono::TimeDelta;

use super::{Detail, EnhancedCode, Refusal, RefusalClass, Scope};
use RefusalClass::{Account, Content, Recipient, Retry};

/// How far the dialogue had come when the server answered. The same code means another thing at
/// another place: before the recipient was named, nothing can be the recipient's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Connecting, greeting, EHLO.
    Connect,
    /// STARTTLS and the handshake.
    Tls,
    /// AUTH.
    Login,
    /// MAIL FROM.
    Sender,
    /// RCPT TO. Bounce reports are read as if they were answers to it.
    Recipient,
    /// DATA, up to the final dot.
    Data,
    /// The answer to the message.
    Message,
}

impl Stage {
    /// The stage as a person reads it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Tls => "starting encryption",
            Self::Login => "logging in",
            Self::Sender => "naming the sender",
            Self::Recipient => "naming the recipient",
            Self::Data => "handing over the message",
            Self::Message => "waiting for the answer to the message",
        }
    }
}

/// Reads a negative reply.
///
/// `text` is what the server said after the code; its lines may be joined by any white space.
pub fn read(stage: Stage, code: u16, text: &str) -> Refusal {
    let enhanced = EnhancedCode::at_start_of(text);
    let (class, retry_after) = classify(stage, code, enhanced, text);
    let scope = scope(stage, code, class);
    Refusal { class, scope, retry_after, code: Some(code), enhanced, detail: Detail::new(text) }
}

/// Before the recipient is named a refusal is about the sender; so is a server that shuts down.
fn scope(stage: Stage, code: u16, class: RefusalClass) -> Scope {
    let early = BEFORE_SENDER.contains(&stage) || SENDER.contains(&stage) && class == Retry;
    if early || code == 421 || class == Account { Scope::Sender } else { Scope::Message }
}

/// Classifies a negative reply: what it is about, and how long to wait at least.
///
/// A code that no row knows is the fault of the message, never of the recipient: a wrong guess
/// there would suppress a good address.
pub fn classify(
    stage: Stage,
    code: u16,
    enhanced: Option<EnhancedCode>,
    text: &str,
) -> (RefusalClass, Option<TimeDelta>) {
    let text = text.to_ascii_lowercase();
    TABLE
        .iter()
        .find(|row| row.fits(stage, code, enhanced, &text))
        .map_or((Content, None), |row| (row.class, row.wait))
}

/// Refusals of this kind on different days make a hard bounce.
const NEXT_DAY: Option<TimeDelta> = Some(TimeDelta::days(1));
/// Greylisting lets the second attempt pass after some minutes; rate limits need a pause, too.
const SLOW_DOWN: Option<TimeDelta> = Some(TimeDelta::minutes(15));
/// A full mailbox is emptied by a person.
const FULL: Option<TimeDelta> = Some(TimeDelta::hours(6));

struct Row {
    stages: &'static [Stage],
    /// Basic codes, inclusive.
    codes: (u16, u16),
    enhanced: Enhanced,
    /// A word the lower-case text must hold; empty: any text.
    says: &'static str,
    class: RefusalClass,
    wait: Option<TimeDelta>,
}

/// Which enhanced codes a row takes. The class digit is not asked: servers contradict themselves,
/// and the basic code is what the protocol runs on.
enum Enhanced {
    Any,
    /// None, or one that says nothing (`x.0.0`).
    Absent,
    Subject(u16),
    Exact(u16, u16),
}

impl Row {
    fn fits(&self, stage: Stage, code: u16, enhanced: Option<EnhancedCode>, text: &str) -> bool {
        let pair = enhanced.map(|it| (it.subject(), it.detail()));
        self.stages.contains(&stage)
            && (self.codes.0..=self.codes.1).contains(&code)
            && text.contains(self.says)
            && match self.enhanced {
                Enhanced::Any => true,
                Enhanced::Absent => matches!(pair, None | Some((0, _))),
                Enhanced::Subject(subject) => pair.is_some_and(|(it, _)| it == subject),
                Enhanced::Exact(subject, detail) => pair == Some((subject, detail)),
            }
    }
}

const fn row(
    stages: &'static [Stage],
    codes: (u16, u16),
    enhanced: Enhanced,
    class: RefusalClass,
    wait: Option<TimeDelta>,
) -> Row {
    Row { stages, codes, enhanced, says: "", class, wait }
}

const ANY: &[Stage] = &[
    Stage::Connect,
    Stage::Tls,
    Stage::Login,
    Stage::Sender,
    Stage::Recipient,
    Stage::Data,
    Stage::Message,
];
const BEFORE_SENDER: &[Stage] = &[Stage::Connect, Stage::Tls, Stage::Login];
const SENDER: &[Stage] = &[Stage::Sender];
const RECIPIENT: &[Stage] = &[Stage::Recipient];
const FROM_RECIPIENT: &[Stage] = &[Stage::Recipient, Stage::Data, Stage::Message];
const PASSING: (u16, u16) = (400, 499);
const LASTING: (u16, u16) = (500, 599);

static TABLE: &[Row] = &[
    // Passing.
    row(ANY, PASSING, Enhanced::Subject(7), Retry, SLOW_DOWN),
    row(ANY, PASSING, Enhanced::Exact(2, 2), Retry, FULL),
    row(ANY, (421, 421), Enhanced::Any, Retry, SLOW_DOWN),
    row(ANY, PASSING, Enhanced::Any, Retry, None),
    // Our account, whoever the recipient is.
    row(BEFORE_SENDER, LASTING, Enhanced::Any, Account, None),
    row(ANY, (530, 530), Enhanced::Any, Account, None),
    row(ANY, (534, 535), Enhanced::Any, Account, None),
    row(ANY, (538, 538), Enhanced::Any, Account, None),
    row(ANY, LASTING, Enhanced::Exact(7, 8), Account, None),
    row(ANY, LASTING, Enhanced::Exact(7, 9), Account, None),
    row(ANY, LASTING, Enhanced::Exact(7, 11), Account, None),
    row(ANY, LASTING, Enhanced::Exact(7, 30), Account, None),
    Row { says: "relay", ..row(ANY, LASTING, Enhanced::Exact(7, 1), Account, None) },
    Row { says: "relay", ..row(ANY, LASTING, Enhanced::Absent, Account, None) },
    row(ANY, LASTING, Enhanced::Exact(1, 7), Account, None),
    row(ANY, LASTING, Enhanced::Exact(1, 8), Account, None),
    // Too large, wherever it is noticed.
    row(ANY, LASTING, Enhanced::Exact(2, 3), Content, None),
    row(ANY, LASTING, Enhanced::Exact(3, 4), Content, None),
    row(SENDER, LASTING, Enhanced::Any, Account, None),
    // The address.
    row(FROM_RECIPIENT, LASTING, Enhanced::Subject(1), Recipient, None),
    row(FROM_RECIPIENT, LASTING, Enhanced::Exact(2, 1), Recipient, None),
    // Lasting in the server's eyes, but it may be otherwise on another day.
    row(FROM_RECIPIENT, LASTING, Enhanced::Subject(2), Retry, NEXT_DAY),
    row(FROM_RECIPIENT, LASTING, Enhanced::Subject(3), Retry, NEXT_DAY),
    row(FROM_RECIPIENT, LASTING, Enhanced::Subject(4), Retry, NEXT_DAY),
    // The message, or what they think of us.
    row(FROM_RECIPIENT, LASTING, Enhanced::Subject(5), Content, None),
    row(FROM_RECIPIENT, LASTING, Enhanced::Subject(6), Content, None),
    row(FROM_RECIPIENT, LASTING, Enhanced::Subject(7), Content, None),
    // Servers without enhanced codes.
    row(RECIPIENT, (550, 551), Enhanced::Absent, Recipient, None),
    row(RECIPIENT, (553, 553), Enhanced::Absent, Recipient, None),
    row(RECIPIENT, (556, 556), Enhanced::Absent, Recipient, None),
    row(RECIPIENT, (552, 552), Enhanced::Absent, Retry, NEXT_DAY),
    row(RECIPIENT, (521, 521), Enhanced::Absent, Retry, NEXT_DAY),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_the_table_says() {
        for (stage, code, text, class, wait) in [
            (Stage::Recipient, 550, "5.1.1 <a@b.c>: no such user", Recipient, None),
            (Stage::Recipient, 550, "5.1.2 bad host", Recipient, None),
            (Stage::Recipient, 501, "5.1.3 bad syntax", Recipient, None),
            (Stage::Recipient, 551, "5.1.6 moved", Recipient, None),
            (Stage::Recipient, 556, "5.1.10 null MX", Recipient, None),
            (Stage::Recipient, 550, "5.2.1 mailbox disabled", Recipient, None),
            (Stage::Recipient, 550, "mailbox unavailable", Recipient, None),
            (Stage::Recipient, 550, "5.0.0 no", Recipient, None),
            (Stage::Recipient, 552, "5.2.2 over quota", Retry, NEXT_DAY),
            (Stage::Recipient, 552, "over quota", Retry, NEXT_DAY),
            (Stage::Recipient, 550, "5.3.2 system not accepting", Retry, NEXT_DAY),
            (Stage::Recipient, 550, "5.4.1 access denied", Retry, NEXT_DAY),
            (Stage::Recipient, 450, "4.7.1 greylisted", Retry, SLOW_DOWN),
            (Stage::Recipient, 452, "4.2.2 mailbox full", Retry, FULL),
            (Stage::Recipient, 451, "try later", Retry, None),
            (Stage::Recipient, 421, "shutting down", Retry, SLOW_DOWN),
            (Stage::Connect, 421, "4.7.0 too many connections", Retry, SLOW_DOWN),
            (Stage::Connect, 554, "no service for you", Account, None),
            (Stage::Login, 535, "5.7.8 bad credentials", Account, None),
            (Stage::Login, 454, "4.7.0 temporary failure", Retry, SLOW_DOWN),
            (Stage::Sender, 530, "5.7.0 authenticate first", Account, None),
            (Stage::Sender, 553, "5.7.1 not your address", Account, None),
            (Stage::Sender, 550, "5.1.1 strange", Account, None),
            (Stage::Sender, 552, "5.3.4 message too big", Content, None),
            (Stage::Recipient, 530, "5.5.1 authentication required", Account, None),
            (Stage::Recipient, 554, "5.7.1 <a@b.c>: Relay access denied", Account, None),
            (Stage::Recipient, 550, "relay not permitted", Account, None),
            (Stage::Recipient, 550, "5.7.30 require TLS", Account, None),
            (Stage::Recipient, 550, "5.1.8 sender domain unknown", Account, None),
            (Stage::Recipient, 554, "5.7.1 blocked", Content, None),
            (Stage::Recipient, 554, "blocked", Content, None),
            (Stage::Message, 554, "5.7.1 spam", Content, None),
            (Stage::Message, 550, "spam", Content, None),
            (Stage::Message, 550, "5.7.26 unauthenticated sender", Content, None),
            (Stage::Message, 554, "5.6.0 malformed", Content, None),
            (Stage::Message, 552, "5.3.4 too big", Content, None),
            (Stage::Message, 552, "too big", Content, None),
            (Stage::Message, 451, "4.3.0 queue full", Retry, None),
            (Stage::Data, 503, "5.5.1 no valid recipients", Content, None),
            (Stage::Recipient, 599, "5.9.9 news", Content, None),
        ] {
            let refusal = read(stage, code, text);
            assert_eq!(
                (refusal.class, refusal.retry_after),
                (class, wait),
                "{stage:?} {code} {text}"
            );
        }
    }

    #[test]
    fn nothing_before_the_recipient_blames_the_recipient() {
        for stage in [Stage::Connect, Stage::Tls, Stage::Login, Stage::Sender] {
            for code in 400..600 {
                for text in ["", "5.1.1 x", "5.2.1 x", "5.2.2 x", "5.7.1 x", "4.2.2 x"] {
                    assert_ne!(read(stage, code, text).class, Recipient, "{stage:?} {code} {text}");
                }
            }
        }
    }

    #[test]
    fn passing_codes_are_tried_again_at_every_stage() {
        for stage in ANY {
            for code in 400..500 {
                assert_eq!(read(*stage, code, "5.1.1 contradicts itself").class, Retry);
            }
        }
    }
}
