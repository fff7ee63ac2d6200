//! Keys for programs: each belongs to a workspace and has a role. The secret is shown once, when the
//! key is made; only its hash is stored, and a revoked key is refused from that commit on.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use machine::ids::{Id, WorkspaceId};

use crate::endpoint_key::{EndpointKey, KeyUse};
use crate::error::{ActivityError, Result};
use crate::ids;
use crate::store::api_keys::{self as store, ApiKeyRow};
use crate::store::audit::{self, Act};
use crate::store::{Store, clock};

/// The most keys a list shows.
const LIST_MAX: i64 = 1_000;

/// How exact "last used" is: writing it for every request would make each read a write.
const USE_GRAIN: TimeDelta = TimeDelta::seconds(60);

/// Names a key.
pub enum ApiKeyKind {}

/// A key's id.
pub type ApiKeyId = Id<ApiKeyKind>;

/// What a key may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read.
    Viewer,
    /// Change leads, run campaigns, act on enrollments.
    Operator,
    /// Set up senders, keys and agents, and erase people.
    Admin,
}

/// There is no such role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role: use viewer, operator or admin")]
pub struct NotARole(String);

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(word: &str) -> Result<Self, NotARole> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == word);
        role.ok_or_else(|| NotARole(word.to_owned()))
    }
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Wall time of its making.
    pub created_at: DateTime<Utc>,
    /// Wall time of its last use, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Wall time of its end.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<ApiKeyRow> for ApiKey {
    type Error = ActivityError;

    fn try_from(row: ApiKeyRow) -> Result<Self> {
        let role = row.role.parse().map_err(|error: NotARole| ActivityError::Stored {
            what: "API key",
            why: error.to_string(),
        })?;
        Ok(Self {
            id: row.key_id.into(),
            name: row.name,
            role,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        })
    }
}

/// Makes a key. Returns it with the text to show its holder, once.
///
/// # Errors
///
/// When the database fails.
pub async fn create(
    store: &Store,
    workspace: WorkspaceId,
    name: &str,
    role: Role,
    actor: &str,
) -> Result<(ApiKey, String)> {
    let secret = EndpointKey::generate(KeyUse::Api, workspace.uuid());
    let mut tx = store.begin(workspace).await?;
    let now = clock::read(&mut tx).await?.wall;
    let row = ApiKeyRow {
        key_id: ids::new::<ApiKeyKind>().uuid(),
        name: name.to_owned(),
        role: role.as_str().to_owned(),
        created_at: now,
        last_used_at: None,
        revoked_at: None,
    };
    store::add(&mut tx, workspace, &row, &secret.hash()).await?;
    let subject = format!("key/{}", row.key_id);
    let act = Act { actor, act: "key.create", subject: &subject, details: None };
    audit::record(&mut tx, workspace, &act, now).await?;
    tx.commit().await?;
    Ok((row.try_into()?, secret.reveal()))
}

/// Returns the key that somebody presents, unless it is unknown or revoked.
///
/// # Errors
///
/// When the database fails.
pub async fn authenticate(store: &Store, presented: &EndpointKey) -> Result<Option<ApiKey>> {
    if presented.key_use() != KeyUse::Api {
        return Ok(None);
    }
    let workspace = WorkspaceId::new(presented.workspace());
    let mut tx = store.begin(workspace).await?;
    let Some(row) = store::find(&mut tx, workspace, &presented.hash()).await? else {
        return Ok(None);
    };
    let now = clock::read(&mut tx).await?.wall;
    if row.last_used_at.is_none_or(|at| now - at >= USE_GRAIN) {
        store::used(&mut tx, workspace, row.key_id, now).await?;
        tx.commit().await?;
    }
    Ok(Some(row.try_into()?))
}

/// Returns the newest thousand keys of a workspace, the newest first, revoked ones too.
///
/// # Errors
///
/// When the database fails.
pub async fn list(store: &Store, workspace: WorkspaceId) -> Result<Vec<ApiKey>> {
    page(store, workspace, None, LIST_MAX).await
}

/// Returns at most `limit` keys, the newest first, revoked ones too, from behind `before`.
///
/// # Errors
///
/// When the database fails.
pub async fn page(
    store: &Store,
    workspace: WorkspaceId,
    before: Option<ApiKeyId>,
    limit: i64,
) -> Result<Vec<ApiKey>> {
    let mut tx = store.begin(workspace).await?;
    let rows = store::list(&mut tx, workspace, before.map(|key| key.uuid()), limit).await?;
    rows.into_iter().map(ApiKey::try_from).collect()
}

/// Returns a key, in force or revoked.
///
/// # Errors
///
/// When the database fails.
pub async fn get(store: &Store, workspace: WorkspaceId, key: ApiKeyId) -> Result<Option<ApiKey>> {
    let mut tx = store.begin(workspace).await?;
    let row = store::by_id(&mut tx, workspace, key.uuid()).await?;
    row.map(ApiKey::try_from).transpose()
}

/// Ends a key for good. Returns whether it was in force.
///
/// # Errors
///
/// When the database fails.
pub async fn revoke(
    store: &Store,
    workspace: WorkspaceId,
    key: ApiKeyId,
    actor: &str,
) -> Result<bool> {
    let mut tx = store.begin(workspace).await?;
    let now = clock::read(&mut tx).await?.wall;
    let was_in_force = store::revoke(&mut tx, workspace, key.uuid(), now).await?;
    if was_in_force {
        let subject = format!("key/{key}");
        let act = Act { actor, act: "key.revoke", subject: &subject, details: None };
        audit::record(&mut tx, workspace, &act, now).await?;
    }
    tx.commit().await?;
    Ok(was_in_force)
}
