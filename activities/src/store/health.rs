//! What can be said about a database before anything works on it. Asked as the role of the URL, in
//! plain queries: nothing of ours may be there yet.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};

/// What a database says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Its version, as in `15.8`.
    pub version: String,
    /// The same as a number, as in 150008.
    pub version_number: i32,
    /// The role of the URL.
    pub role: String,
    /// Whether that role may make other roles.
    pub may_create_roles: bool,
    /// Our roles that exist.
    pub roles: Vec<String>,
    /// Our roles that the role of the URL may become.
    pub may_become: Vec<String>,
    /// Settings that could lose acknowledged work, with their values.
    pub unsafe_settings: Vec<(String, String)>,
    /// Wall time.
    pub wall: DateTime<Utc>,
}

/// Asks the database at `url`.
///
/// # Errors
///
/// When it cannot be reached.
pub async fn read(url: &str) -> sqlx::Result<Health> {
    let options = PgConnectOptions::from_str(url)?.application_name("meridian doctor");
    let mut conn = options.connect().await?;
    let row = sqlx::query(
        r#"
        SELECT
            split_part(current_setting('server_version'), ' ', 1) AS version,
            current_setting('server_version_num')::int AS version_number,
            current_user::text AS role,
            (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user)
                AS may_create_roles,
            ARRAY(SELECT rolname::text FROM pg_roles
                  WHERE rolname IN ('meridian_app', 'meridian_finder') ORDER BY 1) AS roles,
            ARRAY(SELECT rolname::text FROM pg_roles
                  WHERE rolname IN ('meridian_app', 'meridian_finder')
                    AND pg_has_role(current_user, oid, 'MEMBER') ORDER BY 1) AS may_become,
            clock_timestamp() AS wall
        "#,
    )
    .fetch_one(&mut conn)
    .await?;
    let settings = sqlx::query(
        r#"
        SELECT name::text AS name, setting
        FROM pg_settings
        WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
        ORDER BY name
        "#,
    )
    .fetch_all(&mut conn)
    .await?;
    let unsafe_settings = settings
        .iter()
        .map(|row| Ok((row.try_get("name")?, row.try_get("setting")?)))
        .collect::<sqlx::Result<_>>()?;
    let health = Health {
        version: row.try_get("version")?,
        version_number: row.try_get("version_number")?,
        role: row.try_get("role")?,
        may_create_roles: row.try_get("may_create_roles")?,
        roles: row.try_get("roles")?,
        may_become: row.try_get("may_become")?,
        unsafe_settings,
        wall: row.try_get("wall")?,
    };
    conn.close().await?;
    Ok(health)
}
