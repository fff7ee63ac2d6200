//! What a run says: one line for people, one JSON object for programs.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::host::CpuSeconds;
use super::run::Rows;

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which measure.
    pub benchmark: &'static str,
    /// Who did the work.
    pub engine: &'static str,
    /// Leads that took part.
    pub n: i64,
    /// Leads that slept beside them.
    pub sleeping: i64,
    /// Leads in one transaction.
    pub batch: usize,
    /// Transactions at once.
    pub writers: usize,
    /// From the start to the last commit.
    pub seconds: f64,
    /// Leads a second.
    pub leads_s: f64,
    /// Turns that changed an enrollment, a second: 5.85 for each lead.
    pub transitions_s: f64,
    /// Messages that were accepted.
    pub sends: i64,
    /// Transactions that were committed.
    pub commits: i64,
    /// Times the log was forced to disk.
    pub wal_syncs: i64,
    /// Bytes of log.
    pub wal_bytes: i64,
    /// Rows inserted, updated, updated in their page and deleted, by table.
    pub rows: Rows,
    /// Processor seconds.
    pub cpu_s: CpuSeconds,
    /// The most memory the process held.
    pub rss_peak_bytes: u64,
    /// The memory it held in the end.
    pub rss_bytes: u64,
    /// Latencies, of measures that have any.
    pub ms: Option<Percentiles>,
    /// Bytes of the enrollments table for each lead.
    pub bytes_per_lead: Option<BytesPerLead>,
    /// Processor seconds of ten in which nothing was to be done.
    pub idle_cpu_s: Option<CpuSeconds>,
    /// How long 8 KB take to be safe, before and after.
    pub fdatasync_us: [u64; 2],
    /// The server's.
    pub settings: Map<String, Value>,
    /// The code's.
    pub revision: String,
    /// Wall time.
    pub started_at: DateTime<Utc>,
    /// Of an engine's run: its share of the full limit's rate in the same pair.
    pub ratio: Option<f64>,
    /// The statements that took longest, if they were counted.
    #[serde(skip)]
    pub statements: Vec<String>,
}

/// How latencies spread.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Percentiles {
    /// The middle.
    pub p50: f64,
    /// 95 of 100 are shorter.
    pub p95: f64,
    /// 99 of 100 are shorter.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// How much room a lead takes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BytesPerLead {
    /// The table itself.
    pub heap: f64,
    /// Its indexes.
    pub index: f64,
    /// Both.
    pub all: f64,
}

impl Percentiles {
    /// Returns how `values` spread; `None` if there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |percent: usize| values[(last * percent).div_ceil(100)];
        Some(Self { p50: at(50), p95: at(95), p99: at(99), max: values[last] })
    }
}

impl Report {
    /// Returns the line for people.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn line(&self) -> String {
        let n = self.n.max(1) as f64;
        let mut line = format!("bench {} engine={} n={}", self.benchmark, self.engine, self.n);
        if self.sleeping > 0 {
            let _ = write!(line, " sleeping={}", self.sleeping);
        }
        let _ = write!(
            line,
            " seconds={:.2} leads_s={} transitions_s={:.0} cpu_s_per_1000={:.3} \
             (engine {:.3}, postgres {:.3}{}) others_cores={:.2} commits={} wal_kb_per_lead={:.1} \
             rss_peak_mb={} fdatasync_us={}/{}",
            self.seconds,
            rate(self.leads_s),
            self.transitions_s,
            self.cpu_s.of_run() * 1e3 / n,
            self.cpu_s.engine * 1e3 / n,
            self.cpu_s.store * 1e3 / n,
            self.cpu_s
                .temporal
                .map(|it| format!(", temporal {:.3}", it * 1e3 / n))
                .unwrap_or_default(),
            self.cpu_s.others / self.seconds.max(1e-9),
            self.commits,
            self.wal_bytes as f64 / 1024.0 / n,
            self.rss_peak_bytes / (1 << 20),
            self.fdatasync_us[0],
            self.fdatasync_us[1],
        );
        if let Some(ms) = self.ms {
            let Percentiles { p50, p95, p99, max } = ms;
            let _ = write!(line, " ms p50={p50:.1} p95={p95:.1} p99={p99:.1} max={max:.1}");
        }
        if let Some(ratio) = self.ratio {
            let _ = write!(line, " ratio={ratio:.3}");
        }
        for statement in &self.statements {
            let _ = write!(line, "\n  {statement}");
        }
        line
    }

    /// Appends the object for programs.
    pub fn append(&self, file: &Path) -> anyhow::Result<()> {
        append(self, file)
    }
}

/// Appends the object of a run to a file.
pub fn append(object: &impl Serialize, file: &Path) -> anyhow::Result<()> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    let mut line = serde_json::to_string(object)?;
    line.push('\n');
    file.write_all(line.as_bytes())?;
    Ok(())
}

/// Writes a rate; of a low one its fraction counts.
pub fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// Returns the file that runs are appended to.
pub fn file() -> PathBuf {
    match std::env::var_os("BENCH_FILE") {
        Some(file) => file.into(),
        None => PathBuf::from("target/bench.jsonl"),
    }
}

/// Returns which code is measured, as far as that can be known.
pub fn revision() -> String {
    let git = |args: &[&str]| {
        let output =
            std::process::Command::new("git").args(args).output().context("no git").ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain"]).as_deref() {
        Some("") | None => head,
        Some(_) => format!("{head}+"),
    }
}

/// Returns the middle of some figures; of an even number, the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => f64::NAN,
        _ if n % 2 == 1 => values[n / 2],
        _ => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Percentiles, median};

    #[test]
    fn figures_are_summed_up_as_one_expects() {
        let hundred: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        let spread = Percentiles::of(hundred).unwrap();
        assert_eq!((spread.p50, spread.p95, spread.p99, spread.max), (50.0, 95.0, 99.0, 100.0));
        assert!(Percentiles::of(Vec::new()).is_none());
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])), (2.0, 2.5));
    }
}
