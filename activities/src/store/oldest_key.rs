//! The master key that a database belongs to, by its id. The key itself is never in the database.

use sqlx::PgConnection;

use crate::key_ring::KeyId;

/// Returns the id of the oldest key that this database was first used with; `None` before that.
pub async fn find(conn: &mut PgConnection) -> sqlx::Result<Option<KeyId>> {
    let found = sqlx::query_scalar!("SELECT key_id FROM oldest_key").fetch_optional(conn).await?;
    Ok(found.map(|bytes| {
        KeyId::from_bytes(bytes.try_into().expect("the table takes no id of another length"))
    }))
}

/// Notes `key` as the one this database belongs to, unless it belongs to one already: of several
/// processes that begin together, the first one's stands.
pub async fn note(conn: &mut PgConnection, key: KeyId) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO oldest_key (key_id) VALUES ($1) ON CONFLICT DO NOTHING",
        key.as_bytes().as_slice()
    )
    .execute(conn)
    .await?;
    Ok(())
}
