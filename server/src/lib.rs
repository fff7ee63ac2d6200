//! The one binary `meridian`: command line, HTTP API, webhooks and pages.

pub mod api;
pub mod campaign_file;
mod child;
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
pub mod temporal_server;
pub mod terminal;
pub mod timeline;
pub mod times;
pub mod webhooks;
pub mod workflow_pages;

/// Installs the one TLS provider of the process. Called before any client is built.
pub fn init_tls() {
    // An error only means that somebody already installed one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Keeps this process and its children from leaving their memory, with keys and addresses in it, in a file
/// when they crash. Called before any secret is read.
pub fn forbid_core_dumps() -> std::io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[expect(unsafe_code, reason = "std has no call for it; the limit is a plain value of ours")]
    let done = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
