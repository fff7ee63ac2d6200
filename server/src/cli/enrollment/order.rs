//! `meridian enrollment signal`: what a person can order about one enrollment.

use activities::versions::Versions;
use activities::{enrollment_orders, enrollment_view, ids};
use clap::{Subcommand, ValueEnum};
use machine::signal::{CallResult, Decision, ResumeRule};

use super::find;
use crate::cli::{ACTOR, Bench};

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
    /// Try again what was given up, from the step that failed
    Retry,
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

impl From<Order> for enrollment_orders::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Pause => Self::Pause,
            Order::Resume { rule } => Self::Resume(rule.into()),
            Order::Skip => Self::Skip(None),
            Order::SendNow => Self::SendNow(None),
            Order::Retry => Self::Retry,
            Order::Stop => Self::Stop,
            Order::HandOver => Self::HandOver,
            Order::Replied => Self::Replied,
            Order::Approve => Self::Decide(Decision::Approved),
            Order::Reject => Self::Decide(Decision::Rejected),
            Order::Called { result } => Self::Called(match result {
                Called::Reached => CallResult::Reached,
                Called::NoAnswer => CallResult::NoAnswer,
                Called::WrongNumber => CallResult::WrongNumber,
            }),
        }
    }
}

pub(super) async fn signal(
    who: &str,
    campaign: Option<&str>,
    order: Order,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who, campaign).await?;
    let (store, workspace, versions) = (&session.store, session.workspace, Versions::default());
    // What tells this order from every other.
    let key = format!("cli/{}", ids::new::<machine::ids::Send>());
    enrollment_orders::give(store, &versions, workspace, id, order.into(), key, &ACTOR).await??;
    let view = enrollment_view::read(store, &versions, workspace, id).await?;
    let lead = view.stored.email.unwrap_or_else(|| id.to_string());
    let campaign = view.stored.campaign;
    bench.terminal.print(&format!("{lead} was told in `{campaign}`"))?;
    Ok(())
}
