//! Senders as people set them up: a name, a URL, an address, limits. The password is sealed before
//! it rests anywhere, and a URL never carries it.

mod transport;
pub mod trouble;

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::ids::{LeadId, SenderId, WorkspaceId};
use machine::sequence::Channel;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

pub use transport::{InvalidTransport, Mismatch, Transport, split_password};
use trouble::{Breaker, Trouble};

use crate::changes::News;
use crate::error::{ActivityError, Result};
use crate::header_text::HeaderText;
use crate::ids;
use crate::key_ring::KeyRing;
use crate::origin::Origin;
use crate::seal::{self, Place};
use crate::store::audit::{self, Act};
use crate::store::senders::{self as store, SenderRow};
use crate::store::{Store, Tx, clock, locks};

/// The most senders a list shows.
const LIST_MAX: i64 = 1_000;

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

impl Sender {
    /// Reads a row for work on many senders at once: one that cannot be read is told to the operator,
    /// and keeps nobody from working with the others.
    pub(crate) fn readable(row: SenderRow) -> Option<Self> {
        let id = row.sender_id;
        match Self::try_from(row) {
            Ok(sender) => Some(sender),
            Err(error) => {
                let error = crate::error::chain(&error);
                tracing::error!(sender.id = %id, error, "a sender cannot be read; nothing leaves by it");
                None
            }
        }
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// There was none of this name.
    New(SenderId),
    /// The one of this name was changed.
    Changed(SenderId),
    /// Nothing was written: the sender of this name sends from the same address, whose limits would
    /// count twice.
    SameFrom(String),
}

/// Sets a sender up under its name, or changes the one that has it, on record. Safe to repeat.
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
    actor: &str,
) -> Result<Added> {
    let channel = new.transport.channel(&new.from);
    let channel = channel
        .map_err(|error| ActivityError::Stored { what: "sender", why: error.to_string() })?;
    loop {
        let mut tx = store.begin(workspace).await?;
        locks::lock_exclusive(&mut tx, &[locks::senders_key(workspace)]).await?;
        let before = store::lock_by_name(&mut tx, workspace, &new.name).await?;
        let had_it = before.as_ref().is_some_and(|row| is_from(row, new));
        if !had_it && let Some(other) = with_same_from(&mut tx, workspace, new).await? {
            return Ok(Added::SameFrom(other));
        }
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
        let now = clock::read(&mut tx).await?;
        let (written, is_new) = store::upsert(&mut tx, workspace, &row, now.campaign).await?;
        if written != id {
            // Somebody set up the same name meanwhile, and the secret is sealed for another id.
            continue;
        }
        let act = if is_new { "sender.create" } else { "sender.change" };
        record(&mut tx, id, (act, actor), None, now.wall).await?;
        tx.commit().await?;
        return Ok(if is_new { Added::New(id) } else { Added::Changed(id) });
    }
}

/// Says what is wrong with a second sender for the address of `other`, and what to do.
pub fn same_from(other: &str) -> String {
    format!(
        "the sender `{other}` sends from this address, and two would have the limits of two: \
         change `{other}`, or give this one an address of its own"
    )
}

/// Whether a sender that is there sends from the address of `new`, and both really send.
fn is_from(there: &SenderRow, new: &NewSender) -> bool {
    new.transport.leaves()
        && there.from_address.eq_ignore_ascii_case(&new.from.to_string())
        && there.url.parse().is_ok_and(|transport: Transport| transport.leaves())
}

/// Returns the name of another sender that sends from the address of `new`.
async fn with_same_from(
    tx: &mut Tx,
    workspace: WorkspaceId,
    new: &NewSender,
) -> Result<Option<String>> {
    let others = store::list(tx, workspace, LIST_MAX).await?;
    let same = others.into_iter().find(|other| other.name != new.name && is_from(other, new));
    Ok(same.map(|other| other.name))
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

/// Returns at most `limit` senders by name, from behind the name `after`.
///
/// # Errors
///
/// When the database fails, or what it holds is not a sender.
pub async fn page(
    store: &Store,
    workspace: WorkspaceId,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Sender>> {
    let mut tx = store.begin(workspace).await?;
    let rows = store::page(&mut tx, workspace, after, limit).await?;
    rows.into_iter().map(Sender::try_from).collect()
}

/// Returns the sender of this name.
///
/// # Errors
///
/// When the database fails, or what it holds is not a sender.
pub async fn get(store: &Store, workspace: WorkspaceId, name: &str) -> Result<Option<Sender>> {
    let mut tx = store.begin(workspace).await?;
    let row = store::by_name(&mut tx, workspace, name).await?;
    row.map(Sender::try_from).transpose()
}

/// Lets a sender send or stops it, on record; returns its id, or `None` if there is none of this name.
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
    actor: &str,
) -> Result<Option<SenderId>> {
    let mut tx = store.begin(workspace).await?;
    let id = store::set_status(&mut tx, workspace, name, status.as_str(), reason).await?;
    let Some(id) = id else { return Ok(None) };
    let act = match status {
        SenderStatus::Active => "sender.resume",
        SenderStatus::Paused => "sender.pause",
    };
    let wall = clock::read(&mut tx).await?.wall;
    let details = reason.map(|reason| json!({ "reason": reason }));
    record(&mut tx, id, (act, actor), details, wall).await?;
    tx.tell(News::Sender { sender: id, state: status.as_str().to_owned() });
    tx.commit().await?;
    Ok(Some(id))
}

async fn record(
    tx: &mut Tx,
    sender: SenderId,
    (act, actor): (&str, &str),
    details: Option<Value>,
    wall: DateTime<Utc>,
) -> Result<()> {
    let workspace = tx.workspace();
    let subject = format!("sender/{sender}");
    let act = Act { actor, act, subject: &subject, details };
    Ok(audit::record(tx, workspace, &act, wall).await?)
}

/// Chooses a lead's sender among those given with their weights, by weighted rendezvous hashing: each
/// lead's choice is stable, and a sender that joins or leaves moves only its own share.
pub fn choose(among: impl IntoIterator<Item = (SenderId, i32)>, lead: LeadId) -> Option<SenderId> {
    let mut best: Option<(f64, SenderId)> = None;
    for (sender, weight) in among.into_iter().filter(|(_, weight)| *weight > 0) {
        let hash = Uuid::new_v5(&sender.uuid(), lead.uuid().as_bytes()).as_u128();
        #[expect(clippy::cast_precision_loss, reason = "53 bits of a hash are plenty")]
        let unit = ((hash >> 75) as f64 + 0.5) / (1_u64 << 53) as f64;
        let score = -f64::from(weight) / unit.ln();
        if best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, sender));
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
