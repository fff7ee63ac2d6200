//! Why a lead was handed over to a person, read from the journal row with which it was.

use std::collections::HashMap;
use std::fmt;

use machine::effect::Effect;
use machine::explain::{self, Shown};
use machine::ids::{EnrollmentId, WorkspaceId};
use machine::key::{StepKey, TriggerKey};
use machine::sequence::Version;
use machine::signal::{ReplyTo, Signal};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::enrollment_view::signal_of;
use crate::store::handover_views;
use crate::store::journal::Entry;
use crate::turn::requests::Requests;

/// Why a person is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "because", rename_all = "snake_case")]
#[schemars(rename = "HandoverCause")]
pub enum Cause {
    /// The lead wrote.
    Replied {
        /// What the campaign looks for and found with it.
        triggers: Vec<TriggerKey>,
    },
    /// One of our people asked for it.
    Asked,
    /// The lead is as the campaign looks for.
    Triggered {
        /// By these triggers.
        triggers: Vec<TriggerKey>,
    },
    /// A step of the campaign hands over.
    Step {
        /// Which, where that is known.
        step: Option<StepKey>,
    },
}

impl Cause {
    /// Returns the newest one of a journal.
    pub(crate) fn newest(entries: &[Entry]) -> Self {
        let asks = |entry: &Entry| {
            let signal = signal_of(entry);
            matches!(signal, Some(Signal::Replied { to: ReplyTo::This, .. } | Signal::HandOver))
        };
        let newest = entries.iter().rposition(|entry| asks(entry) || hands_over(entry));
        let Some(newest) = newest else { return Self::Step { step: None } };
        let before = newest.checked_sub(1).and_then(|before| entries.get(before));
        Self::of(&entries[newest], before)
    }

    /// Returns the cause of the handover that began with `entry`, which came after `before`.
    pub fn of(entry: &Entry, before: Option<&Entry>) -> Self {
        let step = before.and_then(|before| before.next_step.as_deref());
        Self::read(&entry.cause, entry.effects.as_deref(), step)
    }

    fn read(signal: &str, effects: Option<&str>, step: Option<&str>) -> Self {
        let triggers = triggers(effects);
        if signal == Signal::replied(ReplyTo::This, None).kind() {
            Self::Replied { triggers }
        } else if signal == Signal::HandOver.kind() {
            Self::Asked
        } else if triggers.is_empty() {
            Self::Step { step: step.and_then(|step| step.parse().ok()) }
        } else {
            Self::Triggered { triggers }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |triggers: &[TriggerKey]| {
            let named: Vec<String> = triggers.iter().map(|key| format!("`{key}`")).collect();
            named.join(", ")
        };
        match self {
            Self::Replied { triggers } if triggers.is_empty() => f.write_str("the lead answered"),
            Self::Replied { triggers } => {
                write!(f, "the lead answered: trigger {}", named(triggers))
            }
            Self::Asked => f.write_str("a person asked"),
            Self::Triggered { triggers } => write!(f, "trigger {}", named(triggers)),
            Self::Step { step: Some(step) } => write!(f, "step `{step}`"),
            Self::Step { step: None } => f.write_str("a step"),
        }
    }
}

/// Whether an entry took the lead from the campaign to a person.
pub fn hands_over(entry: &Entry) -> bool {
    let with_person = Shown::WithPerson.as_str();
    entry.from_state != with_person && entry.to_state == with_person
}

/// Names triggers with what they look for: `hot` (the score is at least 50).
pub fn in_words(triggers: &[TriggerKey], version: &Version) -> String {
    let known = version.handover.iter().flat_map(|rule| &rule.triggers);
    let known: HashMap<&TriggerKey, _> = known.map(|it| (&it.key, &it.when)).collect();
    let words = triggers.iter().map(|key| match known.get(key) {
        Some(when) => format!("`{key}` ({})", explain::condition(when)),
        None => format!("`{key}`"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Returns the causes of handovers, each named by its enrollment and its number, as far as the journal
/// has them.
///
/// # Errors
///
/// When the database fails.
pub async fn causes(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    handovers: &[(EnrollmentId, i32)],
) -> sqlx::Result<HashMap<(EnrollmentId, i32), Cause>> {
    let enrollments: Vec<Uuid> =
        handovers.iter().map(|(enrollment, _)| enrollment.uuid()).collect();
    let visits: Vec<i32> = handovers.iter().map(|(_, visit)| *visit).collect();
    let rows = handover_views::beginnings(conn, workspace, &enrollments, &visits).await?;
    let causes = rows.into_iter().map(|row| {
        let cause = Cause::read(&row.cause, row.effects.as_deref(), row.step.as_deref());
        ((row.enrollment_id.into(), row.visit), cause)
    });
    Ok(causes.collect())
}

fn triggers(effects: Option<&str>) -> Vec<TriggerKey> {
    let requests = effects.and_then(Requests::read);
    let asked = requests.iter().flat_map(|requests| requests.asked.iter());
    let named = asked.filter_map(|effect| match effect {
        Effect::OfferHandover { triggers, .. } => Some(triggers),
        Effect::Send { .. }
        | Effect::PassOn { .. }
        | Effect::Forward { .. }
        | Effect::RequestApproval { .. }
        | Effect::OpenCallTask { .. } => None,
    });
    named.flatten().cloned().collect()
}
