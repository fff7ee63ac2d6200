//! Logs: JSON with ids for machines, lines for people. Neither ever names an address or a body.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::LogFormat;

/// What other crates say that is of no use to an operator: Postgres notices that something is there
/// already, and that a pool found a connection closed, which it then replaces.
const QUIETER: &str = "sqlx::postgres::notice=warn,sqlx_core::pool=warn";

/// Begins to log to standard error. A second call in one process changes nothing.
pub fn init(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(format!("{QUIETER},{filter}"))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = io::stderr().is_terminal();
    let subscriber =
        fmt::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(is_terminal);
    // Another subscriber may be in place, in a test: it stays.
    let _already = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Text => subscriber.with_target(false).compact().try_init(),
    };
}
