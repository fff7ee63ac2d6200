//! Both engines on the same leads: L, where one drives it and where Temporal does, what Temporal records of
//! a lead, and what workers and server hold while leads sleep. Temporal's server is a development server of
//! our own, unless `TEMPORAL_ADDRESS` names one, whose process then is not measured.

pub mod sleeping;
pub mod worker;

use std::path::Path;
use std::time::{Duration, Instant};

use activities::engine::Engine;
use anyhow::{Context as _, bail};
use machine::ids::{EnrollmentId, WorkspaceId};
use serde::{Deserialize, Serialize};
use server::temporal_server::TemporalServer;
use sqlx::PgConnection;
use temporal_runner::onlooker::{Onlooker, Recorded, Standing};
use url::Url;
use uuid::Uuid;

use super::fill::{self, Group, Waits};
use super::report::{self, Report};
use super::run::{Driver, Job, Measure};
use super::suite::Suite;
use super::{engine, server as database};

/// How many histories are counted.
const HISTORIES: i64 = 20;

/// How many messages a lead gets that does not answer.
const MESSAGES: usize = 3;

/// How often workflows are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long workflows may take to come to rest after their leads have.
const REST: Duration = Duration::from_secs(60);

/// Leads that take part.
#[derive(Debug, Clone)]
pub struct Leads {
    /// Of the run from enrolled to ended.
    pub n: i64,
    /// That sleep, fewest first.
    pub sleeping: Vec<i64>,
}

/// Where Temporal is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Place {
    /// Its address; where there is none, as its own programs are told.
    pub address: Option<Url>,
    /// Its process, if it is ours.
    pub pid: Option<u32>,
}

/// What Temporal records of leads.
#[derive(Debug, Clone, Copy, Serialize)]
struct Histories {
    benchmark: &'static str,
    engine: &'static str,
    /// Leads whose histories were counted, of each kind.
    n: usize,
    /// Events of a lead that gets three messages, a timer between them.
    events_per_lead: f64,
    /// Those of them that only write search attributes.
    labels_per_lead: f64,
    /// Events of a lead of L, which never waits.
    events_per_lead_of_l: f64,
    /// Events of a poke that changes nothing.
    events_per_signal: f64,
}

/// Measures. `say` gets each line as it is known.
///
/// # Errors
///
/// When there is no server, or a run did more or less than it should have.
pub async fn measure(
    suite: &Suite,
    leads: &Leads,
    dir: &Path,
    say: &mut dyn FnMut(String),
) -> anyhow::Result<()> {
    if temporal_runner::address()?.is_some() {
        say("bench temporal server=yours: its processor time and memory are not measured, and \
             workflows that sleep stay there"
            .to_owned());
        return measure_at(suite, leads, &Place { address: None, pid: None }, say).await;
    }
    let data = tempfile::Builder::new().prefix("meridian-bench-").tempdir_in(dir)?;
    let server = TemporalServer::start(data.path()).await;
    let server = server.context("no Temporal to measure; --without-temporal leaves it out")?;
    let place = Place { address: Some(server.address().clone()), pid: server.pid() };
    let mut measured = measure_at(suite, leads, &place, say).await;
    if measured.is_ok() && server.pid() != place.pid {
        measured = Err(anyhow::anyhow!("Temporal's server ended in the middle"));
    }
    server.stop().await;
    measured
}

async fn measure_at(
    suite: &Suite,
    leads: &Leads,
    place: &Place,
    say: &mut dyn FnMut(String),
) -> anyhow::Result<()> {
    let onlooker = Onlooker::connect(place.address.as_ref()).await?;
    let (postgres, _) = run(suite, leads.n, None, &onlooker).await?;
    say(postgres.line());
    postgres.append(&report::file())?;
    let (mut temporal, of_l) = run(suite, leads.n, Some(place), &onlooker).await?;
    temporal.ratio = Some(temporal.leads_s / postgres.leads_s);
    say(temporal.line());
    temporal.append(&report::file())?;
    say(side_by_side(&postgres, &temporal));
    let histories = histories(suite, place, &onlooker, &of_l).await?;
    say(histories.line());
    report::append(&histories, &report::file())?;
    for place in [None, Some(place)] {
        sleeping::measure(suite, &leads.sleeping, place, say).await?;
    }
    Ok(())
}

/// Lets an engine take `n` leads of L from enrolled to ended. Returns what was recorded of some, where
/// Temporal did it.
async fn run(
    suite: &Suite,
    n: i64,
    place: Option<&Place>,
    onlooker: &Onlooker,
) -> anyhow::Result<(Report, Vec<Recorded>)> {
    let (url, campaign) = suite.filled(engine_of(place)).await?;
    let store = database::store(&url, 4).await?;
    fill::enroll(&store, campaign, Group::Mixed(n)).await?;
    store.close().await;
    let job = Job {
        n,
        temporal: place.cloned(),
        transitions: Some(suite.transitions(n)),
        ..suite.job(driver_of(place), Measure::L, &url, campaign)
    };
    let mut report = suite.run("temporal", &job).await?;
    report.sleeping = 0;
    report.sends = engine::check(&job).await?;
    let mut recorded = Vec::new();
    if place.is_some() {
        let mut owner = database::connect(&url).await?;
        for enrollment in some(&mut owner, Waits::None).await? {
            let workspace = campaign.workspace;
            recorded.push(at_rest(onlooker, workspace, enrollment, Standing::Completed).await?);
        }
    }
    suite.server().forget(&url).await?;
    Ok((report, recorded))
}

/// Counts the events of leads that wait a second between their messages, and of pokes to leads that sleep.
async fn histories(
    suite: &Suite,
    place: &Place,
    onlooker: &Onlooker,
    of_l: &[Recorded],
) -> anyhow::Result<Histories> {
    let (url, campaign) = suite.filled(Engine::Temporal).await?;
    let store = database::store(&url, 4).await?;
    fill::enroll(&store, campaign, Group::New(HISTORIES, Waits::Second)).await?;
    fill::enroll(&store, campaign, Group::New(HISTORIES, Waits::Month)).await?;
    store.close().await;
    let workspace = campaign.workspace;
    let mut worker = worker::Worker::start(&url, campaign, Some(place))?;
    let mut owner = database::connect(&url).await?;
    worker.until(&mut owner, worker::Goal::Ended(HISTORIES)).await?;
    worker.until(&mut owner, worker::Goal::Waiting(HISTORIES)).await?;
    let mut finished = Vec::new();
    for enrollment in some(&mut owner, Waits::Second).await? {
        finished.push(at_rest(onlooker, workspace, enrollment, Standing::Completed).await?);
    }
    let mut signals = Vec::new();
    for enrollment in some(&mut owner, Waits::Month).await? {
        let before = at_rest(onlooker, workspace, enrollment, Standing::Waiting).await?;
        onlooker.poke(workspace, enrollment).await?;
        let after = at_rest(onlooker, workspace, enrollment, Standing::Waiting).await?;
        signals.push(after.events - before.events);
    }
    worker.stop().await?;
    sleeping::check(&url, campaign, HISTORIES * 4).await?;
    suite.server().forget(&url).await?;
    let events = |recorded: &[Recorded]| mean(recorded.iter().map(|it| it.events));
    Ok(Histories {
        benchmark: "histories",
        engine: "temporal",
        n: finished.len(),
        events_per_lead: events(&finished),
        labels_per_lead: mean(finished.iter().map(|it| it.labels)),
        events_per_lead_of_l: events(of_l),
        events_per_signal: mean(signals.into_iter()),
    })
}

impl Histories {
    fn line(&self) -> String {
        format!(
            "bench histories engine={} n={} events_per_send={:.2} (of them labels {:.2}; target 12) \
             events_per_signal={:.2} (target 5) events_per_lead={:.1} events_per_send_of_l={:.2}",
            self.engine,
            self.n,
            per_message(self.events_per_lead),
            per_message(self.labels_per_lead),
            self.events_per_signal,
            self.events_per_lead,
            per_message(self.events_per_lead_of_l),
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn side_by_side(postgres: &Report, temporal: &Report) -> String {
    let cpu = |report: &Report| report.cpu_s.of_run() * 1e3 / report.n.max(1) as f64;
    format!(
        "bench temporal n={} leads_s={} postgres_leads_s={} ratio={:.4} cpu_s_per_1000={:.2} \
         postgres_cpu_s_per_1000={:.3} cpu_ratio={:.1}",
        temporal.n,
        report::rate(temporal.leads_s),
        report::rate(postgres.leads_s),
        temporal.leads_s / postgres.leads_s,
        cpu(temporal),
        cpu(postgres),
        cpu(temporal) / cpu(postgres),
    )
}

/// Waits until a workflow stands as it should, and returns what was recorded of it.
async fn at_rest(
    onlooker: &Onlooker,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    standing: Standing,
) -> anyhow::Result<Recorded> {
    let began = Instant::now();
    loop {
        let recorded = onlooker.recorded(workspace, enrollment).await?;
        if recorded.standing == standing {
            return Ok(recorded);
        }
        if began.elapsed() > REST {
            bail!("the workflow of {enrollment} is {:?}, not {standing:?}", recorded.standing);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Returns some of the leads that wait in one way.
async fn some(owner: &mut PgConnection, waits: Waits) -> anyhow::Result<Vec<EnrollmentId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT enrollment_id FROM enrollments WHERE version = $1 ORDER BY enrollment_id LIMIT $2",
    )
    .bind(waits.version())
    .bind(HISTORIES)
    .fetch_all(owner)
    .await?;
    Ok(ids.into_iter().map(EnrollmentId::new).collect())
}

fn engine_of(place: Option<&Place>) -> Engine {
    if place.is_some() { Engine::Temporal } else { Engine::Postgres }
}

fn driver_of(place: Option<&Place>) -> Driver {
    if place.is_some() { Driver::Temporal } else { Driver::Postgres }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per_message(events: f64) -> f64 {
    events / MESSAGES as f64
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mean(values: impl ExactSizeIterator<Item = usize>) -> f64 {
    let n = values.len().max(1);
    values.sum::<usize>() as f64 / n as f64
}
