//! The send ledger with its rules: one row for a send id, and no state but along a lawful edge. A
//! move that the rules forbid is a bug of the backend or of the machine, and ends the test.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use machine::effect::EffectId;
use machine::ids::{EnrollmentId, MailId, SendId};
use machine::key::{StepKey, VariantKey};
use machine::state::{Responder, Why};

/// What a send says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Step { step: StepKey, variant: Option<VariantKey> },
    Handover { to: Responder, answer_by: DateTime<Utc> },
    Answer { mail: MailId },
    Forward { to: Responder },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    Planned,
    Deferred,
    Cancelled,
    Dispatching,
    Accepted,
    Rejected,
    Unknown,
    NeedsReview,
}

impl Stand {
    /// Whether a send may go from one stand to another within one attempt.
    fn leads_to(self, next: Self) -> bool {
        match self {
            Self::Planned => matches!(
                next,
                Self::Deferred | Self::Cancelled | Self::Dispatching | Self::Rejected
            ),
            Self::Deferred => next == Self::Cancelled,
            Self::Dispatching => {
                matches!(next, Self::Accepted | Self::Rejected | Self::Unknown | Self::Planned)
            }
            Self::Unknown => matches!(next, Self::Accepted | Self::NeedsReview),
            Self::NeedsReview => matches!(next, Self::Accepted | Self::Rejected),
            Self::Accepted | Self::Rejected | Self::Cancelled => false,
        }
    }

    /// Whether a further attempt may be planned.
    fn may_be_asked_again(self) -> bool {
        matches!(self, Self::Planned | Self::Deferred | Self::Cancelled | Self::Rejected)
    }
}

/// A slot that was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) at: DateTime<Utc>,
    pub(super) because: Why,
    pub(super) sender_day: NaiveDate,
    pub(super) campaign_day: NaiveDate,
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) enrollment: EnrollmentId,
    pub(super) what: What,
    pub(super) attempt: u32,
    pub(super) after_seq: u32,
    pub(super) stand: Stand,
    pub(super) slot: Option<Slot>,
    /// When it passed the gate.
    pub(super) gate_at: Option<DateTime<Utc>>,
    /// The days of sender and campaign whose quotas it used.
    pub(super) used: Option<(NaiveDate, NaiveDate)>,
    pub(super) lease_until: Option<DateTime<Utc>>,
}

/// Every row.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    rows: BTreeMap<SendId, Row>,
}

impl Ledger {
    pub(super) fn get(&self, id: SendId) -> Option<&Row> {
        self.rows.get(&id)
    }

    pub(super) fn row(&mut self, id: SendId) -> &mut Row {
        self.rows.get_mut(&id).unwrap_or_else(|| panic!("{id} is not in the ledger"))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SendId, &Row)> + Clone {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    pub(super) fn with(&self, stand: Stand) -> Vec<SendId> {
        self.iter().filter(|(_, row)| row.stand == stand).map(|(id, _)| id).collect()
    }

    /// Plans a send, or the next attempt of one that may be asked for again.
    pub(super) fn plan(
        &mut self,
        id: EffectId,
        enrollment: EnrollmentId,
        what: What,
        after_seq: u32,
    ) {
        let EffectId { send, attempt } = id;
        let slot = match self.rows.get(&send) {
            None => None,
            Some(old) => {
                assert!(old.stand.may_be_asked_again(), "{send} is asked for again: {old:?}");
                assert!(old.attempt < attempt, "attempt {attempt} of {send} is not new: {old:?}");
                assert_eq!(old.enrollment, enrollment, "two enrollments share {send}");
                old.slot
            }
        };
        let row = Row {
            enrollment,
            what,
            attempt,
            after_seq,
            stand: Stand::Planned,
            slot,
            gate_at: None,
            used: None,
            lease_until: None,
        };
        self.rows.insert(send, row);
    }

    pub(super) fn set(&mut self, id: SendId, next: Stand) {
        let row = self.row(id);
        assert!(row.stand.leads_to(next), "{id} goes from {:?} to {next:?}", row.stand);
        row.stand = next;
    }
}
