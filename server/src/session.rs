//! What a command works with: the database, the keys, the workspace. Opened once, closed last, so
//! that a private Postgres outlives everything that uses it.

use std::sync::Arc;

use activities::ids;
use activities::key_ring::{KeyId, KeyRing};
use activities::mailroom::Mailroom;
use activities::store::clock::{self, Clocks};
use activities::store::{Store, oldest_key, pool, schema, workspaces};
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use secrecy::ExposeSecret;
use url::Url;

use crate::config::{Config, Database, KeySource};
use crate::private_postgres::{self, Keeper, PrivatePostgres};

/// The database of the private Postgres.
const PRIVATE_DATABASE: &str = "meridian";

/// An open database with the workspace in it.
pub struct Session {
    /// The way to the database.
    pub store: Store,
    /// The master keys.
    pub keys: Arc<KeyRing>,
    /// The workspace of the configuration.
    pub workspace: WorkspaceId,
    /// How the database is reached. It may hold a password: not for logs.
    pub url: String,
    postgres: Private,
}

/// The private Postgres of a session.
enum Private {
    /// There is none: somebody else runs the database.
    None,
    /// As it was found or started.
    Found(PrivatePostgres),
    /// Started again when it goes.
    Kept(Keeper),
}

impl Session {
    /// Opens what the configuration names. A private Postgres is started if it does not run, and
    /// brought to this build's schema.
    ///
    /// # Errors
    ///
    /// When the database cannot be used as it is, with what to do about it.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let (url, postgres) = start_database(config).await?;
        match &postgres {
            Some(_) => migrate(&url).await?,
            None => check_schema(&url).await?,
        }
        Self::open_current(config, url, postgres).await
    }

    /// Opens what the configuration names, and brings it to this build's schema, whoever runs it.
    ///
    /// # Errors
    ///
    /// When the database cannot be used, with what to do about it.
    pub async fn open_migrated(config: &Config) -> anyhow::Result<Self> {
        let (url, postgres) = start_database(config).await?;
        migrate(&url).await?;
        Self::open_current(config, url, postgres).await
    }

    async fn open_current(
        config: &Config,
        url: String,
        postgres: Option<PrivatePostgres>,
    ) -> anyhow::Result<Self> {
        let store =
            Store::open(&url, config.connections).await.context("the database cannot be used")?;
        let keys = Arc::new(keys(config, &store).await?);
        let workspace = workspace(&store, &config.workspace).await?;
        let postgres = postgres.map_or(Private::None, Private::Found);
        Ok(Self { store, keys, workspace, url, postgres })
    }

    /// From here on a private Postgres that goes is started again: whoever started it may be a
    /// command that ends in a moment. For processes that stay.
    pub fn keep_database(&mut self, config: &Config) {
        self.postgres = match std::mem::replace(&mut self.postgres, Private::None) {
            Private::Found(postgres) => {
                Private::Kept(Keeper::new(postgres, private_settings(config)))
            }
            same @ (Private::None | Private::Kept(_)) => same,
        };
    }

    /// Returns both clocks.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn clocks(&self) -> anyhow::Result<Clocks> {
        let mut tx = self.store.begin_outside().await?;
        Ok(clock::read(&mut tx).await?)
    }

    /// Returns campaign time.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn now(&self) -> anyhow::Result<DateTime<Utc>> {
        Ok(self.clocks().await?.campaign)
    }

    /// Returns what sending needs.
    ///
    /// # Errors
    ///
    /// When the address that links begin with is none.
    pub fn mailroom(&self, config: &Config) -> anyhow::Result<Mailroom> {
        let base = format!("{}/", config.link_base());
        let public_url = Url::parse(&base).with_context(|| format!("{base} is no address"))?;
        let runner = ids::new::<machine::ids::Workspace>().uuid();
        let (store, keys) = (self.store.clone(), Arc::clone(&self.keys));
        let mut room = Mailroom::new(store, keys, public_url, config.reply_domain.clone(), runner);
        room.reach = config.reach;
        Ok(room)
    }

    /// Closes the connections, then stops the private Postgres if it is ours to stop.
    pub async fn close(self) {
        self.store.close().await;
        match self.postgres {
            Private::None => {}
            Private::Found(postgres) => postgres.stop().await,
            Private::Kept(keeper) => keeper.stop().await,
        }
    }
}

fn private_settings(config: &Config) -> private_postgres::Settings {
    private_postgres::Settings {
        state_dir: config.data_dir.clone(),
        database: PRIVATE_DATABASE.to_owned(),
        extra: Vec::new(),
    }
}

/// Returns the URL of the database, and the private Postgres behind it if there is one.
///
/// # Errors
///
/// When a private Postgres is wanted and cannot be had.
pub async fn start_database(config: &Config) -> anyhow::Result<(String, Option<PrivatePostgres>)> {
    match &config.database {
        Database::Url(url) => Ok((url.clone(), None)),
        Database::Private => {
            let postgres = private_postgres::start(private_settings(config))
                .await
                .context("the private Postgres did not start")?;
            Ok((postgres.url().to_owned(), Some(postgres)))
        }
    }
}

/// Loads the master keys of this database. A key file is made for a database that was never used,
/// and for no other: with a new key nobody who opted out would be known.
async fn keys(config: &Config, store: &Store) -> anyhow::Result<KeyRing> {
    let mut tx = store.begin_outside().await?;
    let used = oldest_key::find(&mut tx).await?;
    let ring = match &config.keys {
        KeySource::Hex(hex) => KeyRing::from_hex(hex.expose_secret())?,
        KeySource::File(path) => {
            if !path.exists() {
                match used {
                    Some(used) => bail!("{} is not there: {}", path.display(), wants_key(used)),
                    // Used before it kept a note of its key.
                    None if workspaces::find(&mut tx, workspaces::DEFAULT).await?.is_some() => {
                        bail!(
                            "{} is not there, and this database was used before: restore the key file \
                         from its copy, or name it in MERIDIAN_KEY_FILE",
                            path.display()
                        )
                    }
                    None => {}
                }
            }
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir)
                    .with_context(|| format!("cannot make the directory {}", dir.display()))?;
            }
            KeyRing::load_or_create(path)?
        }
    };
    let used = match used {
        Some(used) => used,
        None => {
            oldest_key::note(&mut tx, ring.oldest()).await?;
            oldest_key::find(&mut tx).await?.context("the database keeps no note of its key")?
        }
    };
    tx.commit().await?;
    if used != ring.oldest() {
        bail!("{} begins with another key, {}: {}", config.keys, ring.oldest(), wants_key(used));
    }
    Ok(ring)
}

/// Says what a database needs that was first used with the key `used`.
pub fn wants_key(used: KeyId) -> String {
    format!(
        "this database was first used with key {used}, by which it knows who opted out and opens \
         its passwords. Restore that key from its copy, or copy it from the machine that made it; \
         nothing runs without it"
    )
}

async fn migrate(url: &str) -> anyhow::Result<()> {
    pool::migrate(url)
        .await
        .context("the database could not be brought to this build's schema: run `meridian doctor`")
}

async fn check_schema(url: &str) -> anyhow::Result<()> {
    let state = schema::state(url).await.context("the database cannot be reached")?;
    match state {
        schema::State::Current | schema::State::Unreadable => Ok(()),
        schema::State::Behind { missing } => {
            bail!("the database lacks {missing} of this build's migrations: run `meridian migrate`")
        }
        schema::State::Ahead { unknown } => bail!(
            "the database has {unknown} migrations that this build does not know: run a newer \
             build of meridian"
        ),
    }
}

async fn workspace(store: &Store, name: &str) -> anyhow::Result<WorkspaceId> {
    if name == workspaces::DEFAULT {
        return Ok(workspaces::ensure(store, name).await?);
    }
    let mut tx = store.begin_outside().await?;
    match workspaces::find(&mut tx, name).await? {
        Some(workspace) => Ok(workspace),
        None => bail!("there is no workspace `{name}`: run `meridian workspace add {name}`"),
    }
}
