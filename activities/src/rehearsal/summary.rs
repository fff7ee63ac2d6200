//! A rehearsal in numbers: what leaves on which day, who would be held, how it ends.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use machine::key::StepKey;
use machine::sequence::Channel;
use machine::signal::Missing;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Course, Ending};
use crate::sms::Encoding;

/// A rehearsal in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Messages and calls.
    pub touches: usize,
    /// When the first of them leaves.
    pub first_at: Option<DateTime<Utc>>,
    /// When the last of them leaves.
    pub last_at: Option<DateTime<Utc>>,
    /// What leaves on each day of the campaign's calendar on which something does.
    pub days: Vec<Day>,
    /// Who would be held, by step and reason.
    pub held: Vec<HeldLeads>,
    /// Leads that get a message or a call.
    pub reached: usize,
    /// Calls among the touches.
    pub calls: usize,
    /// How many leads are handed over, by what hands them over.
    pub handed_over: BTreeMap<String, usize>,
    /// How many leads end how, by the word of the ending.
    pub endings: BTreeMap<&'static str, usize>,
    /// What the texts of each step come to.
    pub texts: BTreeMap<StepKey, Texts>,
}

/// What the texts of a step come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RehearsedTexts")]
pub struct Texts {
    /// How many.
    pub texts: usize,
    /// Parts in all, each of which is paid for.
    pub parts: usize,
    /// Texts in the sixteen-bit alphabet, which take more parts.
    pub wide: usize,
}

/// What leaves on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// The day, on the campaign's calendar.
    pub day: NaiveDate,
    /// Messages and calls.
    pub total: usize,
    /// As many of each step.
    pub steps: BTreeMap<StepKey, usize>,
}

/// Leads that would be held for the same reason.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldLeads {
    /// At which step.
    pub step: StepKey,
    /// What is missing.
    pub missing: Missing,
    /// How many.
    pub leads: usize,
    /// The address or number of one of them.
    pub example: Option<String>,
}

impl Summary {
    /// Sums courses up, with days on the calendar of `zone`.
    pub fn of(courses: &[Course], zone: Tz) -> Self {
        let touches = || courses.iter().flat_map(|course| &course.touches);
        let mut days: BTreeMap<NaiveDate, Day> = BTreeMap::new();
        for touch in touches() {
            let day = touch.at.with_timezone(&zone).date_naive();
            let entry =
                days.entry(day).or_insert_with(|| Day { day, total: 0, steps: BTreeMap::new() });
            entry.total += 1;
            *entry.steps.entry(touch.step.clone()).or_default() += 1;
        }
        let mut texts: BTreeMap<StepKey, Texts> = BTreeMap::new();
        for (step, measure) in touches().filter_map(|it| Some((&it.step, it.text?))) {
            let entry = texts.entry(step.clone()).or_default();
            entry.texts += 1;
            entry.parts += measure.segments;
            entry.wide += usize::from(measure.encoding == Encoding::Ucs2);
        }
        let mut endings = BTreeMap::new();
        let mut handed_over = BTreeMap::new();
        for course in courses {
            if let Ending::HandedOver { cause, .. } = &course.ending {
                *handed_over.entry(cause.to_string()).or_default() += 1;
            }
            *endings.entry(course.ending.as_str()).or_default() += 1;
        }
        Self {
            touches: touches().count(),
            first_at: touches().map(|touch| touch.at).min(),
            last_at: touches().map(|touch| touch.at).max(),
            days: days.into_values().collect(),
            held: held(courses),
            reached: courses.iter().filter(|course| !course.touches.is_empty()).count(),
            calls: touches().filter(|touch| touch.channel == Channel::Call).count(),
            handed_over,
            endings,
            texts,
        }
    }
}

fn held(courses: &[Course]) -> Vec<HeldLeads> {
    let mut held: BTreeMap<(StepKey, String), HeldLeads> = BTreeMap::new();
    for course in courses {
        let Ending::Held { step, missing } = &course.ending else { continue };
        let reason = serde_json::to_string(missing).expect("plain data");
        let entry = held.entry((step.clone(), reason)).or_insert_with(|| HeldLeads {
            step: step.clone(),
            missing: missing.clone(),
            leads: 0,
            example: course.email.clone().or_else(|| course.phone.clone()),
        });
        entry.leads += 1;
    }
    held.into_values().collect()
}
