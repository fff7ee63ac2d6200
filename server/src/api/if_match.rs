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
#[derive(Debug, Clone)]
pub(super) struct IfMatch(Option<String>);

impl IfMatch {
    /// Lets a change pass if it is meant for `version`.
    ///
    /// # Errors
    ///
    /// When it is meant for another.
    pub(super) fn check(&self, version: &str) -> Result<(), Problem> {
        match &self.0 {
            Some(wanted) if wanted != "*" && wanted.trim_matches('"') != version => {
                Err(Problem::changed("it was changed since it was read: read it again"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let value = parts.headers.get(header::IF_MATCH);
        Ok(Self(value.and_then(|value| value.to_str().ok()).map(str::to_owned)))
    }
}

/// The header, for the document.
#[derive(JsonSchema)]
struct Header {
    /// The `ETag` of what was read: it is changed only if it is still the same.
    #[serde(rename = "If-Match")]
    _if_match: Option<String>,
}

impl OperationInput for IfMatch {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = ctx.schema.subschema_for::<Header>();
        let parameters = parameters_from_schema(ctx, schema, ParamLocation::Header);
        add_parameters(ctx, operation, parameters);
    }
}
