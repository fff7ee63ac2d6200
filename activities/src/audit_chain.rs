//! What was done, sealed into a chain of hashes: an act that is changed, taken out or slipped in
//! afterwards breaks the chain at its place. Acts are sealed in the background, shortly after they
//! happened, in the order of their numbers.

use machine::ids::WorkspaceId;
use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::store::audit::{self, Recorded};
use crate::store::{Store, locks};

/// Acts that are sealed in one transaction.
const BATCH: i64 = 5_000;

/// Acts that are read at a time.
const PAGE: i64 = 5_000;

/// What looking at the chain came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Acts whose seals hold.
    pub sealed: u64,
    /// The number of the first act whose seal does not.
    pub broken: Option<i64>,
}

/// Seals what was done since the last time. Returns how many acts; none while somebody is about to
/// put one on record.
///
/// # Errors
///
/// When the database fails.
pub async fn seal(store: &Store, workspace: WorkspaceId) -> Result<usize> {
    let mut tx = store.begin(workspace).await?;
    // An act with a lower number may be on its way: they are sealed when nobody is writing one.
    if !locks::try_lock_exclusive(&mut tx, locks::audit_key(workspace)).await? {
        return Ok(0);
    }
    let (last, mut hash) = audit::newest_seal(&mut tx, workspace).await?.unwrap_or_default();
    let acts = audit::after(&mut tx, workspace, last, BATCH).await?;
    let mut ids = Vec::with_capacity(acts.len());
    let mut hashes = Vec::with_capacity(acts.len());
    for act in &acts {
        hash = link(&hash, act);
        ids.push(act.audit_id);
        hashes.push(hash.clone());
    }
    if !acts.is_empty() {
        audit::add_seals(&mut tx, workspace, &ids, &hashes).await?;
    }
    tx.commit().await?;
    Ok(acts.len())
}

/// Looks at the whole chain.
///
/// # Errors
///
/// When the database fails.
pub async fn look(store: &Store, workspace: WorkspaceId) -> Result<Looked> {
    let mut tx = store.begin(workspace).await?;
    let newest = audit::newest_seal(&mut tx, workspace).await?.map_or(0, |(id, _)| id);
    let mut looked = Looked { sealed: 0, broken: None };
    let (mut last, mut hash) = (0, Vec::new());
    loop {
        let acts = audit::after(&mut tx, workspace, last, PAGE).await?;
        let acts: Vec<Recorded> =
            acts.into_iter().take_while(|act| act.audit_id <= newest).collect();
        let Some(end) = acts.last().map(|act| act.audit_id) else { return Ok(looked) };
        for act in acts {
            hash = link(&hash, &act);
            if act.seal.as_ref() != Some(&hash) {
                looked.broken = Some(act.audit_id);
                return Ok(looked);
            }
            looked.sealed += 1;
        }
        last = end;
    }
}

/// The next hash of the chain. Every field is told with its length, so that none can lend to another.
fn link(before: &[u8], act: &Recorded) -> Vec<u8> {
    let mut hash = Sha256::new();
    let mut add = |field: &[u8]| {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    };
    add(before);
    add(&act.audit_id.to_be_bytes());
    add(&act.at.timestamp_micros().to_be_bytes());
    add(act.actor.as_bytes());
    add(act.act.as_bytes());
    add(act.subject.as_bytes());
    add(act.details.as_deref().unwrap_or_default().as_bytes());
    hash.finalize().to_vec()
}
