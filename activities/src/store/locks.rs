//! Advisory locks: how a stop and the gate become serial. The gate takes shared locks and never
//! waits for those of a lead or an address; whoever stops takes exclusive ones. All are released by
//! the end of the transaction.
//!
//! Lock order everywhere: workspace, then leads and addresses, then enrollments by id, then sends,
//! then quotas and senders by key. The keys of leads and addresses are one ascending order, so all
//! that a transaction needs of both go into one call.

use machine::ids::{LeadId, WorkspaceId};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::suppressions::Scope;
use crate::suppression_key::SuppressionHash;

/// Returns the key of a whole workspace: pauses, and promises about whole domains.
pub fn workspace_key(workspace: WorkspaceId) -> i64 {
    key(b"workspace", workspace, &[])
}

/// Returns the key of a person.
pub fn lead_key(workspace: WorkspaceId, lead: LeadId) -> i64 {
    key(b"lead", workspace, lead.uuid().as_bytes())
}

/// Returns the key of an address, known by its hash.
pub fn address_key(workspace: WorkspaceId, hash: &SuppressionHash) -> i64 {
    key(b"address", workspace, hash)
}

/// Returns the key under which a suppression is added and lifted: that of what it covers.
pub fn suppression_key(workspace: WorkspaceId, scope: Scope, hash: &SuppressionHash) -> i64 {
    match scope {
        Scope::Address => address_key(workspace, hash),
        Scope::Domain => workspace_key(workspace),
    }
}

/// Returns the key under which leads are added and changed in bulk, one writer at a time. It comes
/// before every other lock and stands in nobody else's way.
pub fn import_key(workspace: WorkspaceId) -> i64 {
    key(b"import", workspace, &[])
}

/// Returns the key under which acts are put on record. Shared by all who do; nobody ever waits for it
/// alone, so it has no place in the order.
pub fn audit_key(workspace: WorkspaceId) -> i64 {
    key(b"audit", workspace, &[])
}

/// Returns the key under which senders are set up, one after the other. It is taken first of all.
pub fn senders_key(workspace: WorkspaceId) -> i64 {
    key(b"senders", workspace, &[])
}

/// Waits for exclusive locks on `keys`, in ascending order.
pub async fn lock_exclusive(conn: &mut PgConnection, keys: &[i64]) -> sqlx::Result<()> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    // The list is read in its own order, one lock after the other.
    sqlx::query!(
        r#"
        SELECT count(pg_advisory_xact_lock(key)::text) AS "locked!"
        FROM unnest($1::bigint[]) AS key
        "#,
        &keys
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Waits for a shared lock on `key`.
pub async fn lock_shared(conn: &mut PgConnection, key: i64) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock_shared($1)", key).fetch_one(conn).await?;
    Ok(())
}

/// Tries for an exclusive lock on `key` without waiting. Returns whether it was free.
pub async fn try_lock_exclusive(conn: &mut PgConnection, key: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "locked!""#, key)
        .fetch_one(conn)
        .await
}

/// Tries for locks on `keys` without waiting, shared but for those that `alone` marks; answers for
/// each, in their order.
pub async fn try_lock(
    conn: &mut PgConnection,
    keys: &[i64],
    alone: &[bool],
) -> sqlx::Result<Vec<bool>> {
    sqlx::query_scalar!(
        r#"
        SELECT CASE
                   WHEN alone THEN pg_try_advisory_xact_lock(key)
                   ELSE pg_try_advisory_xact_lock_shared(key)
               END AS "locked!"
        FROM unnest($1::bigint[], $2::bool[]) WITH ORDINALITY AS k (key, alone, n)
        ORDER BY n
        "#,
        keys,
        alone
    )
    .fetch_all(conn)
    .await
}

/// The head of a hash: two things that share a key would only wait for each other needlessly.
fn key(space: &[u8], workspace: WorkspaceId, name: &[u8]) -> i64 {
    let mut hash = Sha256::new();
    hash.update(b"meridian lock v1/");
    hash.update(space);
    hash.update([0]);
    hash.update(workspace.uuid().as_bytes());
    hash.update(name);
    let digest = hash.finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{address_key, import_key, lead_key, workspace_key};

    #[test]
    fn keys_of_different_things_differ_and_stay_the_same_in_every_build() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let keys = [
            workspace_key(one.into()),
            workspace_key(two.into()),
            import_key(one.into()),
            lead_key(one.into(), one.into()),
            lead_key(one.into(), two.into()),
            lead_key(two.into(), one.into()),
            address_key(one.into(), &[1; 32]),
            address_key(one.into(), &[2; 32]),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        // Two builds on one database must mean the same lock.
        assert_eq!(workspace_key(one.into()), -3_627_760_158_326_012_677);
    }
}
