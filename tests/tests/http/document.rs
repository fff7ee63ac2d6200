//! The OpenAPI document.

use std::path::Path;

use server::cli::schema;

#[test]
fn the_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == schema::api_text(),
        "the API has changed: run `meridian schema api > server/openapi.json`"
    );
}

#[test]
fn every_operation_has_a_name_a_summary_a_role_and_a_tag() {
    let document: serde_json::Value = serde_json::from_str(&schema::api_text()).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for part in ["operationId", "summary", "x-meridian-role", "security", "tags"] {
                assert!(!operation[part].is_null(), "{method} {path} lacks {part}");
            }
            assert!(operation["responses"]["default"].is_object(), "{method} {path}: no problem");
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(names.insert(name), "{method} {path} has another's name");
        }
    }
}
