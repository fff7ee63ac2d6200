//! The server of a benchmark: a private Postgres with the settings of the product's own, on a real
//! disk, and one new database for each run.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use activities::store::{Store, pool};
use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use server::private_postgres::{PrivatePostgres, Settings, start};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

/// Settings that are printed with every run.
const SHOWN: [&str; 9] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "wal_compression",
    "wal_sync_method",
    "data_checksums",
];

/// What must be on, or figures are about a database that forgets.
const SAFE: [&str; 3] = ["fsync", "synchronous_commit", "full_page_writes"];

/// The server.
pub struct Server {
    postgres: PrivatePostgres,
    place: tempfile::TempDir,
    databases: AtomicU64,
}

impl Server {
    /// Starts a server below `dir`, with an empty migrated template.
    /// `extra` are settings beside the product's own.
    pub async fn start(dir: &Path, extra: &[(String, String)]) -> anyhow::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("meridian-bench-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o711));
        }
        let place = builder.tempdir_in(dir).context("cannot make a place for the server")?;
        let settings = Settings {
            state_dir: place.path().to_owned(),
            database: "meridian".to_owned(),
            extra: extra.to_vec(),
        };
        let postgres = start(settings).await.context("the server does not start")?;
        let server = Self { postgres, place, databases: AtomicU64::new(0) };
        server.run("CREATE DATABASE template_meridian").await?;
        pool::migrate(&server.url("template_meridian")).await?;
        Ok(server)
    }

    /// Returns the server's first process.
    pub fn pid(&self) -> u32 {
        self.postgres.pid()
    }

    /// Returns the directory whose disk the server uses.
    pub fn dir(&self) -> PathBuf {
        self.place.path().to_owned()
    }

    /// Makes a new database and returns where it is.
    pub async fn database(&self) -> anyhow::Result<String> {
        let n = self.databases.fetch_add(1, Ordering::Relaxed);
        self.run(&format!("CREATE DATABASE run{n} TEMPLATE template_meridian")).await?;
        Ok(self.url(&format!("run{n}")))
    }

    /// Removes a database.
    pub async fn forget(&self, url: &str) -> anyhow::Result<()> {
        let name = url.rsplit('/').next().unwrap_or_default();
        self.run(&format!("DROP DATABASE {name} WITH (FORCE)")).await
    }

    /// Reads the settings that matter, and refuses those that could lose what was acknowledged.
    pub async fn settings(&self) -> anyhow::Result<Map<String, Value>> {
        let mut conn = connect(self.postgres.url()).await?;
        let mut shown = Map::new();
        for name in SHOWN {
            let (value,): (String,) =
                sqlx::query_as(AssertSqlSafe(format!("SHOW {name}"))).fetch_one(&mut conn).await?;
            if SAFE.contains(&name) && value == "off" {
                bail!("{name} is off: figures would be about a database that forgets");
            }
            shown.insert(name.to_owned(), json!(value));
        }
        conn.close().await?;
        Ok(shown)
    }

    /// Stops the server and removes its files.
    pub async fn stop(self) {
        self.postgres.stop().await;
    }

    fn url(&self, database: &str) -> String {
        let (server, _) = self.postgres.url().rsplit_once('/').expect("a URL names its database");
        format!("{server}/{database}")
    }

    async fn run(&self, sql: &str) -> anyhow::Result<()> {
        let mut conn = connect(self.postgres.url()).await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
        conn.close().await?;
        Ok(())
    }
}

/// Connects as the owner of everything, whom row security does not bind.
pub async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    let options: PgConnectOptions = url.parse()?;
    Ok(options.connect().await?)
}

/// Opens the store as the product does.
pub async fn store(url: &str, connections: u32) -> anyhow::Result<Store> {
    Ok(Store::open(url, connections).await?)
}

/// Begins to count statements, where the server was started with the module that can.
pub async fn count_statements(conn: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::raw_sql(
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT pg_stat_statements_reset()",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the statements that took longest, one line each.
pub async fn statements(conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let rows: Vec<(i64, f64, f64, i64, i64, String)> = sqlx::query_as(
        "SELECT calls, total_exec_time, total_exec_time / calls, rows, wal_bytes::bigint, \
                left(regexp_replace(query, '[[:space:]]+', ' ', 'g'), 150) \
         FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
         WHERE d.datname = current_database() ORDER BY total_exec_time DESC LIMIT 40",
    )
    .fetch_all(conn)
    .await?;
    let line = |(calls, total, mean, rows, wal, query): (i64, f64, f64, i64, i64, String)| {
        let wal = wal >> 10;
        format!("{total:9.1} ms {calls:7} calls {mean:8.3} ms {rows:8} rows {wal:7} kB {query}")
    };
    Ok(rows.into_iter().map(line).collect())
}

/// Makes a filled database ready for the clock: statistics and nothing left to write.
pub async fn settle(url: &str) -> anyhow::Result<()> {
    let mut conn = connect(url).await?;
    sqlx::raw_sql("ANALYZE; CHECKPOINT").execute(&mut conn).await?;
    conn.close().await?;
    Ok(())
}

/// Waits until every other connection to the database is gone, so that its statistics are whole.
pub async fn wait_until_alone(conn: &mut PgConnection) -> anyhow::Result<()> {
    for _ in 0..500 {
        let (others,): (i64,) = sqlx::query_as(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )
        .fetch_one(&mut *conn)
        .await?;
        if others == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("somebody stays connected to the database of the run")
}
