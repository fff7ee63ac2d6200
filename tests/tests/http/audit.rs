//! Who did what, and that nobody can change it unseen.

use activities::api_keys::Role;
use activities::{audit_chain, verify};
use serde_json::json;

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
    let chain = audit_chain::look(store, api.workspace).await.unwrap();
    assert_eq!((chain.sealed, chain.broken), (4, None));
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
    let chain = audit_chain::look(store, api.workspace).await.unwrap();
    assert_eq!((chain.sealed, chain.broken), (2, Some(third)));
    let checks = verify::verify(store, &api.room.versions, api.workspace).await.unwrap();
    let broken: Vec<_> = checks.iter().filter(|check| check.broken > 0).collect();
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].example.as_deref(), Some(format!("act {third}").as_str()));
    assert_eq!(api.program(Role::Operator).await.get("/audit").await.problem(403).0, "forbidden");
}
