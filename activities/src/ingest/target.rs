//! Whom an event is about: the person behind a send of ours that it names, else behind its sender.

use machine::ids::{EnrollmentId, LeadId, SendId, WorkspaceId};
use machine::key::StepKey;
use machine::signal::ReplyTo;
use sqlx::PgConnection;

use super::event::Names;
use crate::error::Result;
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
}

/// The one of a person's enrollments that an event is about.
pub(super) struct Own {
    pub(super) enrollment: EnrollmentId,
    /// Its message in question.
    pub(super) sent: Option<(SendId, StepKey)>,
}

/// Looks for whom the names stand.
pub(super) async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    names: &Names,
) -> Result<Found> {
    if let Some(named) = matches::first_send(conn, workspace, &names.sends).await? {
        let Message::Step(step) = &named.message else { return Ok(Found::Responder(named)) };
        if named.erased {
            return Ok(Found::Erased(named));
        }
        let own = Own { enrollment: named.enrollment, sent: Some((named.send, step.clone())) };
        let (lead, own, by) = (named.lead, Some(own), MatchedBy::Send);
        return Ok(Found::Lead(Target { lead, own, by, named: Some(named) }));
    }
    let Some(sender) = &names.sender else { return Ok(Found::Nobody) };
    let Some(lead) = matches::lead_at(conn, workspace, sender).await? else {
        return Ok(Found::Nobody);
    };
    let last = matches::last_written_to(conn, workspace, lead).await?;
    let own = last.map(|last| Own { enrollment: last.enrollment, sent: last.sent });
    Ok(Found::Lead(Target { lead, own, by: MatchedBy::Sender, named: None }))
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
    /// Where the message in question went.
    pub(super) fn sent_to(&self) -> Option<&str> {
        self.named.as_ref().and_then(|named| named.address.as_deref())
    }

    /// The step of the message in question.
    pub(super) fn step(&self) -> Option<&StepKey> {
        let sent = self.own.as_ref().and_then(|own| own.sent.as_ref());
        sent.map(|(_, step)| step)
    }

    /// What is kept beside the signal of `enrollment`.
    pub(super) fn refs(&self, enrollment: EnrollmentId) -> Refs {
        match self.own.as_ref().filter(|own| own.enrollment == enrollment) {
            Some(own) => {
                let (send, step) = own.sent.clone().unzip();
                Refs { to: ReplyTo::This, send, step, by: self.by }
            }
            None => Refs { to: ReplyTo::Other, send: None, step: None, by: self.by },
        }
    }
}
