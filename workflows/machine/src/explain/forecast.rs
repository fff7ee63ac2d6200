//! The later steps: the machine itself, run ahead on today's facts with every request granted and
//! nothing heard from the lead. Only the likeliest path; a lane that was not taken is named.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Action, words};
use crate::context::{Context, Facts};
use crate::enrollment::Enrollment;
use crate::key::StepKey;
use crate::sequence::{StepKind, Version};
use crate::signal::{Answer, CallResult, Decision, ResumeRule, Signal};
use crate::state::{Done, Lane, State};

/// How many steps are foreseen.
const STEPS_MAX: usize = 20;

/// How many signals are tried; a decision or an approval needs more than one for a step.
const SIGNALS_MAX: usize = 80;

/// A later step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Forecast {
    /// Its key; `None` for the end after the last step.
    pub step: Option<StepKey>,
    /// What it does.
    pub action: Action,
    /// What it hangs on, in words.
    pub condition: Option<String>,
    /// What happens otherwise, in words.
    pub otherwise: Option<String>,
    /// About when; `None` where that hangs on a person.
    pub at: Option<DateTime<Utc>>,
}

/// Returns the steps after the next one.
pub(super) fn run_ahead(enrollment: &Enrollment, context: &Context<'_>) -> Vec<Forecast> {
    let facts = Facts { in_flight: Vec::new(), ..context.facts.clone() };
    let mut ahead = Ahead {
        enrollment: enrollment.clone(),
        context: Context { facts: &facts, ..*context },
        known: Known::Time,
        seen: None,
        then: Vec::new(),
    };
    ahead.leave_present();
    for _ in 0..SIGNALS_MAX {
        if ahead.then.len() >= STEPS_MAX {
            break;
        }
        let Some(signal) = ahead.likeliest() else { break };
        ahead.apply(&signal);
    }
    ahead.then.truncate(STEPS_MAX);
    ahead.then
}

/// Whether the times that come out mean anything.
enum Known {
    Time,
    OrderOnly,
}

struct Ahead<'a> {
    enrollment: Enrollment,
    context: Context<'a>,
    known: Known,
    /// The step that was noted last: one that is asked for again is not another step.
    seen: Option<StepKey>,
    then: Vec<Forecast>,
}

impl Ahead<'_> {
    /// Passes over the present: what is next is no forecast.
    fn leave_present(&mut self) {
        match self.enrollment.state.clone() {
            State::Waiting { step, .. }
            | State::Dispatching { step, .. }
            | State::AwaitingApproval { step, .. }
            | State::AwaitingCall { step, .. } => self.seen = Some(step),
            State::Held { step, .. } => {
                self.known = Known::OrderOnly;
                self.apply(&Signal::Skipped { step });
            }
            State::Paused { resume, .. } => {
                self.known = Known::OrderOnly;
                self.seen = Some(resume.step().clone());
                for scope in self.enrollment.data.pauses.clone() {
                    self.apply(&Signal::Resumed { scope, rule: ResumeRule::Keep });
                }
                if let State::Held { step, .. } = self.enrollment.state.clone() {
                    self.apply(&Signal::Skipped { step });
                }
            }
            State::Offered { .. }
            | State::Accepted { .. }
            | State::Answered { .. }
            | State::Ended { .. } => {}
        }
    }

    /// What comes next if everything goes its way and nobody says anything; notes the step that is
    /// waited for.
    fn likeliest(&mut self) -> Option<Signal> {
        match &self.enrollment.state {
            State::Waiting { step, wait } => {
                let (step, wake_at) = (step.clone(), wait.wake_at);
                if self.seen.as_ref() != Some(&step) {
                    self.note_step(&step, wake_at);
                    self.seen = Some(step);
                }
                self.context.now = self.context.now.max(wake_at);
                Some(Signal::Woke)
            }
            State::Dispatching { effect, .. } => {
                Some(Signal::SendAnswered { effect: *effect, answer: Answer::Accepted })
            }
            State::AwaitingApproval { draft, .. } => {
                Some(Signal::ApprovalDecided { effect: *draft, decision: Decision::Approved })
            }
            State::AwaitingCall { task, .. } => {
                Some(Signal::CallDone { effect: *task, result: CallResult::Reached })
            }
            State::Held { .. }
            | State::Paused { .. }
            | State::Offered { .. }
            | State::Accepted { .. }
            | State::Answered { .. }
            | State::Ended { .. } => None,
        }
    }

    fn apply(&mut self, signal: &Signal) {
        let before = self.enrollment.clone();
        self.enrollment.apply(signal, self.context);
        let version = self.context.version;
        version.each_step(&mut |step| {
            let lane = |enrollment: &Enrollment| match enrollment.data.history.done.get(&step.key) {
                Some(Done::Lane { lane }) => Some(*lane),
                Some(
                    Done::Sent { .. }
                    | Done::Waited { .. }
                    | Done::Called { .. }
                    | Done::HandedOver
                    | Done::Skipped,
                )
                | None => None,
            };
            if let (None, Some(lane)) = (lane(&before), lane(&self.enrollment)) {
                self.then.retain(|earlier| earlier.step.as_ref() != Some(&step.key));
                self.then.push(Forecast {
                    step: Some(step.key.clone()),
                    action: Action::Decide,
                    condition: Some(decision(version, &step.key, lane)),
                    otherwise: other_lane(version, &step.key, lane),
                    at: self.time(self.context.now),
                });
            }
        });
        let ended = matches!(self.enrollment.state, State::Ended { .. });
        if ended && !matches!(before.state, State::Ended { .. }) {
            // A last step that was foreseen says so itself.
            let said = self.then.last().is_some_and(|last| last.action == Action::Finish);
            if !said {
                self.then.push(Forecast {
                    step: None,
                    action: Action::Finish,
                    condition: Some(words::NO_REPLY.to_owned()),
                    otherwise: None,
                    at: self.time(self.context.now),
                });
            }
        }
    }

    fn note_step(&mut self, key: &StepKey, wake_at: DateTime<Utc>) {
        let Some(step) = self.context.version.step(key) else { return };
        self.then.push(Forecast {
            step: Some(key.clone()),
            action: Action::of(step),
            condition: Some(words::NO_REPLY.to_owned()),
            otherwise: None,
            at: self.time(wake_at),
        });
    }

    fn time(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.known {
            Known::Time => Some(at),
            Known::OrderOnly => None,
        }
    }
}

fn decision(version: &Version, key: &StepKey, lane: Lane) -> String {
    let Some(StepKind::Condition { when, .. }) = version.step(key).map(|step| &step.kind) else {
        return String::new();
    };
    match lane {
        Lane::Then => format!("if {}", words::condition(when)),
        Lane::Else => format!("unless {}", words::condition(when)),
    }
}

/// The first step of the lane that was not taken.
fn other_lane(version: &Version, key: &StepKey, lane: Lane) -> Option<String> {
    let Some(StepKind::Condition { then, otherwise, .. }) = version.step(key).map(|s| &s.kind)
    else {
        return None;
    };
    let other = match lane {
        Lane::Then => otherwise,
        Lane::Else => then,
    };
    other.first().map(words::infinitive)
}
