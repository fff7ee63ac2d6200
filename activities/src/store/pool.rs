//! The connections. Every one works as `meridian_app`, a role that owns nothing and is bound by
//! row security; every transaction names its workspace first.

use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::Duration;

use machine::ids::WorkspaceId;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, Postgres, Transaction,
};

use super::changes;
use crate::changes::{News, written};
use crate::error::{ActivityError, Result};

/// The numbered SQL of this build.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The settings without which an acknowledged write may be lost.
const SAFETY: [&str; 3] = ["fsync", "full_page_writes", "synchronous_commit"];

/// How long after its last use a connection counts as alive without being asked.
const PROVEN: Duration = Duration::from_secs(2);

/// How long a connection is waited for. Shorter than an HTTP answer may take, so that a request hears of
/// an outage, and runners too, before whoever asked has gone.
const ACQUIRE: Duration = Duration::from_secs(10);

/// How long a transaction may rest between two statements: as long as a runner may be silent. One that
/// is frozen in the middle of a transaction must not hold its locks longer than its calls.
const IDLE_IN_TRANSACTION: &str = "15s";

/// Taken while roles are made, which belong to the whole cluster.
const ROLES_LOCK: i64 = 0x6d65_7269_6469_616e;

/// The way to the database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

/// A transaction inside one workspace. Dropped without [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Postgres>,
    workspace: WorkspaceId,
    news: Vec<News>,
}

/// How the connections of a pool are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Lent out.
    pub busy: u32,
    /// Open, and lent to nobody.
    pub idle: u32,
    /// How many there may be.
    pub max: u32,
}

impl Store {
    /// Opens a pool of at most `connections`, and refuses a database that could lose what it
    /// acknowledged.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, may not be worked on as `meridian_app`, or runs with
    /// one of `fsync`, `full_page_writes` and `synchronous_commit` off.
    pub async fn open(url: &str, connections: u32) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)?
            .application_name("meridian")
            .options([
                ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
                // The warning of a connection that is cleaned up is nobody's trouble.
                ("client_min_messages", "error"),
            ])
            .log_slow_statements(log::LevelFilter::Debug, Duration::from_secs(1));
        let mut conn = options.connect().await?;
        let role = confine(&mut conn).await?;
        tracing::debug!(db.role = role, "connected");
        check_safety(&mut conn).await?;
        conn.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            .after_connect(|conn, _| {
                Box::pin(async move {
                    sqlx::query("SET ROLE meridian_app").execute(conn).await?;
                    Ok(())
                })
            })
            // Asking each time would cost a round trip for every transaction.
            .test_before_acquire(false)
            .before_acquire(|conn, connection| {
                Box::pin(async move {
                    if connection.idle_for > PROVEN {
                        conn.ping().await?;
                    }
                    Ok(true)
                })
            })
            // A dropped future can leave a transaction open that nobody will commit; the next
            // borrower's writes would be lost with it. BEGIN warns only in that case.
            .after_release(|conn, _| {
                Box::pin(async move {
                    sqlx::raw_sql("BEGIN; ROLLBACK").execute(conn).await?;
                    Ok(true)
                })
            })
            .connect_with(options)
            .await?;
        Ok(Self { pool })
    }

    /// Begins a transaction inside `workspace`.
    pub async fn begin(&self, workspace: WorkspaceId) -> Result<Tx> {
        self.begin_with(workspace, "").await
    }

    /// Begins a transaction inside `workspace` whose statements name their rows by keys, a batch of
    /// them at a time, or take what is due in the order of its index.
    ///
    /// Their plans are made once and hold whatever the tables grow to. The planner must not choose by
    /// size: what it knows of a table may be from a time when it was empty, and then it reads all of it
    /// for each batch.
    pub async fn begin_batch(&self, workspace: WorkspaceId) -> Result<Tx> {
        let settings = "; SET LOCAL plan_cache_mode = force_generic_plan; \
                        SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
                        SET LOCAL enable_memoize = off";
        self.begin_with(workspace, settings).await
    }

    /// Begins, names the workspace and sets what else there is to set, in one message.
    async fn begin_with(&self, workspace: WorkspaceId, settings: &'static str) -> Result<Tx> {
        // What varies is a UUID and nothing else.
        let begin = format!("BEGIN; SET LOCAL app.workspace_id = '{workspace}'{settings}");
        let inner = self.pool.begin_with(AssertSqlSafe(begin)).await?;
        Ok(Tx { inner, workspace, news: Vec::new() })
    }

    /// Begins a transaction outside every workspace: it sees no tenant's rows.
    pub async fn begin_outside(&self) -> Result<Transaction<'static, Postgres>> {
        Ok(self.pool.begin().await?)
    }

    /// Opens a connection that listens for work.
    pub async fn listen(&self, channel: &str) -> Result<PgListener> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(channel).await?;
        // Whoever listens wants to know that the line is down, not only that it is up again.
        listener.eager_reconnect(false);
        Ok(listener)
    }

    /// Returns how the connections are used at this moment.
    pub fn connections(&self) -> Connections {
        let open = self.pool.size();
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(open).min(open);
        Connections { busy: open - idle, idle, max: self.pool.options().get_max_connections() }
    }

    /// Refuses to go on when a setting was changed to one that can lose acknowledged work.
    ///
    /// # Errors
    ///
    /// [`ActivityError::Unsafe`] with the setting.
    pub async fn check_safety(&self) -> Result<()> {
        let mut conn = self.pool.acquire().await?;
        check_safety(&mut conn).await
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Tx {
    /// Returns the workspace this transaction is confined to.
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Tells those who watch the workspace what this transaction changes, if it is committed.
    pub fn tell(&mut self, news: News) {
        self.news.push(news);
    }

    /// Commits, with one row for all news.
    ///
    /// # Errors
    ///
    /// An error does not mean that nothing was committed: the caller repeats under the same keys.
    pub async fn commit(mut self) -> Result<()> {
        if !self.news.is_empty() {
            let news = written(&self.news);
            changes::add(&mut self.inner, self.workspace, &news).await?;
        }
        Ok(self.inner.commit().await?)
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}

/// Brings the database at `url` to this build's schema, and makes the roles if they are missing.
/// Safe to repeat, and to run from several processes at once.
///
/// # Errors
///
/// When the role of the URL may not create roles or tables; `doctor` prints the statements.
pub async fn migrate(url: &str) -> Result<()> {
    let options = PgConnectOptions::from_str(url)?.application_name("meridian migrate");
    let mut conn = options.connect().await?;
    create_roles(&mut conn).await?;
    MIGRATIONS.run(&mut conn).await?;
    conn.close().await?;
    Ok(())
}

async fn create_roles(conn: &mut PgConnection) -> Result<()> {
    let mut tx = conn.begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", ROLES_LOCK).fetch_one(&mut *tx).await?;
    for role in ["meridian_app", "meridian_finder"] {
        let exists = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1) AS "exists!""#,
            role
        )
        .fetch_one(&mut *tx)
        .await?;
        if !exists {
            let create = format!("CREATE ROLE {role} NOLOGIN");
            sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *tx).await?;
        }
        // Whoever migrates must be able to give objects to these roles and to act as them.
        let member = sqlx::query_scalar!(
            r#"SELECT pg_has_role(current_user, $1::text, 'MEMBER') AS "member!""#,
            role
        )
        .fetch_one(&mut *tx)
        .await?;
        if !member {
            let grant = format!("GRANT {role} TO CURRENT_USER");
            sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut *tx).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Becomes `meridian_app`; returns the role of the URL.
async fn confine(conn: &mut PgConnection) -> Result<String> {
    let role = sqlx::query_scalar!(r#"SELECT current_user::text AS "role!""#)
        .fetch_one(&mut *conn)
        .await?;
    match sqlx::query("SET ROLE meridian_app").execute(conn).await {
        Ok(_) => Ok(role),
        Err(sqlx::Error::Database(error)) => {
            tracing::debug!(db.error = error.message(), "role refused");
            Err(ActivityError::Role { role })
        }
        Err(error) => Err(error.into()),
    }
}

async fn check_safety(conn: &mut PgConnection) -> Result<()> {
    for setting in SAFETY {
        let value = sqlx::query_scalar!(r#"SELECT current_setting($1) AS "value!""#, setting)
            .fetch_one(&mut *conn)
            .await?;
        if value == "off" {
            return Err(ActivityError::Unsafe { setting, value });
        }
    }
    Ok(())
}
