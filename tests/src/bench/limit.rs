//! The full limit: plain SQL on the product's own tables that writes, for every lead, the rows the
//! engine writes, in as many transactions. The values are prepared beforehand. It has no machine and
//! no texts to render, reads nothing at the gate, takes no lock on people and no wall holds it.

mod answer;
mod statements;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use activities::store::clock;
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, Subject, send_id};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Notify;
use uuid::Uuid;

use super::run::{Found, Job, Measure, Stopwatch};
use super::script::{Course, Message, Script};
use super::server;

/// How long after its first message a lead answers.
pub const ANSWER_AFTER: Duration = Duration::from_millis(250);

/// One lead with everything that will be written for it.
struct Lead {
    course: usize,
    enrollment: Uuid,
    lead: Uuid,
    sender: Uuid,
    address: String,
    sends: Vec<Uuid>,
    message_ids: Vec<String>,
    /// By turn.
    snapshots: Vec<Vec<u8>>,
    /// By turn, then by row: signal and effects.
    journal: Vec<Vec<(String, Option<String>)>>,
}

/// What is shared by the writers.
struct Shared {
    job: Job,
    courses: [Course; 2],
    leads: Vec<Lead>,
    by_enrollment: HashMap<Uuid, usize>,
    queue: Mutex<VecDeque<Task>>,
    /// Whether there may be due rows.
    due: AtomicBool,
    /// Rung when there is work.
    bell: Notify,
    /// Leads that have answered, so that the next due scan knows them.
    answered: Mutex<Vec<bool>>,
    /// Leads whose first message was accepted and who will answer, with the time.
    answers: tokio::sync::mpsc::UnboundedSender<(Instant, Vec<usize>)>,
    ended: AtomicUsize,
    ended_at: Mutex<Instant>,
    lags: Mutex<Vec<f64>>,
}

/// What waits to be written, for leads that are at the same place.
enum Task {
    /// Message `n` of these passes.
    Gate(usize, Vec<usize>),
    /// Message `n` of these was accepted.
    Record(usize, Vec<usize>),
}

/// Does the job.
pub async fn work(job: &Job) -> anyhow::Result<Found> {
    let sample = job.sample.as_deref().context("the limit needs a sample")?;
    let script = Script::read(&mut server::connect(sample).await?).await?;
    let (answers, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let shared = Arc::new(Shared::prepare(job, script, answers).await?);
    let mut conns = Vec::new();
    for _ in 0..job.writers {
        conns.push(writer(&job.url).await?);
    }
    let mut answering = writer(&job.url).await?;
    if let Some(at) = job.due_at {
        wait_until(&mut answering, at).await?;
    }
    let watch = Stopwatch::start(job.watched())?;
    let mut writers = tokio::task::JoinSet::new();
    for conn in conns {
        writers.spawn(write(Arc::clone(&shared), conn));
    }
    let answerer = {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Some((at, leads)) = waiting.recv().await {
                tokio::time::sleep_until(at.into()).await;
                for lead in leads {
                    answer::answer(&shared, &mut answering, lead).await?;
                }
            }
            anyhow::Ok(())
        })
    };
    while let Some(done) = writers.join_next().await {
        done??;
    }
    let done = *shared.ended_at.lock().expect("no holder panics");
    let mut found = watch.stop(done)?;
    found.latencies_ms = std::mem::take(&mut shared.lags.lock().expect("no holder panics"));
    answerer.abort();
    Ok(found)
}

/// Connects as the owner, and tells the planner what is always right for these statements.
async fn writer(url: &str) -> anyhow::Result<PgConnection> {
    let mut conn = server::connect(url).await?;
    sqlx::raw_sql(
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
         SET enable_bitmapscan = off; SET enable_memoize = off",
    )
    .execute(&mut conn)
    .await?;
    Ok(conn)
}

/// Waits for an instant of the campaign's clock.
pub async fn wait_until(conn: &mut PgConnection, at: DateTime<Utc>) -> anyhow::Result<()> {
    let now = clock::read(conn).await?.campaign;
    let wait = (at - now).to_std().context("the run began too late")?;
    tokio::time::sleep(wait.saturating_sub(Duration::from_millis(200))).await;
    Ok(())
}

impl Shared {
    async fn prepare(
        job: &Job,
        script: Script,
        answers: tokio::sync::mpsc::UnboundedSender<(Instant, Vec<usize>)>,
    ) -> anyhow::Result<Self> {
        let mut conn = server::connect(&job.url).await?;
        let senders: Vec<Uuid> =
            sqlx::query_scalar("SELECT sender_id FROM senders").fetch_all(&mut conn).await?;
        let rows: Vec<(Uuid, Uuid, i32)> = sqlx::query_as(
            "SELECT enrollment_id, lead_id, version FROM enrollments WHERE turn = 0",
        )
        .fetch_all(&mut conn)
        .await?;
        conn.close().await?;
        let leads: Vec<Lead> = rows
            .into_iter()
            .map(|(enrollment, lead, version)| {
                let course = script.of(version);
                let sender = senders[rand::random_range(0..senders.len())];
                Lead::prepare(job, course, usize::from(version == 2), enrollment, lead, sender)
            })
            .collect::<anyhow::Result<_>>()?;
        let by_enrollment =
            leads.iter().enumerate().map(|(index, lead)| (lead.enrollment, index)).collect();
        Ok(Self {
            job: job.clone(),
            courses: [script.full, script.replying],
            answered: Mutex::new(vec![false; leads.len()]),
            by_enrollment,
            leads,
            queue: Mutex::default(),
            due: AtomicBool::new(true),
            bell: Notify::new(),
            answers,
            ended: AtomicUsize::new(0),
            ended_at: Mutex::new(Instant::now()),
            lags: Mutex::default(),
        })
    }

    fn course(&self, lead: usize) -> &Course {
        &self.courses[self.leads[lead].course]
    }

    fn finished(&self) -> bool {
        let enough = match self.job.measure {
            Measure::L => self.leads.len(),
            Measure::Wake | Measure::Sleep => usize::try_from(self.job.n).unwrap_or_default(),
        };
        self.ended.load(Ordering::SeqCst) >= enough
    }

    /// Takes the oldest task; due rows go first, as they do in the engine.
    fn next(&self) -> Next {
        if self.finished() {
            return Next::Finished;
        }
        if self.due.swap(false, Ordering::SeqCst) {
            return Next::Scan;
        }
        match self.queue.lock().expect("no holder panics").pop_front() {
            Some(task) => Next::Task(task),
            None => Next::Wait,
        }
    }

    fn push(&self, task: Task) {
        let (Task::Gate(_, leads) | Task::Record(_, leads)) = &task;
        if !leads.is_empty() {
            self.queue.lock().expect("no holder panics").push_back(task);
            self.bell.notify_one();
        }
    }

    fn end(&self, n: usize) {
        *self.ended_at.lock().expect("no holder panics") = Instant::now();
        self.ended.fetch_add(n, Ordering::SeqCst);
        if self.finished() {
            self.bell.notify_waiters();
        }
    }
}

enum Next {
    Scan,
    Task(Task),
    Wait,
    Finished,
}

impl Lead {
    fn prepare(
        job: &Job,
        course: &Course,
        index: usize,
        enrollment: Uuid,
        lead: Uuid,
        sender: Uuid,
    ) -> anyhow::Result<Self> {
        let (workspace, id) = (job.campaign.workspace, EnrollmentId::new(enrollment));
        let sends: Vec<Uuid> = course
            .messages
            .iter()
            .map(|it| send_id(workspace, id, Subject::Step(&it.planned.step_key), 1).uuid())
            .collect();
        let told = |text: &str| course.told_of(text, id, lead, &sends);
        let snapshots = course.turns.iter().map(|turn| {
            let text = std::str::from_utf8(&turn.enrollment.snapshot)?;
            anyhow::Ok(told(text).into_bytes())
        });
        let journal = course.turns.iter().map(|turn| {
            let rows = turn.journal.iter();
            rows.map(|row| (told(&row.signal), row.effects.as_deref().map(told))).collect()
        });
        let message_id = |it: &Message| told(it.gated.message_id.as_deref().unwrap_or_default());
        let address = course.messages[0].gated.address.as_deref().unwrap_or_default();
        Ok(Self {
            course: index,
            enrollment,
            lead,
            sender,
            address: told(address),
            message_ids: course.messages.iter().map(message_id).collect(),
            snapshots: snapshots.collect::<anyhow::Result<_>>()?,
            journal: journal.collect(),
            sends,
        })
    }
}

async fn write(shared: Arc<Shared>, mut conn: PgConnection) -> anyhow::Result<()> {
    loop {
        let bell = shared.bell.notified();
        tokio::pin!(bell);
        bell.as_mut().enable();
        match shared.next() {
            Next::Finished => {
                shared.bell.notify_waiters();
                return Ok(());
            }
            Next::Scan => scan(&shared, &mut conn).await?,
            Next::Task(Task::Gate(n, leads)) => {
                gate(&shared, &mut conn, n, &leads).await?;
                if let (Measure::Wake, Some(at)) = (shared.job.measure, shared.job.due_at) {
                    let now = clock::read(&mut conn).await?.campaign;
                    #[expect(clippy::cast_precision_loss, reason = "seconds in microseconds")]
                    let lag = (now - at).num_microseconds().unwrap_or_default() as f64 / 1e3;
                    let lags = &mut *shared.lags.lock().expect("no holder panics");
                    lags.resize(lags.len() + leads.len(), lag);
                    shared.end(leads.len());
                }
                shared.push(Task::Record(n, leads));
            }
            Next::Task(Task::Record(n, leads)) => record(&shared, &mut conn, n, &leads).await?,
            Next::Wait if shared.job.measure == Measure::Wake => {
                tokio::time::sleep(super::run::LOOK).await;
                shared.due.store(true, Ordering::SeqCst);
            }
            Next::Wait => bell.await,
        }
    }
}

/// Transaction 1: takes due rows and plans their messages.
async fn scan(shared: &Shared, conn: &mut PgConnection) -> anyhow::Result<()> {
    let job = &shared.job;
    let mut tx = conn.begin().await?;
    let now = clock::read(&mut tx).await?.campaign;
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT enrollment_id FROM enrollments \
         WHERE workspace_id = $1 AND wake_at IS NOT NULL AND parked_at IS NULL \
           AND engine = 'postgres' AND wake_at <= $2 \
         ORDER BY wake_at, enrollment_id LIMIT $3 FOR UPDATE SKIP LOCKED",
    )
    .bind(job.campaign.workspace.uuid())
    .bind(now)
    .bind(i64::try_from(job.batch)?)
    .fetch_all(&mut *tx)
    .await?;
    if ids.is_empty() {
        return Ok(());
    }
    let taken: Vec<usize> = ids.iter().map(|id| shared.by_enrollment[id]).collect();
    let (answered, fresh): (Vec<usize>, Vec<usize>) = {
        let answered = shared.answered.lock().expect("no holder panics");
        taken.iter().partition(|lead| answered[**lead])
    };
    let last = |lead: usize| shared.course(lead).turns.len() - 1;
    let turns = fresh.iter().map(|lead| (*lead, 0));
    let turns: Vec<(usize, usize)> =
        turns.chain(answered.iter().map(|lead| (*lead, last(*lead)))).collect();
    turn(shared, &mut tx, &turns, now).await?;
    tx.commit().await?;
    if taken.len() == job.batch {
        shared.due.store(true, Ordering::SeqCst);
        shared.bell.notify_one();
    }
    shared.push(Task::Gate(0, fresh));
    shared.end(answered.len());
    Ok(())
}

/// Transaction 2: messages pass, their contents are kept, quotas are used.
async fn gate(
    shared: &Shared,
    conn: &mut PgConnection,
    n: usize,
    leads: &[usize],
) -> anyhow::Result<()> {
    let mut tx = conn.begin().await?;
    let clocks = clock::read(&mut tx).await?;
    let today = clocks.campaign.date_naive();
    statements::pass(shared, n, leads, clocks).execute(&mut *tx).await?;
    statements::keep(shared, n, leads).execute(&mut *tx).await?;
    statements::use_quotas(shared, leads, today).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Transaction 3: messages were accepted, and the leads go on.
async fn record(
    shared: &Shared,
    conn: &mut PgConnection,
    n: usize,
    leads: &[usize],
) -> anyhow::Result<()> {
    let mut tx = conn.begin().await?;
    let now = clock::read(&mut tx).await?.campaign;
    statements::accept(shared, n, leads).execute(&mut *tx).await?;
    let turns: Vec<(usize, usize)> = leads.iter().map(|lead| (*lead, n + 1)).collect();
    turn(shared, &mut tx, &turns, now).await?;
    tx.commit().await?;
    let mut next = Vec::with_capacity(leads.len());
    let mut will_answer = Vec::new();
    let mut ended = 0;
    for &lead in leads {
        let course = shared.course(lead);
        if course.messages.len() > n + 1 {
            next.push(lead);
        } else if course.turns.len() > n + 2 {
            will_answer.push(lead);
        } else {
            ended += 1;
        }
    }
    if !will_answer.is_empty() {
        // The receiver lives as long as there are leads that have not ended.
        let _ = shared.answers.send((Instant::now() + ANSWER_AFTER, will_answer));
    }
    shared.push(Task::Gate(n + 1, next));
    if shared.job.measure == Measure::L {
        shared.end(ended);
    }
    Ok(())
}

/// Writes turn `n` of each lead: its enrollment, its journal, and the next message.
async fn turn(
    shared: &Shared,
    conn: &mut PgConnection,
    turns: &[(usize, usize)],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    statements::advance(shared, turns, now).execute(&mut *conn).await?;
    statements::journal(shared, turns, now).execute(&mut *conn).await?;
    statements::plan(shared, turns).execute(&mut *conn).await?;
    statements::count(shared, turns).execute(conn).await?;
    Ok(())
}
