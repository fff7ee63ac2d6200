//! The endpoints that others call, over real HTTP.

use std::net::SocketAddr;

use activities::endpoint_key::{EndpointKey, KeyUse};
use activities::ids;
use activities::store::webhook_endpoints::{self, EndpointId};
use activities::store::{clock, workspaces};
use activities::token::{Claim, TokenKind};
use hmac::{Hmac, KeyInit, Mac};
use machine::ids::SendId;
use reqwest::{Client, Method, Response, StatusCode, multipart};
use serde_json::{Value, json};
use server::serve::guesses::Guesses;
use sha2::Sha256;
use uuid::Uuid;

use super::town::{Town, about};

const ADA: &str = "ada@example.com";
const SIGNING_KEY: &[u8] = b"signing key of this endpoint";

/// A town whose webhooks are served.
struct Served {
    town: Town,
    client: Client,
    address: String,
    key: EndpointKey,
    endpoint: EndpointId,
}

impl Served {
    async fn new() -> Self {
        server::init_tls();
        let mut town = Town::written_to(&[ADA]).await;
        let key = EndpointKey::generate(KeyUse::Webhook, town.workspace.uuid());
        let endpoint = ids::new();
        let now = town.now().await;
        let mut tx = town.room.store.begin(town.workspace).await.unwrap();
        let keys = &town.room.keys;
        webhook_endpoints::add(&mut tx, keys, endpoint, &key, "mailgun", SIGNING_KEY, now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let proxies = "127.0.0.1".parse().unwrap();
        let router = server::webhooks::router(town.room.clone(), Guesses::of_links(proxies));
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { town, client, address, key, endpoint }
    }

    fn path(&self) -> String {
        format!("{}/webhooks/mailgun/{}", self.address, self.key.reveal())
    }

    async fn post(&self, body: &Value) -> StatusCode {
        self.post_to(&self.path(), body).await
    }

    async fn post_to(&self, path: &str, body: &Value) -> StatusCode {
        self.client.post(path).json(body).send().await.unwrap().status()
    }

    /// The wall clock in seconds, moved.
    async fn time(&mut self, seconds: i64) -> String {
        let now = clock::read(&mut self.town.owner).await.unwrap().wall;
        (now.timestamp() + seconds).to_string()
    }

    async fn event(&mut self, kind: &str, send: SendId) -> Value {
        let time = self.time(0).await;
        json!({
            "signature": signature(SIGNING_KEY, &time, &Uuid::from_bytes(rand::random()).to_string()),
            "event-data": about(kind, send),
        })
    }

    async fn intro(&mut self) -> SendId {
        self.town.send("spring", ADA, "intro").await
    }

    async fn link(&mut self, kind: TokenKind) -> String {
        let send = self.intro().await;
        let claim = Claim { workspace: self.town.workspace.uuid(), id: send.uuid() };
        format!("{}/u/{}", self.address, self.town.room.tokens.sign(kind, claim))
    }

    async fn get(&self, method: Method, url: &str) -> Response {
        self.client.request(method, url).send().await.unwrap()
    }
}

fn signature(key: &[u8], timestamp: &str, token: &str) -> Value {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    mac.update(timestamp.as_bytes());
    mac.update(token.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    json!({ "timestamp": timestamp, "token": token, "signature": signature })
}

#[tokio::test]
async fn a_signed_event_is_stored_and_its_repeat_is_fine() {
    let mut served = Served::new().await;
    let send = served.intro().await;
    let event = served.event("complained", send).await;
    assert_eq!(served.post(&event).await, StatusCode::OK);
    assert_eq!(served.post(&event).await, StatusCode::OK);
    let ignored = served.event("list_member_uploaded", send).await;
    assert_eq!(served.post(&ignored).await, StatusCode::OK);
    assert_eq!(served.town.count("inbound_events").await, 2);
    served.town.work().await;
    assert_eq!(served.town.state("spring", ADA).await, "opted_out");
    let payload =
        served.town.one("SELECT encode(payload, 'escape') FROM inbound_events LIMIT 1", &[]);
    assert!(!payload.await.contains("event-data"), "sealed");
}

#[tokio::test]
async fn what_is_not_signed_is_refused_and_not_stored() {
    let mut served = Served::new().await;
    let send = served.intro().await;
    let (now, old) = (served.time(0).await, served.time(-25 * 3600).await);
    for signature in [
        json!({}),
        json!({ "timestamp": now, "token": "t", "signature": "" }),
        json!({ "timestamp": now, "token": "t", "signature": "00" }),
        signature(b"another key", &now, "t"),
        signature(SIGNING_KEY, &old, "t"),
    ] {
        let body = json!({ "signature": signature, "event-data": about("complained", send) });
        assert_eq!(served.post(&body).await, StatusCode::NOT_ACCEPTABLE, "{body}");
    }
    let mut moved = served.event("complained", send).await;
    moved["signature"]["timestamp"] = served.time(-1).await.into();
    assert_eq!(served.post(&moved).await, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(served.town.count("inbound_events").await, 0);

    let late = served.time(-(7 * 3600 + 50 * 60)).await;
    let body = json!({
        "signature": signature(SIGNING_KEY, &late, "late"),
        "event-data": about("complained", send),
    });
    assert_eq!(served.post(&body).await, StatusCode::OK, "a genuine repeat after an outage");
}

#[tokio::test]
async fn a_path_that_opens_nothing_is_not_found() {
    let mut served = Served::new().await;
    let send = served.intro().await;
    let event = served.event("complained", send).await;
    let other = workspaces::ensure(&served.town.room.store, "other").await.unwrap();
    let key = served.key.reveal();
    let own = served.town.workspace.uuid().simple().to_string();
    for guess in [
        "x".to_owned(),
        key.replacen("wk_", "mk_", 1),
        key.replace(&own, &other.uuid().simple().to_string()),
        EndpointKey::generate(KeyUse::Webhook, served.town.workspace.uuid()).reveal(),
        EndpointKey::generate(KeyUse::Webhook, other.uuid()).reveal(),
        EndpointKey::generate(KeyUse::Webhook, Uuid::from_bytes(rand::random())).reveal(),
    ] {
        let path = format!("{}/webhooks/mailgun/{guess}", served.address);
        assert_eq!(served.post_to(&path, &event).await, StatusCode::NOT_FOUND, "{guess}");
    }
    let mut tx = served.town.room.store.begin(served.town.workspace).await.unwrap();
    let now = clock::read(&mut tx).await.unwrap().wall;
    assert!(
        webhook_endpoints::revoke(&mut tx, served.town.workspace, served.endpoint, now)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    assert_eq!(served.post(&event).await, StatusCode::NOT_FOUND, "revoked");
    assert_eq!(served.town.count("inbound_events").await, 0);
}

#[tokio::test]
async fn an_endpoint_of_one_workspace_reaches_no_other() {
    let mut served = Served::new().await;
    let send = served.intro().await;
    let other = workspaces::ensure(&served.town.room.store, "other").await.unwrap();
    let key = EndpointKey::generate(KeyUse::Webhook, other.uuid());
    let mut tx = served.town.room.store.begin(other).await.unwrap();
    let now = clock::read(&mut tx).await.unwrap().wall;
    let keys = &served.town.room.keys;
    webhook_endpoints::add(&mut tx, keys, ids::new(), &key, "mailgun", SIGNING_KEY, now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let path = format!("{}/webhooks/mailgun/{}", served.address, key.reveal());
    let event = served.event("complained", send).await;
    assert_eq!(served.post_to(&path, &event).await, StatusCode::OK);
    assert!(served.town.signals("spring", ADA).await.is_empty());
    assert!(served.town.suppressed().await.is_empty());
}

#[tokio::test]
async fn what_is_too_long_or_no_event_is_said_to_be_so() {
    let mut served = Served::new().await;
    let send = served.intro().await;
    let mut long = served.event("delivered", send).await;
    long["event-data"]["note"] = "x".repeat(1024 * 1024).into();
    assert_eq!(served.post(&long).await, StatusCode::PAYLOAD_TOO_LARGE);
    let huge = multipart::Form::new().text("body-plain", "x".repeat(26 * 1024 * 1024));
    let huge = served.client.post(served.path()).multipart(huge).send().await;
    // The server may hang up before everything is sent.
    assert!(huge.is_err() || huge.is_ok_and(|huge| huge.status() == StatusCode::PAYLOAD_TOO_LARGE));
    let deep = "[".repeat(100_000);
    for body in ["", "{", "[]x", r#"{"a":1,"a":2}"#, "\u{0}", &deep] {
        let request = served.client.post(served.path()).header("content-type", "application/json");
        let answer = request.body(body.to_owned()).send().await.unwrap().status();
        assert_eq!(answer, StatusCode::BAD_REQUEST, "{:.20}", body);
    }
    assert_eq!(served.town.count("inbound_events").await, 0);
}

#[tokio::test]
async fn a_mail_that_came_in_is_a_reply() {
    for is_multipart in [false, true] {
        let mut served = Served::new().await;
        let send = served.intro().await;
        let time = served.time(0).await;
        let signed = signature(SIGNING_KEY, &time, "token");
        let headers = json!([
            ["From", format!("Ada <{ADA}>")],
            ["Message-Id", "<reply@example.com>"],
            ["In-Reply-To", format!("<{send}@meridian.example>")],
        ]);
        let headers = headers.to_string();
        let mut fields: Vec<(&str, &str)> = ["timestamp", "token", "signature"]
            .map(|name| (name, signed[name].as_str().unwrap()))
            .to_vec();
        fields.extend([
            ("recipient", "reply@in.meridian.example"),
            ("sender", ADA),
            ("from", ADA),
            ("subject", "Re: Hello"),
            ("body-plain", "Tell me more"),
            ("stripped-text", "Tell me more"),
            ("message-headers", &headers),
        ]);
        let request = served.client.post(served.path());
        let request = if is_multipart {
            let mut form = multipart::Form::new();
            for (name, value) in &fields {
                form = form.text((*name).to_owned(), (*value).to_owned());
            }
            let picture = vec![0xff_u8; 3 * 1024 * 1024];
            let picture = multipart::Part::bytes(picture).file_name("../../a.png");
            request.multipart(form.part("attachment-1", picture))
        } else {
            request.form(&fields)
        };
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK, "{is_multipart}");
        served.town.work().await;
        assert_eq!(served.town.state("spring", ADA).await, "replied");
        let length = served.town.one("SELECT length(payload)::text FROM inbound_events", &[]).await;
        assert!(length.parse::<u64>().unwrap() < 10_000, "the picture is left out");
    }
}

#[tokio::test]
async fn looking_at_the_page_changes_nothing() {
    let mut served = Served::new().await;
    let url = served.link(TokenKind::OptOut).await;
    for method in [Method::GET, Method::HEAD] {
        let page = served.get(method.clone(), &url).await;
        assert_eq!(page.status(), StatusCode::OK);
        let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
        assert!(
            header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-")
        );
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-store");
        let text = page.text().await.unwrap();
        assert!(!text.contains(ADA));
        assert_eq!(text.contains("<form method=\"post\">"), method == Method::GET);
    }
    assert_eq!(served.town.count("inbound_events").await, 0);
    assert_eq!(served.town.count("suppressions").await, 0);
}

#[tokio::test]
async fn a_press_opts_out_however_often_and_in_whatever_form() {
    let mut served = Served::new().await;
    let url = served.link(TokenKind::OptOut).await;
    let one_click = served.client.post(&url).form(&[("List-Unsubscribe", "One-Click")]);
    let form = multipart::Form::new().text("List-Unsubscribe", "One-Click");
    let as_multipart = served.client.post(&url).multipart(form);
    for request in [served.client.post(&url), one_click, as_multipart] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().get("location").is_none());
    }
    assert_eq!(served.town.count("inbound_events").await, 1);
    assert_eq!(served.town.suppressed().await, [(ADA.to_owned(), "opted_out".to_owned())]);
    served.town.work().await;
    assert_eq!(served.town.state("spring", ADA).await, "opted_out");
}

#[tokio::test]
async fn a_link_works_after_its_reader_was_erased() {
    let mut served = Served::new().await;
    let url = served.link(TokenKind::OptOut).await;
    served.town.run("UPDATE sends SET address = NULL; DELETE FROM addresses").await;
    for _ in 0..2 {
        assert_eq!(served.get(Method::POST, &url).await.status(), StatusCode::OK);
    }
    assert_eq!(served.town.count("inbound_events").await, 1);
}

#[tokio::test]
async fn a_link_that_we_did_not_make_does_nothing() {
    let mut served = Served::new().await;
    let genuine = served.link(TokenKind::OptOut).await;
    let click = served.link(TokenKind::Click).await;
    let mut tampered = genuine.clone();
    let last = tampered.pop().unwrap();
    tampered.push(if last == 'A' { 'B' } else { 'A' });
    let cut = genuine[..genuine.len() - 1].to_owned();
    let endless = format!("{}/u/{}", served.address, "A".repeat(5_000));
    for url in [tampered, cut, click, endless] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(served.get(method, &url).await.status(), StatusCode::NOT_FOUND, "{url}");
        }
    }
    assert_eq!(served.town.count("inbound_events").await, 0);
}

#[tokio::test]
async fn a_database_that_is_away_is_no_answer_that_it_was_stored() {
    let mut served = Served::new().await;
    let send = served.intro().await;
    let event = served.event("complained", send).await;
    let url = served.link(TokenKind::OptOut).await;
    served.town.room.store.close().await;
    assert_eq!(served.post(&event).await, StatusCode::SERVICE_UNAVAILABLE);
    let page = served.get(Method::POST, &url).await;
    assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.text().await.unwrap().contains("press the button again"));
}

#[tokio::test]
async fn who_guesses_too_often_is_told_to_wait_and_who_is_right_never() {
    let mut served = Served::new().await;
    let link = served.link(TokenKind::OptOut).await;
    let nonsense = format!("{}/u/nonsense", served.address);
    let stray = format!("{}/webhooks/mailgun/wk_nonsense", served.address);
    let from = |client: &'static str, request: reqwest::RequestBuilder| async move {
        request.header("x-forwarded-for", client).send().await.unwrap()
    };
    for _ in 0..10 {
        let guess = from("198.51.100.7", served.client.get(&nonsense)).await;
        assert_eq!(guess.status(), StatusCode::NOT_FOUND);
        let guess = from("198.51.100.7", served.client.post(&stray)).await;
        assert_eq!(guess.status(), StatusCode::NOT_FOUND);
    }
    for request in [served.client.get(&nonsense), served.client.post(&stray)] {
        let refused = from("198.51.100.7", request).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let seconds = refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    let other = from("198.51.100.8", served.client.get(&nonsense)).await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    let reader = from("198.51.100.7", served.client.post(&link)).await;
    assert_eq!(reader.status(), StatusCode::OK);
}
