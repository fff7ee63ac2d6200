//! The throw-away Postgres of a test process: one cluster in memory with every durability setting
//! on, one migrated template, one database for each test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use activities::store::{Store, pool};
use server::private_postgres::{PrivatePostgres, Settings, start};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use crate::janitor;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static DATABASES: AtomicU64 = AtomicU64::new(0);

struct Cluster {
    url: Url,
    settings: Settings,
    server: Mutex<PrivatePostgres>,
    _place: tempfile::TempDir,
}

/// Ends the test cluster's server as a power cut would, and starts it again when `meanwhile` is over.
/// Every test of the process feels it.
///
/// # Panics
///
/// When there is no cluster yet, or it does not come back where it was.
pub async fn power_cut(meanwhile: impl Future<Output = ()>) {
    let cluster = CLUSTER.get().expect("a database was made before");
    let mut server = cluster.server.lock().await;
    let pid = libc::pid_t::try_from(server.pid()).expect("a process id");
    #[expect(unsafe_code, reason = "std has no call for it; kill takes two plain numbers")]
    let signal = |signal| unsafe { libc::kill(pid, signal) };
    assert_eq!(signal(libc::SIGQUIT), 0, "our own server can be told to drop everything");
    while signal(0) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    meanwhile.await;
    *server = start(cluster.settings.clone()).await.expect("the test cluster recovers");
    let url: Url = server.url().parse().expect("our own URL");
    assert_eq!(url.port(), cluster.url.port(), "it is back where it was");
}

/// One database, made from the migrated template.
#[derive(Debug, Clone)]
pub struct Database {
    /// Where it is, for the role that owns it.
    pub url: String,
}

impl Database {
    /// Makes a new database.
    pub async fn create() -> Self {
        let cluster = CLUSTER.get_or_init(Cluster::start).await;
        let n = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{n}");
        cluster.run(&format!("CREATE DATABASE {name} TEMPLATE template_meridian")).await;
        Self { url: cluster.url(&name) }
    }

    /// Makes another one with the same content. Nobody may be connected to this one.
    pub async fn copy(&self) -> Self {
        let cluster = CLUSTER.get().expect("a database was made before");
        let n = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{n}");
        cluster.run(&format!("CREATE DATABASE {name} TEMPLATE {}", self.name())).await;
        Self { url: cluster.url(&name) }
    }

    /// Removes it, and ends whoever is connected.
    pub async fn remove(self) {
        let cluster = CLUSTER.get().expect("a database was made before");
        cluster.run(&format!("DROP DATABASE {} WITH (FORCE)", self.name())).await;
    }

    fn name(&self) -> String {
        let url: Url = self.url.parse().expect("our own URL");
        url.path().trim_start_matches('/').to_owned()
    }

    /// Opens the store on it.
    pub async fn store(&self) -> Store {
        Store::open(&self.url, 16).await.expect("the test's database opens")
    }

    /// Connects as the owner of the tables, past row security's role but not past its walls.
    pub async fn owner(&self) -> sqlx::PgConnection {
        self.try_owner().await.expect("the test's database answers")
    }

    /// Connects as [`Database::owner`] does, if the server is up.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub async fn try_owner(&self) -> sqlx::Result<sqlx::PgConnection> {
        let options: PgConnectOptions = self.url.parse().expect("our own URL");
        options.connect().await
    }
}

impl Cluster {
    async fn start() -> Self {
        let parent = place();
        sweep_leftovers(&parent);
        let prefix = format!("meridian-test-{}-", std::process::id());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o711));
        }
        let place = builder.tempdir_in(parent).expect("a directory for the test cluster");
        janitor::remove_at_end(place.path());
        let settings = Settings {
            state_dir: place.path().to_owned(),
            database: "meridian".to_owned(),
            extra: vec![
                ("max_connections".to_owned(), "300".to_owned()),
                // Memory is not slow to write.
                ("wal_compression".to_owned(), "off".to_owned()),
            ],
        };
        let server = start(settings.clone()).await.expect("the test cluster starts");
        take_plain_passwords(&server).expect("the test cluster's files are ours");
        let url = server.url().parse().expect("our own URL");
        let cluster = Self { url, settings, server: Mutex::new(server), _place: place };
        cluster.run("SELECT pg_reload_conf()").await;
        cluster.run("CREATE DATABASE template_meridian").await;
        pool::migrate(&cluster.url("template_meridian")).await.expect("migrations apply");
        cluster
    }

    fn url(&self, database: &str) -> String {
        let mut url = self.url.clone();
        url.set_path(database);
        url.to_string()
    }

    async fn run(&self, sql: &str) {
        let options: PgConnectOptions = self.url.as_str().parse().expect("our own URL");
        let mut conn = options.connect().await.expect("the test cluster answers");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.expect("plain statements work");
        conn.close().await.expect("closing works");
    }
}

/// Lets passwords come over loopback as they are. The proof that SCRAM asks for takes a program without
/// optimisation longer than everything else that a test does.
fn take_plain_passwords(server: &PrivatePostgres) -> std::io::Result<()> {
    let rules = server.data_dir().join("pg_hba.conf");
    let text = std::fs::read_to_string(&rules)?;
    std::fs::write(&rules, text.replace("scram-sha-256", "password"))
}

/// Returns where servers of tests keep their files: in memory where there is some. Their settings are durable,
/// the disk need not be.
pub fn place() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
}

/// What the janitor of an earlier run could not remove, because it was killed too.
fn sweep_leftovers(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("meridian-test-"));
        let pid = pid.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
