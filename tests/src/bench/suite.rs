//! The order of runs: pairs of limit and engine, the machine's noise, and what a pair comes to.

use std::path::PathBuf;

use activities::engine::Engine;
use activities::store::clock;
use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::fill::{self, Campaign, Group, Waits};
use super::report::{self, Percentiles, Report};
use super::run::{self, Counters, Driver, Found, Job, Measure, Rows};
use super::script::{self, Script};
use super::server::{self, Server};
use super::temporal::{self, Leads};
use super::{bare, engine, host, sleep, webhooks};

/// Above this share of a core, other work spoils a pair.
const NOISE_MAX: f64 = 0.3;

/// Leads of the sample from which the limit learns what to write.
const SAMPLE: i64 = 40;

/// How much less than the engine a limit may write and still be one.
const SHORT_MAX: f64 = 0.02;

/// Seconds between the fill and the instant at which all leads of a wake are due.
const WAKE_IN: i64 = 20;

/// What is measured, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Leads of a run.
    pub n: i64,
    /// Pairs of runs.
    pub pairs: usize,
    /// Leads that sleep beside them.
    pub sleeping: i64,
    /// Leads in one transaction.
    pub batch: usize,
    /// Transactions at once.
    pub writers: usize,
    /// Where the server keeps its files.
    pub dir: PathBuf,
    /// Whether the bare limit runs too.
    pub bare: Bare,
    /// Server settings beside the product's own.
    pub extra: Vec<(String, String)>,
    /// Whether statements are counted, which costs a little.
    pub statements: Statements,
}

/// Whether the server counts what each statement takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statements {
    /// It does, and they are printed after each run.
    Counted,
    /// It does not.
    Ignored,
}

/// Whether the bare limit runs with each pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// It does.
    Run,
    /// It does not.
    Skip,
}

/// A server and what is known about the place.
pub struct Suite {
    plan: Plan,
    server: Server,
    settings: Map<String, Value>,
    revision: String,
    sample: String,
    script: Script,
}

/// A pair and what it came to.
struct Pair {
    limit: Report,
    engine: Report,
    bare: Option<Report>,
}

impl Suite {
    /// Starts the server and takes the sample.
    pub async fn begin(mut plan: Plan) -> anyhow::Result<Self> {
        if plan.statements == Statements::Counted {
            let module = ("shared_preload_libraries".to_owned(), "pg_stat_statements".to_owned());
            plan.extra.push(module);
        }
        let server = Server::start(&plan.dir, &plan.extra).await?;
        let settings = server.settings().await?;
        let sample = server.database().await?;
        let script = take_sample(&server, &sample, &plan).await?;
        Ok(Self { plan, server, settings, revision: report::revision(), sample, script })
    }

    /// Returns the server.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Returns the code's revision.
    pub(super) fn revision(&self) -> &str {
        &self.revision
    }

    /// Returns the server's settings.
    pub fn settings(&self) -> &Map<String, Value> {
        &self.settings
    }

    /// Stops the server.
    pub async fn end(self) {
        self.server.stop().await;
    }

    /// Measures L. `say` gets each line as it is known.
    pub async fn measure_l(&self, say: &mut dyn FnMut(String)) -> anyhow::Result<()> {
        let mut pairs = Vec::new();
        let mut spoiled = 0;
        while pairs.len() < self.plan.pairs {
            let pair = self.pair(say).await?;
            let noise = |report: &Report| report.cpu_s.others / report.seconds;
            if noise(&pair.limit).max(noise(&pair.engine)) > NOISE_MAX {
                spoiled += 1;
                if spoiled <= self.plan.pairs {
                    say("bench L pair repeated: other work took over 0.3 of a core".to_owned());
                    continue;
                }
                say("bench L pair counted although other work took over 0.3 of a core".to_owned());
            }
            pairs.push(pair);
        }
        for line in summary(self.plan.n, &pairs) {
            say(line);
        }
        Ok(())
    }

    /// Measures the lag of many leads that are due at one instant, others asleep.
    pub async fn measure_wake(&self, say: &mut dyn FnMut(String)) -> anyhow::Result<()> {
        for driver in [Driver::Limit, Driver::Postgres] {
            let (url, campaign) = self.filled(Engine::Postgres).await?;
            let store = server::store(&url, 4).await?;
            fill::enroll(&store, campaign, Group::Asleep(self.plan.sleeping)).await?;
            let mut tx = store.begin(campaign.workspace).await?;
            let due_at = clock::read(&mut tx).await?.campaign + TimeDelta::seconds(WAKE_IN);
            drop(tx);
            fill::enroll(&store, campaign, Group::At(self.plan.n, due_at)).await?;
            store.close().await;
            let mut job = self.job(driver, Measure::Wake, &url, campaign);
            job.due_at = Some(due_at);
            let report = self.run("wake", &job).await?;
            say(report.line());
            self.server.forget(&url).await?;
        }
        Ok(())
    }

    /// Measures what a sleeping lead takes.
    pub async fn measure_sleep(&self, say: &mut dyn FnMut(String)) -> anyhow::Result<()> {
        let (url, campaign) = self.filled(Engine::Postgres).await?;
        let store = server::store(&url, 4).await?;
        fill::enroll(&store, campaign, Group::New(self.plan.n, Waits::Day)).await?;
        store.close().await;
        let mut job = self.job(Driver::Postgres, Measure::Sleep, &url, campaign);
        job.transitions = Some(3 * self.plan.n);
        let mut report = self.run("sleep", &job).await?;
        let sizes = sleep::measure(&url, self.plan.n).await?;
        report.bytes_per_lead = Some(sizes.packed);
        say(report.line());
        say(sizes.line(self.plan.n, &report));
        report.append(&report::file())?;
        self.server.forget(&url).await
    }

    /// Measures how webhooks are taken while leads sleep.
    pub async fn measure_webhooks(&self, say: &mut dyn FnMut(String)) -> anyhow::Result<()> {
        let n = usize::try_from(self.plan.n)?;
        webhooks::measure(&self.server, n, self.plan.sleeping, say).await
    }

    /// Measures the Temporal engine, and the Postgres engine beside it on the same leads.
    pub async fn measure_temporal(
        &self,
        leads: &Leads,
        say: &mut dyn FnMut(String),
    ) -> anyhow::Result<()> {
        temporal::measure(self, leads, &self.plan.dir, say).await
    }

    async fn pair(&self, say: &mut dyn FnMut(String)) -> anyhow::Result<Pair> {
        let limit = self.run_l(Driver::Limit).await?;
        say(limit.line());
        let mut engine = self.run_l(Driver::Postgres).await?;
        engine.ratio = Some(engine.leads_s / limit.leads_s);
        say(engine.line());
        engine.append(&report::file())?;
        compare(&limit, &engine, say)?;
        let bare = match self.plan.bare {
            Bare::Skip => None,
            Bare::Run => {
                let report = self.run_l(Driver::Bare).await?;
                say(report.line());
                Some(report)
            }
        };
        Ok(Pair { limit, engine, bare })
    }

    async fn run_l(&self, driver: Driver) -> anyhow::Result<Report> {
        let (url, campaign) = self.filled(Engine::Postgres).await?;
        if driver == Driver::Bare {
            bare::fill(&url, self.plan.n).await?;
        } else {
            let store = server::store(&url, 4).await?;
            fill::enroll(&store, campaign, Group::Asleep(self.plan.sleeping)).await?;
            fill::enroll(&store, campaign, Group::Mixed(self.plan.n)).await?;
            store.close().await;
        }
        let mut job = self.job(driver, Measure::L, &url, campaign);
        job.transitions = Some(self.transitions(self.plan.n));
        let mut report = self.run("L", &job).await?;
        if driver == Driver::Postgres {
            report.sends = engine::check(&job).await?;
        } else {
            report.append(&report::file())?;
        }
        self.server.forget(&url).await?;
        Ok(report)
    }

    /// Returns how many journal rows `n` leads of L make.
    pub(super) fn transitions(&self, n: i64) -> i64 {
        let replying = fill::replying(n);
        self.script.transitions(n - replying, replying)
    }

    /// Makes a database with a campaign and nobody in it.
    pub(super) async fn filled(&self, engine: Engine) -> anyhow::Result<(String, Campaign)> {
        let url = self.server.database().await?;
        let store = server::store(&url, 2).await?;
        let campaign = fill::campaign(&store, engine).await?;
        store.close().await;
        Ok((url, campaign))
    }

    /// Returns a job on all leads of a run.
    pub(super) fn job(
        &self,
        driver: Driver,
        measure: Measure,
        url: &str,
        campaign: Campaign,
    ) -> Job {
        Job {
            driver,
            measure,
            url: url.to_owned(),
            sample: (driver == Driver::Limit).then(|| self.sample.clone()),
            postgres: self.server.pid(),
            temporal: None,
            campaign,
            n: self.plan.n,
            transitions: None,
            due_at: None,
            batch: self.plan.batch,
            writers: self.plan.writers,
        }
    }

    /// Runs a job and counts what it did.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) async fn run(&self, benchmark: &'static str, job: &Job) -> anyhow::Result<Report> {
        server::settle(&job.url).await?;
        let mut conn = server::connect(&job.url).await?;
        if self.plan.statements == Statements::Counted {
            server::count_statements(&mut conn).await?;
        }
        let started_at = clock::read(&mut conn).await?.wall;
        let before = (Counters::read(&mut conn).await?, run::rows(&mut conn).await?);
        let probe = host::fdatasync_us(&self.server.dir())?;
        let found: Found = run::in_child(job).await?;
        server::wait_until_alone(&mut conn).await?;
        let after = (Counters::read(&mut conn).await?, run::rows(&mut conn).await?);
        let statements = match self.plan.statements {
            Statements::Counted => server::statements(&mut conn).await?,
            Statements::Ignored => Vec::new(),
        };
        let counters = after.0.since(&before.0);
        let sends = 3 * job.n - 2 * fill::replying(job.n);
        let leads_s = job.n as f64 / found.seconds;
        Ok(Report {
            benchmark,
            engine: match job.driver {
                Driver::Limit => "limit",
                Driver::Bare => "bare",
                Driver::Postgres => "postgres",
                Driver::Temporal => "temporal",
            },
            n: job.n,
            sleeping: self.plan.sleeping,
            batch: job.batch,
            writers: job.writers,
            seconds: found.seconds,
            leads_s,
            transitions_s: 5.85 * leads_s,
            sends,
            commits: counters.commits,
            wal_syncs: counters.wal_syncs,
            wal_bytes: counters.wal_bytes,
            rows: run::rows_since(&after.1, &before.1),
            cpu_s: found.cpu,
            rss_peak_bytes: found.rss_peak_bytes,
            rss_bytes: found.rss_bytes,
            ms: Percentiles::of(found.latencies_ms).filter(|_| job.measure == Measure::Wake),
            bytes_per_lead: None,
            idle_cpu_s: found.idle.map(|idle| idle.0),
            fdatasync_us: [probe, host::fdatasync_us(&self.server.dir())?],
            settings: self.settings.clone(),
            revision: self.revision.clone(),
            started_at,
            ratio: None,
            statements,
        })
    }
}

/// Lets the engine run a few leads while the database notes every row it writes.
async fn take_sample(server: &Server, url: &str, plan: &Plan) -> anyhow::Result<Script> {
    let store = server::store(url, 4).await?;
    let campaign = fill::campaign(&store, Engine::Postgres).await?;
    fill::enroll(&store, campaign, Group::Mixed(SAMPLE)).await?;
    store.close().await;
    let mut conn = server::connect(url).await?;
    sqlx::raw_sql(script::NOTE_ALL).execute(&mut conn).await?;
    let job = Job {
        driver: Driver::Postgres,
        measure: Measure::L,
        url: url.to_owned(),
        sample: None,
        postgres: server.pid(),
        temporal: None,
        campaign,
        n: SAMPLE,
        transitions: None,
        due_at: None,
        batch: plan.batch,
        writers: plan.writers,
    };
    run::in_child(&job).await.context("the sample could not be taken")?;
    engine::check(&job).await?;
    Script::read(&mut conn).await
}

/// Compares the rows both wrote; a limit that writes less than the engine is not its limit.
fn compare(limit: &Report, engine: &Report, say: &mut dyn FnMut(String)) -> anyhow::Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let per_lead = |rows: i64| rows as f64 / limit.n as f64;
    let written = |row: &[i64; 4]| row[0] + row[1];
    let total = |rows: &Rows| rows.values().map(written).sum::<i64>();
    let mut parts = Vec::new();
    let mut short = Vec::new();
    for (table, by_engine) in &engine.rows {
        let none = [0; 4];
        let by_limit = limit.rows.get(table).unwrap_or(&none);
        let (a, b) = (per_lead(written(by_limit)), per_lead(written(by_engine)));
        if b >= 0.01 || a >= 0.01 {
            parts.push(format!("{table} {a:.2}/{b:.2}"));
        }
        // What comes to little is judged with the sum alone.
        if b > 0.5 && a < b * (1.0 - SHORT_MAX) {
            short.push(table.clone());
        }
    }
    let (a, b) = (per_lead(total(&limit.rows)), per_lead(total(&engine.rows)));
    say(format!("bench L rows per lead, limit/engine: {}; all {a:.2}/{b:.2}", parts.join(", ")));
    if a < b * (1.0 - SHORT_MAX) {
        short.push("all tables together".to_owned());
    }
    if !short.is_empty() {
        bail!("the limit writes less than the engine, so it is no limit: {}", short.join(", "));
    }
    Ok(())
}

/// What all pairs come to.
fn summary(n: i64, pairs: &[Pair]) -> Vec<String> {
    let of = |figure: &dyn Fn(&Pair) -> Option<f64>| -> Vec<f64> {
        pairs.iter().filter_map(figure).collect()
    };
    let shown = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{:.3} ({least:.3}-{most:.3})", report::median(values))
    };
    let rate = |values: &[f64]| format!("{:.0}", report::median(values));
    let engine = of(&|pair| Some(pair.engine.leads_s));
    let limit = of(&|pair| Some(pair.limit.leads_s));
    let ratio = of(&|pair| pair.engine.ratio);
    let cpu = of(&|pair| Some(pair.limit.cpu_s.of_run() / pair.engine.cpu_s.of_run()));
    let mut lines = vec![format!(
        "bench L engine=postgres n={n} leads_s={} limit_leads_s={} ratio={} cpu_ratio={} pairs={}",
        rate(&engine),
        rate(&limit),
        shown(&ratio),
        shown(&cpu),
        pairs.len(),
    )];
    let bare = of(&|pair| Some(pair.engine.leads_s / pair.bare.as_ref()?.leads_s));
    if !bare.is_empty() {
        lines.push(format!(
            "bench L engine=postgres n={n} bare_leads_s={} ratio_to_bare={} limit_to_bare={}",
            rate(&of(&|pair| Some(pair.bare.as_ref()?.leads_s))),
            shown(&bare),
            shown(&of(&|pair| Some(pair.limit.leads_s / pair.bare.as_ref()?.leads_s))),
        ));
    }
    lines
}
