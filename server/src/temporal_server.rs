//! A development server of Temporal as our child, for those who name none: its database is a file in the
//! data directory, so workflows sleep on when it ends with us. One that is there already is used as
//! it is; one that goes is started again, on the same port.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use url::Url;

use crate::child;

/// Where it lives, below the data directory.
const PLACE: &str = "temporal";

/// Keeps its port, there.
const PORT_FILE: &str = "port";

/// The program.
const PROGRAM: &str = "temporal";

/// How to come by it.
const FIX: &str = "name a server with TEMPORAL_ADDRESS, or put the program `temporal` on PATH for a \
                   development server of our own: \
                   go install github.com/temporalio/cli/cmd/temporal@v1.5.1";

/// How long it may take to answer.
const READY: Duration = Duration::from_secs(60);

/// How long it may take to end.
const END: Duration = Duration::from_secs(20);

/// How often it is looked whether a server of somebody else's still answers.
const LOOK: Duration = Duration::from_millis(500);

/// How long to wait before one that ended is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest such wait, where it ends again and again.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A development server that answers.
#[derive(Debug)]
pub struct TemporalServer {
    address: Url,
    shared: Arc<Shared>,
    guardian: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    place: PathBuf,
    port: u16,
    ui_port: u16,
    stop: AtomicBool,
    /// Our child, while it runs.
    pid: Mutex<Option<u32>>,
    /// Why the last start came to nothing.
    failed: Mutex<Option<String>>,
}

/// Returns where the pages are of the server that was started below `data_dir` last.
pub fn last_ui(data_dir: &Path) -> Option<Url> {
    let port = last_port(&data_dir.join(PLACE).join(PORT_FILE))?;
    Url::parse(&format!("http://127.0.0.1:{}", ui_port(port))).ok()
}

impl TemporalServer {
    /// Starts a server below `data_dir`, or finds the one that is there.
    ///
    /// # Errors
    ///
    /// When there is no program to start, or it does not answer; with what to do.
    pub async fn start(data_dir: &Path) -> anyhow::Result<Self> {
        let place = data_dir.join(PLACE);
        fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
        let port = port(&place.join(PORT_FILE))?;
        let ui_port = ui_port(port);
        let shared = Arc::new(Shared {
            place,
            port,
            ui_port,
            stop: AtomicBool::new(false),
            pid: Mutex::default(),
            failed: Mutex::default(),
        });
        let address = Url::parse(&format!("http://127.0.0.1:{port}")).context("a plain address")?;
        let watched = Arc::clone(&shared);
        let guardian = thread::Builder::new()
            .name("temporal-guardian".to_owned())
            .spawn(move || watched.keep())
            .context("no thread for Temporal's server")?;
        let server = Self { address, shared, guardian: Some(guardian) };
        let began = Instant::now();
        while !server.shared.answers() {
            let failed = server.shared.failed.lock().expect("no holder panics").take();
            if let Some(why) = failed {
                server.stop().await;
                bail!("{why}: {FIX}");
            }
            if began.elapsed() > READY {
                let log = server.shared.log();
                server.stop().await;
                bail!("Temporal's server does not answer; its log is {}", log.display());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let ui = format!("http://127.0.0.1:{}", server.shared.ui_port);
        tracing::info!(temporal.address = %server.address, temporal.ui = ui, "Temporal's server answers");
        Ok(server)
    }

    /// Where it answers.
    pub fn address(&self) -> &Url {
        &self.address
    }

    /// Stops the server, if it is ours, and waits until it is gone.
    pub async fn stop(mut self) {
        self.shared.end(libc::SIGTERM);
        let Some(guardian) = self.guardian.take() else { return };
        guardian.thread().unpark();
        let joined = tokio::task::spawn_blocking(move || guardian.join());
        let mut joined = std::pin::pin!(joined);
        if tokio::time::timeout(END, &mut joined).await.is_err() {
            tracing::warn!("Temporal's server is slow to end: it is killed");
            self.shared.end(libc::SIGKILL);
            // It is gone, or nobody can help.
            let _ = joined.await;
        }
    }
}

impl Drop for TemporalServer {
    fn drop(&mut self) {
        if self.guardian.is_some() {
            self.shared.end(libc::SIGTERM);
        }
    }
}

impl Shared {
    /// Keeps a server there. The thread lives as long as its child: the kernel's promise that the child
    /// ends with us is bound to it.
    fn keep(&self) {
        let mut pause = PAUSE;
        while !self.stop.load(Ordering::SeqCst) {
            if self.answers() {
                pause = PAUSE;
                thread::park_timeout(LOOK);
                continue;
            }
            let began = Instant::now();
            let why = match self.run() {
                Ok(status) => format!("Temporal's server ended ({status})"),
                Err(error) => format!("`{PROGRAM}` cannot be run ({error})"),
            };
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            tracing::error!(temporal.log = %self.log().display(), "{why}");
            *self.failed.lock().expect("no holder panics") = Some(why);
            if began.elapsed() > READY {
                pause = PAUSE;
            }
            thread::park_timeout(pause);
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    fn run(&self) -> io::Result<std::process::ExitStatus> {
        let log = fs::File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(PROGRAM);
        command
            .args(["server", "start-dev", "--ip", "127.0.0.1", "--log-level", "warn"])
            .args(["--port", &self.port.to_string(), "--ui-port", &self.ui_port.to_string()])
            .arg("--db-filename")
            .arg(self.place.join("server.db"))
            .args(
                temporal_runner::SEARCH_ATTRIBUTES
                    .iter()
                    .flat_map(|name| ["--search-attribute".to_owned(), format!("{name}=Keyword")]),
            )
            .current_dir(&self.place)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            // A Ctrl-C is for us: workflows have to outlive our last turn.
            .process_group(0);
        child::die_with_us(&mut command, libc::SIGTERM);
        let mut child = {
            let mut pid = self.pid.lock().expect("no holder panics");
            if self.stop.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let child = command.spawn()?;
            *pid = Some(child.id());
            child
        };
        let status = child.wait();
        *self.pid.lock().expect("no holder panics") = None;
        status
    }

    fn end(&self, signal: libc::c_int) {
        self.stop.store(true, Ordering::SeqCst);
        let pid = *self.pid.lock().expect("no holder panics");
        if let Some(pid) = pid
            && let Err(error) = child::kill(pid, signal)
        {
            tracing::warn!(temporal.pid = pid, %error, "cannot signal Temporal's server");
        }
    }

    fn answers(&self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        TcpStream::connect_timeout(&address, LOOK).is_ok()
    }

    fn log(&self) -> PathBuf {
        self.place.join("server.log")
    }
}

/// Its pages have a port that follows from the other one.
fn ui_port(port: u16) -> u16 {
    port.checked_add(1_000).unwrap_or_else(|| port - 1_000)
}

fn last_port(file: &Path) -> Option<u16> {
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok())
}

/// Returns the port of last time, which a server of somebody else's may have, else one that is free.
fn port(file: &Path) -> anyhow::Result<u16> {
    if let Some(last) = last_port(file) {
        return Ok(last);
    }
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    let port = free.local_addr().context("a listener has an address")?.port();
    fs::write(file, port.to_string())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(port)
}
