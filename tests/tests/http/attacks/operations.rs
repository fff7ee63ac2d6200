//! Every operation of the API, who may call it, and a body that it would take.

use std::collections::HashMap;
use std::fmt;

use activities::api_keys::Role;
use activities::store::dead_letters::{self, Subject};
use axum::http::Method;
use postgres_runner::Runner;
use serde_json::{Value, json};

use crate::programs::Api;

/// One operation.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// The least role.
    pub(super) role: Role,
    /// A body it would take, JSON or a file.
    pub(super) body: Option<&'static str>,
}

const fn of(
    method: &'static str,
    path: &'static str,
    role: Role,
    body: Option<&'static str>,
) -> Operation {
    Operation { method, path, role, body }
}

/// A campaign that is made and goes through all that a campaign goes through.
const CAMPAIGN: &str = r#"{
    "name": "autumn", "zone": "UTC",
    "steps": [{ "key": "intro", "email": { "subject": "Autumn", "body": "Good day" } }]
}"#;

const SENDER: &str = r#"{ "name": "spare", "url": "capture:", "from": "spare@example.com" }"#;

const AGENT: &str = r#"{ "name": "Bea", "email": "bea@example.com" }"#;

const ENDPOINT: &str = r#"{ "provider": "mailgun", "signing_key": "secret" }"#;

const ENROLLING: &str = r#"{ "matching": { "tags": ["hotel"] } }"#;

/// The table.
pub(super) const OPERATIONS: [Operation; 73] = [
    of("GET", "/agents", Role::Viewer, None),
    of("POST", "/agents", Role::Admin, Some(AGENT)),
    of("GET", "/agents/{agent}", Role::Viewer, None),
    of("DELETE", "/agents/{agent}", Role::Admin, None),
    of("PATCH", "/agents/{agent}", Role::Admin, Some(r#"{ "open_max": 3 }"#)),
    of("GET", "/agents/{agent}/absences", Role::Viewer, None),
    of("POST", "/agents/{agent}/absences", Role::Operator, Some("{}")),
    of("DELETE", "/agents/{agent}/absences/{absence}", Role::Operator, None),
    of("GET", "/audit", Role::Admin, None),
    of("GET", "/campaigns", Role::Viewer, None),
    of("POST", "/campaigns", Role::Operator, Some(CAMPAIGN)),
    of("GET", "/campaigns/{campaign}", Role::Viewer, None),
    of("PATCH", "/campaigns/{campaign}", Role::Operator, Some(CAMPAIGN)),
    of("POST", "/campaigns/{campaign}/versions", Role::Operator, Some(CAMPAIGN)),
    of("POST", "/campaigns/{campaign}/duplicate", Role::Operator, Some(r#"{ "name": "copy" }"#)),
    of("GET", "/campaigns/{campaign}/enrollments", Role::Viewer, None),
    of("POST", "/campaigns/{campaign}/enrollments", Role::Operator, Some(ENROLLING)),
    of("POST", "/campaigns/{campaign}/move", Role::Operator, Some("{}")),
    of("POST", "/campaigns/{campaign}/retry", Role::Operator, None),
    of("POST", "/campaigns/{campaign}/start", Role::Operator, Some("{}")),
    of("POST", "/campaigns/{campaign}/pause", Role::Operator, None),
    of("POST", "/campaigns/{campaign}/resume", Role::Operator, Some(r#"{ "rule": "keep" }"#)),
    of("POST", "/campaigns/{campaign}/stop", Role::Operator, None),
    of("POST", "/campaigns/{campaign}/rehearse", Role::Viewer, Some("{}")),
    of(
        "POST",
        "/campaigns/{campaign}/send-test",
        Role::Operator,
        Some(r#"{ "to": "me@example.com" }"#),
    ),
    of("GET", "/conversations", Role::Viewer, None),
    of("GET", "/conversations/{lead}", Role::Viewer, None),
    of("GET", "/dead-letters", Role::Viewer, None),
    of("GET", "/dead-letters/{letter}", Role::Viewer, None),
    of("POST", "/dead-letters/{letter}/retry", Role::Operator, None),
    of("POST", "/dead-letters/{letter}/dismiss", Role::Operator, None),
    of("GET", "/enrollments/{enrollment}", Role::Viewer, None),
    of("GET", "/enrollments/{enrollment}/journal", Role::Viewer, None),
    of(
        "POST",
        "/enrollments/{enrollment}/signals",
        Role::Operator,
        Some(r#"{ "signal": "stop" }"#),
    ),
    of("POST", "/enrollments/{enrollment}/move", Role::Operator, Some("{}")),
    of("GET", "/handovers", Role::Viewer, None),
    of("POST", "/handovers/{enrollment}/accept", Role::Operator, Some("{}")),
    of("POST", "/handovers/{enrollment}/answered", Role::Operator, None),
    of("POST", "/handovers/{enrollment}/close", Role::Operator, Some(r#"{ "result": "won" }"#)),
    of("POST", "/handovers/{enrollment}/give-back", Role::Operator, None),
    of("GET", "/keys", Role::Admin, None),
    of("POST", "/keys", Role::Admin, Some(r#"{ "name": "CRM", "role": "viewer" }"#)),
    of("GET", "/keys/{key}", Role::Admin, None),
    of("DELETE", "/keys/{key}", Role::Admin, None),
    of("GET", "/leads", Role::Viewer, None),
    of("POST", "/leads", Role::Operator, Some(r#"{ "emails": ["eve@example.com"] }"#)),
    of("GET", "/leads/{lead}", Role::Viewer, None),
    of("DELETE", "/leads/{lead}", Role::Admin, None),
    of("PATCH", "/leads/{lead}", Role::Operator, Some(r#"{ "zone": "UTC" }"#)),
    of("POST", "/leads/import", Role::Operator, Some("email\nfay@example.com\n")),
    of("GET", "/leads/export", Role::Viewer, None),
    of("GET", "/senders", Role::Viewer, None),
    of("POST", "/senders", Role::Admin, Some(SENDER)),
    of("GET", "/senders/{name}", Role::Viewer, None),
    of("POST", "/senders/{name}/pause", Role::Admin, Some("{}")),
    of("POST", "/senders/{name}/resume", Role::Admin, None),
    of("GET", "/sends", Role::Viewer, None),
    of("GET", "/sends/{send}", Role::Viewer, None),
    of("POST", "/sends/{send}/review", Role::Operator, Some(r#"{ "verdict": "sent" }"#)),
    of("POST", "/sequences/validate", Role::Viewer, Some(CAMPAIGN)),
    of("GET", "/sequences/{sequence}/versions", Role::Viewer, None),
    of("GET", "/sequences/{sequence}/versions/{version}", Role::Viewer, None),
    of("GET", "/stream", Role::Viewer, None),
    of("GET", "/suppressions", Role::Viewer, None),
    of("POST", "/suppressions", Role::Operator, Some(r#"{ "address": "gone@example.com" }"#)),
    of("GET", "/suppressions/{suppression}", Role::Viewer, None),
    of("DELETE", "/suppressions/{suppression}", Role::Operator, None),
    of("GET", "/webhook-endpoints", Role::Admin, None),
    of("POST", "/webhook-endpoints", Role::Admin, Some(ENDPOINT)),
    of("GET", "/webhook-endpoints/{endpoint}", Role::Admin, None),
    of("DELETE", "/webhook-endpoints/{endpoint}", Role::Admin, None),
    of("GET", "/workspace", Role::Viewer, None),
    of("PATCH", "/workspace", Role::Admin, Some(r#"{ "handover_address": "sales@example.com" }"#)),
];

impl Operation {
    pub(super) fn method(&self) -> Method {
        self.method.parse().unwrap()
    }

    pub(super) fn path_to(&self, property: &Property) -> String {
        property.fill(self.path)
    }

    pub(super) fn is_csv(&self) -> bool {
        self.path == "/leads/import"
    }

    pub(super) fn content_type(&self) -> &'static str {
        if self.is_csv() { "text/csv" } else { "application/json" }
    }

    /// The body as JSON; of a file, its text.
    pub(super) fn example(&self) -> Value {
        match self.body {
            Some(body) if self.is_csv() => json!(body),
            Some(body) => serde_json::from_str(body).unwrap(),
            None => Value::Null,
        }
    }

    /// A body as it is sent.
    pub(super) fn written(&self, body: &Value) -> String {
        if self.is_csv() { body.as_str().unwrap().to_owned() } else { body.to_string() }
    }

    /// Whether the document lets a body have this field.
    pub(super) fn takes(&self, document: &Value, field: &str) -> bool {
        !self.schema(document)["properties"][field].is_null()
    }

    /// Whether a body is one of several things, each with a field of its own.
    pub(super) fn is_choice(&self, document: &Value) -> bool {
        self.schema(document)["properties"].is_null()
    }

    fn schema<'a>(&self, document: &'a Value) -> &'a Value {
        let operation = &document["paths"][self.path][self.method.to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        match schema["$ref"].as_str() {
            Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// What stands for the parameters of paths.
pub(super) struct Property(HashMap<&'static str, String>);

impl Property {
    /// Nobody's: ids that nothing has.
    pub(super) fn none() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn fill(&self, path: &str) -> String {
        let filled = path.split('/').map(|part| match part.split_once('{') {
            Some((before, name)) => format!("{before}{}", self.id(name.trim_end_matches('}'))),
            None => part.to_owned(),
        });
        filled.collect::<Vec<_>>().join("/")
    }

    fn id(&self, name: &str) -> &str {
        match (self.0.get(name), name) {
            (Some(id), _) => id,
            (None, "version") => "1",
            (None, "name") => "nobody",
            (None, _) => "00000000-0000-4000-8000-000000000000",
        }
    }
}

/// A tenant with one of everything, and the engine that made it so.
pub(super) async fn property(api: &Api) -> (Runner, Property) {
    let document = json!({
        "name": "spring", "zone": "UTC",
        "handover": { "to": "sales@example.com", "answer_within": "2 hours" },
        "steps": [
            { "key": "intro", "email": { "subject": "Hello", "body": "Hello there." } },
            { "key": "person", "handover": {} },
        ],
    });
    let engine = api.runs(&document, &["ada@example.com", "bob@example.com"]).await;
    let admin = api.program(Role::Admin).await;
    let id = |made: Value| made["id"].as_str().unwrap().to_owned();
    let agent = json!({ "name": "Ada", "email": "ada@desk.example" });
    let agent = id(admin.post("/agents", &agent).await.json(201));
    let absence = admin.post(&format!("/agents/{agent}/absences"), &json!({})).await;
    let spare = json!({ "name": "spare", "role": "viewer" });
    let gone = json!({ "address": "gone@example.com" });
    let endpoint: Value = serde_json::from_str(ENDPOINT).unwrap();
    let campaigns = admin.get("/campaigns").await.json(200);
    let campaign = &campaigns["items"][0];
    let offered = |page: &Value| page["items"].as_array().unwrap().len() == 2;
    let handovers = admin.until("/handovers", offered).await;
    let enrollment = handovers["items"][0]["enrollment"].as_str().unwrap().to_owned();
    let sends = format!("/sends?enrollment={enrollment}");
    let sends = admin.until(&sends, |page| page["items"][1]["state"] == "accepted").await;
    let mut tx = api.room.store.begin(api.workspace).await.unwrap();
    let subject = Subject::Unmatched(activities::ids::new());
    let at = chrono::DateTime::UNIX_EPOCH;
    dead_letters::add(&mut tx, api.workspace, subject, "from nobody", at).await.unwrap();
    tx.commit().await.unwrap();
    let letters = admin.get("/dead-letters").await.json(200);
    let read = |value: &Value| value.as_str().unwrap().to_owned();
    let property = HashMap::from([
        ("absence", id(absence.json(201))),
        ("agent", agent),
        ("campaign", read(&campaign["id"])),
        ("endpoint", id(admin.post("/webhook-endpoints", &endpoint).await.json(201))),
        ("enrollment", enrollment),
        ("key", id(admin.post("/keys", &spare).await.json(201))),
        ("lead", read(&sends["items"][0]["lead"])),
        ("letter", read(&letters["items"][0]["id"])),
        ("name", read(&admin.get("/senders").await.json(200)["items"][0]["name"])),
        ("send", read(&sends["items"][0]["id"])),
        ("sequence", read(&campaign["sequence"])),
        ("suppression", id(admin.post("/suppressions", &gone).await.json(201))),
        ("version", "1".to_owned()),
    ]);
    (engine, Property(property))
}
