//! Logs: JSON with ids for machines, lines for people. Neither ever names an address or a body.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::LogFormat;

/// Begins to log to standard error. A second call in one process changes nothing.
pub fn init(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = fmt::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Another subscriber may be in place, in a test: it stays.
    let _already = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Text => subscriber.with_target(false).compact().try_init(),
    };
}
