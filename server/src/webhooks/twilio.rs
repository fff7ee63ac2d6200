//! Twilio's posts: texts that came in, to the address of an endpoint, and what becomes of texts of ours,
//! to an address that we signed and sent along with each. Both are believed only if they are signed over
//! our public address as it is configured. The answer is always empty: what we say leaves through the
//! gate like everything else.

use activities::endpoint_key::{EndpointKey, KeyUse};
use activities::error::{ActivityError, chain};
use activities::ingest::{self, NewEvent, Provider, Signalled};
use activities::mailroom::Mailroom;
use activities::senders::{Sender, Transport};
use activities::store::{matches, senders, webhook_endpoints};
use activities::token::SendClaim;
use activities::twilio::post::{self, TwilioPost};
use activities::twilio::signature::{self, Signed};
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use machine::ids::WorkspaceId;
use secrecy::{ExposeSecret, SecretSlice};
use url::Url;

use super::form;

/// The longest post that is taken, in bytes.
pub(super) const POST_MAX: usize = 1024 * 1024;

/// What Twilio reads as: do nothing.
const NOTHING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

/// Why a post is not taken.
enum Refusal {
    /// The path opens nothing.
    NoEndpoint,
    TooLong,
    /// Not what Twilio posts.
    Malformed,
    /// Not signed by Twilio over our own address.
    NotSigned,
    /// Ours: nothing was stored.
    Failed(ActivityError),
}

/// `POST /webhooks/twilio/{endpoint_key}`: a text came in.
pub(super) async fn receive(
    State(room): State<Mailroom>,
    Path(key): Path<String>,
    request: Request,
) -> Response {
    answer(take(&room, &key, request).await)
}

/// `POST /webhooks/twilio/status/{token}`: what became of one ask of a text of ours.
pub(super) async fn receive_status(
    State(room): State<Mailroom>,
    Path(token): Path<String>,
    request: Request,
) -> Response {
    answer(take_status(&room, &token, request).await)
}

fn answer(taken: Result<Signalled, Refusal>) -> Response {
    let (answer, status) = match taken {
        Ok(Signalled::Stored { .. }) => ("stored", StatusCode::OK),
        Ok(Signalled::Repeated) => ("repeated", StatusCode::OK),
        Ok(Signalled::Unmatched) => ("unmatched", StatusCode::OK),
        Err(Refusal::NoEndpoint) => ("no_endpoint", StatusCode::NOT_FOUND),
        Err(Refusal::TooLong) => ("too_long", StatusCode::PAYLOAD_TOO_LARGE),
        Err(Refusal::Malformed) => ("malformed", StatusCode::BAD_REQUEST),
        Err(Refusal::NotSigned) => ("not_signed", StatusCode::UNAUTHORIZED),
        Err(Refusal::Failed(error)) => {
            tracing::error!(error = chain(&error), "a webhook could not be stored");
            ("failed", StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    if matches!(answer, "too_long" | "malformed" | "not_signed") {
        // The endpoint exists: the token or our public address may be wrong, and nobody else would tell.
        tracing::warn!(provider = "twilio", answer, "a post to a webhook was refused");
    }
    let labels = [("provider", "twilio"), ("answer", answer)];
    metrics::counter!("meridian_webhooks_total", &labels).increment(1);
    match status {
        StatusCode::OK => {
            ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], NOTHING).into_response()
        }
        refused => refused.into_response(),
    }
}

async fn take(room: &Mailroom, key: &str, request: Request) -> Result<Signalled, Refusal> {
    let key = key.parse::<EndpointKey>().map_err(|_| Refusal::NoEndpoint)?;
    if key.key_use() != KeyUse::Webhook {
        return Err(Refusal::NoEndpoint);
    }
    let workspace = WorkspaceId::new(key.workspace());
    let provider = Provider::Twilio.as_str();
    let mut tx = room.store.begin(workspace).await?;
    let endpoint = webhook_endpoints::find(&mut tx, &room.keys, &key, provider).await?;
    tx.commit().await?;
    let endpoint = endpoint.ok_or(Refusal::NoEndpoint)?;
    let posted = Posted::read(room, request).await?;
    posted.verify(&[endpoint.signing_key])?;
    let event = match TwilioPost::read(&posted.fields).map_err(|_| Refusal::Malformed)? {
        TwilioPost::Message(text) => NewEvent::of_twilio_text(text, posted.fields),
        TwilioPost::Status(status) => NewEvent::of_twilio_stray(&status, posted.body.into()),
    };
    Ok(ingest::signal(room, workspace, event).await?)
}

async fn take_status(room: &Mailroom, token: &str, request: Request) -> Result<Signalled, Refusal> {
    let claim = room.tokens.verify_send(token).ok_or(Refusal::NoEndpoint)?;
    let tokens = tokens_for(room, claim).await?;
    let posted = Posted::read(room, request).await?;
    posted.verify(&tokens)?;
    let TwilioPost::Status(status) =
        TwilioPost::read(&posted.fields).map_err(|_| Refusal::Malformed)?
    else {
        return Err(Refusal::Malformed);
    };
    let event = NewEvent::of_twilio_status(claim, &status, posted.body.into());
    Ok(ingest::signal(room, WorkspaceId::new(claim.workspace), event).await?)
}

/// The auth tokens with which reports about a send may be signed: that of its sender, and those of the
/// endpoints, which is how an API key's account is known.
async fn tokens_for(
    room: &Mailroom,
    claim: SendClaim,
) -> Result<Vec<SecretSlice<u8>>, ActivityError> {
    let workspace = WorkspaceId::new(claim.workspace);
    let mut tx = room.store.begin(workspace).await?;
    let provider = Provider::Twilio.as_str();
    let mut tokens =
        webhook_endpoints::signing_keys(&mut tx, &room.keys, workspace, provider).await?;
    let named = matches::first_send(&mut tx, workspace, &[claim.send.into()]).await?;
    let sender: Vec<_> = named.and_then(|named| named.sender).into_iter().collect();
    let rows = senders::by_ids(&mut tx, workspace, &sender).await?;
    tx.commit().await?;
    for row in rows {
        let sender = Sender::try_from(row)?;
        if let Transport::Twilio(account) = &sender.transport
            && account.has_auth_token()
            && let Some(token) = sender.password(workspace, &room.keys)?
        {
            tokens.push(token.expose_secret().as_bytes().to_vec().into());
        }
    }
    Ok(tokens)
}

/// A post, unverified.
struct Posted {
    /// Our public address, with the path and query that were asked for.
    url: Url,
    signature: String,
    body: Bytes,
    fields: Vec<(String, String)>,
    is_form: bool,
}

impl Posted {
    async fn read(room: &Mailroom, request: Request) -> Result<Self, Refusal> {
        let mut url = room.public_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{}", request.uri().path()));
        url.set_query(request.uri().query());
        let signature = header(&request, signature::HEADER);
        let content_type = header(&request, header::CONTENT_TYPE.as_str()).to_ascii_lowercase();
        let body = Bytes::from_request(request, &()).await.map_err(|rejection| match rejection
            .status()
        {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLong,
            _ => Refusal::Malformed,
        })?;
        let is_form = content_type.starts_with("application/x-www-form-urlencoded");
        let fields = if is_form {
            form::fields(&content_type, body.clone()).await.map_err(|_| Refusal::Malformed)?
        } else if content_type.starts_with("application/json") {
            // What cannot be read is refused once it is known that nobody signed it.
            post::json_fields(&body).unwrap_or_default()
        } else {
            return Err(Refusal::Malformed);
        };
        Ok(Self { url, signature, body, fields, is_form })
    }

    fn verify(&self, tokens: &[SecretSlice<u8>]) -> Result<(), Refusal> {
        let tokens: Vec<&[u8]> = tokens.iter().map(|token| token.expose_secret()).collect();
        let signed = match self.is_form {
            true => Signed::Form(&self.fields),
            false => Signed::Bytes(&self.body),
        };
        match signature::verify(&tokens, &self.url, signed, &self.signature) {
            true => Ok(()),
            false => Err(Refusal::NotSigned),
        }
    }
}

fn header(request: &Request, name: &str) -> String {
    let value = request.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim().to_owned()
}

impl From<ActivityError> for Refusal {
    fn from(error: ActivityError) -> Self {
        Self::Failed(error)
    }
}
