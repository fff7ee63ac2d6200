//! The OpenAPI document.

mod schema;

use std::path::Path;

use activities::api_keys::Role;
use axum::body::Body;
use axum::http::{Method, header};
use serde_json::Value;
use server::cli::schema as printed;

use crate::programs::Api;

/// One operation of the document.
struct Operation {
    method: String,
    path: String,
    what: Value,
}

impl Operation {
    fn all(document: &Value) -> Vec<Self> {
        let paths = document["paths"].as_object().unwrap().iter();
        let all = paths.flat_map(|(path, operations)| {
            operations.as_object().unwrap().iter().map(move |(method, what)| Self {
                method: method.clone(),
                path: path.clone(),
                what: what.clone(),
            })
        });
        all.collect()
    }

    /// What is sent: its type, and what the document says of it.
    fn body(&self) -> Option<(&str, &Value)> {
        let content = self.what["requestBody"]["content"].as_object()?.iter().next()?;
        Some((content.0, content.1))
    }

    /// What a success is answered.
    fn answer(&self) -> &Value {
        let mut answers = self.what["responses"].as_object().unwrap().iter();
        answers.find(|(status, _)| status.starts_with('2')).unwrap().1
    }

    /// What the document says of the type that a success is answered in, if it says anything.
    fn media(&self) -> Option<&Value> {
        self.answer()["content"].as_object()?.values().next()
    }

    fn has_parameter(&self, name: &str) -> bool {
        let reference = format!("#/components/parameters/{name}");
        let parameters = self.what["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|each| each["$ref"] == reference.as_str()))
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

fn document() -> Value {
    serde_json::from_str(&printed::api_text()).unwrap()
}

#[test]
fn the_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == printed::api_text(),
        "the API has changed: run `meridian schema api > server/openapi.json`"
    );
}

#[test]
fn every_operation_has_a_name_a_summary_a_role_and_a_tag() {
    let mut names = std::collections::BTreeSet::new();
    for operation in Operation::all(&document()) {
        for part in ["operationId", "summary", "x-meridian-role", "security", "tags"] {
            assert!(!operation.what[part].is_null(), "{operation} lacks {part}");
        }
        assert!(operation.what["responses"]["default"].is_object(), "{operation}: no problem");
        let name = operation.what["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name), "{operation} has another's name");
    }
}

#[test]
fn every_operation_describes_its_headers() {
    let document = document();
    for operation in Operation::all(&document) {
        let headers = |of: &Value| -> Vec<String> {
            of["headers"].as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default()
        };
        let (answer, responses) = (headers(operation.answer()), &operation.what["responses"]);
        let mut wanted = vec!["RateLimit", "RateLimit-Policy"];
        match operation.method.as_str() {
            "post" => {
                assert!(operation.has_parameter("Idempotency-Key"), "{operation}");
                wanted.push("Idempotency-Replayed");
            }
            "patch" => {
                assert!(operation.has_parameter("If-Match"), "{operation}");
                wanted.push("ETag");
            }
            _ => {}
        }
        if responses["201"].is_object() {
            wanted.push("Location");
        }
        let lacks = wanted.iter().find(|name| !answer.contains(&(**name).to_owned()));
        assert_eq!(lacks, None, "{operation}");
        assert!(headers(&responses["default"]).contains(&"Retry-After".to_owned()), "{operation}");
        for status in ["429", "503"] {
            let reference = responses[status]["$ref"].as_str().unwrap();
            let refusal = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            assert!(headers(refusal).contains(&"Retry-After".to_owned()), "{operation}");
        }
        assert_eq!(operation.path == "/stream", operation.has_parameter("Last-Event-ID"));
    }
    // What can be changed under `If-Match` tells its version when it is read.
    for path in ["/agents/{agent}", "/campaigns/{campaign}", "/leads/{lead}"] {
        let read = &document["paths"][path]["get"]["responses"]["200"]["headers"];
        assert!(read["ETag"].is_object(), "{path}");
    }
}

#[test]
fn every_operation_has_examples_of_what_its_schemas_say() {
    let document = document();
    for operation in Operation::all(&document) {
        let body = operation.body().map(|(_, media)| media);
        for media in [body, operation.media()].into_iter().flatten() {
            let example = media.get("example");
            let example = example.unwrap_or_else(|| panic!("{operation} lacks an example"));
            let fault = schema::fault(&document, &media["schema"], example);
            assert_eq!(fault, None, "{operation}: {example}");
        }
    }
    for refusal in document["components"]["responses"].as_object().unwrap().values() {
        let media = &refusal["content"]["application/problem+json"];
        assert_eq!(schema::fault(&document, &media["schema"], &media["example"]), None);
    }
}

/// Read, and then perhaps refused: there is nothing yet that it is about.
#[tokio::test]
async fn the_server_reads_every_example() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    // The campaign of the examples has a sender.
    let sender = serde_json::json!({ "name": "capture", "url": "capture:", "from": "a@b.example" });
    admin.post("/senders", &sender).await.json(201);
    let mut read = 0;
    for operation in Operation::all(&document()) {
        let Some((content_type, media)) = operation.body() else { continue };
        let mut parts: Vec<&str> = operation.path.split('/').collect();
        for part in parts.iter_mut().filter(|part| part.starts_with('{')) {
            *part = "01a20173-6e91-7737-b709-f6b2b9f31b92";
        }
        let text = match &media["example"] {
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let method: Method = operation.method.to_uppercase().parse().unwrap();
        let request = admin
            .request(method, &parts.join("/"))
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(text))
            .unwrap();
        let answer = admin.send(request).await;
        let text = String::from_utf8_lossy(&answer.bytes);
        let is_read = answer.status.is_success() || [404, 409].contains(&answer.status.as_u16());
        assert!(is_read, "{operation}: {} {text}", answer.status);
        read += 1;
    }
    assert!(read >= 27, "only {read} bodies");
}
