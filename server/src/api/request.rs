//! What requests bring: JSON bodies, query strings and the names in a path, read into types that refuse what they do not
//! know. A fault names the field.

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, RequestBody, SchemaObject};
use aide::operation::{ParamLocation, add_parameters, parameters_from_schema, set_body};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Problem;
use super::wording;

/// The longest JSON body, in bytes.
pub(super) const JSON_MAX: usize = 2 * 1024 * 1024;

/// What JSON may be called.
const JSON_TYPES: [&str; 2] = ["application/json", "application/merge-patch+json"];

/// What is told to who sends a text that cannot be stored.
const NUL: &str = "it holds the character U+0000: leave that out";

/// How JSON writes U+0000; the character itself is not JSON.
const NUL_ESCAPED: &[u8] = br"\u0000";

/// What is told to who sends something else.
const JSON_WANTED: &str = "send JSON, with `Content-Type: application/json`";

/// A JSON body.
#[derive(Debug, Clone)]
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !JSON_TYPES.iter().any(|json| essence.eq_ignore_ascii_case(json)) {
            return Err(Problem::wrong_type(JSON_WANTED));
        }
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| {
                match rejection.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => {
                        Problem::too_long(format!("the body is longer than {JSON_MAX} bytes"))
                    }
                    _ => Problem::malformed("the body did not arrive whole"),
                }
            })?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left out.
#[derive(Debug, Clone)]
pub(super) struct MaybeBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if request.headers().contains_key(header::CONTENT_TYPE) {
            return Body::from_request(request, state).await.map(|Body(read)| Self(read));
        }
        let bytes = Bytes::from_request(request, state).await;
        match bytes {
            Ok(bytes) if bytes.is_empty() => Ok(Self(T::default())),
            Ok(_) => Err(Problem::wrong_type(JSON_WANTED)),
            Err(_) => Err(Problem::malformed("the body did not arrive whole")),
        }
    }
}

/// Reads JSON.
///
/// # Errors
///
/// A problem that names the line, or the field.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        // Some types tell what they do not know as if it were no JSON.
        if inner.is_data() || serde_json::from_slice::<Value>(bytes).is_ok() {
            let message = plain(&inner.to_string());
            Problem::invalid_field(field(path, &message), message)
        } else {
            Problem::malformed(format!("the body is not JSON: {inner}"))
        }
    })?;
    json.end().map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))?;
    match field_with_nul(bytes) {
        Some(field) => Err(Problem::invalid_field(field, NUL)),
        None => Ok(read),
    }
}

/// Returns the field that is wrong: one that is missing lies one step behind the path to its place.
fn field(path: String, message: &str) -> String {
    let named = |words: &str| message.strip_prefix(words)?.split('`').next();
    let unknown = || named("unknown field `").filter(|_| path == ".");
    match named("missing field `").or_else(unknown) {
        Some(name) if path == "." => name.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None => path,
    }
}

/// Returns the field of a JSON text that holds the character U+0000, which no text in the database can.
fn field_with_nul(json: &[u8]) -> Option<String> {
    if !json.windows(NUL_ESCAPED.len()).any(|window| window == NUL_ESCAPED) {
        return None;
    }
    find_nul(&serde_json::from_slice(json).ok()?, String::new())
}

fn find_nul(value: &Value, path: String) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then_some(path),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(n, item)| find_nul(item, format!("{path}[{n}]")))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let inside = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if name.contains('\0') { Some(inside) } else { find_nul(value, inside) }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Leaves out the place inside the text, which the field tells better.
fn plain(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

impl<T: JsonSchema> OperationInput for Body<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let body = RequestBody { required: true, ..described::<T>(ctx) };
        set_body(ctx, operation, body);
    }
}

impl<T: JsonSchema> OperationInput for MaybeBody<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let body = described::<T>(ctx);
        set_body(ctx, operation, body);
    }
}

fn described<T: JsonSchema>(ctx: &mut GenContext) -> RequestBody {
    let schema = SchemaObject {
        json_schema: ctx.schema.subschema_for::<T>(),
        external_docs: None,
        example: None,
    };
    let media = MediaType { schema: Some(schema), ..MediaType::default() };
    RequestBody {
        description: None,
        content: [("application/json".to_owned(), media)].into_iter().collect(),
        required: false,
        extensions: Default::default(),
    }
}

/// A query string.
#[derive(Debug, Clone)]
pub(super) struct Query<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        if let Some((name, _)) = pairs.clone().find(|(_, value)| value.contains('\0')) {
            return Err(Problem::invalid_field(name, NUL));
        }
        let form = serde_urlencoded::Deserializer::new(pairs);
        serde_path_to_error::deserialize(form).map(Self).map_err(|error| {
            let path = error.path().to_string();
            let mut message = error.into_inner().to_string();
            if let Some((_, given)) = pairs.clone().find(|(name, _)| *name == path) {
                message = wording::of_value(&given, &message);
            }
            Problem::invalid_field(field(path, &message), message)
        })
    }
}

impl<T: JsonSchema> OperationInput for Query<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = ctx.schema.subschema_for::<T>();
        let parameters = parameters_from_schema(ctx, schema, ParamLocation::Query);
        add_parameters(ctx, operation, parameters);
    }
}

/// The parameters of a path. What cannot be a name of ours names nothing.
#[derive(Debug, Clone)]
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let nothing = || Problem::not_found("there is nothing of this name");
        if parts.uri.path().contains("%00") {
            return Err(nothing());
        }
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(read)| Self(read)).map_err(|_| {
            Problem::not_found(
                "there is nothing of this name: a path names things by the ids that lists tell",
            )
        })
    }
}

impl<T: JsonSchema> OperationInput for Path<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = ctx.schema.subschema_for::<T>();
        let parameters = parameters_from_schema(ctx, schema, ParamLocation::Path);
        add_parameters(ctx, operation, parameters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_the_character_zero_is_found_wherever_it_is() {
        for (json, field) in [
            (r#"{"name":"a\u0000b"}"#, Some("name")),
            (r#"{"steps":[{"key":"a"},{"email":{"body":"\u0000"}}]}"#, Some("steps[1].email.body")),
            (r#"{"attributes":{"a\u0000":1}}"#, Some("attributes.a\u{0}")),
            (r#"{"name":"a\\u0000b"}"#, None),
            (r#"{"name":"a"}"#, None),
        ] {
            assert_eq!(field_with_nul(json.as_bytes()).as_deref(), field, "{json}");
        }
    }

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(field(".".to_owned(), "missing field `zone`"), "zone");
        assert_eq!(field("steps[0]".to_owned(), "missing field `key`"), "steps[0].key");
        assert_eq!(field("limit".to_owned(), "invalid digit"), "limit");
    }
}
