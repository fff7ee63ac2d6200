//! The re-contact guard: the first message of an enrollment waits until some time has passed since
//! another campaign wrote to the lead. Read at the gate, under a lock of the lead that no other gate
//! shares, so that of two campaigns that come at once one sees the other.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, EnrollmentId, LeadId, Subject, WorkspaceId, send_id};
use uuid::Uuid;

use super::prepare::Prepared;
use crate::error::Result;
use crate::store::Tx;
use crate::store::contacts;
use crate::store::gates::Candidate;
use crate::turn::{Ask, What};

/// Whether other campaigns' messages may stand against one.
pub(super) fn is_guarded(ask: &Ask) -> bool {
    matches!(ask.what, What::Step { .. }) && ask.version.version.not_within.is_some()
}

/// When the guarded leads of a batch were written to, by which campaign. Without one it is empty: a
/// campaign that does not ask for the guard pays nothing for it.
#[derive(Default)]
pub(super) struct Contacts(HashMap<Uuid, Vec<(CampaignId, DateTime<Utc>)>>);

impl Contacts {
    /// Reads what the guarded first messages of a batch have to know.
    pub(super) async fn read(tx: &mut Tx, batch: &[(Prepared, &Candidate)]) -> Result<Self> {
        let mut contacts = Self::default();
        let guarded = batch.iter().filter(|(it, candidate)| candidate.first && is_guarded(&it.ask));
        let leads: BTreeSet<Uuid> = guarded.map(|(it, _)| it.ask.lead.uuid()).collect();
        if leads.is_empty() {
            return Ok(contacts);
        }
        contacts.0.extend(leads.iter().map(|lead| (*lead, Vec::new())));
        let workspace = tx.workspace();
        let leads: Vec<Uuid> = leads.into_iter().collect();
        let mut under_way = HashMap::new();
        for run in contacts::runs(tx, workspace, &leads).await? {
            let (lead, campaign) = (LeadId::new(run.lead_id), CampaignId::new(run.campaign_id));
            if let Some(at) = run.contacted_at {
                contacts.add(lead, campaign, at);
            }
            let send = run.under_way.map(|step| send_of(workspace, run.enrollment_id, &step));
            under_way.extend(send.map(|send| (send, (lead, campaign))));
        }
        let sends: Vec<Uuid> = under_way.keys().copied().collect();
        for gone in contacts::gone(tx, workspace, &sends).await? {
            if let (Some((lead, campaign)), Some(at)) = (under_way.get(&gone.send_id), gone.gate_at)
            {
                contacts.add(*lead, *campaign, at);
            }
        }
        Ok(contacts)
    }

    /// Notes that a message of the batch leaves.
    pub(super) fn note(&mut self, ask: &Ask, now: DateTime<Utc>) {
        if let What::Step { .. } = ask.what {
            self.add(ask.lead, ask.campaign, now);
        }
    }

    /// Returns until when another campaign stands against a message.
    pub(super) fn guard(&self, message: &Prepared, candidate: &Candidate) -> Option<DateTime<Utc>> {
        let ask = &message.ask;
        if !candidate.first || !is_guarded(ask) {
            return None;
        }
        let version = &ask.version.version;
        let not_within = version.not_within?;
        let contacts = self.0.get(&ask.lead.uuid())?;
        let others = contacts.iter().filter(|(campaign, _)| *campaign != ask.campaign);
        Some(not_within.after(others.map(|(_, at)| *at).max()?, version.zone))
    }

    /// Adds what a guarded lead heard; of the others nobody asks.
    fn add(&mut self, lead: LeadId, campaign: CampaignId, at: DateTime<Utc>) {
        if let Some(contacts) = self.0.get_mut(&lead.uuid()) {
            contacts.push((campaign, at));
        }
    }
}

/// The send of a step, which an enrollment comes to once.
fn send_of(workspace: WorkspaceId, enrollment: Uuid, step: &str) -> Uuid {
    send_id(workspace, EnrollmentId::new(enrollment), Subject::Step(step), 1).uuid()
}
