//! Leads that a real Temporal server drives, seen from outside: what they receive, what the mail server
//! accepted, and what is left in the rows and in Temporal's histories.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod faults;
mod long;
mod many;
mod moves;
mod own_server;
mod readable;
mod settings;
mod stage;
mod whole;
