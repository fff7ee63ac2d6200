//! Twilio: takes texts, reports what becomes of them, and brings texts of others.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Fault, Faults, Reports, broken};
use crate::end_to_end::provider::client;
use crate::end_to_end::wall_seconds;

/// The account of the tests.
pub const ACCOUNT: &str = "AC00000000000000000000000000000000";

/// Its auth token.
pub const TOKEN: &str = "auth-token-of-the-tests";

/// A text that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The name it got.
    pub sid: String,
    /// To whom.
    pub to: String,
    /// From which number or messaging service.
    pub from: String,
    /// What it says.
    pub body: String,
    /// Where its reports go.
    pub status_callback: String,
    /// How long it may wait, in seconds.
    pub validity: u32,
    created_at: i64,
}

/// The provider.
#[derive(Clone)]
pub struct Twilio {
    inner: Arc<Inner>,
    address: String,
    serving: Arc<Mutex<Option<JoinHandle<()>>>>,
}

struct Inner {
    faults: Faults,
    accepted: Mutex<Vec<Accepted>>,
    asked: Mutex<u32>,
    reports: Mutex<Reports>,
}

type Fields = Vec<(String, String)>;

impl Twilio {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of this machine");
        let address = listener.local_addr().expect("it is bound").to_string();
        let inner = Arc::new(Inner {
            faults: Faults::default(),
            accepted: Mutex::default(),
            asked: Mutex::default(),
            reports: Mutex::new(Reports::words(&["sent", "delivered"])),
        });
        let twilio = Self { inner, address, serving: Arc::default() };
        twilio.serve(listener);
        twilio
    }

    /// What the sender is set up with.
    pub fn url(&self) -> String {
        format!("twilio+http://{ACCOUNT}@{}", self.address)
    }

    /// Stops answering: nobody listens any more.
    ///
    /// # Panics
    ///
    /// When it does not answer anyway.
    pub async fn stop(&self) {
        let serving = self.serving.lock().expect("no holder panics").take().expect("it serves");
        serving.abort();
        // Whoever asks before the task has ended might still be heard.
        let _ended = serving.await;
    }

    /// Answers again, at the same address.
    ///
    /// # Panics
    ///
    /// When somebody took its place.
    pub async fn resume(&self) {
        let listener = TcpListener::bind(&self.address).await.expect("the port is free again");
        self.serve(listener);
    }

    fn serve(&self, listener: TcpListener) {
        let router = Router::new()
            .route("/2010-04-01/Accounts/{account}/Messages.json", post(create).get(list))
            .route("/2010-04-01/Accounts/{account}", get(show))
            .with_state(Arc::clone(&self.inner));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serving does not fail");
        });
        *self.serving.lock().expect("no holder panics") = Some(serving);
    }

    /// Lets the next request to `recipient` that meets no other fault meet this one; an empty recipient is
    /// everybody.
    pub fn fails(&self, recipient: &str, fault: Fault) {
        self.inner.faults.add(recipient, fault);
    }

    /// Reports about what it takes from now on.
    pub fn reports(&self, reports: Reports) {
        *self.inner.reports.lock().expect("no holder panics") = reports;
    }

    /// What it took, in order.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.inner.accepted.lock().expect("no holder panics").clone()
    }

    /// How often it was asked to send, whatever came of it.
    pub fn asked(&self) -> u32 {
        *self.inner.asked.lock().expect("no holder panics")
    }

    /// Brings a text to `endpoint`; returns the status of the answer.
    pub async fn brings(&self, endpoint: &str, sid: &str, from: &str, body: &str) -> StatusCode {
        let fields = fields(&[
            ("MessageSid", sid),
            ("SmsSid", sid),
            ("SmsMessageSid", sid),
            ("SmsStatus", "received"),
            ("AccountSid", ACCOUNT),
            ("From", from),
            ("To", "+15550100"),
            ("Body", body),
            ("NumMedia", "0"),
        ]);
        deliver(endpoint, &fields, TOKEN).await
    }

    /// Reports about a text, as it would by itself.
    pub async fn reports_about(
        &self,
        text: &Accepted,
        word: &str,
        code: Option<u32>,
    ) -> StatusCode {
        deliver(&text.status_callback, &status(text, word, code), TOKEN).await
    }
}

/// Posts a form as Twilio would that knows this token.
pub async fn deliver(url: &str, fields: &Fields, token: &str) -> StatusCode {
    let request =
        client().post(url).form(fields).header("X-Twilio-Signature", sign(url, fields, token));
    match request.send().await {
        Ok(answer) => answer.status(),
        Err(_) => StatusCode::BAD_GATEWAY,
    }
}

/// The signature of a form that is posted to `url`.
pub fn sign(url: &str, fields: &Fields, token: &str) -> String {
    let mut sorted = fields.clone();
    sorted.sort();
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(token.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Names and values of a form.
pub fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn status(text: &Accepted, word: &str, code: Option<u32>) -> Fields {
    let mut all = fields(&[
        ("MessageSid", &text.sid),
        ("MessageStatus", word),
        ("SmsSid", &text.sid),
        ("SmsStatus", word),
        ("To", &text.to),
        ("From", &text.from),
        ("AccountSid", ACCOUNT),
        ("ApiVersion", "2010-04-01"),
    ]);
    all.extend(code.map(|code| ("ErrorCode".to_owned(), code.to_string())));
    all
}

async fn create(
    State(inner): State<Arc<Inner>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    if let Some(refused) = refused(&account, &headers) {
        return refused;
    }
    *inner.asked.lock().expect("no holder panics") += 1;
    let field = |name: &str| {
        form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (to, body) = (field("To"), field("Body"));
    let from = Some(field("From")).filter(|from| !from.is_empty());
    let from = from.unwrap_or_else(|| field("MessagingServiceSid"));
    if body.is_empty() || from.is_empty() || !to.starts_with('+') {
        return error(StatusCode::BAD_REQUEST, 21_602, "something is missing");
    }
    let fault = inner.faults.next(&to);
    match fault {
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        Some(Fault::TooMany(seconds)) => {
            let answer = error(StatusCode::TOO_MANY_REQUESTS, 20_429, "Too Many Requests");
            return ([("Retry-After", seconds.to_string())], answer).into_response();
        }
        Some(Fault::Refused(status, code)) => {
            let status = StatusCode::from_u16(status).expect("a status");
            return error(status, code, "refused");
        }
        Some(Fault::Error) => return error(StatusCode::INTERNAL_SERVER_ERROR, 20_500, "error"),
        Some(
            Fault::ErrorAfterAccepting | Fault::ResetAfterAccepting | Fault::NonsenseAfterAccepting,
        )
        | None => {}
    }
    let text = {
        let mut accepted = inner.accepted.lock().expect("no holder panics");
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
        let created_at = wall_seconds() as i64;
        let text = Accepted {
            sid: format!("SM{:032x}", accepted.len() + 1),
            to,
            from,
            body,
            status_callback: field("StatusCallback"),
            validity: field("ValidityPeriod").parse().unwrap_or_default(),
            created_at,
        };
        accepted.push(text.clone());
        text
    };
    let reports = inner.reports.lock().expect("no holder panics").sequence();
    let reported = text.clone();
    tokio::spawn(async move {
        for report in reports {
            let fields = status(&reported, &report.word, report.code);
            deliver(&reported.status_callback, &fields, TOKEN).await;
        }
    });
    match fault {
        Some(Fault::ErrorAfterAccepting) => {
            error(StatusCode::INTERNAL_SERVER_ERROR, 20_500, "error")
        }
        Some(Fault::ResetAfterAccepting) => broken(StatusCode::CREATED),
        Some(Fault::NonsenseAfterAccepting) => (StatusCode::CREATED, "<html>").into_response(),
        Some(Fault::Slow(_) | Fault::TooMany(_) | Fault::Refused(_, _) | Fault::Error) | None => {
            (StatusCode::CREATED, axum::Json(shown(&text))).into_response()
        }
    }
}

async fn list(
    State(inner): State<Arc<Inner>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    Query(query): Query<Fields>,
) -> Response {
    if let Some(refused) = refused(&account, &headers) {
        return refused;
    }
    let wanted =
        |name: &str, value: &str| query.iter().all(|(key, wanted)| key != name || wanted == value);
    let accepted = inner.accepted.lock().expect("no holder panics");
    let messages: Vec<Value> = accepted
        .iter()
        .rev()
        .filter(|text| wanted("To", &text.to) && wanted("From", &text.from))
        .map(shown)
        .collect();
    axum::Json(json!({ "messages": messages })).into_response()
}

async fn show(Path(account): Path<String>, headers: HeaderMap) -> Response {
    let account = account.trim_end_matches(".json");
    match refused(account, &headers) {
        Some(refused) => refused,
        None => axum::Json(json!({ "sid": account, "status": "active" })).into_response(),
    }
}

fn shown(text: &Accepted) -> Value {
    let created = chrono::DateTime::from_timestamp(text.created_at, 0).expect("a time");
    json!({
        "sid": text.sid,
        "status": "queued",
        "to": text.to,
        "from": text.from,
        "body": text.body,
        "direction": "outbound-api",
        "num_segments": "1",
        "error_code": null,
        "date_created": created.to_rfc2822(),
    })
}

fn refused(account: &str, headers: &HeaderMap) -> Option<Response> {
    let expected = format!("Basic {}", STANDARD.encode(format!("{ACCOUNT}:{TOKEN}")));
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    if account != ACCOUNT {
        return Some(error(StatusCode::NOT_FOUND, 20_404, "not found"));
    }
    (given != Some(expected.as_str()))
        .then(|| error(StatusCode::UNAUTHORIZED, 20_003, "Authenticate"))
}

fn error(status: StatusCode, code: u32, message: &str) -> Response {
    let body = json!({ "code": code, "message": message, "status": status.as_u16() });
    (status, axum::Json(body)).into_response()
}
