//! Logs: JSON with ids for machines, lines for people. Neither ever names an address or a body. Traces,
//! with the feature `otlp`: spans from the request that brought something to the turn that it led to and
//! the messages that were asked for.

#[cfg(feature = "otlp")]
mod otlp;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, Traces};

/// What other crates say that is of no use to an operator: Postgres notices that something is there
/// already; a pool found a connection closed, which it then replaces; a call to Temporal is tried
/// again, several times a second while it is away, which the engine says once; how Temporal's SDK goes about
/// its work. Whoever names one of them in the filter hears it.
const QUIETER: &str = "sqlx::postgres::notice=warn,sqlx_core::pool=warn,\
                       temporalio_client::retry=off,temporalio_sdk_core=warn";

/// Traces on their way to a collector.
#[derive(Default)]
#[must_use = "the last traces are sent when it ends"]
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    exporting: Option<otlp::Exporting>,
}

impl Telemetry {
    /// Sends what is left. Called last of all.
    pub async fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(exporting) = self.exporting {
            exporting.end().await;
        }
    }
}

/// Begins to log to standard error. A second call in one process changes nothing.
pub fn init(filter: &str, format: LogFormat) {
    let subscriber = fmt::fmt()
        .with_env_filter(env_filter(filter))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // Another subscriber may be in place, in a test: it stays.
    let _already = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Text => subscriber.with_target(false).compact().try_init(),
    };
}

fn env_filter(filter: &str) -> EnvFilter {
    EnvFilter::try_new(format!("{QUIETER},{filter}")).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Begins to log, as [`init`] does, and to send traces, where somebody said where to.
///
/// # Errors
///
/// When traces cannot be sent there.
pub fn begin(
    filter: &str,
    format: LogFormat,
    traces: Option<&Traces>,
) -> anyhow::Result<Telemetry> {
    #[cfg(feature = "otlp")]
    if let Some(traces) = traces {
        let exporting = Some(otlp::begin(filter, format, traces)?);
        return Ok(Telemetry { exporting });
    }
    // A build without traces refuses the setting.
    let _ = traces;
    init(filter, format);
    Ok(Telemetry::default())
}
