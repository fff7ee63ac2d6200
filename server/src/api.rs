//! The HTTP API, `/api/v1`: JSON for other programs. Each resource is a file; a handler reads the
//! request, calls the activity that the command line calls, and answers. The OpenAPI document is made
//! from the same routes.

mod agents;
mod answer;
mod audit;
mod caller;
mod campaigns;
mod conversations;
mod dead_letters;
mod document;
mod enrollments;
mod handovers;
mod idempotency;
mod if_match;
mod keys;
mod leads;
mod page;
mod patch;
mod problem;
mod rates;
mod request;
mod senders;
mod sends;
mod sequences;
mod slots;
mod stream;
mod suppressions;
mod webhook_endpoints;
mod wording;
mod workspace;

use std::sync::Arc;
use std::time::Duration;

use activities::mailroom::Mailroom;
use aide::axum::ApiRouter;
use aide::openapi::OpenApi;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::serve::guesses::Guesses;
use crate::workflow_pages::WorkflowPages;
use problem::Problem;
use rates::Rates;
use slots::Slots;
use stream::Streams;

/// Where the API is.
const PREFIX: &str = "/api/v1";

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long an import may take: its file comes at the pace of its sender.
const TIMEOUT_IMPORT: Duration = Duration::from_secs(30 * 60);

/// How many files are imported at once, by all and by one workspace.
const IMPORTS_MAX: (usize, usize) = (4, 2);

/// How many long bodies are held in memory at once, of all and of one workspace.
const LONG_BODIES_MAX: (usize, usize) = (4, 2);

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The database, the keys and the versions.
    pub room: Mailroom,
    rates: Rates,
    guesses: Guesses,
    imports: Slots,
    long_bodies: Slots,
    streams: Streams,
    workflows: Option<Arc<WorkflowPages>>,
}

impl App {
    /// Furnishes the API; with `workflows`, it links to Temporal's pages.
    pub fn new(room: Mailroom, guesses: Guesses, workflows: Option<WorkflowPages>) -> Self {
        Self {
            room,
            rates: Rates::new(),
            guesses,
            imports: Slots::new(IMPORTS_MAX.0, IMPORTS_MAX.1),
            long_bodies: Slots::new(LONG_BODIES_MAX.0, LONG_BODIES_MAX.1),
            streams: Streams::new(),
            workflows: workflows.map(Arc::new),
        }
    }
}

/// Returns the routes of the API, behind its keys.
pub fn router(app: App) -> Router {
    let mut api = OpenApi::default();
    let routes: Router<App> = routes().finish_api(&mut api);
    let document: Arc<str> =
        serde_json::to_string(&document::complete(api)).expect("it is JSON").into();
    let open = get(move || {
        let document = document.to_string();
        async move { ([(header::CONTENT_TYPE, "application/json")], document) }
    });
    let closed = routes
        .fallback(async || Problem::not_found("there is no such path: see /api/v1/openapi.json"))
        .method_not_allowed_fallback(async || Problem::wrong_method())
        .layer(DefaultBodyLimit::max(request::JSON_MAX))
        .layer(from_fn_with_state(app.clone(), idempotency::answer_once))
        .layer(from_fn(finish_what_was_begun))
        .layer(from_fn_with_state(app.clone(), caller::authenticate))
        .layer(from_fn(in_time));
    Router::new()
        .route(&format!("{PREFIX}/openapi.json"), open)
        .nest(PREFIX, closed)
        .with_state(app)
}

/// Returns the OpenAPI document.
pub fn document() -> OpenApi {
    let mut api = OpenApi::default();
    let _: Router<App> = routes().finish_api(&mut api);
    document::complete(api)
}

fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .merge(agents::routes())
        .merge(audit::routes())
        .merge(campaigns::routes())
        .merge(conversations::routes())
        .merge(dead_letters::routes())
        .merge(enrollments::routes())
        .merge(handovers::routes())
        .merge(keys::routes())
        .merge(leads::routes())
        .merge(senders::routes())
        .merge(sends::routes())
        .merge(sequences::routes())
        .merge(stream::routes())
        .merge(suppressions::routes())
        .merge(webhook_endpoints::routes())
        .merge(workspace::routes())
}

/// Answers nobody later than they would wait.
async fn in_time(request: Request, next: Next) -> Response {
    let is_import = request.uri().path() == leads::IMPORT_PATH;
    let limit = if is_import { TIMEOUT_IMPORT } else { TIMEOUT };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = limit.as_secs();
            let detail =
                format!("it was not done within {seconds} s: it may yet be; look, or repeat");
            Problem::too_slow(detail).into_response()
        }
    }
}

/// A caller that hangs up does not undo what was begun: requests that change something run to their
/// end by themselves.
async fn finish_what_was_begun(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a request panicked");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
