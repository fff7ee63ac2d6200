//! `/stream`: what changes in a workspace, as server-sent events. An event is what one transaction
//! changed; its id is where it stands among the changes, and who comes back with it as
//! `Last-Event-ID` is told everything that came after, once.

mod watch;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use activities::api_keys::ApiKeyId;
use activities::changes::{self, Change, Position, Seen};
use activities::error::{Result, chain};
use activities::store::Store;
use aide::OperationInput;
use aide::OperationOutput;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::generate::GenContext;
use aide::openapi::{
    MediaType, Operation, Response as ApiResponse, SchemaObject, StatusCode as ApiStatus,
};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use machine::ids::WorkspaceId;
use schemars::json_schema;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::App;
use super::caller::{Caller, Viewer};
use super::document;
use super::problem::Problem;
use crate::serve::Stopping;
use watch::Watch;

/// How often a stream on which nothing happens says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How many streams a key may have open in this process.
const STREAMS_MAX: usize = 8;

/// How many streams may ask the database at once, whoever they are: the engine works with the same
/// connections.
const LOOKS_MAX: usize = 2;

/// How long a stream rests when the database is away.
const TROUBLE: Duration = Duration::from_secs(1);

/// Where a client was when it was cut off.
const LAST_EVENT_ID: &str = "last-event-id";

/// Keeps proxies from holding events back.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new().api_route(
        "/stream",
        get_with(open, |op| {
            op.id("watchChanges").summary("Watch what changes").description(WATCHING).tag("stream")
        }),
    )
}

const WATCHING: &str = "\
Server-sent events. `ready` comes first. Each `changes` is what one transaction changed: `{at, changes}`, \
where each change has a `kind`: `enrollments` (campaign, state or `parked`, enrollments), `handover` (enrollment, \
campaign, lead, state), `campaign` (campaign, status), `sends` (state, sends), `inbound` (event, what, \
lead), `sender` (sender, state), `import` (added, changed, refused). Ids and words only: read the things \
themselves. What is told by the next change anyway is left out, as is what is only counted: the state `sending`, \
deliveries, opened mails. Reconnect with the last id as `Last-Event-ID`, as EventSource does by itself, and nothing is \
missed or told twice; what is older than a day, or than 50,000 events, is answered by `reset`: read anew \
what you show, and go on. A comment comes every 15 s. The stream ends when the key is revoked; a key may \
have 8 of them.";

/// The open streams.
#[derive(Clone)]
pub(super) struct Streams {
    open: Arc<Mutex<HashMap<ApiKeyId, usize>>>,
    watch: Watch,
    looks: Arc<Semaphore>,
}

/// One of the streams of a key, until it is dropped.
struct Place {
    open: Arc<Mutex<HashMap<ApiKeyId, usize>>>,
    key: ApiKeyId,
}

impl Streams {
    pub(super) fn new() -> Self {
        let looks = Arc::new(Semaphore::new(LOOKS_MAX));
        Self { open: Arc::default(), watch: Watch::new(Arc::clone(&looks)), looks }
    }

    fn take(&self, key: ApiKeyId) -> Option<Place> {
        let mut open = self.open.lock().expect("no holder panics");
        let count = open.entry(key).or_default();
        if *count >= STREAMS_MAX {
            return None;
        }
        *count += 1;
        metrics::gauge!("meridian_streams").increment(1.0);
        Some(Place { open: Arc::clone(&self.open), key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("meridian_streams").decrement(1.0);
        let mut open = self.open.lock().expect("no holder panics");
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// What a stream needs of its request.
struct Opening {
    last: Option<Position>,
    stopping: CancellationToken,
}

impl<S: Sync> FromRequestParts<S> for Opening {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Problem> {
        let last = match parts.headers.get(LAST_EVENT_ID) {
            None => None,
            Some(id) if id.is_empty() => None,
            Some(id) => {
                let position = id.to_str().ok().and_then(|id| id.parse().ok());
                let wrong = || Problem::malformed("Last-Event-ID is none of ours");
                Some(position.ok_or_else(wrong)?)
            }
        };
        let stopping = parts.extensions.get::<Stopping>().cloned().unwrap_or_default();
        Ok(Self { last, stopping: stopping.0 })
    }
}

impl OperationInput for Opening {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        operation.parameters.push(document::parameter("Last-Event-ID"));
    }
}

async fn open(
    State(app): State<App>,
    caller: Viewer,
    opening: Opening,
) -> std::result::Result<Events, Problem> {
    let Viewer(caller) = caller;
    let place =
        app.streams.take(caller.key).ok_or_else(|| Problem::too_many(HEARTBEAT.as_secs()))?;
    let at = match opening.last {
        Some(last) => last,
        None => changes::now(&app.room.store, caller.workspace).await?,
    };
    let ready = Event::default().id(at.to_string()).event("ready").data("{}");
    let tail = Tail::new(&app, caller, at, opening.stopping, place);
    let events = stream::unfold((tail, VecDeque::from([ready])), |(mut tail, mut queue)| async {
        if queue.is_empty() {
            queue = tail.next().await?;
        }
        let event = queue.pop_front()?;
        Some((Ok::<Event, Infallible>(event), (tail, queue)))
    });
    Ok(Events(([UNBUFFERED], Sse::new(events)).into_response()))
}

/// Where a stream is.
struct Tail {
    store: Store,
    workspace: WorkspaceId,
    key: ApiKeyId,
    at: Position,
    /// Whether there may be more at once.
    more: bool,
    bell: watch::Bell,
    looks: Arc<Semaphore>,
    stopping: CancellationToken,
    _place: Place,
}

impl Tail {
    fn new(
        app: &App,
        caller: Caller,
        at: Position,
        stopping: CancellationToken,
        place: Place,
    ) -> Self {
        let store = app.room.store.clone();
        let bell = app.streams.watch.listen(&store, caller.workspace);
        let (workspace, key) = (caller.workspace, caller.key);
        let looks = Arc::clone(&app.streams.looks);
        Self { store, workspace, key, at, more: true, bell, looks, stopping, _place: place }
    }

    /// Returns what is told next; `None` when the stream is over.
    async fn next(&mut self) -> Option<VecDeque<Event>> {
        loop {
            let mut beat = false;
            if !self.more {
                let stopping = self.stopping.clone();
                tokio::select! {
                    () = self.bell.rung() => {}
                    () = tokio::time::sleep(HEARTBEAT) => beat = true,
                    () = stopping.cancelled() => return None,
                }
            }
            if self.stopping.is_cancelled() {
                return None;
            }
            let mut events = match self.look().await {
                Ok(events) => events?,
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(error, "changes cannot be read; trying again");
                    tokio::time::sleep(TROUBLE).await;
                    VecDeque::new()
                }
            };
            if events.is_empty() && beat {
                events.push_back(Event::default().comment("here"));
            }
            if !events.is_empty() {
                return Some(events);
            }
        }
    }

    /// Reads what came since; `None` when the key is revoked.
    async fn look(&mut self) -> Result<Option<VecDeque<Event>>> {
        // Before reading: a ring that comes meanwhile is heard afterwards.
        self.bell.note();
        self.more = true;
        let looking = self.looks.acquire().await.expect("it is never closed");
        let seen = changes::behind(&self.store, self.workspace, self.key, self.at).await?;
        drop(looking);
        match seen {
            Seen::Revoked => Ok(None),
            Seen::Lost(now) => {
                self.at = now;
                let reset = Event::default().id(now.to_string()).event("reset").data("{}");
                Ok(Some(VecDeque::from([reset])))
            }
            Seen::Changes(found) => {
                self.more = changes::is_full(&found);
                self.at = found.last().map_or(self.at, |last| last.position);
                Ok(Some(found.into_iter().map(told).collect()))
            }
        }
    }
}

fn told(change: Change) -> Event {
    let at = change.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    // The news are JSON already.
    let data = format!("{{\"at\":\"{at}\",\"changes\":{}}}", change.news);
    Event::default().id(change.position.to_string()).event("changes").data(data)
}

/// Events without an end.
struct Events(Response);

impl IntoResponse for Events {
    fn into_response(self) -> Response {
        self.0
    }
}

impl OperationOutput for Events {
    type Inner = Self;

    fn operation_response(_: &mut GenContext, _: &mut Operation) -> Option<ApiResponse> {
        let json_schema = json_schema!({ "type": "string" });
        let schema = SchemaObject { json_schema, external_docs: None, example: None };
        let media = MediaType { schema: Some(schema), ..MediaType::default() };
        Some(ApiResponse {
            description: "Events, until the key is revoked or the server stops".to_owned(),
            content: [("text/event-stream".to_owned(), media)].into_iter().collect(),
            ..ApiResponse::default()
        })
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        let response = Self::operation_response(ctx, operation).expect("it is made above");
        vec![(Some(ApiStatus::Code(200)), response)]
    }
}
