//! Agents by API: set up, changed, away, removed, and what they are offered.

use activities::api_keys::Role;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::programs::Api;

fn ann() -> Value {
    json!({
        "name": "Ann",
        "email": "ann@agents.example",
        "zone": "Europe/Lisbon",
        "hours": [{ "days": ["mon", "tue"], "from": "09:00", "to": "17:00" }],
        "open_max": 3,
    })
}

#[tokio::test]
async fn an_agent_is_added_changed_away_and_removed() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let operator = api.program(Role::Operator).await;
    assert_eq!(operator.post("/agents", &ann()).await.problem(403).0, "forbidden");
    let added = admin.post("/agents", &ann()).await;
    let path = added.headers["location"].to_str().unwrap().replacen("/api/v1", "", 1);
    let added = added.json(201);
    assert_eq!((&added["open"], &added["active"]), (&json!(0), &json!(true)));
    assert_eq!(admin.post("/agents", &ann()).await.problem(409).0, "conflict");

    let shown = operator.get(&path).await;
    let tag = shown.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(shown.json(200), added);
    let change = json!({ "open_max": 1, "hours": null, "active": false });
    let changed = admin.patch_if(&tag, &path, &change).await.json(200);
    assert_eq!((&changed["open_max"], &changed["hours"]), (&json!(1), &json!([])));
    assert_eq!(changed["works_from"], Value::Null);
    assert_eq!((&changed["name"], &changed["zone"]), (&json!("Ann"), &json!("Europe/Lisbon")));
    let stale = admin.patch_if(&tag, &path, &json!({ "open_max": 2 })).await;
    assert_eq!(stale.status, 412);
    admin.patch(&path, &json!({ "active": true })).await.json(200);

    let absences = format!("{path}/absences");
    let away = json!({ "until": "2199-01-01T00:00:00Z" });
    let absence = operator.post(&absences, &away).await.json(201);
    let backwards = json!({ "from": "2199-01-01T00:00:00Z", "until": "2198-01-01T00:00:00Z" });
    assert_eq!(operator.post(&absences, &backwards).await.faulty_fields(), ["until"]);
    let shown = operator.get(&path).await.json(200);
    assert_eq!(shown["works_from"], "2199-01-01T00:00:00Z");
    assert_eq!(operator.get(&absences).await.json(200)["items"], json!([absence]));
    let one = format!("{absences}/{}", absence["id"].as_str().unwrap());
    assert_eq!(operator.delete(&one).await.status, 204);
    assert_eq!(operator.delete(&one).await.problem(404).0, "not-found");

    let wrong = json!({
        "name": " ", "email": "nobody", "zone": "Mars", "open_max": 0,
        "hours": [{ "days": [], "from": "09:00", "to": "17:00" }],
    });
    let fields = admin.post("/agents", &wrong).await.faulty_fields();
    assert_eq!(fields, ["name", "email", "zone", "hours[0].days", "open_max"]);
    let stranger = api.stranger(Role::Admin).await;
    assert_eq!(stranger.get(&path).await.problem(404).0, "not-found");
    assert_eq!(stranger.delete(&path).await.problem(404).0, "not-found");
    assert_eq!(stranger.get("/agents").await.json(200)["items"], json!([]));

    assert_eq!(admin.delete(&path).await.status, 204);
    assert_eq!(admin.get(&path).await.problem(404).0, "not-found");
    let acts = admin.get("/audit?limit=100").await.json(200);
    let acts: Vec<&str> =
        acts["items"].as_array().unwrap().iter().map(|it| it["act"].as_str().unwrap()).collect();
    for act in ["agent.create", "agent.change", "agent.away", "agent.back", "agent.delete"] {
        assert!(acts.contains(&act), "{act} is not in {acts:?}");
    }
}

/// A campaign that asks an agent at once.
fn handed_over_in_turn() -> Value {
    json!({
        "name": "spring",
        "zone": "UTC",
        "handover": { "agents": "in_turn", "answer_within": "2 hours" },
        "steps": [{ "key": "person", "handover": {} }],
    })
}

#[tokio::test]
async fn a_handover_names_the_agent_who_is_asked() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let always = json!({ "name": "Ann", "email": "ann@agents.example" });
    admin.post("/agents", &always).await.json(201);
    let _engine = api.runs(&handed_over_in_turn(), &["ada@example.com"]).await;
    let named = |page: &Value| page["items"][0]["agent"] == "Ann";
    let open = admin.until("/handovers", named).await;
    assert_eq!(open["items"][0]["state"], "offered");
    assert_eq!(admin.get("/agents").await.json(200)["items"][0]["open"], 1);
    let names_her = |enrollment: &Value| {
        let headline = enrollment["plan"]["headline"].as_str().unwrap();
        headline.starts_with("Offered to ann@agents.example, who has until")
    };
    admin.until(&enrollment_path(&open), names_her).await;
}

#[tokio::test]
async fn a_handover_that_nobody_can_take_says_until_when() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let ann = json!({ "name": "Ann", "email": "ann@agents.example" });
    let ann = admin.post("/agents", &ann).await.json(201)["id"].as_str().unwrap().to_owned();
    let until = (api.now().await + TimeDelta::days(9)).to_rfc3339();
    let away = json!({ "until": until });
    admin.post(&format!("/agents/{ann}/absences"), &away).await.json(201);
    let _engine = api.runs(&handed_over_in_turn(), &["ada@example.com"]).await;
    let is_there = |page: &Value| !page["items"].as_array().unwrap().is_empty();
    let open = admin.until("/handovers", is_there).await;
    let path = enrollment_path(&open);
    let waits = |enrollment: &Value| {
        let headline = enrollment["plan"]["headline"].as_str().unwrap();
        headline.starts_with("Waits for a person: nobody can be asked before")
    };
    admin.until(&path, waits).await;
}

fn enrollment_path(handovers: &Value) -> String {
    format!("/enrollments/{}", handovers["items"][0]["enrollment"].as_str().unwrap())
}
