//! The machine a run is measured on: what it is, how much processor time each side took, how long
//! its disk takes to keep a promise. Reads `/proc`, so figures exist on Linux alone.

use std::collections::HashMap;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// How many syncs the probe of the disk takes the median of.
const PROBES: usize = 40;

/// The processes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// The engine, or the client that plays the limit.
    pub engine: u32,
    /// The first process of the database server.
    pub postgres: u32,
    /// Temporal's server, where there is one of our own.
    pub temporal: Option<u32>,
}

impl Watched {
    /// Returns this process beside a database server.
    pub fn own(postgres: u32) -> Self {
        Self { engine: std::process::id(), postgres, temporal: None }
    }
}

/// Processor seconds, by who took them.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct CpuSeconds {
    /// The engine, or the client that plays the limit.
    pub engine: f64,
    /// The database server with all its processes.
    pub store: f64,
    /// Temporal's server, where there is one of our own.
    pub temporal: Option<f64>,
    /// Everything else on the machine.
    pub others: f64,
}

/// A reading of the clocks that only go up.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    at: Instant,
    cpu: CpuSeconds,
}

impl Reading {
    /// Reads all clocks.
    pub fn take(watched: Watched) -> anyhow::Result<Self> {
        let Watched { engine, postgres, temporal } = watched;
        let ticks = ticks_per_second();
        let processes = processes()?;
        let own = |pid: u32| processes.get(&pid).map_or(0.0, |it| it.own / ticks);
        let (engine, temporal) = (own(engine), temporal.map(own));
        let store: f64 = processes
            .iter()
            .filter(|(pid, it)| **pid == postgres || it.parent == postgres)
            .map(|(pid, it)| if *pid == postgres { it.own + it.reaped } else { it.own })
            .sum::<f64>()
            / ticks;
        let others = busy()? / ticks - engine - store - temporal.unwrap_or_default();
        Ok(Self { at: Instant::now(), cpu: CpuSeconds { engine, store, temporal, others } })
    }

    /// Returns what was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> CpuSeconds {
        CpuSeconds {
            engine: self.cpu.engine - earlier.cpu.engine,
            store: self.cpu.store - earlier.cpu.store,
            temporal: self.cpu.temporal.zip(earlier.cpu.temporal).map(|(now, then)| now - then),
            others: (self.cpu.others - earlier.cpu.others).max(0.0),
        }
    }

    /// Returns when it was taken.
    pub fn at(&self) -> Instant {
        self.at
    }
}

impl CpuSeconds {
    /// Returns what the run itself took, without the rest of the machine.
    pub fn of_run(&self) -> f64 {
        self.engine + self.store + self.temporal.unwrap_or_default()
    }
}

struct Process {
    parent: u32,
    /// Ticks of its own.
    own: f64,
    /// Ticks of children that have ended.
    reaped: f64,
}

fn processes() -> anyhow::Result<HashMap<u32, Process>> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end between the list and the look.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(process) = parse_stat(&stat) {
            all.insert(pid, process);
        }
    }
    Ok(all)
}

/// The name in parentheses may hold blanks and parentheses of its own.
fn parse_stat(stat: &str) -> Option<Process> {
    let rest = &stat[stat.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        own: ticks(11)? + ticks(12)?,
        reaped: ticks(13)? + ticks(14)?,
    })
}

/// Ticks in which a processor of the machine did anything for anybody.
fn busy() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<f64> =
        line.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system; then idle and waiting for disks; then interrupts of both kinds.
    Ok([0, 1, 2, 5, 6].iter().filter_map(|index| fields.get(*index)).sum())
}

#[expect(unsafe_code, reason = "the C library alone knows the length of a tick")]
#[expect(clippy::cast_precision_loss, reason = "it is 100")]
fn ticks_per_second() -> f64 {
    // SAFETY: sysconf reads a constant and touches no memory of ours.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

/// What a machine is.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    /// The processor's name.
    pub cpu: String,
    /// How many of its cores may be used.
    pub cores: usize,
    /// Memory, in MB.
    pub memory_mb: u64,
}

impl Host {
    /// Looks at this machine.
    pub fn look() -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
                .unwrap_or_default()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let memory = memory.split(' ').next().and_then(|kb| kb.parse::<u64>().ok());
        Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mb: memory.unwrap_or_default() / 1024,
        }
    }
}

/// Returns how much memory a process holds, and the most it has held, in bytes.
pub fn resident_bytes(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kb: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(kb * 1024)
    };
    (field("VmRSS:").unwrap_or_default(), field("VmHWM:").unwrap_or_default())
}

/// Forgets the most memory this process has held so far.
pub fn forget_resident_peak() {
    // Where the kernel refuses, the peak includes the preparation of the run.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Measures how long 8 KB take to be safe on the disk under `dir`: the median of forty, in
/// microseconds.
pub fn fdatasync_us(dir: &Path) -> anyhow::Result<u64> {
    let path = dir.join("fdatasync-probe");
    let mut file = fs::File::create(&path).context("cannot make a file to probe the disk with")?;
    let block = [7_u8; 8192];
    let mut times = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        let began = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    fs::remove_file(&path)?;
    times.sort_unstable();
    Ok(micros(times[PROBES / 2]))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::parse_stat;

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "42 (postgres: a) b) S 7 1 1 0 -1 0 0 0 0 0 11 12 13 14 20 0 1 0 0";
        let process = parse_stat(stat).unwrap();
        assert_eq!((process.parent, process.own, process.reaped), (7, 23.0, 27.0));
    }
}
