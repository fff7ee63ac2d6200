//! Traces by OTLP over HTTP, in batches, from a thread of its own. A collector that is away costs traces and
//! nothing else: what does not fit into the queue is dropped.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use activities::http;
use anyhow::Context as _;
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

use crate::config::{LogFormat, Traces};

/// Our own crates: what others trace is of no use to an operator, and may name anything.
const TRACED: [&str; 3] = ["activities", "postgres_runner", "server"];

/// How long the collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Traces on their way.
pub(super) struct Exporting(SdkTracerProvider);

impl Exporting {
    /// Sends what is left.
    pub(super) async fn end(self) {
        // It waits for its thread.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown()).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Begins to log and to send spans.
pub(super) fn begin(filter: &str, format: LogFormat, traces: &Traces) -> anyhow::Result<Exporting> {
    let mut url = traces.endpoint.clone();
    url.set_path(&format!("{}/v1/traces", url.path().trim_end_matches('/')));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client { http: http::client(), runtime: Handle::current() })
        .with_endpoint(url)
        .with_timeout(PATIENCE)
        .build()
        .context("traces cannot be sent")?;
    let resource = Resource::builder_empty()
        .with_service_name("meridian")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(traces.share))))
        .with_resource(resource)
        .build();
    // Asked each time, not once for each place in the code: between the two filters there is a memory of
    // the last answer, which whoever merely asks whether a level is logged leaves behind.
    let ours = dynamic_filter_fn(|metadata, _| is_ours(metadata.target()));
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("meridian"))
        .with_location(false)
        .with_threads(false)
        .with_filter(ours.with_max_level_hint(LevelFilter::DEBUG));
    // Another subscriber may be in place, in a test: it stays.
    let _already =
        tracing_subscriber::registry().with(lines(filter, format)).with(layer).try_init();
    Ok(Exporting(provider))
}

/// Logs as a layer beside the one of the traces.
fn lines<S>(filter: &str, format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let filter = super::env_filter(filter);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
        LogFormat::Text => layer.with_target(false).compact().with_filter(filter).boxed(),
    }
}

fn is_ours(target: &str) -> bool {
    TRACED.contains(&target.split("::").next().unwrap_or_default())
}

/// The shared client. It asks from its own runtime, because the thread that waits for it has none.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let asked = self.runtime.spawn(async move {
            let (parts, body) = request.into_parts();
            let asked = http.request(parts.method, parts.uri.to_string());
            let answer = asked.headers(parts.headers).body(body).send().await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            Ok::<_, HttpError>(response.body(answer.bytes().await?)?)
        });
        asked.await?
    }
}
