//! `Idempotency-Key`.

use activities::api_keys::Role;
use serde_json::json;

use crate::programs::Api;

#[tokio::test]
async fn a_repeated_post_is_done_once_and_answered_alike() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let new = json!({ "name": "CRM", "role": "viewer" });
    let first = admin.post_once("once", "/keys", &new).await;
    let again = admin.post_once("once", "/keys", &new).await;
    assert_eq!(first.json(201), again.json(201));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(first.headers["location"], again.headers["location"]);
    let keys = admin.get("/keys").await.json(200);
    assert_eq!(keys["items"].as_array().unwrap().len(), 2);

    let other = json!({ "name": "other", "role": "viewer" });
    let reused = admin.post_once("once", "/keys", &other).await.problem(422);
    assert_eq!(reused.0, "idempotency-key-reused");
    // The same name stands for another request with each key, and a refusal is kept as well.
    let second = api.program(Role::Admin).await;
    assert_ne!(second.post_once("once", "/keys", &new).await.json(201), first.json(201));
    let wrong = json!({ "name": "", "role": "viewer" });
    assert_eq!(admin.post_once("wrong", "/keys", &wrong).await.problem(422).0, "invalid");
    let replayed = admin.post_once("wrong", "/keys", &wrong).await;
    assert_eq!(replayed.problem(422).0, "invalid");
    assert_eq!(replayed.headers["idempotency-replayed"], "true");
    let long = "x".repeat(256);
    assert_eq!(admin.post_once(&long, "/keys", &new).await.problem(400).0, "malformed");
}

#[tokio::test]
async fn two_at_once_are_one() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let new = json!({ "name": "CRM", "role": "viewer" });
    let (one, two) =
        tokio::join!(admin.post_once("x", "/keys", &new), admin.post_once("x", "/keys", &new));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert!(matches!(statuses, [201, 201] | [201, 409]), "{statuses:?}");
    let keys = admin.get("/keys").await.json(200);
    assert_eq!(keys["items"].as_array().unwrap().len(), 2);
}
