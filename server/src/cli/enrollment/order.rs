//! `meridian enrollment signal`: what a person can order about one enrollment.

use activities::enrollment_view::{self, EnrollmentView};
use activities::versions::Versions;
use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use machine::key::StepKey;
use machine::signal::{CallResult, Decision, PauseScope, ReplyTo, ResumeRule, Signal};
use machine::state::State;

use super::{find, tell};
use crate::cli::Bench;

/// What a person can order.
#[derive(Debug, Clone, Subcommand)]
pub(in crate::cli) enum Order {
    /// Let it rest until it is resumed
    Pause,
    /// Let it go on
    Resume {
        /// What becomes of the wait that was interrupted
        #[arg(long, default_value = "keep")]
        rule: Rule,
    },
    /// Leave the next step out
    Skip,
    /// Do not wait for the delay; windows and limits still count
    SendNow,
    /// End it
    Stop,
    /// Offer the lead to a person
    HandOver,
    /// Say that the lead replied, where its mail does not come to us
    Replied,
    /// Approve the draft that waits
    Approve,
    /// Reject the draft that waits
    Reject,
    /// Say how the call went
    Called {
        /// How
        result: Called,
    },
}

/// What becomes of a wait that a pause interrupted.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Rule {
    /// It keeps its original time; if that has passed, it is over
    Keep,
    /// The rest of it follows from now on
    Shift,
    /// It begins anew
    Restart,
}

impl From<Rule> for ResumeRule {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Keep => Self::Keep,
            Rule::Shift => Self::Shift,
            Rule::Restart => Self::Restart,
        }
    }
}

/// How a call went.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Called {
    /// The lead was spoken to
    Reached,
    /// Nobody answered
    NoAnswer,
    /// The number is wrong
    WrongNumber,
}

pub(super) async fn signal(
    who: &str,
    campaign: Option<&str>,
    order: Order,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who, campaign).await?;
    let view =
        enrollment_view::read(&session.store, &Versions::default(), session.workspace, id).await?;
    let signal = to_signal(order, &view)?;
    let is_over = matches!(view.enrollment.state, State::Ended { .. });
    let means_nothing =
        is_over && !matches!(signal, Signal::Replied { .. } | Signal::HandOver | Signal::OptedOut);
    tell(session, id, signal).await?;
    let lead = view.stored.email.unwrap_or_else(|| id.to_string());
    let campaign = view.stored.campaign;
    bench.terminal.print(&match means_nothing {
        false => format!("{lead} was told in `{campaign}`"),
        true => {
            format!("{lead} was told in `{campaign}`, where it has ended: that changes nothing")
        }
    })?;
    Ok(())
}

fn to_signal(order: Order, view: &EnrollmentView) -> anyhow::Result<Signal> {
    let scope = PauseScope::Lead;
    Ok(match order {
        Order::Pause => Signal::Paused { scope },
        Order::Resume { rule } => Signal::Resumed { scope, rule: rule.into() },
        Order::Skip => Signal::Skipped { step: next_step(view)? },
        Order::SendNow => Signal::SendNow { step: next_step(view)? },
        Order::Stop => Signal::Stopped,
        Order::HandOver if view.version.version.handover.is_none() => {
            bail!("the campaign names nobody to hand over to: add `handover.to` to its file")
        }
        Order::HandOver => Signal::HandOver,
        Order::Replied => Signal::Replied { to: ReplyTo::This, step: None },
        Order::Approve => decide(view, Decision::Approved)?,
        Order::Reject => decide(view, Decision::Rejected)?,
        Order::Called { result } => {
            let State::AwaitingCall { task, .. } = &view.enrollment.state else {
                bail!("no call of it is due; it is {}", view.plan.state);
            };
            let result = match result {
                Called::Reached => CallResult::Reached,
                Called::NoAnswer => CallResult::NoAnswer,
                Called::WrongNumber => CallResult::WrongNumber,
            };
            Signal::CallDone { effect: *task, result }
        }
    })
}

fn next_step(view: &EnrollmentView) -> anyhow::Result<StepKey> {
    match &view.plan.next {
        Some(next) => Ok(next.step.clone()),
        None => bail!("no step of it comes next; it is {}", view.plan.state),
    }
}

fn decide(view: &EnrollmentView, decision: Decision) -> anyhow::Result<Signal> {
    let State::AwaitingApproval { draft, .. } = &view.enrollment.state else {
        bail!("no draft of it waits; it is {}", view.plan.state);
    };
    Ok(Signal::ApprovalDecided { effect: *draft, decision })
}
