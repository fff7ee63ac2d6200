//! `/workspace`: what holds for all of the key's workspace.

use activities::address::EmailAddress;
use activities::store::workspaces;
use activities::workspace_settings::{self, NotSet};
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::extract::State;
use machine::ids::WorkspaceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::answer::Versioned;
use super::caller::{Admin, Viewer};
use super::if_match::IfMatch;
use super::patch::Patch;
use super::problem::Problem;
use super::request::Body;

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new().api_route(
        "/workspace",
        get_with(show, |op| {
            op.id("getWorkspace").summary("Show the key's workspace").tag("workspace")
        })
        .patch_with(change, |op| {
            op.id("changeWorkspace")
                .summary("Change the key's workspace by a merge patch")
                .tag("workspace")
        }),
    )
}

/// A tenant.
#[derive(Debug, Serialize, JsonSchema)]
struct Workspace {
    /// Its id.
    id: WorkspaceId,
    /// Its name.
    name: String,
    /// Rises with every change; its entity tag.
    version: i32,
    /// The mail address to which leads are offered where a campaign with a `handover` names nobody.
    handover_address: Option<String>,
}

/// What is to be different: a merge patch (RFC 7396).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WorkspaceChange {
    /// The mail address to which leads are offered where a campaign with a `handover` names nobody; at
    /// once for those that do. It cannot go while one of them is not stopped.
    #[serde(default)]
    handover_address: Patch<String>,
}

async fn show(State(app): State<App>, caller: Viewer) -> Result<Versioned<Workspace>, Problem> {
    read(&app, caller.0.workspace).await
}

async fn change(
    State(app): State<App>,
    caller: Admin,
    if_match: IfMatch,
    Body(change): Body<WorkspaceChange>,
) -> Result<Versioned<Workspace>, Problem> {
    let Admin(caller) = caller;
    let (store, workspace, actor) = (&app.room.store, caller.workspace, caller.actor());
    let address = match &change.handover_address {
        Patch::Keep => return read(&app, workspace).await,
        Patch::Clear => None,
        Patch::Set(text) => Some(
            text.parse::<EmailAddress>()
                .map_err(|error| Problem::invalid_field("handover_address", error.to_string()))?,
        ),
    };
    let (address, admits) = (address.as_ref(), |version| if_match.admits(version));
    let set = workspace_settings::set_handover_address(store, workspace, address, admits, &actor);
    match set.await? {
        Ok(_) => read(&app, workspace).await,
        Err(stale @ NotSet::Stale) => Err(Problem::changed(stale.to_string())),
        Err(in_use @ NotSet::InUse { .. }) => Err(Problem::conflict(in_use.to_string())),
    }
}

async fn read(app: &App, id: WorkspaceId) -> Result<Versioned<Workspace>, Problem> {
    let mut tx = app.room.store.begin(id).await?;
    let workspaces::WorkspaceView { name, version, handover_address } =
        workspaces::view(&mut tx, id).await?;
    Ok(Versioned { version, body: Workspace { id, name, version, handover_address } })
}
