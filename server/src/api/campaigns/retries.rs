//! A campaign's leads that failed, tried again, and the preview of how many they are.

use activities::retries::{self, Stopped};
use aide::axum::ApiRouter;
use aide::axum::routing::post_with;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CampaignPath;
use crate::api::App;
use crate::api::caller::Operator;
use crate::api::idempotency::SourceKey;
use crate::api::problem::Problem;
use crate::api::request::{Path, Query};

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new().api_route(
        "/campaigns/{campaign}/retry",
        post_with(retry, |op| {
            op.id("retryCampaign")
                .summary("Try again every lead that failed")
                .description(RETRYING)
                .tag("campaigns")
        }),
    )
}

const RETRYING: &str = "\
Each goes on from the step that failed, with all its tries; what was sent is not sent again. \
`GET /campaigns/{campaign}/enrollments?state=failed` lists them. With `dry_run=true` nobody is told, and \
the answer tells how many there are.";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetryQuery {
    /// Only tell how many there are.
    #[serde(default)]
    dry_run: bool,
}

/// Leads that are tried again.
#[derive(Debug, Serialize, JsonSchema)]
struct CampaignRetry {
    /// How many.
    leads: u64,
    /// Whether they were told; not so in a dry run.
    ordered: bool,
}

async fn retry(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    Query(RetryQuery { dry_run }): Query<RetryQuery>,
    SourceKey(source_key): SourceKey,
) -> Result<Json<CampaignRetry>, Problem> {
    let Operator(caller) = caller;
    let (store, workspace, actor) = (&app.room.store, caller.workspace, caller.actor());
    let leads = if dry_run {
        retries::count(store, workspace, campaign).await?
    } else {
        retries::order(store, workspace, campaign, &source_key, &actor).await?
    };
    let leads = leads.map_err(|refused: Stopped| Problem::conflict(refused.to_string()))?;
    Ok(Json(CampaignRetry { leads, ordered: !dry_run }))
}
