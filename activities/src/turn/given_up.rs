//! Mails of people of ours that will not be passed on to their lead: why, in words, for the person who
//! looks. The journal has the same in codes.

use std::collections::BTreeSet;

use machine::ids::{EnrollmentId, MailId, SendId, Subject, WorkspaceId, send_id};
use machine::outcome::Outcome;
use machine::signal::{Answer, Refusal, Signal};
use machine::state::{Responder, State};

use super::apply::Done;

/// Returns the mails that a turn gave up, or found nobody to be meant for.
pub(super) fn answers(workspace: WorkspaceId, done: &Done) -> Vec<(MailId, String)> {
    let heard = done.applied.iter().filter_map(|applied| match applied.signal {
        Signal::PersonWrote { mail, .. } => Some(mail),
        _ => None,
    });
    let known: BTreeSet<MailId> = done.answers_before.iter().copied().chain(heard).collect();
    if known.is_empty() {
        return Vec::new();
    }
    let still: BTreeSet<MailId> = done.read.enrollment.data.waiting_answers().collect();
    let enrollment = EnrollmentId::new(done.read.row.enrollment_id);
    let gone = known.difference(&still).filter_map(|mail| {
        let send = send_id(workspace, enrollment, Subject::Answer(*mail), 1);
        let why = match newest_answer(done, send) {
            Some(Answer::Accepted) => return None,
            Some(answer) => refused(answer),
            None => not_asked_for(&done.read.enrollment.state, by(done, *mail)),
        };
        Some((*mail, format!("an answer of ours was not passed on to the lead: {why}")))
    });
    gone.collect()
}

fn newest_answer(done: &Done, send: SendId) -> Option<&Answer> {
    done.applied.iter().rev().find_map(|applied| match &applied.signal {
        Signal::SendAnswered { effect, answer } if effect.send == send => Some(answer),
        _ => None,
    })
}

fn by(done: &Done, mail: MailId) -> Option<Responder> {
    done.applied.iter().find_map(|applied| match applied.signal {
        Signal::PersonWrote { by, mail: heard, .. } if heard == mail => Some(by),
        _ => None,
    })
}

fn refused(answer: &Answer) -> &'static str {
    match answer {
        Answer::Rejected { class: Refusal::Suppressed, .. } => {
            "the lead is not to be written to any more"
        }
        Answer::Rejected { class: Refusal::Recipient, .. } => "the lead's address does not work",
        Answer::Rejected { class: Refusal::Content, .. } => {
            "there is nothing in it that could be passed on"
        }
        Answer::Rejected { class: Refusal::Retry | Refusal::Account, .. } => {
            "the sender's mail server refused it again and again"
        }
        Answer::Held { .. } => "an address or a sender is missing",
        Answer::Accepted | Answer::Lost | Answer::Deferred { .. } => "the campaign is over",
    }
}

fn not_asked_for(state: &State, by: Option<Responder>) -> &'static str {
    match state {
        State::Ended { outcome: Outcome::OptedOut } => "the lead opted out",
        State::Ended { outcome: Outcome::Bounced } => "the lead's address does not work",
        State::Ended { outcome: Outcome::Stopped } => "the campaign was stopped for the lead",
        State::Ended {
            outcome: Outcome::Failed | Outcome::Completed | Outcome::Met | Outcome::Replied,
        } => "the handover is over",
        State::Accepted { by: with, .. } | State::Answered { by: with } if Some(*with) != by => {
            "somebody else has the lead"
        }
        State::Accepted { .. } | State::Answered { .. } => {
            "so many went to it already that machines seem to answer each other"
        }
        State::Offered { .. }
        | State::Waiting { .. }
        | State::Dispatching { .. }
        | State::AwaitingApproval { .. }
        | State::AwaitingCall { .. }
        | State::Held { .. }
        | State::Paused { .. } => "the campaign goes on with the lead",
    }
}
