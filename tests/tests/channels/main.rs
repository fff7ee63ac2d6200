//! Texts and mails over HTTP, through the real engine, the real webhooks and providers that fail: what
//! was sent is told by the provider.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod faults;
mod mails;
mod outages;
mod shop;
mod signatures;
mod texts;
mod whole;
mod words;
