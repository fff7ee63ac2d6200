//! The HTTP side of the process: health, metrics, webhooks, the API and the way out of every mail. Requests
//! are bounded in size, time and number; what is logged of one is its method, its route and its
//! answer, because paths carry secrets.

pub mod connections;
pub mod guesses;
pub mod proxies;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use activities::error::ActivityError;
use activities::ids;
use activities::mailroom::Mailroom;
use activities::store::{Store, clock};
use anyhow::Context as _;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use connections::Limits;
use guesses::Guesses;
use proxies::Proxies;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tracing::Span;

use crate::api;
use crate::metrics::Metrics;
use crate::webhooks;
use crate::workflow_pages::WorkflowPages;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long the database may take to answer a probe.
const PROBE: Duration = Duration::from_secs(2);

/// How many requests are worked on at once.
const REQUESTS_MAX: usize = 512;

/// How long open connections get to finish when the process ends.
const GRACE: Duration = Duration::from_secs(10);

/// Names a request in logs and answers.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name a caller may give its request, in characters.
const REQUEST_ID_MAX: usize = 64;

/// Names a request.
enum RequestKind {}

/// Headers of every answer: nothing of ours is framed, sniffed, cached or told to the next site.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'",
    ),
];

/// What the probes look at.
#[derive(Clone)]
struct Probes {
    store: Store,
    metrics: Metrics,
    ready: watch::Receiver<bool>,
}

/// A server that answers until it is told to stop.
pub struct Server {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Told when the server stops: an answer without an end of its own ends then.
#[derive(Debug, Clone, Default)]
pub struct Stopping(pub CancellationToken);

/// What is answered at an address, beside health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// The API, webhooks and links, believing these proxies about whom they pass requests on for.
    pub open: Option<Proxies>,
    /// Whether there are metrics.
    pub metrics: bool,
    /// Where Temporal's pages are, for links.
    pub workflows: Option<WorkflowPages>,
}

/// Returns the routes with their limits and headers.
pub fn router(
    room: &Mailroom,
    metrics: Metrics,
    ready: watch::Receiver<bool>,
    routes: Routes,
) -> Router {
    let probes = Probes { store: room.store.clone(), metrics, ready };
    let mut router = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
    if routes.metrics {
        router = router.route("/metrics", get(show_metrics));
    }
    let mut router = router
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIMEOUT))
        .with_state(probes);
    if let Some(proxies) = routes.open {
        let (links, keys) = (Guesses::of_links(proxies.clone()), Guesses::of_keys(proxies));
        router = router
            .merge(webhooks::router(room.clone(), links))
            .merge(api::router(api::App::new(room.clone(), keys, routes.workflows)));
    }
    let mut router = router
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS_MAX));
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        router = router.layer(SetResponseHeaderLayer::if_not_present(name, value));
    }
    let trace = TraceLayer::new_for_http()
        .make_span_with(span)
        .on_request(())
        .on_response(|response: &Response, latency: Duration, _: &Span| {
            let status = response.status().as_u16();
            let ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
            tracing::debug!(http.status = status, http.ms = ms, "answered");
        })
        // Who refuses has said why, and a probe that finds us not ready is no failure at all.
        .on_failure(());
    router
        .layer(CatchPanicLayer::new())
        .layer(from_fn(measure))
        .layer(trace)
        .layer(from_fn(identify))
}

/// Takes an address to answer on.
///
/// # Errors
///
/// When it is taken, or not ours.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: end whoever does, or choose another with --listen")
    })
}

impl Server {
    /// Begins to answer.
    pub fn start(listener: TcpListener, router: Router, limits: Limits) -> Self {
        let stop = CancellationToken::new();
        let told = stop.clone();
        let router = router.layer(Extension(Stopping(stop.clone())));
        let task = tokio::spawn(connections::serve(listener, router, limits, told));
        Self { stop, task }
    }

    /// Accepts nobody any more, and gives those who are there a moment to finish.
    pub async fn stop(self) {
        self.stop.cancel();
        match tokio::time::timeout(GRACE, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the HTTP server panicked"),
            Err(_) => tracing::warn!("some connections were cut off"),
        }
    }
}

/// The span of a request: its route as it is written, never as it was called.
fn span(request: &Request) -> Span {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let (method, route) = (request.method(), route(request));
    tracing::info_span!("request", http.method = %method, http.route = route, request.id = id)
}

fn route(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str)
}

/// Gives every request a name, its maker's or a new one, that the logs and the answer tell.
async fn identify(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let is_plain = |id: &&str| {
        (1..=REQUEST_ID_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let id = match given.filter(is_plain) {
        Some(id) => id.to_owned(),
        None => ids::new::<RequestKind>().to_string(),
    };
    let id = HeaderValue::try_from(id).expect("letters, digits and dashes");
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Measures how long answers take.
async fn measure(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = route(&request).to_owned();
    let response = next.run(request).await;
    let labels = [("route", route), ("status", response.status().as_u16().to_string())];
    metrics::histogram!("meridian_http_seconds", &labels).record(began.elapsed().as_secs_f64());
    response
}

/// The process lives.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Turns run, and the database answers: an engine with nothing to do does not notice at once that it
/// is gone.
async fn readyz(State(probes): State<Probes>) -> (StatusCode, &'static str) {
    if !*probes.ready.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready\n");
    }
    let asked = async {
        let mut tx = probes.store.begin_outside().await?;
        clock::read(&mut tx).await?;
        Ok::<(), ActivityError>(tx.commit().await?)
    };
    match tokio::time::timeout(PROBE, asked).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(_)) | Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the database does not answer\n")
        }
    }
}

async fn show_metrics(State(probes): State<Probes>) -> Response {
    match probes.metrics.render(&probes.store).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => {
            tracing::error!(error = activities::error::chain(&error), "metrics failed");
            (StatusCode::SERVICE_UNAVAILABLE, "metrics are not available\n").into_response()
        }
    }
}
