//! Providers as our program sees them: over real HTTP, signing what they post, and failing as their
//! tables say. What they accepted is told by them, never by our own tables.

pub mod mailgun;
pub mod twilio;

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing, but it takes this long.
    Slow(Duration),
    /// Too many requests: it is not looked at, and may come again after so many seconds.
    TooMany(u32),
    /// It is refused with this status, and where the provider has codes with this one.
    Refused(u16, u32),
    /// It is taken, and the answer is an error.
    ErrorAfterAccepting,
    /// It is not taken, and the answer is an error all the same.
    Error,
    /// It is taken, and the connection breaks in the middle of the answer.
    ResetAfterAccepting,
    /// It is taken, and the answer is no answer.
    NonsenseAfterAccepting,
}

/// How a provider reports about a message that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reports {
    /// It does not.
    None,
    /// Each of these once, in this order.
    Of(Vec<Report>),
    /// Each of these twice, in this order.
    Twice(Vec<Report>),
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The provider's word.
    pub word: String,
    /// Its code for why, if the word is a bad one.
    pub code: Option<u32>,
}

impl Report {
    /// A report that needs no reason.
    pub fn of(word: &str) -> Self {
        Self { word: word.to_owned(), code: None }
    }

    /// A report with its reason.
    pub fn because(word: &str, code: u32) -> Self {
        Self { word: word.to_owned(), code: Some(code) }
    }
}

impl Reports {
    /// Each of these once, in this order.
    pub fn words(words: &[&str]) -> Self {
        Self::Of(words.iter().map(|word| Report::of(word)).collect())
    }

    fn sequence(&self) -> Vec<Report> {
        match self {
            Self::None => Vec::new(),
            Self::Of(reports) => reports.clone(),
            Self::Twice(reports) => {
                reports.iter().flat_map(|report| [report.clone(), report.clone()]).collect()
            }
        }
    }
}

/// What is to go wrong, by recipient: the first request to one meets the first fault of its list.
#[derive(Debug, Default)]
struct Faults {
    by_recipient: Mutex<HashMap<String, VecDeque<Fault>>>,
}

impl Faults {
    fn add(&self, recipient: &str, fault: Fault) {
        let mut faults = self.by_recipient.lock().expect("no holder panics");
        faults.entry(recipient.to_owned()).or_default().push_back(fault);
    }

    /// The next fault of `recipient`, or of everybody, whose name is empty.
    fn next(&self, recipient: &str) -> Option<Fault> {
        let mut faults = self.by_recipient.lock().expect("no holder panics");
        for name in [recipient, ""] {
            if let Some(fault) = faults.get_mut(name).and_then(VecDeque::pop_front) {
                return Some(fault);
            }
        }
        None
    }
}

/// An answer whose connection breaks after its head.
fn broken(status: StatusCode) -> Response {
    let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let body = futures::stream::iter([Ok(Bytes::from_static(b"{\"si")), Err(gone)]);
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    response
}
