//! Where a campaign's `reply.scope` is `company`: a message waits while a colleague of its lead, in the
//! same campaign, is with a person, or has answered and nobody has read it.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use machine::sequence::ReplyScope;
use machine::state::Why;
use uuid::Uuid;

use super::prepare::Prepared;
use crate::error::Result;
use crate::store::Tx;
use crate::store::company_holds::{self, Held};
use crate::store::gates::Candidate;
use crate::turn::{Ask, What};

/// How soon it is looked again, should nobody tell that the colleague is free.
pub const AGAIN: TimeDelta = TimeDelta::hours(1);

/// The leads of a batch whose companies are held.
#[derive(Default)]
pub(super) struct Colleagues {
    held: HashMap<Uuid, Vec<Held>>,
    waiting: Vec<Held>,
}

fn asks_for_it(ask: &Ask) -> bool {
    let is_step = match ask.what {
        What::Step { .. } => true,
        // What people of ours write goes to whom they have.
        What::Handover { .. } | What::Forward { .. } | What::Answer { .. } => false,
    };
    is_step && ask.version.version.reply_scope == ReplyScope::Company
}

impl Colleagues {
    /// Reads what the messages of a batch have to know. A campaign that does not ask for it pays
    /// nothing for it.
    pub(super) async fn read(tx: &mut Tx, batch: &[(Prepared, &Candidate)]) -> Result<Self> {
        let asking = batch.iter().filter(|(message, _)| asks_for_it(&message.ask));
        let asking: Vec<Uuid> = asking.map(|(it, _)| it.ask.enrollment.uuid()).collect();
        let workspace = tx.workspace();
        let mut colleagues = Self::default();
        for held in company_holds::held(tx, workspace, &asking).await? {
            colleagues.held.entry(held.enrollment_id).or_default().push(held);
        }
        Ok(colleagues)
    }

    /// Returns until when a colleague stands against a message, as far as anybody looks ahead.
    pub(super) fn guard(
        &mut self,
        message: &Prepared,
        now: DateTime<Utc>,
    ) -> Option<(DateTime<Utc>, Why)> {
        if !asks_for_it(&message.ask) {
            return None;
        }
        let held = self.held.get(&message.ask.enrollment.uuid())?;
        self.waiting.extend(held.iter().cloned());
        Some((now + AGAIN, Why::ColleagueWithPerson))
    }

    /// Writes who waits.
    pub(super) async fn write(&self, tx: &mut Tx) -> Result<()> {
        let workspace = tx.workspace();
        company_holds::wait(tx, workspace, &self.waiting).await?;
        Ok(())
    }
}
