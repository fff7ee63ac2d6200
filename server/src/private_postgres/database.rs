//! The database on the server: asked for, and created where it is missing.

use std::{io, time::Duration};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::timeout;

use super::StartError;

/// How long one attempt to reach the server may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// Refuses a name that would mean something else in SQL, in a URL or in a shell.
pub(super) fn check_name(name: &str) -> Result<(), StartError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
        return Err(StartError::DatabaseName(name.to_owned()));
    }
    Ok(())
}

/// Opens the database, creating it if need be, and returns its URL.
///
/// On every start and not only on the first, because the first may have died in between.
pub(super) async fn open(server: &str, name: &str) -> sqlx::Result<String> {
    // TLS on loopback protects nothing, and the environment may ask for it.
    let url = format!("{server}/{name}?sslmode=disable");
    match probe(&url, "SELECT 1".to_owned()).await {
        // invalid_catalog_name
        Err(error) if sql_state(&error).as_deref() == Some("3D000") => {
            probe(
                &format!("{server}/postgres?sslmode=disable"),
                format!(r#"CREATE DATABASE "{name}""#),
            )
            .await?;
            tracing::info!(postgres.database = name, "created the database");
            probe(&url, "SELECT 1".to_owned()).await?;
        }
        other => other?,
    }
    Ok(url)
}

async fn probe(url: &str, statement: String) -> sqlx::Result<()> {
    let talk = async {
        let mut conn = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut conn).await?;
        conn.close().await
    };
    timeout(PROBE_LIMIT, talk)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))
}

/// Whether waiting cannot help: class 28 is a wrong user or password.
pub(super) fn refuses_us(error: &sqlx::Error) -> bool {
    sql_state(error).is_some_and(|state| state.starts_with("28"))
}

fn sql_state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(Into::into)
}
