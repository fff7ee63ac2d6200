//! The HTTP API: what programs send, what they are answered, what is stored.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod agents;
mod attacks;
mod audit;
mod campaigns;
mod connections;
mod conversations;
mod desk;
mod document;
mod enrollments;
mod erasing;
mod files;
mod idempotency;
mod keys;
mod leads;
mod lists;
mod moves;
mod programs;
mod running;
mod searching;
mod sequences;
mod stream;
mod suppressions;
