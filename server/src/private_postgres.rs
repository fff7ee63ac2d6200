//! The private Postgres: a server found on this machine, run as our child over files of our own.
//!
//! `meridian up` uses it when no database is named, tests use it for their throw-away cluster. This
//! module owns the files below `<state directory>/postgres` and the life of the server; it knows
//! neither tables nor roles, and it never touches a server that it or a process like it did not
//! start.

mod account;
mod binaries;
mod cluster;
mod database;
mod guardian;
mod holder;
mod keeper;
mod patience;
mod place;
mod server;

use std::{
    env, io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use guardian::Guardian;
pub use keeper::Keeper;
use place::Place;

/// The role that owns the cluster and its databases.
const OWNER: &str = "meridian";

/// What a private Postgres is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory that holds the cluster, in a `postgres` directory of its own. Created if absent.
    pub state_dir: PathBuf,
    /// The database to connect to: lower-case letters, digits and `_`. Created if absent.
    pub database: String,
    /// Server settings that go before ours, such as `("max_connections", "300")`; without effect on
    /// a server that runs already.
    pub extra: Vec<(String, String)>,
}

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No directory holds both `postgres` and `initdb`.
    #[error(
        "no PostgreSQL server on this machine: install one (Debian: apt-get install postgresql), \
         or set MERIDIAN_PG_BIN to the directory of postgres and initdb, or DATABASE_URL to a \
         database that runs elsewhere"
    )]
    NoBinaries,
    /// `MERIDIAN_PG_BIN` names a directory without a working server.
    #[error("MERIDIAN_PG_BIN={dir} holds no working postgres and initdb: correct or unset it")]
    UnusableBinaries {
        /// The directory as given.
        dir: PathBuf,
    },
    /// The cluster needs another major version than the machine has.
    #[error(
        "{data} was made by PostgreSQL {cluster}, and this machine offers {}: install PostgreSQL \
         {cluster}, or move the cluster over with pg_upgrade", offered(.found)
    )]
    OtherMajor {
        /// The data directory.
        data: PathBuf,
        /// The major version that made the cluster.
        cluster: u32,
        /// The major versions found.
        found: Vec<u32>,
    },
    /// Started by root, and there is nobody else to run the server as.
    #[error(
        "PostgreSQL refuses to run as root and there is no user postgres or nobody: set \
         MERIDIAN_PG_USER to an unprivileged user"
    )]
    NoAccount,
    /// `MERIDIAN_PG_USER` cannot run the server.
    #[error("MERIDIAN_PG_USER={0} is not an unprivileged user of this machine")]
    UnusableAccount(String),
    /// The server's user cannot reach its own files.
    #[error(
        "{account} cannot enter {dir} (mode {mode:o}): run `chmod o+x {dir}`, or choose another \
         place with --data-dir"
    )]
    Blocked {
        /// Who would run the server.
        account: String,
        /// The directory in the way.
        dir: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process holds the lock for longer than a start takes.
    #[error("another process has been starting the cluster in {0} for minutes: end it")]
    Busy(PathBuf),
    /// There is a cluster and no password for it.
    #[error(
        "{data} has lost its password file {password}: restore it, or move {data} away to start \
         with an empty database"
    )]
    NoPassword {
        /// The data directory.
        data: PathBuf,
        /// Where the password should be.
        password: PathBuf,
    },
    /// `initdb` failed; what it said is in the message.
    #[error("initdb ({status}) could not make a cluster in {data}: {output}")]
    Initdb {
        /// The data directory.
        data: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        output: String,
    },
    /// The server ended before it was ready.
    #[error("postgres ended while starting ({status}); the end of {log}:\n{tail}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The server neither became ready nor ended.
    #[error("postgres was not ready after {} s; the end of {log}:\n{tail}", patience::LIMIT.as_secs())]
    NotReady {
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A server runs on our files and cannot be used.
    #[error(
        "a server (process {pid}) runs on {data} and does not answer: end it with `kill {pid}`"
    )]
    NotAnswering {
        /// The server's process.
        pid: u32,
        /// The data directory.
        data: PathBuf,
        /// What it said last, if it was reached.
        source: Option<sqlx::Error>,
    },
    /// The name is not one we are willing to create.
    #[error("{0:?} is no database name: use up to 63 lower-case letters, digits and _")]
    DatabaseName(String),
    /// The server runs, the database cannot be opened or made.
    #[error("cannot open or create the database {name}")]
    Database {
        /// The database.
        name: String,
        /// What the server or the connection said.
        source: sqlx::Error,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What we wanted to do.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// No port on 127.0.0.1 is free.
    #[error("no port is free on 127.0.0.1")]
    NoPort(#[source] io::Error),
}

impl StartError {
    /// Makes an operating system's refusal name what was wanted.
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

fn offered(majors: &[u32]) -> String {
    if majors.is_empty() {
        return "none".to_owned();
    }
    majors.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// A private Postgres that answers.
///
/// The process that started the server owns it: the server stops when this value is dropped, when
/// [`stop`](Self::stop) is called and, on Linux, when the process dies in whatever way. A process
/// that found it running is attached: it never stops the server, and loses it when the owner goes,
/// unless a [`Keeper`] starts it again.
#[derive(Debug)]
pub struct PrivatePostgres {
    url: String,
    data: PathBuf,
    pid: u32,
    guardian: Option<Guardian>,
}

impl PrivatePostgres {
    /// The connection URL, password included: not for logs.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether another process owns the server.
    pub fn attached(&self) -> bool {
        self.guardian.is_none()
    }

    /// The server's own data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the server's process is there.
    pub fn is_running(&self) -> bool {
        holder::is_server(self.pid, &self.data)
    }

    /// Stops the server and waits until it is gone; does nothing if attached.
    ///
    /// Open sessions are ended and their transactions rolled back. What does not end within twenty
    /// seconds is told to abandon everything; the next start then recovers from its log.
    pub async fn stop(mut self) {
        if let Some(guardian) = self.guardian.take() {
            guardian.stop().await;
        }
    }
}

/// Returns the directory of the server's programs that a start below `state_dir` would use, and
/// their major version.
///
/// # Errors
///
/// [`StartError`], when there are none that fit.
pub fn programs(state_dir: &Path) -> Result<(PathBuf, u32), StartError> {
    let data = state_dir.join("postgres").join("data");
    let major = std::fs::read_to_string(data.join("PG_VERSION")).ok();
    let binaries = binaries::find(
        env::var_os("MERIDIAN_PG_BIN").as_deref().map(Path::new),
        env::var_os("PATH").as_deref(),
        &data,
        major.as_deref().and_then(|text| text.trim().parse().ok()),
    )?;
    Ok((binaries.dir, binaries.major))
}

/// The state directory to use where none is given.
///
/// Root's is `/var/lib/meridian`, because root's home is usually closed to the user the server
/// runs as. Everyone else's is `$XDG_STATE_HOME/meridian`, else `~/.local/state/meridian`.
pub fn default_state_dir() -> PathBuf {
    if account::is_root() {
        return PathBuf::from("/var/lib/meridian");
    }
    env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".local/state")))
        .unwrap_or_default()
        .join("meridian")
}

/// Starts the private Postgres, or attaches to the one that runs on the same files.
///
/// Reads `MERIDIAN_PG_BIN` (where the server's programs are) and `MERIDIAN_PG_USER` (whom root runs
/// them as). Safe to call from several processes at once: one starts, the others attach.
///
/// # Errors
///
/// [`StartError`], each with the way out of it.
pub async fn start(settings: Settings) -> Result<PrivatePostgres, StartError> {
    database::check_name(&settings.database)?;
    let place = Place::create(&settings.state_dir)?;
    let lock = place.lock().await?;

    let cluster_major = cluster::major(&place)?;
    let wanted = env::var("MERIDIAN_PG_USER").ok();
    let account = account::choose(&place.data, wanted.as_deref())?;
    account::check_way(&place.data, account.as_ref())?;
    let binaries = binaries::find(
        env::var_os("MERIDIAN_PG_BIN").as_deref().map(Path::new),
        env::var_os("PATH").as_deref(),
        &place.data,
        cluster_major,
    )?;
    if cluster_major.is_none() {
        cluster::create(&place, &binaries, account.as_ref()).await?;
    }
    let password = cluster::password(&place)?;

    let url = |port| format!("postgres://{OWNER}:{password}@127.0.0.1:{port}");
    let running = match server::attach(&place, &settings.database, url).await? {
        Some(running) => running,
        None => server::start(&place, &binaries, account.as_ref(), &settings, url).await?,
    };
    drop(lock);
    Ok(running)
}
