//! Who may do what.

use activities::api_keys::Role;
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use crate::programs::Api;

#[tokio::test]
async fn nobody_gets_in_without_a_key_in_force() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let no_key = Request::get("/api/v1/suppressions").body(Body::empty()).unwrap();
    let answer = api.send(no_key).await;
    assert_eq!(answer.problem(401).0, "unauthenticated");
    assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
    for wrong in ["Basic abc", "Bearer", "Bearer mk_x_y", &format!("Bearer {}x", admin.secret)] {
        let request = Request::get("/api/v1/suppressions").header(header::AUTHORIZATION, wrong);
        assert_eq!(
            api.send(request.body(Body::empty()).unwrap()).await.problem(401).0,
            "unauthenticated"
        );
    }

    let made = admin.post("/keys", &json!({ "name": "CRM", "role": "viewer" })).await.json(201);
    let crm = api.program_with(made["secret"].as_str().unwrap());
    crm.get("/suppressions").await.json(200);
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(admin.delete(&format!("/keys/{id}")).await.status, 204);
    assert_eq!(crm.get("/suppressions").await.problem(401).0, "unauthenticated");
    assert_eq!(admin.delete(&format!("/keys/{id}")).await.problem(404).0, "not-found");
    let listed = admin.get("/keys").await.json(200);
    let revoked = listed["items"].as_array().unwrap().iter().find(|key| key["id"] == *id).unwrap();
    assert!(!revoked["revoked_at"].is_null() && !revoked["last_used_at"].is_null());
    assert!(revoked.get("secret").is_none());
}

#[tokio::test]
async fn a_role_may_do_what_those_below_it_may_and_no_more() {
    let api = Api::new().await;
    let new = json!({ "domain": "example.com" });
    let viewer = api.program(Role::Viewer).await;
    viewer.get("/suppressions").await.json(200);
    let (kind, detail) = viewer.post("/suppressions", &new).await.problem(403);
    assert_eq!(kind, "forbidden");
    assert!(detail.contains("viewer") && detail.contains("operator"), "{detail}");
    let operator = api.program(Role::Operator).await;
    operator.post("/suppressions", &new).await.json(201);
    assert_eq!(operator.get("/keys").await.problem(403).0, "forbidden");
    api.program(Role::Admin).await.get("/keys").await.json(200);
}

#[tokio::test]
async fn a_key_that_asks_too_fast_is_told_when_to_come_back() {
    let api = Api::new().await;
    let viewer = api.program(Role::Viewer).await;
    let mut refused = None;
    // Many at once: one after another they may be too slow for the bound.
    for _ in 0..20 {
        let answers = futures::future::join_all((0..200).map(|_| viewer.get("/keys"))).await;
        for answer in answers {
            if answer.status == 429 {
                refused = Some(answer);
            } else {
                let left = answer.headers["ratelimit"].to_str().unwrap();
                assert!(left.starts_with("\"key\";r="), "{left}");
            }
        }
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("the rate is bounded");
    assert_eq!(refused.problem(429).0, "too-many-requests");
    assert!(refused.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(refused.headers["ratelimit-policy"], "\"key\";q=200;w=2");
    // Others are not held up.
    api.program(Role::Viewer).await.get("/suppressions").await.json(200);
}
