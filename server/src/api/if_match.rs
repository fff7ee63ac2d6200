//! `If-Match` (RFC 9110, section 13.1.1): a change that holds only for the version its author has seen.

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::Operation;
use aide::operation::{ParamLocation, add_parameters, parameters_from_schema};
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use schemars::JsonSchema;

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

/// The header, for the document.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it describes a header")]
struct Header {
    /// The `ETag` of what is to be changed: the change is refused with 412 if it was changed since.
    #[schemars(rename = "If-Match")]
    if_match: Option<String>,
}

impl OperationInput for IfMatch {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = ctx.schema.subschema_for::<Header>();
        let parameters = parameters_from_schema(ctx, schema, ParamLocation::Header);
        add_parameters(ctx, operation, parameters);
    }
}
