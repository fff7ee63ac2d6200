//! The HTTP API: what programs send, what they are answered, what is stored.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod audit;
mod desk;
mod document;
mod idempotency;
mod keys;
mod programs;
mod suppressions;
