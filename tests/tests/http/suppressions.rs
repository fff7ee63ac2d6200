//! Those we never write to.

use activities::api_keys::Role;
use axum::body::Body;
use axum::http::{Method, header};
use serde_json::{Value, json};

use crate::programs::Api;

#[tokio::test]
async fn an_address_is_suppressed_however_it_is_spelt_until_a_person_lifts_it() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let first = operator.post("/suppressions", &json!({ "address": "Ada@Example.com" })).await;
    let first = first.json(201);
    assert_eq!(first["reason"], "by_person");
    let again = operator.post("/suppressions", &json!({ "address": "ada+x@example.com" })).await;
    assert_eq!(again.json(201), first);
    let path = format!("/suppressions/{}", first["id"].as_str().unwrap());
    // Another tenant cannot see it, nor learn that it is there.
    let stranger = api.stranger(Role::Admin).await;
    assert_eq!(stranger.get("/suppressions").await.json(200)["items"], json!([]));
    assert_eq!(stranger.delete(&path).await.problem(404).0, "not-found");
    assert_eq!(operator.delete(&path).await.status, 204);
    assert_eq!(operator.delete(&path).await.problem(404).0, "not-found");
    assert_eq!(operator.get("/suppressions").await.json(200)["items"], json!([]));
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    for n in 0..7 {
        let new = json!({ "domain": format!("d{n}.example.com") });
        operator.post("/suppressions", &new).await.json(201);
    }
    let mut seen: Vec<Value> = Vec::new();
    let mut path = "/suppressions?limit=3".to_owned();
    loop {
        let page = operator.get(&path).await.json(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|it| it["value"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/suppressions?limit=3&cursor={next}");
    }
    let newest_first: Vec<String> = (0..7).rev().map(|n| format!("d{n}.example.com")).collect();
    assert_eq!(json!(seen), json!(newest_first));
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let post = async |body: Value| operator.post("/suppressions", &body).await;
    assert!(post(json!({ "address": "nobody" })).await.problem(422).1.starts_with("address: "));
    assert!(post(json!({ "domain": "a b" })).await.problem(422).1.starts_with("domain: "));
    let (kind, detail) = post(json!({ "adress": "a@b.example" })).await.problem(422);
    assert_eq!(kind, "invalid");
    assert!(detail.starts_with("adress: ") && detail.contains("`address`"), "{detail}");
    let detail = post(json!({})).await.problem(422).1;
    assert!(detail.starts_with("address: is missing: name an `address`"), "{detail}");
    let both = json!({ "address": "a@b.example", "domain": "b.example" });
    assert!(post(both).await.problem(422).1.starts_with("domain: stands beside `address`"));
    for body in [json!([]), json!("a@b.example"), json!({ "address": 7 }), json!(null)] {
        let (kind, detail) = post(body).await.problem(422);
        assert!(kind == "invalid" && !detail.contains("not JSON"), "{detail}");
    }
    assert_eq!(operator.get("/suppressions?limit=0").await.problem(422).0, "invalid");
    assert_eq!(operator.get("/suppressions?limit=501").await.problem(422).0, "invalid");
    assert_eq!(operator.get("/suppressions?limit=x").await.problem(422).0, "invalid");
    assert_eq!(operator.get("/suppressions?page=2").await.problem(422).0, "invalid");
    assert_eq!(operator.get("/suppressions?cursor=x").await.problem(422).0, "invalid");
    assert_eq!(operator.delete("/suppressions").await.problem(405).0, "wrong-method");
    assert_eq!(operator.get("/nothing").await.problem(404).0, "not-found");
    assert_eq!(operator.delete("/suppressions/x").await.problem(404).0, "not-found");
    let raw = |content_type: &str, body: &'static str| {
        operator
            .request(Method::POST, "/suppressions")
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .unwrap()
    };
    let send = async |content_type, body| operator.send(raw(content_type, body)).await;
    assert_eq!(send("text/plain", "{}").await.problem(415).0, "wrong-type");
    assert_eq!(send("application/json", "{").await.problem(400).0, "malformed");
    assert_eq!(send("application/json", "\u{0}").await.problem(400).0, "malformed");
}
