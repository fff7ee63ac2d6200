//! A campaign from its document to its end by HTTP alone, with a running engine behind it.

use activities::api_keys::Role;
use chrono::TimeDelta;
use postgres_runner::{Runner, Settings};
use serde_json::json;

use crate::campaigns::spring;
use crate::programs::Api;

#[tokio::test]
async fn a_campaign_is_made_started_watched_and_stopped() {
    let api = Api::new().await;
    let leads: String = (0..30).map(|n| format!("lead{n}@example.com,Lead {n}\n")).collect();
    api.import(&format!("email,first_name\n{leads}")).await;
    let runner = Runner::start(api.room.clone(), Settings::default()).await.unwrap();
    let operator = api.program(Role::Operator).await;

    let made = operator.post("/campaigns", &spring()).await.json(201);
    let path = format!("/campaigns/{}", made["id"].as_str().unwrap());
    let enrollments = format!("{path}/enrollments");
    operator.order(&format!("{path}/start")).await.json(202);
    operator.until(&path, |campaign| campaign["sent"] == 30).await;
    operator.until(&path, |campaign| campaign["states"] == json!({ "waiting": 30 })).await;
    let campaign = operator.get(&path).await.json(200);
    assert_eq!(campaign["steps"][0]["counts"]["sent"], 30);
    assert!(campaign.get("start_at").is_none());

    let first = operator.get(&format!("{enrollments}?limit=1")).await.json(200);
    let first = format!("/enrollments/{}", first["items"][0]["id"].as_str().unwrap());
    let shown = operator.get(&first).await.json(200);
    assert_eq!(shown["plan"]["next"]["step"], "nudge");
    assert_eq!(shown["sends"][0]["state"], "accepted");
    let signals = format!("{first}/signals");
    operator.post(&signals, &json!({ "signal": "send_now", "step": "nudge" })).await.json(202);
    operator.until(&first, |shown| shown["plan"]["state"] == "finished").await;

    let paused = operator.order(&format!("{path}/pause")).await.json(200);
    assert_eq!(paused["status"], "paused");
    operator.until(&path, |campaign| campaign["states"]["paused"] == 29).await;
    api.after(TimeDelta::days(4)).await;
    let resume = format!("{path}/resume");
    operator.post(&resume, &json!({ "rule": "shift" })).await.json(200);
    operator.until(&path, |campaign| campaign["states"]["waiting"] == 29).await;
    assert_eq!(operator.get(&path).await.json(200)["sent"], 31);
    assert_eq!(
        operator.post(&resume, &json!({ "rule": "shift" })).await.json(200)["status"],
        "active"
    );

    operator.order(&format!("{path}/stop")).await.json(200);
    let over = json!({ "finished": 1, "stopped": 29 });
    operator.until(&path, |campaign| campaign["states"] == over).await;
    let campaign = operator.get(&path).await.json(200);
    assert_eq!((&campaign["status"], &campaign["live"]), (&json!("stopped"), &json!(0)));
    for (verb, body) in
        [("start", json!({})), ("pause", json!({})), ("enrollments", json!({ "everyone": {} }))]
    {
        let answer = operator.post(&format!("{path}/{verb}"), &body).await;
        assert_eq!(answer.problem(409).0, "conflict", "{verb}");
    }
    let stopped = operator.get(&format!("{enrollments}?state=stopped&limit=500")).await.json(200);
    assert_eq!(stopped["items"].as_array().unwrap().len(), 29);
    runner.drain().await;
}
