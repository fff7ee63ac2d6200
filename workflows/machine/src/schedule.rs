//! When a step may happen, and which constraint made it so: the one evaluation behind both the
//! wake-up time and its explanation.

use std::borrow::Cow;
use std::collections::BTreeSet;

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::calendar::{self, Calendar, Closure};
use crate::context::Context;
use crate::sequence::{Channel, Step, StepKind};
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
/// and calls, windows and holidays, and for texts the hours of the night.
pub fn schedule(step: &Step, earliest: Earliest, data: &Data, context: &Context<'_>) -> Schedule {
    evaluate(step, earliest, data, context, None)
}

/// Returns when `step` could happen if `lifted` did not constrain it and everything else did.
pub fn without(
    lifted: Why,
    step: &Step,
    earliest: Earliest,
    data: &Data,
    context: &Context<'_>,
) -> DateTime<Utc> {
    evaluate(step, earliest, data, context, Some(lifted)).at
}

fn evaluate(
    step: &Step,
    earliest: Earliest,
    data: &Data,
    context: &Context<'_>,
    lifted: Option<Why>,
) -> Schedule {
    let counts = |why: Why| lifted != Some(why);
    let mut ladder = Ladder::from(if counts(earliest.because) {
        earliest
    } else {
        Earliest { at: context.now, ..earliest }
    });
    if let Some(back_on) = data.away_until.filter(|_| counts(Why::LeadAsked)) {
        let back = calendar::resolve_local(context.zone(), back_on.and_time(NaiveTime::MIN));
        ladder.apply(Why::LeadAsked, back);
    }
    if matches!(step.kind, StepKind::Message { .. } | StepKind::Call) {
        let calendar = relaxed(&context.version.calendar, lifted);
        ladder.apply_calendar(&calendar, context.zones());
        let is_text = matches!(step.kind, StepKind::Message { channel: Channel::Sms, .. });
        if is_text && counts(Why::QuietHours) {
            let texts = match &calendar {
                Cow::Borrowed(_) => Some(Cow::Borrowed(&context.version.text_calendar)),
                Cow::Owned(calendar) => calendar.within_text_hours().map(Cow::Owned),
            };
            ladder.apply_quiet_hours(texts.as_deref(), context.zones());
        }
    }
    ladder.into_schedule()
}

/// The calendar without what is lifted.
fn relaxed(calendar: &Calendar, lifted: Option<Why>) -> Cow<'_, Calendar> {
    match lifted {
        Some(Why::SendWindow) => {
            Cow::Owned(Calendar { windows: Vec::new(), holidays: calendar.holidays.clone() })
        }
        Some(Why::Holiday) => {
            Cow::Owned(Calendar { windows: calendar.windows.clone(), holidays: BTreeSet::new() })
        }
        Some(_) | None => Cow::Borrowed(calendar),
    }
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

    /// Windows first, then holidays: a day off is named only where the windows alone would have
    /// let the step happen on it. A calendar without any opening is refused when a version is made;
    /// where none suits all zones the step comes at once, and is held.
    fn apply_calendar(&mut self, calendar: &Calendar, zones: &[Tz]) {
        let from = self.at();
        let Ok(opening) = calendar.next_common_opening(zones, from) else { return };
        let by_windows = match opening.delayed_by {
            Some(Closure::Holiday) => {
                let windows = calendar.windows.clone();
                let without_holidays = Calendar { windows, holidays: BTreeSet::new() };
                without_holidays.next_common_opening(zones, from).map_or(from, |opening| opening.at)
            }
            Some(Closure::Window) | None => opening.at,
        };
        if !calendar.windows.is_empty() {
            self.apply(Why::SendWindow, by_windows);
        }
        if !calendar.holidays.is_empty() {
            self.apply(Why::Holiday, opening.at);
        }
    }

    /// The hours in which texts may be sent, on top of the calendar they are a part of. One that never
    /// opens is refused when a version is made.
    fn apply_quiet_hours(&mut self, texts: Option<&Calendar>, zones: &[Tz]) {
        let opening = texts.and_then(|texts| texts.next_common_opening(zones, self.at()).ok());
        if let Some(opening) = opening {
            self.apply(Why::QuietHours, opening.at);
        }
    }

    fn into_schedule(self) -> Schedule {
        let at = self.at();
        let last = self.constraints.iter().rev().find(|constraint| constraint.binding);
        let why = last.expect("the first constraint always binds").why;
        Schedule { at, why, constraints: self.constraints }
    }
}
