//! Texts and mails over HTTP, through the real engine, the real webhooks and providers that fail: what
//! was sent is told by the provider.

mod faults;
mod mails;
mod outages;
mod shop;
mod signatures;
mod texts;
mod words;
