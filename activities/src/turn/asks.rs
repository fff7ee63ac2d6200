//! Sends that are open after a turn: handed out to their gate, looked at again, or found lost.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use machine::effect::Effect;
use machine::ids::{CampaignId, EnrollmentId, LeadId, SendId, SenderId};
use machine::sequence::{Channel, StepKind};
use machine::state::{Letter, Open, Responder, State};
use uuid::Uuid;

use super::apply::Done;
use super::{Ask, LOOK_AGAIN, RUNNER_SILENCE, What};
use crate::store::clock::Clocks;
use crate::trace::TraceParent;

/// Sends that are handed out again, and what their leads have heard by now.
#[derive(Default)]
pub(super) struct Raised {
    pub(super) sends: Vec<Uuid>,
    pub(super) after_seqs: Vec<i32>,
}

/// What of a lead is open after its turn.
#[derive(Default)]
pub(super) struct Out {
    /// What waits for its gate.
    pub(super) asks: Vec<Ask>,
    /// Calls that were lost.
    pub(super) lost: Vec<SendId>,
    /// When to look again.
    pub(super) look_again: Option<DateTime<Utc>>,
}

/// Hands out what waits for its gate and finds what was lost.
pub(super) fn hand_out(clocks: Clocks, done: &Done, raised: &mut Raised) -> Out {
    let Out { mut asks, mut lost, mut look_again } = Out::default();
    let mut look = |wall: TimeDelta| {
        let at = clocks.campaign_in(wall);
        look_again = Some(look_again.map_or(at, |earlier| earlier.min(at)));
    };
    for open in &done.read.enrollment.data.open {
        if let Some(effect) = done.asked.get(&open.id) {
            match effect {
                Effect::Send { .. }
                | Effect::OfferHandover { .. }
                | Effect::PassOn { .. }
                | Effect::Forward { .. } => {
                    asks.push(ask(done, open, Some(effect)));
                    look(LOOK_AGAIN);
                }
                Effect::RequestApproval { .. } | Effect::OpenCallTask { .. } => {}
            }
            continue;
        }
        let Some(stored) = done.read.open.get(&open.id.send.uuid()) else { continue };
        match stored.state.as_str() {
            "planned" if stored.attempt == attempt_of(open) => {
                asks.push(ask(done, open, None));
                raised.sends.push(stored.send_id);
                raised.after_seqs.push(done.applied_seq);
                look(LOOK_AGAIN);
            }
            "dispatching" => {
                let lease = stored.lease_until.unwrap_or(clocks.wall);
                let lives = stored.runner_id.is_some_and(|id| done.read.runners.contains(&id));
                if lease <= clocks.wall || !lives {
                    lost.push(SendId::new(stored.send_id));
                    look(RUNNER_SILENCE);
                } else {
                    look(lease - clocks.wall);
                }
            }
            // Its provider is asked for it later.
            "unknown" if stored.settle_at.is_some_and(|at| at > clocks.wall) => {
                let settle_at = stored.settle_at.unwrap_or(clocks.wall);
                look(settle_at - clocks.wall);
            }
            // A sweep that was interrupted goes on.
            "unknown" => {
                lost.push(SendId::new(stored.send_id));
                look(LOOK_AGAIN);
            }
            _ => {}
        }
    }
    Out { asks, lost, look_again }
}

fn ask(done: &Done, open: &Open, effect: Option<&Effect>) -> Ask {
    let read = &done.read;
    let what = match (&open.step, open.letter, effect) {
        (_, Some(Letter::Answer { mail }), _) => What::Answer { mail },
        (_, Some(Letter::Forward { to }), _) => What::Forward { to },
        (Some(step), None, _) => {
            let kind = read.version.version.step(step).map(|step| &step.kind);
            let channel = match kind {
                Some(StepKind::Message { channel, .. }) => *channel,
                _ => Channel::Email,
            };
            What::Step { step: step.clone(), variant: open.variant.clone(), channel }
        }
        (None, None, Some(Effect::OfferHandover { to, answer_by, .. })) => {
            What::Handover { to: *to, answer_by: Some(*answer_by) }
        }
        (None, None, _) => {
            let (to, answer_by) = match &read.enrollment.state {
                State::Offered { to, answer_by, .. } => (*to, Some(*answer_by)),
                State::Accepted { by, answer_by } => (*by, Some(*answer_by)),
                _ => (Responder::First, None),
            };
            What::Handover { to, answer_by }
        }
    };
    let channel = what.channel();
    Ask {
        send: open.id.send,
        attempt: attempt_of(open),
        enrollment: EnrollmentId::new(read.row.enrollment_id),
        campaign: CampaignId::new(read.row.campaign_id),
        lead: LeadId::new(read.row.lead_id),
        version: Arc::clone(&read.version),
        settings: Arc::clone(&read.settings),
        sender: kept_sender(done, channel).map(SenderId::new),
        what,
        wake_at: read.row.wake_at.unwrap_or(done.now),
        trace: TraceParent::default(),
    }
}

/// Returns the sender that a lead keeps on a channel.
pub(super) fn kept_sender(done: &Done, channel: Channel) -> Option<Uuid> {
    match channel {
        Channel::Email => done.read.row.email_sender_id,
        Channel::Sms => done.read.row.sms_sender_id,
        Channel::Call => None,
    }
}

fn attempt_of(open: &Open) -> i32 {
    i32::try_from(open.id.attempt).unwrap_or(i32::MAX)
}
