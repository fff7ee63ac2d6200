//! A development server of Temporal as our child, for those who name none: its database is a file in the
//! data directory, so workflows sleep on when it ends with us. One that runs on that file already is used as
//! it is; one that goes is started again, on the same port.

mod place;

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use place::{Claim, Place, ui_port};
use url::Url;

use crate::child;

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

/// How long it may take to answer one question.
const ANSWER: Duration = Duration::from_secs(5);

/// How often it is looked whether it answers by now.
const AGAIN: Duration = Duration::from_millis(50);

/// How often it is looked whether the server of another process still runs.
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
    place: Place,
    port: u16,
    stop: AtomicBool,
    /// Our child, while it runs.
    pid: Mutex<Option<u32>>,
    /// Why the last start came to nothing.
    failed: Mutex<Option<String>>,
}

/// Tells whether a server was ever started below `data_dir`.
pub fn was_started(data_dir: &Path) -> bool {
    Place::below(data_dir).last_port().is_some()
}

/// Returns where the pages are of the server that was started below `data_dir` last.
pub fn last_ui(data_dir: &Path) -> Option<Url> {
    Place::below(data_dir).last_port().map(|port| local(ui_port(port)))
}

fn local(port: u16) -> Url {
    Url::parse(&format!("http://127.0.0.1:{port}")).expect("a plain address")
}

impl TemporalServer {
    /// Starts a server below `data_dir`, or finds the one that is there.
    ///
    /// # Errors
    ///
    /// When there is no program to start, or it does not answer; with what to do.
    pub async fn start(data_dir: &Path) -> anyhow::Result<Self> {
        let place = Place::below(data_dir);
        place.make()?;
        let (port, claim) = settle(&place).await?;
        let shared = Arc::new(Shared {
            place,
            port,
            stop: AtomicBool::new(false),
            pid: Mutex::default(),
            failed: Mutex::default(),
        });
        let address = local(port);
        let watched = Arc::clone(&shared);
        let guardian = thread::Builder::new()
            .name("temporal-guardian".to_owned())
            .spawn(move || watched.keep(claim))
            .context("no thread for Temporal's server")?;
        let server = Self { address, shared, guardian: Some(guardian) };
        let began = Instant::now();
        while !temporal_runner::answers(&server.address, ANSWER).await {
            let failed = server.shared.failed.lock().expect("no holder panics").take();
            if let Some(why) = failed {
                server.stop().await;
                bail!("{why}: {FIX}");
            }
            if began.elapsed() > READY {
                let log = server.shared.place.log();
                server.stop().await;
                bail!("Temporal's server does not answer; its log is {}", log.display());
            }
            tokio::time::sleep(AGAIN).await;
        }
        let ui = local(ui_port(port));
        tracing::info!(
            temporal.address = %server.address,
            temporal.ui = %ui,
            "Temporal's server answers"
        );
        Ok(server)
    }

    /// Where it answers.
    pub fn address(&self) -> &Url {
        &self.address
    }

    /// Returns its process while it runs; nothing where it is another process's child.
    pub fn pid(&self) -> Option<u32> {
        *self.shared.pid.lock().expect("no holder panics")
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
    fn keep(&self, mut claim: Option<Claim>) {
        let mut pause = PAUSE;
        while !self.stop.load(Ordering::SeqCst) {
            let began = Instant::now();
            let claimed = claim.take().map_or_else(|| self.place.claim(), |claim| Ok(Some(claim)));
            let why = match claimed {
                // That of another process runs.
                Ok(None) => {
                    pause = PAUSE;
                    thread::park_timeout(LOOK);
                    continue;
                }
                Ok(Some(claim)) => match self.run(claim) {
                    Ok(status) => format!("Temporal's server ended ({status})"),
                    Err(error) => format!("`{PROGRAM}` cannot be run ({error})"),
                },
                Err(error) => format!("{} cannot be locked ({error})", self.place.dir().display()),
            };
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            tracing::error!(temporal.log = %self.place.log().display(), "{why}");
            *self.failed.lock().expect("no holder panics") = Some(why);
            if began.elapsed() > READY {
                pause = PAUSE;
            }
            thread::park_timeout(pause);
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    fn run(&self, claim: Claim) -> io::Result<std::process::ExitStatus> {
        let log = fs::File::options().create(true).append(true).open(self.place.log())?;
        let (port, ui_port) = (self.port.to_string(), ui_port(self.port).to_string());
        let mut command = Command::new(PROGRAM);
        command
            .args(["server", "start-dev", "--ip", "127.0.0.1", "--log-level", "warn"])
            .args(["--port", &port, "--ui-port", &ui_port])
            .arg("--db-filename")
            .arg(self.place.database())
            .args(
                temporal_runner::SEARCH_ATTRIBUTES
                    .iter()
                    .flat_map(|name| ["--search-attribute".to_owned(), format!("{name}=Keyword")]),
            )
            .current_dir(self.place.dir())
            // An empty file, and the lock on it, which lasts as long as the server then.
            .stdin(Stdio::from(claim.into_file()))
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
}

/// Finds the server that runs in `place`, or claims the place. Returns the port, with the claim.
async fn settle(place: &Place) -> anyhow::Result<(u16, Option<Claim>)> {
    let began = Instant::now();
    loop {
        let claimed = place.claim();
        let claimed = claimed.with_context(|| format!("cannot lock {}", place.dir().display()))?;
        if let Some(claim) = claimed {
            return Ok((place.choose_port(&claim)?, Some(claim)));
        }
        // Who claims the place chooses its port before anything else.
        if let Some(port) = place.last_port()
            && temporal_runner::answers(&local(port), ANSWER).await
        {
            return Ok((port, None));
        }
        if began.elapsed() > READY {
            let log = place.log();
            bail!("Temporal's server runs and does not answer; its log is {}", log.display());
        }
        tokio::time::sleep(AGAIN).await;
    }
}
