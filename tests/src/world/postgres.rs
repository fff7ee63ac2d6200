//! The Postgres backend: the product's own turn, prepare, gate, record and sweep on a real
//! database, one after another, with a provider that is played here; or driven by Temporal, which is
//! then given all that. Events come in through the product's own door.

mod driven;
mod news;
mod run;
mod sight;
mod times;
mod wall;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use activities::agents::roster::Absence;
use activities::agents::{self, Profile};
use activities::campaign_verb::{self, Verb};
use activities::campaigns::apply::apply;
use activities::campaigns::enroll::{Selection, enroll};
use activities::ingest;
use activities::key_ring::KeyRing;
use activities::mailroom::Mailroom;
use activities::replay::{self, Replayed};
use activities::reviews::{self, Verdict};
use activities::send::Recorded;
use activities::send::gate::Dispatch;
use activities::senders::{self, NewSender, SenderStatus};
use activities::store::{Store, clock, leads, turns};
use activities::turn::{Ask, OVERDUE};
use activities::verify;
use chrono::{DateTime, TimeDelta, Utc};
use machine::context::Consent;
use machine::document::CampaignDocument;
use machine::enrollment::Enrollment;
use machine::ids::{CampaignId, EnrollmentId, LeadId, SendId, WorkspaceId};
use machine::sequence::Channel;
use machine::signal::Signal;
use sqlx::{PgConnection, Row as _};
use tokio::sync::Mutex;
use uuid::Uuid;

use driven::Driven;
pub(super) use times::Times;

use super::agent::{self, Agent};
use super::backend::{CampaignVerb, Mail, Reading, Sent, Sight, Went};
use super::news::{LeadChange, News};
use super::person::Lead;
use super::provider::Script;
use super::sequence::Sender;
use super::{BEGINNING, names};
use crate::cluster::Database;

/// So slow that campaign time stands still while a scenario runs.
const FROZEN: f64 = 1e-9;

/// How time passes in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// It is set on: whoever sleeps is woken by the one who looks for those that are late.
    Set,
    /// It runs from one moment to the next: whoever sleeps is woken by a timer.
    Runs,
}

/// A world on a real database.
pub struct Postgres(Mutex<Inner>, WorkspaceId);

struct Inner {
    room: Mailroom,
    store: Store,
    owner: PgConnection,
    workspace: WorkspaceId,
    names: HashMap<CampaignId, String>,
    order: Vec<EnrollmentId>,
    script: Script,
    held: Vec<Dispatch>,
    /// Calls whose answer was lost, with the time at which that is noticed.
    lost: Vec<(DateTime<Utc>, SendId, EnrollmentId)>,
    /// What leads wrote.
    written: Vec<String>,
    sent: Vec<(EnrollmentId, SendId, Sent)>,
    team_mails: Vec<Mail>,
    reading: Reading,
    orders: u64,
    clock: Clock,
    times: Times,
    old_asks: VecDeque<Ask>,
    old_records: VecDeque<Recorded>,
    /// Who drives leads, if it is not the test itself.
    driven: Option<Driven>,
}

impl Postgres {
    pub(super) async fn new(times: Times) -> Self {
        Self::of(&Database::create().await, names::workspace(), times, Clock::Set).await
    }

    /// Returns a world whose leads Temporal drives.
    pub(super) async fn driven_by_temporal(clock: Clock) -> Self {
        let database = Database::create().await;
        if clock == Clock::Runs {
            wall::put_up(&mut database.owner().await).await;
        }
        let workspace = names::workspace_of_its_own();
        let world = Self::of(&database, workspace, Times::Once, clock).await;
        let mut inner = world.0.lock().await;
        let store = database.store().await;
        inner.driven = Some(Driven::start(&inner.room, &store, workspace).await);
        drop(inner);
        world
    }

    async fn of(database: &Database, workspace: WorkspaceId, times: Times, clock: Clock) -> Self {
        let url = wall::url_of_the_test(&database.url);
        let store = Store::open(&url, 16).await.expect("the test's database opens");
        let runner = Uuid::from_u128(7);
        let mut owner = database.owner().await;
        sqlx::query(
            "INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, 'default', now())",
        )
        .bind(workspace.uuid())
        .execute(&mut owner)
        .await
        .expect("a workspace");
        let factor = match clock {
            Clock::Set => FROZEN,
            Clock::Runs => wall::FACTOR,
        };
        // The product's own clock never goes back, and worlds begin in the past.
        let beginning: DateTime<Utc> = BEGINNING.parse().expect("a time");
        sqlx::query(
            "UPDATE clock SET real_anchor = clock_timestamp(), campaign_anchor = $1, factor = $2",
        )
        .bind(beginning)
        .bind(factor)
        .execute(&mut owner)
        .await
        .expect("a clock");
        let mut conn = store.begin_outside().await.expect("the database answers");
        let wall = clock::read(&mut conn).await.expect("a clock").wall;
        // The test is the runner, and lives.
        turns::beat(&mut conn, runner, wall + TimeDelta::days(1)).await.expect("a runner");
        conn.commit().await.expect("a commit");
        let url = "http://127.0.0.1:8080/".parse().expect("a URL");
        let keys = Arc::new(KeyRing::generate());
        let domain = Some("in.senders.example".to_owned());
        let room = Mailroom::new(store.clone(), keys, url, domain, runner);
        let inner = Inner {
            room,
            store,
            owner,
            workspace,
            names: HashMap::new(),
            order: Vec::new(),
            script: Script::Accept,
            held: Vec::new(),
            lost: Vec::new(),
            written: Vec::new(),
            sent: Vec::new(),
            team_mails: Vec::new(),
            reading: Reading::AtOnce,
            orders: 0,
            clock,
            times,
            old_asks: VecDeque::new(),
            old_records: VecDeque::new(),
            driven: None,
        };
        Self(Mutex::new(inner), workspace)
    }

    pub(super) fn workspace(&self) -> WorkspaceId {
        self.1
    }

    pub(super) fn takes_each_lead_alone(&self) -> bool {
        // Nobody has begun yet.
        self.0.try_lock().is_ok_and(|inner| inner.driven.is_some())
    }

    pub(super) async fn close(&self) {
        if let Some(driven) = self.0.lock().await.driven.take() {
            driven.close().await;
        }
    }

    pub(super) async fn start(&self, document: &CampaignDocument, sender: &Sender) -> CampaignId {
        let mut inner = self.0.lock().await;
        let now = inner.now().await;
        let new = NewSender {
            name: sender.name.clone(),
            transport: inner.transport(),
            password: None,
            from: format!("{}@senders.example", sender.name).parse().expect("an address"),
            from_name: None,
            postal_address: Some("1 Test Street, Lisbon".to_owned()),
            zone: sender.zone,
            per_day: sender.per_day,
            spacing_s: sender.spacing.num_seconds().try_into().expect("a short time"),
            weight: 1,
        };
        let keys = Arc::clone(&inner.room.keys);
        senders::add(&inner.store, inner.workspace, &keys, &new, "test").await.expect("a sender");
        let applied = apply(&inner.store, inner.workspace, document, "test").await;
        let applied = applied.expect("it is applied");
        let applied = applied.unwrap_or_else(|faults| panic!("{faults:#?}"));
        // Nobody of an audience: the scenario enrolls.
        sqlx::query(
            "UPDATE campaigns SET status = 'active', started_at = $2 WHERE campaign_id = $1",
        )
        .bind(applied.campaign.uuid())
        .bind(now)
        .execute(&mut inner.owner)
        .await
        .expect("it is started");
        inner.names.insert(applied.campaign, applied.name);
        applied.campaign
    }

    pub(super) async fn hire(&self, agent: &Agent) {
        let inner = self.0.lock().await;
        let profile = Profile {
            name: agent.name.clone(),
            email: agent::address(&agent.name).parse().expect("an address"),
            zone: agent.zone,
            hours: agent.hours.clone(),
            open_max: agent.open_max,
            active: true,
        };
        let added = agents::add(&inner.store, inner.workspace, &profile, "test").await;
        added.expect("the database answers").expect("the name is free");
    }

    pub(super) async fn leave(&self, name: &str, absence: Absence) {
        let inner = self.0.lock().await;
        let known = agents::list(&inner.store, inner.workspace).await.expect("agents are listed");
        let agent = known.iter().find(|agent| agent.profile.name == name);
        let agent = agent.expect("somebody of the team").id;
        agents::add_absence(&inner.store, inner.workspace, agent, absence, "test")
            .await
            .expect("the absence is noted");
    }

    pub(super) async fn enroll(&self, campaign: CampaignId, lead: &Lead) -> EnrollmentId {
        let mut inner = self.0.lock().await;
        let now = inner.now().await;
        let lead_id = inner.know(lead, now).await;
        let selection = Selection::Leads(vec![lead_id]);
        let (store, workspace) = (&inner.store, inner.workspace);
        let enrolled = enroll(store, workspace, campaign, &selection, "test", &mut |_| {})
            .await
            .expect("it enrolls")
            .expect("the campaign takes leads");
        assert_eq!(enrolled.added, 1, "{} entered: {enrolled:?}", lead.address);
        let id = names::enrollment(&inner.names[&campaign], lead_id);
        // Nobody drives it before it has its name.
        sqlx::query(
            "UPDATE enrollments SET enrollment_id = $3, engine = $4 \
             WHERE campaign_id = $1 AND lead_id = $2",
        )
        .bind(campaign.uuid())
        .bind(lead_id.uuid())
        .bind(id.uuid())
        .bind(inner.engine().as_str())
        .execute(&mut inner.owner)
        .await
        .expect("it is enrolled");
        inner.order.push(id);
        id
    }

    pub(super) async fn hear(&self, enrollment: EnrollmentId, news: &News) {
        let mut inner = self.0.lock().await;
        let event = inner.event(enrollment, news).await;
        for event in inner.times.of(event) {
            ingest::signal(&inner.room, inner.workspace, event).await.expect("it is stored");
        }
    }

    pub(super) async fn order(&self, enrollment: EnrollmentId, signal: &Signal) {
        let mut inner = self.0.lock().await;
        inner.order_one(enrollment, signal.clone()).await;
    }

    pub(super) async fn order_campaign(&self, campaign: CampaignId, verb: CampaignVerb) {
        let inner = self.0.lock().await;
        let verb = match verb {
            CampaignVerb::Pause => Verb::Pause,
            CampaignVerb::Resume(rule) => Verb::Resume(rule),
            CampaignVerb::Stop => Verb::Stop,
        };
        campaign_verb::order(&inner.store, inner.workspace, campaign, verb, "test")
            .await
            .expect("the order is stored");
    }

    pub(super) async fn review(&self, enrollment: EnrollmentId, went: Went) {
        let mut inner = self.0.lock().await;
        let rows = sqlx::query(
            "SELECT send_id FROM sends WHERE enrollment_id = $1 AND state = 'needs_review'",
        )
        .bind(enrollment.uuid())
        .fetch_all(&mut inner.owner)
        .await
        .expect("the database answers");
        assert!(!rows.is_empty(), "nothing is in review");
        for row in rows {
            let verdict = match went {
                Went::Yes => Verdict::Sent,
                Went::No => Verdict::Lost,
            };
            for send in inner.times.of(SendId::new(row.get("send_id"))) {
                let decided = reviews::decide(&inner.room, inner.workspace, send, verdict, "world");
                decided.await.expect("it is recorded");
            }
        }
    }

    pub(super) async fn change(&self, enrollment: EnrollmentId, change: &LeadChange) {
        let mut inner = self.0.lock().await;
        let (column, value) = match change {
            LeadChange::Attribute(name, value) => {
                let patch = serde_json::json!({ name: value });
                ("attributes = attributes || $2::jsonb", patch)
            }
            LeadChange::Consent(channel, consent) => {
                let column = match channel {
                    Channel::Email => "email_consent = $2::jsonb #>> '{}'",
                    Channel::Sms => "sms_consent = $2::jsonb #>> '{}'",
                    Channel::Call => "call_consent = $2::jsonb #>> '{}'",
                };
                (column, serde_json::json!(word_of(*consent)))
            }
        };
        let sql = format!(
            "UPDATE leads SET {column}, version = version + 1 WHERE lead_id = \
             (SELECT lead_id FROM enrollments WHERE enrollment_id = $1)"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(enrollment.uuid())
            .bind(value)
            .execute(&mut inner.owner)
            .await
            .expect("the lead changes");
        let same: Vec<Uuid> = sqlx::query_scalar(
            "SELECT enrollment_id FROM enrollments WHERE lead_id = \
             (SELECT lead_id FROM enrollments WHERE enrollment_id = $1)",
        )
        .bind(enrollment.uuid())
        .fetch_all(&mut inner.owner)
        .await
        .expect("the database answers");
        for id in same {
            inner.order_one(EnrollmentId::new(id), Signal::AttributeChanged).await;
        }
    }

    pub(super) async fn resume_senders(&self) {
        let inner = self.0.lock().await;
        let known = senders::list(&inner.store, inner.workspace).await.expect("senders are listed");
        for sender in known {
            let (store, workspace) = (&inner.store, inner.workspace);
            senders::set_status(
                store,
                workspace,
                &sender.name,
                SenderStatus::Active,
                None,
                "world",
            )
            .await
            .expect("it sends");
        }
    }

    pub(super) async fn script(&self, script: Script) {
        let mut inner = self.0.lock().await;
        match &inner.driven {
            Some(driven) => driven.mail_server.script(script),
            None => inner.script = script,
        }
    }

    pub(super) async fn release(&self) {
        let mut inner = self.0.lock().await;
        if let Some(driven) = &inner.driven {
            return driven.mail_server.answer();
        }
        let held = std::mem::take(&mut inner.held);
        let mut recorded = Vec::new();
        for dispatch in held {
            inner.take(&dispatch);
            recorded.push(run::answered(&dispatch, run::accepted()));
        }
        let mut asks = Vec::new();
        inner.note(&recorded, &mut asks).await;
        inner.send(asks).await;
    }

    pub(super) async fn read_mail(&self, reading: Reading) {
        self.0.lock().await.reading = reading;
    }

    pub(super) async fn spoil(&self, enrollment: EnrollmentId) {
        let mut inner = self.0.lock().await;
        sqlx::query("UPDATE enrollments SET snapshot = $2 WHERE enrollment_id = $1")
            .bind(enrollment.uuid())
            .bind(b"{\"rules\":1,\"state\":\"gone\"}".as_slice())
            .execute(&mut inner.owner)
            .await
            .expect("it is spoiled");
    }

    pub(super) async fn now(&self) -> DateTime<Utc> {
        self.0.lock().await.now().await
    }

    pub(super) async fn move_clock(&self, to: DateTime<Utc>) {
        let inner = &mut *self.0.lock().await;
        if inner.clock == Clock::Runs {
            return wall::run_to(&mut inner.owner, &inner.store, to).await;
        }
        let mut conn = inner.store.begin_outside().await.expect("the database answers");
        clock::advance_to(&mut conn, to).await.expect("a clock");
        conn.commit().await.expect("a commit");
    }

    pub(super) async fn next_due(&self) -> Option<DateTime<Utc>> {
        let mut inner = self.0.lock().await;
        let now = inner.now().await;
        let rows: Vec<(Vec<u8>, Option<DateTime<Utc>>)> =
            sqlx::query_as("SELECT snapshot, wake_at FROM enrollments WHERE parked_at IS NULL")
                .fetch_all(&mut inner.owner)
                .await
                .expect("the database answers");
        // What the machine wants; the look-again time of an open request is the runner's.
        let wakes =
            rows.into_iter().filter_map(|(snapshot, wake_at)| {
                match serde_json::from_slice::<Enrollment>(&snapshot) {
                    Ok(enrollment) => enrollment.wake_at(),
                    Err(_) => wake_at,
                }
            });
        let lost = inner.lost.iter().map(|(at, _, _)| *at).collect::<Vec<_>>();
        wakes.chain(lost).filter(|at| *at > now).min()
    }

    pub(super) async fn hold_up(&self) {
        let inner = &mut *self.0.lock().await;
        if inner.clock == Clock::Runs {
            wall::hide(&mut inner.owner).await;
        }
    }

    pub(super) async fn go_on(&self) {
        let inner = &mut *self.0.lock().await;
        if inner.clock == Clock::Runs {
            wall::show(&mut inner.owner).await;
        }
    }

    pub(super) async fn settle(&self) {
        self.0.lock().await.settle().await;
    }

    pub(super) async fn sight(&self, enrollment: EnrollmentId) -> Sight {
        self.0.lock().await.sight(enrollment).await
    }

    pub(super) async fn sights(&self) -> Vec<Sight> {
        let mut inner = self.0.lock().await;
        let mut sights = Vec::new();
        for id in inner.order.clone() {
            sights.push(inner.sight(id).await);
        }
        sights
    }

    pub(super) async fn team_mails(&self) -> Vec<Mail> {
        self.0.lock().await.team_mails.clone()
    }

    pub(super) async fn faults(&self) -> Vec<String> {
        let mut inner = self.0.lock().await;
        let told = inner.told().await;
        for enrollment in &inner.order {
            inner.keep_history(*enrollment).await;
        }
        let versions = &inner.room.versions;
        let checks = verify::verify(&inner.store, versions, inner.workspace).await;
        let checks = checks.expect("the invariants can be checked");
        let mut faults: Vec<String> =
            checks.iter().filter(|it| it.broken > 0).map(|it| format!("{it:?}")).collect();
        for id in &inner.order {
            match replay::replay(&inner.store, versions, inner.workspace, *id).await {
                Ok(Replayed::Equal { .. }) => {}
                // A spoiled snapshot is what its scenario is about.
                Err(error) if !error.is_transient() => {}
                other => faults.push(format!("{id}: {other:?}")),
            }
        }
        let mut accepts = HashMap::<SendId, usize>::new();
        for (_, send, _) in &inner.sent {
            *accepts.entry(*send).or_default() += 1;
        }
        let twice = accepts.into_iter().filter(|(_, times)| *times > 1);
        faults.extend(told);
        let reviewed = |send: &SendId| inner.lost.iter().any(|(_, lost, _)| lost == send);
        faults.extend(twice.filter(|(send, _)| !reviewed(send)).map(|it| format!("{it:?}")));
        faults
    }
}

impl Inner {
    async fn now(&self) -> DateTime<Utc> {
        let mut conn = self.store.begin_outside().await.expect("the database answers");
        clock::read(&mut conn).await.expect("a clock").campaign
    }

    /// Returns since when a lead has been due at which nobody looked for too long.
    async fn overdue(&self) -> DateTime<Utc> {
        let mut conn = self.store.begin_outside().await.expect("the database answers");
        clock::read(&mut conn).await.expect("a clock").campaign_in(-OVERDUE)
    }

    /// Returns the lead with this address, added if nobody knew it.
    async fn know(&mut self, lead: &Lead, now: DateTime<Utc>) -> LeadId {
        let address = lead.address.parse().expect("an address");
        let mut tx = self.store.begin(self.workspace).await.expect("the database answers");
        let known = leads::ids_at(&mut tx, self.workspace, &[&address]).await.expect("leads");
        if let Some(id) = known.get(&lead.address) {
            return *id;
        }
        let stored = leads::Lead {
            id: names::lead(&lead.address),
            version: 1,
            zone: lead.zone,
            consent: lead.consent,
            attributes: lead.attributes.clone().into_iter().collect(),
            erased_at: None,
        };
        let addresses = vec![leads::Address::Email(&address)];
        let new = leads::NewLead { lead: &stored, addresses };
        leads::insert(&mut tx, self.workspace, &[new], "scenario", now).await.expect("a lead");
        tx.commit().await.expect("a commit");
        if let Some(phone) = &lead.phone {
            sqlx::query(
                "INSERT INTO addresses (workspace_id, channel, address, lead_id) \
                 VALUES ($1, 'sms', $2, $3)",
            )
            .bind(self.workspace.uuid())
            .bind(phone)
            .bind(stored.id.uuid())
            .execute(&mut self.owner)
            .await
            .expect("a number");
        }
        stored.id
    }

    async fn order_one(&mut self, enrollment: EnrollmentId, signal: Signal) {
        self.orders += 1;
        let verb = ingest::Verb {
            enrollment,
            signal,
            source_key: format!("order-{}", self.orders),
            actor: "scenario".to_owned(),
        };
        for verb in self.times.of(verb) {
            ingest::verb(&self.store, self.workspace, verb).await.expect("the order is stored");
        }
    }
}

fn word_of(consent: Consent) -> &'static str {
    match consent {
        Consent::Unknown => "unknown",
        Consent::Granted => "granted",
        Consent::Refused => "refused",
    }
}
