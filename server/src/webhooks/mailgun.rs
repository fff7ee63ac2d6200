//! `POST /webhooks/mailgun/{endpoint_key}`: events and inbound mail. 200 means stored, a repeat and a
//! kind we ignore included; 406 tells Mailgun never to try again; everything else makes it repeat for
//! eight hours.

use activities::endpoint_key::{EndpointKey, KeyUse};
use activities::error::{ActivityError, chain};
use activities::ingest::{self, NewEvent, PostBody, Provider, Signalled};
use activities::mailgun::{self, MailgunPost, PostFault};
use activities::mailroom::Mailroom;
use activities::store::clock::{self, Clocks};
use activities::store::webhook_endpoints::{self, Endpoint};
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use bytes::Bytes;
use machine::ids::WorkspaceId;
use secrecy::ExposeSecret;

use super::form;

/// The longest event.
const EVENT_MAX: usize = 1024 * 1024;

/// The longest mail, as Mailgun limits it.
pub(super) const MAIL_MAX: usize = 25 * 1024 * 1024;

/// Why a post is not taken.
enum Refusal {
    /// The path opens nothing.
    NoEndpoint,
    TooLong,
    /// Not what Mailgun posts.
    Malformed,
    /// Not signed by Mailgun, or a day ago.
    NotSigned,
    /// Ours: nothing was stored.
    Failed(ActivityError),
}

/// Takes one post.
pub(super) async fn receive(
    State(room): State<Mailroom>,
    Path(key): Path<String>,
    request: Request,
) -> StatusCode {
    let (answer, status) = match take(&room, &key, request).await {
        Ok(Signalled::Stored { .. }) => ("stored", StatusCode::OK),
        Ok(Signalled::Repeated) => ("repeated", StatusCode::OK),
        Ok(Signalled::Unmatched) => ("unmatched", StatusCode::OK),
        Err(Refusal::NoEndpoint) => ("no_endpoint", StatusCode::NOT_FOUND),
        Err(Refusal::TooLong) => ("too_long", StatusCode::PAYLOAD_TOO_LARGE),
        Err(Refusal::Malformed) => ("malformed", StatusCode::BAD_REQUEST),
        Err(Refusal::NotSigned) => ("not_signed", StatusCode::NOT_ACCEPTABLE),
        Err(Refusal::Failed(error)) => {
            tracing::error!(error = chain(&error), "a webhook could not be stored");
            ("failed", StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    if matches!(answer, "too_long" | "malformed" | "not_signed") {
        // The endpoint exists: its signing key may be wrong, and nobody else would tell.
        tracing::warn!(provider = "mailgun", answer, "a post to a webhook was refused");
    }
    let labels = [("provider", "mailgun"), ("answer", answer)];
    metrics::counter!("meridian_webhooks_total", &labels).increment(1);
    status
}

async fn take(room: &Mailroom, key: &str, request: Request) -> Result<Signalled, Refusal> {
    let key = key.parse::<EndpointKey>().map_err(|_| Refusal::NoEndpoint)?;
    let (endpoint, now) = find(room, &key).await?.ok_or(Refusal::NoEndpoint)?;
    let (post, body) = read(request).await?;
    if !post.signature.verify(endpoint.signing_key.expose_secret())
        || mailgun::stale(&post.signature.timestamp, now.wall)
    {
        return Err(Refusal::NotSigned);
    }
    let workspace = WorkspaceId::new(key.workspace());
    let event = NewEvent::of_mailgun(room, workspace, post, body, now.campaign);
    Ok(ingest::signal(room, workspace, event).await?)
}

async fn find(
    room: &Mailroom,
    key: &EndpointKey,
) -> Result<Option<(Endpoint, Clocks)>, ActivityError> {
    if key.key_use() != KeyUse::Webhook {
        return Ok(None);
    }
    let mut tx = room.store.begin(WorkspaceId::new(key.workspace())).await?;
    let provider = Provider::Mailgun.as_str();
    let endpoint = webhook_endpoints::find(&mut tx, &room.keys, key, provider).await?;
    let now = clock::read(&mut tx).await?;
    tx.commit().await?;
    Ok(endpoint.map(|endpoint| (endpoint, now)))
}

/// Reads a post, unverified.
async fn read(request: Request) -> Result<(MailgunPost, PostBody), Refusal> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().trim_start().to_owned();
    let is_event = content_type.to_ascii_lowercase().starts_with("application/json");
    let body =
        Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLong,
            _ => Refusal::Malformed,
        })?;
    if is_event {
        if body.len() > EVENT_MAX {
            return Err(Refusal::TooLong);
        }
        let post = mailgun::parse_event(&body)?;
        return Ok((post, PostBody::Event(body.into())));
    }
    let fields = form::fields(&content_type, body).await.map_err(|_| Refusal::Malformed)?;
    let post = mailgun::parse_mail(fields.clone())?;
    Ok((post, PostBody::Mail(fields)))
}

impl From<PostFault> for Refusal {
    fn from(fault: PostFault) -> Self {
        match fault {
            PostFault::Missing { field } | PostFault::Wrong { field, .. } if is_signed(field) => {
                Self::NotSigned
            }
            PostFault::NotJson { .. } | PostFault::Missing { .. } | PostFault::Wrong { .. } => {
                Self::Malformed
            }
        }
    }
}

impl From<ActivityError> for Refusal {
    fn from(error: ActivityError) -> Self {
        Self::Failed(error)
    }
}

/// Whether a field is part of the signature.
fn is_signed(field: &str) -> bool {
    matches!(field.rsplit('.').next(), Some("timestamp" | "token" | "signature"))
}
