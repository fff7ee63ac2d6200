//! Promises never to write to an address or a domain. They are found by a keyed hash, which outlives
//! the address; the plain value beside it is for people, and emptied by erase.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use machine::ids::{Id, WorkspaceId};
use sqlx::PgConnection;

use crate::ids;
use crate::suppression_key::{SuppressionHash, SuppressionKey};

/// Names a suppression.
pub enum SuppressionKind {}

/// A suppression.
pub type SuppressionId = Id<SuppressionKind>;

/// What is suppressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    scope: Scope,
    plain: String,
    hash: SuppressionHash,
}

/// How much a suppression covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One mailbox, however it is spelt.
    Address,
    /// Every mailbox of a domain.
    Domain,
}

/// Why an address is suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its owner wants no more.
    OptedOut,
    /// Its owner called a mail of ours spam.
    Complained,
    /// It does not exist.
    HardBounce,
    /// A person of ours said so.
    ByPerson,
    /// It came with a list.
    Imported,
    /// Its owner was erased.
    Erased,
}

impl Value {
    /// One address.
    pub fn address(key: &SuppressionKey, address: &str) -> Self {
        Self { scope: Scope::Address, plain: address.to_owned(), hash: key.address(address) }
    }

    /// A whole domain. Whoever adds it holds the lock of the workspace.
    pub fn domain(key: &SuppressionKey, domain: &str) -> Self {
        Self { scope: Scope::Domain, plain: domain.to_owned(), hash: key.domain(domain) }
    }

    /// How much it covers.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The hash by which it is found.
    pub fn hash(&self) -> &SuppressionHash {
        &self.hash
    }
}

/// Suppresses `value`. The first reason wins; repeating the call is harmless.
///
/// The caller holds the exclusive lock of the address or the workspace. Returns whether it was new.
pub async fn add(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    value: &Value,
    reason: Reason,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let id: SuppressionId = ids::new();
    let done = sqlx::query!(
        r#"
        INSERT INTO suppressions
            (workspace_id, suppression_id, scope, value_hash, value, reason, suppressed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (workspace_id, scope, value_hash) WHERE lifted_at IS NULL DO NOTHING
        "#,
        workspace.uuid(),
        id.uuid(),
        value.scope.as_str(),
        value.hash.as_slice(),
        value.plain,
        reason.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Suppresses several values for one reason.
pub async fn add_all(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    values: &[Value],
    reason: Reason,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    for value in values {
        add(conn, workspace, value, reason, now).await?;
    }
    Ok(())
}

/// Returns those of `hashes`, of addresses and domains alike, that are suppressed.
pub async fn in_force(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    hashes: &[SuppressionHash],
) -> sqlx::Result<HashSet<SuppressionHash>> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    let found = sqlx::query_scalar!(
        r#"
        SELECT value_hash
        FROM suppressions
        WHERE workspace_id = $1
          AND scope IN ('address', 'domain')
          AND value_hash = ANY($2)
          AND lifted_at IS NULL
        "#,
        workspace.uuid(),
        &hashes
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().filter_map(|hash| hash.try_into().ok()).collect())
}

/// Returns those of `hashes` whose owners were erased: of their promises only the hash is left.
pub async fn erased(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    hashes: &[SuppressionHash],
) -> sqlx::Result<HashSet<SuppressionHash>> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    let found = sqlx::query_scalar!(
        r#"
        SELECT value_hash
        FROM suppressions
        WHERE workspace_id = $1
          AND scope = 'address'
          AND value_hash = ANY($2)
          AND lifted_at IS NULL
          AND value IS NULL
        "#,
        workspace.uuid(),
        &hashes
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().filter_map(|hash| hash.try_into().ok()).collect())
}

/// Returns what the suppression of this id covers, in force or lifted, if there is such a one.
pub async fn named(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: SuppressionId,
) -> sqlx::Result<Option<(Scope, SuppressionHash)>> {
    let row = sqlx::query!(
        r#"
        SELECT scope, value_hash
        FROM suppressions
        WHERE workspace_id = $1 AND suppression_id = $2
        "#,
        workspace.uuid(),
        id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(|row| Some((Scope::of(&row.scope)?, row.value_hash.try_into().ok()?))))
}

/// Lifts the opt-out of `hash`, and of nothing else: its owner wants messages again. What is kept of
/// somebody who was erased stays. Returns the suppression that was lifted, for the record.
pub async fn lift_opt_out(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    hash: &SuppressionHash,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<SuppressionId>> {
    let lifted = sqlx::query_scalar!(
        r#"
        UPDATE suppressions
        SET lifted_at = $3
        WHERE workspace_id = $1
          AND scope = 'address'
          AND value_hash = $2
          AND reason = 'opted_out'
          AND value IS NOT NULL
          AND lifted_at IS NULL
        RETURNING suppression_id
        "#,
        workspace.uuid(),
        hash.as_slice(),
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(lifted.map(SuppressionId::new))
}

impl Scope {
    fn of(word: &str) -> Option<Self> {
        [Self::Address, Self::Domain].into_iter().find(|scope| scope.as_str() == word)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Domain => "domain",
        }
    }
}

impl Reason {
    const ALL: [Self; 6] = [
        Self::OptedOut,
        Self::Complained,
        Self::HardBounce,
        Self::ByPerson,
        Self::Imported,
        Self::Erased,
    ];

    /// Reads the word that is stored.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OptedOut => "opted_out",
            Self::Complained => "complained",
            Self::HardBounce => "hard_bounce",
            Self::ByPerson => "by_person",
            Self::Imported => "imported",
            Self::Erased => "erased",
        }
    }
}
