//! `make bench`: measures the Postgres engine against the limits it carries itself, and both engines on the
//! same leads.
#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use tests::bench::host::Host;
use tests::bench::run::{self, Job};
use tests::bench::suite::{Bare, Plan, Statements, Suite};
use tests::bench::temporal::Leads;
use tests::bench::temporal::worker::{self, Post};

/// Leads of the run on both engines.
const ON_BOTH: i64 = 1_000;

/// Measures the Postgres engine against plain SQL that writes the same rows, then the Temporal engine beside it.
#[derive(Debug, Parser)]
struct Options {
    /// Leads of a run; 20,000 of L, 10,000 of wake, 100,000 of sleep, 1,000 of temporal. Of webhooks: posts,
    /// 10,000. Where both L and temporal are measured, L's.
    #[arg(long)]
    n: Option<i64>,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Leads that sleep beside them; 100,000 of wake and webhooks. Of temporal: how many sleep, one figure
    /// after the other, `1000,5000,20000`. Where both L and temporal are measured, temporal's.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(i64).range(0..))]
    sleeping: Vec<i64>,
    /// What is measured, if not L and temporal.
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Leaves Temporal out, where no server can be had.
    #[arg(long, conflicts_with = "only")]
    without_temporal: bool,
    /// Leads in one transaction.
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Leaves the bare limit out.
    #[arg(long)]
    without_bare: bool,
    /// Counts statements and prints them after each run. It costs a little.
    #[arg(long)]
    statements: bool,
    /// A server setting beside the product's own, as NAME=VALUE.
    #[arg(long = "set", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Where the server keeps its files: on the disk that is measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// All leads from enrolled to ended.
    #[value(name = "l", alias = "L")]
    L,
    /// Many leads due at one instant.
    Wake,
    /// What a sleeping lead takes.
    Sleep,
    /// 10,000 webhooks a minute while leads sleep.
    Webhooks,
    /// The same leads on both engines, awake and asleep.
    Temporal,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    server::init_tls();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error")),
        )
        .with_writer(std::io::stderr)
        .init();
    if let Ok(job) = std::env::var(run::JOB) {
        let job: Job = serde_json::from_str(&job).context("the job makes no sense")?;
        println!("{}", serde_json::to_string(&run::work(&job).await?)?);
        return Ok(());
    }
    if let Ok(post) = std::env::var(worker::POST) {
        let post: Post = serde_json::from_str(&post).context("the post makes no sense")?;
        return worker::work(&post).await;
    }
    let options = Options::parse();
    let host = Host::look();
    let measures = options.measures();
    let leads = options.leads_of_temporal();
    let plan = options.plan(host.cores);
    println!("bench host cpu={:?} cores={} memory_mb={}", host.cpu, host.cores, host.memory_mb);
    let suite = Suite::begin(plan).await?;
    let settings: Vec<String> =
        suite.settings().iter().map(|(name, value)| format!("{name}={value}")).collect();
    println!("bench server {}", settings.join(" "));
    let mut say = |line: String| println!("{line}");
    let mut measured = Ok(());
    for measure in measures {
        measured = match measure {
            Only::L => suite.measure_l(&mut say).await,
            Only::Wake => suite.measure_wake(&mut say).await,
            Only::Sleep => suite.measure_sleep(&mut say).await,
            Only::Webhooks => suite.measure_webhooks(&mut say).await,
            Only::Temporal => suite.measure_temporal(&leads, &mut say).await,
        };
        if measured.is_err() {
            break;
        }
    }
    suite.end().await;
    measured
}

impl Options {
    fn measures(&self) -> Vec<Only> {
        match self.only {
            Some(only) => vec![only],
            None if self.without_temporal => vec![Only::L],
            None => vec![Only::L, Only::Temporal],
        }
    }

    fn leads_of_temporal(&self) -> Leads {
        let mut sleeping = self.sleeping.clone();
        if sleeping.is_empty() {
            sleeping.extend([1_000, 5_000, 20_000]);
        }
        sleeping.sort_unstable();
        let n = self.n.filter(|_| self.only == Some(Only::Temporal));
        Leads { n: n.unwrap_or(ON_BOTH), sleeping }
    }

    fn plan(self, cores: usize) -> Plan {
        let (n, sleeping) = match self.only {
            None | Some(Only::L | Only::Temporal) => (20_000, 0),
            Some(Only::Wake | Only::Webhooks) => (10_000, 100_000),
            Some(Only::Sleep) => (100_000, 0),
        };
        let beside = match self.only {
            None if !self.without_temporal => None,
            Some(Only::Temporal) => None,
            None | Some(Only::L | Only::Wake | Only::Sleep | Only::Webhooks) => {
                self.sleeping.first().copied()
            }
        };
        Plan {
            n: self.n.unwrap_or(n),
            pairs: self.pairs,
            sleeping: beside.unwrap_or(sleeping),
            batch: self.batch,
            writers: cores,
            dir: self.dir,
            extra: self.settings,
            statements: match self.statements {
                true => Statements::Counted,
                false => Statements::Ignored,
            },
            bare: if self.without_bare { Bare::Skip } else { Bare::Run },
        }
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
