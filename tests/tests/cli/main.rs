//! The command line on a real Postgres: what a person types, what is printed, what is stored.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]
#![expect(clippy::print_stderr, reason = "a time worth seeing is told, not asserted")]

mod agents;
mod audit;
mod campaigns;
mod desk;
mod enrolling;
mod examples;
mod keys;
mod leads;
mod mails;
mod rehearsing;
mod senders;
mod serving;
