//! The list of those we never write to, as a person keeps it: adding, finding, lifting. What the
//! world adds (opt-outs, bounces, complaints) comes through `ingest`.

use machine::ids::WorkspaceId;
use serde_json::json;

use crate::address::EmailAddress;
use crate::error::Result;
use crate::mailroom::Mailroom;
use crate::phone::PhoneNumber;
use crate::store::audit::{self, Act};
use crate::store::suppression_views::{self, SuppressionView};
use crate::store::suppressions::{self, Reason, SuppressionId, Value};
use crate::store::{clock, locks};

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
) -> Result<(SuppressionView, bool)> {
    let key = &room.suppressions;
    let (value, lock) = match suppressed {
        Suppressed::Address(address) => {
            let value = Value::address(key, address.as_str());
            let lock = locks::address_key(workspace, value.hash());
            (value, lock)
        }
        Suppressed::Number(number) => {
            let value = Value::address(key, number.as_str());
            let lock = locks::address_key(workspace, value.hash());
            (value, lock)
        }
        Suppressed::Domain(domain) => (Value::domain(key, domain), locks::workspace_key(workspace)),
    };
    let mut tx = room.store.begin(workspace).await?;
    locks::lock_exclusive(&mut tx, &[lock]).await?;
    let now = clock::read(&mut tx).await?;
    let is_new =
        suppressions::add(&mut tx, workspace, &value, Reason::ByPerson, now.campaign).await?;
    let entry = suppression_views::by_hash(&mut tx, workspace, value.hash())
        .await?
        .expect("it is there now, and its lock is ours");
    if is_new {
        let subject = format!("suppression/{}", entry.suppression_id);
        let details = Some(json!({ "scope": entry.scope }));
        let act = Act { actor, act: "suppression.add", subject: &subject, details };
        audit::record(&mut tx, workspace, &act, now.wall).await?;
    }
    tx.commit().await?;
    Ok((entry, is_new))
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
) -> Result<bool> {
    let mut tx = room.store.begin(workspace).await?;
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
