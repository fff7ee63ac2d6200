//! The people we may write to: their data, addresses and tags. What a file may change is decided
//! elsewhere; here it is read and written, many at a time.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::context::{Consent, Consents};
use machine::ids::{LeadId, WorkspaceId};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::address::EmailAddress;
use crate::error::{ActivityError, Result};
use crate::phone::PhoneNumber;
use crate::tag::Tag;

/// A lead as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    /// Who.
    pub id: LeadId,
    /// Rises with every change.
    pub version: i32,
    /// The lead's own zone, if known.
    pub zone: Option<Tz>,
    /// What the lead agreed to.
    pub consent: Consents,
    /// Everything else, by name.
    pub attributes: Map<String, Value>,
    /// When its data were erased.
    pub erased_at: Option<DateTime<Utc>>,
}

/// Somewhere to write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address<'a> {
    /// A mailbox.
    Email(&'a EmailAddress),
    /// A telephone that takes texts.
    Phone(&'a PhoneNumber),
}

impl<'a> Address<'a> {
    /// The word for its channel, as it is stored.
    pub fn channel(self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Phone(_) => "sms",
        }
    }

    /// The one spelling.
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Email(address) => address.as_str(),
            Self::Phone(number) => number.as_str(),
        }
    }
}

/// A lead to be added.
#[derive(Debug)]
pub struct NewLead<'a> {
    /// Who.
    pub lead: &'a Lead,
    /// Where to write to.
    pub addresses: Vec<Address<'a>>,
}

/// Returns leads by their mail address.
pub async fn ids_at(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    addresses: &[&EmailAddress],
) -> sqlx::Result<HashMap<String, LeadId>> {
    let addresses: Vec<String> = addresses.iter().map(|one| one.as_str().to_owned()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT a.address, a.lead_id
        FROM unnest($1::uuid[], $2::text[]) AS u (workspace_id, address)
        JOIN addresses AS a USING (workspace_id, address)
        WHERE a.channel = 'email'
        "#,
        &vec![workspace.uuid(); addresses.len()],
        &addresses
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.address, row.lead_id.into())).collect())
}

/// Returns leads by their telephone number.
pub async fn ids_at_numbers(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    numbers: &[&PhoneNumber],
) -> sqlx::Result<HashMap<String, LeadId>> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let numbers: Vec<String> = numbers.iter().map(|one| one.as_str().to_owned()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT address, lead_id
        FROM addresses
        WHERE workspace_id = $1
          AND channel = 'sms'
          AND address = ANY($2)
        "#,
        workspace.uuid(),
        &numbers
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.address, row.lead_id.into())).collect())
}

/// Returns those of `leads` that have a telephone number.
pub async fn with_numbers(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    leads: &[LeadId],
) -> sqlx::Result<HashSet<LeadId>> {
    let leads: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    let found = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT lead_id
        FROM addresses
        WHERE workspace_id = $1
          AND channel = 'sms'
          AND lead_id = ANY($2)
        "#,
        workspace.uuid(),
        &leads
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(LeadId::new).collect())
}

/// Gives leads telephone numbers in the place of those they had.
///
/// # Errors
///
/// When a number belongs to another lead: writers take turns under [`super::locks::import_key`].
pub async fn set_numbers(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    numbers: &[(LeadId, &PhoneNumber)],
) -> sqlx::Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    let leads: Vec<Uuid> = numbers.iter().map(|(lead, _)| lead.uuid()).collect();
    let numbers: Vec<String> =
        numbers.iter().map(|(_, number)| number.as_str().to_owned()).collect();
    sqlx::query!(
        r#"
        DELETE FROM addresses
        WHERE workspace_id = $1
          AND channel = 'sms'
          AND lead_id = ANY($2)
        "#,
        workspace.uuid(),
        &leads
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO addresses (workspace_id, channel, address, lead_id)
        SELECT $1, 'sms', n.address, n.lead_id
        FROM unnest($2::text[], $3::uuid[]) AS n (address, lead_id)
        "#,
        workspace.uuid(),
        &numbers,
        &leads
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns leads, those that exist.
pub async fn read(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    leads: &[LeadId],
) -> Result<Vec<Lead>> {
    let leads: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT l.lead_id, l.version, l.zone, l.email_consent, l.sms_consent, l.call_consent,
            l.attributes, l.erased_at
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, lead_id)
        JOIN leads AS l USING (workspace_id, lead_id)
        "#,
        &vec![workspace.uuid(); leads.len()],
        &leads
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Locks leads by id, then returns them.
pub async fn lock(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    leads: &[LeadId],
) -> Result<Vec<Lead>> {
    let ids: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    sqlx::query!(
        r#"
        SELECT l.lead_id
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, lead_id)
        JOIN leads AS l USING (workspace_id, lead_id)
        ORDER BY l.lead_id
        FOR NO KEY UPDATE OF l
        "#,
        &vec![workspace.uuid(); ids.len()],
        &ids
    )
    .fetch_all(&mut *conn)
    .await?;
    read(conn, workspace, leads).await
}

/// Returns those of `addresses` that belong to a lead, with the lead.
pub async fn owners(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    addresses: &[Address<'_>],
) -> sqlx::Result<HashMap<String, LeadId>> {
    let (channels, texts) = columns_of(addresses.iter().copied());
    let rows = sqlx::query!(
        r#"
        SELECT a.address, a.lead_id
        FROM unnest($2::text[], $3::text[]) AS u (channel, address)
        JOIN addresses a ON a.workspace_id = $1 AND a.channel = u.channel AND a.address = u.address
        "#,
        workspace.uuid(),
        &channels,
        &texts
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.address, row.lead_id.into())).collect())
}

/// Returns every address of a lead with the word for its channel.
pub async fn addresses_of(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
) -> sqlx::Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        r#"
        SELECT channel, address
        FROM addresses
        WHERE workspace_id = $1
          AND lead_id = $2
        ORDER BY channel, address
        "#,
        workspace.uuid(),
        lead.uuid()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.channel, row.address)).collect())
}

/// Adds leads that nobody knew, each with its addresses.
///
/// # Errors
///
/// When an address belongs to a lead already: writers take turns under
/// [`super::locks::import_key`].
pub async fn insert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    new: &[NewLead<'_>],
    source: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let columns = Columns::of(new.iter().map(|one| one.lead));
    sqlx::query!(
        r#"
        INSERT INTO leads
            (workspace_id, lead_id, zone, email_consent, sms_consent, call_consent, attributes,
             source, created_at, changed_at)
        SELECT $1, n.*, $8, $9, $9
        FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[]) AS n
        "#,
        workspace.uuid(),
        &columns.ids,
        &columns.zones as &[Option<String>],
        &columns.email_consents,
        &columns.sms_consents,
        &columns.call_consents,
        &columns.attributes,
        source,
        now
    )
    .execute(&mut *conn)
    .await?;
    let addresses: Vec<(LeadId, Address<'_>)> = new
        .iter()
        .flat_map(|one| one.addresses.iter().map(|address| (one.lead.id, *address)))
        .collect();
    add_addresses(conn, workspace, &addresses).await
}

/// Gives addresses to leads.
///
/// # Errors
///
/// As [`insert`].
pub async fn add_addresses(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    addresses: &[(LeadId, Address<'_>)],
) -> sqlx::Result<()> {
    let leads: Vec<Uuid> = addresses.iter().map(|(lead, _)| lead.uuid()).collect();
    let (channels, texts) = columns_of(addresses.iter().map(|(_, address)| *address));
    sqlx::query!(
        r#"
        INSERT INTO addresses (workspace_id, channel, address, lead_id)
        SELECT $1, n.channel, n.address, n.lead_id
        FROM unnest($2::text[], $3::text[], $4::uuid[]) AS n (channel, address, lead_id)
        "#,
        workspace.uuid(),
        &channels,
        &texts,
        &leads
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes addresses away from a lead.
pub async fn remove_addresses(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
    channel: &str,
    addresses: &[String],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM addresses
        WHERE workspace_id = $1
          AND lead_id = $2
          AND channel = $3
          AND address = ANY($4)
        "#,
        workspace.uuid(),
        lead.uuid(),
        channel,
        addresses
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes changed data of leads that the caller has locked, and raises their versions. Returns the
/// new versions.
pub async fn update(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    changed: &[Lead],
    now: DateTime<Utc>,
) -> sqlx::Result<BTreeMap<LeadId, i32>> {
    let columns = Columns::of(changed);
    let rows = sqlx::query!(
        r#"
        UPDATE leads AS l
        SET version = l.version + 1,
            zone = n.zone,
            email_consent = n.email_consent,
            sms_consent = n.sms_consent,
            call_consent = n.call_consent,
            attributes = n.attributes,
            changed_at = $8
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                $7::jsonb[])
            AS n (workspace_id, lead_id, zone, email_consent, sms_consent, call_consent, attributes)
        WHERE l.workspace_id = n.workspace_id
          AND l.lead_id = n.lead_id
        RETURNING l.lead_id, l.version
        "#,
        &vec![workspace.uuid(); columns.ids.len()],
        &columns.ids,
        &columns.zones as &[Option<String>],
        &columns.email_consents,
        &columns.sms_consents,
        &columns.call_consents,
        &columns.attributes,
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.lead_id.into(), row.version)).collect())
}

/// Returns the tags of leads.
pub async fn tags_of(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    leads: &[LeadId],
) -> sqlx::Result<HashMap<LeadId, Vec<String>>> {
    let leads: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT t.lead_id, t.tag
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, lead_id)
        JOIN lead_tags AS t USING (workspace_id, lead_id)
        "#,
        &vec![workspace.uuid(); leads.len()],
        &leads
    )
    .fetch_all(conn)
    .await?;
    let mut tags: HashMap<LeadId, Vec<String>> = HashMap::new();
    for row in rows {
        tags.entry(row.lead_id.into()).or_default().push(row.tag);
    }
    Ok(tags)
}

/// Puts tags on leads; repeating the call is harmless.
pub async fn add_tags(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    tags: &[(LeadId, &Tag)],
) -> sqlx::Result<()> {
    let leads: Vec<Uuid> = tags.iter().map(|(lead, _)| lead.uuid()).collect();
    let words: Vec<String> = tags.iter().map(|(_, tag)| tag.as_str().to_owned()).collect();
    sqlx::query!(
        r#"
        INSERT INTO lead_tags (workspace_id, tag, lead_id)
        SELECT $1, n.tag, n.lead_id
        FROM unnest($2::text[], $3::uuid[]) AS n (tag, lead_id)
        ON CONFLICT DO NOTHING
        "#,
        workspace.uuid(),
        &words,
        &leads
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes tags off a lead.
pub async fn remove_tags(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
    tags: &[String],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM lead_tags
        WHERE workspace_id = $1
          AND lead_id = $2
          AND tag = ANY($3)
        "#,
        workspace.uuid(),
        lead.uuid(),
        tags
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn columns_of<'a>(addresses: impl Iterator<Item = Address<'a>>) -> (Vec<String>, Vec<String>) {
    addresses.map(|it| (it.channel().to_owned(), it.as_str().to_owned())).unzip()
}

/// Data of leads, column by column.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    zones: Vec<Option<String>>,
    email_consents: Vec<String>,
    sms_consents: Vec<String>,
    call_consents: Vec<String>,
    attributes: Vec<Value>,
}

impl Columns {
    fn of<'a>(leads: impl IntoIterator<Item = &'a Lead>) -> Self {
        let mut columns = Self::default();
        for lead in leads {
            columns.ids.push(lead.id.uuid());
            columns.zones.push(lead.zone.map(|zone| zone.name().to_owned()));
            columns.email_consents.push(word(lead.consent.email).to_owned());
            columns.sms_consents.push(word(lead.consent.sms).to_owned());
            columns.call_consents.push(word(lead.consent.call).to_owned());
            columns.attributes.push(Value::Object(lead.attributes.clone()));
        }
        columns
    }
}

struct Row {
    lead_id: Uuid,
    version: i32,
    zone: Option<String>,
    email_consent: String,
    sms_consent: String,
    call_consent: String,
    attributes: Value,
    erased_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Lead {
    type Error = ActivityError;

    fn try_from(row: Row) -> Result<Self> {
        let zone = row.zone.map(|name| name.parse::<Tz>()).transpose();
        let Value::Object(attributes) = row.attributes else {
            return Err(stored("attributes of a lead", "not an object"));
        };
        Ok(Self {
            id: row.lead_id.into(),
            version: row.version,
            zone: zone.map_err(|error| stored("zone of a lead", &error.to_string()))?,
            consent: Consents {
                email: consent(&row.email_consent)?,
                sms: consent(&row.sms_consent)?,
                call: consent(&row.call_consent)?,
            },
            attributes,
            erased_at: row.erased_at,
        })
    }
}

fn word(consent: Consent) -> &'static str {
    match consent {
        Consent::Unknown => "unknown",
        Consent::Granted => "granted",
        Consent::Refused => "refused",
    }
}

fn consent(word: &str) -> Result<Consent> {
    match word {
        "unknown" => Ok(Consent::Unknown),
        "granted" => Ok(Consent::Granted),
        "refused" => Ok(Consent::Refused),
        other => Err(stored("consent of a lead", other)),
    }
}

fn stored(what: &'static str, why: &str) -> ActivityError {
    ActivityError::Stored { what, why: why.to_owned() }
}
