//! The served OpenAPI document is a promise. Schemathesis, which knows nothing else, asks for everything in
//! it with keys of every role and with none, what fits and what does not: no answer may be a failure of
//! ours, nor of a shape or status that was not promised.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tests::end_to_end::installation::{Installation, SIGNING_KEY};
use tests::end_to_end::mail_server::Accepted;
use tests::end_to_end::oracle::{self, assert_none};
use tests::end_to_end::provider::{self, Manner, Provider};
use tests::end_to_end::{tell, until, wall_seconds};
use tokio::process::Command;
use uuid::Uuid;

/// How long it may take for everything that is seeded to be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one tester may take.
const TESTING_MAX: Duration = Duration::from_secs(300);

/// The seed where `SEED` names no other.
const SEED: &str = "1";

/// How many requests each operation gets, by role: what a role may not do is refused alike every time.
const EXAMPLES: [(Option<&str>, u32); 4] =
    [(None, 2), (Some("viewer"), 5), (Some("operator"), 10), (Some("admin"), 10)];

/// Texts that are tried now and then wherever there is one.
const ODD_TEXTS: [&str; 6] =
    ["\u{0}", "a\u{0}b", "\u{202e}gnirps\r\nBcc: x@example.com", "' OR 1=1 --", "%00", "\u{1f9ed}"];

/// What is looked at in every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,\
                      negative_data_rejection,missing_required_header,unsupported_method,\
                      allow_header_conformance,ignored_auth";

/// How what does not fit may be refused.
const REFUSALS: [u16; 9] = [400, 401, 403, 404, 409, 412, 413, 415, 422];

/// An administrator's program, which seeds what the tester may find.
struct Seeder<'a> {
    installation: &'a Installation,
    secret: String,
}

impl Seeder<'_> {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/api/v1{path}", self.installation.url());
        let bearer = format!("Bearer {}", self.secret);
        let mut request =
            provider::client().request(method.clone(), url).header(AUTHORIZATION, bearer);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let (is_well, text) = (answer.status().is_success(), answer.text().await.unwrap());
        assert!(is_well, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, None).await
    }

    /// Fills the workspace. Returns the ids that stand for each parameter of a path.
    async fn seed(&self) -> Vec<(&'static str, Vec<String>)> {
        let mut leads = Vec::new();
        for n in 0..8 {
            let lead = json!({
                "emails": [format!("lead{n}@example.com")],
                "phones": [format!("+1202555010{n}")],
                "tags": ["seeded"],
                "attributes": { "first_name": "Ada" },
            });
            leads.push(id(&self.post("/leads", lead).await));
        }
        let (mut campaigns, mut sequences) = (Vec::new(), Vec::new());
        for n in 0..4 {
            let made = self.post("/campaigns", campaign(n)).await;
            campaigns.push(id(&made));
            sequences.push(made["sequence"].as_str().unwrap().to_owned());
        }
        // Two are running, two are drafts.
        for campaign in &campaigns[..2] {
            self.post(&format!("/campaigns/{campaign}/start"), json!({})).await;
        }
        let (mut enrollments, mut sends) = (Vec::new(), Vec::new());
        for campaign in &campaigns[..2] {
            let path = format!("/campaigns/{campaign}");
            until(PATIENCE, async || match &self.get(&path).await["sent"] {
                sent if *sent == 8 => Ok(()),
                sent => Err(format!("{sent} of 8 were sent")),
            })
            .await;
            let listed = self.get(&format!("{path}/enrollments")).await;
            enrollments.extend(listed["items"].as_array().unwrap().iter().map(id));
        }
        for enrollment in &enrollments[..4] {
            let path = format!("/enrollments/{enrollment}");
            let shown = self.get(&path).await;
            sends.extend(shown["sends"].as_array().unwrap().iter().map(id));
            self.post(&format!("{path}/signals"), json!({ "signal": "hand_over" })).await;
        }
        let (agents, absences) = self.seed_agents().await;
        let (endpoints, letters) = self.seed_dead_letters().await;
        let mut keys = Vec::new();
        for _ in 0..2 {
            keys.push(id(&self.post("/keys", json!({ "name": "spare", "role": "viewer" })).await));
        }
        let gone = json!({ "address": "gone@example.com" });
        let suppression = id(&self.post("/suppressions", gone).await);
        vec![
            ("lead", leads),
            ("campaign", campaigns),
            ("sequence", sequences),
            ("enrollment", enrollments),
            ("send", sends),
            ("key", keys),
            ("suppression", vec![suppression]),
            ("agent", agents),
            ("absence", absences),
            ("endpoint", endpoints),
            ("letter", letters),
            ("name", vec!["house".to_owned()]),
        ]
    }

    /// Agents, the first of whom is away.
    async fn seed_agents(&self) -> (Vec<String>, Vec<String>) {
        let mut agents = Vec::new();
        for name in ["ann", "ben"] {
            let agent = json!({ "name": name, "email": format!("{name}@agents.example") });
            agents.push(id(&self.post("/agents", agent).await));
        }
        let path = format!("/agents/{}/absences", agents[0]);
        let absence = self.post(&path, json!({ "until": "2199-01-01T00:00:00Z" })).await;
        (agents, vec![id(&absence)])
    }

    /// Addresses of webhooks, and mails from strangers that came in there.
    async fn seed_dead_letters(&self) -> (Vec<String>, Vec<String>) {
        let endpoint = json!({ "provider": "mailgun", "signing_key": SIGNING_KEY });
        let made = self.post("/webhook-endpoints", endpoint).await;
        let provider = Provider::new(made["url"].as_str().unwrap(), 1);
        for n in 0..4 {
            let stranger = Accepted {
                send: Uuid::from_u128(n),
                message_id: format!("<{n}@elsewhere.example>"),
                in_reply_to: None,
                subject: "Something else".to_owned(),
                unsubscribe: None,
                to: format!("stranger{n}@elsewhere.example"),
                at: wall_seconds(),
                file: "none".into(),
            };
            let post = provider.answer(&stranger, "Who are you?", &[]);
            provider::deliver(&post, Manner::Once).await;
        }
        let mut letters = Vec::new();
        until(PATIENCE, async || {
            let listed = self.get("/dead-letters").await;
            letters = listed["items"].as_array().unwrap().iter().map(id).collect();
            if letters.len() == 4 { Ok(()) } else { Err(format!("{} of 4 letters", letters.len())) }
        })
        .await;
        (vec![id(&made)], letters)
    }
}

fn campaign(number: usize) -> Value {
    json!({
        "name": format!("spring-{number}"),
        "senders": ["house"],
        "zone": "UTC",
        "audience": { "tags": ["seeded"] },
        "handover": { "to": "desk@example.com", "answer_within": "2 days" },
        "steps": [
            { "key": "intro", "email": { "subject": "Spring", "body": "Hello {{ first_name }}" } },
            { "key": "nudge", "wait": "3 days", "email": { "body": "Still spring" } },
        ],
    })
}

fn id(shown: &Value) -> String {
    shown["id"].as_str().unwrap().to_owned()
}

/// Tells the tester what is there: most of what it asks for is, and some is not.
fn settings(seeded: &[(&str, Vec<String>)]) -> String {
    let mut text = String::from("[checks.negative_data_rejection]\n");
    text.push_str(&format!("expected-statuses = {}\n\n", json!(REFUSALS)));
    for (name, ids) in seeded {
        text.push_str(&format!("[dictionaries.{name}]\nvalues = {}\n\n", json!(ids)));
    }
    let odd = json!(ODD_TEXTS);
    text.push_str(&format!("[dictionaries.odd]\nvalues = {odd}\n\n[generation.dictionaries]\n"));
    text.push_str("string = { dictionary = \"odd\", probability = 0.1 }\n\n[parameters]\n");
    for (name, _) in seeded {
        // Those that are spare, not those that the testers work with.
        let probability = if *name == "key" { 1.0 } else { 0.8 };
        text.push_str(&format!(
            "\"path.{name}\" = {{ dictionary = \"{name}\", probability = {probability:.1} }}\n"
        ));
    }
    text
}

/// Where `scripts/setup contract` puts the tester.
fn schemathesis() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = cache.filter(|it| !it.as_os_str().is_empty()).unwrap_or(home.join(".cache"));
    cache.join("meridian/tools/schemathesis/bin/schemathesis")
}

/// Tests with a key, or with none.
async fn test(installation: &Installation, settings: &str, key: Option<&str>, n: u32) -> Output {
    let program = schemathesis();
    assert!(program.is_file(), "{} is missing: run `scripts/setup contract`", program.display());
    let seed = std::env::var("SEED").unwrap_or_else(|_| SEED.to_owned());
    let mut command = Command::new(program);
    command
        .args(["--config-file", settings, "run"])
        .arg(format!("{}/api/v1/openapi.json", installation.url()))
        .args([
            "--phases",
            "examples,fuzzing",
            "--checks",
            CHECKS,
            "--max-examples",
            &n.to_string(),
        ])
        .args(["--seed", &seed, "--generation-database", "none", "--continue-on-failure"])
        .args(["--rate-limit", "auto", "--no-color"])
        // It is answered without an end.
        .args(["--exclude-path", "/stream"])
        .current_dir(installation.place())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(key) = key {
        command.args(["--header", &format!("Authorization: Bearer {key}")]);
    }
    let testing = tokio::time::timeout(TESTING_MAX, command.output());
    testing.await.expect("it comes to its end").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_is_answered_as_the_document_promises() {
    let installation = Installation::create().await;
    installation.run(&["sender", "add", "house", "capture:", "--from", "house@example.com"]).await;
    let mut serving = installation.serve();
    installation.ready(&mut serving).await;
    let key = async |role: &str| {
        let key = installation.json(&["key", "create", "--role", role]).await;
        key["secret"].as_str().unwrap().to_owned()
    };
    let seeder = Seeder { installation: &installation, secret: key("admin").await };
    let seeded = settings(&seeder.seed().await);
    let settings = installation.write("schemathesis.toml", &seeded);

    let testing = EXAMPLES.map(async |(role, examples)| {
        let key = match role {
            Some(role) => Some(key(role).await),
            None => None,
        };
        let output = test(&installation, &settings, key.as_deref(), examples).await;
        (role.unwrap_or("nobody"), output)
    });
    for (role, output) in futures::future::join_all(testing).await {
        let text = String::from_utf8_lossy(&output.stdout);
        tell(format_args!("{}", text.lines().last().unwrap_or_default()));
        assert!(output.status.success(), "as {role}:\n{text}");
        let generated = text.lines().filter_map(|line| line.trim().split_once(" generated"));
        let generated: u32 = generated.filter_map(|(n, _)| n.parse::<u32>().ok()).sum();
        assert!(generated >= 50, "as {role}, only {generated} requests:\n{text}");
    }
    assert!(serving.terminate().await.success());
    assert_none("suspicious lines", oracle::suspicious(&installation.log()));
    installation.run(&["verify"]).await;
    installation.run(&["replay", "--all"]).await;
}
