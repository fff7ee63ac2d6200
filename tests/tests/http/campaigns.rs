//! Campaigns.

use activities::api_keys::Role;
use activities::engine::Engine;
use activities::engine_move;
use chrono::{DateTime, TimeDelta, Utc};
use postgres_runner::{Runner, Settings};
use serde_json::{Value, json};

use crate::programs::{Api, Program, TEMPORAL_UI};

/// A campaign of two mails.
pub(crate) fn spring() -> Value {
    json!({
        "name": "spring",
        "zone": "Europe/Lisbon",
        "steps": [
            { "key": "intro", "email": { "subject": "Hello {{ first_name }}", "body": "Good day" } },
            { "key": "nudge", "wait": "3 days", "email": { "body": "Did you see it?" } },
        ],
    })
}

/// The same with a change.
pub(crate) fn with(mut document: Value, field: &str, value: Value) -> Value {
    document[field] = value;
    document
}

/// Makes a campaign and returns its path.
pub(crate) async fn made(program: &Program<'_>, document: &Value) -> String {
    let made = program.post("/campaigns", document).await.json(201);
    format!("/campaigns/{}", made["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_draft_is_made_replaced_and_duplicated() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let made = operator.post("/campaigns", &spring()).await;
    let campaign = made.json(201);
    assert_eq!(campaign["status"], "draft");
    assert_eq!(campaign["capture_made"], true);
    assert_eq!(campaign["steps"][1]["after"], "3 days");
    let path = format!("/campaigns/{}", campaign["id"].as_str().unwrap());
    assert_eq!(made.headers["location"], format!("/api/v1{path}"));
    let (kind, detail) = operator.post("/campaigns", &spring()).await.problem(409);
    assert_eq!(kind, "conflict");
    assert!(detail.contains(campaign["id"].as_str().unwrap()), "{detail}");

    let read = operator.get(&path).await;
    assert_eq!(read.headers["etag"], "\"1\"");
    let document = read.json(200)["document"].clone();
    let document = with(document, "senders", json!(["capture"]));
    let summer = with(document.clone(), "name", json!("summer"));
    let replaced = operator.patch_if("\"1\"", &path, &summer).await;
    assert_eq!(replaced.headers["etag"], "\"2\"");
    assert_eq!(replaced.json(200)["name"], "summer");
    assert_eq!(operator.patch_if("\"1\"", &path, &summer).await.problem(412).0, "changed");
    assert_eq!(operator.patch_if("2", &path, &summer).await.problem(412).0, "changed");

    let duplicate = format!("{path}/duplicate");
    let twin = operator.post(&duplicate, &json!({ "name": "autumn" })).await.json(201);
    assert_eq!((&twin["name"], &twin["version"]), (&json!("autumn"), &json!(1)));
    for (path, body) in
        [(&duplicate, json!({ "name": "autumn" })), (&path, twin["document"].clone())]
    {
        let answer = match path.ends_with("duplicate") {
            true => operator.post(path, &body).await,
            false => operator.patch(path, &body).await,
        };
        let detail = answer.problem(409).1;
        assert!(detail.contains(twin["id"].as_str().unwrap()), "{detail}");
    }
    operator.order(&format!("{path}/start")).await.json(202);
    assert_eq!(operator.patch(&path, &summer).await.problem(409).0, "conflict");
}

#[tokio::test]
async fn every_fault_of_a_document_is_told_with_its_field() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let post = async |body: Value| operator.post("/campaigns", &body).await;
    let shape = [
        (with(spring(), "zone", json!("Mars/Olympus")), "zone"),
        (with(spring(), "stepz", json!([])), "stepz"),
        (with(spring(), "steps", json!([{ "key": "A b" }])), "steps[0].key"),
        (with(spring(), "steps", json!([{ "key": "a", "wait": "soon" }])), "steps[0].wait"),
    ];
    for (document, field) in shape {
        assert_eq!(post(document.clone()).await.faulty_fields(), [field]);
        let validated = operator.post("/sequences/validate", &document).await;
        assert_eq!(validated.faulty_fields(), [field]);
    }
    let mut faulty = with(spring(), "senders", json!(["ada"]));
    faulty["steps"][1]["key"] = json!("intro");
    faulty["steps"][0]["email"]["body"] = json!("{% for x in y %}{% endfor %}");
    let mut fields = post(faulty.clone()).await.faulty_fields();
    fields.sort_unstable();
    assert_eq!(fields, ["senders[0]", "steps[0].email.body", "steps[1].key"]);
    let validated = operator.post("/sequences/validate", &faulty).await.json(200);
    assert_eq!(validated["faults"].as_array().unwrap().len(), 3);
    let sound = operator.post("/sequences/validate", &spring()).await.json(200);
    assert_eq!(sound["faults"], json!([]));
    assert_eq!(operator.get("/campaigns").await.json(200)["items"], json!([]));
}

#[tokio::test]
async fn campaigns_are_listed_by_name_and_status_in_pages() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    for name in ["a", "b", "c"] {
        let document = with(spring(), "name", json!(name));
        let document = match name {
            "a" => document,
            _ => with(document, "senders", json!(["capture"])),
        };
        made(&operator, &document).await;
    }
    let first = operator.get("/campaigns?limit=2").await.json(200);
    let next = first["next"].as_str().unwrap();
    let rest = operator.get(&format!("/campaigns?limit=2&cursor={next}")).await.json(200);
    assert_eq!(rest["items"][0]["name"], "c");
    assert!(rest.get("next").is_none());
    let other_list = format!("/campaigns?status=draft&cursor={next}");
    assert_eq!(operator.get(&other_list).await.faulty_fields(), ["cursor"]);
    let active = operator.get("/campaigns?status=active").await.json(200);
    assert_eq!(active["items"], json!([]));
    assert_eq!(operator.get("/campaigns?status=busy").await.faulty_fields(), ["status"]);
}

#[tokio::test]
async fn a_start_at_a_time_is_kept_cancelled_and_carried_out() {
    let api = Api::new().await;
    api.import("email,first_name\nann@example.com,Ann\nbob@example.com,Bob\n").await;
    let operator = api.program(Role::Operator).await;
    let path = made(&operator, &spring()).await;
    let start = format!("{path}/start");
    let now = api.now().await;
    let (soon, far) = (now + TimeDelta::hours(1), now + TimeDelta::days(500));
    assert_eq!(operator.post(&start, &json!({ "at": far })).await.faulty_fields(), ["at"]);
    let past = now - TimeDelta::days(365);
    assert_eq!(operator.post(&start, &json!({ "at": past })).await.faulty_fields(), ["at"]);
    assert_eq!(operator.post(&start, &json!({ "at": "soon" })).await.faulty_fields(), ["at"]);
    assert_eq!(operator.post(&start, &json!({ "when": soon })).await.faulty_fields(), ["when"]);
    for cancel in ["pause", "stop"] {
        let planned = operator.post(&start, &json!({ "at": soon })).await.json(202);
        assert_eq!(planned["status"], "draft");
        assert_eq!(planned["start_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(), soon);
        let cancelled = operator.order(&format!("{path}/{cancel}")).await.json(200);
        assert_eq!((&cancelled["status"], cancelled.get("start_at")), (&json!("draft"), None));
        // There is nothing to cancel any more.
        assert_eq!(operator.order(&format!("{path}/{cancel}")).await.problem(409).0, "conflict");
    }
    operator.post(&start, &json!({ "at": soon })).await.json(202);
    let runner = Runner::start(api.room.clone(), Settings::default()).await.unwrap();
    api.after(TimeDelta::hours(2)).await;
    runner.wake();
    let is_in = |campaign: &Value| campaign["leads"] == 2 && campaign.get("start_at").is_none();
    let begun = operator.until(&path, is_in).await;
    assert_eq!(begun["status"], "active");
    let again = operator.post(&start, &json!({ "at": now + TimeDelta::days(2) })).await;
    assert_eq!(again.problem(409).0, "conflict");
    runner.drain().await;
}

#[tokio::test]
async fn a_campaign_is_tried_out_before_it_starts() {
    let api = Api::new().await;
    api.import("email,first_name\nann@example.com,Ann\nbob@example.com,\n").await;
    let operator = api.program(Role::Operator).await;
    let path = made(&operator, &spring()).await;
    let rehearsal = operator.order(&format!("{path}/rehearse")).await.json(200);
    assert_eq!((&rehearsal["leads"], &rehearsal["touches"]), (&json!(2), &json!(2)));
    assert_eq!(rehearsal["endings"], json!({ "finished": 1, "held": 1 }));
    assert_eq!(rehearsal["held"][0]["missing"], "variables");
    assert_eq!(rehearsal["held"][0]["why"], "first_name is missing");
    assert_eq!(rehearsal["courses"].as_array().unwrap().len(), 2);
    let ann = api.lead("ann@example.com").await;
    let rehearse = format!("{path}/rehearse");
    let order = json!({ "lead": ann, "courses_max": 0 });
    let one = operator.post(&rehearse, &order).await.json(200);
    assert_eq!((&one["leads"], &one["courses"]), (&json!(1), &json!([])));
    for (order, field) in [
        (json!({ "leads_max": 0 }), "leads_max"),
        (json!({ "courses_max": 1_001 }), "courses_max"),
        (json!({ "lead": uuid::Uuid::from_u128(1) }), "lead"),
        (json!({ "lead": "ann" }), "lead"),
        (json!({ "leads": 1 }), "leads"),
    ] {
        assert_eq!(operator.post(&rehearse, &order).await.faulty_fields(), [field]);
    }

    let test = format!("{path}/send-test");
    let order = json!({ "to": "me@example.com", "lead": ann });
    let sent = operator.post(&test, &order).await.json(200);
    assert_eq!(sent["messages"].as_array().unwrap().len(), 2);
    assert_eq!(sent["messages"][0]["subject"], "[test] Hello Ann");
    operator.post("/suppressions", &json!({ "domain": "example.com" })).await.json(201);
    assert_eq!(operator.post(&test, &order).await.faulty_fields(), ["to"]);
    assert_eq!(operator.post(&test, &json!({ "to": "me" })).await.faulty_fields(), ["to"]);
}

#[tokio::test]
async fn a_stranger_finds_nothing_and_a_viewer_changes_nothing() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let path = made(&operator, &spring()).await;
    let stranger = api.stranger(Role::Admin).await;
    let viewer = api.program(Role::Viewer).await;
    assert_eq!(stranger.get("/campaigns").await.json(200)["items"], json!([]));
    assert_eq!(stranger.get(&path).await.problem(404).0, "not-found");
    assert_eq!(stranger.patch(&path, &spring()).await.problem(404).0, "not-found");
    assert_eq!(viewer.patch(&path, &spring()).await.problem(403).0, "forbidden");
    let posts = [
        ("duplicate", json!({ "name": "x" })),
        ("versions", spring()),
        ("start", json!({})),
        ("pause", json!({})),
        ("resume", json!({ "rule": "keep" })),
        ("stop", json!({})),
        ("rehearse", json!({})),
        ("send-test", json!({ "to": "me@example.com" })),
        ("enrollments", json!({ "everyone": {} })),
    ];
    for (verb, body) in posts {
        let path = format!("{path}/{verb}");
        assert_eq!(stranger.post(&path, &body).await.problem(404).0, "not-found", "{verb}");
        if verb != "rehearse" {
            assert_eq!(viewer.post(&path, &body).await.problem(403).0, "forbidden", "{verb}");
        }
    }
    assert_eq!(stranger.get(&format!("{path}/enrollments")).await.problem(404).0, "not-found");
    viewer.order(&format!("{path}/rehearse")).await.json(200);
    assert_eq!(viewer.post("/campaigns", &spring()).await.problem(403).0, "forbidden");
    assert_eq!(viewer.get(&path).await.json(200)["status"], "draft");
}

#[tokio::test]
async fn a_campaign_that_names_nobody_hands_over_to_the_workspace() {
    let api = Api::new().await;
    let (operator, admin) = (api.program(Role::Operator).await, api.program(Role::Admin).await);
    let document = with(spring(), "handover", json!({}));
    assert_eq!(operator.post("/campaigns", &document).await.faulty_fields(), ["handover"]);
    let shown = admin.get("/workspace").await;
    assert_eq!(shown.headers["etag"], "\"1\"");
    assert_eq!(shown.json(200)["handover_address"], Value::Null);
    let sales = json!({ "handover_address": "Sales@Example.com" });
    assert_eq!(operator.patch("/workspace", &sales).await.problem(403).0, "forbidden");
    let set = admin.patch_if("\"1\"", "/workspace", &sales).await.json(200);
    assert_eq!(set["handover_address"], "sales@example.com");
    assert_eq!(admin.patch_if("\"1\"", "/workspace", &sales).await.problem(412).0, "changed");
    let wrong = json!({ "handover_address": "sales" });
    assert_eq!(admin.patch("/workspace", &wrong).await.faulty_fields(), ["handover_address"]);
    made(&operator, &document).await;
    let none = json!({ "handover_address": null });
    assert_eq!(admin.patch("/workspace", &none).await.problem(409).0, "conflict");
    let strangers = api.stranger(Role::Admin).await;
    assert_eq!(strangers.get("/workspace").await.json(200)["handover_address"], Value::Null);
}

#[tokio::test]
async fn what_temporal_drives_links_to_its_pages() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    api.runs(&spring(), &["ada@example.com"]).await.drain().await;
    let id = operator.get("/campaigns").await.json(200)["items"][0]["id"].clone();
    let path = format!("/campaigns/{}", id.as_str().unwrap());
    let campaign = operator.get(&path).await.json(200);
    assert_eq!(
        (&campaign["engine"], &campaign["temporal_url"]),
        (&json!("postgres"), &Value::Null)
    );
    let listed = operator.get(&format!("{path}/enrollments")).await.json(200);
    let enrollment = listed["items"][0]["id"].as_str().unwrap().to_owned();
    let lead = operator.get(&format!("/enrollments/{enrollment}")).await.json(200);
    assert_eq!((&lead["engine"], &lead["temporal_url"]), (&json!("postgres"), &Value::Null));

    let id = campaign["id"].as_str().unwrap();
    let (store, engine) = (&api.room.store, Engine::Temporal);
    engine_move::perform(store, api.workspace, id.parse().unwrap(), engine, "test").await.unwrap();
    let campaign = operator.get(&path).await.json(200);
    assert_eq!(campaign["engine"], "temporal");
    let link = campaign["temporal_url"].as_str().unwrap();
    assert!(
        link.starts_with(&format!("{TEMPORAL_UI}/namespaces/default/workflows?query=")),
        "{link}"
    );
    assert!(link.contains(id), "{link}");
    assert_eq!(operator.get("/campaigns").await.json(200)["items"][0]["engine"], "temporal");
    let lead = operator.get(&format!("/enrollments/{enrollment}")).await.json(200);
    assert_eq!(lead["engine"], "temporal");
    let workspace = api.workspace;
    let link =
        format!("{TEMPORAL_UI}/namespaces/default/workflows/w%2F{workspace}%2Fe%2F{enrollment}");
    assert_eq!(lead["temporal_url"], link);
}
