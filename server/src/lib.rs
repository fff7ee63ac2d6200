//! The one binary `meridian`: command line, HTTP API, webhooks and pages.

pub mod campaign_file;
pub mod cli;
pub mod config;
pub mod private_postgres;
pub mod session;
pub mod tables;
pub mod telemetry;
pub mod terminal;
pub mod times;
