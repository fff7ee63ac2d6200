//! Who attacks the API: programs without a key, with too little of a role, of another tenant, and with
//! fields that are nobody's to set. Every operation of the document is tried; one that is not in the
//! table below fails the test.

mod operations;

use std::collections::BTreeSet;

use activities::api_keys::Role;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use server::cli::schema;
use server::metrics::Metrics;
use server::serve::proxies::Proxies;
use server::serve::{self, Routes};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::programs::{Api, Program};
use operations::{OPERATIONS, Operation, Property};

/// What a request must not set, whatever it is about.
const NOBODYS: [&str; 7] =
    ["workspace_id", "role", "approved_by", "used", "state", "id", "is_admin"];

/// What stands on every answer.
const HEADERS: [&str; 5] = [
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "cache-control",
    "content-security-policy",
];

impl Program<'_> {
    /// Tries an operation; returns its status as soon as that is known.
    async fn tries(&self, operation: &Operation, property: &Property, body: Value) -> StatusCode {
        let request = self.request(operation.method(), &operation.path_to(property));
        // Whatever version there is.
        let request = request.header(header::IF_MATCH, "*");
        let request = match operation.body {
            Some(_) => request
                .header(header::CONTENT_TYPE, operation.content_type())
                .body(Body::from(operation.written(&body))),
            None => request.body(Body::empty()),
        };
        self.open(request.unwrap()).await.status()
    }
}

fn document() -> Value {
    serde_json::from_str(&schema::api_text()).unwrap()
}

#[test]
fn the_table_holds_every_operation_there_is() {
    let document = document();
    let mut served = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let role = operation["x-meridian-role"].as_str().unwrap();
            served.insert(format!("{} {path} {role}", method.to_uppercase()));
        }
    }
    let listed = OPERATIONS.iter();
    let listed: BTreeSet<String> =
        listed.map(|it| format!("{} {} {}", it.method, it.path, it.role.as_str())).collect();
    assert_eq!(served, listed);
}

#[tokio::test]
async fn every_operation_admits_its_roles_and_nobody_else() {
    let api = Api::new().await;
    let nothing = Property::none();
    for operation in &OPERATIONS {
        let nobody = api.program_with("mk_nonsense");
        let status = nobody.tries(operation, &nothing, operation.example()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{operation} with a wrong key");
    }
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let program = api.program(role).await;
        for operation in &OPERATIONS {
            let status = program.tries(operation, &nothing, operation.example()).await;
            let is_refused = status == StatusCode::FORBIDDEN;
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{operation}");
            assert_ne!(status, StatusCode::TOO_MANY_REQUESTS, "{operation}");
            assert!(!status.is_server_error(), "{operation}: {status}");
            assert_eq!(is_refused, role < operation.role, "{operation} as {role}: {status}");
        }
    }
}

#[tokio::test]
async fn what_is_one_tenant_s_is_not_there_for_another() {
    let api = Api::new().await;
    let (engine, property) = operations::property(&api).await;
    let owner = api.program(Role::Admin).await;
    let before = seen(&owner, &property).await;
    let stranger = api.stranger(Role::Admin).await;
    for operation in OPERATIONS.iter().filter(|it| it.path.contains('{')) {
        let status = stranger.tries(operation, &property, operation.example()).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{operation}");
    }
    let of_enrollment = stranger.get(&property.fill("/sends?enrollment={enrollment}")).await;
    assert_eq!(of_enrollment.problem(404).0, "not-found");
    let of_lead = stranger.get(&property.fill("/sends?lead={lead}")).await;
    assert_eq!(of_lead.json(200)["items"], json!([]));
    for list in ["/conversations", "/leads", "/handovers", "/dead-letters", "/campaigns", "/agents"]
    {
        let listed = stranger.get(list).await.json(200);
        assert_eq!(listed["items"], json!([]), "{list}");
    }
    // Another tenant's leads enter no campaign of ours.
    let own = stranger.post("/campaigns", &crate::campaigns::spring()).await.json(201);
    let path = format!("/campaigns/{}", own["id"].as_str().unwrap());
    stranger.post(&format!("{path}/start"), &json!({})).await.json(202);
    let foreign = json!({ "leads": [property.fill("{lead}")] });
    let entered = stranger.post(&format!("{path}/enrollments"), &foreign).await.json(200);
    assert_eq!((&entered["added"], &entered["skipped"]), (&json!(0), &json!(1)), "{entered}");
    // Cursors of one tenant's lists lead nowhere in another's.
    let first = owner.get("/leads?limit=1").await.json(200);
    let next = first["next"].as_str().expect("there are two leads");
    let listed = stranger.get(&format!("/leads?limit=1&cursor={next}")).await;
    assert!(!String::from_utf8_lossy(&listed.bytes).contains("example.com"));
    for (before, after) in before.into_iter().zip(seen(&owner, &property).await) {
        assert!(before == after, "{} changed", before.0);
    }
    engine.drain().await;
}

/// What the owner sees of everything.
async fn seen(owner: &Program<'_>, property: &Property) -> Vec<(&'static str, Value)> {
    let mut seen = Vec::new();
    for operation in OPERATIONS.iter().filter(|it| it.method == "GET" && it.path.contains('{')) {
        let answer = owner.get(&operation.path_to(property)).await;
        assert_eq!(answer.status, StatusCode::OK, "{operation}");
        let mut shown: Value = serde_json::from_slice(&answer.bytes).unwrap();
        if let Some(plan) = shown["plan"].as_object_mut() {
            plan.remove("computed_at");
        }
        seen.push((operation.path, shown));
    }
    seen
}

#[tokio::test]
async fn fields_that_are_nobodys_to_set_are_refused_by_name() {
    let api = Api::new().await;
    let document = document();
    let nothing = Property::none();
    for operation in OPERATIONS.iter().filter(|it| it.body.is_some() && !it.is_csv()) {
        let admin = api.program(Role::Admin).await;
        for field in NOBODYS.into_iter().filter(|field| !operation.takes(&document, field)) {
            let mut body = operation.example();
            body[field] = json!("00000000-0000-4000-8000-000000000000");
            let path = operation.path_to(&nothing);
            let request = admin.json(operation.method(), &path, &body);
            let answer = admin.send(request).await;
            if operation.is_choice(&document) {
                assert_eq!(answer.status, 422, "{operation} with `{field}`");
                continue;
            }
            assert_eq!(answer.problem(422).0, "invalid", "{operation} with `{field}`");
            assert!(
                answer.faulty_fields().iter().any(|it| it.contains(field)),
                "{operation} names {:?}, not `{field}`",
                answer.faulty_fields()
            );
        }
    }
}

#[tokio::test]
async fn nothing_but_the_key_says_whose_workspace_it_is() {
    let api = Api::new().await;
    api.import("email\nada@example.com\n").await;
    let owner = api.program(Role::Viewer).await;
    let stranger = api.stranger(Role::Viewer).await;
    let workspace = api.workspace.to_string();
    let leads = async |name: &'static str, value: &str, path: &str| {
        let request = stranger.request(Method::GET, path).header(name, value);
        stranger.send(request.body(Body::empty()).unwrap()).await
    };
    for (name, value) in [
        ("x-workspace", workspace.as_str()),
        ("x-workspace-id", workspace.as_str()),
        ("x-meridian-workspace", "default"),
        ("cookie", "workspace=default; workspace_id=default"),
        ("host", "default.meridian.example"),
        ("x-forwarded-host", "default.meridian.example"),
    ] {
        assert_eq!(leads(name, value, "/leads").await.json(200)["items"], json!([]), "{name}");
    }
    let queried = stranger.get(&format!("/leads?workspace={workspace}")).await;
    assert_eq!(queried.problem(422).0, "invalid");
    assert_eq!(owner.get("/leads").await.json(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_counts_in_its_header_only_and_whole() {
    let api = Api::new().await;
    let owner = api.program(Role::Viewer).await;
    let secret = owner.secret.clone();
    for query in ["key", "api_key", "access_token", "token"] {
        let request = Request::get(format!("/api/v1/leads?{query}={secret}"));
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.problem(401).0, "unauthenticated", "{query}");
    }
    let (head, tail) = secret.split_at(secret.len() - 1);
    let other = if tail == "a" { "b" } else { "a" };
    let guesses = [head.to_owned(), format!("{head}{other}"), format!("{secret}{tail}")];
    for guess in guesses {
        let answer = api.program_with(&guess).get("/leads").await;
        assert_eq!(answer.problem(401).0, "unauthenticated", "{guess}");
    }
    let scheme = Request::get("/api/v1/leads").header("authorization", format!("Basic {secret}"));
    assert_eq!(api.send(scheme.body(Body::empty()).unwrap()).await.status, 401);
    assert_eq!(owner.get("/leads").await.status, 200);
}

#[tokio::test]
async fn who_tries_many_keys_is_told_to_wait_and_nobody_else_is() {
    let api = Api::new().await;
    let mut statuses = Vec::new();
    for n in 0..1_100 {
        let guess = Request::get("/api/v1/leads")
            .header("authorization", format!("Bearer mk_{n:032}"))
            .header("x-forwarded-for", format!("203.0.113.{}", n % 250));
        let answer = api.send(guess.body(Body::empty()).unwrap()).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers.contains_key(header::RETRY_AFTER));
        }
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses[0], 401);
    assert_eq!(statuses[1_099], 429);
    assert_eq!(api.program(Role::Viewer).await.get("/leads").await.status, 200);
}

#[tokio::test]
async fn every_answer_of_every_kind_carries_the_headers() {
    let api = Api::new().await;
    let admin = api.program(Role::Admin).await;
    let (_ready, is_ready) = watch::channel(true);
    let routes = Routes { open: Some(Proxies::default()), metrics: true, workflows: None };
    let router = serve::router(&api.room, Metrics::install().unwrap(), is_ready, routes);
    let mut requests: Vec<Request<Body>> = Vec::new();
    for path in ["/healthz", "/readyz", "/metrics", "/nothing", "/u/x", "/h/x", "/webhooks/x"] {
        for method in [Method::GET, Method::POST, Method::TRACE] {
            let request = Request::builder().method(method).uri(path);
            requests.push(request.body(Body::empty()).unwrap());
        }
    }
    for operation in &OPERATIONS {
        let path = operation.path_to(&Property::none());
        requests.push(admin.json(operation.method(), &path, &json!({ "nonsense": 1 })));
        let request = Request::builder().method("BREW").uri(format!("/api/v1{path}"));
        requests.push(request.body(Body::empty()).unwrap());
    }
    let long = Body::from(vec![b' '; 3 * 1024 * 1024]);
    let long =
        admin.request(Method::POST, "/leads").header("content-type", "application/json").body(long);
    requests.push(long.unwrap());
    let mut statuses = BTreeSet::new();
    for request in requests {
        let asked = format!("{} {}", request.method(), request.uri());
        let answer = router.clone().oneshot(request).await.unwrap();
        statuses.insert(answer.status().as_u16());
        for name in HEADERS {
            assert!(answer.headers().contains_key(name), "{asked} lacks {name}");
        }
    }
    for status in [200, 401, 404, 405, 413, 422] {
        assert!(statuses.contains(&status), "no {status} among {statuses:?}");
    }
}
