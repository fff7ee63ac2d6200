//! `make bench`: measures the engine against the limits it carries itself.
#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use tests::bench::host::Host;
use tests::bench::run::{self, Job};
use tests::bench::suite::{Bare, Plan, Statements, Suite};

/// Measures the Postgres engine against plain SQL that writes the same rows.
#[derive(Debug, Parser)]
struct Options {
    /// Leads of a run; 20,000 of L, 10,000 of wake, 100,000 of sleep. Of webhooks: posts, 10,000.
    #[arg(long)]
    n: Option<i64>,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Leads that sleep beside them; 100,000 of wake and webhooks.
    #[arg(long)]
    sleeping: Option<i64>,
    /// What is measured.
    #[arg(long, value_enum, default_value_t = Only::L)]
    only: Only,
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
    let options = Options::parse();
    let host = Host::look();
    let (n, sleeping) = match options.only {
        Only::L => (20_000, 0),
        Only::Wake => (10_000, 100_000),
        Only::Sleep => (100_000, 0),
        Only::Webhooks => (10_000, 100_000),
    };
    let plan = Plan {
        n: options.n.unwrap_or(n),
        pairs: options.pairs,
        sleeping: options.sleeping.unwrap_or(sleeping),
        batch: options.batch,
        writers: host.cores,
        dir: options.dir,
        extra: options.settings,
        statements: match options.statements {
            true => Statements::Counted,
            false => Statements::Ignored,
        },
        bare: if options.without_bare { Bare::Skip } else { Bare::Run },
    };
    println!("bench host cpu={:?} cores={} memory_mb={}", host.cpu, host.cores, host.memory_mb);
    let suite = Suite::begin(plan).await?;
    let settings: Vec<String> =
        suite.settings().iter().map(|(name, value)| format!("{name}={value}")).collect();
    println!("bench server {}", settings.join(" "));
    let mut say = |line: String| println!("{line}");
    let measured = match options.only {
        Only::L => suite.measure_l(&mut say).await,
        Only::Wake => suite.measure_wake(&mut say).await,
        Only::Sleep => suite.measure_sleep(&mut say).await,
        Only::Webhooks => suite.measure_webhooks(&mut say).await,
    };
    suite.end().await;
    measured
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
