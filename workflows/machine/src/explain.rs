//! temporary until the branch world lands
#![allow(missing_docs)]
use chrono::{DateTime, Utc};
use crate::enrollment::Enrollment; use crate::key::StepKey; use crate::sequence::Version; use crate::state::{State, Why}; use crate::outcome::Outcome;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown { Queued, Waiting, Sending, Retrying, NeedsApproval, CallDue, WithPerson, Held, Paused, Replied, Met, Finished, Bounced, OptedOut, Stopped, Failed }
impl Shown { pub fn as_str(self) -> &'static str { match self { Self::Queued=>"queued", Self::Waiting=>"waiting", Self::Sending=>"sending", Self::Retrying=>"retrying", Self::NeedsApproval=>"needs_approval", Self::CallDue=>"call_due", Self::WithPerson=>"with_person", Self::Held=>"held", Self::Paused=>"paused", Self::Replied=>"replied", Self::Met=>"met", Self::Finished=>"finished", Self::Bounced=>"bounced", Self::OptedOut=>"opted_out", Self::Stopped=>"stopped", Self::Failed=>"failed" } } }
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary { pub state: Shown, pub why: Option<Why>, pub until: Option<DateTime<Utc>>, pub next_step: Option<StepKey>, pub next_at: Option<DateTime<Utc>> }
pub fn summary(e: &Enrollment, _v: &Version) -> Summary {
    let (state, why, until, next_step) = match &e.state {
        State::Waiting { step, wait } => (if wait.because == Why::RetryBackoff { Shown::Retrying } else if e.data.history.done.is_empty() && e.data.attempts == 0 { Shown::Queued } else { Shown::Waiting }, Some(wait.why), Some(wait.wake_at), Some(step.clone())),
        State::Dispatching { step, .. } => (Shown::Sending, None, None, Some(step.clone())),
        State::AwaitingApproval { step, expires_at, .. } => (Shown::NeedsApproval, Some(Why::Approval), Some(*expires_at), Some(step.clone())),
        State::AwaitingCall { step, .. } => (Shown::CallDue, Some(Why::CallQueue), None, Some(step.clone())),
        State::Held { step, missing, .. } => (Shown::Held, Some(missing.why()), None, Some(step.clone())),
        State::Paused { resume, .. } => (Shown::Paused, Some(Why::LeadPaused), None, Some(resume.step().clone())),
        State::Offered { answer_by, .. } | State::Accepted { answer_by, .. } => (Shown::WithPerson, Some(Why::OwnerReply), Some(*answer_by), None),
        State::Answered { .. } => (Shown::WithPerson, Some(Why::OwnerReply), None, None),
        State::Ended { outcome } => (match outcome { Outcome::Failed => Shown::Failed, Outcome::Completed => Shown::Finished, Outcome::Met => Shown::Met, Outcome::Replied => Shown::Replied, Outcome::Bounced => Shown::Bounced, Outcome::Stopped => Shown::Stopped, Outcome::OptedOut => Shown::OptedOut }, None, None, None),
    };
    let next_at = if let State::Waiting { wait, .. } = &e.state { Some(wait.wake_at) } else { None };
    Summary { state, why, until, next_step, next_at }
}
