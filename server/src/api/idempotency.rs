//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a POST that is repeated under the
//! same key is answered as the first time, and done once. Answers are kept for 24 hours.

use activities::error::chain;
use activities::idempotency::{self, Answer, Request as Claim, Standing};
use activities::ids;
use aide::OperationInput;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use machine::ids::WorkspaceId;
use sha2::{Digest as _, Sha256};

use super::App;
use super::caller::Caller;
use super::problem::Problem;
use super::request::JSON_MAX;
use super::slots::Slot;

/// The request's name.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that an answer is from the first time.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest name, in characters.
const KEY_MAX: usize = 255;

/// The longest body that a named request may have, in bytes.
const BODY_MAX: usize = 32 * 1024 * 1024;

/// Headers of an answer that are kept with it.
const KEPT: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];

/// What tells an order from every other: the same for a repeat under its `Idempotency-Key`, even one
/// whose first answer was lost on the way from the database.
#[derive(Debug, Clone)]
pub(super) struct SourceKey(pub(super) String);

impl<S: Sync> FromRequestParts<S> for SourceKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().expect("behind `authenticate`");
        let order = match parts.headers.get(KEY) {
            Some(key) => hex::encode(&Sha256::digest(key.as_bytes())[..16]),
            None => ids::new::<machine::ids::Send>().to_string(),
        };
        Ok(Self(format!("{}/{order}", caller.actor())))
    }
}

impl OperationInput for SourceKey {}

/// Answers a repeated POST as the first time.
pub(super) async fn answer_once(State(app): State<App>, request: Request, next: Next) -> Response {
    let key = match name(&request) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    match named(&app, key, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

fn name(request: &Request) -> Result<Option<String>, Problem> {
    if request.method() != Method::POST {
        return Ok(None);
    }
    let Some(key) = request.headers().get(KEY) else { return Ok(None) };
    let key = key.to_str().map(str::trim).unwrap_or_default();
    if key.is_empty() || key.len() > KEY_MAX {
        let message = format!("use 1 to {KEY_MAX} printable ASCII characters, as in a UUID");
        return Err(Problem::malformed(format!("Idempotency-Key: {message}")));
    }
    Ok(Some(key.to_owned()))
}

async fn named(
    app: &App,
    idempotency_key: String,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = request.extensions().get::<Caller>().expect("behind `authenticate`").clone();
    let (parts, body) = request.into_parts();
    let (body, _slot) = whole(app, caller.workspace, body).await?;
    let mut hash = Sha256::new();
    hash.update(parts.uri.path());
    hash.update([0]);
    hash.update(parts.uri.query().unwrap_or_default());
    hash.update([0]);
    hash.update(&body);
    let claim = Claim {
        workspace: caller.workspace,
        key: caller.key,
        idempotency_key,
        fingerprint: hash.finalize().into(),
    };
    match idempotency::claim(&app.room.store, &app.room.keys, &claim).await? {
        Standing::Claimed => {}
        Standing::Answered(answer) => return Ok(replayed(answer)),
        Standing::UnderWay => return Err(Problem::under_way()),
        Standing::Different => return Err(Problem::key_reused()),
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    settle(app, &claim, response).await
}

/// Reads a body; of long ones only few are held at once.
async fn whole(
    app: &App,
    workspace: WorkspaceId,
    body: Body,
) -> Result<(Bytes, Option<Slot>), Problem> {
    let mut slot = None;
    let mut whole = BytesMut::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Problem::malformed("the body did not arrive whole"))?;
        whole.extend_from_slice(&piece);
        if whole.len() > BODY_MAX {
            return Err(Problem::too_long(format!(
                "with an Idempotency-Key a body may have {BODY_MAX} bytes; an import is safe to \
                 repeat without one"
            )));
        }
        if whole.len() > JSON_MAX && slot.is_none() {
            slot = Some(app.long_bodies.take(workspace)?);
        }
    }
    Ok((whole.freeze(), slot))
}

/// Keeps an answer that would be the same again; whatever failed may be tried again.
async fn settle(app: &App, claim: &Claim, response: Response) -> Result<Response, Problem> {
    let status = response.status();
    let is_for_now = matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
    if status.is_server_error() || is_for_now {
        idempotency::drop_claim(&app.room.store, claim).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| {
        tracing::error!(error = chain(&error), "an answer broke off");
        Problem::conflict("the answer broke off: try again")
    })?;
    let answer =
        Answer { status: status.as_u16(), headers: kept(&parts.headers), body: body.to_vec() };
    idempotency::finish(&app.room.store, &app.room.keys, claim, &answer).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = KEPT.iter().filter_map(|name| Some((name, headers.get(name)?.to_str().ok()?)));
    kept.map(|(name, value)| (name.to_string(), value.to_owned())).collect()
}

fn replayed(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).expect("it was a status when it was stored");
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
