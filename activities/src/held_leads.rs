//! Leads that were held until something of ours was mended: told when it is.

use machine::ids::{SenderId, WorkspaceId};
use machine::signal::Signal;

use crate::error::Result;
use crate::ingest::{self, Signalled, Verb};
use crate::store::{Store, clock, enrollment_views};

/// Enrollments that are told at a time.
const PAGE: i64 = 1_000;

/// Tells every enrollment that lacks a sender, or a sender's name, to look again, because `sender` was
/// mended. `actor` is on record for it. Returns how many were told.
///
/// # Errors
///
/// When the database fails; the call may be repeated.
pub async fn sender_mended(
    store: &Store,
    workspace: WorkspaceId,
    sender: SenderId,
    actor: &str,
) -> Result<u64> {
    let mut tx = store.begin(workspace).await?;
    let now = clock::read(&mut tx).await?.wall;
    tx.commit().await?;
    let cause = format!("sender/{sender}/{}", now.timestamp_micros());
    let mut told = 0;
    let mut after = None;
    loop {
        let mut tx = store.begin(workspace).await?;
        let page = enrollment_views::held_for_a_sender(&mut tx, workspace, after, PAGE).await?;
        tx.commit().await?;
        let Some(last) = page.last() else { return Ok(told) };
        after = Some(*last);
        for enrollment in page {
            let verb = Verb {
                enrollment,
                signal: Signal::AttributeChanged,
                source_key: cause.clone(),
                actor: actor.to_owned(),
            };
            match ingest::verb(store, workspace, verb).await? {
                Signalled::Stored { .. } => told += 1,
                Signalled::Repeated | Signalled::Unmatched => {}
            }
        }
    }
}
