//! The one binary `meridian`: command line, HTTP API, webhooks and pages.

pub mod api;
pub mod campaign_file;
pub mod cli;
pub mod config;
pub mod demo;
pub mod metrics;
pub mod private_postgres;
pub mod process;
pub mod serve;
pub mod session;
pub mod tables;
pub mod telemetry;
pub mod terminal;
pub mod timeline;
pub mod times;
pub mod webhooks;

/// Installs the one TLS provider of the process. Called before any client is built.
pub fn init_tls() {
    // An error only means that somebody already installed one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
