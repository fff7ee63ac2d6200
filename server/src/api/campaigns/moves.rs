//! A campaign's leads moved to another version of its sequence, and the preview of who is affected.

use std::collections::BTreeMap;

use activities::version_move::{self, Affected, Effect, NotMoved, Preview};
use aide::axum::ApiRouter;
use aide::axum::routing::post_with;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CampaignPath;
use crate::api::App;
use crate::api::caller::Operator;
use crate::api::problem::Problem;
use crate::api::request::{MaybeBody, Path, Query};

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new().api_route(
        "/campaigns/{campaign}/move",
        post_with(move_leads, |op| {
            op.id("moveCampaign")
                .summary("Move every live lead to another version of the sequence")
                .description(MOVING)
                .tag("campaigns")
        }),
    )
}

const MOVING: &str = "\
Done steps stay done, a removed one is passed by, an added one is taken. The leads are moved in the \
background: `moving_to` of the campaign is gone when all of them were. With `dry_run=true` nothing is \
moved, and the answer tells who would be affected.";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MoveQuery {
    /// Only tell who would be affected.
    #[serde(default)]
    dry_run: bool,
}

/// Where to move.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct MoveOrder {
    /// The version; the newest where it is left out.
    pub(in crate::api) to_version: Option<i32>,
}

/// A move that was ordered, or looked at.
#[derive(Debug, Serialize, JsonSchema)]
struct VersionMove {
    /// The version.
    to_version: i32,
    /// Whether the leads are being moved; not so in a dry run.
    ordered: bool,
    /// Who would be affected; in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<MovePreview>,
}

/// Who would be affected by a move, by the machine's own evaluation of today's facts.
#[derive(Debug, Serialize, JsonSchema)]
struct MovePreview {
    /// Live leads that were looked at.
    looked_at: u64,
    /// Whether those are all.
    complete: bool,
    /// How many leads it does what to: `unaffected`, `retimed`, `on_removed_step`, `other_step`, `ends`,
    /// `with_person` or `already`.
    effects: BTreeMap<Effect, u64>,
    /// Leads that would come to a step they have done. There are none.
    repeats: u64,
    /// Some of those for whom something changes.
    examples: Vec<Affected>,
}

impl From<Preview> for MovePreview {
    fn from(preview: Preview) -> Self {
        let Preview { to: _, looked_at, complete, effects, repeats, examples } = preview;
        Self { looked_at, complete, effects, repeats, examples }
    }
}

async fn move_leads(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    Query(MoveQuery { dry_run }): Query<MoveQuery>,
    MaybeBody(MoveOrder { to_version }): MaybeBody<MoveOrder>,
) -> Result<Json<VersionMove>, Problem> {
    let Operator(caller) = caller;
    let (room, workspace) = (&app.room, caller.workspace);
    if dry_run {
        let (store, versions) = (&room.store, &room.versions);
        let preview = version_move::preview(store, versions, workspace, campaign, to_version);
        let preview = preview.await?.map_err(refused)?;
        let to_version = preview.to;
        return Ok(Json(VersionMove { to_version, ordered: false, preview: Some(preview.into()) }));
    }
    let actor = caller.actor();
    let to = version_move::order(&room.store, workspace, campaign, to_version, &actor).await?;
    let to_version = to.map_err(refused)?;
    Ok(Json(VersionMove { to_version, ordered: true, preview: None }))
}

/// Tells why nothing is moved.
pub(in crate::api) fn refused(refusal: NotMoved) -> Problem {
    match refusal {
        NotMoved::NoSuchVersion { .. } => Problem::invalid_field("to_version", refusal.to_string()),
        NotMoved::Over(_) | NotMoved::NotWhile(_) | NotMoved::Spoiled(_) => {
            Problem::conflict(refusal.to_string())
        }
    }
}
