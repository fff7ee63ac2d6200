//! A workspace with a number and a mail domain at emulated providers, an engine that runs, and webhooks
//! that are served.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use activities::campaigns::{apply, start};
use activities::endpoint_key::{EndpointKey, KeyUse};
use activities::enrollment_view::{self, EnrollmentView};
use activities::key_ring::KeyRing;
use activities::mailroom::Mailroom;
use activities::senders::{self, NewSender, Sender, SenderStatus};
use activities::store::{Store, clock, webhook_endpoints, workspaces};
use activities::{held_leads, ids, import, verify};
use chrono::{DateTime, TimeDelta, Utc};
use machine::document::CampaignDocument;
use machine::ids::{EnrollmentId, WorkspaceId};
use postgres_runner::{Runner, Settings};
use secrecy::SecretString;
use serde_json::Value;
use server::serve::guesses::Guesses;
use server::serve::proxies::Proxies;
use sqlx::{PgConnection, Row};
use tests::cluster::Database;
use tests::emulators::mailgun::{self, Mailgun};
use tests::emulators::twilio::{TOKEN, Twilio};
use tests::end_to_end::installation::SIGNING_KEY;
use tests::end_to_end::until;
use uuid::Uuid;

pub(crate) const ADA: &str = "+12025550101";
pub(crate) const BOB: &str = "+12025550102";

/// A Monday at noon, far from the edges of the day.
const NOON: &str = "2031-01-06T12:00:00Z";

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Shop {
    pub(crate) twilio: Twilio,
    pub(crate) mailgun: Mailgun,
    pub(crate) room: Mailroom,
    pub(crate) workspace: WorkspaceId,
    pub(crate) owner: PgConnection,
    /// Where texts come in.
    pub(crate) texts_to: String,
    /// Where Mailgun posts.
    pub(crate) events_to: String,
    runner: Option<Runner>,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        server::init_tls();
        let database = Database::create().await;
        let store = database.store().await;
        let mut owner = database.owner().await;
        clock::advance_to(&mut owner, NOON.parse().unwrap()).await.unwrap();
        let workspace = workspaces::ensure(&store, workspaces::DEFAULT).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let room = Mailroom::new(
            store.clone(),
            Arc::new(KeyRing::generate()),
            format!("{address}/").parse().unwrap(),
            None,
            Uuid::from_bytes(rand::random()),
        );
        let router = server::webhooks::router(room.clone(), Guesses::of_links(Proxies::default()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (twilio, mailgun) = (Twilio::start().await, Mailgun::start().await);
        let texts_to = endpoint(&room, workspace, &address, "twilio", TOKEN).await;
        let events_to = endpoint(&room, workspace, &address, "mailgun", SIGNING_KEY).await;
        let runner = Some(Runner::start(room.clone(), Settings::default()).await.unwrap());
        let shop = Self { twilio, mailgun, room, workspace, owner, texts_to, events_to, runner };
        shop.sender("texts", &shop.twilio.url(), TOKEN, "+15550100").await;
        shop.sender("mails", &shop.mailgun.url(), mailgun::KEY, "one@sender.example").await;
        shop
    }

    pub(crate) async fn sender(&self, name: &str, url: &str, password: &str, from: &str) {
        let new = NewSender {
            name: name.to_owned(),
            transport: url.parse().unwrap(),
            password: Some(SecretString::from(password)),
            from: from.parse().unwrap(),
            from_name: None,
            postal_address: None,
            zone: chrono_tz::UTC,
            per_day: None,
            spacing_s: 0,
            weight: 1,
        };
        senders::add(self.store(), self.workspace, &self.room.keys, &new, "test").await.unwrap();
    }

    /// Imports people: a line each of mail address, number and consent to texts.
    pub(crate) async fn people(&self, lines: &[&str]) {
        let file = format!("email,phone,sms_consent\n{}\n", lines.join("\n"));
        let file = Cursor::new(file.into_bytes());
        let options = import::Options { actor: "test".to_owned(), ..import::Options::default() };
        let (store, key) = (self.store(), &self.room.suppressions);
        let report = import::leads(store, key, self.workspace, file, &options, |_| {}).await;
        let report = report.unwrap();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }

    /// Starts a campaign of these steps for everybody.
    pub(crate) async fn campaign(&self, name: &str, steps: Value) {
        self.campaign_by(name, &["texts", "mails"], steps).await;
    }

    pub(crate) async fn campaign_by(&self, name: &str, senders: &[&str], steps: Value) {
        let document = serde_json::json!({
            "name": name, "zone": "UTC", "senders": senders, "steps": steps,
        });
        let document: CampaignDocument = serde_json::from_value(document).unwrap();
        let (store, workspace) = (self.store(), self.workspace);
        let applied = apply::apply(store, workspace, &document, "test").await.unwrap().unwrap();
        let started = start::at_once(store, workspace, applied.campaign, "test", &mut |_| {}).await;
        started.unwrap().unwrap();
        self.runner.as_ref().unwrap().wake();
    }

    pub(crate) fn store(&self) -> &Store {
        &self.room.store
    }

    pub(crate) async fn now(&self) -> DateTime<Utc> {
        let mut tx = self.store().begin(self.workspace).await.unwrap();
        clock::read(&mut tx).await.unwrap().campaign
    }

    pub(crate) async fn after(&mut self, delta: TimeDelta) {
        let at = self.now().await + delta;
        clock::advance_to(&mut self.owner, at).await.unwrap();
        self.runner.as_ref().unwrap().wake();
    }

    /// Makes whatever waits for wall time due: rests of senders and questions about lost calls.
    pub(crate) async fn time_passes(&mut self) {
        let past = "now() - interval '1 second'";
        self.run(&format!(
            "UPDATE senders SET trouble_until = {past} WHERE trouble_until IS NOT NULL;
             UPDATE sends SET settle_at = {past} WHERE settle_at IS NOT NULL"
        ))
        .await;
        self.after(TimeDelta::minutes(3)).await;
    }

    pub(crate) async fn resume(&self, name: &str) {
        let status = SenderStatus::Active;
        let (store, workspace) = (self.store(), self.workspace);
        let id = senders::set_status(store, workspace, name, status, None, "test").await;
        let id = id.unwrap().unwrap();
        held_leads::sender_mended(self.store(), self.workspace, id, "test").await.unwrap();
    }

    pub(crate) async fn sender_named(&self, name: &str) -> Sender {
        let all = senders::list(self.store(), self.workspace).await.unwrap();
        all.into_iter().find(|sender| sender.name == name).unwrap()
    }

    /// The lead with this mail address or number, in a campaign.
    pub(crate) async fn view(&mut self, campaign: &str, address: &str) -> EnrollmentView {
        let row = sqlx::query(
            "SELECT e.enrollment_id FROM enrollments e
             JOIN campaigns c USING (workspace_id, campaign_id)
             JOIN addresses a USING (workspace_id, lead_id) WHERE c.name = $1 AND a.address = $2",
        )
        .bind(campaign)
        .bind(address)
        .fetch_one(&mut self.owner)
        .await
        .unwrap();
        let id = EnrollmentId::new(row.get(0));
        enrollment_view::read(self.store(), &self.room.versions, self.workspace, id).await.unwrap()
    }

    /// Waits until a lead shows this word.
    pub(crate) async fn comes_to(&mut self, campaign: &str, address: &str, word: &str) {
        until(PATIENCE, async || {
            let plan = self.view(campaign, address).await.plan;
            match plan.state.as_str() {
                shown if shown == word => Ok(()),
                shown => Err(format!("{address} is {shown}, not {word}: {}", plan.headline)),
            }
        })
        .await;
    }

    /// Waits until Twilio has taken so many texts.
    pub(crate) async fn texted(&self, count: usize) {
        until(PATIENCE, async || match self.twilio.accepted().len() {
            n if n >= count => Ok(()),
            n => Err(format!("{n} texts of {count}")),
        })
        .await;
    }

    /// Waits until no lead is due.
    pub(crate) async fn nothing_is_due(&mut self) {
        until(PATIENCE, async || {
            let now = clock::read(&mut self.owner).await.unwrap().campaign;
            let due = sqlx::query_scalar("SELECT count(*) FROM enrollments WHERE wake_at <= $1");
            let due: i64 = due.bind(now).fetch_one(&mut self.owner).await.unwrap();
            if due == 0 { Ok(()) } else { Err(format!("{due} leads are due")) }
        })
        .await;
    }

    /// Lets time pass until Twilio has taken so many texts.
    pub(crate) async fn texted_in_time(&mut self, count: usize) {
        until(PATIENCE, async || {
            self.after(TimeDelta::minutes(10)).await;
            match self.twilio.accepted().len() {
                n if n >= count => Ok(()),
                n => Err(format!("{n} texts of {count}")),
            }
        })
        .await;
    }

    /// Waits until Mailgun has taken so many mails.
    pub(crate) async fn mailed(&self, count: usize) {
        until(PATIENCE, async || match self.mailgun.accepted().len() {
            n if n >= count => Ok(()),
            n => Err(format!("{n} mails of {count}")),
        })
        .await;
    }

    /// Waits until a query says `true`.
    pub(crate) async fn until(&mut self, sql: &str) {
        until(PATIENCE, async || match self.holds(sql).await.as_str() {
            "true" => Ok(()),
            told => Err(format!("{told}: {sql}")),
        })
        .await;
    }

    /// What a query says; nothing is an answer too.
    async fn holds(&mut self, sql: &str) -> String {
        self.one(&format!("SELECT coalesce(({sql})::text, 'nothing')")).await
    }

    /// The state of the one send of a step, with why.
    pub(crate) async fn send(&mut self, step: &str) -> String {
        let sql = format!(
            "SELECT coalesce(max(state || coalesce(': ' || detail, '')), '')
             FROM sends WHERE step_key = '{step}'"
        );
        self.one(&sql).await
    }

    pub(crate) async fn suppressed(&mut self) -> Vec<String> {
        let sql = "SELECT coalesce(string_agg(value || ' ' || reason, ';' ORDER BY value), '')
                   FROM suppressions WHERE lifted_at IS NULL";
        let all = self.one(sql).await;
        all.split(';').filter(|one| !one.is_empty()).map(ToOwned::to_owned).collect()
    }

    /// One text from the database.
    pub(crate) async fn one(&mut self, sql: &str) -> String {
        sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut self.owner).await.unwrap().get(0)
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut self.owner).await.unwrap();
    }

    /// Ends the work and looks whether everything adds up.
    pub(crate) async fn close(mut self) {
        self.runner.take().unwrap().drain().await;
        let versions = &self.room.versions;
        let checks = verify::verify(self.store(), versions, self.workspace).await.unwrap();
        let broken: Vec<_> = checks.iter().filter(|check| check.broken > 0).collect();
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

async fn endpoint(
    room: &Mailroom,
    workspace: WorkspaceId,
    address: &str,
    provider: &str,
    signing_key: &str,
) -> String {
    let key = EndpointKey::generate(KeyUse::Webhook, workspace.uuid());
    let mut tx = room.store.begin(workspace).await.unwrap();
    let now = clock::read(&mut tx).await.unwrap().wall;
    let (id, secret) = (ids::new(), signing_key.as_bytes());
    webhook_endpoints::add(&mut tx, &room.keys, id, &key, provider, secret, now).await.unwrap();
    tx.commit().await.unwrap();
    format!("{address}/webhooks/{provider}/{}", key.reveal())
}
