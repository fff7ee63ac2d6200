//! Senders as people set them up: a name, a URL, an address, limits. The password is sealed before
//! it rests anywhere, and a URL never carries it.

pub mod trouble;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::ids::{LeadId, SenderId, WorkspaceId};
use machine::sequence::Channel;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use uuid::Uuid;

use trouble::{Breaker, Trouble};

use crate::error::{ActivityError, Result};
use crate::header_text::HeaderText;
use crate::ids;
use crate::key_ring::KeyRing;
use crate::mail::account::{InvalidAccount, SmtpAccount};
use crate::mailgun::account::{InvalidMailgunAccount, MailgunAccount};
use crate::origin::Origin;
use crate::seal::{self, Place};
use crate::store::Store;
use crate::store::senders::{self as store, SenderRow};
use crate::twilio::account::{InvalidTwilioAccount, TwilioAccount};

/// The most senders a list shows.
const LIST_MAX: i64 = 1_000;

/// How messages leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// They do not: they are kept and can be read. A script may play the recipients.
    Capture {
        /// The file of the script, as an absolute path.
        script: Option<PathBuf>,
    },
    /// Through a mail server.
    Smtp(SmtpAccount),
    /// Mails, through Mailgun's HTTP interface.
    Mailgun(MailgunAccount),
    /// Texts, through Twilio.
    Twilio(TwilioAccount),
    /// They are accepted and forgotten: for measuring, never for people.
    Discard,
}

/// What is wrong with a sender's URL, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransport {
    /// The account of a mail server.
    #[error(transparent)]
    Account(#[from] InvalidAccount),
    /// A domain at Mailgun.
    #[error(transparent)]
    Mailgun(#[from] InvalidMailgunAccount),
    /// An account at Twilio.
    #[error(transparent)]
    Twilio(#[from] InvalidTwilioAccount),
    /// A script is named by a path that depends on where the program was started.
    #[error("`{0}` is not an absolute path; write capture:/path/to/script.yaml")]
    RelativeScript(String),
}

/// A sender's URL and its address belong to different channels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Mails come from addresses.
    #[error("{0} sends mails: give the address they come from, as in --from ada@example.com")]
    Mail(String),
    /// Texts come from numbers.
    #[error(
        "{0} sends texts: give the number they come from, as in --from +351912345678, or the id of a \
         messaging service"
    )]
    Text(String),
}

impl Transport {
    /// Returns the channel that is served if its messages come from `from`.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] if they cannot.
    pub fn channel(&self, from: &Origin) -> Result<Channel, Mismatch> {
        match (self, from.channel()) {
            (Self::Capture { .. } | Self::Discard, channel) => Ok(channel),
            (Self::Smtp(_) | Self::Mailgun(_), Channel::Email) => Ok(Channel::Email),
            (Self::Twilio(_), Channel::Sms) => Ok(Channel::Sms),
            (Self::Smtp(_) | Self::Mailgun(_), Channel::Sms | Channel::Call) => {
                Err(Mismatch::Mail(self.to_string()))
            }
            (Self::Twilio(_), Channel::Email | Channel::Call) => {
                Err(Mismatch::Text(self.to_string()))
            }
        }
    }

    /// Returns the script that plays the recipients, if there is one.
    pub fn script(&self) -> Option<&Path> {
        match self {
            Self::Capture { script } => script.as_deref(),
            Self::Smtp(_) | Self::Mailgun(_) | Self::Twilio(_) | Self::Discard => None,
        }
    }

    /// Whether it logs in somewhere, and so needs a password.
    pub fn needs_password(&self) -> bool {
        match self {
            Self::Capture { .. } | Self::Discard => false,
            Self::Smtp(account) => account.user().is_some(),
            Self::Mailgun(_) | Self::Twilio(_) => true,
        }
    }
}

impl FromStr for Transport {
    type Err = InvalidTransport;

    fn from_str(raw: &str) -> Result<Self, InvalidTransport> {
        if raw.trim() == "discard:" {
            return Ok(Self::Discard);
        }
        let Some(script) = raw.trim().strip_prefix("capture:") else {
            let scheme = raw.trim().split(':').next().unwrap_or_default();
            return Ok(match scheme {
                "twilio" | "twilio+http" => Self::Twilio(raw.parse()?),
                "mailgun" | "mailgun+http" => Self::Mailgun(raw.parse()?),
                _ => Self::Smtp(raw.parse()?),
            });
        };
        match Path::new(script) {
            path if script.is_empty() || path == Path::new("//") => {
                Ok(Self::Capture { script: None })
            }
            path if path.is_absolute() => Ok(Self::Capture { script: Some(path.to_owned()) }),
            _ => Err(InvalidTransport::RelativeScript(script.to_owned())),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capture { script: None } => f.write_str("capture:"),
            Self::Capture { script: Some(path) } => write!(f, "capture:{}", path.display()),
            Self::Smtp(account) => account.fmt(f),
            Self::Mailgun(account) => account.fmt(f),
            Self::Twilio(account) => account.fmt(f),
            Self::Discard => f.write_str("discard:"),
        }
    }
}

/// Takes the password out of a URL that people pasted whole.
pub fn split_password(raw: &str) -> (String, Option<SecretString>) {
    let Ok(mut url) = Url::parse(raw.trim()) else { return (raw.to_owned(), None) };
    let Some(password) = url.password().map(percent_decoded) else { return (raw.to_owned(), None) };
    match url.set_password(None) {
        Ok(()) => (url.to_string(), Some(password)),
        Err(()) => (raw.to_owned(), None),
    }
}

fn percent_decoded(text: &str) -> SecretString {
    // The query decoder reads a plus as a blank; here it is itself.
    let escaped = format!("it={}", text.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(escaped.as_bytes()).next();
    decoded.map(|(_, it)| it.into_owned()).unwrap_or_default().into()
}

/// Whether a sender may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderStatus {
    /// It sends.
    Active,
    /// Nothing leaves through it until it is resumed.
    Paused,
}

impl SenderStatus {
    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
        }
    }
}

/// A mailbox or number we send from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Its id.
    pub id: SenderId,
    /// Unique in the workspace.
    pub name: String,
    /// How its messages leave.
    pub transport: Transport,
    /// The sealed password.
    pub secret: Option<Vec<u8>>,
    /// Who writes.
    pub from: Origin,
    /// On which channel.
    pub channel: Channel,
    /// The name beside the address.
    pub from_name: Option<HeaderText>,
    /// Stands in the footer.
    pub postal_address: Option<String>,
    /// Its local date is the day of its quota.
    pub zone: Tz,
    /// Messages a day; `None`: no limit.
    pub per_day: Option<u32>,
    /// Seconds between two messages.
    pub spacing_s: u32,
    /// Its share among the senders of a campaign.
    pub weight: u32,
    /// Whether it may be used.
    pub status: SenderStatus,
    /// Why it is paused.
    pub status_reason: Option<String>,
    /// Campaign time of the first slot that pacing leaves free.
    pub next_free_at: Option<DateTime<Utc>>,
    /// Trouble with its provider, if there is any.
    pub trouble: Option<Trouble>,
}

impl Sender {
    /// Returns whether trouble keeps it from sending.
    pub fn breaker(&self, wall: DateTime<Utc>) -> Breaker {
        Breaker::of(self.trouble.as_ref().and_then(|trouble| trouble.until), wall)
    }

    /// Opens the sealed password, if there is one.
    ///
    /// # Errors
    ///
    /// [`ActivityError::Secret`] if it was sealed with another key or was changed.
    pub fn password(&self, workspace: WorkspaceId, keys: &KeyRing) -> Result<Option<SecretString>> {
        let Some(secret) = &self.secret else { return Ok(None) };
        seal::open_text(keys, place(workspace, self.id), secret)
            .map(Some)
            .map_err(|error| ActivityError::Secret(error.to_string()))
    }
}

impl TryFrom<SenderRow> for Sender {
    type Error = ActivityError;

    fn try_from(row: SenderRow) -> Result<Self> {
        fn stored<E: fmt::Display>(error: E) -> ActivityError {
            ActivityError::Stored { what: "sender", why: error.to_string() }
        }
        let transport: Transport = row.url.parse().map_err(stored)?;
        let from: Origin = row.from_address.parse().map_err(stored)?;
        let trouble = match row.trouble_count {
            0 => None,
            count => Some(Trouble {
                count: count.try_into().map_err(stored)?,
                detail: row.trouble.unwrap_or_default(),
                until: row.trouble_until,
            }),
        };
        Ok(Self {
            id: row.sender_id.into(),
            name: row.name,
            channel: transport.channel(&from).map_err(stored)?,
            transport,
            secret: row.secret,
            from,
            trouble,
            from_name: row.from_name.map(|name| name.parse()).transpose().map_err(stored)?,
            postal_address: row.postal_address,
            zone: row.zone.parse().map_err(stored)?,
            per_day: row.per_day.map(u32::try_from).transpose().map_err(stored)?,
            spacing_s: row.spacing_s.try_into().map_err(stored)?,
            weight: row.weight.try_into().map_err(stored)?,
            status: match row.status.as_str() {
                "active" => SenderStatus::Active,
                "paused" => SenderStatus::Paused,
                other => return Err(stored(format!("`{other}` is no status"))),
            },
            status_reason: row.status_reason,
            next_free_at: row.next_free_at,
        })
    }
}

/// A sender as it is set up.
#[derive(Debug, Clone)]
pub struct NewSender {
    /// Unique in the workspace; an existing one of this name is changed.
    pub name: String,
    /// How its messages leave.
    pub transport: Transport,
    /// `None` keeps the password of an existing sender that logs in to the same account.
    pub password: Option<SecretString>,
    /// Who writes.
    pub from: Origin,
    /// The name beside the address.
    pub from_name: Option<HeaderText>,
    /// Stands in the footer.
    pub postal_address: Option<String>,
    /// Its local date is the day of its quota.
    pub zone: Tz,
    /// Messages a day; `None`: no limit.
    pub per_day: Option<u32>,
    /// Seconds between two messages.
    pub spacing_s: u32,
    /// Its share among the senders of a campaign.
    pub weight: u32,
}

/// Whether adding made a sender or changed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// There was none of this name.
    New(SenderId),
    /// The one of this name was changed.
    Changed(SenderId),
}

/// Sets a sender up under its name, or changes the one that has it. Safe to repeat.
///
/// # Errors
///
/// When the database fails, or URL and address do not belong together, which the caller has asked
/// [`Transport::channel`] before.
pub async fn add(
    store: &Store,
    workspace: WorkspaceId,
    keys: &KeyRing,
    new: &NewSender,
    now: DateTime<Utc>,
) -> Result<Added> {
    let channel = new.transport.channel(&new.from);
    let channel = channel
        .map_err(|error| ActivityError::Stored { what: "sender", why: error.to_string() })?;
    loop {
        let mut tx = store.begin(workspace).await?;
        let before = store::lock_by_name(&mut tx, workspace, &new.name).await?;
        let id = before.as_ref().map_or_else(ids::new, |row| SenderId::from(row.sender_id));
        let url = new.transport.to_string();
        let secret = match (&new.password, before) {
            (Some(password), _) => {
                let place = place(workspace, id);
                Some(seal::seal(keys, place, password.expose_secret().as_bytes()))
            }
            (None, Some(before)) if before.url == url => before.secret,
            (None, _) => None,
        };
        let row = row(new, channel, id, url, secret);
        let (written, is_new) = store::upsert(&mut tx, workspace, &row, now).await?;
        if written != id {
            // Somebody set up the same name meanwhile, and the secret is sealed for another id.
            continue;
        }
        tx.commit().await?;
        return Ok(if is_new { Added::New(id) } else { Added::Changed(id) });
    }
}

/// Whether a password is stored for the sender of this name, and the account is still the same.
///
/// # Errors
///
/// When the database fails.
pub async fn has_password(
    store: &Store,
    workspace: WorkspaceId,
    name: &str,
    transport: &Transport,
) -> Result<bool> {
    let mut tx = store.begin(workspace).await?;
    let row = store::lock_by_name(&mut tx, workspace, name).await?;
    Ok(row.is_some_and(|row| row.secret.is_some() && row.url == transport.to_string()))
}

/// Returns every sender of the workspace by name.
///
/// # Errors
///
/// When the database fails, or what it holds is not a sender.
pub async fn list(store: &Store, workspace: WorkspaceId) -> Result<Vec<Sender>> {
    let mut tx = store.begin(workspace).await?;
    let rows = store::list(&mut tx, workspace, LIST_MAX).await?;
    rows.into_iter().map(Sender::try_from).collect()
}

/// Lets a sender send or stops it; returns its id, or `None` if there is none of this name.
///
/// # Errors
///
/// When the database fails.
pub async fn set_status(
    store: &Store,
    workspace: WorkspaceId,
    name: &str,
    status: SenderStatus,
    reason: Option<&str>,
) -> Result<Option<SenderId>> {
    let mut tx = store.begin(workspace).await?;
    let id = store::set_status(&mut tx, workspace, name, status.as_str(), reason).await?;
    tx.commit().await?;
    Ok(id)
}

/// Chooses a lead's sender by weighted rendezvous hashing: each lead's choice is stable, and a sender
/// that joins or leaves moves only its own share.
pub fn choose<'a>(
    senders: impl IntoIterator<Item = &'a Sender>,
    channel: Channel,
    lead: LeadId,
) -> Option<SenderId> {
    let mut best: Option<(f64, SenderId)> = None;
    for sender in senders {
        let is_open = sender.status == SenderStatus::Active && sender.weight > 0;
        if sender.channel != channel || !is_open {
            continue;
        }
        let hash = Uuid::new_v5(&sender.id.uuid(), lead.uuid().as_bytes()).as_u128();
        #[expect(clippy::cast_precision_loss, reason = "53 bits of a hash are plenty")]
        let unit = ((hash >> 75) as f64 + 0.5) / (1_u64 << 53) as f64;
        let score = -f64::from(sender.weight) / unit.ln();
        if best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, sender.id));
        }
    }
    best.map(|(_, sender)| sender)
}

fn place(workspace: WorkspaceId, id: SenderId) -> Place<'static> {
    Place { table: "senders", column: "secret", workspace: workspace.uuid(), row: id.uuid() }
}

fn row(
    new: &NewSender,
    channel: Channel,
    id: SenderId,
    url: String,
    secret: Option<Vec<u8>>,
) -> SenderRow {
    let clamped = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    SenderRow {
        sender_id: id.uuid(),
        name: new.name.clone(),
        channel: channel.as_str().to_owned(),
        url,
        secret,
        from_address: new.from.as_str().to_owned(),
        from_name: new.from_name.as_ref().map(|name| name.as_str().to_owned()),
        postal_address: new.postal_address.clone(),
        zone: new.zone.name().to_owned(),
        per_day: new.per_day.map(clamped),
        spacing_s: clamped(new.spacing_s),
        weight: clamped(new.weight),
        status: SenderStatus::Active.as_str().to_owned(),
        status_reason: None,
        next_free_at: None,
        trouble_count: 0,
        trouble: None,
        trouble_until: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_password_never_stays_in_the_url() {
        let (url, password) = split_password("smtp://ada:p%40ss+1@mail.example.com:587");
        assert_eq!(url, "smtp://ada@mail.example.com:587");
        assert_eq!(password.unwrap().expose_secret(), "p@ss+1");
        let transport: Transport = url.parse().unwrap();
        assert_eq!(transport.to_string(), url);
        assert!(transport.needs_password());
        for plain in ["smtp://ada@mail.example.com", "capture:", "nonsense"] {
            assert!(split_password(plain).1.is_none(), "{plain}");
        }
    }

    #[test]
    fn a_channel_follows_from_url_and_address() {
        let sid = "AC0123456789abcdef0123456789abcdef";
        let twilio: Transport = format!("twilio://{sid}@api.twilio.com").parse().unwrap();
        let mailgun: Transport = "mailgun://mg.example.com@api.mailgun.net".parse().unwrap();
        let capture: Transport = "capture:".parse().unwrap();
        let (mailbox, number): (Origin, Origin) =
            ("ada@example.com".parse().unwrap(), "+15550100".parse().unwrap());
        assert_eq!(twilio.channel(&number), Ok(Channel::Sms));
        assert_eq!(mailgun.channel(&mailbox), Ok(Channel::Email));
        assert_eq!(capture.channel(&mailbox), Ok(Channel::Email));
        assert_eq!(capture.channel(&number), Ok(Channel::Sms));
        assert!(matches!(twilio.channel(&mailbox), Err(Mismatch::Text(_))));
        assert!(matches!(mailgun.channel(&number), Err(Mismatch::Mail(_))));
        let (url, token) = split_password(&format!("twilio://{sid}:to%40ken@api.twilio.com"));
        assert_eq!(url.parse(), Ok(twilio));
        assert_eq!(token.unwrap().expose_secret(), "to@ken");
    }

    #[test]
    fn a_capture_sender_may_name_a_script() {
        assert_eq!("capture:".parse(), Ok(Transport::Capture { script: None }));
        let played: Transport = "capture:/srv/recipients.yaml".parse().unwrap();
        assert_eq!(played.script(), Some(Path::new("/srv/recipients.yaml")));
        assert_eq!(played.to_string().parse(), Ok(played));
        let refused = "capture:recipients.yaml".parse::<Transport>();
        assert!(matches!(refused, Err(InvalidTransport::RelativeScript(_))));
    }
}
