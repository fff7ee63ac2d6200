//! Where providers post to us. The path carries the workspace and a secret; only the secret's hash
//! is stored, and the provider's signing key is sealed.

use chrono::{DateTime, Utc};
use machine::ids::{Id, WorkspaceId};
use secrecy::SecretSlice;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::endpoint_key::EndpointKey;
use crate::error::{ActivityError, Result};
use crate::key_ring::KeyRing;
use crate::seal::{self, Place};

/// Names an endpoint.
pub enum EndpointKind {}

/// An endpoint.
pub type EndpointId = Id<EndpointKind>;

/// An endpoint in use.
#[derive(Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Verifies what is posted to it.
    pub signing_key: SecretSlice<u8>,
}

/// Makes an endpoint for `provider`, reached by `key`.
pub async fn add(
    conn: &mut PgConnection,
    keys: &KeyRing,
    endpoint: EndpointId,
    key: &EndpointKey,
    provider: &str,
    signing_key: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sealed = seal::seal(keys, place(key.workspace(), endpoint), signing_key);
    let hash = key.hash();
    sqlx::query!(
        r#"
        INSERT INTO webhook_endpoints
            (workspace_id, endpoint_id, provider, secret_hash, signing_key, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        "#,
        key.workspace(),
        endpoint.uuid(),
        provider,
        hash.as_bytes().as_slice(),
        sealed,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the endpoint of `provider` that `key` opens, in a transaction confined to the key's
/// workspace.
pub async fn find(
    conn: &mut PgConnection,
    keys: &KeyRing,
    key: &EndpointKey,
    provider: &str,
) -> Result<Option<Endpoint>> {
    let hash = key.hash();
    // By the hash of 160 random bits: what the look-up's time tells is of no use to a guesser.
    let row = sqlx::query!(
        r#"
        SELECT endpoint_id, signing_key
        FROM webhook_endpoints
        WHERE workspace_id = $1
          AND provider = $2
          AND secret_hash = $3
          AND revoked_at IS NULL
        "#,
        key.workspace(),
        provider,
        hash.as_bytes().as_slice()
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let id = EndpointId::new(row.endpoint_id);
    let signing_key = seal::open(keys, place(key.workspace(), id), &row.signing_key)
        .map_err(|error| ActivityError::Secret(error.to_string()))?;
    Ok(Some(Endpoint { id, signing_key }))
}

/// Returns the signing keys of the open endpoints of `provider`.
pub async fn signing_keys(
    conn: &mut PgConnection,
    keys: &KeyRing,
    workspace: WorkspaceId,
    provider: &str,
) -> Result<Vec<SecretSlice<u8>>> {
    let rows = sqlx::query!(
        r#"
        SELECT endpoint_id, signing_key
        FROM webhook_endpoints
        WHERE workspace_id = $1
          AND provider = $2
          AND revoked_at IS NULL
        LIMIT 100
        "#,
        workspace.uuid(),
        provider
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let place = place(workspace.uuid(), row.endpoint_id.into());
            seal::open(keys, place, &row.signing_key)
                .map_err(|error| ActivityError::Secret(error.to_string()))
        })
        .collect()
}

/// Closes an endpoint. Returns whether it was open.
pub async fn revoke(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    endpoint: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE webhook_endpoints
        SET revoked_at = $3
        WHERE workspace_id = $1
          AND endpoint_id = $2
          AND revoked_at IS NULL
        "#,
        workspace.uuid(),
        endpoint.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn place(workspace: Uuid, endpoint: EndpointId) -> Place<'static> {
    Place { table: "webhook_endpoints", column: "signing_key", workspace, row: endpoint.uuid() }
}
