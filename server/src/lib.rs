//! The one binary `meridian`: command line, HTTP API, webhooks and pages.

pub mod private_postgres;
pub mod webhooks;
