//! What comes in from outside: events, mails, opt-outs and files, on a real database.

mod import;
mod ingest;
mod interpret;
mod locking;
mod town;
mod webhooks;
