//! What comes in from outside: events, mails, opt-outs and files, on a real database.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dossiers;
mod import;
mod ingest;
mod interpret;
mod locking;
mod town;
mod webhooks;
