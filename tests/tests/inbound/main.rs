//! What comes in from outside: events, mails, opt-outs and files, on a real database.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod dossiers;
mod import;
mod ingest;
mod interpret;
mod locking;
mod offers;
mod town;
mod webhooks;
