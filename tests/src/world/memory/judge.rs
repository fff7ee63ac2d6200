//! What there is to see, and what breaks an invariant.

use std::collections::BTreeMap;

use activities::store::quotas::{Key, Scope};
use machine::context::Context;
use machine::enrollment::Enrollment;
use machine::explain::{self, Shown};
use machine::ids::{EnrollmentId, SendId};

use super::Inner;
use super::ledger::{Row, Stand};
use crate::world::backend::Sight;

impl Inner {
    pub(super) fn sight(&self, id: EnrollmentId) -> Sight {
        let row = &self.enrollments[&id];
        let version = &self.campaigns[&row.campaign].version;
        let enrollment: Option<Enrollment> =
            serde_json::from_slice(&row.snapshot).ok().filter(|_| row.parked.is_none());
        let facts = row.journal.last().map(|last| last.facts.clone()).unwrap_or_default();
        let plan = enrollment.as_ref().map(|enrollment| {
            let context = Context {
                now: self.now,
                workspace: self.workspace,
                enrollment: id,
                lead: row.lead,
                version,
                facts: &facts,
            };
            explain::explain(enrollment, &context)
        });
        let mine = self.ledger.iter().filter(|(_, send)| send.enrollment == id);
        let open = mine.clone().filter(|(_, send)| !is_settled(send));
        let mut unanswered: Vec<String> =
            open.map(|(send, row)| format!("{send} is {:?}: {:?}", row.stand, row.what)).collect();
        let tasks = self.tasks.iter().filter(|(_, enrollment)| **enrollment == id);
        unanswered.extend(tasks.map(|(effect, _)| format!("{effect:?} waits for a person")));
        let still = enrollment.iter().flat_map(|enrollment| &enrollment.data.open);
        unanswered.extend(still.map(|open| format!("{open:?} is open")));
        Sight {
            state: plan.as_ref().map_or(Shown::Failed, |plan| plan.state),
            outcome: enrollment.as_ref().and_then(Enrollment::outcome),
            plan,
            enrollment,
            sends: row.sends.clone(),
            unanswered,
            parked: row.parked.clone(),
            in_review: mine.filter(|(_, send)| send.stand == Stand::NeedsReview).count(),
        }
    }

    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        self.judge_accepts(&mut faults);
        self.judge_quotas(&mut faults);
        self.judge_agents(&mut faults);
        for (id, row) in &self.enrollments {
            if row.parked.is_some() {
                continue;
            }
            match self.replay(*id) {
                Ok(()) => {}
                Err(fault) => faults.push(format!("{id}: {fault}")),
            }
        }
        faults
    }

    /// One accept for each send, and a row that says so.
    fn judge_accepts(&self, faults: &mut Vec<String>) {
        let mut accepts: BTreeMap<SendId, usize> = BTreeMap::new();
        for send in &self.provider.accepts {
            *accepts.entry(*send).or_default() += 1;
        }
        for (send, row) in self.ledger.iter() {
            let times = accepts.get(&send).copied().unwrap_or(0);
            let lawful = match row.stand {
                Stand::Accepted => times == 1,
                Stand::Dispatching | Stand::Unknown | Stand::NeedsReview => times <= 1,
                // A person may order another attempt of what did arrive: that is their word.
                Stand::Planned | Stand::Deferred | Stand::Cancelled | Stand::Rejected => true,
            };
            if !lawful && !self.reviewed.contains(&send) {
                faults.push(format!("{send} was accepted {times} times: {row:?}"));
            }
        }
    }

    /// Counters equal facts and stay under their limits.
    fn judge_quotas(&self, faults: &mut Vec<String>) {
        let mut used: BTreeMap<Key, i32> = BTreeMap::new();
        let mut booked: BTreeMap<Key, i32> = BTreeMap::new();
        for (send, row) in self.ledger.iter() {
            if let Some((sender_day, campaign_day)) = row.used {
                for key in self.quota_keys(send, sender_day, campaign_day) {
                    *used.entry(key).or_default() += 1;
                }
            }
            if let Some(slot) = row.slot {
                for key in self.quota_keys(send, slot.sender_day, slot.campaign_day) {
                    *booked.entry(key).or_default() += 1;
                }
            }
        }
        for (key, count) in &self.quotas {
            let facts =
                (used.get(key).copied().unwrap_or(0), booked.get(key).copied().unwrap_or(0));
            if (count.used, count.booked) != facts {
                faults.push(format!("{key:?} counts {count:?}, and the ledger says {facts:?}"));
            }
            let max = match key.0 {
                Scope::Sender => {
                    let sender = self.senders.values().find(|sender| sender.id == key.1);
                    sender.and_then(|sender| sender.about.per_day)
                }
                Scope::Campaign => {
                    let campaign = self.campaigns.iter().find(|(id, _)| id.uuid() == key.1);
                    campaign.and_then(|(_, campaign)| campaign.document.caps.per_day)
                }
            };
            let taken = u32::try_from(count.used + count.booked).unwrap_or(u32::MAX);
            if max.is_some_and(|max| taken > max) {
                faults.push(format!("{key:?} counts {count:?}, above {max:?}"));
            }
        }
    }

    /// Folds the journal through the machine: it must come to what is stored.
    fn replay(&self, id: EnrollmentId) -> Result<(), String> {
        let row = &self.enrollments[&id];
        let version = &self.campaigns[&row.campaign].version;
        let mut enrollment = Enrollment::begin(&version.steps[0], row.enrolled_at);
        for journaled in &row.journal {
            let context = Context {
                now: journaled.at,
                workspace: self.workspace,
                enrollment: id,
                lead: row.lead,
                version,
                facts: &journaled.facts,
            };
            enrollment.apply(&journaled.signal, context);
        }
        let stored: Enrollment =
            serde_json::from_slice(&row.snapshot).map_err(|error| error.to_string())?;
        if enrollment == stored {
            return Ok(());
        }
        Err(format!("the journal replays to {enrollment:?}, stored is {stored:?}"))
    }
}

/// Whether nothing more will happen to a row by itself.
fn is_settled(row: &Row) -> bool {
    match row.stand {
        Stand::Cancelled | Stand::Accepted | Stand::Rejected => true,
        Stand::Planned
        | Stand::Deferred
        | Stand::Dispatching
        | Stand::Unknown
        | Stand::NeedsReview => false,
    }
}
