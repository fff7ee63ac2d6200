//! Mailgun: takes mails over HTTP, lists what happened to them, and posts about it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Multipart, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use super::{Fault, Faults, Report, Reports, broken};
use crate::end_to_end::installation::SIGNING_KEY;
use crate::end_to_end::provider::client;
use crate::end_to_end::wall_seconds;

/// The sending domain of the tests.
pub const DOMAIN: &str = "mg.sender.example";

/// Its key.
pub const KEY: &str = "key-of-the-tests";

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The number of the mail, from 1.
    pub number: usize,
    /// To whom.
    pub to: String,
    /// The send it names.
    pub send: String,
    /// The ask it names.
    pub attempt: String,
    /// Its Message-ID, without brackets.
    pub message_id: String,
    /// The whole mail.
    pub message: String,
    /// Every other field of the request.
    pub fields: Vec<(String, String)>,
}

/// The provider.
#[derive(Clone)]
pub struct Mailgun {
    inner: Arc<Inner>,
    address: String,
}

struct Inner {
    faults: Faults,
    accepted: Mutex<Vec<Accepted>>,
    asked: Mutex<u32>,
    reports: Mutex<Reports>,
    endpoint: Mutex<String>,
    /// Whether events are listed.
    lists: Mutex<bool>,
}

impl Mailgun {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of this machine");
        let address = listener.local_addr().expect("it is bound").to_string();
        let inner = Arc::new(Inner {
            faults: Faults::default(),
            accepted: Mutex::default(),
            asked: Mutex::default(),
            reports: Mutex::new(Reports::None),
            endpoint: Mutex::default(),
            lists: Mutex::new(true),
        });
        let router = Router::new()
            .route("/v3/{domain}/messages.mime", post(create))
            .route("/v3/{domain}/events", get(events))
            .with_state(Arc::clone(&inner));
        tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serving does not fail");
        });
        Self { inner, address }
    }

    /// What the sender is set up with.
    pub fn url(&self) -> String {
        format!("mailgun+http://{DOMAIN}@{}", self.address)
    }

    /// Lets the next request to `recipient` meet this fault; an empty recipient is everybody.
    pub fn fails(&self, recipient: &str, fault: Fault) {
        self.inner.faults.add(recipient, fault);
    }

    /// Posts to `endpoint` about what it takes from now on.
    pub fn reports(&self, endpoint: &str, reports: Reports) {
        endpoint.clone_into(&mut self.inner.endpoint.lock().expect("no holder panics"));
        *self.inner.reports.lock().expect("no holder panics") = reports;
    }

    /// Forgets what happened, as an account without retention does.
    pub fn lists_nothing(&self) {
        *self.inner.lists.lock().expect("no holder panics") = false;
    }

    /// What it took, in order.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.inner.accepted.lock().expect("no holder panics").clone()
    }

    /// How often it was asked to send, whatever came of it.
    pub fn asked(&self) -> u32 {
        *self.inner.asked.lock().expect("no holder panics")
    }
}

async fn create(
    State(inner): State<Arc<Inner>>,
    Path(domain): Path<String>,
    headers: HeaderMap,
    mut form: Multipart,
) -> Response {
    if let Some(refused) = refused(&domain, &headers) {
        return refused;
    }
    *inner.asked.lock().expect("no holder panics") += 1;
    let mut fields = Vec::new();
    let mut message = String::new();
    while let Ok(Some(field)) = form.next_field().await {
        let name = field.name().unwrap_or_default().to_owned();
        let value = field.text().await.unwrap_or_default();
        if name == "message" {
            message = value;
        } else {
            fields.push((name, value));
        }
    }
    let field = |name: &str| {
        fields.iter().find(|(key, _)| key == name).map(|(_, it)| it.clone()).unwrap_or_default()
    };
    let (to, send, attempt) = (field("to"), field("v:send_id"), field("v:attempt"));
    if !to.contains('@') || message.is_empty() {
        return said(StatusCode::BAD_REQUEST, "to parameter is not a valid address");
    }
    let fault = inner.faults.next(&to);
    match fault {
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        Some(Fault::TooMany(seconds)) => {
            let text = format!("Domain limit exceeded, try again after {seconds} seconds");
            return said(StatusCode::TOO_MANY_REQUESTS, &text);
        }
        Some(Fault::Refused(status, _)) => {
            let text = "to parameter is not a valid address";
            return said(StatusCode::from_u16(status).expect("a status"), text);
        }
        Some(Fault::Error) => return said(StatusCode::INTERNAL_SERVER_ERROR, "error"),
        Some(
            Fault::ErrorAfterAccepting | Fault::ResetAfterAccepting | Fault::NonsenseAfterAccepting,
        )
        | None => {}
    }
    let message_id = message.lines().find_map(|line| line.strip_prefix("Message-ID: "));
    let message_id = message_id.unwrap_or_default().trim_matches(['<', '>']).to_owned();
    let mail = {
        let mut accepted = inner.accepted.lock().expect("no holder panics");
        let number = accepted.len() + 1;
        let mail = Accepted { number, to, send, attempt, message_id, message, fields };
        accepted.push(mail.clone());
        mail
    };
    let reports = inner.reports.lock().expect("no holder panics").sequence();
    let endpoint = inner.endpoint.lock().expect("no holder panics").clone();
    let reported = mail.clone();
    tokio::spawn(async move {
        for (number, report) in reports.iter().enumerate() {
            let body = posted(&reported, report, number);
            let _answer = client().post(&endpoint).json(&body).send().await;
        }
    });
    match fault {
        Some(Fault::ErrorAfterAccepting) => said(StatusCode::INTERNAL_SERVER_ERROR, "error"),
        Some(Fault::ResetAfterAccepting) => broken(StatusCode::OK),
        Some(Fault::NonsenseAfterAccepting) => (StatusCode::OK, "<html>").into_response(),
        Some(Fault::Slow(_) | Fault::TooMany(_) | Fault::Refused(_, _) | Fault::Error) | None => {
            let id = format!("<{}>", mail.message_id);
            axum::Json(json!({ "id": id, "message": "Queued. Thank you." })).into_response()
        }
    }
}

async fn events(
    State(inner): State<Arc<Inner>>,
    Path(domain): Path<String>,
    headers: HeaderMap,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    if let Some(refused) = refused(&domain, &headers) {
        return refused;
    }
    let wanted =
        |name: &str, value: &str| query.iter().all(|(key, wanted)| key != name || wanted == value);
    let accepted = inner.accepted.lock().expect("no holder panics");
    let lists = *inner.lists.lock().expect("no holder panics");
    let items: Vec<Value> = accepted
        .iter()
        .filter(|mail| {
            lists && wanted("message-id", &mail.message_id) && wanted("recipient", &mail.to)
        })
        .map(|mail| event(mail, &Report::of("accepted"), 0))
        .collect();
    axum::Json(json!({ "items": items, "paging": {} })).into_response()
}

fn event(mail: &Accepted, report: &Report, number: usize) -> Value {
    let mut event = json!({
        "event": report.word,
        "id": format!("{}-{}-{number}", report.word, mail.number),
        "timestamp": wall_seconds(),
        "recipient": mail.to,
        "message": { "headers": { "message-id": mail.message_id } },
        "user-variables": { "send_id": mail.send, "attempt": mail.attempt },
        "flags": { "is-test-mode": false },
    });
    if let Some(code) = report.code {
        event["severity"] = "permanent".into();
        event["reason"] = "bounce".into();
        event["delivery-status"] = json!({ "code": code, "enhanced-code": "5.1.1" });
    }
    event
}

/// An event as it is posted: signed by time and a token that is used once.
fn posted(mail: &Accepted, report: &Report, number: usize) -> Value {
    let timestamp = format!("{:.0}", wall_seconds());
    let token = format!("{}-{}-{number}", mail.send, report.word);
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SIGNING_KEY.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(timestamp.as_bytes());
    mac.update(token.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    json!({
        "signature": { "timestamp": timestamp, "token": token, "signature": signature },
        "event-data": event(mail, report, number),
    })
}

fn refused(domain: &str, headers: &HeaderMap) -> Option<Response> {
    let expected = format!("Basic {}", STANDARD.encode(format!("api:{KEY}")));
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    if given != Some(expected.as_str()) {
        return Some((StatusCode::UNAUTHORIZED, "Forbidden").into_response());
    }
    (domain != DOMAIN).then(|| said(StatusCode::NOT_FOUND, "Domain not found"))
}

fn said(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "message": message }))).into_response()
}
