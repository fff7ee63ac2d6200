//! What a dossier tells of the past: everything in its order.

use chrono::{DateTime, Utc};
use machine::signal::{Bounce, CallResult, HandoverResult, ReplyTo, Signal};

use super::Dossier;
use crate::enrollment_view::signal_of;

/// Returns what was sent and what happened, oldest first.
pub(super) fn of(dossier: &Dossier) -> Vec<(DateTime<Utc>, String)> {
    let sent = dossier.sent.iter().map(|sent| {
        let said = match (&sent.subject, &sent.text) {
            (Some(said), _) | (None, Some(said)) => said.as_str(),
            (None, None) => "no longer kept",
        };
        (
            sent.gate_at,
            format!("`{}` was sent: {}", sent.step_key, said.lines().next().unwrap_or_default()),
        )
    });
    let happened = dossier.entries.iter().filter_map(|entry| {
        let words = words(&signal_of(entry)?)?;
        Some((entry.at, words))
    });
    let mut history: Vec<_> = sent.chain(happened).collect();
    history.sort_by_key(|(at, _)| *at);
    history
}

/// Tells one signal, if it is worth telling.
fn words(signal: &Signal) -> Option<String> {
    match signal {
        Signal::Enrolled => Some("entered the campaign".to_owned()),
        Signal::Replied { to: ReplyTo::This, step: Some(step), .. } => {
            Some(format!("they answered `{step}`"))
        }
        Signal::Replied { to: ReplyTo::This, step: None, .. } => Some("they answered".to_owned()),
        Signal::Replied { to: ReplyTo::Other, .. } => {
            Some("they answered another campaign".to_owned())
        }
        Signal::AutoReplied { back_on: Some(day) } => {
            Some(format!("an automatic answer came: away until {}", day.format("%a %-d %b %Y")))
        }
        Signal::AutoReplied { back_on: None } => Some("an automatic answer came".to_owned()),
        Signal::Clicked { step } => Some(format!("they followed a link in `{step}`")),
        Signal::Bounced { severity: Bounce::Soft, .. } => {
            Some("a message came back: it had passing trouble to reach them".to_owned())
        }
        Signal::Bounced { severity: Bounce::Hard, .. } => {
            Some("a message came back: the address or number does not work".to_owned())
        }
        Signal::Complained => Some("they reported a mail as unwanted".to_owned()),
        Signal::OptedOut => Some("they opted out: do not write to them".to_owned()),
        Signal::HandOver => Some("one of us asked for a person".to_owned()),
        Signal::HandoverAccepted { .. } => Some("one of us took it".to_owned()),
        Signal::HandoverAnswered => Some("one of us answered them".to_owned()),
        Signal::PersonWrote { .. } => Some("one of us wrote to them by mail".to_owned()),
        Signal::HandoverClosed { result: HandoverResult::Won } => {
            Some("an earlier handover came to something".to_owned())
        }
        Signal::HandoverClosed { result: HandoverResult::Lost } => {
            Some("an earlier handover came to nothing".to_owned())
        }
        Signal::GivenBack => Some("one of us gave it back to the campaign".to_owned()),
        Signal::CallDone { result: CallResult::Reached, .. } => {
            Some("they were reached by telephone".to_owned())
        }
        Signal::CallDone { result: CallResult::NoAnswer, .. } => {
            Some("a call was not answered".to_owned())
        }
        Signal::CallDone { result: CallResult::WrongNumber, .. } => {
            Some("the telephone number is wrong".to_owned())
        }
        Signal::Stopped => Some("one of us stopped the campaign for them".to_owned()),
        // What our own machinery did says nothing about the lead.
        Signal::Woke
        | Signal::SendAnswered { .. }
        | Signal::Delivered { .. }
        | Signal::AttributeChanged
        | Signal::Paused { .. }
        | Signal::Resumed { .. }
        | Signal::Skipped { .. }
        | Signal::SendNow { .. }
        | Signal::Retried
        | Signal::ApprovalDecided { .. }
        | Signal::VersionMoved
        | Signal::Freed => None,
    }
}
