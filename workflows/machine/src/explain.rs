//! What a lead is doing, why, until when, and what comes next: for a table's columns and for the
//! page of one lead. It evaluates with [`crate::schedule`] and runs the machine itself ahead, so
//! that an explanation cannot drift from what happens. It knows no sender and no text.

mod forecast;
mod shown;
mod words;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

pub use forecast::Forecast;
pub use shown::Shown;

use crate::condition::Condition;
use crate::context::Context;
use crate::enrollment::Enrollment;
use crate::key::{StepKey, VariantKey};
use crate::outcome::Outcome;
use crate::schedule::{self, Earliest};
use crate::sequence::{Channel, ReplyRule, Step, StepKind, Version, WaitUntil};
use crate::state::{Resume, State, Wait, Why};

/// What a turn stores beside the snapshot, so that a list of leads needs no machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The word for where the lead is.
    pub state: Shown,
    /// Why it is there.
    pub why: Option<Why>,
    /// Until when, where that is known.
    pub until: Option<DateTime<Utc>>,
    /// The step that comes next.
    pub next_step: Option<StepKey>,
    /// When it comes, where that is known.
    pub next_at: Option<DateTime<Utc>>,
}

/// What an enrollment will do next, when, why then, and what would wake it sooner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Plan {
    /// The word for where the lead is.
    pub state: Shown,
    /// One plain sentence, with times in the lead's zone.
    pub headline: String,
    /// The next step.
    pub next: Option<Planned>,
    /// Why then: every constraint, in the order in which they were applied.
    pub constraints: Vec<Constraint>,
    /// What would wake the lead sooner.
    pub wakes_on: Vec<WakesOn>,
    /// The later steps, as far as they can be foreseen.
    pub then: Vec<Forecast>,
    /// What the lead is worth, where the version scores its leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<i32>,
    /// The campaign time at which this was true.
    pub computed_at: DateTime<Utc>,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Planned {
    /// Its key.
    pub step: StepKey,
    /// What it does.
    pub action: Action,
    /// The wording that was chosen, once it was.
    pub variant: Option<VariantKey>,
    /// When; `None` where that hangs on an answer or a person.
    pub at: Option<DateTime<Utc>>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "StepAction")]
pub enum Action {
    /// Sends a mail.
    Email,
    /// Sends a text message.
    Sms,
    /// Puts a call on somebody's list.
    Call,
    /// Waits for an event.
    Wait,
    /// Takes one of two lanes.
    Decide,
    /// Offers the lead to a person.
    HandOver,
    /// Ends the sequence.
    Finish,
}

/// One constraint on the time of the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Constraint {
    /// Which one.
    pub kind: Why,
    /// In words.
    pub label: String,
    /// The earliest time it leaves, given those before it.
    pub not_before: DateTime<Utc>,
    /// Whether it moved the time.
    pub binding: bool,
    /// When the step would happen if this constraint alone were lifted. For binding ones.
    pub without: Option<DateTime<Utc>>,
}

/// Something that would move a lead before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WakesOn {
    /// The lead answers.
    Reply,
    /// The lead follows a link.
    Click,
    /// An attribute changes.
    AttributeChange,
    /// The campaign's goal is met.
    Goal,
    /// The lead wants no more.
    OptOut,
    /// A message comes back.
    Bounce,
    /// The provider answers.
    ProviderAnswer,
    /// A person says whether a message went out.
    Review,
    /// A person decides about the draft.
    ApprovalDecision,
    /// The call is made.
    CallResult,
    /// What is missing is supplied.
    MissingData,
    /// A person resumes it.
    Resume,
    /// A person takes, answers or closes the handover.
    HandoverProgress,
    /// A person gives the lead back.
    GiveBack,
    /// A person acts: send now, skip, hand over, stop.
    Manual,
}

/// Returns the columns a turn stores.
pub fn summary(enrollment: &Enrollment, version: &Version) -> Summary {
    let state = Shown::of(enrollment, version);
    let next_step = next_step(enrollment, version).cloned();
    let (why, until, next_at) = match &enrollment.state {
        State::Waiting { wait, .. } => (Some(wait.why), Some(wait.wake_at), Some(wait.wake_at)),
        State::Dispatching { .. } => (None, None, None),
        State::AwaitingApproval { expires_at, .. } => {
            (Some(Why::Approval), Some(*expires_at), None)
        }
        State::AwaitingCall { .. } => (Some(Why::CallQueue), None, None),
        State::Held { missing, .. } => (Some(missing.why()), None, None),
        State::Paused { .. } => (Some(why_paused(enrollment)), None, None),
        State::Offered { answer_by, .. } | State::Accepted { answer_by, .. } => {
            (Some(Why::OwnerReply), Some(*answer_by), None)
        }
        State::Answered { .. } => (Some(Why::OwnerReply), None, None),
        State::Ended { .. } => (None, None, None),
    };
    Summary { state, why, until, next_step, next_at }
}

/// Returns a condition as part of a sentence: `rooms` is at least 50.
pub fn condition(condition: &Condition) -> String {
    words::condition(condition)
}

/// Returns the sentence that says what an enrollment is doing, why and until when, for eyes that may see no
/// attribute of a lead: what a campaign compares them with is one.
pub fn headline(enrollment: &Enrollment, context: &Context<'_>) -> String {
    words::headline(enrollment, context, Values::Withheld)
}

/// Explains an enrollment, with the evaluation that set its wake-up time.
pub fn explain(enrollment: &Enrollment, context: &Context<'_>) -> Plan {
    let version = context.version;
    let (constraints, at) = match &enrollment.state {
        State::Waiting { step, wait } => match version.step(step) {
            Some(step) => ladder(step, wait, enrollment, context),
            None => (Vec::new(), Some(wait.wake_at)),
        },
        State::Dispatching { .. }
        | State::AwaitingApproval { .. }
        | State::AwaitingCall { .. }
        | State::Held { .. }
        | State::Paused { .. }
        | State::Offered { .. }
        | State::Accepted { .. }
        | State::Answered { .. }
        | State::Ended { .. } => (Vec::new(), None),
    };
    let next = next_step(enrollment, version).map(|key| Planned {
        step: key.clone(),
        action: version.step(key).map_or(Action::Wait, Action::of),
        variant: enrollment.data.asked.get(key).and_then(|asked| asked.variant.clone()),
        at,
    });
    Plan {
        state: Shown::of(enrollment, version),
        headline: words::headline(enrollment, context, Values::Shown),
        next,
        constraints,
        wakes_on: wakes_on(enrollment, version),
        then: forecast::run_ahead(enrollment, context),
        score: (!version.score.is_empty())
            .then(|| version.score(&context.facts.attributes, &enrollment.data.history)),
        computed_at: context.now,
    }
}

/// Whether a sentence may hold values of attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Shown,
    Withheld,
}

/// A message of which nobody knows whether it went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InDoubt<'a> {
    /// A step's, to the lead.
    Step(&'a StepKey),
    /// A mail about a handover, to a person of ours.
    Offer,
    /// What a person of ours wrote, to the lead.
    Answer,
}

impl Plan {
    /// Notes who got the mail of a handover: the machine knows roles only.
    pub fn note_asked(&mut self, who: &str, enrollment: &Enrollment, context: &Context<'_>) {
        if let State::Offered { answer_by, .. } = &enrollment.state {
            self.headline = words::offered(who, *answer_by, context);
        }
    }

    /// Notes that nobody knows whether a message went out, and that a person must say. The machine
    /// waits for its answer like for any other; only the ledger knows that no program will give it.
    pub fn note_doubt(&mut self, message: InDoubt<'_>) {
        let doubt = words::doubt(message);
        let waits_for_it = match message {
            InDoubt::Step(step) => {
                self.state == Shown::Sending
                    && self.next.as_ref().is_some_and(|next| next.step == *step)
            }
            InDoubt::Offer | InDoubt::Answer => false,
        };
        if waits_for_it {
            self.headline = words::capitalised(&doubt);
        } else {
            self.headline = format!("{}; {doubt}", self.headline);
        }
        self.wakes_on.retain(|wake| *wake != WakesOn::ProviderAnswer || !waits_for_it);
        if !self.wakes_on.contains(&WakesOn::Review) {
            self.wakes_on.insert(0, WakesOn::Review);
        }
    }
}

impl Action {
    fn of(step: &Step) -> Self {
        match &step.kind {
            StepKind::Message { channel: Channel::Email, .. } => Self::Email,
            StepKind::Message { channel: Channel::Sms, .. } => Self::Sms,
            StepKind::Message { channel: Channel::Call, .. } | StepKind::Call => Self::Call,
            StepKind::WaitUntil(_) => Self::Wait,
            StepKind::Condition { .. } => Self::Decide,
            StepKind::Handover => Self::HandOver,
            StepKind::Finish => Self::Finish,
        }
    }
}

/// The constraints of a wait and the time they lead to.
fn ladder(
    step: &Step,
    wait: &Wait,
    enrollment: &Enrollment,
    context: &Context<'_>,
) -> (Vec<Constraint>, Option<DateTime<Utc>>) {
    let earliest = Earliest { at: wait.not_before, because: wait.because };
    let schedule = schedule::schedule(step, earliest, &enrollment.data, context);
    let constraints = schedule.constraints.into_iter().map(|constraint| {
        let kind = constraint.why;
        let without = constraint
            .binding
            .then(|| schedule::without(kind, step, earliest, &enrollment.data, context));
        let label = words::label(kind, step, enrollment, context);
        let (not_before, binding) = (constraint.not_before, constraint.binding);
        Constraint { kind, label, not_before, binding, without }
    });
    (constraints.collect(), Some(schedule.at))
}

/// The step that comes next. A person who has the lead decides whether any does.
fn next_step<'a>(enrollment: &'a Enrollment, version: &'a Version) -> Option<&'a StepKey> {
    match &enrollment.state {
        // A step that the version does not have any more is passed by.
        State::Waiting { step, .. } => match version.step(step) {
            Some(step) => Some(&step.key),
            None => version.next(&enrollment.data.history).map(|step| &step.key),
        },
        State::Dispatching { step, .. }
        | State::AwaitingApproval { step, .. }
        | State::AwaitingCall { step, .. }
        | State::Held { step, .. } => Some(step),
        State::Paused { resume, .. } => Some(resume.step()),
        State::Offered { .. }
        | State::Accepted { .. }
        | State::Answered { .. }
        | State::Ended { .. } => None,
    }
}

fn why_paused(enrollment: &Enrollment) -> Why {
    use crate::signal::PauseScope;
    if enrollment.data.pauses.contains(&PauseScope::Lead) {
        Why::LeadPaused
    } else {
        Why::CampaignPaused
    }
}

fn wakes_on(enrollment: &Enrollment, version: &Version) -> Vec<WakesOn> {
    let own: &[WakesOn] = match &enrollment.state {
        State::Waiting { step, .. } => {
            let events = match version.step(step).map(|step| &step.kind) {
                Some(StepKind::WaitUntil(until)) => awaited_events(until),
                Some(
                    StepKind::Message { .. }
                    | StepKind::Call
                    | StepKind::Condition { .. }
                    | StepKind::Handover
                    | StepKind::Finish,
                )
                | None => Vec::new(),
            };
            return with_stops(&events, version);
        }
        State::Dispatching { .. } => &[WakesOn::ProviderAnswer],
        State::AwaitingApproval { .. } => &[WakesOn::ApprovalDecision],
        State::AwaitingCall { .. } => &[WakesOn::CallResult],
        State::Held { .. } => &[WakesOn::MissingData],
        State::Paused { resume, .. } => match resume {
            Resume::Held { .. } => &[WakesOn::Resume, WakesOn::MissingData],
            Resume::Wait { .. } | Resume::Step { .. } => &[WakesOn::Resume],
        },
        State::Offered { .. } | State::Accepted { .. } | State::Answered { .. } => {
            return vec![
                WakesOn::HandoverProgress,
                WakesOn::GiveBack,
                WakesOn::OptOut,
                WakesOn::Bounce,
                WakesOn::Manual,
            ];
        }
        State::Ended { outcome } => {
            let reply = *outcome <= Outcome::Replied && version.on_reply == ReplyRule::HandOver;
            return if reply { vec![WakesOn::Reply] } else { Vec::new() };
        }
    };
    with_stops(own, version)
}

fn awaited_events(until: &WaitUntil) -> Vec<WakesOn> {
    let events = [
        (!until.clicks.is_empty(), WakesOn::Click),
        (until.attribute.is_some(), WakesOn::AttributeChange),
    ];
    events.into_iter().filter(|(named, _)| *named).map(|(_, event)| event).collect()
}

/// What a state waits for, then what counts in every state that is not over.
fn with_stops(own: &[WakesOn], version: &Version) -> Vec<WakesOn> {
    let mut all = own.to_vec();
    all.push(WakesOn::Reply);
    if version.goal.is_some() {
        all.push(WakesOn::Goal);
    }
    all.extend([WakesOn::OptOut, WakesOn::Bounce, WakesOn::Manual]);
    all
}
