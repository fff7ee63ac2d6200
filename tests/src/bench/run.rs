//! One run: a process of its own does the work on a database of its own, so that its memory and its
//! processor time are nobody else's.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::fill::Campaign;
use super::host::{self, CpuSeconds, Reading, Watched};
use super::temporal::{Place, worker};
use super::{bare, engine, limit};

/// The variable in which a child finds its job.
pub const JOB: &str = "MERIDIAN_BENCH_JOB";

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// Plain SQL that writes the rows the engine writes.
    Limit,
    /// Plain SQL on the least tables that could do.
    Bare,
    /// The Postgres engine.
    Postgres,
    /// The Temporal engine.
    Temporal,
}

/// Which measure is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// All leads from enrolled to ended.
    L,
    /// Many leads due at one instant, which the database's campaign clock has yet to reach.
    Wake,
    /// One message each, then sleep.
    Sleep,
}

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Who does it.
    pub driver: Driver,
    /// What is measured.
    pub measure: Measure,
    /// The database.
    pub url: String,
    /// Where the sample of what the engine writes is.
    pub sample: Option<String>,
    /// The server's first process.
    pub postgres: u32,
    /// Temporal's server, of [`Driver::Temporal`].
    pub temporal: Option<Place>,
    /// The campaign.
    pub campaign: Campaign,
    /// Leads that take part.
    pub n: i64,
    /// How many journal rows there are in the end, where that is known.
    pub transitions: Option<i64>,
    /// The instant at which leads are due, of [`Measure::Wake`].
    pub due_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Leads in one transaction.
    pub batch: usize,
    /// Transactions at once.
    pub writers: usize,
}

impl Job {
    /// Returns the processes of the run: this one does the job.
    pub fn watched(&self) -> Watched {
        let temporal = self.temporal.as_ref().and_then(|place| place.pid);
        Watched { temporal, ..Watched::own(self.postgres) }
    }
}

/// What a child found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Found {
    /// From the start to the last commit.
    pub seconds: f64,
    /// Who worked for how long.
    pub cpu: CpuSeconds,
    /// The most memory the child held.
    pub rss_peak_bytes: u64,
    /// The memory it held in the end.
    pub rss_bytes: u64,
    /// Milliseconds, of measures of latency.
    pub latencies_ms: Vec<f64>,
    /// Processor seconds while nothing was to be done, and for how long.
    pub idle: Option<(CpuSeconds, f64)>,
}

/// Measures from the moment it is made.
pub struct Stopwatch {
    watched: Watched,
    began: Reading,
}

impl Stopwatch {
    /// Starts.
    pub fn start(watched: Watched) -> anyhow::Result<Self> {
        host::forget_resident_peak();
        Ok(Self { watched, began: Reading::take(watched)? })
    }

    /// Returns when it was started.
    pub fn began(&self) -> std::time::Instant {
        self.began.at()
    }

    /// Stops; the work was done at `done`.
    pub fn stop(&self, done: std::time::Instant) -> anyhow::Result<Found> {
        let cpu = Reading::take(self.watched)?.since(&self.began);
        let (rss_bytes, rss_peak_bytes) = host::resident_bytes(self.watched.engine);
        let seconds = done.duration_since(self.began.at()).as_secs_f64();
        Ok(Found { seconds, cpu, rss_peak_bytes, rss_bytes, ..Found::default() })
    }
}

/// Does a job in a process of its own.
pub async fn in_child(job: &Job) -> anyhow::Result<Found> {
    let output = tokio::process::Command::new(std::env::current_exe()?)
        .env(JOB, serde_json::to_string(job)?)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot start a run")?;
    if !output.status.success() {
        bail!("a run of {:?} failed ({})", job.driver, output.status);
    }
    serde_json::from_slice(&output.stdout).context("a run said something else than its figures")
}

/// Does a job in this process.
pub async fn work(job: &Job) -> anyhow::Result<Found> {
    match job.driver {
        Driver::Limit => limit::work(job).await,
        Driver::Bare => bare::work(job).await,
        Driver::Postgres => engine::work(job).await,
        Driver::Temporal => worker::drive(job).await,
    }
}

/// What a server counts of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Transactions that were committed in the database.
    pub commits: i64,
    /// Times the log was forced to disk.
    pub wal_syncs: i64,
    /// Bytes of log.
    pub wal_bytes: i64,
}

impl Counters {
    /// Reads them.
    pub async fn read(conn: &mut PgConnection) -> anyhow::Result<Self> {
        let (commits, wal_syncs, wal_bytes) = sqlx::query_as(
            "SELECT d.xact_commit, w.wal_sync, w.wal_bytes::bigint \
             FROM pg_stat_database d, pg_stat_wal w WHERE d.datname = current_database()",
        )
        .fetch_one(conn)
        .await?;
        Ok(Self { commits, wal_syncs, wal_bytes })
    }

    /// Returns what was added since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            commits: self.commits - earlier.commits,
            wal_syncs: self.wal_syncs - earlier.wal_syncs,
            wal_bytes: self.wal_bytes - earlier.wal_bytes,
        }
    }
}

/// Rows written, by table: inserted, updated, updated within their page, deleted.
pub type Rows = BTreeMap<String, [i64; 4]>;

/// Reads how many rows were written to each table so far.
pub async fn rows(conn: &mut PgConnection) -> anyhow::Result<Rows> {
    let rows: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT relname::text, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del \
         FROM pg_stat_user_tables",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(name, a, b, c, d)| (name, [a, b, c, d])).collect())
}

/// Returns what was written between two readings, tables without any left out.
pub fn rows_since(after: &Rows, before: &Rows) -> Rows {
    let none = [0; 4];
    after
        .iter()
        .map(|(name, after)| {
            let before = before.get(name).unwrap_or(&none);
            let mut delta = *after;
            delta.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
            (name.clone(), delta)
        })
        .filter(|(_, delta)| *delta != none)
        .collect()
}

/// How often a run looks whether it is over, where nothing tells it.
pub const LOOK: Duration = Duration::from_millis(5);
