//! The full limit: plain SQL on the product's own tables that writes, for every lead, the rows the
//! engine writes, in as many transactions. The values are prepared beforehand. It has no machine and
//! no texts to render, reads nothing at the gate, takes no lock on people and no wall holds it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use activities::store::clock::{self, Clocks};
use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use machine::ids::{EnrollmentId, Subject, send_id};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Connection as _, PgConnection, Postgres};
use tokio::sync::Notify;
use uuid::Uuid;

use super::run::{Found, Job, Measure, Stopwatch};
use super::script::{Course, Message, Script, Turn};
use super::server;

/// A statement with its values.
type Statement<'q> = Query<'q, Postgres, PgArguments>;

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
    let watch = Stopwatch::start(job.postgres)?;
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
                    answer(&shared, &mut answering, lead).await?;
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
    pass(shared, n, leads, clocks).execute(&mut *tx).await?;
    keep(shared, n, leads).execute(&mut *tx).await?;
    use_quotas(shared, leads, today).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

fn pass<'q>(shared: &Shared, n: usize, leads: &[usize], clocks: Clocks) -> Statement<'q> {
    let job = &shared.job;
    let all = || leads.iter().map(|lead| &shared.leads[*lead]);
    sqlx::query(
        "UPDATE sends AS s SET state = 'dispatching', fence = s.fence + 1, runner_id = $2, \
             gate_at = $3, lease_until = $4, address = u.address, message_id = u.message_id, \
             gate_day = $5, gate_campaign_day = $5 \
         FROM unnest($1::uuid[], $6::uuid[], $7::text[], $8::text[]) \
              AS u (workspace_id, send_id, address, message_id) \
         WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id",
    )
    .bind(vec![job.campaign.workspace.uuid(); leads.len()])
    .bind(job.campaign.campaign.uuid())
    .bind(clocks.campaign)
    .bind(clocks.wall + TimeDelta::minutes(15))
    .bind(clocks.campaign.date_naive())
    .bind(all().map(|lead| lead.sends[n]).collect::<Vec<_>>())
    .bind(all().map(|lead| lead.address.as_str()).collect::<Vec<_>>())
    .bind(all().map(|lead| lead.message_ids[n].as_str()).collect::<Vec<_>>())
}

fn keep<'q>(shared: &Shared, n: usize, leads: &[usize]) -> Statement<'q> {
    let all = || leads.iter().map(|lead| &shared.course(*lead).messages[n]);
    sqlx::query(
        "INSERT INTO send_contents (workspace_id, send_id, hash, subject, text, html) \
         SELECT $1, u.* FROM unnest($2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::text[]) AS u",
    )
    .bind(shared.job.campaign.workspace.uuid())
    .bind(leads.iter().map(|lead| shared.leads[*lead].sends[n]).collect::<Vec<_>>())
    .bind(all().map(|it| it.content.hash.as_slice()).collect::<Vec<_>>())
    .bind(all().map(|it| it.content.subject.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|it| it.content.text.as_str()).collect::<Vec<_>>())
    .bind(all().map(|it| it.content.html.as_deref()).collect::<Vec<_>>())
}

fn use_quotas<'q>(shared: &Shared, leads: &[usize], today: NaiveDate) -> Statement<'q> {
    let job = &shared.job;
    let mut used = std::collections::BTreeMap::<(&str, Uuid), i32>::new();
    for lead in leads {
        *used.entry(("sender_day", shared.leads[*lead].sender)).or_default() += 1;
        *used.entry(("campaign_day", job.campaign.campaign.uuid())).or_default() += 1;
    }
    sqlx::query(
        "INSERT INTO quotas (workspace_id, scope, scope_id, day, used, max) \
         SELECT $1, u.scope, u.id, $2, u.n, 1000000 \
         FROM unnest($3::text[], $4::uuid[], $5::int[]) AS u (scope, id, n) \
         ON CONFLICT (workspace_id, scope, scope_id, day) DO UPDATE \
         SET used = quotas.used + excluded.used",
    )
    .bind(job.campaign.workspace.uuid())
    .bind(today)
    .bind(used.keys().map(|(scope, _)| *scope).collect::<Vec<_>>())
    .bind(used.keys().map(|(_, id)| *id).collect::<Vec<_>>())
    .bind(used.values().copied().collect::<Vec<_>>())
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
    accept(shared, n, leads).execute(&mut *tx).await?;
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

fn accept<'q>(shared: &Shared, n: usize, leads: &[usize]) -> Statement<'q> {
    let all = || leads.iter().map(|lead| &shared.course(*lead).messages[n].accepted);
    sqlx::query(
        "UPDATE sends AS s SET state = 'accepted', detail = u.detail, provider_id = u.provider_id \
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) \
              AS u (workspace_id, send_id, detail, provider_id) \
         WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id",
    )
    .bind(vec![shared.job.campaign.workspace.uuid(); leads.len()])
    .bind(leads.iter().map(|lead| shared.leads[*lead].sends[n]).collect::<Vec<_>>())
    .bind(all().map(|it| it.detail.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|it| it.provider_id.as_deref()).collect::<Vec<_>>())
}

/// Writes turn `n` of each lead: its enrollment, its journal, and the next message.
async fn turn(
    shared: &Shared,
    conn: &mut PgConnection,
    turns: &[(usize, usize)],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    advance(shared, turns, now).execute(&mut *conn).await?;
    journal(shared, turns, now).execute(&mut *conn).await?;
    plan(shared, turns).execute(&mut *conn).await?;
    count(shared, turns).execute(conn).await?;
    Ok(())
}

fn advance<'q>(shared: &Shared, turns: &[(usize, usize)], now: DateTime<Utc>) -> Statement<'q> {
    let all = || {
        turns.iter().map(|(lead, n)| {
            let turn: &Turn = &shared.course(*lead).turns[*n];
            (&shared.leads[*lead], turn, *n)
        })
    };
    let moved = |turn: &Turn, at: Option<DateTime<Utc>>| {
        at.map(|at| now + (at - turn.enrollment.changed_at))
    };
    sqlx::query(
        "UPDATE enrollments AS e \
         SET snapshot = u.snapshot, turn = u.turn, applied_seq = u.applied_seq, \
             verb_seq = u.verb_seq, failures = 0, email_sender_id = u.sender, state = u.state, \
             why = u.why, until = u.until, next_step = u.next_step, next_at = u.next_at, \
             changed_at = $2, wake_at = u.wake_at, ended_at = u.ended_at \
         FROM unnest($1::uuid[], $3::uuid[], $4::bytea[], $5::int[], $6::int[], $7::int[], \
                     $8::uuid[], $9::text[], $10::text[], $11::timestamptz[], $12::text[], \
                     $13::timestamptz[], $14::timestamptz[], $15::timestamptz[]) \
              AS u (workspace_id, enrollment_id, snapshot, turn, applied_seq, verb_seq, sender, \
                    state, why, until, next_step, next_at, wake_at, ended_at) \
         WHERE e.workspace_id = u.workspace_id AND e.enrollment_id = u.enrollment_id",
    )
    .bind(vec![shared.job.campaign.workspace.uuid(); turns.len()])
    .bind(now)
    .bind(all().map(|(lead, _, _)| lead.enrollment).collect::<Vec<_>>())
    .bind(all().map(|(lead, _, n)| lead.snapshots[n].as_slice()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.turn).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.applied_seq).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.verb_seq).collect::<Vec<_>>())
    .bind(all().map(|(lead, _, _)| lead.sender).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.state.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.why.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| moved(it, it.enrollment.until)).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.next_step.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| moved(it, it.enrollment.next_at)).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| moved(it, it.enrollment.wake_at)).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| moved(it, it.enrollment.ended_at)).collect::<Vec<_>>())
}

fn journal<'q>(shared: &Shared, turns: &[(usize, usize)], now: DateTime<Utc>) -> Statement<'q> {
    let all = || {
        turns.iter().flat_map(|(lead, n)| {
            let (row, turn) = (&shared.leads[*lead], &shared.course(*lead).turns[*n]);
            turn.journal.iter().zip(&row.journal[*n]).map(move |(it, texts)| (row, it, texts))
        })
    };
    sqlx::query(
        "INSERT INTO journal (workspace_id, enrollment_id, turn, at, cause, signal, from_state, \
             to_state, effects, next_step, next_at, why, facts, rules, snapshot) \
         SELECT $1, u.id, u.turn, $2, u.cause, u.signal, u.from_state, u.to_state, u.effects, \
                u.next_step, CASE WHEN u.has_next THEN $2 END, u.why, u.facts, $12, NULL \
         FROM unnest($3::uuid[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[], \
                     $9::text[], $10::text[], $11::bool[], $13::text[], $14::text[]) \
              AS u (id, turn, cause, signal, from_state, to_state, effects, next_step, has_next, \
                    why, facts)",
    )
    .bind(shared.job.campaign.workspace.uuid())
    .bind(now)
    .bind(all().map(|(lead, _, _)| lead.enrollment).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.turn).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.cause.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, _, texts)| texts.0.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.from_state.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.to_state.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, _, texts)| texts.1.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.next_step.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.next_at.is_some()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.rules).next().unwrap_or_default())
    .bind(all().map(|(_, it, _)| it.why.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.facts.as_deref()).collect::<Vec<_>>())
}

/// Plans the message that turn `n` asks for, where it asks for one: it is the lead's `n`th.
fn plan<'q>(shared: &Shared, turns: &[(usize, usize)]) -> Statement<'q> {
    let all = || {
        turns.iter().filter_map(|(lead, n)| {
            let message = shared.course(*lead).messages.get(*n)?;
            Some((&shared.leads[*lead], message, *n))
        })
    };
    sqlx::query(
        "INSERT INTO sends (workspace_id, send_id, enrollment_id, campaign_id, lead_id, kind, \
             step_key, visit, attempt, after_seq, channel, variant, sender_id, state) \
         SELECT $1, u.send_id, u.enrollment_id, $2, u.lead_id, u.kind, u.step_key, u.visit, \
                u.attempt, u.after_seq, u.channel, u.variant, u.sender_id, 'planned' \
         FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::int[], \
                     $9::int[], $10::int[], $11::text[], $12::text[], $13::uuid[]) \
              AS u (send_id, enrollment_id, lead_id, kind, step_key, visit, attempt, after_seq, \
                    channel, variant, sender_id)",
    )
    .bind(shared.job.campaign.workspace.uuid())
    .bind(shared.job.campaign.campaign.uuid())
    .bind(all().map(|(lead, _, n)| lead.sends[n]).collect::<Vec<_>>())
    .bind(all().map(|(lead, _, _)| lead.enrollment).collect::<Vec<_>>())
    .bind(all().map(|(lead, _, _)| lead.lead).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.kind.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.step_key.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.visit).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.attempt).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.after_seq).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.channel.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.variant.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(lead, _, _)| lead.sender).collect::<Vec<_>>())
}

/// Adds what the batch changes of the counters.
fn count<'q>(shared: &Shared, turns: &[(usize, usize)]) -> Statement<'q> {
    let mut deltas = std::collections::BTreeMap::<&str, i64>::new();
    for (lead, n) in turns {
        let turns = &shared.course(*lead).turns;
        let before = turns[*n].journal[0].from_state.as_str();
        *deltas.entry(before).or_default() -= 1;
        *deltas.entry(turns[*n].enrollment.state.as_str()).or_default() += 1;
    }
    sqlx::query(
        "INSERT INTO counter_deltas (workspace_id, campaign_id, measure, n) \
         SELECT $1, $2, 'state/' || u.state, u.n FROM unnest($3::text[], $4::bigint[]) AS u (state, n)",
    )
    .bind(shared.job.campaign.workspace.uuid())
    .bind(shared.job.campaign.campaign.uuid())
    .bind(deltas.keys().copied().collect::<Vec<_>>())
    .bind(deltas.values().copied().collect::<Vec<_>>())
}

/// A lead answers: the event is stored and acknowledged, then read, and the lead is due.
async fn answer(shared: &Shared, conn: &mut PgConnection, lead: usize) -> anyhow::Result<()> {
    let row = &shared.leads[lead];
    let workspace = shared.job.campaign.workspace.uuid();
    let reply = shared.course(lead).turns.last().and_then(|turn| turn.journal.first());
    let reply: serde_json::Value = match reply {
        Some(row) => serde_json::from_str(&row.signal)?,
        None => serde_json::Value::Null,
    };
    let event: Uuid = Uuid::from_bytes(rand::random());
    let mut tx = conn.begin().await?;
    let now = clock::read(&mut tx).await?;
    sqlx::query(
        "INSERT INTO inbound_events (workspace_id, event_id, provider, event_key, kind, payload, \
             received_at, at, send_id) \
         VALUES ($1, $2, 'capture', $3, 'mail', $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(workspace)
    .bind(event)
    .bind(event.to_string())
    .bind(vec![7_u8; 1_000])
    .bind(now.wall)
    .bind(now.campaign)
    .bind(row.sends[0])
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO signals (workspace_id, enrollment_id, seq, holds, source_key, event_id, at) \
         VALUES ($1, $2, 1, true, $3, $4, $5)",
    )
    .bind(workspace)
    .bind(row.enrollment)
    .bind(event.to_string())
    .bind(event)
    .bind(now.campaign)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE enrollments SET signal_seq = 1 WHERE workspace_id = $1 AND enrollment_id = $2",
    )
    .bind(workspace)
    .bind(row.enrollment)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut tx = conn.begin().await?;
    sqlx::query(
        "UPDATE signals SET kind = 'replied', signal = $3 \
         WHERE workspace_id = $1 AND enrollment_id = $2 AND seq = 1",
    )
    .bind(workspace)
    .bind(row.enrollment)
    .bind(reply)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE inbound_events SET processed_at = $3 WHERE workspace_id = $1 AND event_id = $2",
    )
    .bind(workspace)
    .bind(event)
    .bind(now.wall)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE enrollments SET wake_at = $3 WHERE workspace_id = $1 AND enrollment_id = $2",
    )
    .bind(workspace)
    .bind(row.enrollment)
    .bind(now.campaign)
    .execute(&mut *tx)
    .await?;
    shared.answered.lock().expect("no holder panics")[lead] = true;
    tx.commit().await?;
    shared.due.store(true, Ordering::SeqCst);
    shared.bell.notify_one();
    Ok(())
}
