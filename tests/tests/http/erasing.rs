//! A person is erased (G17): nothing that names it is left, and nobody can add it again.

use activities::api_keys::Role;
use activities::inbound::Envelope;
use activities::ingest::{self, NewEvent, Provider};
use activities::leads::erase;
use activities::store::{clock, inbound_events};
use axum::body::Body;
use axum::http::{Method, header};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::Row as _;
use uuid::Uuid;

use crate::programs::{Api, Program};

const ADDRESS: &str = "adelheid.quux@example.com";

/// Words that only the person can have brought.
const MARKS: [&str; 4] = ["adelheid", "zebulon", "wolpertinger", "+351912345678"];

fn campaign(name: &str) -> Value {
    json!({
        "name": name,
        "zone": "UTC",
        "handover": { "to": "sales@harbour.example" },
        "reply": { "rule": "hand_over" },
        "goal": { "attribute": "hobby", "equals": "none" },
        "steps": [
            { "key": "intro", "email": {
                "subject": "Hello {{ first_name | default(\"friend\") }}", "body": "Hello {{ first_name | default(\"friend\") }}." } },
            { "key": "rest", "wait": "30 days", "finish": {} },
        ],
    })
}

async fn import(program: &Program<'_>, file: &str) -> Value {
    let request = program
        .request(Method::POST, "/leads/import")
        .header(header::CONTENT_TYPE, "text/csv")
        .body(Body::from(file.to_owned()))
        .unwrap();
    program.send(request).await.json(200)
}

/// Every table and column in which one of the marks stands.
async fn places(api: &Api) -> Vec<String> {
    let mut owner = api.database.owner().await;
    let columns = sqlx::query(
        "SELECT c.table_name::text, c.column_name::text, c.data_type::text
         FROM information_schema.columns c
         JOIN information_schema.tables t USING (table_schema, table_name)
         WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
           AND c.data_type IN ('text', 'jsonb', 'bytea', 'ARRAY')
         ORDER BY 1, 2",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let mut places = Vec::new();
    for column in columns {
        let (table, name): (String, String) = (column.get(0), column.get(1));
        let text = match column.get::<String, _>(2).as_str() {
            "bytea" => format!("encode({name}, 'escape')"),
            _ => format!("{name}::text"),
        };
        for mark in MARKS {
            let sql =
                format!("SELECT count(*) FROM {table} WHERE position($1 in lower({text})) > 0");
            let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .bind(mark)
                .fetch_one(&mut owner)
                .await
                .unwrap();
            if found > 0 {
                places.push(format!("{table}.{name}: {mark}"));
            }
        }
    }
    places
}

/// What came with every event, opened.
async fn payloads(api: &Api) -> Vec<Vec<u8>> {
    let mut owner = api.database.owner().await;
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT event_id FROM inbound_events")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    let mut payloads = Vec::new();
    for id in ids {
        let event = inbound_events::get(&mut owner, api.workspace, id.into()).await.unwrap();
        let opened =
            inbound_events::open_payload(&api.room.keys, api.workspace, &event.unwrap()).unwrap();
        payloads.push(opened.expose_secret().to_vec());
    }
    payloads
}

/// A mail of the person comes in.
async fn writes(api: &Api, key: &str, head: &str) {
    let mut owner = api.database.owner().await;
    let now = clock::read(&mut owner).await.unwrap().campaign;
    let raw = format!(
        "From: Adelheid Zebulon <{ADDRESS}>\r\nSubject: Re: Hello\r\nMessage-ID: <{key}@q.example>\r\n\
         {head}\r\nI breed the Wolpertinger. Call +351912345678.\r\n"
    );
    let (room, workspace) = (&api.room, api.workspace);
    let key = key.to_owned();
    let event = NewEvent::of_raw_mail(
        room,
        workspace,
        Provider::Capture,
        key,
        raw.as_bytes(),
        Envelope::default(),
        now,
    );
    ingest::signal(room, workspace, event).await.unwrap();
}

#[tokio::test]
async fn nothing_of_an_erased_person_is_left_but_the_promise() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let admin = api.program(Role::Admin).await;
    let lead = json!({
        "emails": [ADDRESS],
        "phones": ["+351 912 345 678"],
        "zone": "Europe/Lisbon",
        "attributes": { "first_name": "Zebulon", "hobby": "Wolpertinger" },
        "tags": ["Wolpertinger"],
    });
    let lead = operator.post("/leads", &lead).await.json(201);
    let path = format!("/leads/{}", lead["id"].as_str().unwrap());
    let _engine = api.runs(&campaign("spring"), &[ADDRESS, "bob@example.com"]).await;
    operator.until(&path, |lead| lead["enrollments"][0]["state"] == "waiting").await;
    writes(&api, "one", "").await;
    // A person is offered the lead, in a mail that says who it is.
    operator.until(&path, |lead| lead["enrollments"][0]["state"] == "with_person").await;
    operator.until("/handovers", |page| page["items"][0]["state"] == "offered").await;
    operator
        .until(&format!("/sends?lead={}", lead["id"].as_str().unwrap()), |page| {
            let sends = page["items"].as_array().unwrap();
            sends.len() == 2 && sends.iter().all(|send| send["state"] == "accepted")
        })
        .await;
    // An old promise about the same mailbox names it too.
    let promise = operator.post("/suppressions", &json!({ "address": ADDRESS })).await.json(201);
    operator.delete(&format!("/suppressions/{}", promise["id"].as_str().unwrap())).await;
    let before = places(&api).await;
    for table in [
        "addresses",
        "captured_messages",
        "journal",
        "leads",
        "lead_tags",
        "send_contents",
        "sends",
        "suppressions",
    ] {
        assert!(
            before.iter().any(|place| place.starts_with(&format!("{table}."))),
            "{table}: {before:?}"
        );
    }

    assert_eq!(admin.delete(&path).await.status, 204);
    let lead = operator.until(&path, |lead| lead["enrollments"][0]["state"] == "stopped").await;
    assert!(lead["erased_at"].is_string());
    assert_eq!((&lead["emails"], &lead["attributes"]), (&json!([]), &json!({})));
    assert_eq!(places(&api).await, Vec::<String>::new());
    assert!(payloads(&api).await.iter().all(Vec::is_empty));
    assert_eq!(admin.delete(&path).await.status, 204);
    assert_eq!(places(&api).await, Vec::<String>::new());

    // Nobody finds it, and nobody adds it again: S69.
    assert_eq!(operator.get("/leads?text=adel").await.json(200)["items"], json!([]));
    let patch = operator.json(Method::PATCH, &path, &json!({ "zone": "UTC" }));
    assert_eq!(operator.send(patch).await.problem(409).0, "conflict");
    let list = operator.get("/suppressions").await.json(200);
    let erased: Vec<&Value> = list["items"].as_array().unwrap().iter().collect();
    assert!(erased.len() == 2 && erased.iter().all(|it| it["reason"] == "erased"), "{list}");
    for spelling in [ADDRESS, "Adelheid.Quux+news@EXAMPLE.com"] {
        let (_, detail) =
            operator.post("/leads", &json!({ "emails": [spelling] })).await.problem(409);
        assert!(detail.starts_with("emails[0]: ") && !detail.to_lowercase().contains("adel"));
        let report = import(&operator, &format!("email\n{spelling}\ncarl@example.com\n")).await;
        assert_eq!(report["refused"], 1);
        let reason = report["faults"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("erased") && !reason.to_lowercase().contains("adel"), "{reason}");
    }
    // Nor does its number bring it back under another address.
    let report = import(&operator, "email,phone\ndora@example.com,+351912345678\n").await;
    assert_eq!((&report["refused"], &report["faults"][0]["field"]), (&json!(1), &json!("phone")));
    assert_eq!(places(&api).await, Vec::<String>::new());
    // Others are as they were.
    let bob = operator.get("/leads?text=bob").await.json(200);
    assert_eq!(bob["items"][0]["emails"], json!(["bob@example.com"]));
}

#[tokio::test]
async fn what_was_under_way_is_erased_when_it_has_ended() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let admin = api.program(Role::Admin).await;
    let _engine = api.runs(&campaign("spring"), &[ADDRESS]).await;
    let found = operator.get("/leads?text=adel").await.json(200);
    let id = found["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/leads/{id}");
    operator.until(&path, |lead| lead["enrollments"][0]["state"] == "waiting").await;
    assert_eq!(admin.delete(&path).await.status, 204);
    operator.until(&path, |lead| lead["enrollments"][0]["state"] == "stopped").await;

    // A call that was past its gate comes back only now, and says more than it should.
    let mut owner = api.database.owner().await;
    let sql = "UPDATE sends SET address = 'adelheid.quux@example.com', state = 'rejected',
                   detail = '550 <adelheid.quux@example.com> unknown';
               UPDATE captured_messages SET recipient = 'adelheid.quux@example.com'";
    sqlx::raw_sql(sql).execute(&mut owner).await.unwrap();
    // Nothing is done before its time.
    assert_eq!(erase::finish(&api.room, api.workspace).await.unwrap(), 0);
    let now =
        "UPDATE leads SET erase_again_at = clock_timestamp() WHERE erase_again_at IS NOT NULL";
    sqlx::raw_sql(now).execute(&mut owner).await.unwrap();
    // The engine may be faster.
    erase::finish(&api.room, api.workspace).await.unwrap();
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM leads WHERE erase_again_at IS NOT NULL")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert_eq!((left, places(&api).await), (0, Vec::new()));

    // The person writes again: a person decides, as about the mail of any stranger.
    let send: Uuid =
        sqlx::query_scalar("SELECT send_id FROM sends").fetch_one(&mut owner).await.unwrap();
    writes(&api, "two", &format!("In-Reply-To: <{send}@harbour.example>\r\n")).await;
    let letters = operator.get("/dead-letters").await.json(200);
    assert_eq!(letters["items"].as_array().unwrap().len(), 1, "{letters}");
    assert_eq!(operator.get(&path).await.json(200)["enrollments"][0]["state"], "stopped");
}
