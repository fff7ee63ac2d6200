//! Whether a database has this build's schema. Asked as the role of the URL: the role that works
//! inside workspaces does not see the list of migrations.

use std::collections::BTreeSet;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::pool::MIGRATIONS;

/// What a missing table is called by the database.
const UNDEFINED_TABLE: &str = "42P01";

/// What a refusal is called by the database.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// How a database's schema compares with this build's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is this build's.
    Current,
    /// It lacks migrations of this build.
    Behind {
        /// How many.
        missing: usize,
    },
    /// It has migrations of a later build.
    Ahead {
        /// How many.
        unknown: usize,
    },
    /// The role of the URL may not look.
    Unreadable,
}

/// Compares the database at `url` with this build.
///
/// # Errors
///
/// When it cannot be reached.
pub async fn state(url: &str) -> sqlx::Result<State> {
    let mut conn = PgConnectOptions::from_str(url)?.connect().await?;
    let state = read(&mut conn).await;
    conn.close().await?;
    state
}

async fn read(conn: &mut PgConnection) -> sqlx::Result<State> {
    // Not a checked query: the table is the migrator's own, and may not be there yet.
    let query = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version LIMIT 10000";
    let applied = match sqlx::query_scalar::<_, i64>(query).fetch_all(conn).await {
        Ok(applied) => applied.into_iter().collect::<BTreeSet<i64>>(),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNDEFINED_TABLE) => {
            BTreeSet::new()
        }
        Err(sqlx::Error::Database(error))
            if error.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) =>
        {
            return Ok(State::Unreadable);
        }
        Err(error) => return Err(error),
    };
    let ours: BTreeSet<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    let missing = ours.difference(&applied).count();
    let unknown = applied.difference(&ours).count();
    Ok(match (missing, unknown) {
        (0, 0) => State::Current,
        (0, unknown) => State::Ahead { unknown },
        (missing, _) => State::Behind { missing },
    })
}
