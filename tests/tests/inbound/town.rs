//! A workspace with leads and running campaigns, and an engine that works when it is told to.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use activities::campaigns::{apply, start};
use activities::import;
use activities::inbound::Envelope;
use activities::ingest::{self, NewEvent, PostBody, Provider, Signalled};
use activities::interpret::{Interpreted, interpret};
use activities::key_ring::KeyRing;
use activities::mailgun;
use activities::mailroom::Mailroom;
use activities::send::call::{Called, call};
use activities::send::prepare::Readied;
use activities::send::record::Known;
use activities::send::{Gated, Prepared, Recorded, gate, prepare, record};
use activities::store::{Store, clock, workspaces};
use activities::turn::{Ask, Due};
use chrono::{DateTime, TimeDelta, Utc};
use machine::document::CampaignDocument;
use machine::ids::{EnrollmentId, SendId, WorkspaceId};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use tests::cluster::Database;
use uuid::Uuid;

pub(crate) struct Town {
    pub(crate) room: Mailroom,
    pub(crate) workspace: WorkspaceId,
    pub(crate) owner: PgConnection,
}

impl Town {
    /// A workspace with `addresses` as leads and nothing else.
    pub(crate) async fn new(addresses: &[&str]) -> Self {
        let database = Database::create().await;
        let store = database.store().await;
        let workspace = workspaces::ensure(&store, workspaces::DEFAULT).await.unwrap();
        let mut town = Self { room: furnish(store), workspace, owner: database.owner().await };
        let file = format!("email\n{}\n", addresses.join("\n"));
        town.import(&file).await;
        town
    }

    /// As [`Town::new`], with a campaign that has written its first mail to everyone.
    pub(crate) async fn written_to(addresses: &[&str]) -> Self {
        let mut town = Self::new(addresses).await;
        town.start(campaign("spring")).await;
        town.work().await;
        town
    }

    pub(crate) async fn import(&mut self, file: &str) -> import::Report {
        let file = Cursor::new(file.to_owned().into_bytes());
        let options = import::Options::default();
        let (store, key) = (&self.room.store, &self.room.suppressions);
        import::leads(store, key, self.workspace, file, &options, |_| {}).await.unwrap()
    }

    /// Applies a campaign and starts it. The first one brings the capture sender with it.
    pub(crate) async fn start(&mut self, mut document: Value) {
        if self.count("senders").await > 0 {
            document["senders"] = json!(["capture"]);
        }
        let document: CampaignDocument = serde_json::from_value(document).unwrap();
        let store = &self.room.store;
        let applied = apply::apply(store, self.workspace, &document, "test").await;
        let campaign = applied.unwrap().unwrap().campaign;
        let started = start::at_once(store, self.workspace, campaign, "test", &mut |_| {}).await;
        started.unwrap().unwrap();
    }

    pub(crate) async fn now(&mut self) -> DateTime<Utc> {
        clock::read(&mut self.owner).await.unwrap().campaign
    }

    pub(crate) async fn after(&mut self, delta: TimeDelta) {
        let at = self.now().await + delta;
        clock::advance_to(&mut self.owner, at).await.unwrap();
    }

    /// Does everything that can be done now.
    pub(crate) async fn work(&mut self) {
        loop {
            let read = self.interpret().await;
            let asks = self.turn().await;
            let idle = asks.is_empty() && read == Interpreted::default();
            let ready = self.prepare(asks).await;
            let gated = self.gate(ready).await;
            self.call(gated).await;
            if idle {
                return;
            }
        }
    }

    pub(crate) async fn interpret(&mut self) -> Interpreted {
        interpret(&self.room, self.workspace).await.unwrap()
    }

    /// Runs due turns until none is left; returns what they asked for.
    pub(crate) async fn turn(&mut self) -> Vec<Ask> {
        let mut asks = Vec::new();
        loop {
            let due = Due::take(&self.room.store, self.workspace, None, 100).await.unwrap();
            let turned = due.turn(&self.room.versions).await.unwrap();
            assert!(turned.spoiled.is_empty(), "{:?}", turned.spoiled);
            asks.extend(turned.asks);
            if turned.applied == 0 {
                return asks;
            }
        }
    }

    pub(crate) async fn prepare(&mut self, asks: Vec<Ask>) -> Vec<Prepared> {
        let mut ready = Vec::new();
        for readied in prepare(&self.room, self.workspace, asks).await.unwrap() {
            match readied {
                Readied::Ready(prepared) => ready.push(*prepared),
                Readied::Answered(ask, answer) => {
                    self.record(&ask, Known::Gate(answer)).await;
                }
            }
        }
        ready
    }

    pub(crate) async fn gate(&mut self, ready: Vec<Prepared>) -> Gated {
        gate(&self.room, self.workspace, ready).await.unwrap()
    }

    pub(crate) async fn call(&mut self, gated: Gated) {
        for (ask, answer) in gated.answered {
            self.record(&ask, Known::Gate(answer)).await;
        }
        for dispatch in gated.dispatched {
            let called = call(&self.room, self.workspace, &dispatch, Duration::ZERO, || true).await;
            let Called::Answered(outcome) = called else { panic!("{called:?}") };
            let known = Known::Call { fence: dispatch.fence, outcome };
            self.record(&dispatch.message.ask, known).await;
        }
    }

    async fn record(&mut self, ask: &Ask, what: Known) {
        let (send, attempt, enrollment) = (ask.send, ask.attempt, ask.enrollment);
        let recorded = Recorded { send, attempt, enrollment, what };
        record(&self.room, self.workspace, &[recorded]).await.unwrap();
    }

    pub(crate) async fn signal(&mut self, event: NewEvent) -> Signalled {
        ingest::signal(&self.room, self.workspace, event).await.unwrap()
    }

    /// A post of Mailgun about an event, as it is after its signature was verified.
    pub(crate) async fn event(&mut self, token: &str, data: Value) -> NewEvent {
        let signature = json!({ "timestamp": "1", "token": token, "signature": "00" });
        let body = json!({ "signature": signature, "event-data": data }).to_string();
        let post = mailgun::parse_event(body.as_bytes()).unwrap();
        let (body, now) = (PostBody::Event(body.into_bytes()), self.now().await);
        NewEvent::of_mailgun(&self.room, self.workspace, post, body, now)
    }

    pub(crate) async fn hears(&mut self, kind: &str, send: SendId) -> Signalled {
        let data = about(kind, send);
        let event = self.event(&Uuid::from_bytes(rand::random()).to_string(), data).await;
        self.signal(event).await
    }

    /// A bounce with this status.
    pub(crate) async fn bounces(&mut self, status: &str, send: SendId) -> Signalled {
        let mut data = about("failed", send);
        data["severity"] = "permanent".into();
        data["reason"] = "bounce".into();
        data["delivery-status"] = json!({ "code": 550, "enhanced-code": status });
        let event = self.event(&Uuid::from_bytes(rand::random()).to_string(), data).await;
        self.signal(event).await
    }

    /// A mail comes in; its head and body as they stand in it.
    pub(crate) async fn mail(&mut self, raw: &str) -> Signalled {
        let raw = raw.replace('\n', "\r\n");
        let now = self.now().await;
        let event = NewEvent::of_raw_mail(
            &self.room,
            self.workspace,
            Provider::Capture,
            Uuid::from_bytes(rand::random()).to_string(),
            raw.as_bytes(),
            Envelope::default(),
            now,
        );
        self.signal(event).await
    }

    /// `from` answers the mail of `send`.
    pub(crate) async fn replies(&mut self, from: &str, send: SendId, text: &str) -> Signalled {
        self.mail(&format!(
            "From: {from}\nSubject: Re: Hello\nMessage-ID: <{}@theirs.example>\n\
             In-Reply-To: <{send}@meridian.example>\n\n{text}\n",
            Uuid::from_bytes(rand::random())
        ))
        .await
    }

    /// The send of `step` of `campaign` to `address`.
    pub(crate) async fn send(&mut self, campaign: &str, address: &str, step: &str) -> SendId {
        let row = sqlx::query(
            "SELECT s.send_id FROM sends s JOIN campaigns c USING (workspace_id, campaign_id)
             JOIN addresses a USING (workspace_id, lead_id)
             WHERE c.name = $1 AND a.address = $2 AND s.step_key = $3",
        )
        .bind(campaign)
        .bind(address)
        .bind(step)
        .fetch_one(&mut self.owner)
        .await
        .unwrap();
        SendId::new(row.get(0))
    }

    pub(crate) async fn enrollment(&mut self, campaign: &str, address: &str) -> EnrollmentId {
        let sql = "SELECT e.enrollment_id::text FROM enrollments e
             JOIN campaigns c USING (workspace_id, campaign_id)
             JOIN addresses a USING (workspace_id, lead_id) WHERE c.name = $1 AND a.address = $2";
        self.one(sql, &[campaign, address]).await.parse().unwrap()
    }

    /// The state of `address` in `campaign`; of an ended enrollment the outcome.
    pub(crate) async fn state(&mut self, campaign: &str, address: &str) -> String {
        let enrollment = self.enrollment(campaign, address).await.to_string();
        let sql =
            "SELECT convert_from(snapshot, 'UTF8') FROM enrollments WHERE enrollment_id = $1::uuid";
        let snapshot = self.one(sql, &[&enrollment]).await;
        let snapshot: Value = serde_json::from_str(&snapshot).unwrap();
        let state = &snapshot["state"];
        let word = if state["state"] == "ended" { &state["outcome"] } else { &state["state"] };
        word.as_str().unwrap().to_owned()
    }

    /// The signals of an enrollment in order.
    pub(crate) async fn signals(&mut self, campaign: &str, address: &str) -> Vec<Value> {
        let enrollment = self.enrollment(campaign, address).await;
        let rows = sqlx::query(
            "SELECT coalesce(signal, '{}') FROM signals WHERE enrollment_id = $1 ORDER BY seq",
        )
        .bind(enrollment.uuid())
        .fetch_all(&mut self.owner)
        .await
        .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The addresses and reasons of the suppressions in force.
    pub(crate) async fn suppressed(&mut self) -> Vec<(String, String)> {
        let rows = sqlx::query(
            "SELECT value, reason FROM suppressions WHERE lifted_at IS NULL ORDER BY value",
        )
        .fetch_all(&mut self.owner)
        .await
        .unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    pub(crate) async fn count(&mut self, table: &str) -> i64 {
        self.one(&format!("SELECT count(*)::text FROM {table}"), &[]).await.parse().unwrap()
    }

    /// One text from the database.
    pub(crate) async fn one(&mut self, sql: &str, arguments: &[&str]) -> String {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for argument in arguments {
            query = query.bind(*argument);
        }
        query.fetch_one(&mut self.owner).await.unwrap().get(0)
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut self.owner).await.unwrap();
    }

    /// Waits until a query says `true`; what it waits for happens in other tasks.
    pub(crate) async fn until(&mut self, sql: &str) {
        let patience = Duration::from_secs(30);
        let waited = tokio::time::timeout(patience, async {
            while self.one(&format!("SELECT ({sql})::text"), &[]).await != "true" {
                tokio::task::yield_now().await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never came true: {sql}"));
    }
}

fn furnish(store: Store) -> Mailroom {
    let keys = Arc::new(KeyRing::generate());
    let url = "http://127.0.0.1:8080/".parse().unwrap();
    Mailroom::new(
        store,
        keys,
        url,
        Some("in.meridian.example".to_owned()),
        Uuid::from_bytes(rand::random()),
    )
}

/// Two mails three days apart; a click in the first is looked at.
pub(crate) fn campaign(name: &str) -> Value {
    json!({
        "name": name,
        "zone": "UTC",
        "steps": [
            { "key": "intro", "email": { "subject": "Hello", "body": "Hello there." } },
            { "key": "look", "wait_until": { "for": "3 days", "clicks": ["intro"] } },
            { "key": "nudge", "email": { "body": "Still there?" } },
            { "key": "rest", "wait": "30 days", "finish": {} },
        ],
    })
}

/// What an event of this kind says about `send`.
pub(crate) fn about(kind: &str, send: SendId) -> Value {
    json!({
        "event": kind,
        "id": Uuid::from_bytes(rand::random()).to_string(),
        "timestamp": 1_700_000_000.5,
        "user-variables": { "send_id": send.to_string() },
    })
}
