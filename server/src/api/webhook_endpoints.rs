//! `/webhook-endpoints`: where providers bring us bounces, complaints and replies. An address is shown
//! once, when its endpoint is made.

use activities::endpoints::{self, Provider};
use activities::store::endpoint_views::{self, EndpointView};
use activities::store::webhook_endpoints::EndpointId;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::App;
use super::answer::Created;
use super::caller::Admin;
use super::page::{Page, PageQuery, Wanted};
use super::problem::Problem;
use super::request::{Body, Path, Query};

/// Tells the list's cursors from others.
const LIST: &str = "webhook-endpoints";

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/webhook-endpoints",
            get_with(list, |op| {
                op.id("listWebhookEndpoints")
                    .summary("List the addresses that providers post to, without their secret part")
                    .tag("webhook endpoints")
            })
            .post_with(create, |op| {
                op.id("createWebhookEndpoint")
                    .summary("Make an address for a provider to post to")
                    .tag("webhook endpoints")
            }),
        )
        .api_route(
            "/webhook-endpoints/{endpoint}",
            get_with(show, |op| {
                op.id("getWebhookEndpoint").summary("Show an endpoint").tag("webhook endpoints")
            })
            .delete_with(revoke, |op| {
                op.id("revokeWebhookEndpoint")
                    .summary("Close an endpoint for good")
                    .tag("webhook endpoints")
            }),
        )
}

/// An address that a provider posts to.
#[derive(Debug, Serialize, JsonSchema)]
struct WebhookEndpoint {
    /// Its id.
    id: EndpointId,
    /// `mailgun` or `twilio`.
    provider: String,
    /// Wall time of its making.
    created_at: DateTime<Utc>,
    /// Wall time of its end.
    revoked_at: Option<DateTime<Utc>>,
    /// Wall time of this provider's newest event, to whichever endpoint.
    last_event_at: Option<DateTime<Utc>>,
}

impl From<EndpointView> for WebhookEndpoint {
    fn from(view: EndpointView) -> Self {
        Self {
            id: view.endpoint_id.into(),
            provider: view.provider,
            created_at: view.created_at,
            revoked_at: view.revoked_at,
            last_event_at: view.last_event_at,
        }
    }
}

async fn list(
    State(app): State<App>,
    caller: Admin,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<WebhookEndpoint>>, Problem> {
    let Admin(caller) = caller;
    let wanted = Wanted::of(&query)?;
    let before: Option<Uuid> = wanted.after(&LIST)?;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let rows = endpoint_views::list(&mut tx, caller.workspace, before, wanted.rows()).await?;
    Ok(Json(wanted.page(&LIST, rows, |row| row.endpoint_id)))
}

/// An endpoint to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewWebhookEndpoint {
    /// Who posts to it.
    provider: ProviderWord,
    /// What its posts are signed with: Mailgun's webhook signing key, or the auth token of the Twilio
    /// account. It is kept sealed and never told.
    #[schemars(with = "String", length(min = 1, max = 1_000))]
    signing_key: SecretString,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ProviderWord {
    /// Events and inbound mail.
    Mailgun,
    /// Texts that come in, and what becomes of those we sent.
    Twilio,
}

impl From<ProviderWord> for Provider {
    fn from(word: ProviderWord) -> Self {
        match word {
            ProviderWord::Mailgun => Self::Mailgun,
            ProviderWord::Twilio => Self::Twilio,
        }
    }
}

/// A new endpoint, and its address, which is shown this once.
#[derive(Debug, Serialize, JsonSchema)]
struct CreatedWebhookEndpoint {
    /// Its id.
    id: EndpointId,
    /// `mailgun` or `twilio`.
    provider: String,
    /// Wall time of its making.
    created_at: DateTime<Utc>,
    /// Enter it at the provider.
    url: String,
}

/// The longest signing key, in characters.
const SIGNING_KEY_MAX: usize = 1_000;

async fn create(
    State(app): State<App>,
    caller: Admin,
    Body(new): Body<NewWebhookEndpoint>,
) -> Result<Created<CreatedWebhookEndpoint>, Problem> {
    let Admin(caller) = caller;
    let signing_key = new.signing_key.expose_secret().trim();
    if signing_key.is_empty() || signing_key.chars().count() > SIGNING_KEY_MAX {
        let message = format!("use 1 to {SIGNING_KEY_MAX} characters, from the provider's pages");
        return Err(Problem::invalid_field("signing_key", message));
    }
    let (room, workspace, actor) = (&app.room, caller.workspace, caller.actor());
    let (provider, secret) = (new.provider.into(), &new.signing_key);
    let made = endpoints::add(&room.store, &room.keys, workspace, provider, secret, &actor).await?;
    let body = CreatedWebhookEndpoint {
        id: made.id,
        provider: made.provider.as_str().to_owned(),
        created_at: made.at,
        url: made.address(&room.public_url),
    };
    Ok(Created { location: format!("/api/v1/webhook-endpoints/{}", made.id), body })
}

#[derive(Debug, Deserialize, JsonSchema)]
struct EndpointPath {
    /// The endpoint's id.
    endpoint: EndpointId,
}

async fn show(
    State(app): State<App>,
    caller: Admin,
    Path(EndpointPath { endpoint }): Path<EndpointPath>,
) -> Result<Json<WebhookEndpoint>, Problem> {
    let Admin(caller) = caller;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let found = endpoint_views::find(&mut tx, caller.workspace, endpoint).await?;
    let found = found
        .ok_or_else(|| Problem::not_found(format!("there is no webhook endpoint {endpoint}")))?;
    Ok(Json(found.into()))
}

async fn revoke(
    State(app): State<App>,
    caller: Admin,
    Path(EndpointPath { endpoint }): Path<EndpointPath>,
) -> Result<NoContent, Problem> {
    let Admin(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    match endpoints::revoke(store, caller.workspace, endpoint, &actor).await? {
        true => Ok(NoContent),
        false => Err(Problem::not_found(format!("there is no open webhook endpoint {endpoint}"))),
    }
}
