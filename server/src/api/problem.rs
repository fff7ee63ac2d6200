//! The one shape of every error: RFC 9457, with a fault for each field that is wrong. A stable `type`
//! is for programs, `detail` and the faults are for people; what failed inside us is only logged.

use activities::error::{ActivityError, chain};
use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{
    MediaType, Operation, Response as ApiResponse, SchemaObject, StatusCode as ApiStatus,
};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use machine::document::Fault;
use schemars::JsonSchema;
use serde::Serialize;

/// The media type of RFC 9457.
const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// What kind of problem it is: `urn:meridian:problem:` and a stable word.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and what to do about it.
    detail: String,
    /// Each field that is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldFault>,
    /// Seconds after which to try again.
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct FieldFault {
    /// Its path, as in `steps[2].subject`.
    pub(super) field: String,
    /// What is wrong with it, and what to write instead.
    pub(super) message: String,
}

impl Problem {
    fn new(status: StatusCode, word: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:meridian:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// The request cannot be read.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read", detail)
    }

    /// No key, or none that is in force.
    pub(super) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "No valid key", detail)
    }

    /// Whether the asker is not known.
    pub(super) fn is_unauthenticated(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// The key may not do this.
    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "The key may not do this", detail)
    }

    /// There is no such thing in the key's workspace.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// The path is there, the method is not.
    pub(super) fn wrong_method() -> Self {
        let detail = "this path does not answer to this method: see /api/v1/openapi.json";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "Wrong method", detail)
    }

    /// What is there does not allow it.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Not possible as things are", detail)
    }

    /// It was changed since it was read.
    pub(super) fn changed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "changed", "Changed in the meantime", detail)
    }

    /// It takes longer than anybody waits.
    pub(super) fn too_slow(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "It takes too long", detail)
    }

    /// The body is too long.
    pub(super) fn too_long(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", "Too long", detail)
    }

    /// The body is of a type that is not read here.
    pub(super) fn wrong_type(detail: impl Into<String>) -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, "wrong-type", "Unknown content type", detail)
    }

    /// Fields are wrong.
    pub(super) fn invalid(errors: Vec<FieldFault>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{}: {}", only.field, only.message),
            several => format!("{} fields are wrong", several.len()),
        };
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self { errors, ..Self::new(status, "invalid", "Fields are wrong", detail) }
    }

    /// One field is wrong.
    pub(super) fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldFault { field: field.into(), message: message.into() }])
    }

    /// The `Idempotency-Key` stands for another request.
    pub(super) fn key_reused() -> Self {
        let detail = "this Idempotency-Key was used for another request: use a new one for each";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, "idempotency-key-reused", "Idempotency-Key used before", detail)
    }

    /// Too many requests.
    pub(super) fn too_many(retry_after_s: u64) -> Self {
        let detail = format!("too many requests: try again in {retry_after_s} s");
        let status = StatusCode::TOO_MANY_REQUESTS;
        let problem = Self::new(status, "too-many-requests", "Too many requests", detail);
        Self { retry_after_s: Some(retry_after_s), ..problem }
    }

    /// Something of ours is away for a moment.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Self::new(status, "unavailable", "Not available", detail);
        Self { retry_after_s: Some(5), ..problem }
    }

    /// The same request is being worked on.
    pub(super) fn under_way() -> Self {
        let problem = Self::conflict("the same request is being worked on: try again");
        Self { retry_after_s: Some(1), ..problem }
    }
}

impl From<Vec<Fault>> for Problem {
    fn from(faults: Vec<Fault>) -> Self {
        Self::invalid(faults.into_iter().map(FieldFault::from).collect())
    }
}

impl From<Fault> for FieldFault {
    fn from(fault: Fault) -> Self {
        let Fault { field, message } = fault;
        Self { field, message }
    }
}

impl From<ActivityError> for Problem {
    fn from(error: ActivityError) -> Self {
        match &error {
            ActivityError::NoSuchCampaign(id) => {
                return Self::not_found(format!("there is no campaign {id}"));
            }
            ActivityError::NoSuchEnrollment(id) => {
                return Self::not_found(format!("there is no enrollment {id}"));
            }
            ActivityError::SearchTooSlow(_) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                return Self::new(status, "too-slow", "It takes too long", error.to_string());
            }
            ActivityError::Database(_)
            | ActivityError::Migration(_)
            | ActivityError::Snapshot { .. }
            | ActivityError::Stored { .. }
            | ActivityError::Unsafe { .. }
            | ActivityError::Role { .. }
            | ActivityError::Secret(_) => {}
        }
        tracing::error!(error = chain(&error), "a request failed");
        if error.is_transient() {
            return Self::unavailable("the database does not answer: try again; nothing was lost");
        }
        let detail = "this is our fault; the log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "Failed", detail)
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        ActivityError::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("made from a status");
        let retry_after_s = self.retry_after_s;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl OperationOutput for Problem {
    type Inner = Self;

    fn operation_response(ctx: &mut GenContext, _: &mut Operation) -> Option<ApiResponse> {
        let schema = SchemaObject {
            json_schema: ctx.schema.subschema_for::<Self>(),
            external_docs: None,
            example: None,
        };
        let media = MediaType { schema: Some(schema), ..MediaType::default() };
        Some(ApiResponse {
            description: "Why it was not done".to_owned(),
            content: [(MEDIA_TYPE.to_owned(), media)].into_iter().collect(),
            ..ApiResponse::default()
        })
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        Self::operation_response(ctx, operation).map(|it| (None, it)).into_iter().collect()
    }
}
