//! What a person does about leads by API: handovers, messages, reviews, letters, senders.

use activities::api_keys::Role;
use serde_json::{Value, json};

use crate::campaigns::spring;
use crate::programs::Api;

/// One mail, then a person.
fn campaign() -> Value {
    json!({
        "name": "spring",
        "zone": "UTC",
        "handover": { "to": "sales@harbour.example", "answer_within": "2 hours" },
        "steps": [
            { "key": "intro", "email": { "subject": "Hello", "body": "Hello there." } },
            { "key": "person", "handover": {} },
        ],
    })
}

#[tokio::test]
async fn a_lead_is_taken_answered_and_closed_by_programs() {
    let api = Api::new().await;
    let _engine = api.runs(&campaign(), &["ada@example.com"]).await;
    let operator = api.program(Role::Operator).await;
    let offered = |page: &Value| page["items"][0]["state"] == "offered";
    let open = operator.until("/handovers", offered).await;
    assert_eq!(open["items"][0]["email"], "ada@example.com");
    let enrollment = open["items"][0]["enrollment"].as_str().unwrap();
    let at = |verb: &str| format!("/handovers/{enrollment}/{verb}");

    let stranger = api.stranger(Role::Operator).await;
    assert_eq!(stranger.post(&at("accept"), &json!({})).await.problem(404).0, "not-found");
    let viewer = api.program(Role::Viewer).await;
    assert_eq!(viewer.post(&at("accept"), &json!({})).await.problem(403).0, "forbidden");
    assert_eq!(
        operator.post(&at("close"), &json!({ "result": "x" })).await.problem(422).0,
        "invalid"
    );

    assert_eq!(operator.post(&at("accept"), &json!({})).await.status, 204);
    operator.until("/handovers", |page| page["items"][0]["state"] == "accepted").await;
    assert_eq!(operator.post(&at("answered"), &json!({})).await.status, 204);
    operator.until("/handovers", |page| page["items"][0]["state"] == "answered").await;
    assert_eq!(operator.post(&at("close"), &json!({ "result": "won" })).await.status, 204);
    operator.until("/handovers", |page| page["items"] == json!([])).await;
    let all = operator.get("/handovers?all=true").await.json(200);
    assert_eq!(all["items"][0]["result"], "won");
    assert_eq!(operator.post(&at("give-back"), &json!({})).await.problem(404).0, "not-found");
}

#[tokio::test]
async fn every_message_can_be_read_with_its_text() {
    let api = Api::new().await;
    let _engine = api.runs(&campaign(), &["ada@example.com"]).await;
    let viewer = api.program(Role::Viewer).await;
    let open = viewer.until("/handovers", |page| page["items"][0]["state"] == "offered").await;
    let enrollment = open["items"][0]["enrollment"].as_str().unwrap();
    let of_enrollment = format!("/sends?enrollment={enrollment}");
    let sends = viewer
        .until(&of_enrollment, |page| {
            let items = page["items"].as_array().unwrap();
            items.len() == 2 && items.iter().all(|send| send["state"] == "accepted")
        })
        .await;
    let first = &sends["items"][0];
    assert_eq!((&first["step"], &first["address"]), (&json!("intro"), &json!("ada@example.com")));
    let lead = first["lead"].as_str().unwrap();
    assert_eq!(viewer.get(&format!("/sends?lead={lead}")).await.json(200), sends);
    let whole = viewer.get(&format!("/sends/{}", first["id"].as_str().unwrap())).await.json(200);
    assert_eq!(whole["subject"], "Hello");
    assert!(whole["text"].as_str().unwrap().starts_with("Hello there."));

    let to_review = viewer.get("/sends?state=needs_review").await.json(200);
    assert_eq!(to_review["items"], json!([]));
    assert_eq!(viewer.get("/sends").await.problem(422).0, "invalid");
    let stranger = api.stranger(Role::Admin).await;
    assert_eq!(stranger.get(&of_enrollment).await.problem(404).0, "not-found");
    let path = format!("/sends/{}", first["id"].as_str().unwrap());
    assert_eq!(stranger.get(&path).await.problem(404).0, "not-found");
    let review = json!({ "verdict": "sent" });
    let operator = api.program(Role::Operator).await;
    assert_eq!(operator.post(&format!("{path}/review"), &review).await.problem(404).0, "not-found");
}

#[tokio::test]
async fn a_sender_is_set_up_stopped_and_resumed_and_keeps_its_password_to_itself() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let ada = json!({
        "name": "ada", "url": "smtp://ada@127.0.0.1:2525", "password": "s3cret",
        "from": "ada@harbour.example", "from_name": "Ada", "per_day": 50, "spacing_s": 30,
    });
    let set = admin.post("/senders", &ada).await.json(201);
    assert_eq!(set["is_new"], true);
    assert_eq!(admin.post("/senders", &ada).await.json(201)["is_new"], false);
    // A second one would have the limits of two.
    let mut twin = ada.clone();
    twin["name"] = json!("twin");
    twin["from"] = json!("Ada@Harbour.example");
    let refused = admin.post("/senders", &twin).await.problem(422).1;
    assert!(refused.starts_with("from: the sender `ada`"), "{refused}");
    assert_eq!(admin.post("/senders/ada/pause", &json!({ "reason": "moving" })).await.status, 204);
    let listed = admin.get("/senders").await;
    assert!(!String::from_utf8_lossy(&listed.bytes).contains("s3cret"));
    let listed = listed.json(200);
    assert_eq!(listed["items"][0]["status_reason"], "moving");
    assert_eq!(admin.post("/senders/ada/resume", &json!({})).await.status, 204);
    assert_eq!(admin.post("/senders/eve/resume", &json!({})).await.problem(404).0, "not-found");

    let wrong = json!({
        "name": "", "url": "gopher://x", "from": "nobody", "from_name": "a\nb", "zone": "Mars",
        "per_day": 0, "spacing_s": 100_000, "weight": 2_000,
    });
    let answer = admin.post("/senders", &wrong).await;
    assert_eq!(answer.problem(422).0, "invalid");
    let errors = answer.json(422)["errors"].as_array().unwrap().clone();
    let fields: Vec<&str> = errors.iter().map(|it| it["field"].as_str().unwrap()).collect();
    let all = ["name", "url", "from", "from_name", "zone", "per_day", "spacing_s", "weight"];
    assert_eq!(fields, all);
    for url in ["capture:/etc/passwd", "smtp://ada:s3cret@127.0.0.1:2525"] {
        let new = json!({ "name": "eve", "url": url, "from": "eve@harbour.example" });
        let answer = admin.post("/senders", &new).await;
        assert!(answer.problem(422).1.starts_with("url: "), "{url}");
    }
    assert_eq!(api.stranger(Role::Admin).await.get("/senders").await.json(200)["items"], json!([]));
}

#[tokio::test]
async fn what_was_given_up_is_listed_and_put_aside() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let mut tx = api.room.store.begin(api.workspace).await.unwrap();
    let subject = activities::store::dead_letters::Subject::Unmatched(activities::ids::new());
    let at = chrono::DateTime::UNIX_EPOCH;
    activities::store::dead_letters::add(&mut tx, api.workspace, subject, "from nobody", at)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let letters = operator.get("/dead-letters").await.json(200);
    assert_eq!(letters["items"][0]["kind"], "unmatched_mail");
    let path = format!("/dead-letters/{}", letters["items"][0]["id"].as_str().unwrap());
    let retry = operator.post(&format!("{path}/retry"), &json!({})).await;
    assert_eq!(retry.problem(409).0, "conflict");
    let stranger = api.stranger(Role::Admin).await;
    let dismiss = format!("{path}/dismiss");
    assert_eq!(stranger.post(&dismiss, &json!({})).await.problem(404).0, "not-found");
    assert_eq!(operator.post(&dismiss, &json!({})).await.status, 204);
    assert_eq!(operator.get("/dead-letters").await.json(200)["items"], json!([]));
}

/// No text in the database can hold it.
#[tokio::test]
async fn the_character_zero_is_refused_with_its_field() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let made = admin.post("/campaigns", &spring()).await.json(201);
    let duplicate = format!("/campaigns/{}/duplicate", made["id"].as_str().unwrap());
    let sender = json!({ "name": "one", "url": "capture:", "from": "one@example.com" });
    admin.post("/senders", &sender).await.json(201);
    let mut postal = sender.clone();
    postal["postal_address"] = json!("1 Street\0");
    let mut spoilt = spring();
    spoilt["steps"][0]["email"]["body"] = json!("Hello\0");
    for (path, body, field) in [
        ("/senders", &postal, "postal_address"),
        ("/senders/one/pause", &json!({ "reason": "\0" }), "reason"),
        ("/keys", &json!({ "name": "CRM\0", "role": "viewer" }), "name"),
        (&duplicate, &json!({ "name": "sp\0ring" }), "name"),
        ("/campaigns", &spoilt, "steps[0].email.body"),
        ("/sequences/validate", &spoilt, "steps[0].email.body"),
    ] {
        assert_eq!(admin.post(path, body).await.faulty_fields(), [field], "{path}");
    }
    assert_eq!(admin.get("/leads?text=%00").await.faulty_fields(), ["text"]);
    assert_eq!(admin.order("/senders/%00/resume").await.problem(404).0, "not-found");
}

#[tokio::test]
async fn a_field_that_is_missing_is_named() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let mut document = spring();
    document["steps"][0].as_object_mut().unwrap().remove("key");
    let faulty = operator.post("/sequences/validate", &document).await.faulty_fields();
    assert_eq!(faulty, ["steps[0].key"]);
    document.as_object_mut().unwrap().remove("zone");
    document["steps"][0]["key"] = json!("intro");
    let faulty = operator.post("/sequences/validate", &document).await.faulty_fields();
    assert_eq!(faulty, ["zone"]);
}
