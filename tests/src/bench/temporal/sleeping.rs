//! What is held while leads sleep: they are enrolled, get one message each and wait thirty days, more and more
//! of them beside one worker, which has driven them all.

use std::fmt::Write as _;
use std::time::Duration;

use activities::engine::Engine;
use activities::store::clock;
use activities::verify;
use activities::versions::Versions;
use anyhow::bail;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::worker::{Goal, Worker};
use super::{Place, engine_of};
use crate::bench::fill::{self, Campaign, Group, Waits};
use crate::bench::host::{self, CpuSeconds, Reading, Watched};
use crate::bench::suite::Suite;
use crate::bench::{report, server};

/// How long idleness is measured, after a rest as long.
const IDLE: Duration = Duration::from_secs(5);

/// So many leads asleep.
#[derive(Debug, Clone, Serialize)]
struct Asleep<'a> {
    benchmark: &'static str,
    engine: Engine,
    /// Leads that sleep.
    sleeping: i64,
    /// Those of them that came last.
    n: i64,
    /// From the enrollment of those to the last one's sleep.
    seconds: f64,
    /// Leads a second that fell asleep.
    leads_s: f64,
    /// Processor seconds of that.
    cpu_s: CpuSeconds,
    /// Processor seconds of five in which nothing was to be done.
    idle_cpu_s: CpuSeconds,
    /// The memory the worker holds.
    worker_rss_bytes: u64,
    /// The memory Temporal's server holds, where it is ours.
    temporal_rss_bytes: Option<u64>,
    settings: &'a Map<String, Value>,
    revision: &'a str,
    started_at: DateTime<Utc>,
}

/// Measures at each of `steps`; on Temporal where there is a server, else on Postgres.
///
/// # Errors
///
/// When a lead got more or less than its one message.
pub async fn measure(
    suite: &Suite,
    steps: &[i64],
    place: Option<&Place>,
    say: &mut dyn FnMut(String),
) -> anyhow::Result<()> {
    let (url, campaign) = suite.filled(engine_of(place)).await?;
    let mut owner = server::connect(&url).await?;
    let mut worker = Worker::start(&url, campaign, place)?;
    let watched = Watched {
        engine: worker.pid(),
        postgres: suite.server().pid(),
        temporal: place.and_then(|place| place.pid),
    };
    let mut before = 0;
    // First with none, for what is held anyway.
    for sleeping in std::iter::once(0).chain(steps.iter().copied()) {
        let n = sleeping - before;
        let started_at = clock::read(&mut owner).await?.wall;
        let began = Reading::take(watched)?;
        let store = server::store(&url, 2).await?;
        fill::enroll(&store, campaign, Group::New(n, Waits::Month)).await?;
        store.close().await;
        let done = worker.until(&mut owner, Goal::Waiting(sleeping)).await?;
        let cpu_s = Reading::take(watched)?.since(&began);
        tokio::time::sleep(IDLE).await;
        let idle = Reading::take(watched)?;
        tokio::time::sleep(IDLE).await;
        let seconds = done.duration_since(began.at()).as_secs_f64();
        let asleep = Asleep {
            benchmark: "sleeping",
            engine: engine_of(place),
            sleeping,
            n,
            seconds,
            leads_s: figure(n) / seconds.max(1e-9),
            cpu_s,
            idle_cpu_s: Reading::take(watched)?.since(&idle),
            worker_rss_bytes: host::resident_bytes(watched.engine).0,
            temporal_rss_bytes: watched.temporal.map(|pid| host::resident_bytes(pid).0),
            settings: suite.settings(),
            revision: suite.revision(),
            started_at,
        };
        say(asleep.line());
        report::append(&asleep, &report::file())?;
        before = sleeping;
    }
    worker.stop().await?;
    check(&url, campaign, before).await?;
    suite.server().forget(&url).await
}

/// Checks that so many messages went out, each step of a lead once, and that the books are in order.
///
/// # Errors
///
/// When they are not.
pub async fn check(url: &str, campaign: Campaign, messages: i64) -> anyhow::Result<()> {
    let mut owner = server::connect(url).await?;
    let sends: (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE state = 'accepted'), \
                count(DISTINCT (enrollment_id, step_key)) FROM sends",
    )
    .fetch_one(&mut owner)
    .await?;
    if sends != (messages, messages) {
        let (accepted, steps) = sends;
        bail!("{messages} messages should have left; {accepted} were accepted, of {steps} steps");
    }
    let store = server::store(url, 2).await?;
    for check in verify::verify(&store, &Versions::default(), campaign.workspace).await? {
        if check.broken > 0 {
            bail!("{} is broken {} times: {}", check.id, check.broken, check.holds);
        }
    }
    store.close().await;
    Ok(())
}

impl Asleep<'_> {
    fn line(&self) -> String {
        let per_1000 = |seconds: f64| seconds * 1e3 / figure(self.n);
        let temporal = |seconds: Option<f64>| {
            seconds.map(|it| format!(", temporal {it:.2}")).unwrap_or_default()
        };
        let held = self.temporal_rss_bytes;
        let mut line = format!("bench sleeping engine={} sleeping={}", self.engine, self.sleeping);
        if self.n > 0 {
            let _ = write!(
                line,
                " n={} seconds={:.1} leads_s={} cpu_s_per_1000 (worker {:.2}, postgres {:.2}{})",
                self.n,
                self.seconds,
                report::rate(self.leads_s),
                per_1000(self.cpu_s.engine),
                per_1000(self.cpu_s.store),
                temporal(self.cpu_s.temporal.map(per_1000)),
            );
        }
        let _ = write!(
            line,
            " idle_5s_cpu_s (worker {:.2}, postgres {:.2}{}) worker_rss_mb={}{}",
            self.idle_cpu_s.engine,
            self.idle_cpu_s.store,
            temporal(self.idle_cpu_s.temporal),
            self.worker_rss_bytes >> 20,
            held.map(|bytes| format!(" temporal_rss_mb={}", bytes >> 20)).unwrap_or_default(),
        );
        line
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn figure(n: i64) -> f64 {
    n as f64
}
