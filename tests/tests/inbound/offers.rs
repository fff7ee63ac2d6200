//! The link in an offer to an agent, over real HTTP: it works once, for one agent, while that offer
//! stands, and looking at it changes nothing.

use std::net::SocketAddr;

use activities::agents::roster::Absence;
use activities::agents::{self, Profile};
use activities::handovers::{self, Order};
use activities::token::{Claim, TokenKind};
use chrono::TimeDelta;
use chrono_tz::Tz;
use machine::signal::HandoverResult;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use server::serve::guesses::Guesses;

use super::town::{Town, campaign};

const ADA: &str = "ada@example.com";
const EVE: &str = "eve@example.com";

/// A town whose leads are offered to agents in turn, with the pages served.
struct House {
    town: Town,
    client: Client,
    address: String,
}

/// What a page was answered with.
struct Page {
    status: StatusCode,
    text: String,
}

impl House {
    /// Each agent may have one lead.
    async fn new(agents: &[&str]) -> Self {
        server::init_tls();
        let mut town = Town::new(&[ADA, EVE]).await;
        for name in agents {
            let profile = Profile {
                name: (*name).to_owned(),
                email: format!("{name}@agents.example").parse().unwrap(),
                zone: Tz::UTC,
                hours: Vec::new(),
                open_max: 1,
                active: true,
            };
            let added = agents::add(&town.room.store, town.workspace, &profile, "test").await;
            added.unwrap().unwrap();
        }
        town.start(in_turn("spring")).await;
        town.work().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = server::webhooks::router(
            town.room.clone(),
            Guesses::of_links("127.0.0.1".parse().unwrap()),
        );
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { town, client, address }
    }

    async fn answers(&mut self, lead: &str) {
        let send = self.town.send("spring", lead, "intro").await;
        self.town.replies(lead, send, "Tell me more").await;
    }

    /// The link in the newest mail to this agent.
    async fn link(&mut self, agent: &str) -> String {
        let sql = "SELECT c.text FROM sends s JOIN send_contents c USING (workspace_id, send_id)
             WHERE s.kind = 'handover' AND s.address = $1 ORDER BY s.gate_at DESC LIMIT 1";
        let text = self.town.one(sql, &[&format!("{agent}@agents.example")]).await;
        let token = text.split("/h/").nth(1).expect(&text).split_whitespace().next().unwrap();
        format!("{}/h/{token}", self.address)
    }

    async fn asks(&self, method: Method, link: &str) -> Page {
        let answer = self.client.request(method, link).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
        Page { status: answer.status(), text: answer.text().await.unwrap() }
    }

    /// Where the handover of Ada stands, and how many signals there are.
    async fn stands(&mut self) -> (String, i64) {
        let sql = "SELECT h.state FROM handovers h JOIN enrollments e USING (enrollment_id)
             JOIN addresses a ON a.lead_id = e.lead_id AND a.address = $1";
        (self.town.one(sql, &[ADA]).await, self.town.count("signals").await)
    }

    async fn order(&mut self, order: Order) {
        let enrollment = self.town.enrollment("spring", ADA).await;
        let (store, workspace) = (&self.town.room.store, self.town.workspace);
        handovers::order(store, workspace, enrollment, order, "test").await.unwrap();
        self.town.work().await;
    }
}

/// A campaign whose leads are offered to agents in turn.
fn in_turn(name: &str) -> Value {
    let mut document = campaign(name);
    document["handover"] = json!({ "agents": "in_turn", "answer_within": "2 hours" });
    document
}

fn has_button(page: &Page) -> bool {
    page.text.contains("<form method=\"post\"><button")
}

#[tokio::test]
async fn an_agent_takes_a_lead_by_the_link_once_and_looking_changes_nothing() {
    let mut house = House::new(&["ann"]).await;
    house.answers(ADA).await;
    house.town.work().await;
    let link = house.link("ann").await;
    let before = house.stands().await;
    for method in [Method::GET, Method::HEAD, Method::GET] {
        let page = house.asks(method.clone(), &link).await;
        assert_eq!(page.status, StatusCode::OK);
        if method == Method::GET {
            assert!(has_button(&page), "{}", page.text);
            assert!(page.text.contains("answered (spring)"), "{}", page.text);
            assert!(page.text.contains("Please answer by"), "{}", page.text);
        }
    }
    house.town.work().await;
    assert_eq!(house.stands().await, before);
    assert_eq!(before.0, "offered");

    let taken = house.asks(Method::POST, &link).await;
    assert!(taken.text.contains("The lead is yours") && !has_button(&taken), "{}", taken.text);
    house.town.work().await;
    assert_eq!(house.stands().await, ("accepted".to_owned(), before.1 + 1));
    for method in [Method::POST, Method::GET] {
        let again = house.asks(method, &link).await;
        assert!(again.text.contains("The lead is yours") && !has_button(&again), "{}", again.text);
    }
    house.town.work().await;
    assert_eq!(house.stands().await, ("accepted".to_owned(), before.1 + 1));
    let acts = "SELECT count(*)::text FROM audit
         WHERE act = 'handover_accepted' AND actor LIKE 'agent/%'";
    assert_eq!(house.town.one(acts, &[]).await, "1");
    house.order(Order::Answered).await;
    let page = house.asks(Method::GET, &link).await;
    assert!(page.text.contains("was answered") && !has_button(&page), "{}", page.text);
}

#[tokio::test]
async fn a_link_of_an_offer_that_moved_on_takes_nothing() {
    let mut house = House::new(&["ann", "bea"]).await;
    house.answers(ADA).await;
    house.town.work().await;
    let old = house.link("ann").await;
    house.town.after(TimeDelta::hours(2)).await;
    house.town.work().await;
    let new = house.link("bea").await;
    assert_ne!(old, new);
    let before = house.stands().await;
    for method in [Method::GET, Method::POST] {
        let page = house.asks(method, &old).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains("with somebody else") && !has_button(&page), "{}", page.text);
    }
    house.town.work().await;
    assert_eq!(house.stands().await, before);
    let taken = house.asks(Method::POST, &new).await;
    assert!(taken.text.contains("The lead is yours"), "{}", taken.text);
    house.town.work().await;
    assert_eq!(house.stands().await.0, "accepted");
}

#[tokio::test]
async fn a_link_says_what_became_of_the_lead() {
    for (order, words, state) in [
        (Order::GiveBack, "The campaign goes on", "given_back"),
        (Order::Close(HandoverResult::Lost), "This is over", "closed"),
    ] {
        let mut house = House::new(&["ann"]).await;
        house.answers(ADA).await;
        house.town.work().await;
        let link = house.link("ann").await;
        house.order(order).await;
        let before = house.stands().await;
        for method in [Method::GET, Method::POST] {
            let page = house.asks(method, &link).await;
            assert!(page.text.contains(words) && !has_button(&page), "{}", page.text);
        }
        house.town.work().await;
        assert_eq!(house.stands().await, before);
        assert_eq!(before.0, state);
    }
}

#[tokio::test]
async fn a_link_that_we_did_not_make_for_an_offer_takes_nothing() {
    let mut house = House::new(&["ann"]).await;
    house.answers(ADA).await;
    house.town.work().await;
    let genuine = house.link("ann").await;
    let before = house.stands().await;
    let mut tampered = genuine.clone();
    let last = tampered.pop().unwrap();
    tampered.push(if last == 'A' { 'B' } else { 'A' });
    // A way out is no acceptance, and a mail to a lead no offer.
    let send = house.town.send("spring", ADA, "intro").await;
    let claim = Claim { workspace: house.town.workspace.uuid(), id: send.uuid() };
    let sign = |kind| house.town.room.tokens.sign(kind, claim);
    let way_out = format!("{}/h/{}", house.address, sign(TokenKind::OptOut));
    let no_offer = format!("{}/h/{}", house.address, sign(TokenKind::AcceptHandover));
    for link in [tampered, way_out, no_offer] {
        for method in [Method::GET, Method::POST] {
            let page = house.asks(method, &link).await;
            assert_eq!(page.status, StatusCode::NOT_FOUND, "{link}");
            assert!(page.text.contains("leads nowhere"), "{}", page.text);
        }
    }
    house.town.work().await;
    assert_eq!(house.stands().await, before);
}

#[tokio::test]
async fn whoever_waits_for_an_agent_is_told_as_soon_as_one_is_free() {
    let mut house = House::new(&["ann"]).await;
    house.answers(ADA).await;
    house.town.work().await;
    house.answers(EVE).await;
    house.town.work().await;
    let with = |state: &str| {
        format!("SELECT count(*)::text FROM handovers WHERE agent_id IS NOT NULL AND {state}")
    };
    assert_eq!(house.town.one(&with("true"), &[]).await, "1");
    assert_eq!(house.town.count("handovers WHERE state = 'offered'").await, 2);
    let (store, workspace) = (house.town.room.store.clone(), house.town.workspace);
    let ann = agents::list(&store, workspace).await.unwrap()[0].id;

    // Room by a higher limit.
    let more = |profile| Profile { open_max: 2, ..profile };
    agents::change(&store, workspace, ann, |_| true, more, "test").await.unwrap().unwrap();
    house.town.work().await;
    assert_eq!(house.town.one(&with("true"), &[]).await, "2");

    // Back from an absence of which nobody knew the end.
    house.order(Order::Close(HandoverResult::Lost)).await;
    let away = Absence { from: house.town.now().await, until: None };
    agents::add_absence(&store, workspace, ann, away, "test").await.unwrap().unwrap();
    house.town.import("email\nzoe@example.com\nmoe@example.com\n").await;
    house.town.start(in_turn("autumn")).await;
    house.town.work().await;
    for address in ["zoe@example.com", "moe@example.com"] {
        let send = house.town.send("autumn", address, "intro").await;
        house.town.replies(address, send, "Tell me more").await;
        house.town.work().await;
    }
    assert_eq!(house.town.one(&with("state = 'offered'"), &[]).await, "1");
    assert_eq!(agents::back(&store, workspace, ann, "test").await.unwrap(), Some(1));
    house.town.work().await;
    assert_eq!(house.town.one(&with("state = 'offered'"), &[]).await, "2");
    // There is room for one, so only one was told, and a change that makes no room tells nobody.
    assert_eq!(house.town.count("signals WHERE kind = 'freed'").await, 2);
    let renamed = |profile| Profile { name: "ann b".to_owned(), ..profile };
    agents::change(&store, workspace, ann, |_| true, renamed, "test").await.unwrap().unwrap();
    assert_eq!(house.town.count("signals WHERE kind = 'freed'").await, 2);
}

#[tokio::test]
async fn two_gates_at_once_give_nobody_more_than_they_may_have() {
    let mut house = House::new(&["ann"]).await;
    house.answers(ADA).await;
    house.answers(EVE).await;
    house.town.interpret().await;
    let asks = house.town.turn().await;
    assert_eq!(asks.len(), 2);
    let mut ready = Vec::new();
    for ask in asks {
        // Each is prepared as if it were alone, by a runner of its own.
        ready.push(house.town.prepare(vec![ask]).await);
    }
    let (one, other) = (ready.pop().unwrap(), ready.pop().unwrap());
    assert_eq!((one.len(), other.len()), (1, 1));
    let (room, workspace) = (&house.town.room, house.town.workspace);
    let (one, other) = tokio::join!(
        activities::send::gate(room, workspace, one),
        activities::send::gate(room, workspace, other),
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.dispatched.len() + other.dispatched.len(), 1);
    assert_eq!(one.changed.len() + other.changed.len(), 1);
    let offers = "SELECT count(*)::text FROM handovers WHERE agent_id IS NOT NULL";
    assert_eq!(house.town.one(offers, &[]).await, "1");
}
