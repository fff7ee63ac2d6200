//! REPLAY: folds the journal's causes with their facts through the machine and compares the result
//! with the snapshot. What is stored is what happened, or it is reported.

use std::collections::BTreeSet;

use machine::context::{Context, Facts};
use machine::enrollment::{Enrollment, RULES};
use machine::ids::{EnrollmentId, LeadId, SequenceId, WorkspaceId};
use machine::sequence::Version;
use machine::signal::Signal;
use uuid::Uuid;

use crate::error::{ActivityError, Result};
use crate::store::journal::{self, Entry};
use crate::store::{Store, replays};
use crate::versions::Versions;

/// How many journal rows are read at a time.
const PAGE: i64 = 1_000;

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// The journal leads to the stored state.
    Equal {
        /// How many rows were applied.
        rows: usize,
    },
    /// It does not.
    Differs {
        /// What the journal leads to, JSON.
        replayed: String,
        /// What is stored, JSON.
        stored: String,
    },
    /// It cannot be told.
    Skipped(&'static str),
}

/// Replays one enrollment.
///
/// # Errors
///
/// When the database fails, or the enrollment does not exist or does not load.
pub async fn replay(
    store: &Store,
    versions: &Versions,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
) -> Result<Replayed> {
    let mut tx = store.begin(workspace).await?;
    let stored = replays::enrollment(&mut tx, workspace, enrollment)
        .await?
        .ok_or(ActivityError::NoSuchEnrollment(enrollment))?;
    let name = (SequenceId::new(stored.sequence_id), stored.version);
    let loaded = versions.get(&mut tx, workspace, &BTreeSet::from([name])).await?;
    let version = &loaded[&name].version;
    let mut entries = Vec::new();
    let mut after = 0;
    loop {
        let page = journal::entries(&mut tx, workspace, enrollment, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.turn;
        entries.extend(page);
    }
    tx.commit().await?;
    if stored.erased {
        return Ok(Replayed::Skipped("the person was erased, and the facts with them"));
    }
    let wrong = |source| ActivityError::Snapshot { enrollment, source };
    let snapshot: Enrollment = serde_json::from_slice(&stored.snapshot).map_err(wrong)?;
    let who = Who { workspace, enrollment, lead: LeadId::new(stored.lead_id) };
    let Some((replayed, rows)) = fold(who, version, &entries)? else {
        return Ok(Replayed::Skipped("older rules made its newest rows"));
    };
    if replayed.state == snapshot.state && replayed.data == snapshot.data {
        return Ok(Replayed::Equal { rows });
    }
    let json = |enrollment: &Enrollment| serde_json::to_string(enrollment).unwrap_or_default();
    Ok(Replayed::Differs { replayed: json(&replayed), stored: json(&snapshot) })
}

/// Returns up to `limit` enrollments of a workspace behind `after`, to be replayed one by one.
///
/// # Errors
///
/// When the database fails.
pub async fn page(
    store: &Store,
    workspace: WorkspaceId,
    after: Option<EnrollmentId>,
    limit: i64,
) -> Result<Vec<EnrollmentId>> {
    let mut tx = store.begin(workspace).await?;
    let after = after.map_or(Uuid::nil(), EnrollmentId::uuid);
    let ids = replays::page(&mut tx, workspace, after, limit).await?;
    tx.commit().await?;
    Ok(ids.into_iter().map(EnrollmentId::new).collect())
}

#[derive(Clone, Copy)]
struct Who {
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    lead: LeadId,
}

/// Folds the rows; begins at the newest snapshot among those that today's rules made.
fn fold(who: Who, version: &Version, entries: &[Entry]) -> Result<Option<(Enrollment, usize)>> {
    let wrong = |source| ActivityError::Snapshot { enrollment: who.enrollment, source };
    let current = |entry: &Entry| i64::from(entry.rules) == i64::from(RULES);
    let begin = entries.iter().rposition(|entry| entry.snapshot.is_some() && current(entry));
    let (mut enrollment, rest) = match (begin, entries.first()) {
        (Some(index), _) => {
            let snapshot = entries[index].snapshot.as_deref().unwrap_or_default();
            (serde_json::from_slice(snapshot).map_err(wrong)?, &entries[index + 1..])
        }
        (None, Some(first)) => (Enrollment::begin(&version.steps[0], first.at), entries),
        (None, None) => return Ok(None),
    };
    if !rest.iter().all(current) {
        return Ok(None);
    }
    for entry in rest {
        let signal: Signal = serde_json::from_str(&entry.signal).map_err(wrong)?;
        let facts: Facts = match &entry.facts {
            Some(facts) => serde_json::from_str(facts).map_err(wrong)?,
            None => Facts::default(),
        };
        let context = Context {
            now: entry.at,
            workspace: who.workspace,
            enrollment: who.enrollment,
            lead: who.lead,
            version,
            facts: &facts,
        };
        enrollment.apply(&signal, context);
    }
    Ok(Some((enrollment, rest.len())))
}
