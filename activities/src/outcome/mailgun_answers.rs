//! What Mailgun's answers to a request mean for us: the HTTP status, and where it is not enough a word
//! of the text, as a table read from the top.

use chrono::TimeDelta;

use super::{Detail, Refusal, RefusalClass, Scope};
use RefusalClass::{Account, Content, Recipient, Retry};

/// Reads a refusal. `text` is the message of its body.
pub fn read(status: u16, text: &str, retry_after: Option<TimeDelta>) -> Refusal {
    let lower = text.to_ascii_lowercase();
    let row = TABLE.iter().find(|row| row.fits(status, &lower));
    let (class, scope) = row.map_or((Content, Scope::Message), |row| (row.class, row.scope));
    let retry_after = retry_after.or_else(|| seconds_in(&lower)).filter(|_| class == Retry);
    let detail = Detail::new(format!("HTTP {status}: {text}"));
    Refusal { class, scope, retry_after, code: Some(status), enhanced: None, detail }
}

struct Row {
    /// Inclusive.
    statuses: (u16, u16),
    /// A text that the lower-case message must hold; empty: any.
    says: &'static str,
    class: RefusalClass,
    scope: Scope,
}

impl Row {
    fn fits(&self, status: u16, text: &str) -> bool {
        (self.statuses.0..=self.statuses.1).contains(&status) && text.contains(self.says)
    }
}

const fn row(status: u16, says: &'static str, class: RefusalClass, scope: Scope) -> Row {
    Row { statuses: (status, status), says, class, scope }
}

static TABLE: &[Row] = &[
    row(429, "", Retry, Scope::Sender),
    row(400, "try again after", Retry, Scope::Sender),
    row(400, "'to' parameter is not a valid address", Recipient, Scope::Message),
    row(400, "to parameter is not a valid address", Recipient, Scope::Message),
    row(400, "is not allowed to send", Account, Scope::Sender),
    row(400, "from parameter is not a valid address", Account, Scope::Sender),
    row(400, "'from' parameter is not a valid address", Account, Scope::Sender),
    // A sandbox domain, or one that is disabled, says so with 403.
    row(401, "", Account, Scope::Sender),
    row(402, "", Account, Scope::Sender),
    row(403, "", Account, Scope::Sender),
    row(404, "", Account, Scope::Sender),
    row(413, "", Content, Scope::Message),
    // A redirect leads to an address that was set up wrongly.
    Row { statuses: (300, 399), says: "", class: Account, scope: Scope::Sender },
];

/// `…limit exceeded, try again after 12 seconds`.
fn seconds_in(text: &str) -> Option<TimeDelta> {
    let (_, after) = text.split_once("try again after ")?;
    let seconds: i64 = after.split_whitespace().next()?.parse().ok()?;
    (0..=86_400).contains(&seconds).then(|| TimeDelta::seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_the_table_says() {
        for (status, text, class, scope) in [
            (400, "to parameter is not a valid address", Recipient, Scope::Message),
            (400, "'to' parameter is not a valid address. please check", Recipient, Scope::Message),
            (400, "Need at least one of 'text' or 'html' parameters", Content, Scope::Message),
            (400, "Domain example.com is not allowed to send: disabled", Account, Scope::Sender),
            (400, "The domain is not allowed to send", Account, Scope::Sender),
            (401, "Forbidden", Account, Scope::Sender),
            (402, "", Account, Scope::Sender),
            (403, "Activate your account", Account, Scope::Sender),
            (404, "Domain not found: x", Account, Scope::Sender),
            (413, "too large", Content, Scope::Message),
            (422, "", Content, Scope::Message),
            (429, "", Retry, Scope::Sender),
            (302, "", Account, Scope::Sender),
        ] {
            let refusal = read(status, text, None);
            assert_eq!((refusal.class, refusal.scope), (class, scope), "{status} {text}");
        }
    }

    #[test]
    fn a_limit_says_when_it_ends() {
        let text = "Domain limit exceeded, try again after 12 seconds";
        assert_eq!(read(429, text, None).retry_after, Some(TimeDelta::seconds(12)));
        assert_eq!(read(400, text, None).class, Retry);
        let header = Some(TimeDelta::seconds(3));
        assert_eq!(read(429, text, header).retry_after, header);
        assert_eq!(read(429, "try again after dinner", None).retry_after, None);
    }
}
