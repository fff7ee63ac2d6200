//! When a step may happen, and which constraint made it so: the one evaluation behind both the
//! wake-up time and its explanation.

use chrono::{DateTime, NaiveTime, Utc};
use serde::Serialize;

use crate::calendar::{self, Closure};
use crate::context::Context;
use crate::sequence::{Step, StepKind};
use crate::state::{Data, Wait, Why};

/// A constraint on the time of a step, in the order in which they apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Constraint {
    /// Which one.
    pub why: Why,
    /// The earliest time it leaves, given those before it.
    pub not_before: DateTime<Utc>,
    /// Whether it moved the time.
    pub binding: bool,
}

/// The time of a step with the constraints that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// When the step may happen.
    pub at: DateTime<Utc>,
    /// The constraint that made it so.
    pub why: Why,
    /// Every constraint in order of application.
    pub constraints: Vec<Constraint>,
}

/// What a schedule starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earliest {
    /// No sooner than this.
    pub at: DateTime<Utc>,
    /// Because of this.
    pub because: Why,
}

/// Returns when `step` may happen, starting from `earliest`: absences first, then, for messages
/// and calls, windows and holidays.
pub fn schedule(step: &Step, earliest: Earliest, data: &Data, context: &Context<'_>) -> Schedule {
    let zone = context.zone();
    let mut ladder = Ladder::from(earliest);
    if let Some(back_on) = data.away_until {
        let back = calendar::resolve_local(zone, back_on.and_time(NaiveTime::MIN));
        ladder.apply(Why::LeadAsked, back);
    }
    if matches!(step.kind, StepKind::Message { .. } | StepKind::Call) {
        // A calendar without any opening is refused when a version is made.
        if let Ok(opening) = context.version.calendar.next_opening(zone, ladder.at()) {
            let why = match opening.delayed_by {
                Some(Closure::Holiday) => Why::Holiday,
                Some(Closure::Window) | None => Why::SendWindow,
            };
            ladder.apply(why, opening.at);
        }
    }
    ladder.into_schedule()
}

/// Returns the wait before `step` that begins now.
pub fn wait(step: &Step, earliest: Earliest, data: &Data, context: &Context<'_>) -> Wait {
    let schedule = schedule(step, earliest, data, context);
    Wait {
        since: context.now,
        not_before: earliest.at,
        because: earliest.because,
        wake_at: schedule.at,
        why: schedule.why,
    }
}

/// Constraints as they are applied, one after another.
struct Ladder {
    constraints: Vec<Constraint>,
}

impl Ladder {
    fn from(earliest: Earliest) -> Self {
        let first = Constraint { why: earliest.because, not_before: earliest.at, binding: true };
        Self { constraints: vec![first] }
    }

    fn at(&self) -> DateTime<Utc> {
        self.constraints.last().expect("a ladder begins with one constraint").not_before
    }

    fn apply(&mut self, why: Why, until: DateTime<Utc>) {
        let binding = until > self.at();
        let not_before = until.max(self.at());
        self.constraints.push(Constraint { why, not_before, binding });
    }

    fn into_schedule(self) -> Schedule {
        let at = self.at();
        let last = self.constraints.iter().rev().find(|constraint| constraint.binding);
        let why = last.expect("the first constraint always binds").why;
        Schedule { at, why, constraints: self.constraints }
    }
}
