//! The ids of a world's things, made from what they are called: the same in every run and on every
//! backend, so that what depends on an id - wordings, ties, the spread of retries - is the same too.

use std::sync::atomic::{AtomicU64, Ordering};

use machine::ids::{EnrollmentId, LeadId, WorkspaceId};
use uuid::Uuid;

/// How many worlds were made that share a server with others.
static SHARING: AtomicU64 = AtomicU64::new(0);

/// The only workspace.
pub(super) fn workspace() -> WorkspaceId {
    Uuid::from_u128(1).into()
}

/// The only workspace of a world that shares a server with others: no other has one of its name.
pub(super) fn workspace_of_its_own() -> WorkspaceId {
    Uuid::from_u128(u128::from(2 + SHARING.fetch_add(1, Ordering::Relaxed))).into()
}

/// The lead with this address.
pub(super) fn lead(address: &str) -> LeadId {
    of("lead", address).into()
}

/// The run of `lead` through the campaign of this name.
pub(super) fn enrollment(campaign: &str, lead: LeadId) -> EnrollmentId {
    Uuid::new_v5(&of("campaign", campaign), lead.uuid().as_bytes()).into()
}

/// Anything else, by its kind and its name.
pub(super) fn of(kind: &str, name: &str) -> Uuid {
    Uuid::new_v5(&workspace().uuid(), format!("{kind}/{name}").as_bytes())
}
