//! `If-Match` (RFC 9110, section 13.1.1): a change that holds only for the version its author has seen.

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::Operation;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::document;
use super::problem::Problem;

/// The version a change is meant for; none: whatever is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IfMatch(pub(super) Option<i32>);

impl IfMatch {
    /// Whether the change may be made to `version`.
    pub(super) fn admits(self, version: i32) -> bool {
        self.0.is_none_or(|wanted| wanted == version)
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(tag) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let tag = tag.to_str().unwrap_or_default().trim();
        if tag == "*" {
            return Ok(Self(None));
        }
        let version = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match version.and_then(|version| version.parse().ok()) {
            Some(version) => Ok(Self(Some(version))),
            None => Err(Problem::changed("If-Match: it is no `ETag` of this: read it again")),
        }
    }
}

impl OperationInput for IfMatch {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        operation.parameters.push(document::parameter("If-Match"));
    }
}
