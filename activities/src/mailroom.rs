//! What every send needs besides its rows: the store, the versions, the keys and the public name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use chrono::TimeDelta;
use machine::ids::{SenderId, WorkspaceId};
use url::Url;
use uuid::Uuid;

use crate::capture::player;
use crate::capture::script::Script;
use crate::engine::Engine;
use crate::error::Result;
use crate::key_ring::KeyRing;
use crate::life::Life;
use crate::mail::reach::Reach;
use crate::mail::smtp::SmtpTransport;
use crate::mailgun::client::MailgunClient;
use crate::senders::{Sender, Transport};
use crate::store::Store;
use crate::suppression_key::SuppressionKey;
use crate::token::Tokens;
use crate::twilio::client::TwilioClient;
use crate::versions::Versions;

/// What every send needs besides its rows. Cheap to clone.
#[derive(Clone)]
pub struct Mailroom {
    /// The database.
    pub store: Store,
    /// Versions met so far.
    pub versions: Versions,
    /// Opens secrets.
    pub keys: Arc<KeyRing>,
    /// Signs links.
    pub tokens: Arc<Tokens>,
    /// Hashes addresses for the list of suppressions.
    pub suppressions: Arc<SuppressionKey>,
    /// Where links lead.
    pub public_url: Url,
    /// The domain whose mail comes back to us, for `Reply-To`; `None`: answers go to the sender.
    pub reply_domain: Option<String>,
    /// Which mail servers may be spoken to.
    pub reach: Reach,
    /// This process, as leases name it.
    pub runner: Uuid,
    /// Whether this process lives, as its leases require.
    pub life: Arc<Life>,
    /// Which engine is handed what turns ask for here; leads of another one are left to it.
    pub engine: Engine,
    outlets: Arc<RwLock<HashMap<(WorkspaceId, SenderId), Opened>>>,
    scripts: Arc<RwLock<HashMap<PathBuf, Option<Arc<Script>>>>>,
}

/// How a sender's messages leave, made ready.
#[derive(Clone)]
pub enum Outlet {
    /// They are kept and can be read.
    Capture,
    /// Through a mail server.
    Smtp(Arc<SmtpTransport>),
    /// Through Mailgun.
    Mailgun(Arc<MailgunClient>),
    /// Through Twilio.
    Twilio(Arc<TwilioClient>),
    /// They are accepted and forgotten, for measuring.
    Discard,
}

/// How many calls to `sender` may be open before it is known how its messages leave.
pub fn calls_max_at_first(sender: Option<SenderId>, per_mailbox: usize) -> usize {
    // A send without a sender is answered without a call.
    if sender.is_some() { per_mailbox } else { CALLS_WIDE }
}

/// The longest lease of any outlet. By SMTP the wait after the final dot alone is ten minutes (RFC 5321,
/// 4.5.3.2).
pub const LEASE_MAX: TimeDelta = TimeDelta::minutes(15);

/// How many calls may be open where no account bears them.
const CALLS_WIDE: usize = 500;

/// How many calls over HTTP a sender may have open.
const CALLS_OVER_HTTP: usize = 8;

impl Outlet {
    /// The word under which its calls are counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Smtp(_) => "smtp",
            Self::Mailgun(_) => "mailgun",
            Self::Twilio(_) => "twilio",
            Self::Discard => "discard",
        }
    }

    /// How long a call may take in all, wall time, from its gate on.
    pub fn lease(&self) -> TimeDelta {
        match self {
            Self::Smtp(_) | Self::Capture | Self::Discard => LEASE_MAX,
            Self::Mailgun(_) | Self::Twilio(_) => TimeDelta::seconds(60),
        }
    }

    /// How many calls a process may have open to its sender, where one mail account bears `per_mailbox`.
    pub fn calls_max(&self, per_mailbox: usize) -> usize {
        match self {
            Self::Smtp(_) => per_mailbox,
            Self::Mailgun(_) | Self::Twilio(_) => CALLS_OVER_HTTP,
            Self::Capture | Self::Discard => CALLS_WIDE,
        }
    }
}

#[derive(Clone)]
struct Opened {
    transport: Transport,
    secret: Option<Vec<u8>>,
    outlet: Outlet,
}

impl Mailroom {
    /// Furnishes a mailroom.
    pub fn new(
        store: Store,
        keys: Arc<KeyRing>,
        public_url: Url,
        reply_domain: Option<String>,
        runner: Uuid,
    ) -> Self {
        Self {
            store,
            versions: Versions::default(),
            tokens: Arc::new(Tokens::new(&keys)),
            suppressions: Arc::new(SuppressionKey::new(&keys)),
            keys,
            public_url,
            reply_domain,
            reach: Reach::Public,
            runner,
            life: Arc::default(),
            engine: Engine::default(),
            outlets: Arc::default(),
            scripts: Arc::default(),
        }
    }

    /// Returns the same for `engine`.
    #[must_use]
    pub fn driven_by(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// Returns the script that plays recipients, read once in the life of the process; `None` if it
    /// cannot be read, which is logged.
    pub fn script(&self, path: &Path) -> Option<Arc<Script>> {
        let known = self.scripts.read().expect("no writer panics").get(path).cloned();
        known.unwrap_or_else(|| {
            let script = player::load(path)
                .map_err(|error| tracing::error!(error = crate::error::chain(&error), "no script"))
                .ok();
            let mut scripts = self.scripts.write().expect("no writer panics");
            scripts.entry(path.to_owned()).or_insert(script).clone()
        })
    }

    /// Returns how the messages of `sender` leave.
    ///
    /// # Errors
    ///
    /// Why they cannot: its password cannot be opened, say. That is this sender's trouble alone.
    pub fn outlet(&self, workspace: WorkspaceId, sender: &Sender) -> Result<Outlet, String> {
        let key = (workspace, sender.id);
        let known = self.outlets.read().expect("no writer panics").get(&key).cloned();
        if let Some(known) = known
            && known.transport == sender.transport
            && known.secret == sender.secret
        {
            return Ok(known.outlet);
        }
        let password = || {
            let opened = sender.password(workspace, &self.keys);
            opened.map_err(|error| crate::error::chain(&error))
        };
        let outlet = match &sender.transport {
            Transport::Capture { .. } => Outlet::Capture,
            Transport::Discard => Outlet::Discard,
            Transport::Mailgun(account) => match password()? {
                Some(key) => Outlet::Mailgun(Arc::new(MailgunClient::new(account.clone(), key))),
                None => return Err("no key is stored for this domain".to_owned()),
            },
            Transport::Twilio(account) => match password()? {
                Some(token) => Outlet::Twilio(Arc::new(TwilioClient::new(account.clone(), token))),
                None => return Err("no token is stored for this account".to_owned()),
            },
            Transport::Smtp(account) => {
                match SmtpTransport::new(account.clone(), password()?.as_ref()) {
                    Ok(transport) => Outlet::Smtp(Arc::new(transport.within(self.reach))),
                    Err(fault) => return Err(crate::error::chain(&fault)),
                }
            }
        };
        let opened = Opened {
            transport: sender.transport.clone(),
            secret: sender.secret.clone(),
            outlet: outlet.clone(),
        };
        self.outlets.write().expect("no writer panics").insert(key, opened);
        Ok(outlet)
    }
}
