//! Whom an event is about: the person behind a send of ours that it names, else behind its sender.

use machine::ids::{EnrollmentId, LeadId, SendId, WorkspaceId};
use machine::key::StepKey;
use machine::sequence::Channel;
use machine::signal::ReplyTo;
use sqlx::PgConnection;

use super::event::Names;
use crate::error::Result;
use crate::origin::Correspondent;
use crate::store::matches::{self, Message, NamedSend};
use crate::store::signals::{MatchedBy, Refs};

/// To whom an event belongs.
pub(super) enum Found {
    /// To a lead.
    Lead(Target),
    /// To a person of ours, who was offered a lead.
    Responder(NamedSend),
    /// To a lead that was erased.
    Erased(NamedSend),
    /// To nobody.
    Nobody,
}

/// The person an event is about.
pub(super) struct Target {
    pub(super) lead: LeadId,
    /// The enrollment it is about.
    pub(super) own: Option<Own>,
    /// What it was found by.
    pub(super) by: MatchedBy,
    /// The send it names.
    pub(super) named: Option<NamedSend>,
    /// On which channel it came, or its message went.
    pub(super) channel: Channel,
    /// Where its message went, or it came from.
    address: Option<String>,
}

/// The one of a person's enrollments that an event is about.
pub(super) struct Own {
    pub(super) enrollment: EnrollmentId,
    /// Its message in question, and the step that it belongs to; what a person of ours wrote is none's.
    pub(super) sent: Option<(SendId, Option<StepKey>)>,
}

/// Looks for whom the names stand. What is said about an earlier ask of a send than the newest is about
/// the person, and about no message that is under way: `attempt` is the one that is meant.
pub(super) async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    names: &Names,
    attempt: Option<i32>,
) -> Result<Found> {
    if let Some(named) = matches::first_send(conn, workspace, &names.sends).await? {
        let step = match &named.message {
            Message::Step(step) => Some(step.clone()),
            Message::Answer => None,
            Message::Handover => return Ok(Found::Responder(named)),
        };
        if named.erased {
            return Ok(Found::Erased(named));
        }
        let is_newest = attempt.is_none_or(|attempt| attempt == named.attempt);
        let sent = is_newest.then_some((named.send, step));
        return Ok(Found::Lead(Target {
            lead: named.lead,
            own: Some(Own { enrollment: named.enrollment, sent }),
            by: MatchedBy::Send,
            channel: named.channel,
            address: named.address.clone(),
            named: Some(named),
        }));
    }
    let Some(sender) = &names.sender else { return Ok(Found::Nobody) };
    let Some(lead) = matches::lead_at(conn, workspace, sender).await? else {
        return Ok(Found::Nobody);
    };
    let channel = sender.channel();
    let last = matches::last_written_to(conn, workspace, lead, channel).await?;
    let own = last.map(|last| Own {
        enrollment: last.enrollment,
        sent: last.sent.map(|(send, step)| (send, Some(step))),
    });
    let (by, address) = match sender {
        Correspondent::Mailbox(_) => (MatchedBy::Sender, None),
        Correspondent::Phone(number) => (MatchedBy::Number, Some(number.to_string())),
    };
    Ok(Found::Lead(Target { lead, own, by, channel, address, named: None }))
}

impl Found {
    /// The send that the event proves to have arrived somewhere.
    pub(super) fn named(&self) -> Option<&NamedSend> {
        match self {
            Self::Lead(target) => target.named.as_ref(),
            Self::Responder(named) | Self::Erased(named) => Some(named),
            Self::Nobody => None,
        }
    }

    /// The lead it is about.
    pub(super) fn lead(&self) -> Option<LeadId> {
        match self {
            Self::Lead(target) => Some(target.lead),
            Self::Responder(_) | Self::Erased(_) | Self::Nobody => None,
        }
    }
}

impl Target {
    /// Where the message in question went, or the text came from.
    pub(super) fn sent_to(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The step of the message in question.
    pub(super) fn step(&self) -> Option<&StepKey> {
        let sent = self.own.as_ref().and_then(|own| own.sent.as_ref());
        sent.and_then(|(_, step)| step.as_ref())
    }

    /// What is kept beside the signal of `enrollment`.
    pub(super) fn refs(&self, enrollment: EnrollmentId) -> Refs {
        match self.own.as_ref().filter(|own| own.enrollment == enrollment) {
            Some(own) => {
                let (send, step) = own.sent.clone().unzip();
                Refs { to: ReplyTo::This, send, step: step.flatten(), by: self.by }
            }
            None => Refs { to: ReplyTo::Other, send: None, step: None, by: self.by },
        }
    }
}
