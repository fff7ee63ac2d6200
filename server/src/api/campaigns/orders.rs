//! Orders about a whole campaign: start, pause, resume, stop. An order holds when it is answered; its
//! leads are told in the background.

use activities::campaign_verb::{self, Ordered, Verb};
use activities::campaigns::start::{self, NotStarted, When};
use aide::axum::ApiRouter;
use aide::axum::routing::post_with;
use axum::extract::State;
use chrono::{DateTime, Utc};
use machine::ids::CampaignId;
use machine::signal::ResumeRule;
use schemars::JsonSchema;
use serde::Deserialize;

use super::views::Campaign;
use super::{CampaignPath, read};
use crate::api::App;
use crate::api::answer::{Accepted, Versioned};
use crate::api::caller::{Caller, Operator};
use crate::api::problem::Problem;
use crate::api::request::{Body, MaybeBody, Path};

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/campaigns/{campaign}/start",
            post_with(begin, |op| {
                op.id("startCampaign")
                    .summary("Start a campaign, now or at a time")
                    .description(STARTING)
                    .tag("campaigns")
            }),
        )
        .api_route(
            "/campaigns/{campaign}/pause",
            post_with(pause, |op| {
                op.id("pauseCampaign")
                    .summary("Let nothing leave until it is resumed")
                    .description("On a draft that was to start later, it cancels that.")
                    .tag("campaigns")
            }),
        )
        .api_route(
            "/campaigns/{campaign}/resume",
            post_with(resume, |op| {
                op.id("resumeCampaign").summary("Let a paused campaign go on").tag("campaigns")
            }),
        )
        .api_route(
            "/campaigns/{campaign}/stop",
            post_with(stop, |op| {
                op.id("stopCampaign")
                    .summary("End a campaign for good")
                    .description(STOPPING)
                    .tag("campaigns")
            }),
        )
}

const STARTING: &str = "\
Its audience enters in the background, from then on or from now: `start_at` is gone when everybody is \
in. An active campaign takes in whoever of its audience is not in it yet.";

const STOPPING: &str = "\
Every live lead ends as stopped. On a draft that was to start later, it cancels that and leaves the \
draft.";

/// When to start.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StartOrder {
    /// Campaign time; left out, it is now. Only a draft can start later.
    at: Option<DateTime<Utc>>,
}

async fn begin(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    MaybeBody(order): MaybeBody<StartOrder>,
) -> Result<Accepted<Campaign>, Problem> {
    let Operator(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    let when = order.at.map_or(When::Now, When::At);
    match start::order(store, caller.workspace, campaign, when, &actor).await? {
        Ok(()) => {}
        Err(NotStarted::Passed { now }) => {
            let fix = format!("has passed: it is {now}; leave it out to start now");
            return Err(Problem::invalid_field("at", fix));
        }
        Err(NotStarted::TooFar { latest }) => {
            return Err(Problem::invalid_field(
                "at",
                format!("is too far ahead: at most {latest}"),
            ));
        }
        Err(NotStarted::Begun(status)) => {
            let detail = format!("it is {status}, and only a draft can start later");
            return Err(Problem::conflict(detail));
        }
        Err(NotStarted::Paused) => {
            return Err(Problem::conflict("it is paused: resume it, with a rule"));
        }
        Err(NotStarted::Stopped) => {
            return Err(Problem::conflict("it is stopped for good: duplicate it"));
        }
    }
    let Versioned { body, .. } = read(&app, caller.workspace, campaign).await?;
    Ok(Accepted(body))
}

async fn pause(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
) -> Result<Versioned<Campaign>, Problem> {
    order(&app, &caller.0, campaign, Verb::Pause).await
}

/// How to go on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResumeOrder {
    /// What becomes of the waits that were interrupted.
    rule: ResumeRule,
}

async fn resume(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    Body(ResumeOrder { rule }): Body<ResumeOrder>,
) -> Result<Versioned<Campaign>, Problem> {
    order(&app, &caller.0, campaign, Verb::Resume(rule)).await
}

async fn stop(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
) -> Result<Versioned<Campaign>, Problem> {
    order(&app, &caller.0, campaign, Verb::Stop).await
}

async fn order(
    app: &App,
    caller: &Caller,
    campaign: CampaignId,
    verb: Verb,
) -> Result<Versioned<Campaign>, Problem> {
    let (store, workspace, actor) = (&app.room.store, caller.workspace, caller.actor());
    let wanted = match verb {
        Verb::Pause => "paused",
        Verb::Resume(_) => "resumed",
        Verb::Stop => "stopped",
    };
    match campaign_verb::order(store, workspace, campaign, verb, &actor).await? {
        Ordered::Done | Ordered::Already | Ordered::StartCancelled => {}
        Ordered::NotWhile(status) => {
            return Err(Problem::conflict(format!("it is {status}, so it cannot be {wanted}")));
        }
    }
    read(app, workspace, campaign).await
}
