//! ERASE: a person is forgotten, and the promise never to write to it is kept. One transaction stops
//! what runs and empties every place that names the person; what was under way at that moment is
//! emptied once more when it has ended. What stays are keyed hashes, codes, ids and times.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use machine::ids::{EnrollmentId, LeadId, WorkspaceId};
use machine::signal::Signal;
use uuid::Uuid;

use super::record;
use crate::error::Result;
use crate::freed_leads;
use crate::mailroom::{LEASE_MAX, Mailroom};
use crate::store::clock::{self, Clocks};
use crate::store::signals::{self, Content, NewSignal};
use crate::store::suppressions::{self, Reason, Value};
use crate::store::{Tx, company_holds, enrollments, erasures, inbound_events, leads, locks};

/// Leads that one call looks at again.
const BATCH: i64 = 100;

/// Erases a person, on record. Safe to repeat. Returns whether there is such a lead.
///
/// # Errors
///
/// When the database fails; nothing was erased then.
pub async fn erase(
    room: &Mailroom,
    workspace: WorkspaceId,
    lead: LeadId,
    actor: &str,
) -> Result<bool> {
    let mut tx = room.store.begin(workspace).await?;
    locks::lock_exclusive(&mut tx, &[locks::import_key(workspace)]).await?;
    let traces = Traces::of(&mut tx, workspace, lead).await?;
    let promises = promises(&mut tx, room, lead, &traces).await?;
    let mut keys = vec![locks::lead_key(workspace, lead)];
    keys.extend(promises.iter().map(|value| locks::address_key(workspace, value.hash())));
    locks::lock_exclusive(&mut tx, &keys).await?;
    if leads::lock(&mut tx, workspace, &[lead]).await?.is_empty() {
        return Ok(false);
    }
    let now = clock::read(&mut tx).await?;
    stop(&mut tx, lead, &traces, now).await?;
    for promise in &promises {
        suppressions::add(&mut tx, workspace, promise, Reason::Erased, now.campaign).await?;
    }
    let hashes: Vec<_> = promises.iter().map(|value| *value.hash()).collect();
    erasures::empty_suppressions(&mut tx, workspace, &hashes).await?;
    // A call that passed its gate before may still be answered until its lease is over.
    let again_at = now.wall + LEASE_MAX + TimeDelta::minutes(5);
    erasures::empty_lead(&mut tx, workspace, lead, now, again_at).await?;
    empty(&mut tx, room, lead, &traces, now).await?;
    record(&mut tx, workspace, lead, ("lead.erase", actor), None, now.wall).await?;
    tx.commit().await?;
    Ok(true)
}

/// Looks again at people of a workspace who were erased while something was under way, when that has
/// ended. Returns how many.
///
/// # Errors
///
/// When the database fails. The call may be repeated.
pub async fn finish(room: &Mailroom, workspace: WorkspaceId) -> Result<usize> {
    let mut tx = room.store.begin(workspace).await?;
    let wall = clock::read(&mut tx).await?.wall;
    let due = erasures::due(&mut tx, workspace, wall, BATCH).await?;
    tx.commit().await?;
    for lead in &due {
        let mut tx = room.store.begin(workspace).await?;
        let traces = Traces::of(&mut tx, workspace, *lead).await?;
        locks::lock_exclusive(&mut tx, &[locks::lead_key(workspace, *lead)]).await?;
        let now = clock::read(&mut tx).await?;
        // It may have entered a campaign at the very moment.
        stop(&mut tx, *lead, &traces, now).await?;
        empty(&mut tx, room, *lead, &traces, now).await?;
        erasures::finish(&mut tx, workspace, *lead).await?;
        tx.commit().await?;
    }
    Ok(due.len())
}

/// Where a person left traces.
struct Traces {
    enrollments: Vec<EnrollmentId>,
    sends: Vec<Uuid>,
}

impl Traces {
    async fn of(tx: &mut Tx, workspace: WorkspaceId, lead: LeadId) -> Result<Self> {
        let enrollments = signals::enrollments_of(tx, workspace, &[lead]).await?;
        let enrollments: Vec<EnrollmentId> = enrollments.into_iter().map(|(id, _)| id).collect();
        let sends = erasures::requests(tx, workspace, &enrollments).await?;
        Ok(Self { enrollments, sends })
    }

    fn enrollment_uuids(&self) -> Vec<Uuid> {
        self.enrollments.iter().map(|id| id.uuid()).collect()
    }
}

/// Every address of the person that we know of: those it has, and those we wrote to.
async fn promises(
    tx: &mut Tx,
    room: &Mailroom,
    lead: LeadId,
    traces: &Traces,
) -> Result<Vec<Value>> {
    let workspace = tx.workspace();
    let addresses = leads::addresses_of(tx, workspace, lead).await?;
    let mut addresses: BTreeSet<String> = addresses.into_iter().map(|(_, text)| text).collect();
    addresses.extend(erasures::written_to(tx, workspace, &traces.sends).await?);
    Ok(addresses.iter().map(|text| Value::address(&room.suppressions, text)).collect())
}

/// Stops the enrollments that are not over.
async fn stop(tx: &mut Tx, lead: LeadId, traces: &Traces, now: Clocks) -> Result<()> {
    let workspace = tx.workspace();
    enrollments::lock(tx, workspace, &traces.enrollment_uuids()).await?;
    let live = erasures::live(tx, workspace, &traces.enrollments).await?;
    let stops: Vec<NewSignal> = live
        .into_iter()
        .map(|enrollment| NewSignal {
            enrollment,
            content: Content::Known(Signal::Stopped),
            source_key: format!("erase/{lead}"),
            event: None,
            refs: None,
        })
        .collect();
    signals::write(tx, workspace, &stops, now.campaign).await?;
    Ok(())
}

/// Empties everything but the lead itself. The enrollments are locked.
async fn empty(
    tx: &mut Tx,
    room: &Mailroom,
    lead: LeadId,
    traces: &Traces,
    now: Clocks,
) -> Result<()> {
    let workspace = tx.workspace();
    let (enrollments, sends) = (&traces.enrollments, &traces.sends);
    // A mail that is not there any more cannot be read, and would not matter.
    let nothing = Signal::AutoReplied { back_on: None };
    erasures::settle_unread(tx, workspace, enrollments, &nothing).await?;
    erasures::empty_journal(tx, workspace, enrollments).await?;
    erasures::empty_sends(tx, workspace, sends).await?;
    let ids = traces.enrollment_uuids();
    freed_leads::let_companies_go(tx, &ids, now.campaign).await?;
    company_holds::forget_waits(tx, workspace, &ids).await?;
    let events = erasures::events(tx, workspace, lead, sends, enrollments).await?;
    let payloads: Vec<Vec<u8>> = events
        .iter()
        .map(|event| inbound_events::seal_payload(&room.keys, workspace, *event, b""))
        .collect();
    erasures::empty_events(tx, workspace, &events, &payloads, now).await?;
    Ok(())
}
