//! Lists that grow without bound, and the places that answers name.

use std::collections::BTreeSet;

use activities::api_keys::Role;
use activities::ids;
use activities::store::dead_letters::{self, Subject};
use axum::http::header;
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};

use crate::programs::{Api, Program};

/// Reads a list to its end by its cursors, a few items at a time.
async fn whole(program: &Program<'_>, list: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut page = program.get(&format!("{list}limit=2")).await.json(200);
    loop {
        let read = page["items"].as_array().unwrap();
        assert!((1..=2).contains(&read.len()), "{list}: {page}");
        items.extend(read.clone());
        let Some(next) = page["next"].as_str() else { return items };
        page = program.get(&format!("{list}limit=2&cursor={next}")).await.json(200);
    }
}

#[tokio::test]
async fn every_list_is_read_to_its_end_page_by_page() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let mut tx = api.room.store.begin(api.workspace).await.unwrap();
    for n in 0..5 {
        // Two of the same time stand in the order of their ids.
        let at = DateTime::UNIX_EPOCH + TimeDelta::days(n / 2);
        let subject = Subject::Unmatched(ids::new());
        dead_letters::add(&mut tx, api.workspace, subject, "from nobody", at).await.unwrap();
    }
    tx.commit().await.unwrap();
    for n in 0..4 {
        let sender = json!({ "name": format!("s{n}"), "url": "capture:", "from": "a@b.example" });
        admin.post("/senders", &sender).await.json(201);
        admin.post("/keys", &json!({ "name": "CRM", "role": "viewer" })).await.json(201);
        let endpoint = json!({ "provider": "mailgun", "signing_key": "secret" });
        admin.post("/webhook-endpoints", &endpoint).await.json(201);
    }
    for (list, count) in
        [("/dead-letters?", 5), ("/senders?", 4), ("/keys?", 5), ("/webhook-endpoints?", 4)]
    {
        let items = whole(&admin, list).await;
        let ids: BTreeSet<_> = items.iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!((items.len(), ids.len()), (count, count), "{list}");
        let at_once = admin.get(list).await.json(200);
        assert_eq!(at_once["items"], json!(items), "{list}");
        let foreign = admin.get(&format!("{list}cursor=bm9uZQ")).await;
        assert_eq!(foreign.faulty_fields(), ["cursor"], "{list}");
    }
}

#[tokio::test]
async fn handovers_are_read_page_by_page_the_most_urgent_first() {
    let document = json!({
        "name": "spring",
        "zone": "UTC",
        "handover": { "to": "sales@harbour.example", "answer_within": "2 hours" },
        "steps": [{ "key": "person", "handover": {} }],
    });
    let api = Api::new().await;
    let people: Vec<String> = (0..5).map(|n| format!("lead{n}@example.com")).collect();
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    let _engine = api.runs(&document, &people).await;
    let operator = api.program(Role::Operator).await;
    let all = |page: &Value| page["items"].as_array().is_some_and(|it| it.len() == 5);
    let offered = operator
        .until("/handovers", |page| {
            all(page) && page["items"].as_array().unwrap().iter().all(|it| it["state"] == "offered")
        })
        .await;
    for n in [1, 3] {
        let enrollment = offered["items"][n]["enrollment"].as_str().unwrap();
        let close = format!("/handovers/{enrollment}/close");
        assert_eq!(operator.post(&close, &json!({ "result": "won" })).await.status, 204);
    }
    operator.until("/handovers", |page| page["items"].as_array().unwrap().len() == 3).await;
    let items = whole(&operator, "/handovers?all=true&").await;
    let open: Vec<bool> = items.iter().map(|it| it["closed_at"].is_null()).collect();
    assert_eq!(open, [true, true, true, false, false]);
    let leads: BTreeSet<_> = items.iter().map(|it| it["enrollment"].as_str().unwrap()).collect();
    assert_eq!(leads.len(), 5);
    assert_eq!(whole(&operator, "/handovers?").await[..], items[..3]);
    // The cursor of one list opens no other.
    let next = operator.get("/handovers?limit=1").await.json(200)["next"].clone();
    let other = format!("/handovers?all=true&cursor={}", next.as_str().unwrap());
    assert_eq!(operator.get(&other).await.faulty_fields(), ["cursor"]);
}

#[tokio::test]
async fn what_a_location_names_answers_its_owner_and_nobody_else() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let stranger = api.stranger(Role::Admin).await;
    for (list, new) in [
        (
            "/senders",
            json!({ "name": "house / garden?", "url": "capture:", "from": "a@b.example" }),
        ),
        ("/keys", json!({ "name": "CRM", "role": "viewer" })),
        ("/suppressions", json!({ "domain": "example.com" })),
        ("/webhook-endpoints", json!({ "provider": "twilio", "signing_key": "secret" })),
        ("/leads", json!({ "emails": ["ada@example.com"] })),
        ("/agents", json!({ "name": "Ada", "email": "ada@agents.example" })),
    ] {
        let made = admin.post(list, &new).await;
        let id = made.json(201)["id"].clone();
        let location = made.headers[header::LOCATION].to_str().unwrap();
        let path = location.strip_prefix("/api/v1").unwrap();
        let shown = admin.get(path).await.json(200);
        assert_eq!(shown["id"], id, "{location}");
        assert_eq!(stranger.get(path).await.problem(404).0, "not-found", "{location}");
        let secrets = ["secret", "url"].map(|name| shown.get(name).and_then(Value::as_str));
        assert!(list == "/senders" || secrets == [None, None], "{location}: {shown}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_shown_until_and_after_it_is_put_aside() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let mut tx = api.room.store.begin(api.workspace).await.unwrap();
    let (event, at) = (ids::new(), DateTime::UNIX_EPOCH);
    let subject = Subject::Unmatched(event);
    let id = dead_letters::add(&mut tx, api.workspace, subject, "from nobody", at).await.unwrap();
    tx.commit().await.unwrap();
    let path = format!("/dead-letters/{id}");
    let shown = operator.get(&path).await.json(200);
    assert_eq!((&shown["event"], &shown["cause"]), (&json!(event), &json!("from nobody")));
    assert!(shown["resolution"].is_null());
    let stranger = api.stranger(Role::Admin).await;
    assert_eq!(stranger.get(&path).await.problem(404).0, "not-found");
    assert_eq!(operator.order(&format!("{path}/dismiss")).await.status, 204);
    let put_aside = operator.get(&path).await.json(200);
    assert_eq!(put_aside["resolution"], "dismissed");
    assert_eq!(operator.get("/dead-letters").await.json(200)["items"], json!([]));
}

#[tokio::test]
async fn an_endpoint_is_made_by_admins_and_its_address_is_told_once() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let new = json!({ "provider": "mailgun", "signing_key": " s3cret " });
    let operator = api.program(Role::Operator).await;
    assert_eq!(operator.post("/webhook-endpoints", &new).await.problem(403).0, "forbidden");
    let made = admin.post("/webhook-endpoints", &new).await.json(201);
    let url = made["url"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1:8080/webhooks/mailgun/"), "{url}");
    let listed = admin.get("/webhook-endpoints").await;
    let text = String::from_utf8_lossy(&listed.bytes).into_owned();
    assert!(!text.contains("s3cret") && !text.contains("/webhooks/"), "{text}");
    let path = format!("/webhook-endpoints/{}", made["id"].as_str().unwrap());
    assert_eq!(admin.delete(&path).await.status, 204);
    assert!(admin.get(&path).await.json(200)["revoked_at"].is_string());
    assert_eq!(admin.delete(&path).await.problem(404).0, "not-found");
    for signing_key in ["", "  "] {
        let blank = json!({ "provider": "twilio", "signing_key": signing_key });
        let answer = admin.post("/webhook-endpoints", &blank).await;
        assert_eq!(answer.faulty_fields(), ["signing_key"]);
    }
    let unknown = json!({ "provider": "pigeon", "signing_key": "secret" });
    let answer = admin.post("/webhook-endpoints", &unknown).await;
    assert_eq!(answer.faulty_fields(), ["provider"]);
    let acts = admin.get("/audit").await.json(200);
    let acts = acts["items"].as_array().unwrap().iter().map(|act| act["act"].as_str().unwrap());
    let of_endpoints: Vec<_> = acts.filter(|act| act.starts_with("endpoint.")).collect();
    assert_eq!(of_endpoints.len(), 2, "{of_endpoints:?}");
}
