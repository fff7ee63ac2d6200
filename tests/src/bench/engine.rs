//! A run of the Postgres engine, in this process, with a sender that accepts and does nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use activities::key_ring::KeyRing;
use activities::mailroom::Mailroom;
use activities::store::Store;
use activities::verify;
use anyhow::bail;
use postgres_runner::{Runner, Settings};
use sqlx::PgConnection;

use super::host::Reading;
use super::meter::Meter;
use super::replies::Replies;
use super::run::{Found, Job, LOOK, Measure, Stopwatch};
use super::{limit, server};

/// Connections of the engine.
const CONNECTIONS: u32 = 16;

/// A run that does nothing for so long is over, or stuck.
const STILL: Duration = Duration::from_millis(500);

/// A run that does nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// How long idleness is measured.
const IDLE: Duration = Duration::from_secs(10);

/// Does the job.
pub async fn work(job: &Job) -> anyhow::Result<Found> {
    let store = server::store(&job.url, CONNECTIONS).await?;
    let room = mailroom(&store)?;
    let meter = Meter::get();
    let replies = Replies::prepare(job, room.clone()).await?;
    let mut owner = server::connect(&job.url).await?;
    let settings = Settings { batch: job.batch, writers: job.writers, ..Settings::default() };
    let (watch, runner) = match job.due_at {
        // Asleep first: what is measured is the waking.
        Some(at) => {
            let runner = Runner::start(room, settings).await?;
            limit::wait_until(&mut owner, at).await?;
            (Stopwatch::start(job.watched())?, runner)
        }
        None => (Stopwatch::start(job.watched())?, Runner::start(room, settings).await?),
    };
    let mut replies = tokio::spawn(replies.run());
    let done = tokio::select! {
        done = until_done(job, meter, &mut owner) => done?,
        failed = async { match (&mut replies).await {
            Ok(Ok(())) => std::future::pending().await,
            failed => failed,
        } } => { failed??; Instant::now() }
    };
    let mut found = watch.stop(done)?;
    found.latencies_ms = meter.take_lags_ms();
    if job.measure == Measure::Sleep {
        found.idle = Some(idle(job).await?);
        found.rss_bytes = super::host::resident_bytes(std::process::id()).0;
    }
    runner.drain().await;
    store.close().await;
    Ok(found)
}

/// Furnishes what sends need.
pub fn mailroom(store: &Store) -> anyhow::Result<Mailroom> {
    Ok(Mailroom::new(
        store.clone(),
        Arc::new(KeyRing::generate()),
        "http://127.0.0.1:8080/".parse()?,
        None,
        uuid::Uuid::from_bytes(rand::random()),
    ))
}

/// Waits for the last commit and returns when it was.
async fn until_done(job: &Job, meter: &Meter, conn: &mut PgConnection) -> anyhow::Result<Instant> {
    let progress = || match job.measure {
        Measure::L | Measure::Sleep => meter.transitions(),
        Measure::Wake => meter.gated() as u64,
    };
    let expected = match job.measure {
        Measure::L | Measure::Sleep => job.transitions,
        Measure::Wake => Some(job.n),
    };
    let expected = expected.map_or(u64::MAX, i64::unsigned_abs);
    let (mut last, mut last_at) = (progress(), Instant::now());
    loop {
        tokio::time::sleep(LOOK).await;
        let now = progress();
        if now != last {
            (last, last_at) = (now, Instant::now());
        }
        let still = last_at.elapsed() > STILL;
        if (now >= expected || still) && job.measure == Measure::Wake {
            if now >= expected {
                return Ok(last_at);
            }
        } else if now >= expected || still {
            let (left,): (i64,) = sqlx::query_as(match job.measure {
                Measure::Sleep => "SELECT count(*) FROM enrollments WHERE state <> 'waiting'",
                Measure::L | Measure::Wake => {
                    "SELECT count(*) FROM enrollments WHERE ended_at IS NULL AND \
                     (wake_at IS NULL OR wake_at < now() + interval '12 hours')"
                }
            })
            .fetch_one(&mut *conn)
            .await?;
            if left == 0 {
                return Ok(last_at);
            }
            if last_at.elapsed() > STUCK {
                bail!("{left} leads are stuck after {last} transitions");
            }
            // Looking is work for the server.
            tokio::time::sleep(LOOK * 10).await;
        }
    }
}

/// Measures what the engine takes while nothing is to be done.
async fn idle(job: &Job) -> anyhow::Result<(super::host::CpuSeconds, f64)> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = Reading::take(job.watched())?;
    tokio::time::sleep(IDLE).await;
    let after = Reading::take(job.watched())?;
    Ok((after.since(&before), after.at().duration_since(before.at()).as_secs_f64()))
}

/// Checks that a run of L did what it should have done, no more and no less.
pub async fn check(job: &Job) -> anyhow::Result<i64> {
    let mut conn = server::connect(&job.url).await?;
    let (sends, pairs, leads, replied): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM sends WHERE state = 'accepted'), \
                (SELECT count(DISTINCT (enrollment_id, step_key)) FROM sends), \
                (SELECT count(*) FROM enrollments \
                 WHERE ended_at IS NOT NULL AND state IN ('finished', 'replied')), \
                (SELECT count(*) FROM enrollments WHERE version = 2 AND state = 'replied')",
    )
    .fetch_one(&mut conn)
    .await?;
    let replying = super::fill::replying(job.n);
    let expected = 3 * (job.n - replying) + replying;
    if (sends, pairs, leads, replied) != (expected, expected, job.n, replying) {
        bail!(
            "a run of {} leads must end with {expected} accepted sends, each step once, and \
             {replying} answered; it has {sends} of {pairs} steps, {leads} ended, {replied} answered",
            job.n
        );
    }
    let store = server::store(&job.url, 2).await?;
    let versions = activities::versions::Versions::default();
    for check in verify::verify(&store, &versions, job.campaign.workspace).await? {
        if check.broken > 0 {
            bail!("{} is broken {} times: {}", check.id, check.broken, check.holds);
        }
    }
    store.close().await;
    Ok(sends)
}
