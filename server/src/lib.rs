//! The one binary `meridian`: command line, HTTP API, webhooks and pages.

pub mod private_postgres;

/// Installs the one TLS provider of the process. Called before any client is built.
pub fn init_tls() {
    // An error only means that somebody already installed one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
