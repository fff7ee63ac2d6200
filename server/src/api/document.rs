//! The OpenAPI document: what all operations share (headers, refusals for a while) and the examples,
//! which stand in `examples.json` by the operation's name.

use std::collections::BTreeMap;

use aide::openapi::{
    Header, Info, License, MediaType, OpenApi, Operation, Parameter, ReferenceOr, Response,
    SecurityScheme, Server, StatusCode,
};
use aide::transform::TransformOpenApi;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{PREFIX, caller};

const DESCRIPTION: &str = "\
Every request carries a key: `Authorization: Bearer KEY`. The operation's `x-meridian-role` is the \
role it needs. Errors are problem documents (RFC 9457) that name the field and the fix. Every POST \
takes an `Idempotency-Key`: a repeat within a day is answered as the first time. Lists come in pages: \
`next` of one page is `cursor` of the next. Times are RFC 3339 in UTC; campaign times run with the \
campaign clock, which differs from the wall clock in demonstrations only.";

/// An example of what an operation is sent and of what it answers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    request: Option<Value>,
    answer: Option<Value>,
}

/// Names a header that an answer has.
pub(super) fn header(name: &str) -> ReferenceOr<Header> {
    ReferenceOr::ref_(&format!("#/components/headers/{name}"))
}

/// Names a header that a request may have.
pub(super) fn parameter(name: &str) -> ReferenceOr<Parameter> {
    ReferenceOr::ref_(&format!("#/components/parameters/{name}"))
}

/// Completes the document that was made from the routes.
pub(super) fn complete(mut api: OpenApi) -> OpenApi {
    api.info = Info {
        title: "Meridian".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: Some("Durable outreach campaigns".to_owned()),
        description: Some(DESCRIPTION.to_owned()),
        license: Some(License {
            name: "Apache-2.0".to_owned(),
            identifier: Some("Apache-2.0".to_owned()),
            ..License::default()
        }),
        ..Info::default()
    };
    api.servers = vec![Server { url: PREFIX.to_owned(), ..Server::default() }];
    let scheme = SecurityScheme::Http {
        scheme: "bearer".to_owned(),
        bearer_format: None,
        description: Some("A key made by `meridian key create`".to_owned()),
        extensions: Default::default(),
    };
    let _ = TransformOpenApi::new(&mut api).security_scheme(caller::SCHEME, scheme);
    share(&mut api);
    let mut examples: BTreeMap<String, Example> =
        serde_json::from_str(include_str!("examples.json")).expect("the examples are JSON");
    for item in api.paths.iter_mut().flat_map(|paths| paths.paths.values_mut()) {
        let ReferenceOr::Item(path) = item else { continue };
        let (get, patch, delete) = (&mut path.get, &mut path.patch, &mut path.delete);
        for operation in [get, patch, delete].into_iter().flatten() {
            describe(operation, Repeats::Anew, &mut examples);
        }
        if let Some(operation) = &mut path.post {
            describe(operation, Repeats::UnderAKey, &mut examples);
        }
    }
    assert!(examples.is_empty(), "examples of what is no operation: {:?}", examples.keys());
    api
}

/// How an operation may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// Each time anew.
    Anew,
    /// Under an `Idempotency-Key` it is done once.
    UnderAKey,
}

/// Puts down what the operations refer to.
fn share(api: &mut OpenApi) {
    let components = api.components.get_or_insert_default();
    for (name, description, schema) in headers() {
        let header = json!({ "description": description, "schema": schema });
        components.headers.insert(name.to_owned(), ReferenceOr::Item(part(header)));
    }
    for (name, parameter) in parameters() {
        components.parameters.insert(name.to_owned(), ReferenceOr::Item(part(parameter)));
    }
    for (name, response) in refusals() {
        components.responses.insert(name.to_owned(), ReferenceOr::Item(part(response)));
    }
}

fn headers() -> [(&'static str, &'static str, Value); 7] {
    let text = |example: &str| json!({ "type": "string", "examples": [example] });
    [
        (
            "RateLimit",
            "What is left to the key: `r` requests now, and all of them in `t` seconds \
             (draft-ietf-httpapi-ratelimit-headers)",
            text("\"key\";r=199;t=1"),
        ),
        (
            "RateLimit-Policy",
            "What a key has: `q` requests in `w` seconds",
            text("\"key\";q=200;w=2"),
        ),
        ("ETag", "The version of what is shown, for `If-Match`", text("\"3\"")),
        ("Location", "The path of what was made", text("/api/v1/leads/0198c9a2-7f6e-7c3a")),
        (
            "Idempotency-Replayed",
            "The answer is from the first time: nothing was done now; absent otherwise",
            json!({ "const": "true" }),
        ),
        (
            "Retry-After",
            "Seconds to wait before the same request is worth another try",
            json!({ "type": "integer", "minimum": 1 }),
        ),
        ("WWW-Authenticate", "With 401: a key is wanted", json!({ "const": "Bearer" })),
    ]
}

fn parameters() -> [(&'static str, Value); 3] {
    [
        (
            "Idempotency-Key",
            json!({
                "in": "header",
                "name": "Idempotency-Key",
                "description": "Names the request, as a UUID does: repeated under its name within a \
                    day it is done once and answered as the first time; another request under this \
                    name is refused with 422",
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 255,
                    "examples": ["5c9f2c1e-54b1-4a1f-8d4f-2f0b7f1f7a10"],
                },
            }),
        ),
        (
            "If-Match",
            json!({
                "in": "header",
                "name": "If-Match",
                "description": "The `ETag` of what is to be changed: the change is refused with 412 \
                    if it was changed since",
                "schema": { "type": "string", "examples": ["\"3\""] },
            }),
        ),
        (
            "Last-Event-ID",
            json!({
                "in": "header",
                "name": "Last-Event-ID",
                "description": "The id of the last event that was seen: what came after it is told \
                    first; EventSource sends it by itself",
                "schema": { "type": "string" },
            }),
        ),
    ]
}

/// What any operation may answer when it is not the moment.
fn refusals() -> [(&'static str, Value); 2] {
    let refusal = |description: &str, problem: Value| {
        json!({
            "description": description,
            "headers": {
                "RateLimit": { "$ref": "#/components/headers/RateLimit" },
                "RateLimit-Policy": { "$ref": "#/components/headers/RateLimit-Policy" },
                "Retry-After": { "$ref": "#/components/headers/Retry-After" },
            },
            "content": {
                "application/problem+json": {
                    "schema": { "$ref": "#/components/schemas/Problem" },
                    "example": problem,
                },
            },
        })
    };
    [
        (
            "TooManyRequests",
            refusal(
                "The key asks too fast",
                json!({
                    "type": "urn:meridian:problem:too-many-requests",
                    "title": "Too many requests",
                    "status": 429,
                    "detail": "too many requests: try again in 1 s",
                }),
            ),
        ),
        (
            "Unavailable",
            refusal(
                "Something of ours is away for a moment: nothing was lost",
                json!({
                    "type": "urn:meridian:problem:unavailable",
                    "title": "Not available",
                    "status": 503,
                    "detail": "the database does not answer: try again; nothing was lost",
                }),
            ),
        ),
    ]
}

fn part<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("it is a part of an OpenAPI document")
}

fn describe(operation: &mut Operation, repeats: Repeats, examples: &mut BTreeMap<String, Example>) {
    let name = operation.operation_id.as_deref().unwrap_or_default();
    let example = examples.remove(name).unwrap_or_default();
    if repeats == Repeats::UnderAKey {
        operation.parameters.push(parameter("Idempotency-Key"));
    }
    if let Some(ReferenceOr::Item(body)) = &mut operation.request_body {
        set_example(body.content.values_mut().next(), example.request);
    }
    let Some(responses) = &mut operation.responses else { return };
    for response in responses.responses.values_mut() {
        let ReferenceOr::Item(response) = response else { continue };
        mark(response, repeats);
        set_example(response.content.values_mut().next(), example.answer.clone());
    }
    if let Some(ReferenceOr::Item(response)) = &mut responses.default {
        mark(response, repeats);
        for name in ["Retry-After", "WWW-Authenticate"] {
            response.headers.insert(name.to_owned(), header(name));
        }
    }
    for (status, name) in [(429, "TooManyRequests"), (503, "Unavailable")] {
        let refusal = ReferenceOr::ref_(&format!("#/components/responses/{name}"));
        responses.responses.insert(StatusCode::Code(status), refusal);
    }
}

fn mark(response: &mut Response, repeats: Repeats) {
    for name in ["RateLimit", "RateLimit-Policy"] {
        response.headers.insert(name.to_owned(), header(name));
    }
    if repeats == Repeats::UnderAKey {
        let name = "Idempotency-Replayed";
        response.headers.insert(name.to_owned(), header(name));
    }
}

fn set_example(media: Option<&mut MediaType>, example: Option<Value>) {
    if let Some(media) = media {
        media.example = example;
    }
}
