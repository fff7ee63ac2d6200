//! Other people's programs against the real one: the example that is shipped, `curl` as the demonstration
//! prints it, a tester that knows nothing but the served OpenAPI document, and the dashboard for Prometheus.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod contract;
mod demonstration;
mod example;
mod own_temporal;
mod secrets;
mod temporal_outage;
#[cfg(feature = "otlp")]
mod traces;
mod watching;
