//! Leads one by one, as programs and people add, change, find and erase them. What comes in files
//! goes through `import`.

pub mod attributes;
pub mod erase;
pub mod export;
pub mod search;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::context::{Consent, Consents};
use machine::ids::{LeadId, WorkspaceId};
use machine::signal::Signal;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use crate::address::EmailAddress;
use crate::error::Result;
use crate::ids;
use crate::mailroom::Mailroom;
use crate::phone::PhoneNumber;
use crate::store::audit::{self, Act};
use crate::store::leads::{self, Address, Lead, NewLead};
use crate::store::signals::{self, Content, NewSignal};
use crate::store::{clock, locks, suppressions};
use crate::suppression_key::{SuppressionHash, SuppressionKey};
use crate::tag::Tag;
use attributes::TooMany;

/// Somebody to be added.
#[derive(Debug, Clone, Default)]
pub struct New {
    /// Where mail goes; the first in their order.
    pub emails: BTreeSet<EmailAddress>,
    /// Where texts go; the first in their order.
    pub phones: BTreeSet<PhoneNumber>,
    /// The zone the person lives in.
    pub zone: Option<Tz>,
    /// What the person agreed to.
    pub consent: Consents,
    /// Everything else, checked by [`attributes::check`].
    pub attributes: Map<String, Value>,
    /// Words to find it again.
    pub tags: BTreeSet<Tag>,
    /// How it came to us.
    pub source: String,
}

/// What is to be different about a lead.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// All its mail addresses.
    pub emails: Option<BTreeSet<EmailAddress>>,
    /// All its telephone numbers.
    pub phones: Option<BTreeSet<PhoneNumber>>,
    /// Its zone; `Some(None)`: the campaign's.
    pub zone: Option<Option<Tz>>,
    /// What it agrees to, by channel.
    pub consent: ConsentChange,
    /// A merge patch (RFC 7396), checked by [`attributes::check`].
    pub attributes: AttributeChange,
    /// All its tags.
    pub tags: Option<BTreeSet<Tag>>,
}

/// Consent that is to be different, by channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsentChange {
    /// To mail.
    pub email: Option<Consent>,
    /// To texts.
    pub sms: Option<Consent>,
    /// To calls.
    pub call: Option<Consent>,
}

/// Attributes that are to be different.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum AttributeChange {
    /// None.
    #[default]
    None,
    /// Those named, as RFC 7396 merges them.
    Merge(Map<String, Value>),
    /// There shall be none left.
    Clear,
}

/// Why a lead cannot have an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Another lead has it.
    Taken {
        /// Which address.
        address: String,
        /// Whose it is.
        lead: LeadId,
    },
    /// Its owner was erased, and we promised never to write there again.
    Erased {
        /// Which address.
        address: String,
    },
}

/// Why a lead is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotChanged {
    /// There is no such lead.
    NoSuchLead,
    /// Nothing is known of it any more.
    Erased,
    /// Whoever asks has seen another version.
    Stale,
    /// It would have no address at all.
    NoAddress,
    /// It would have too many attributes.
    Attributes(TooMany),
    /// It cannot have an address.
    Refused(Refused),
}

/// Adds a lead.
///
/// # Errors
///
/// When the database fails; nothing was added then.
pub async fn create(
    room: &Mailroom,
    workspace: WorkspaceId,
    new: &New,
    actor: &str,
) -> Result<Result<LeadId, Refused>> {
    let addresses = addresses(&new.emails, &new.phones);
    let mut tx = room.store.begin(workspace).await?;
    locks::lock_exclusive(&mut tx, &[locks::import_key(workspace)]).await?;
    if let Some(refused) = refused(&mut tx, &room.suppressions, workspace, &addresses).await? {
        return Ok(Err(refused));
    }
    let now = clock::read(&mut tx).await?;
    let lead = Lead {
        id: ids::new(),
        version: 1,
        zone: new.zone,
        consent: new.consent,
        attributes: new.attributes.clone(),
        erased_at: None,
    };
    let row = NewLead { lead: &lead, addresses };
    leads::insert(&mut tx, workspace, &[row], &new.source, now.campaign).await?;
    let tags: Vec<(LeadId, &Tag)> = new.tags.iter().map(|tag| (lead.id, tag)).collect();
    leads::add_tags(&mut tx, workspace, &tags).await?;
    record(&mut tx, workspace, lead.id, ("lead.create", actor), None, now.wall).await?;
    tx.commit().await?;
    Ok(Ok(lead.id))
}

/// Changes a lead whose version `admits` lets pass, and tells its enrollments. Returns the version it
/// has now.
///
/// # Errors
///
/// When the database fails; nothing was changed then.
pub async fn change(
    room: &Mailroom,
    workspace: WorkspaceId,
    id: LeadId,
    change: &Change,
    admits: impl FnOnce(i32) -> bool + Send,
    actor: &str,
) -> Result<Result<i32, NotChanged>> {
    let mut tx = room.store.begin(workspace).await?;
    if change.emails.is_some() || change.phones.is_some() {
        locks::lock_exclusive(&mut tx, &[locks::import_key(workspace)]).await?;
    }
    if change.consent.refuses() {
        // Consent that is withdrawn stops: no gate may be under way that has not seen it.
        locks::lock_exclusive(&mut tx, &[locks::lead_key(workspace, id)]).await?;
    }
    let Some(before) = leads::lock(&mut tx, workspace, &[id]).await?.pop() else {
        return Ok(Err(NotChanged::NoSuchLead));
    };
    if before.erased_at.is_some() {
        return Ok(Err(NotChanged::Erased));
    }
    if !admits(before.version) {
        return Ok(Err(NotChanged::Stale));
    }
    let after = match change.applied_to(&before) {
        Ok(after) => after,
        Err(too_many) => return Ok(Err(NotChanged::Attributes(too_many))),
    };
    let moves = match Moves::of(&mut tx, room, workspace, id, change).await? {
        Ok(moves) => moves,
        Err(not_changed) => return Ok(Err(not_changed)),
    };
    let tags = leads::tags_of(&mut tx, workspace, &[id]).await?.remove(&id).unwrap_or_default();
    let (tags_new, tags_gone) = change.tags_against(&tags);
    let is_told = after != before || !moves.is_nothing();
    if !is_told && tags_new.is_empty() && tags_gone.is_empty() {
        return Ok(Ok(before.version));
    }
    let now = clock::read(&mut tx).await?;
    let versions = leads::update(&mut tx, workspace, &[after], now.campaign).await?;
    moves.make(&mut tx, workspace, id).await?;
    let tags_new: Vec<(LeadId, &Tag)> = tags_new.into_iter().map(|tag| (id, tag)).collect();
    leads::add_tags(&mut tx, workspace, &tags_new).await?;
    leads::remove_tags(&mut tx, workspace, id, &tags_gone).await?;
    if is_told {
        tell_changed(&mut tx, workspace, &[id], &versions, now.campaign).await?;
    }
    let details = json!({ "fields": change.fields() });
    record(&mut tx, workspace, id, ("lead.change", actor), Some(details), now.wall).await?;
    tx.commit().await?;
    Ok(Ok(versions[&id]))
}

/// Tells the enrollments of leads that there is something new about them. `versions` has the versions
/// that the change made.
pub(crate) async fn tell_changed(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    changed: &[LeadId],
    versions: &BTreeMap<LeadId, i32>,
    now: DateTime<Utc>,
) -> Result<()> {
    let concerned = signals::enrollments_of(conn, workspace, changed).await?;
    let told: Vec<NewSignal> = concerned
        .into_iter()
        .filter_map(|(enrollment, lead)| {
            Some(NewSignal {
                enrollment,
                content: Content::Known(Signal::AttributeChanged),
                source_key: format!("lead/{lead}/{}", versions.get(&lead)?),
                event: None,
                refs: None,
            })
        })
        .collect();
    signals::write(conn, workspace, &told, now).await?;
    Ok(())
}

/// Hashes an address for the list of suppressions.
pub(crate) fn hash(key: &SuppressionKey, address: Address<'_>) -> SuppressionHash {
    key.address(address.as_str())
}

fn addresses<'a>(
    emails: impl IntoIterator<Item = &'a EmailAddress>,
    phones: impl IntoIterator<Item = &'a PhoneNumber>,
) -> Vec<Address<'a>> {
    let emails = emails.into_iter().map(Address::Email);
    emails.chain(phones.into_iter().map(Address::Phone)).collect()
}

/// Says why one of `addresses` cannot be given to a lead. The caller holds the import lock.
async fn refused(
    conn: &mut PgConnection,
    key: &SuppressionKey,
    workspace: WorkspaceId,
    addresses: &[Address<'_>],
) -> Result<Option<Refused>> {
    if let Some((address, lead)) =
        leads::owners(conn, workspace, addresses).await?.into_iter().next()
    {
        return Ok(Some(Refused::Taken { address, lead }));
    }
    let hashes: Vec<SuppressionHash> = addresses.iter().map(|it| hash(key, *it)).collect();
    let erased = suppressions::erased(conn, workspace, &hashes).await?;
    let first = addresses.iter().zip(&hashes).find(|(_, hash)| erased.contains(*hash));
    Ok(first.map(|(address, _)| Refused::Erased { address: address.as_str().to_owned() }))
}

async fn record(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
    (act, actor): (&str, &str),
    details: Option<Value>,
    wall: DateTime<Utc>,
) -> sqlx::Result<()> {
    let subject = format!("lead/{lead}");
    audit::record(conn, workspace, &Act { actor, act, subject: &subject, details }, wall).await
}

impl Change {
    fn applied_to(&self, before: &Lead) -> Result<Lead, TooMany> {
        let mut after = before.clone();
        if let Some(zone) = self.zone {
            after.zone = zone;
        }
        after.consent = self.consent.applied_to(before.consent);
        match &self.attributes {
            AttributeChange::None => {}
            AttributeChange::Merge(patch) => {
                after.attributes = attributes::merge(&before.attributes, patch)?;
            }
            AttributeChange::Clear => after.attributes = Map::new(),
        }
        Ok(after)
    }

    /// Tags to be added and to be taken off.
    fn tags_against(&self, current: &[String]) -> (Vec<&Tag>, Vec<String>) {
        let Some(wanted) = &self.tags else { return (Vec::new(), Vec::new()) };
        let has = |tag: &&Tag| current.iter().any(|one| one == tag.as_str());
        let new = wanted.iter().filter(|tag| !has(tag)).collect();
        let is_wanted = |tag: &&String| wanted.iter().any(|one| one.as_str() == tag.as_str());
        let gone = current.iter().filter(|tag| !is_wanted(tag)).cloned().collect();
        (new, gone)
    }

    /// The fields it names, for the record.
    fn fields(&self) -> Vec<String> {
        let mut fields = Vec::new();
        let mut note = |is_named: bool, field: &str| {
            if is_named {
                fields.push(field.to_owned());
            }
        };
        note(self.emails.is_some(), "emails");
        note(self.phones.is_some(), "phones");
        note(self.zone.is_some(), "zone");
        note(self.consent != ConsentChange::default(), "consent");
        note(self.tags.is_some(), "tags");
        note(self.attributes == AttributeChange::Clear, "attributes");
        if let AttributeChange::Merge(patch) = &self.attributes {
            fields.extend(patch.keys().map(|name| format!("attributes.{name}")));
        }
        fields
    }
}

impl ConsentChange {
    fn applied_to(self, before: Consents) -> Consents {
        Consents {
            email: self.email.unwrap_or(before.email),
            sms: self.sms.unwrap_or(before.sms),
            call: self.call.unwrap_or(before.call),
        }
    }

    fn refuses(self) -> bool {
        [self.email, self.sms, self.call].contains(&Some(Consent::Refused))
    }
}

/// Addresses that a lead gets and loses.
struct Moves<'c> {
    new: Vec<Address<'c>>,
    gone: Vec<(String, String)>,
}

impl<'c> Moves<'c> {
    async fn of(
        conn: &mut PgConnection,
        room: &Mailroom,
        workspace: WorkspaceId,
        id: LeadId,
        change: &'c Change,
    ) -> Result<Result<Self, NotChanged>> {
        if change.emails.is_none() && change.phones.is_none() {
            return Ok(Ok(Self { new: Vec::new(), gone: Vec::new() }));
        }
        let current = leads::addresses_of(conn, workspace, id).await?;
        let wanted = addresses(change.emails.iter().flatten(), change.phones.iter().flatten());
        let is = |address: &Address<'_>, (channel, text): &(String, String)| {
            address.channel() == channel && address.as_str() == text
        };
        let is_said = |channel: &str| match channel {
            "email" => change.emails.is_some(),
            _ => change.phones.is_some(),
        };
        let gone: Vec<(String, String)> = current
            .iter()
            .filter(|one| is_said(&one.0) && !wanted.iter().any(|address| is(address, one)))
            .cloned()
            .collect();
        let new: Vec<Address<'c>> = wanted
            .into_iter()
            .filter(|address| !current.iter().any(|one| is(address, one)))
            .collect();
        if current.len() + new.len() == gone.len() {
            return Ok(Err(NotChanged::NoAddress));
        }
        match refused(conn, &room.suppressions, workspace, &new).await? {
            Some(refused) => Ok(Err(NotChanged::Refused(refused))),
            None => Ok(Ok(Self { new, gone })),
        }
    }

    fn is_nothing(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }

    async fn make(
        &self,
        conn: &mut PgConnection,
        workspace: WorkspaceId,
        id: LeadId,
    ) -> sqlx::Result<()> {
        for channel in ["email", "sms"] {
            let gone = self.gone.iter().filter(|(it, _)| it == channel);
            let gone: Vec<String> = gone.map(|(_, address)| address.clone()).collect();
            leads::remove_addresses(conn, workspace, id, channel, &gone).await?;
        }
        let new: Vec<(LeadId, Address<'_>)> = self.new.iter().map(|it| (id, *it)).collect();
        leads::add_addresses(conn, workspace, &new).await
    }
}
