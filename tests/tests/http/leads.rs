//! Leads: added, shown, changed, found.

use activities::api_keys::Role;
use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};

use crate::conversations::writes;
use crate::programs::{Answer, Api, Program};

/// A mail, a long wait, and a goal that an attribute meets.
fn campaign() -> Value {
    json!({
        "name": "spring",
        "zone": "UTC",
        "goal": { "attribute": "customer", "equals": true },
        "steps": [
            { "key": "intro", "email": { "subject": "Hello", "body": "Hello there." } },
            { "key": "rest", "wait": "30 days", "finish": {} },
        ],
    })
}

fn ada() -> Value {
    json!({
        "emails": ["Ada@Example.com"],
        "phones": ["+351 912 345 678"],
        "zone": "Europe/Lisbon",
        "consent": { "email": "granted" },
        "attributes": { "first_name": "Ada", "rooms": 40, "address": { "town": "Porto", "no": 1 } },
        "tags": ["VIP", "hotel"],
    })
}

async fn patch(program: &Program<'_>, path: &str, if_match: Option<&str>, body: &Value) -> Answer {
    let mut request: Request<Body> = program.json(Method::PATCH, path, body);
    if let Some(version) = if_match {
        request.headers_mut().insert(header::IF_MATCH, version.parse().unwrap());
    }
    program.send(request).await
}

#[tokio::test]
async fn a_lead_is_added_once_shown_and_changed_by_those_who_have_seen_it() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let added = operator.post("/leads", &ada()).await;
    let lead = added.json(201);
    let id = lead["id"].as_str().unwrap().to_owned();
    let path = format!("/leads/{id}");
    assert_eq!(added.headers[header::LOCATION], format!("/api/v1{path}"));
    assert_eq!(lead["emails"], json!(["ada@example.com"]));
    assert_eq!(lead["phones"], json!(["+351912345678"]));
    assert_eq!(lead["consent"], json!({ "email": "granted", "sms": "unknown", "call": "unknown" }));
    assert_eq!((&lead["tags"], &lead["source"]), (&json!(["hotel", "vip"]), &json!("api")));

    for same in [
        json!({ "emails": ["x@y.example", "ADA@example.com"] }),
        json!({ "phones": ["+351912345678"] }),
    ] {
        let (kind, detail) = operator.post("/leads", &same).await.problem(409);
        assert_eq!(kind, "conflict");
        assert!(detail.contains(&id) && !detail.contains("ada@"), "{detail}");
    }

    let shown = operator.get(&path).await;
    assert_eq!(shown.headers[header::ETAG], "\"1\"");
    assert_eq!(shown.json(200)["enrollments"], json!([]));
    let change = json!({
        "zone": null,
        "consent": { "sms": "refused" },
        "attributes": { "rooms": null, "spa": true, "address": { "no": null } },
        "emails": ["ada@example.com", "ada@work.example"],
        "tags": ["hotel", "spring"],
    });
    let changed = patch(&operator, &path, Some("\"1\""), &change).await;
    assert_eq!(changed.headers[header::ETAG], "\"2\"");
    let changed = changed.json(200);
    assert_eq!(changed["zone"], Value::Null);
    assert_eq!(
        changed["attributes"],
        json!({ "first_name": "Ada", "spa": true, "address": { "town": "Porto" } })
    );
    assert_eq!(changed["emails"], json!(["ada@example.com", "ada@work.example"]));
    assert_eq!(changed["phones"], json!(["+351912345678"]));
    assert_eq!(changed["tags"], json!(["hotel", "spring"]));
    assert_eq!(
        changed["consent"],
        json!({ "email": "granted", "sms": "refused", "call": "unknown" })
    );

    let stale = patch(&operator, &path, Some("\"1\""), &change).await;
    assert_eq!(stale.problem(412).0, "changed");
    // What changes nothing is no change.
    assert_eq!(patch(&operator, &path, None, &change).await.headers[header::ETAG], "\"2\"");
    let gone = json!({ "emails": null, "phones": [] });
    assert!(patch(&operator, &path, None, &gone).await.problem(422).1.starts_with("emails: "));
}

#[tokio::test]
async fn a_changed_attribute_is_told_to_the_campaigns_of_the_lead() {
    let api = Api::new().await;
    let _engine = api.runs(&campaign(), &["ada@example.com", "bob@example.com"]).await;
    let operator = api.program(Role::Operator).await;
    let found = operator.get("/leads?text=ada").await.json(200);
    let path = format!("/leads/{}", found["items"][0]["id"].as_str().unwrap());
    operator.until(&path, |lead| lead["enrollments"][0]["state"] == "waiting").await;
    patch(&operator, &path, None, &json!({ "attributes": { "customer": true } })).await.json(200);
    let lead = operator.until(&path, |lead| lead["enrollments"][0]["state"] == "met").await;
    assert_eq!(lead["enrollments"][0]["campaign"], "spring");
    let met = operator.get("/leads?state=met").await.json(200);
    assert_eq!(met["items"].as_array().unwrap().len(), 1);
    assert_eq!(met["items"][0]["id"], lead["id"]);
    let waiting = operator
        .until("/leads?state=waiting&text=bo", |page| page["items"].as_array().unwrap().len() == 1);
    assert_eq!(waiting.await["items"][0]["emails"], json!(["bob@example.com"]));
}

#[tokio::test]
async fn strangers_find_nothing_and_roles_are_kept() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let lead = operator.post("/leads", &ada()).await.json(201);
    let path = format!("/leads/{}", lead["id"].as_str().unwrap());
    let stranger = api.stranger(Role::Admin).await;
    let change = json!({ "zone": "UTC" });
    assert_eq!(stranger.get(&path).await.problem(404).0, "not-found");
    assert_eq!(patch(&stranger, &path, None, &change).await.problem(404).0, "not-found");
    assert_eq!(stranger.delete(&path).await.problem(404).0, "not-found");
    assert_eq!(stranger.get("/leads?text=ada").await.json(200)["items"], json!([]));
    // The same person may be another tenant's lead too.
    stranger.post("/leads", &ada()).await.json(201);

    let viewer = api.program(Role::Viewer).await;
    viewer.get(&path).await.json(200);
    assert_eq!(viewer.post("/leads", &ada()).await.problem(403).0, "forbidden");
    assert_eq!(patch(&viewer, &path, None, &change).await.problem(403).0, "forbidden");
    assert_eq!(operator.delete(&path).await.problem(403).0, "forbidden");
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let fields = async |body: Value| -> Vec<String> {
        let answer = operator.post("/leads", &body).await;
        assert_eq!(answer.problem(422).0, "invalid", "{body}");
        let errors = answer.json(422)["errors"].clone();
        let errors = errors.as_array().unwrap().iter();
        errors.map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    };
    let wrong = json!({
        "emails": ["ada@example.com", "nobody"],
        "phones": ["912"],
        "zone": "Lisbon",
        "attributes": { "First Name": "Ada", "note": "a\r\nBcc: eve@example.com" },
        "tags": ["ok", "a;b"],
    });
    let mut named = fields(wrong).await;
    named.sort_unstable();
    assert_eq!(
        named,
        ["attributes.First Name", "attributes.note", "emails[1]", "phones[0]", "tags[1]", "zone",]
    );
    assert_eq!(fields(json!({})).await, ["emails"]);
    assert_eq!(fields(json!({ "emails": [1] })).await, ["emails[0]"]);
    assert_eq!(fields(json!({ "emails": vec!["a@b.example"; 11] })).await, ["emails"]);
    let consent = json!({ "emails": ["a@b.example"], "consent": { "email": "yes" } });
    assert_eq!(fields(consent).await, ["consent.email"]);
    // S47: nobody assigns what is ours.
    for ours in ["id", "version", "workspace_id", "source", "erased_at"] {
        let body = json!({ "emails": ["a@b.example"], ours: "x" });
        assert_eq!(operator.post("/leads", &body).await.problem(422).0, "invalid");
    }
    for query in [
        "state=dreaming",
        "tag=a;b",
        "score_min=high",
        "created_since=yesterday",
        "text=a%00b",
        "country=%0A",
        "page=2",
    ] {
        assert_eq!(operator.get(&format!("/leads?{query}")).await.problem(422).0, "invalid");
    }
    for (query, told) in [
        ("state=dreaming", "state: `dreaming` cannot be read: use one of `queued`, `"),
        ("created_since=yesterday", "created_since: `yesterday` cannot be read: write a time"),
        ("created_since=2027-03-01T09:00:00+01:00", "`+` is written %2B"),
        ("score_min=high", "score_min: `high` cannot be read: write a number"),
        ("has_email=maybe", "has_email: `maybe` cannot be read: use `true` or `false`"),
        ("limit=ten", "limit: `ten` cannot be read: write a whole number"),
    ] {
        let detail = operator.get(&format!("/leads?{query}")).await.problem(422).1;
        assert!(detail.contains(told), "{detail}");
    }
    assert_eq!(operator.get("/leads/x").await.problem(404).0, "not-found");
}

#[tokio::test]
async fn leads_are_found_by_all_that_is_asked_page_by_page() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    for n in 0..12 {
        let new = json!({
            "emails": [format!("lead{n:02}@{}.example", if n < 6 { "north" } else { "south" })],
            "attributes": {
                "first_name": if n == 3 { "Évora" } else { "Lea" },
                "last_name": format!("Number{n:02}"),
                "company": if n % 2 == 0 { "Hotel Even" } else { "Pension Odd" },
                "country": if n % 3 == 0 { "Portugal" } else { "Spain" },
                "tier": if n < 4 { "A" } else { "B" },
                "score": if n % 4 == 0 { json!("high") } else { json!(n * 10) },
            },
            "tags": if n > 8 { json!(["late"]) } else { json!([]) },
        });
        operator.post("/leads", &new).await.json(201);
    }
    let numbers = async |query: &str| -> Vec<String> {
        let mut found = Vec::new();
        let mut path = format!("/leads?limit=2&{query}");
        loop {
            let page = operator.get(&path).await.json(200);
            for lead in page["items"].as_array().unwrap() {
                found.push(lead["attributes"]["last_name"].as_str().unwrap()[6..].to_owned());
            }
            let Some(next) = page["next"].as_str() else { return found };
            path = format!("/leads?limit=2&{query}&cursor={next}");
        }
    };
    let all: Vec<String> = (0..12).map(|n| format!("{n:02}")).collect();
    assert_eq!(numbers("").await, all);
    assert_eq!(numbers("country=PORTUGAL").await, ["00", "03", "06", "09"]);
    assert_eq!(numbers("country=portugal&tier=a").await, ["00", "03"]);
    assert_eq!(numbers("score_min=90").await, ["09", "10", "11"]);
    assert_eq!(numbers("tag=Late&country=Spain").await, ["10", "11"]);
    assert_eq!(numbers("text=LEAD0").await, all[..10]);
    assert_eq!(numbers("text=lea%20number1").await, ["10", "11"]);
    assert_eq!(numbers("text=number05").await, ["05"]);
    assert_eq!(numbers("text=hotel%20e&tag=late").await, ["10"]);
    assert_eq!(numbers("text=%C3%89vora").await, ["03"]);
    assert_eq!(numbers("text=even").await, Vec::<String>::new());
    assert_eq!(numbers("text=%25").await, Vec::<String>::new());
    assert_eq!(numbers("state=waiting").await, Vec::<String>::new());
    assert_eq!(numbers("created_since=2020-01-01T00:00:00Z").await, all);
    assert_eq!(numbers("created_since=2100-01-01T00:00:00Z").await, Vec::<String>::new());
    // A cursor belongs to its filters.
    let page = operator.get("/leads?limit=1&tier=b").await.json(200);
    let next = page["next"].as_str().unwrap();
    let other = operator.get(&format!("/leads?limit=1&tier=a&cursor={next}")).await;
    assert!(other.problem(422).1.starts_with("cursor: "));
}

#[tokio::test]
async fn a_search_that_takes_too_long_is_given_up_and_says_so() {
    let api = Api::new().await;
    let viewer = api.program(Role::Viewer).await;
    // The table is somebody else's, for as long as this lives.
    let mut owner = api.database.owner().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE leads IN ACCESS EXCLUSIVE MODE")
        .execute(&mut owner)
        .await
        .unwrap();
    let answer = viewer.get("/leads?country=PT").await;
    let (kind, detail) = answer.problem(422);
    assert_eq!(kind, "too-slow");
    assert!(detail.contains("longer than 2 seconds: say more"), "{detail}");
    sqlx::raw_sql("ROLLBACK").execute(&mut owner).await.unwrap();
    viewer.get("/leads?country=PT").await.json(200);
}

#[tokio::test]
async fn a_lead_is_at_the_stage_that_people_say_or_that_happened() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let new = json!({ "emails": ["carl@example.com"], "stage": "Qualified" });
    assert_eq!(operator.post("/leads", &new).await.json(201)["stage"], "qualified");
    operator.post("/leads", &json!({ "phones": ["+351912345678"] })).await.json(201);
    let _engine = api.runs(&campaign(), &["ada@example.com", "bob@example.com"]).await;
    let found = async |query: &str| -> Vec<String> {
        let page = operator.get(&format!("/leads?{query}")).await.json(200);
        let items = page["items"].as_array().unwrap().iter();
        items.map(|lead| lead["emails"][0].as_str().unwrap_or("-").to_owned()).collect()
    };
    let contacted = |page: &Value| page["items"].as_array().unwrap().len() == 2;
    operator.until("/leads?stage=contacted", contacted).await;
    assert_eq!(found("stage=NEW").await, ["-"]);
    assert_eq!(found("stage=qualified").await, ["carl@example.com"]);
    assert_eq!(found("has_email=false").await, ["-"]);
    assert_eq!(found("has_email=true&stage=contacted&text=ada").await, ["ada@example.com"]);
    assert_eq!(found("source=api&has_email=true").await, ["carl@example.com"]);

    let ada = api.lead("ada@example.com").await;
    let path = format!("/leads/{ada}");
    let shown = operator.get(&path).await.json(200);
    assert_eq!(shown["stage"], "contacted");
    let send = operator.get(&format!("/sends?lead={ada}")).await.json(200);
    let send = send["items"][0]["id"].as_str().unwrap().to_owned();
    writes(&api, "ada@example.com", &send, "", "Tell me more.").await;
    assert_eq!(operator.get(&path).await.json(200)["stage"], "replied");
    assert_eq!(found("stage=replied").await, ["ada@example.com"]);
    // What people say is never less than what happened, and stands where it is something else.
    for (said, stage) in [
        (json!("new"), "replied"),
        (json!("Customer"), "customer"),
        (json!("lost"), "lost"),
        (Value::Null, "replied"),
    ] {
        let changed = patch(&operator, &path, None, &json!({ "stage": said })).await.json(200);
        assert_eq!(changed["stage"], stage);
    }
    let wrong = patch(&operator, &path, None, &json!({ "stage": " " })).await;
    assert_eq!(wrong.faulty_fields(), ["stage"]);
    let wrong = patch(&operator, &path, None, &json!({ "stage": "won", "attributes": null })).await;
    assert_eq!(wrong.faulty_fields(), ["stage"]);
}
