//! The HTTP API: what programs send, what they are answered, what is stored.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod audit;
mod desk;
mod document;
mod erasing;
mod files;
mod idempotency;
mod keys;
mod leads;
mod programs;
mod suppressions;
