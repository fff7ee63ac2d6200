//! The people of an engine's run: every twentieth answers its first message, 250 ms or more after it
//! left, through the door by which the world's mail comes in.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use activities::inbound::Envelope;
use activities::ingest::{self, NewEvent, Provider};
use activities::mailroom::Mailroom;
use activities::store::clock;
use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use machine::ids::{EnrollmentId, SendId, Subject, WorkspaceId, send_id};
use sqlx::PgConnection;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::fill::Waits;
use super::limit::ANSWER_AFTER;
use super::run::{Driver, Job};
use super::server;

/// How often the answering leads are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How many answers may come in at once.
const AT_ONCE: usize = 2;

/// Finds leads of the Postgres engine that wait: its index wants the engine's word.
const ON_POSTGRES: &str = "SELECT enrollment_id FROM enrollments \
     WHERE workspace_id = $1 AND wake_at IS NOT NULL AND parked_at IS NULL \
       AND engine = 'postgres' AND wake_at BETWEEN $2 AND $3 AND state = 'waiting'";

/// Finds leads of the Temporal engine that wait: its index wants the engine's word.
const ON_TEMPORAL: &str = "SELECT enrollment_id FROM enrollments \
     WHERE workspace_id = $1 AND wake_at IS NOT NULL AND parked_at IS NULL \
       AND engine = 'temporal' AND wake_at BETWEEN $2 AND $3 AND state = 'waiting'";

/// Leads that will answer.
pub struct Replies {
    conn: PgConnection,
    room: Mailroom,
    workspace: WorkspaceId,
    /// Finds those who wait.
    waiting: &'static str,
    silent: HashMap<Uuid, String>,
    /// Campaign time of the last look.
    now: DateTime<Utc>,
    soon: VecDeque<(Instant, Uuid, String)>,
}

impl Replies {
    /// Finds the leads that will answer.
    pub async fn prepare(job: &Job, room: Mailroom) -> anyhow::Result<Self> {
        let mut conn = server::connect(&job.url).await?;
        let rows: Vec<(Uuid, String)> = sqlx::query_as(
            "SELECT e.enrollment_id, a.address FROM enrollments e \
             JOIN addresses a USING (workspace_id, lead_id) WHERE e.version = $1",
        )
        .bind(Waits::Hour.version())
        .fetch_all(&mut conn)
        .await?;
        let workspace = job.campaign.workspace;
        let now = clock::read(&mut conn).await?.campaign;
        Ok(Self {
            now,
            conn,
            room,
            workspace,
            waiting: match job.driver {
                Driver::Temporal => ON_TEMPORAL,
                Driver::Limit | Driver::Bare | Driver::Postgres => ON_POSTGRES,
            },
            silent: rows.into_iter().collect(),
            soon: VecDeque::new(),
        })
    }

    /// Answers until everybody has.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut under_way = JoinSet::new();
        while !self.silent.is_empty() || !self.soon.is_empty() {
            self.look().await?;
            while self.soon.front().is_some_and(|(at, ..)| *at <= Instant::now()) {
                let Some((_, enrollment, address)) = self.soon.pop_front() else { break };
                if under_way.len() >= AT_ONCE
                    && let Some(done) = under_way.join_next().await
                {
                    done??;
                }
                let (room, workspace, now) = (self.room.clone(), self.workspace, self.now);
                under_way.spawn(answer(room, workspace, enrollment, address, now));
            }
            tokio::time::sleep(LOOK).await;
        }
        while let Some(done) = under_way.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Finds those whose first message has left: they alone wait for an hour.
    async fn look(&mut self) -> anyhow::Result<()> {
        self.now = clock::read(&mut self.conn).await?.campaign;
        let sent: Vec<Uuid> = sqlx::query_scalar(self.waiting)
            .bind(self.workspace.uuid())
            .bind(self.now + TimeDelta::minutes(30))
            .bind(self.now + TimeDelta::minutes(90))
            .fetch_all(&mut self.conn)
            .await?;
        let at = Instant::now() + ANSWER_AFTER;
        for enrollment in sent {
            if let Some(address) = self.silent.remove(&enrollment) {
                self.soon.push_back((at, enrollment, address));
            }
        }
        Ok(())
    }
}

async fn answer(
    room: Mailroom,
    workspace: WorkspaceId,
    enrollment: Uuid,
    address: String,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let send: SendId = send_id(workspace, EnrollmentId::new(enrollment), Subject::Step("one"), 1);
    let mail = format!(
        "From: Ada <{address}>\r\nTo: s@bench.example\r\nSubject: Re: Analytical Engines and us\r\n\
         Date: Mon, 6 Jan 2025 10:00:00 +0000\r\nMessage-ID: <answer-{send}@leads.example>\r\n\
         In-Reply-To: <{send}@bench.example>\r\nReferences: <{send}@bench.example>\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nTell me more, please.\r\n\r\nAda\r\n"
    );
    let event = NewEvent::of_raw_mail(
        &room,
        workspace,
        Provider::Capture,
        format!("{send}/answer"),
        mail.as_bytes(),
        Envelope { sender: Some(address), recipients: vec!["s@bench.example".to_owned()] },
        now,
    );
    ingest::signal(&room, workspace, event).await.context("an answer could not be stored")?;
    Ok(())
}
