//! Who asks. Every request of the API carries a key; the extractors below prove that its role
//! suffices, so that a handler's signature says who may call it.

use activities::api_keys::{self, ApiKeyId, Role};
use activities::endpoint_key::EndpointKey;
use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::Operation;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use machine::ids::WorkspaceId;

use super::App;
use super::problem::Problem;

/// The name of the security scheme in the document.
pub(super) const SCHEME: &str = "key";

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The workspace of the key: nothing outside it is reachable.
    pub(super) workspace: WorkspaceId,
    /// The key.
    pub(super) key: ApiKeyId,
    /// What it may do.
    pub(super) role: Role,
}

impl Caller {
    /// Returns the name under which acts are recorded.
    pub(super) fn actor(&self) -> String {
        format!("key/{}", self.key)
    }
}

/// Somebody who may read.
#[derive(Debug, Clone)]
pub(super) struct Viewer(pub(super) Caller);

/// Somebody who may change leads, run campaigns and act on enrollments.
#[derive(Debug, Clone)]
pub(super) struct Operator(pub(super) Caller);

/// Somebody who may set up senders, keys and agents, and erase people.
#[derive(Debug, Clone)]
pub(super) struct Admin(pub(super) Caller);

/// Lets nobody in without a key, nor faster than a key may ask.
pub(super) async fn authenticate(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match identify(&app, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => {
            // Who shows no key at all guesses none.
            let is_guess = problem.is_unauthenticated()
                && request.headers().contains_key(header::AUTHORIZATION);
            let wait = is_guess.then(|| app.guesses.count(app.guesses.client(&request))).flatten();
            return wait.map_or(problem, Problem::too_many).into_response();
        }
    };
    let room = app.rates.take(caller.key);
    if let Some(seconds) = room.retry_after_s() {
        return room.mark(Problem::too_many(seconds).into_response());
    }
    request.extensions_mut().insert(caller);
    room.mark(next.run(request).await)
}

async fn identify(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    let presented = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim());
    let Some(presented) = presented else {
        return Err(Problem::unauthenticated(
            "send `Authorization: Bearer KEY`; `meridian key create` makes a key",
        ));
    };
    let unknown = || Problem::unauthenticated("the key is unknown or revoked");
    let presented: EndpointKey = presented.parse().map_err(|_| unknown())?;
    let key = api_keys::authenticate(&app.room.store, &presented).await?.ok_or_else(unknown)?;
    let workspace = WorkspaceId::new(presented.workspace());
    Ok(Caller { workspace, key: key.id, role: key.role })
}

fn admit(parts: &Parts, needed: Role) -> Result<Caller, Problem> {
    let caller = parts.extensions.get::<Caller>().expect("the routes are behind `authenticate`");
    if caller.role < needed {
        return Err(Problem::forbidden(format!(
            "the key's role is {}, and this needs {needed}",
            caller.role
        )));
    }
    Ok(caller.clone())
}

fn document(operation: &mut Operation, needed: Role) {
    let requirement = [(SCHEME.to_owned(), Vec::new())].into_iter().collect();
    operation.security = vec![requirement];
    operation.extensions.insert("x-meridian-role".to_owned(), needed.as_str().into());
}

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        admit(parts, Role::Viewer).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        admit(parts, Role::Operator).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        admit(parts, Role::Admin).map(Self)
    }
}

impl OperationInput for Viewer {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        document(operation, Role::Viewer);
    }
}

impl OperationInput for Operator {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        document(operation, Role::Operator);
    }
}

impl OperationInput for Admin {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        document(operation, Role::Admin);
    }
}
