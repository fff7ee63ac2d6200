//! What leads and messages are counted for, by campaign, step and wording.

use std::collections::BTreeMap;

use machine::signal::{Answer, Signal};
use uuid::Uuid;

use super::apply::Done;
use crate::store::turns::Deltas;

/// By how much the counters of a batch change.
#[derive(Default)]
pub(super) struct Counts {
    changes: BTreeMap<(Uuid, Option<String>, Option<String>, String), i64>,
}

impl Counts {
    /// Counts what a turn led to: where its lead is, what left, and what was reported for the first time.
    pub(super) fn add(&mut self, done: &Done) {
        let campaign = done.read.row.campaign_id;
        let Some(last) = done.applied.last() else { return };
        let (before, after) = (done.read.row.state.as_str(), last.to.state.as_str());
        if before != after {
            self.count(campaign, None, None, format!("state/{before}"), -1);
            self.count(campaign, None, None, format!("state/{after}"), 1);
        }
        for applied in &done.applied {
            if let Signal::SendAnswered { effect, answer: Answer::Accepted } = &applied.signal
                && let Some(open) = done.open_before.iter().find(|open| open.id == *effect)
                && let Some(step) = &open.step
            {
                let variant = open.variant.as_ref().map(ToString::to_string);
                self.count(campaign, Some(step.to_string()), variant, "sent".to_owned(), 1);
            }
            if let Some(counted) = applied.counted {
                let step = applied.signal.proves().map(ToString::to_string);
                let variant = applied.variant.as_ref().map(ToString::to_string);
                self.count(campaign, step, variant, counted.as_str().to_owned(), 1);
            }
        }
    }

    fn count(
        &mut self,
        campaign: Uuid,
        step: Option<String>,
        variant: Option<String>,
        measure: String,
        n: i64,
    ) {
        *self.changes.entry((campaign, step, variant, measure)).or_default() += n;
    }

    /// Returns the changes that are not nothing.
    pub(super) fn into_deltas(self) -> Deltas {
        let mut deltas = Deltas::default();
        for ((campaign, step, variant, measure), n) in self.changes {
            if n != 0 {
                deltas.campaigns.push(campaign);
                deltas.steps.push(step);
                deltas.variants.push(variant);
                deltas.measures.push(measure);
                deltas.ns.push(n);
            }
        }
        deltas
    }
}
