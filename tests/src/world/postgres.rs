//! The Postgres backend: the product's own turn, prepare, gate, record and sweep on a real
//! database, one after another. Only the provider is played here; events come in through the
//! product's own door.

use std::collections::HashMap;
use std::sync::Arc;

use activities::campaign_verb::{self, Verb};
use activities::campaigns::apply::apply;
use activities::campaigns::enroll::{Selection, enroll};
use activities::ingest::{self, NewEvent, Played, Provider};
use activities::interpret;
use activities::key_ring::KeyRing;
use activities::mail::message_id::MessageId;
use activities::mailroom::Mailroom;
use activities::outcome::{Detail, Outcome as Told, Refusal as Refused, RefusalClass};
use activities::replay::{self, Replayed};
use activities::send::gate::Dispatch;
use activities::send::prepare::Readied;
use activities::send::record::Known;
use activities::send::{Recorded, gate, prepare, record, sweep};
use activities::senders::{self, NewSender, Transport};
use activities::store::{Store, clock, leads, turns, work};
use activities::turn::{self, Ask, Due, Turned, What};
use activities::verify;
use chrono::{DateTime, TimeDelta, Utc};
use machine::context::{Consent, Context, Facts};
use machine::document::CampaignDocument;
use machine::enrollment::Enrollment;
use machine::explain::{self, Shown};
use machine::ids::{CampaignId, EnrollmentId, LeadId, SendId, SequenceId, WorkspaceId};
use machine::sequence::Channel;
use machine::signal::{Bounce, Refusal, Signal};
use sqlx::{PgConnection, Row as _};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::backend::{CampaignVerb, Mail, Reading, Sent, Sight, Went};
use super::news::{LeadChange, News};
use super::person::Lead;
use super::provider::Script;
use super::sequence::Sender;
use super::{BEGINNING, names};
use crate::cluster::Database;

/// So slow that campaign time stands still while a scenario runs.
const FROZEN: f64 = 1e-9;

/// After this long a call counts as lost, in campaign time.
const LEASE: TimeDelta = TimeDelta::minutes(15);

/// How many rounds may follow one another at one moment.
const ROUNDS_MAX: usize = 1_000;

/// A world on a real database.
pub struct Postgres(Mutex<Inner>);

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
    sent: Vec<(EnrollmentId, SendId, Sent)>,
    team_mails: Vec<Mail>,
    reading: Reading,
    orders: u64,
}

impl Postgres {
    pub(super) async fn new() -> Self {
        let database = Database::create().await;
        let store = database.store().await;
        let workspace = names::workspace();
        let runner = Uuid::from_u128(7);
        let mut owner = database.owner().await;
        sqlx::query(
            "INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, 'default', now())",
        )
        .bind(workspace.uuid())
        .execute(&mut owner)
        .await
        .expect("a workspace");
        // The product's own clock never goes back, and worlds begin in the past.
        let beginning: DateTime<Utc> = BEGINNING.parse().expect("a time");
        sqlx::query("UPDATE clock SET real_anchor = now(), campaign_anchor = $1, factor = $2")
            .bind(beginning)
            .bind(FROZEN)
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
        let room = Mailroom::new(store.clone(), keys, url, None, runner);
        Self(Mutex::new(Inner {
            room,
            store,
            owner,
            workspace,
            names: HashMap::new(),
            order: Vec::new(),
            script: Script::Accept,
            held: Vec::new(),
            lost: Vec::new(),
            sent: Vec::new(),
            team_mails: Vec::new(),
            reading: Reading::AtOnce,
            orders: 0,
        }))
    }

    pub(super) async fn start(&self, document: &CampaignDocument, sender: &Sender) -> CampaignId {
        let mut inner = self.0.lock().await;
        let now = inner.now().await;
        let new = NewSender {
            name: sender.name.clone(),
            transport: Transport::Capture { script: None },
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
        senders::add(&inner.store, inner.workspace, &keys, &new, now).await.expect("a sender");
        let applied = apply(&inner.store, inner.workspace, document, now).await;
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

    pub(super) async fn enroll(&self, campaign: CampaignId, lead: &Lead) -> EnrollmentId {
        let mut inner = self.0.lock().await;
        let now = inner.now().await;
        let lead_id = inner.know(lead, now).await;
        let name = inner.names[&campaign].clone();
        let selection = Selection::Leads(vec![lead_id]);
        let enrolled = enroll(&inner.store, inner.workspace, &name, &selection, now, &mut |_| {})
            .await
            .expect("it enrolls")
            .expect("the campaign takes leads");
        assert_eq!(enrolled.added, 1, "{} entered: {enrolled:?}", lead.address);
        let id = names::enrollment(&name, lead_id);
        sqlx::query(
            "UPDATE enrollments SET enrollment_id = $3 WHERE campaign_id = $1 AND lead_id = $2",
        )
        .bind(campaign.uuid())
        .bind(lead_id.uuid())
        .bind(id.uuid())
        .execute(&mut inner.owner)
        .await
        .expect("it is enrolled");
        inner.order.push(id);
        id
    }

    pub(super) async fn hear(&self, enrollment: EnrollmentId, news: &News) {
        let mut inner = self.0.lock().await;
        inner.orders += 1;
        let key = format!("news-{}", inner.orders);
        let newest = inner.sent.iter().rev().find(|(of, _, _)| *of == enrollment);
        let newest = newest.map(|(_, send, _)| *send);
        let at_step = |step: &String| {
            let of = inner.sent.iter().rev();
            let mut of = of.filter(|(of, _, sent)| *of == enrollment && sent.step == *step);
            of.next().map(|(_, send, _)| *send).expect("the step was sent")
        };
        let newest_or = || newest.expect("something was sent");
        let event = match news {
            News::Reply { text } => inner.mail(enrollment, newest, key, text, None).await,
            News::OutOfOffice { back_on } => {
                let text = match back_on {
                    Some(back_on) => format!("I am back on {}.", back_on.format("%-d %B %Y")),
                    None => "I am not at my desk.".to_owned(),
                };
                inner.mail(enrollment, newest, key, &text, Some("auto-replied")).await
            }
            News::Bounce(Bounce::Hard) => {
                NewEvent::of_played(newest_or(), key, Played::BouncedHard)
            }
            News::Bounce(Bounce::Soft) => {
                NewEvent::of_played(newest_or(), key, Played::BouncedSoft)
            }
            News::OptOut => match newest {
                Some(send) => NewEvent::of_played(send, key, Played::OptedOut),
                None => inner.mail(enrollment, None, key, "unsubscribe", None).await,
            },
            News::Complaint => NewEvent::of_played(newest_or(), key, Played::Complained),
            News::Delivered { step } => NewEvent::of_played(at_step(step), key, Played::Delivered),
            News::Click { step } => NewEvent::of_played(at_step(step), key, Played::Clicked),
        };
        ingest::signal(&inner.room, inner.workspace, event).await.expect("it is stored");
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
        campaign_verb::order(&inner.store, inner.workspace, campaign, verb)
            .await
            .expect("the order is stored");
    }

    pub(super) async fn review(&self, enrollment: EnrollmentId, went: Went) {
        let mut inner = self.0.lock().await;
        let rows = sqlx::query(
            "SELECT send_id, attempt FROM sends WHERE enrollment_id = $1 AND state = 'needs_review'",
        )
        .bind(enrollment.uuid())
        .fetch_all(&mut inner.owner)
        .await
        .expect("the database answers");
        assert!(!rows.is_empty(), "nothing is in review");
        for row in rows {
            let what = match went {
                Went::Yes => Known::ReviewedAsSent,
                Went::No => Known::ReviewedAsLost,
            };
            let send = SendId::new(row.get("send_id"));
            let recorded = Recorded { send, attempt: row.get("attempt"), enrollment, what };
            record(&inner.room, inner.workspace, &[recorded]).await.expect("it is recorded");
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

    pub(super) async fn script(&self, script: Script) {
        self.0.lock().await.script = script;
    }

    pub(super) async fn release(&self) {
        let mut inner = self.0.lock().await;
        let held = std::mem::take(&mut inner.held);
        let mut recorded = Vec::new();
        for dispatch in held {
            inner.take(&dispatch);
            recorded.push(answered(&dispatch, accepted()));
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
        let inner = self.0.lock().await;
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
        let inner = self.0.lock().await;
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
        let new = leads::NewLead { lead: &stored, address: &address };
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

    /// A mail of the lead, as it would come in.
    async fn mail(
        &self,
        enrollment: EnrollmentId,
        answers: Option<SendId>,
        key: String,
        text: &str,
        auto_submitted: Option<&str>,
    ) -> NewEvent {
        let mut conn = self.store.begin(self.workspace).await.expect("the database answers");
        let from: String = sqlx::query_scalar(
            "SELECT a.address FROM addresses a JOIN enrollments e USING (workspace_id, lead_id) \
             WHERE e.enrollment_id = $1 AND a.channel = 'email'",
        )
        .bind(enrollment.uuid())
        .fetch_one(&mut *conn)
        .await
        .expect("an address");
        let now = clock::read(&mut conn).await.expect("a clock").campaign;
        let sender = match answers {
            Some(send) => sqlx::query_scalar(
                "SELECT d.from_address FROM sends s JOIN senders d USING (workspace_id, sender_id) \
                 WHERE s.send_id = $1",
            )
            .bind(send.uuid())
            .fetch_one(&mut *conn)
            .await
            .expect("a sender"),
            None => "anna@senders.example".to_owned(),
        };
        let sender: activities::address::EmailAddress = sender.parse().expect("an address");
        let mut raw = format!(
            "From: {from}\r\nTo: {sender}\r\nSubject: Re: us\r\nDate: {}\r\nMessage-ID: <{key}@leads.example>\r\n",
            now.to_rfc2822(),
            sender = sender.as_str(),
        );
        if let Some(send) = answers {
            let id = MessageId::of_send(send, &sender);
            raw.push_str(&format!("In-Reply-To: {id}\r\nReferences: {id}\r\n"));
        }
        if let Some(word) = auto_submitted {
            raw.push_str(&format!("Auto-Submitted: {word}\r\n"));
        }
        raw.push_str(&format!("\r\n{text}\r\n"));
        let envelope = activities::inbound::Envelope {
            sender: Some(from),
            recipients: vec![sender.as_str().to_owned()],
        };
        let raw = raw.as_bytes();
        NewEvent::of_raw_mail(
            &self.room,
            self.workspace,
            Provider::Capture,
            key,
            raw,
            envelope,
            now,
        )
    }

    async fn order_one(&mut self, enrollment: EnrollmentId, signal: Signal) {
        self.orders += 1;
        let verb = ingest::Verb {
            enrollment,
            signal,
            source_key: format!("order-{}", self.orders),
            actor: "scenario".to_owned(),
        };
        ingest::verb(&self.store, self.workspace, verb).await.expect("the order is stored");
    }

    /// Reads, tells, turns, gates and calls until nothing moves; then the house is kept.
    async fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            if self.reading == Reading::AtOnce {
                let read = interpret::interpret(&self.room, self.workspace).await;
                moved |= read.expect("mail is read").mails > 0;
            }
            moved |= self.tell().await;
            moved |= self.notice_lost().await;
            let due = Due::take(&self.store, self.workspace, None, 500).await;
            let turned = due.expect("due leads are taken").turn(&self.room.versions).await;
            let turned = turned.expect("turns run");
            moved |= turned.taken > 0;
            let asks = self.take_up(turned).await;
            self.send(asks).await;
            if !moved {
                return self.keep_house().await;
            }
        }
        panic!("the world does not come to rest");
    }

    async fn keep_house(&self) {
        let mut tx = self.store.begin(self.workspace).await.expect("the database answers");
        let now = clock::read(&mut tx).await.expect("a clock").campaign;
        work::fold_counters(&mut tx, self.workspace).await.expect("counters are folded");
        work::finish_campaigns(&mut tx, self.workspace, now).await.expect("campaigns finish");
        tx.commit().await.expect("a commit");
    }

    async fn tell(&mut self) -> bool {
        let mut conn = self.store.begin_outside().await.expect("the database answers");
        let untold = work::untold_campaigns(&mut conn).await.expect("the database answers");
        conn.commit().await.expect("a commit");
        let mut turned = Vec::new();
        for (workspace, campaign) in &untold {
            campaign_verb::tell(&self.room, *workspace, *campaign, |it| turned.push(it))
                .await
                .expect("orders are told");
        }
        for turned in turned {
            let asks = self.take_up(turned).await;
            self.send(asks).await;
        }
        !untold.is_empty()
    }

    /// Calls whose time is over are swept.
    async fn notice_lost(&mut self) -> bool {
        let now = self.now().await;
        let over: Vec<_> = self.lost.iter().filter(|(at, _, _)| *at <= now).copied().collect();
        let mut moved = false;
        for (_, send, enrollment) in over {
            let done = sqlx::query(
                "UPDATE sends SET lease_until = now() - interval '1 hour' \
                 WHERE send_id = $1 AND state = 'dispatching'",
            )
            .bind(send.uuid())
            .execute(&mut self.owner)
            .await
            .expect("the lease ends");
            if done.rows_affected() == 0 {
                continue;
            }
            moved = true;
            let ids = [enrollment.uuid()];
            let turned = turn::these(&self.store, &self.room.versions, self.workspace, &ids).await;
            let asks = self.take_up(turned.expect("turns run")).await;
            self.send(asks).await;
        }
        moved
    }

    /// Sweeps what a turn found lost; returns what it asked for.
    async fn take_up(&mut self, turned: Turned) -> Vec<Ask> {
        let mut asks = turned.asks;
        if !turned.lost.is_empty() {
            let swept = sweep(&self.room, self.workspace, &turned.lost).await;
            if let Some(turned) = swept.expect("the sweep runs") {
                asks.extend(turned.asks);
            }
        }
        asks
    }

    /// Takes asks through the gate until none is left.
    async fn send(&mut self, mut asks: Vec<Ask>) {
        while !asks.is_empty() {
            let mut recorded = Vec::new();
            let mut ready = Vec::new();
            let readied = prepare(&self.room, self.workspace, std::mem::take(&mut asks)).await;
            for readied in readied.expect("messages are prepared") {
                match readied {
                    Readied::Ready(message) => ready.push(*message),
                    Readied::Answered(ask, answer) => {
                        recorded.push(of_ask(&ask, Known::Gate(answer)));
                    }
                }
            }
            let gated = gate(&self.room, self.workspace, ready).await.expect("the gate works");
            assert!(gated.busy.is_empty(), "nobody else is here");
            asks.extend(gated.changed);
            for (ask, answer) in gated.answered {
                recorded.push(of_ask(&ask, Known::Gate(answer)));
            }
            for dispatch in gated.dispatched {
                if let Some(known) = self.call(&dispatch).await {
                    recorded.push(answered(&dispatch, known));
                }
            }
            self.note(&recorded, &mut asks).await;
        }
    }

    async fn note(&mut self, recorded: &[Recorded], asks: &mut Vec<Ask>) {
        if recorded.is_empty() {
            return;
        }
        let turned = record(&self.room, self.workspace, recorded).await.expect("it is recorded");
        let more = self.take_up(turned).await;
        asks.extend(more);
    }

    /// The provider's answer, as the scenario scripts it.
    async fn call(&mut self, dispatch: &Dispatch) -> Option<Told> {
        let ask = &dispatch.message.ask;
        if let What::Handover { .. } = ask.what {
            if let Script::RefuseTeam(times @ 1.., class) = self.script {
                self.script = Script::RefuseTeam(times - 1, class);
                return Some(refused(class));
            }
            self.take(dispatch);
            return Some(accepted());
        }
        match self.script {
            Script::RefuseNext(0, _) | Script::RefuseTeam(..) | Script::Accept => {
                self.take(dispatch);
                Some(accepted())
            }
            Script::RefuseNext(times, class) => {
                self.script = Script::RefuseNext(times - 1, class);
                Some(refused(class))
            }
            Script::RefuseAll(class) => Some(refused(class)),
            Script::Hold => {
                self.held.push(copy(dispatch));
                None
            }
            Script::LoseAnswer => {
                self.take(dispatch);
                self.lost.push((dispatch.gate_at + LEASE, ask.send, ask.enrollment));
                None
            }
        }
    }

    /// The provider has a message.
    fn take(&mut self, dispatch: &Dispatch) {
        let ask = &dispatch.message.ask;
        let (to, at) = (dispatch.message.to.as_str().to_owned(), dispatch.gate_at);
        match &ask.what {
            What::Handover { .. } => self.team_mails.push(Mail { to, at }),
            What::Step { step, variant, .. } => {
                let variant = variant.as_ref().map(ToString::to_string);
                let sent = Sent { step: step.to_string(), variant, to, at };
                self.sent.push((ask.enrollment, ask.send, sent));
            }
        }
    }

    async fn sight(&mut self, id: EnrollmentId) -> Sight {
        let row = sqlx::query(
            "SELECT e.snapshot, e.parked_at, e.lead_id, e.version, c.sequence_id, \
                    (SELECT d.cause FROM dead_letters d WHERE d.enrollment_id = e.enrollment_id \
                     ORDER BY d.at DESC LIMIT 1) AS cause, \
                    (SELECT j.facts FROM journal j WHERE j.enrollment_id = e.enrollment_id \
                     ORDER BY j.turn DESC LIMIT 1) AS facts \
             FROM enrollments e JOIN campaigns c USING (workspace_id, campaign_id) \
             WHERE e.enrollment_id = $1",
        )
        .bind(id.uuid())
        .fetch_one(&mut self.owner)
        .await
        .expect("it is enrolled");
        let parked: Option<DateTime<Utc>> = row.get("parked_at");
        let snapshot: Vec<u8> = row.get("snapshot");
        let enrollment: Option<Enrollment> =
            serde_json::from_slice(&snapshot).ok().filter(|_| parked.is_none());
        let facts: Option<String> = row.get("facts");
        let facts: Facts = facts
            .map(|facts| serde_json::from_str(&facts).expect("stored facts"))
            .unwrap_or_default();
        let name = (SequenceId::new(row.get("sequence_id")), row.get("version"));
        let mut tx = self.store.begin(self.workspace).await.expect("the database answers");
        let loaded = self.room.versions.get(&mut tx, self.workspace, &[name].into()).await;
        let loaded = Arc::clone(&loaded.expect("the version loads")[&name]);
        let now = clock::read(&mut tx).await.expect("a clock").campaign;
        drop(tx);
        let plan = enrollment.as_ref().map(|enrollment| {
            let context = Context {
                now,
                workspace: self.workspace,
                enrollment: id,
                lead: LeadId::new(row.get("lead_id")),
                version: &loaded.version,
                facts: &facts,
            };
            explain::explain(enrollment, &context)
        });
        let mut unanswered: Vec<String> = sqlx::query_scalar(
            "SELECT send_id || ' is ' || state FROM sends WHERE enrollment_id = $1 \
             AND state NOT IN ('accepted', 'rejected', 'cancelled') \
             UNION ALL SELECT kind || ' waits for a person' FROM tasks \
             WHERE enrollment_id = $1 AND closed_at IS NULL",
        )
        .bind(id.uuid())
        .fetch_all(&mut self.owner)
        .await
        .expect("the database answers");
        let open = enrollment.iter().flat_map(|enrollment| &enrollment.data.open);
        unanswered.extend(open.map(|open| format!("{open:?} is open")));
        let in_review: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM sends WHERE enrollment_id = $1 AND state = 'needs_review'",
        )
        .bind(id.uuid())
        .fetch_one(&mut self.owner)
        .await
        .expect("the database answers");
        let mine = self.sent.iter().filter(|(of, _, _)| *of == id);
        Sight {
            state: plan.as_ref().map_or(Shown::Failed, |plan| plan.state),
            outcome: enrollment.as_ref().and_then(Enrollment::outcome),
            plan,
            enrollment,
            sends: mine.map(|(_, _, sent)| sent.clone()).collect(),
            unanswered,
            parked: parked.and_then(|_| row.get("cause")),
            in_review: usize::try_from(in_review).expect("a count"),
        }
    }
}

fn of_ask(ask: &Ask, what: Known) -> Recorded {
    Recorded { send: ask.send, attempt: ask.attempt, enrollment: ask.enrollment, what }
}

fn answered(dispatch: &Dispatch, outcome: Told) -> Recorded {
    of_ask(&dispatch.message.ask, Known::Call { fence: dispatch.fence, outcome })
}

fn copy(dispatch: &Dispatch) -> Dispatch {
    Dispatch { message: dispatch.message.clone(), fence: dispatch.fence, gate_at: dispatch.gate_at }
}

fn accepted() -> Told {
    Told::Accepted { provider_id: None, detail: Detail::new("taken") }
}

fn refused(class: Refusal) -> Told {
    let class = match class {
        Refusal::Retry => RefusalClass::Retry,
        Refusal::Recipient => RefusalClass::Recipient,
        Refusal::Content => RefusalClass::Content,
        Refusal::Account => RefusalClass::Account,
        Refusal::Suppressed => panic!("no provider knows our suppressions"),
    };
    Told::Refused(Refused::of(class, "refused by the scenario"))
}

fn word_of(consent: Consent) -> &'static str {
    match consent {
        Consent::Unknown => "unknown",
        Consent::Granted => "granted",
        Consent::Refused => "refused",
    }
}
