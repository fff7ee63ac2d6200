//! A worker in a process of its own, so that its memory and processor time are nobody else's: one that takes
//! a job of L through Temporal, or one that drives leads until it is told to stop, and is watched meanwhile.

use std::process::Stdio;
use std::time::{Duration, Instant};

use activities::mailroom::Mailroom;
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use temporal_runner::onlooker::{Onlooker, Standing};
use tokio::process::{Child, ChildStdin, Command};

use super::{LOOK, Place, at_rest, some};
use crate::bench::fill::{Campaign, Waits};
use crate::bench::replies::Replies;
use crate::bench::run::{Found, Job, Stopwatch};
use crate::bench::{engine, server};

/// The variable in which a worker finds its post.
pub const POST: &str = "MERIDIAN_BENCH_POST";

/// Connections of a worker.
const CONNECTIONS: u32 = 16;

/// Leads that come no further for so long are stuck.
const STUCK: Duration = Duration::from_secs(180);

/// Where a worker works until its input ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Post {
    /// The database.
    pub url: String,
    /// The campaign.
    pub campaign: Campaign,
    /// Temporal's server; without one, Postgres drives the leads.
    pub temporal: Option<Place>,
}

/// A worker at its post.
pub struct Worker {
    process: Child,
    pid: u32,
    /// It stops when this ends.
    input: ChildStdin,
}

/// How far leads are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// So many have ended.
    Ended(i64),
    /// So many wait after a message.
    Waiting(i64),
}

/// The engines of a worker: that of Postgres does the chores for all.
struct Engines {
    postgres: postgres_runner::Runner,
    temporal: Option<temporal_runner::Runner>,
}

/// Does a job of L through Temporal, in this process.
///
/// # Errors
///
/// When the leads come no further.
pub async fn drive(job: &Job) -> anyhow::Result<Found> {
    let place = job.temporal.as_ref().context("the job has no server")?;
    let store = server::store(&job.url, CONNECTIONS).await?;
    let room = engine::mailroom(&store)?;
    let replies = Replies::prepare(job, room.clone()).await?;
    let mut owner = server::connect(&job.url).await?;
    let watch = Stopwatch::start(job.watched())?;
    let engines = Engines::start(room, job.campaign, Some(place)).await?;
    let mut replies = tokio::spawn(replies.run());
    let done = tokio::select! {
        done = until(&mut owner, Goal::Ended(job.n), || Ok(())) => done?,
        failed = async { match (&mut replies).await {
            Ok(Ok(())) => std::future::pending().await,
            failed => failed,
        } } => { failed??; Instant::now() }
    };
    let found = watch.stop(done)?;
    // Their histories are to be whole.
    let onlooker = Onlooker::connect(place.address.as_ref()).await?;
    for enrollment in some(&mut owner, Waits::None).await? {
        let workspace = job.campaign.workspace;
        at_rest(&onlooker, workspace, enrollment, Standing::Completed).await?;
    }
    engines.drain().await;
    store.close().await;
    Ok(found)
}

/// Works at a post, in this process, until its input ends.
///
/// # Errors
///
/// When the database does not answer.
pub async fn work(post: &Post) -> anyhow::Result<()> {
    let store = server::store(&post.url, CONNECTIONS).await?;
    let room = engine::mailroom(&store)?;
    let engines = Engines::start(room, post.campaign, post.temporal.as_ref()).await?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await??;
    engines.drain().await;
    store.close().await;
    Ok(())
}

impl Engines {
    async fn start(
        room: Mailroom,
        campaign: Campaign,
        place: Option<&Place>,
    ) -> anyhow::Result<Self> {
        let usual = postgres_runner::Settings::default();
        let postgres = postgres_runner::Runner::start(room.clone(), usual).await?;
        let temporal = place.map(|place| {
            let settings = temporal_runner::Settings {
                address: place.address.clone(),
                // What other runs left behind is not for us.
                queues: format!("bench-{}", campaign.workspace),
                ..temporal_runner::Settings::default()
            };
            temporal_runner::Runner::start(room, settings)
        });
        Ok(Self { postgres, temporal: temporal.transpose()? })
    }

    async fn drain(self) {
        if let Some(temporal) = self.temporal {
            temporal.drain().await;
        }
        self.postgres.drain().await;
    }
}

impl Worker {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// When there is no process to be had.
    pub fn start(url: &str, campaign: Campaign, temporal: Option<&Place>) -> anyhow::Result<Self> {
        let post = Post { url: url.to_owned(), campaign, temporal: temporal.cloned() };
        let mut process = Command::new(std::env::current_exe()?)
            .env(POST, serde_json::to_string(&post)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a worker")?;
        let pid = process.id().context("a worker that was just started runs")?;
        let input = process.stdin.take().context("a worker has an input")?;
        Ok(Self { process, pid, input })
    }

    /// Returns its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until leads have come so far, and returns when that was.
    ///
    /// # Errors
    ///
    /// When they come no further, or the worker ends.
    pub async fn until(&mut self, owner: &mut PgConnection, goal: Goal) -> anyhow::Result<Instant> {
        until(owner, goal, || match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("a worker ended ({status})"),
        })
        .await
    }

    /// Stops it in order.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.input);
        let status = self.process.wait().await?;
        if !status.success() {
            bail!("a worker failed ({status})");
        }
        Ok(())
    }
}

async fn until(
    owner: &mut PgConnection,
    goal: Goal,
    mut alive: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Instant> {
    let (query, enough) = match goal {
        Goal::Ended(n) => ("SELECT count(*) FROM enrollments WHERE ended_at IS NOT NULL", n),
        Goal::Waiting(n) => (
            "SELECT count(*) FROM enrollments WHERE ended_at IS NULL AND turn > 0 AND state = 'waiting'",
            n,
        ),
    };
    let (mut last, mut last_at) = (0, Instant::now());
    loop {
        let now: i64 = sqlx::query_scalar(query).fetch_one(&mut *owner).await?;
        if now != last {
            (last, last_at) = (now, Instant::now());
        }
        if now >= enough {
            return Ok(last_at);
        }
        alive()?;
        if last_at.elapsed() > STUCK {
            bail!("{} of {enough} leads are stuck", enough - now);
        }
        tokio::time::sleep(LOOK).await;
    }
}
