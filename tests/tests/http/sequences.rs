//! Versions of sequences.

use activities::api_keys::Role;
use serde_json::json;

use crate::campaigns::{made, spring, with};
use crate::programs::Api;

#[tokio::test]
async fn every_version_is_kept_as_it_was_published() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let path = made(&operator, &spring()).await;
    let campaign = operator.get(&path).await.json(200);
    let first = campaign["document"].clone();
    operator.order(&format!("{path}/start")).await.json(202);
    let mut second = with(first.clone(), "senders", json!(["capture"]));
    second["steps"][1]["wait"] = json!("4 days");
    let versions = format!("{path}/versions");
    let published = operator.post(&versions, &second).await;
    assert_eq!(published.headers["etag"], "\"2\"");
    assert_eq!(published.json(200)["version"], 2);
    let renamed = with(second, "name", json!("summer"));
    assert_eq!(operator.post(&versions, &renamed).await.faulty_fields(), ["name"]);

    let sequence = format!("/sequences/{}/versions", campaign["sequence"].as_str().unwrap());
    let page = operator.get(&format!("{sequence}?limit=1")).await.json(200);
    assert_eq!(page["items"][0]["version"], 2);
    let next = page["next"].as_str().unwrap();
    let rest = operator.get(&format!("{sequence}?limit=1&cursor={next}")).await.json(200);
    assert_eq!(rest["items"][0]["version"], 1);
    let kept = operator.get(&format!("{sequence}/1")).await.json(200);
    assert_eq!(kept["document"], first);
    assert_eq!(operator.get(&format!("{sequence}/3")).await.problem(404).0, "not-found");
    assert_eq!(operator.get(&format!("{sequence}/x")).await.problem(404).0, "not-found");
    let stranger = api.stranger(Role::Admin).await;
    assert_eq!(stranger.get(&sequence).await.problem(404).0, "not-found");
    assert_eq!(stranger.get(&format!("{sequence}/1")).await.problem(404).0, "not-found");
}
