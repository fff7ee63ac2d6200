//! The server as our child: it never outlives us, and a Ctrl-C reaches us before it.

use std::{
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use super::{StartError, account::Account, binaries::Binaries, place::Place};
use crate::child;

/// How long sessions may take to end, before they are cut.
const FAST_LIMIT: Duration = Duration::from_secs(20);

/// How long a server may take to abandon everything.
const IMMEDIATE_LIMIT: Duration = Duration::from_secs(10);

/// A running server and the thread that waits for its end. Dropping it asks the server to stop.
#[derive(Debug)]
pub(super) struct Guardian {
    pid: u32,
    ended: watch::Receiver<Option<ExitStatus>>,
    needed: Arc<AtomicBool>,
}

impl Guardian {
    /// Runs `postgres` over `place` with each of `options` as a `-c`.
    pub(super) fn spawn(
        binaries: &Binaries,
        place: &Place,
        account: Option<&Account>,
        options: impl Iterator<Item = String>,
    ) -> Result<Self, StartError> {
        let program = binaries.dir.join("postgres");
        let command = command(&program, place, account, options)?;
        let needed = Arc::new(AtomicBool::new(false));
        let (pid, ended) = guard(command, Arc::clone(&needed), place.log.clone())
            .map_err(StartError::io("run", &program))?;
        Ok(Self { pid, ended, needed })
    }

    /// From here on an end that nobody asked for is an error in our log.
    pub(super) fn rely_on_it(&self) {
        self.needed.store(true, Ordering::Relaxed);
    }

    /// The server's process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the server has ended.
    pub(super) async fn ended(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await.map(|status| *status);
        status.ok().flatten().expect("the guardian reports the end before it goes")
    }

    /// Stops the server: sessions are cut and changes saved; if that takes too long, at once.
    pub(super) async fn stop(self) {
        self.signal(libc::SIGINT);
        if let Ok(status) = timeout(FAST_LIMIT, self.ended()).await {
            tracing::info!(postgres.pid = self.pid, postgres.status = %status, "stopped the private Postgres");
            return;
        }
        tracing::warn!(
            postgres.pid = self.pid,
            "the private Postgres is slow to stop: it abandons what it does and recovers at the next start"
        );
        self.signal(libc::SIGQUIT);
        if timeout(IMMEDIATE_LIMIT, self.ended()).await.is_err() {
            tracing::error!(postgres.pid = self.pid, "the private Postgres does not stop");
        }
    }

    fn signal(&self, signal: libc::c_int) {
        self.needed.store(false, Ordering::Relaxed);
        if self.ended.borrow().is_none()
            && let Err(error) = child::kill(self.pid, signal)
        {
            tracing::warn!(postgres.pid = self.pid, %error, "cannot signal the private Postgres");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.signal(libc::SIGINT);
    }
}

/// Whether a process of this number exists.
pub(super) fn is_alive(pid: u32) -> bool {
    // Another user's process answers that it is none of our business, which is an answer.
    child::kill(pid, 0)
        .or_else(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Ok(()),
            _ => Err(error),
        })
        .is_ok()
}

fn command(
    program: &Path,
    place: &Place,
    account: Option<&Account>,
    options: impl Iterator<Item = String>,
) -> Result<Command, StartError> {
    let log = place.open_log()?;
    let errors = log.try_clone().map_err(StartError::io("open", &place.log))?;
    let mut command = Command::new(program);
    command
        .arg("-D")
        .arg(&place.data)
        .args(options.flat_map(|option| ["-c".to_owned(), option]))
        .current_dir("/")
        .env_remove("PGDATA")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // A Ctrl-C is for us: the server has to outlive our last transaction.
        .process_group(0);
    if let Some(account) = account {
        account.run(&mut command);
    }
    child::die_with_us(&mut command, libc::SIGINT);
    Ok(command)
}

/// Runs `command` on a thread that lives exactly as long as the server: the kernel's signal is bound
/// to the thread that forked, and a thread of the runtime would end when it is idle.
fn guard(
    mut command: Command,
    needed: Arc<AtomicBool>,
    log: PathBuf,
) -> io::Result<(u32, watch::Receiver<Option<ExitStatus>>)> {
    let (started, starts) = mpsc::channel();
    let (end, ended) = watch::channel(None);
    thread::Builder::new().name("postgres-guardian".to_owned()).spawn(move || {
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                started.send(Err(error)).expect("the starter waits for the answer");
                return;
            }
        };
        started.send(Ok(child.id())).expect("the starter waits for the answer");
        let status = child.wait().expect("our own child can be waited for");
        if needed.load(Ordering::Relaxed) {
            tracing::error!(postgres.status = %status, postgres.log = %log.display(), "the private Postgres ended");
        }
        end.send_replace(Some(status));
    })?;
    let pid = starts.recv().expect("the guardian answers before it goes")?;
    Ok((pid, ended))
}
