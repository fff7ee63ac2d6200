//! What was done, sealed into a chain of hashes: an act that is changed, taken out or slipped in
//! afterwards breaks the chain at its place. Acts are sealed in the background, shortly after they
//! happened, in the order of their numbers.
//!
//! A chain cannot tell that its end was cut off, or that all of it was written anew. Who keeps an
//! [`Anchor`] outside the database can: each sealing logs one.

use std::fmt;
use std::str::FromStr;

use machine::ids::WorkspaceId;
use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::store::audit::{self, Recorded};
use crate::store::{Store, locks};

/// Acts that are sealed in one transaction.
const BATCH: i64 = 5_000;

/// Bytes of a seal: a SHA-256.
const SEAL_LEN: usize = 32;

/// Acts that are read at a time.
const PAGE: i64 = 5_000;

/// An act with its seal, which stands for everything that was done up to it. Written as
/// `1234:` and the seal in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The act's number.
    pub act: i64,
    /// Its seal.
    pub seal: Vec<u8>,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.act, hex::encode(&self.seal))
    }
}

/// The text is no anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write it as it was told: the number of an act, a colon, and 64 digits from 0 to f")]
pub struct NoAnchor;

impl FromStr for Anchor {
    type Err = NoAnchor;

    fn from_str(text: &str) -> std::result::Result<Self, NoAnchor> {
        let (act, seal) = text.split_once(':').ok_or(NoAnchor)?;
        let act = act.parse().map_err(|_| NoAnchor)?;
        let seal = hex::decode(seal).map_err(|_| NoAnchor)?;
        if seal.len() == SEAL_LEN { Ok(Self { act, seal }) } else { Err(NoAnchor) }
    }
}

/// What looking at the chain came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Acts whose seals hold.
    pub sealed: u64,
    /// The number of the first act whose seal does not, or that is gone or another.
    pub broken: Option<i64>,
    /// The newest act whose seal holds.
    pub end: Option<Anchor>,
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
    if let Some(last) = acts.last() {
        let anchor = Anchor { act: last.audit_id, seal: hash };
        tracing::info!(workspace.id = %workspace, audit.anchor = %anchor, "acts sealed");
    }
    Ok(acts.len())
}

/// Looks at the whole chain, and whether it goes through `anchor`, which was told of it before.
///
/// # Errors
///
/// When the database fails.
pub async fn look(
    store: &Store,
    workspace: WorkspaceId,
    anchor: Option<&Anchor>,
) -> Result<Looked> {
    let mut tx = store.begin(workspace).await?;
    let newest = audit::newest_seal(&mut tx, workspace).await?.map_or(0, |(id, _)| id);
    let mut looked = Looked { sealed: 0, broken: None, end: None };
    let mut anchor = anchor;
    let (mut last, mut hash) = (0, Vec::new());
    loop {
        let acts = audit::after(&mut tx, workspace, last, PAGE).await?;
        let acts: Vec<Recorded> =
            acts.into_iter().take_while(|act| act.audit_id <= newest).collect();
        let Some(end) = acts.last().map(|act| act.audit_id) else { break };
        for act in acts {
            hash = link(&hash, &act);
            let is_passed = anchor.is_some_and(|it| it.act <= act.audit_id);
            let passed = anchor.take_if(|_| is_passed);
            let holds = passed.is_none_or(|it| it.act == act.audit_id && it.seal == hash);
            if !holds || act.seal.as_ref() != Some(&hash) {
                looked.broken = Some(passed.map_or(act.audit_id, |it| it.act));
                return Ok(looked);
            }
            looked.sealed += 1;
            looked.end = Some(Anchor { act: act.audit_id, seal: hash.clone() });
        }
        last = end;
    }
    // Nothing reaches as far as it did.
    looked.broken = anchor.map(|anchor| anchor.act);
    Ok(looked)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_read_as_it_is_written() {
        let anchor = Anchor { act: 1_234, seal: vec![0xab; 32] };
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        for wrong in ["", "1", "1:", ":ab", "x:ab", "1:abab", "1:zz"] {
            assert_eq!(wrong.parse::<Anchor>(), Err(NoAnchor), "{wrong}");
        }
    }
}
