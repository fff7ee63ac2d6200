//! What Twilio's codes mean for us, as tables: what it says to a request, and what it reports later
//! about a message it took. Its codes change and new ones appear: one that no row knows is read by
//! the HTTP status, and never blames the recipient.

use chrono::TimeDelta;

use super::{Detail, Refusal, RefusalClass, Scope};
use RefusalClass::{Account, Content, OptedOut, Recipient, Retry};

/// Reads a refusal. `code` is Twilio's own; `text` is what it said.
pub fn read(status: u16, code: Option<u32>, text: &str, retry_after: Option<TimeDelta>) -> Refusal {
    let known = REFUSALS.iter().find(|row| Some(row.code) == code);
    let (class, scope) = known.map_or_else(|| by_status(status), |row| (row.class, row.scope));
    let detail = match code {
        Some(code) => Detail::new(format!("{code}: {text}")),
        None => Detail::new(format!("HTTP {status}: {text}")),
    };
    let retry_after = retry_after.filter(|_| class == Retry);
    Refusal { class, scope, retry_after, code: Some(status), enhanced: None, detail }
}

/// Reads the code with which Twilio reports that a message it took did not arrive.
pub fn undelivered(code: Option<u32>) -> Undelivered {
    let known = code.and_then(|code| REPORTS.iter().find(|(known, _)| *known == code));
    known.map_or(Undelivered::Unclear, |(_, meaning)| *meaning)
}

/// Why a message that was taken did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// The telephone is off, full or out of reach: another day may be better.
    ForNow,
    /// No telephone has the number, or none that can be texted.
    ForGood,
    /// Its owner wants no more.
    OptedOut,
    /// A carrier took it for unwanted: the text or our reputation, not the number.
    Filtered,
    /// Our account or number may not send.
    Account,
    /// A code that no row knows.
    Unclear,
}

struct Row {
    code: u32,
    class: RefusalClass,
    scope: Scope,
}

const fn row(code: u32, class: RefusalClass, scope: Scope) -> Row {
    Row { code, class, scope }
}

static REFUSALS: &[Row] = &[
    // Passing.
    row(20429, Retry, Scope::Sender), // too many requests: never processed
    row(14107, Retry, Scope::Sender), // the rate of the number
    row(21611, Retry, Scope::Sender), // the number's queue is full
    row(20500, Retry, Scope::Sender), // with a 4xx only; a 5xx leaves the outcome open
    // Our account, number or settings.
    row(20003, Account, Scope::Sender), // the login
    row(20005, Account, Scope::Sender), // the account is not active
    row(20403, Account, Scope::Sender),
    row(20404, Account, Scope::Sender), // no such account
    row(21212, Account, Scope::Sender), // `From` is no number
    row(21603, Account, Scope::Sender), // no `From`
    row(21606, Account, Scope::Sender), // `From` is not ours, or cannot text
    row(21609, Account, Scope::Sender), // the address for reports is not a public one
    row(21659, Account, Scope::Sender), // `From` is not of this account
    row(21660, Account, Scope::Sender),
    row(21701, Account, Scope::Sender), // no such messaging service
    row(21703, Account, Scope::Sender), // it has no number
    row(21704, Account, Scope::Sender),
    row(21705, Account, Scope::Sender),
    row(30002, Account, Scope::Sender), // the account is suspended
    row(30032, Account, Scope::Sender), // the toll-free number is not verified
    row(30034, Account, Scope::Sender), // the long code is not registered
    row(63038, Account, Scope::Sender), // the account's messages of the day are used up
    row(21408, Account, Scope::Message), // the recipient's country is not enabled
    row(21608, Account, Scope::Message), // a trial account texts verified numbers only
    // The number.
    row(21211, Recipient, Scope::Message), // no number
    row(21214, Recipient, Scope::Message),
    row(21217, Recipient, Scope::Message),
    row(21265, Recipient, Scope::Message), // a short code
    row(21612, Recipient, Scope::Message), // not reachable from our number
    row(21614, Recipient, Scope::Message), // no mobile telephone
    row(21635, Recipient, Scope::Message), // a landline
    row(21610, OptedOut, Scope::Message),
    // The text.
    row(21602, Content, Scope::Message), // empty
    row(21605, Content, Scope::Message), // too long
    row(21617, Content, Scope::Message), // too long in parts
    row(21619, Content, Scope::Message),
    row(21670, Content, Scope::Message),
    row(30007, Content, Scope::Message), // filtered
    row(30450, Content, Scope::Message), // taken for pumping
];

static REPORTS: &[(u32, Undelivered)] = &[
    (30001, Undelivered::ForNow),  // the queue overflowed
    (30003, Undelivered::ForNow),  // out of reach
    (30008, Undelivered::ForNow),  // no reason given
    (30009, Undelivered::ForNow),  // a part was lost
    (30017, Undelivered::ForNow),  // the carrier's network is congested
    (30022, Undelivered::ForNow),  // the carrier's limit
    (30036, Undelivered::ForNow),  // the validity period passed
    (30410, Undelivered::ForNow),  // the provider did not answer in time
    (30004, Undelivered::ForGood), // blocked by the network or the telephone
    (30005, Undelivered::ForGood), // no such telephone
    (30006, Undelivered::ForGood), // a landline, or a carrier that takes no texts
    (21211, Undelivered::ForGood),
    (21614, Undelivered::ForGood),
    (21610, Undelivered::OptedOut),
    (30007, Undelivered::Filtered),
    (30450, Undelivered::Filtered),
    (30002, Undelivered::Account),
    (30023, Undelivered::Account), // the brand's messages of the day are used up
    (30032, Undelivered::Account),
    (30034, Undelivered::Account),
    (30035, Undelivered::Account),
];

fn by_status(status: u16) -> (RefusalClass, Scope) {
    match status {
        429 => (Retry, Scope::Sender),
        // A redirect leads to an address that was set up wrongly.
        300..=399 | 401 | 402 | 403 | 404 => (Account, Scope::Sender),
        _ => (Content, Scope::Message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_as_the_table_says() {
        for (status, code, class, scope) in [
            (429, Some(20429), Retry, Scope::Sender),
            (429, None, Retry, Scope::Sender),
            (401, Some(20003), Account, Scope::Sender),
            (403, None, Account, Scope::Sender),
            (404, Some(20404), Account, Scope::Sender),
            (400, Some(21606), Account, Scope::Sender),
            (400, Some(21408), Account, Scope::Message),
            (400, Some(30034), Account, Scope::Sender),
            (400, Some(21211), Recipient, Scope::Message),
            (400, Some(21614), Recipient, Scope::Message),
            (400, Some(21610), OptedOut, Scope::Message),
            (400, Some(21602), Content, Scope::Message),
            (400, Some(21617), Content, Scope::Message),
            (400, Some(99999), Content, Scope::Message),
            (422, None, Content, Scope::Message),
            (302, None, Account, Scope::Sender),
        ] {
            let refusal = read(status, code, "x", None);
            assert_eq!((refusal.class, refusal.scope), (class, scope), "{status} {code:?}");
        }
        let wait = Some(TimeDelta::seconds(3));
        assert_eq!(read(429, None, "", wait).retry_after, wait);
        assert_eq!(read(400, Some(21211), "", wait).retry_after, None);
    }

    #[test]
    fn no_unknown_code_blames_the_recipient() {
        for status in 300..500 {
            let class = read(status, None, "", None).class;
            assert!(matches!(class, Retry | Account | Content), "{status}");
        }
        for code in [None, Some(1), Some(30_999), Some(u32::MAX)] {
            assert_eq!(undelivered(code), Undelivered::Unclear);
        }
        assert_eq!(undelivered(Some(30003)), Undelivered::ForNow);
        assert_eq!(undelivered(Some(30006)), Undelivered::ForGood);
        assert_eq!(undelivered(Some(30007)), Undelivered::Filtered);
    }

    #[test]
    fn every_code_stands_once() {
        for (index, row) in REFUSALS.iter().enumerate() {
            assert!(REFUSALS[..index].iter().all(|other| other.code != row.code), "{}", row.code);
        }
        for (index, (code, _)) in REPORTS.iter().enumerate() {
            assert!(REPORTS[..index].iter().all(|(other, _)| other != code), "{code}");
        }
    }
}
