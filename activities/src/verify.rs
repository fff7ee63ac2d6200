//! Standing invariants, checked on the rows of one workspace at any time: orphans, drifted
//! counters, leads that are stuck, sends that should not have passed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use machine::country;
use machine::ids::{SequenceId, WorkspaceId};
use machine::sequence::Channel;
use uuid::Uuid;

use crate::audit_chain;
use crate::error::Result;
use crate::store::{Store, Tx, clock, verifies};
use crate::versions::{Loaded, Versions};

/// How long something may be due before it counts as stuck, wall time.
const STUCK: TimeDelta = TimeDelta::seconds(60);

/// How many rows are read at a time.
const PAGE: i64 = 5_000;

/// One invariant and what breaks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its short name.
    pub id: &'static str,
    /// What must hold.
    pub holds: &'static str,
    /// How many rows break it.
    pub broken: i64,
    /// One of them.
    pub example: Option<String>,
}

/// Checks every invariant of a workspace.
///
/// # Errors
///
/// When the database fails.
pub async fn verify(
    store: &Store,
    versions: &Versions,
    workspace: WorkspaceId,
) -> Result<Vec<Check>> {
    let mut tx = store.begin(workspace).await?;
    let clocks = clock::read(&mut tx).await?;
    // Stuck is measured in wall time: where campaign time runs fast, more of it may pass.
    let stuck_since = clocks.campaign - (clocks.campaign_in(STUCK) - clocks.campaign);
    let mut checks = Vec::new();
    for invariant in verifies::INVARIANTS {
        let found =
            verifies::check(&mut tx, workspace, invariant, stuck_since, clocks.wall - STUCK)
                .await?;
        checks.push(Check {
            id: invariant.id,
            holds: invariant.holds,
            broken: found.broken,
            example: found.example,
        });
    }
    let mut steps = Tally::new("I08", "every next step exists in the version its lead runs");
    let mut windows = Tally::new("I16", "every message left inside its window");
    read_steps(&mut tx, versions, &mut steps).await?;
    read_windows(&mut tx, versions, &mut windows).await?;
    tx.commit().await?;
    let mut acts = Tally::new("I26", "no act on record was changed since it was sealed");
    if let Some(act) = audit_chain::look(store, workspace, None).await?.broken {
        acts.broken(&format_args!("act {act}"));
    }
    checks.extend([steps.check, windows.check, acts.check]);
    checks.sort_by_key(|check| check.id);
    Ok(checks)
}

struct Tally {
    check: Check,
}

impl Tally {
    fn new(id: &'static str, holds: &'static str) -> Self {
        Self { check: Check { id, holds, broken: 0, example: None } }
    }

    fn broken(&mut self, example: &dyn std::fmt::Display) {
        self.check.broken += 1;
        self.check.example.get_or_insert_with(|| example.to_string());
    }
}

async fn load(
    tx: &mut Tx,
    versions: &Versions,
    names: BTreeSet<(SequenceId, i32)>,
) -> Result<HashMap<(SequenceId, i32), Arc<Loaded>>> {
    let workspace = tx.workspace();
    versions.get(tx, workspace, &names).await
}

async fn read_steps(tx: &mut Tx, versions: &Versions, tally: &mut Tally) -> Result<()> {
    let workspace = tx.workspace();
    let mut after = Uuid::nil();
    loop {
        let page = verifies::next_steps(tx, workspace, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.enrollment_id;
        let name = |row: &verifies::NextStep| (SequenceId::new(row.sequence_id), row.version);
        let loaded = load(tx, versions, page.iter().map(name).collect()).await?;
        for row in &page {
            let key = row.next_step.parse().ok();
            let step = key.and_then(|key| loaded[&name(row)].version.step(&key));
            if step.is_none() {
                tally.broken(&row.enrollment_id);
            }
        }
    }
}

async fn read_windows(tx: &mut Tx, versions: &Versions, tally: &mut Tally) -> Result<()> {
    let workspace = tx.workspace();
    let mut after = Uuid::nil();
    loop {
        let page = verifies::gated(tx, workspace, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.send_id;
        let name = |row: &verifies::Gated| (SequenceId::new(row.sequence_id), row.version);
        let loaded = load(tx, versions, page.iter().map(name).collect()).await?;
        for row in &page {
            let version = &loaded[&name(row)].version;
            let own = row.zone.as_deref().and_then(|zone| zone.parse().ok());
            let country = row.country.as_deref().and_then(|country| country.parse().ok());
            let zones = country::candidates(own.as_ref(), country, &version.zone);
            let left: DateTime<Utc> = row.gate_at;
            let Some(channel) = Channel::of_word(&row.channel) else {
                tally.broken(&row.send_id);
                continue;
            };
            let calendar = version.calendar_of(channel);
            if !zones.iter().all(|zone| calendar.is_open(*zone, left)) {
                tally.broken(&row.send_id);
            }
        }
    }
}
