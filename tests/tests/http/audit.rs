//! Who did what, and that nobody can change it unseen.

use activities::api_keys::Role;
use activities::{audit_chain, verify};
use serde_json::json;

use crate::campaigns::{made, spring, with};
use crate::programs::Api;

#[tokio::test]
async fn acts_are_on_record_and_a_changed_one_breaks_the_chain() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    for n in 0..3 {
        let new = json!({ "domain": format!("d{n}.example.com") });
        admin.post("/suppressions", &new).await.json(201);
    }
    let acts = admin.get("/audit").await.json(200);
    let acts = acts["items"].as_array().unwrap();
    let said: Vec<&str> = acts.iter().map(|act| act["act"].as_str().unwrap()).collect();
    assert_eq!(said, ["suppression.add", "suppression.add", "suppression.add", "key.create"]);
    assert!(acts[0]["actor"].as_str().unwrap().starts_with("key/"));
    assert_eq!(acts[0]["seal"], json!(null));

    let store = &api.room.store;
    assert_eq!(audit_chain::seal(store, api.workspace).await.unwrap(), 4);
    assert_eq!(audit_chain::seal(store, api.workspace).await.unwrap(), 0);
    let chain = audit_chain::look(store, api.workspace, None).await.unwrap();
    assert_eq!((chain.sealed, chain.broken), (4, None));
    let anchor = chain.end.unwrap();
    assert_eq!(anchor.act, acts[0]["id"].as_i64().unwrap());
    let sealed = admin.get("/audit?limit=1").await.json(200);
    assert_eq!(sealed["items"][0]["seal"].as_str().unwrap().len(), 64);

    // Only the owner of the tables can do this; the program's role may not.
    let third = acts[1]["id"].as_i64().unwrap();
    let mut owner = api.database.owner().await;
    let workspace = api.workspace.to_string();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "SELECT set_config('app.workspace_id', '{workspace}', false);
         UPDATE audit SET actor = 'nobody' WHERE audit_id = {third}"
    )))
    .execute(&mut owner)
    .await
    .unwrap();
    let chain = audit_chain::look(store, api.workspace, None).await.unwrap();
    assert_eq!((chain.sealed, chain.broken), (2, Some(third)));
    let checks = verify::verify(store, &api.room.versions, api.workspace).await.unwrap();
    let broken: Vec<_> = checks.iter().filter(|check| check.broken > 0).collect();
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].example.as_deref(), Some(format!("act {third}").as_str()));
    assert_eq!(api.program(Role::Operator).await.get("/audit").await.problem(403).0, "forbidden");
}

#[tokio::test]
async fn whatever_programs_do_is_on_record_under_their_key() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let sender = json!({ "name": "ada", "url": "capture:", "from": "ada@harbour.example" });
    admin.post("/senders", &sender).await.json(201);
    admin.post("/senders", &sender).await.json(201);
    admin.post("/senders/ada/pause", &json!({ "reason": "moving" })).await;
    admin.post("/senders/ada/resume", &json!({})).await;
    let lead = json!({ "emails": ["ann@example.com"], "attributes": { "first_name": "Ann" } });
    let lead = admin.post("/leads", &lead).await.json(201);
    let lead_path = format!("/leads/{}", lead["id"].as_str().unwrap());
    admin.patch(&lead_path, &json!({ "zone": "UTC" })).await.json(200);
    let document = with(spring(), "senders", json!(["ada"]));
    let path = made(&admin, &document).await;
    admin.order(&format!("{path}/start")).await.json(202);
    let leads = json!({ "leads": [lead["id"]] });
    let entered = admin.post(&format!("{path}/enrollments"), &leads).await.json(200);
    let enrollment = entered["enrollments"][0]["enrollment"].as_str().unwrap().to_owned();
    api.turn().await;
    let order = json!({ "signal": "pause" });
    admin.post(&format!("/enrollments/{enrollment}/signals"), &order).await.json(202);
    let second = with(document, "zone", json!("UTC"));
    admin.post(&format!("{path}/versions"), &second).await.json(200);
    admin.order(&format!("/enrollments/{enrollment}/move")).await.json(200);
    admin.order(&format!("{path}/pause")).await.json(200);
    admin.post(&format!("{path}/resume"), &json!({ "rule": "keep" })).await.json(200);
    admin.order(&format!("{path}/move")).await.json(200);
    admin.order(&format!("{path}/stop")).await.json(200);
    admin.delete(&lead_path).await;

    let acts = admin.get("/audit").await.json(200);
    let acts: Vec<_> = acts["items"].as_array().unwrap().iter().rev().collect();
    let said: Vec<&str> = acts.iter().map(|act| act["act"].as_str().unwrap()).collect();
    assert_eq!(
        said,
        [
            "key.create",
            "sender.create",
            "sender.change",
            "sender.pause",
            "sender.resume",
            "lead.create",
            "lead.change",
            "campaign.create",
            "campaign.start",
            "campaign.enroll",
            "paused",
            "campaign.publish",
            "version_moved",
            "campaign.pause",
            "campaign.resume",
            "campaign.move",
            "campaign.stop",
            "lead.erase",
        ]
    );
    for act in &acts[1..] {
        assert!(act["actor"].as_str().unwrap().starts_with("key/"), "{act}");
    }
    assert!(acts.iter().all(|act| !act.to_string().contains("ann@")), "{acts:?}");
}
