//! `/campaigns`: made from the same document as the campaign file, listed with their numbers, replaced
//! while they are drafts.

mod enrollments;
pub(super) mod moves;
mod orders;
mod retries;
mod trials;
mod views;

use activities::campaigns::CampaignStatus;
use activities::campaigns::apply::{self, Applied, NotApplied};
use activities::campaigns::view;
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use machine::document::CampaignDocument;
use machine::ids::{CampaignId, WorkspaceId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::App;
use super::answer::{Created, Versioned};
use super::caller::{Operator, Viewer};
use super::if_match::IfMatch;
use super::page::{Page, Wanted};
use super::problem::Problem;
use super::request::{Body, Path, Query};
use views::{AppliedCampaign, Campaign, CampaignSummary};

/// Tells the list's cursors from others.
const LIST: &str = "campaigns";

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/campaigns",
            get_with(list, |op| op.id("listCampaigns").summary("List campaigns").tag("campaigns"))
                .post_with(create, |op| {
                    op.id("createCampaign").summary("Make a draft").tag("campaigns")
                }),
        )
        .api_route(
            "/campaigns/{campaign}",
            get_with(get, |op| {
                op.id("getCampaign").summary("Read a campaign and its numbers").tag("campaigns")
            })
            .patch_with(replace, |op| {
                op.id("replaceDraft").summary("Replace the document of a draft").tag("campaigns")
            }),
        )
        .api_route(
            "/campaigns/{campaign}/versions",
            post_with(publish, |op| {
                op.id("publishVersion")
                    .summary("Publish the next version of a campaign")
                    .description(PUBLISHING)
                    .tag("campaigns")
            }),
        )
        .api_route(
            "/campaigns/{campaign}/duplicate",
            post_with(duplicate, |op| {
                op.id("duplicateCampaign")
                    .summary("Make a draft from the newest version")
                    .tag("campaigns")
            }),
        )
        .merge(enrollments::routes())
        .merge(moves::routes())
        .merge(orders::routes())
        .merge(retries::routes())
        .merge(trials::routes())
}

const PUBLISHING: &str = "\
Leads in the campaign go on with the version they began on; those who enter from now on get this one. \
Senders, caps and handover addresses count at once.";

#[derive(Debug, Deserialize, JsonSchema)]
struct CampaignPath {
    /// The campaign's id.
    campaign: CampaignId,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only campaigns of this status.
    status: Option<CampaignStatus>,
    /// Items of the page.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Viewer,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<CampaignSummary>>, Problem> {
    let Viewer(caller) = caller;
    let list = (LIST, query.status);
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let after: Option<String> = wanted.after(&list)?;
    let (store, status) = (&app.room.store, query.status);
    let rows = view::list(store, caller.workspace, status, after.as_deref(), wanted.rows()).await?;
    Ok(Json(wanted.page(&list, rows, |row| row.campaign.name.clone())))
}

async fn get(
    State(app): State<App>,
    caller: Viewer,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
) -> Result<Versioned<Campaign>, Problem> {
    read(&app, caller.0.workspace, campaign).await
}

/// Returns a campaign as it is shown.
async fn read(
    app: &App,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<Versioned<Campaign>, Problem> {
    let detail = view::read(&app.room.store, workspace, campaign).await?;
    let version = detail.overview.campaign.version;
    Ok(Versioned { version, body: Campaign::of(detail, app.workflows.as_deref()) })
}

async fn create(
    State(app): State<App>,
    caller: Operator,
    Body(document): Body<CampaignDocument>,
) -> Result<Created<AppliedCampaign>, Problem> {
    let Operator(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    let applied = apply::create(store, caller.workspace, &document, &actor).await?;
    created(&app, caller.workspace, applied).await
}

async fn replace(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    IfMatch(expected): IfMatch,
    Body(document): Body<CampaignDocument>,
) -> Result<Versioned<AppliedCampaign>, Problem> {
    let Operator(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    let applied =
        apply::replace(store, caller.workspace, campaign, expected, &document, &actor).await?;
    shown(&app, caller.workspace, applied.map_err(refused)?).await
}

async fn publish(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    IfMatch(expected): IfMatch,
    Body(document): Body<CampaignDocument>,
) -> Result<Versioned<AppliedCampaign>, Problem> {
    let Operator(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    let applied =
        apply::publish(store, caller.workspace, campaign, expected, &document, &actor).await?;
    shown(&app, caller.workspace, applied.map_err(refused)?).await
}

/// The draft to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Duplicate {
    /// Its name, which must be free.
    #[schemars(length(min = 1, max = 100))]
    name: String,
}

async fn duplicate(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    Body(new): Body<Duplicate>,
) -> Result<Created<AppliedCampaign>, Problem> {
    let Operator(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    let applied = apply::duplicate(store, caller.workspace, campaign, &new.name, &actor).await?;
    created(&app, caller.workspace, applied).await
}

async fn created(
    app: &App,
    workspace: WorkspaceId,
    applied: Result<Applied, NotApplied>,
) -> Result<Created<AppliedCampaign>, Problem> {
    let applied = applied.map_err(refused)?;
    let location = format!("/api/v1/campaigns/{}", applied.campaign);
    let Versioned { body, .. } = shown(app, workspace, applied).await?;
    Ok(Created { location, body })
}

async fn shown(
    app: &App,
    workspace: WorkspaceId,
    applied: Applied,
) -> Result<Versioned<AppliedCampaign>, Problem> {
    let Versioned { version, body: campaign } = read(app, workspace, applied.campaign).await?;
    let Applied { capture_made, unserved, nameless, deaf, .. } = applied;
    let body = AppliedCampaign {
        campaign,
        unserved_steps: unserved,
        nameless_senders: nameless,
        deaf_senders: deaf,
        capture_made,
    };
    Ok(Versioned { version, body })
}

fn refused(refusal: NotApplied) -> Problem {
    match refusal {
        NotApplied::Faulty(faults) => faults.into(),
        NotApplied::NameTaken { name, by } => Problem::conflict(format!(
            "the campaign {by} has the name `{name}` already: choose another, or change that one"
        )),
        NotApplied::NotADraft(status) => Problem::conflict(format!(
            "it is {status}, and only a draft is replaced: publish a version, or duplicate it"
        )),
        NotApplied::Changed { version } => Problem::changed(format!(
            "it is at version {version}: read it again, and send that `ETag` in If-Match"
        )),
    }
}
