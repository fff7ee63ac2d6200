//! `/keys`: the keys of programs. Made and ended by admins; a secret is shown once.

use activities::api_keys::{self, ApiKey, ApiKeyId, Role};
use activities::name;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::answer::Created;
use super::caller::Admin;
use super::page::{Page, PageQuery, Wanted};
use super::problem::Problem;
use super::request::{Body, Path, Query};

/// Tells the list's cursors from others.
const LIST: &str = "keys";

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/keys",
            get_with(list, |op| op.id("listKeys").summary("List the keys").tag("keys"))
                .post_with(create, |op| op.id("createKey").summary("Make a key").tag("keys")),
        )
        .api_route(
            "/keys/{key}",
            get_with(show, |op| op.id("getKey").summary("Show a key").tag("keys"))
                .delete_with(revoke, |op| {
                    op.id("revokeKey").summary("End a key for good").tag("keys")
                }),
        )
}

/// What a key may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RoleWord {
    /// Read.
    Viewer,
    /// Change leads, run campaigns, act on enrollments.
    Operator,
    /// Set up senders, keys and agents, and erase people.
    Admin,
}

impl From<Role> for RoleWord {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Viewer => Self::Viewer,
            RoleWord::Operator => Self::Operator,
            RoleWord::Admin => Self::Admin,
        }
    }
}

/// A key.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Key")]
struct KeyView {
    /// Its id.
    id: ApiKeyId,
    /// What people call it.
    name: String,
    /// What it may do.
    role: RoleWord,
    /// Wall time of its making.
    created_at: DateTime<Utc>,
    /// Wall time of its last use, to the minute.
    last_used_at: Option<DateTime<Utc>>,
    /// Wall time of its end.
    revoked_at: Option<DateTime<Utc>>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            role: key.role.into(),
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

async fn list(
    State(app): State<App>,
    caller: Admin,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<KeyView>>, Problem> {
    let Admin(caller) = caller;
    let wanted = Wanted::of(&query)?;
    let before: Option<ApiKeyId> = wanted.after(&LIST)?;
    let keys = api_keys::page(&app.room.store, caller.workspace, before, wanted.rows()).await?;
    Ok(Json(wanted.page(&LIST, keys, |key| key.id)))
}

async fn show(
    State(app): State<App>,
    caller: Admin,
    Path(KeyPath { key }): Path<KeyPath>,
) -> Result<Json<KeyView>, Problem> {
    let found = api_keys::get(&app.room.store, caller.0.workspace, key).await?;
    let found = found.ok_or_else(|| Problem::not_found(format!("there is no key {key}")))?;
    Ok(Json(found.into()))
}

/// A key to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// What people call it, as in `CRM`.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// What it may do.
    role: RoleWord,
}

/// A new key, and its secret, which is shown this once.
#[derive(Debug, Serialize, JsonSchema)]
struct CreatedKey {
    #[serde(flatten)]
    key: KeyView,
    /// Send it as `Authorization: Bearer SECRET`.
    secret: String,
}

async fn create(
    State(app): State<App>,
    caller: Admin,
    Body(new): Body<NewKey>,
) -> Result<Created<CreatedKey>, Problem> {
    let name = name::read(&new.name);
    let name = name.map_err(|error| Problem::invalid_field("name", error.to_string()))?;
    let Admin(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    let (key, secret) =
        api_keys::create(store, caller.workspace, &name, new.role.into(), &actor).await?;
    let location = format!("/api/v1/keys/{}", key.id);
    Ok(Created { location, body: CreatedKey { key: key.into(), secret } })
}

async fn revoke(
    State(app): State<App>,
    caller: Admin,
    Path(KeyPath { key }): Path<KeyPath>,
) -> Result<NoContent, Problem> {
    let Admin(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    match api_keys::revoke(store, caller.workspace, key, &actor).await? {
        true => Ok(NoContent),
        false => Err(Problem::not_found(format!("there is no key {key} in force"))),
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct KeyPath {
    /// The key's id.
    key: ApiKeyId,
}
