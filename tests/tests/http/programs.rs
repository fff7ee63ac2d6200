//! Programs with keys, and the API they talk to, on one database of their own.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use activities::api_keys::{self, Role};
use activities::campaigns::{apply, start};
use activities::import;
use activities::key_ring::KeyRing;
use activities::mailroom::Mailroom;
use activities::store::{clock, workspaces};
use activities::turn::Due;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use machine::document::CampaignDocument;
use machine::ids::{LeadId, WorkspaceId};
use postgres_runner::{Runner, Settings};
use serde_json::Value;
use server::api::{self, App};
use server::serve::guesses::Guesses;
use server::serve::proxies::Proxies;
use server::workflow_pages::WorkflowPages;
use tests::cluster::Database;
use tower::ServiceExt as _;
use uuid::Uuid;

/// The API.
pub(crate) struct Api {
    pub(crate) room: Mailroom,
    pub(crate) workspace: WorkspaceId,
    pub(crate) database: Database,
    router: Router,
}

/// A program with a key.
pub(crate) struct Program<'a> {
    api: &'a Api,
    pub(crate) secret: String,
}

/// Where Temporal's pages begin.
pub(crate) const TEMPORAL_UI: &str = "https://cloud.temporal.io";

/// What a program was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Api {
    pub(crate) async fn new() -> Self {
        let database = Database::create().await;
        let store = database.store().await;
        let workspace = workspaces::ensure(&store, workspaces::DEFAULT).await.unwrap();
        let keys = Arc::new(KeyRing::generate());
        let url = "http://127.0.0.1:8080/".parse().unwrap();
        let runner = Uuid::from_bytes(rand::random());
        let room = Mailroom::new(store, keys, url, None, runner);
        let guesses = Guesses::of_keys(Proxies::default());
        let pages = WorkflowPages::new(TEMPORAL_UI.parse().unwrap(), "default".to_owned());
        let router = api::router(App::new(room.clone(), guesses, Some(pages)));
        Self { room, workspace, database, router }
    }

    /// Leads with these addresses enter a campaign, and an engine moves them.
    pub(crate) async fn runs(&self, document: &Value, addresses: &[&str]) -> Runner {
        self.import(&format!("email\n{}\n", addresses.join("\n"))).await;
        let (store, workspace) = (&self.room.store, self.workspace);
        let document: CampaignDocument = serde_json::from_value(document.clone()).unwrap();
        let applied = apply::apply(store, workspace, &document, "test").await;
        let campaign = applied.unwrap().unwrap().campaign;
        let started = start::at_once(store, workspace, campaign, "test", &mut |_| {}).await;
        started.unwrap().unwrap();
        Runner::start(self.room.clone(), Settings::default()).await.unwrap()
    }

    /// A program with a new key.
    pub(crate) async fn program(&self, role: Role) -> Program<'_> {
        self.program_in(self.workspace, role).await
    }

    /// A program of another tenant.
    pub(crate) async fn stranger(&self, role: Role) -> Program<'_> {
        let other = workspaces::ensure(&self.room.store, "other").await.unwrap();
        self.program_in(other, role).await
    }

    async fn program_in(&self, workspace: WorkspaceId, role: Role) -> Program<'_> {
        let made = api_keys::create(&self.room.store, workspace, "test", role, "test").await;
        Program { api: self, secret: made.unwrap().1 }
    }

    /// A program that was given a secret.
    pub(crate) fn program_with(&self, secret: &str) -> Program<'_> {
        Program { api: self, secret: secret.to_owned() }
    }

    /// Imports leads.
    pub(crate) async fn import(&self, csv: &str) {
        let (store, key) = (&self.room.store, &self.room.suppressions);
        let file = Cursor::new(csv.to_owned().into_bytes());
        let options = import::Options::default();
        let report = import::leads(store, key, self.workspace, file, &options, |_| {}).await;
        assert_eq!(report.unwrap().totals.refused, 0);
    }

    /// The lead with this address.
    pub(crate) async fn lead(&self, address: &str) -> LeadId {
        let mut tx = self.room.store.begin(self.workspace).await.unwrap();
        let lead: Uuid = sqlx::query_scalar("SELECT lead_id FROM addresses WHERE address = $1")
            .bind(address)
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        lead.into()
    }

    /// Lets everything happen that is due, but for the sending.
    pub(crate) async fn turn(&self) {
        loop {
            let due = Due::take(&self.room.store, self.workspace, None, 100).await.unwrap();
            if due.turn(&self.room.versions).await.unwrap().taken == 0 {
                return;
            }
        }
    }

    /// Campaign time.
    pub(crate) async fn now(&self) -> DateTime<Utc> {
        let mut tx = self.room.store.begin_outside().await.unwrap();
        clock::read(&mut tx).await.unwrap().campaign
    }

    /// Moves campaign time on.
    pub(crate) async fn after(&self, delta: TimeDelta) {
        let at = self.now().await + delta;
        clock::advance_to(&mut self.database.owner().await, at).await.unwrap();
    }

    /// As [`Api::send`], with a body that is still to come.
    pub(crate) async fn open(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }
}

impl Program<'_> {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let patience = Duration::from_secs(60);
        let waited = tokio::time::timeout(patience, async {
            loop {
                let answer = self.get(path).await;
                // Asking is what is limited here, not waiting.
                if answer.status == StatusCode::TOO_MANY_REQUESTS {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                let answer = answer.json(200);
                if is_so(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{path} never came so far"))
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.json(Method::PATCH, path, body)).await
    }

    /// As [`Program::patch`], if it is still at this version.
    pub(crate) async fn patch_if(&self, tag: &str, path: &str, body: &Value) -> Answer {
        let mut request = self.json(Method::PATCH, path, body);
        request.headers_mut().insert(header::IF_MATCH, tag.parse().unwrap());
        self.send(request).await
    }

    /// Posts nothing.
    pub(crate) async fn order(&self, path: &str) -> Answer {
        self.send(self.request(Method::POST, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.json(Method::POST, path, body)).await
    }

    /// As [`Program::post`], under a name.
    pub(crate) async fn post_once(&self, name: &str, path: &str, body: &Value) -> Answer {
        let mut request = self.json(Method::POST, path, body);
        request.headers_mut().insert("idempotency-key", name.parse().unwrap());
        self.send(request).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        self.api.send(request).await
    }

    /// As [`Program::send`], with a body that is still to come.
    pub(crate) async fn open(&self, request: Request<Body>) -> Response {
        self.api.open(request).await
    }

    pub(crate) fn json(&self, method: Method, path: &str, body: &Value) -> Request<Body> {
        self.request(method, path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap()
    }

    /// A request with the key, to be finished.
    pub(crate) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.secret))
    }
}

impl Answer {
    /// The JSON of an answer with this status.
    pub(crate) fn json(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.bytes);
        assert_eq!(self.status.as_u16(), status, "{text}");
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The fields that a refusal with 422 names.
    pub(crate) fn faulty_fields(&self) -> Vec<String> {
        let problem = self.json(422);
        let faults = problem["errors"].as_array().unwrap().iter();
        faults.map(|fault| fault["field"].as_str().unwrap().to_owned()).collect()
    }

    /// A problem with this status: its kind and its detail.
    pub(crate) fn problem(&self, status: u16) -> (String, String) {
        let problem = self.json(status);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(problem["status"], status);
        let text = |name: &str| problem[name].as_str().unwrap().to_owned();
        (text("type").replace("urn:meridian:problem:", ""), text("detail"))
    }
}
