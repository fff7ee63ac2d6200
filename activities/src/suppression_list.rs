//! The list of those we never write to, as a person keeps it: adding, finding, lifting. What the
//! world adds (opt-outs, bounces, complaints) comes through `ingest`.

use std::str::FromStr;

use machine::ids::{LeadId, WorkspaceId};
use machine::sequence::Channel;
use serde_json::json;
use sqlx::PgConnection;

use crate::address::EmailAddress;
use crate::error;
use crate::mailroom::Mailroom;
use crate::origin::{Correspondent, InvalidOrigin};
use crate::phone::PhoneNumber;
use crate::store::audit::{self, Act};
use crate::store::lead_views::LeadView;
use crate::store::suppression_views::{self, SuppressionView};
use crate::store::suppressions::{self, Reason, SuppressionId, Value};
use crate::store::{clock, locks, matches};
use crate::suppression_key::SuppressionKey;

/// Whom nobody writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suppressed {
    /// One mailbox, however it is spelt.
    Address(EmailAddress),
    /// One telephone number.
    Number(PhoneNumber),
    /// Every mailbox of a domain.
    Domain(String),
}

/// A text that names no domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no domain: write it like `example.com`")]
pub struct InvalidDomain;

impl Suppressed {
    /// Reads a domain, with or without the `@` before it.
    ///
    /// # Errors
    ///
    /// When it could not stand in an address.
    pub fn domain(text: &str) -> Result<Self, InvalidDomain> {
        let domain = text.trim().trim_start_matches('@');
        let address = format!("postmaster@{domain}").parse::<EmailAddress>();
        let address = address.map_err(|_| InvalidDomain)?;
        Ok(Self::Domain(address.domain().to_owned()))
    }
}

impl From<Correspondent> for Suppressed {
    fn from(somebody: Correspondent) -> Self {
        match somebody {
            Correspondent::Mailbox(address) => Self::Address(address),
            Correspondent::Phone(number) => Self::Number(number),
        }
    }
}

/// Why a text names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSuppressed {
    /// It is written like an address or a number, and is none.
    #[error(transparent)]
    Correspondent(InvalidOrigin),
    /// It is nothing of all that.
    #[error(
        "write a mail address, a telephone number such as +351912345678, or a domain such as \
         example.com"
    )]
    Nobody,
}

impl FromStr for Suppressed {
    type Err = InvalidSuppressed;

    /// Reads a mail address, a telephone number or a domain.
    fn from_str(text: &str) -> Result<Self, InvalidSuppressed> {
        match text.parse::<Correspondent>() {
            Ok(somebody) => Ok(somebody.into()),
            // A domain may begin like a number, as in 3com.com, or with an `@`.
            Err(error) => match (Self::domain(text), error) {
                (Ok(domain), _) => Ok(domain),
                (Err(_), InvalidOrigin::Neither) => Err(InvalidSuppressed::Nobody),
                (Err(_), error) => Err(InvalidSuppressed::Correspondent(error)),
            },
        }
    }
}

/// Puts somebody on the list: from this commit on no gate lets a message to them pass. Safe to
/// repeat. Returns the entry, and whether it is new.
///
/// # Errors
///
/// When the database fails.
pub async fn add(
    room: &Mailroom,
    workspace: WorkspaceId,
    suppressed: &Suppressed,
    actor: &str,
) -> error::Result<(SuppressionView, bool)> {
    let key = &room.suppressions;
    let value = match suppressed {
        Suppressed::Address(address) => Value::address(key, address.as_str()),
        Suppressed::Number(number) => Value::address(key, number.as_str()),
        Suppressed::Domain(domain) => Value::domain(key, domain),
    };
    let mut tx = room.store.begin(workspace).await?;
    let lock = locks::suppression_key(workspace, value.scope(), value.hash());
    locks::lock_exclusive(&mut tx, &[lock]).await?;
    let now = clock::read(&mut tx).await?;
    let is_new =
        suppressions::add(&mut tx, workspace, &value, Reason::ByPerson, now.campaign).await?;
    let entries = suppression_views::by_hashes(&mut tx, workspace, &[*value.hash()]).await?;
    let entry = entries.into_iter().next().expect("it is there now, and its lock is ours");
    if is_new {
        let subject = format!("suppression/{}", entry.suppression_id);
        let details = Some(json!({ "scope": entry.scope }));
        let act = Act { actor, act: "suppression.add", subject: &subject, details };
        audit::record(&mut tx, workspace, &act, now.wall).await?;
    }
    tx.commit().await?;
    Ok((entry, is_new))
}

/// Returns what is on the list of a lead: its addresses and numbers, and the domains of its addresses.
///
/// # Errors
///
/// When the database fails.
pub async fn of_lead(
    conn: &mut PgConnection,
    key: &SuppressionKey,
    workspace: WorkspaceId,
    lead: &LeadView,
) -> error::Result<Vec<SuppressionView>> {
    let spelt: Vec<&String> = lead.emails.iter().chain(&lead.phones).collect();
    of_addresses(conn, key, workspace, &spelt).await
}

/// As [`of_lead`], of a lead whose addresses have to be looked up.
///
/// # Errors
///
/// When the database fails.
pub async fn about(
    conn: &mut PgConnection,
    key: &SuppressionKey,
    workspace: WorkspaceId,
    lead: LeadId,
) -> error::Result<Vec<SuppressionView>> {
    let mut spelt = matches::addresses_of(conn, workspace, lead, Channel::Email).await?;
    spelt.extend(matches::addresses_of(conn, workspace, lead, Channel::Sms).await?);
    of_addresses(conn, key, workspace, &spelt.iter().collect::<Vec<_>>()).await
}

async fn of_addresses(
    conn: &mut PgConnection,
    key: &SuppressionKey,
    workspace: WorkspaceId,
    spelt: &[&String],
) -> error::Result<Vec<SuppressionView>> {
    let domains = spelt.iter().filter_map(|address| key.domain_of(address));
    let hashes: Vec<_> = spelt.iter().map(|address| key.address(address)).chain(domains).collect();
    Ok(suppression_views::by_hashes(conn, workspace, &hashes).await?)
}

/// Takes an entry off the list, on record. Returns whether it was in force.
///
/// # Errors
///
/// When the database fails.
pub async fn lift(
    room: &Mailroom,
    workspace: WorkspaceId,
    id: SuppressionId,
    actor: &str,
) -> error::Result<bool> {
    let mut tx = room.store.begin(workspace).await?;
    let Some((scope, hash)) = suppressions::named(&mut tx, workspace, id).await? else {
        return Ok(false);
    };
    // Whoever adds it meanwhile finds it there, or makes it anew.
    let lock = locks::suppression_key(workspace, scope, &hash);
    locks::lock_exclusive(&mut tx, &[lock]).await?;
    let now = clock::read(&mut tx).await?;
    let was_in_force = suppression_views::lift(&mut tx, workspace, id.uuid(), now.campaign).await?;
    if was_in_force {
        let subject = format!("suppression/{id}");
        let act = Act { actor, act: "suppression.lift", subject: &subject, details: None };
        audit::record(&mut tx, workspace, &act, now.wall).await?;
    }
    tx.commit().await?;
    Ok(was_in_force)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_numbers_and_domains_are_told_apart() {
        for (text, stored) in [
            ("Ann@Example.com", "ann@example.com"),
            ("+351912345678", "+351912345678"),
            ("@Example.com", "example.com"),
            ("3com.com", "3com.com"),
        ] {
            let plain = match text.parse().unwrap() {
                Suppressed::Address(address) => address.as_str().to_lowercase(),
                Suppressed::Number(number) => number.as_str().to_owned(),
                Suppressed::Domain(domain) => domain,
            };
            assert_eq!(plain, stored);
        }
        assert_eq!("nobody".parse::<Suppressed>(), Err(InvalidSuppressed::Nobody));
        let half = "ann@".parse::<Suppressed>();
        assert!(matches!(half, Err(InvalidSuppressed::Correspondent(_))), "{half:?}");
    }
}
