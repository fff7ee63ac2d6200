//! The throw-away Postgres of a test process: one cluster in memory with every durability setting
//! on, one migrated template, one database for each test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use activities::store::{Store, pool};
use server::private_postgres::{PrivatePostgres, Settings, start};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::OnceCell;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static DATABASES: AtomicU64 = AtomicU64::new(0);

struct Cluster {
    server: PrivatePostgres,
    _place: tempfile::TempDir,
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

    /// Opens the store on it.
    pub async fn store(&self) -> Store {
        Store::open(&self.url, 16).await.expect("the test's database opens")
    }

    /// Connects as the owner of the tables, past row security's role but not past its walls.
    pub async fn owner(&self) -> sqlx::PgConnection {
        let options: PgConnectOptions = self.url.parse().expect("our own URL");
        options.connect().await.expect("the test's database answers")
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
        let settings = Settings {
            state_dir: place.path().to_owned(),
            database: "meridian".to_owned(),
            extra: vec![("max_connections".to_owned(), "300".to_owned())],
        };
        let server = start(settings).await.expect("the test cluster starts");
        let cluster = Self { server, _place: place };
        cluster.run("CREATE DATABASE template_meridian").await;
        pool::migrate(&cluster.url("template_meridian")).await.expect("migrations apply");
        cluster
    }

    fn url(&self, database: &str) -> String {
        let mut url = url::Url::parse(self.server.url()).expect("our own URL");
        url.set_path(database);
        url.to_string()
    }

    async fn run(&self, sql: &str) {
        let options: PgConnectOptions = self.server.url().parse().expect("our own URL");
        let mut conn = options.connect().await.expect("the test cluster answers");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.expect("plain statements work");
        conn.close().await.expect("closing works");
    }
}

/// Memory where there is some: the settings are durable, the disk need not be.
fn place() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
}

/// A static is never dropped, so the directory of an earlier run may still lie there.
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
