//! A world whose leads Temporal drives: the product's own workers and relay in this process, a real Temporal
//! server that all such worlds share, and a mail server that takes the messages. The test moves the
//! clock, does the chores, and waits until there is nothing to wait for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activities::engine::Engine;
use activities::life;
use activities::mailroom::Mailroom;
use activities::senders::Transport;
use activities::store::{Store, bell};
use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, WorkspaceId};
use server::temporal_server::TemporalServer;
use sqlx::Row as _;
use temporal_runner::histories;
use temporal_runner::onlooker::Onlooker;
use temporal_runner::{Runner, Settings};
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use url::Url;
use uuid::Uuid;

use super::Inner;
use super::run::LEASE;
use crate::cluster;
use crate::end_to_end::temporal_server;
use crate::janitor;
use crate::personal::Personal;
use crate::world::backend::{ANSWER, Mail, Sent};
use crate::world::mail_server::MailServer;

/// How often it is looked whether the world has come to rest.
const LOOK: Duration = Duration::from_millis(40);

/// After this long a world that still moves will not come to rest, even beside other work.
const REST: Duration = Duration::from_secs(300);

/// How often the process shows that it lives.
const BEAT: Duration = Duration::from_secs(2);

/// The calls one mailbox may have open: some of them are never answered.
const CALLS: usize = 100;

static SERVER: OnceCell<TemporalServer> = OnceCell::const_new();

/// What drives leads, and where their messages go.
pub(super) struct Driven {
    pub(super) mail_server: MailServer,
    address: Url,
    runners: Vec<Runner>,
    beating: Vec<AbortHandle>,
    /// How many messages of the mail server are known.
    known: usize,
}

impl Driven {
    /// Starts workers for the leads of a world, which reach the database through `store`.
    pub(super) async fn start(room: &Mailroom, store: &Store, workspace: WorkspaceId) -> Self {
        let given = temporal_server::given();
        let address = address(given).await;
        let settings = Settings {
            address: Some(address.clone()),
            queues: format!("world-{workspace}"),
            calls_per_mailbox: CALLS,
            ..Settings::default()
        };
        // Two where a full server is tried, one beside a server of our own.
        let processes = if given.is_some() { 2 } else { 1 };
        let rooms: Vec<Mailroom> = (0..processes).map(|number| process(room, number)).collect();
        // They live, though nobody tells them the time.
        let beating = rooms.iter().map(|room| tokio::spawn(keep_beating(room.clone())));
        let beating = beating.map(|task| task.abort_handle()).collect();
        let start = |mut room: Mailroom| {
            room.store = store.clone();
            Runner::start(room, settings.clone()).expect("the settings read well")
        };
        let runners = rooms.into_iter().map(start).collect();
        Self { mail_server: MailServer::start().await, address, runners, beating, known: 0 }
    }

    /// Ends what runs.
    pub(super) async fn close(self) {
        // Nobody waits for its answers any more.
        self.mail_server.close();
        for runner in self.runners {
            runner.drain().await;
        }
        for beating in self.beating {
            beating.abort();
        }
    }
}

/// Returns the mailroom of a process of its own.
fn process(room: &Mailroom, number: u128) -> Mailroom {
    let mut room = room.clone();
    room.runner = Uuid::from_u128(room.runner.as_u128() + number);
    room.life = Arc::default();
    room
}

/// Returns where Temporal is.
async fn address(given: Option<SocketAddr>) -> Url {
    if let Some(given) = given {
        return format!("http://{given}").parse().expect("a plain address");
    }
    let server = SERVER.get_or_init(|| async {
        let place = tempfile::tempdir_in(cluster::place());
        let place = place.expect("a directory for Temporal's server").keep();
        janitor::remove_at_end(&place);
        TemporalServer::start(&place).await.expect("Temporal's development server starts")
    });
    server.await.address().clone()
}

/// Leases rest on it.
async fn keep_beating(room: Mailroom) {
    loop {
        // A database that is away is told of by whoever needs it.
        let _ = life::beat(&room).await;
        tokio::time::sleep(BEAT).await;
    }
}

impl Inner {
    pub(super) fn engine(&self) -> Engine {
        if self.driven.is_some() { Engine::Temporal } else { Engine::Postgres }
    }

    /// Returns how a sender's messages leave.
    pub(super) fn transport(&self) -> Transport {
        match &self.driven {
            Some(driven) => driven.mail_server.url().parse().expect("the URL of a mail server"),
            None => Transport::Capture { script: None },
        }
    }

    /// Waits until nothing is left to do for whoever drives leads.
    pub(super) async fn wait(&mut self) {
        let began = Instant::now();
        self.ring().await;
        loop {
            if self.do_chores().await {
                self.ring().await;
            }
            let Some(what) = self.unfinished().await else { break };
            assert!(began.elapsed() < REST, "the world does not come to rest: {what}");
            tokio::time::sleep(LOOK).await;
        }
        self.collect().await;
    }

    async fn ring(&self) {
        let mut tx = self.store.begin(self.workspace).await.expect("the database answers");
        bell::ring(&mut tx, self.workspace).await.expect("the bell rings");
        tx.commit().await.expect("a commit");
    }

    /// Returns what moves, or is about to.
    async fn unfinished(&mut self) -> Option<String> {
        let now = self.now().await;
        let open: Vec<Uuid> = self.driven().mail_server.open().iter().map(|it| it.uuid()).collect();
        let moving: Vec<String> = sqlx::query_scalar(
            "WITH standing AS (
                 SELECT e.*, next.seq IS NOT NULL AS unheard,
                        next.seq IS NOT NULL AND next.kind IS NULL AS unread,
                        c.status = 'paused' AS paused,
                        convert_from(e.snapshot, 'UTF8')::jsonb #> '{data,open}' AS open
                 FROM enrollments AS e
                 JOIN campaigns AS c USING (workspace_id, campaign_id)
                 LEFT JOIN signals AS next ON next.workspace_id = e.workspace_id
                      AND next.enrollment_id = e.enrollment_id AND next.seq = e.applied_seq + 1
                 WHERE e.parked_at IS NULL)
             SELECT 'enrollment ' || enrollment_id FROM standing
             WHERE wake_at <= $1 OR turn = 0 OR unheard AND NOT unread
             UNION ALL
             SELECT 'send ' || s.send_id || ' is ' || s.state
             FROM standing AS e, jsonb_array_elements(e.open) AS asked, sends AS s
             WHERE s.send_id = (asked #>> '{id,send}')::uuid
               AND CASE s.state
                   WHEN 'needs_review' THEN false
                   WHEN 'dispatching' THEN s.send_id <> ALL ($2)
                   WHEN 'planned' THEN NOT (e.unread OR e.paused AND s.kind = 'answer')
                   ELSE true END",
        )
        .bind(now)
        .bind(open)
        .fetch_all(&mut self.owner)
        .await
        .expect("the database answers");
        (!moving.is_empty()).then(|| moving.join(", "))
    }

    /// Takes up what the mail server took.
    async fn collect(&mut self) {
        let known = self.driven().known;
        for send in self.driven().mail_server.taken_after(known) {
            self.driven.as_mut().expect("it is driven").known += 1;
            let row = sqlx::query(
                "SELECT enrollment_id, kind, step_key, variant, address, gate_at FROM sends \
                 WHERE send_id = $1",
            )
            .bind(send.uuid())
            .fetch_one(&mut self.owner)
            .await
            .expect("what was taken is in the ledger");
            let (to, at): (String, DateTime<Utc>) = (row.get("address"), row.get("gate_at"));
            let enrollment = EnrollmentId::new(row.get("enrollment_id"));
            if self.driven().mail_server.lost().contains(&send) {
                self.lost.push((at + LEASE, send, enrollment));
            }
            let sent = match row.get("kind") {
                "step" => Sent { step: row.get("step_key"), variant: row.get("variant"), to, at },
                "answer" => Sent { step: ANSWER.to_owned(), variant: None, to, at },
                _ => {
                    self.team_mails.push(Mail { to, at });
                    continue;
                }
            };
            self.sent.push((enrollment, send, sent));
        }
    }

    /// Returns what Temporal was told of somebody: nobody's address, name or text may leave.
    pub(super) async fn told(&mut self) -> Vec<String> {
        let Some(driven) = &self.driven else { return Vec::new() };
        let personal = Personal::of(&mut self.owner, &self.written).await;
        let onlooker = Onlooker::connect(Some(&driven.address)).await.expect("Temporal answers");
        let mut told = Vec::new();
        for enrollment in &self.order {
            let history = onlooker.whole(self.workspace, *enrollment).await.expect("a history");
            let id = enrollment.to_string();
            let is_plain = history.windows(id.len()).any(|bytes| bytes == id.as_bytes());
            assert!(is_plain, "what is looked for could not be found in this history");
            let found = personal.told_in(&history);
            told.extend(found.iter().map(|it| format!("Temporal knows {it:?} of {enrollment}")));
        }
        told
    }

    /// Keeps a lead's history where `MERIDIAN_HISTORIES` says, under the name of its scenario.
    pub(super) async fn keep_history(&self, enrollment: EnrollmentId) {
        let Some(place) = std::env::var_os("MERIDIAN_HISTORIES").map(PathBuf::from) else { return };
        let Some(driven) = &self.driven else { return };
        let address = Some(&driven.address);
        let fetched = histories::fetch_one(address, self.workspace, enrollment).await;
        let (_, history) = fetched.expect("a history");
        let scenario = std::thread::current().name().unwrap_or("a scenario").replace("::", ".");
        let path = place.join(format!("{scenario}-{enrollment}.json"));
        std::fs::write(path, history).expect("a place to write to");
    }

    fn driven(&self) -> &Driven {
        self.driven.as_ref().expect("only such a world waits")
    }
}
