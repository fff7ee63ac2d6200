//! Webhook endpoints as people make and close them. An endpoint's address is its secret: it is known when
//! it is made, and never again.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::endpoint_key::{EndpointKey, KeyUse};
use crate::error::Result;
use crate::ids;
use crate::key_ring::KeyRing;
use crate::store::audit::{self, Act};
use crate::store::webhook_endpoints::{self, EndpointId};
use crate::store::{Store, clock};

/// Who posts to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Mailgun: events and inbound mail.
    Mailgun,
    /// Twilio: texts that come in, and what becomes of those we sent.
    Twilio,
}

impl Provider {
    const ALL: [Self; 2] = [Self::Mailgun, Self::Twilio];

    /// Returns the word of the table and of the address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mailgun => "mailgun",
            Self::Twilio => "twilio",
        }
    }
}

/// A word that is no provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no provider of ours: it is `mailgun` or `twilio`")]
pub struct NotAProvider(String);

impl FromStr for Provider {
    type Err = NotAProvider;

    fn from_str(word: &str) -> Result<Self, NotAProvider> {
        let found = Self::ALL.into_iter().find(|provider| provider.as_str() == word);
        found.ok_or_else(|| NotAProvider(word.to_owned()))
    }
}

/// An endpoint that was made. Its address is to be shown now.
pub struct Made {
    /// Its id.
    pub id: EndpointId,
    /// Who posts to it.
    pub provider: Provider,
    /// Wall time of its making.
    pub at: DateTime<Utc>,
    key: EndpointKey,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Made {
    /// Returns its address below `base`, which opens it to whoever knows it.
    pub fn address(&self, base: &Url) -> String {
        let base = base.as_str().trim_end_matches('/');
        format!("{base}/webhooks/{}/{}", self.provider.as_str(), self.key.reveal())
    }
}

/// Makes an endpoint for `provider`, whose posts are verified with `signing_key`.
///
/// # Errors
///
/// When the database fails.
pub async fn add(
    store: &Store,
    keys: &KeyRing,
    workspace: WorkspaceId,
    provider: Provider,
    signing_key: &SecretString,
    actor: &str,
) -> Result<Made> {
    let id: EndpointId = ids::new();
    let key = EndpointKey::generate(KeyUse::Webhook, workspace.uuid());
    let secret = signing_key.expose_secret().trim().as_bytes();
    let mut tx = store.begin(workspace).await?;
    let at = clock::read(&mut tx).await?.wall;
    webhook_endpoints::add(&mut tx, keys, id, &key, provider.as_str(), secret, at).await?;
    let subject = format!("endpoint/{id}");
    let act = Act { actor, act: "endpoint.create", subject: &subject, details: None };
    audit::record(&mut tx, workspace, &act, at).await?;
    tx.commit().await?;
    Ok(Made { id, provider, at, key })
}

/// Closes an endpoint for good. Returns whether it was open.
///
/// # Errors
///
/// When the database fails.
pub async fn revoke(
    store: &Store,
    workspace: WorkspaceId,
    endpoint: EndpointId,
    actor: &str,
) -> Result<bool> {
    let mut tx = store.begin(workspace).await?;
    let at = clock::read(&mut tx).await?.wall;
    let was_open = webhook_endpoints::revoke(&mut tx, workspace, endpoint, at).await?;
    if was_open {
        let subject = format!("endpoint/{endpoint}");
        let act = Act { actor, act: "endpoint.revoke", subject: &subject, details: None };
        audit::record(&mut tx, workspace, &act, at).await?;
    }
    tx.commit().await?;
    Ok(was_open)
}
