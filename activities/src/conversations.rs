//! Everything that was exchanged with one lead, in one thread: what we sent, what came in, what people
//! of ours did, on every channel and across campaigns. What came in is stored sealed; it is opened
//! here for a screen, and never for state, journal or log.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use machine::effect::Effect;
use machine::ids::{EnrollmentId, LeadId, SendId, WorkspaceId};
use machine::signal::{HandoverResult, Signal};
use machine::state::Responder;
use uuid::Uuid;

use crate::enrollment_view;
use crate::error::Result;
use crate::mailroom::Mailroom;
use crate::received::{self, Letter};
use crate::store::conversations::{self as store, Act, Heard, Said, Spot};
use crate::store::inbound_events::{Event, EventId};
use crate::store::send_views::{self, SendView};
use crate::store::signals::{MatchedBy, Refs};
use crate::turn::requests::Requests;

/// Something between a lead and us.
#[derive(Debug, Clone)]
pub struct Exchanged {
    /// Where it stands in the thread.
    pub spot: Spot,
    /// What it is.
    pub what: What,
}

/// What was exchanged.
#[derive(Debug, Clone)]
pub enum What {
    /// A message of ours.
    Sent(Box<Sent>),
    /// A mail or a text that came in.
    Received(Box<Received>),
    /// Something else that was heard of the lead.
    Noticed(Noticed),
    /// What a person of ours did, or was asked to do.
    Handover(Handover),
}

/// A message of ours.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The ledger's row.
    pub send: SendView,
    /// What it said, while that is kept.
    pub body: Body,
}

/// What a message said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// This.
    Text {
        /// Its subject; a text has none.
        subject: Option<String>,
        /// What was written.
        text: String,
    },
    /// It was erased with its lead.
    Erased,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// A mail or a text that came in.
#[derive(Debug, Clone)]
pub struct Received {
    /// The stored event.
    pub event: EventId,
    /// `email` or `sms`.
    pub channel: &'static str,
    /// Whether a machine wrote it, at first sight.
    pub is_automatic: bool,
    /// What it was taken for, as in `replied`; `None` where no enrollment was told of it, and while
    /// nobody has read it.
    pub meaning: Option<String>,
    /// The enrollment it answers.
    pub enrollment: Option<EnrollmentId>,
    /// The name of its campaign.
    pub campaign: Option<String>,
    /// The step it answers.
    pub step: Option<String>,
    /// Whether it is known to come from the lead, or only says so.
    pub proven: bool,
    /// Who says to have written it.
    pub from: Option<String>,
    /// Who brought it.
    pub provider: String,
    /// The name that it came with: a mail's Message-ID, a provider's id of a text.
    pub message_id: Option<String>,
    /// What it says.
    pub body: Body,
}

/// Something that was heard of a lead without a letter.
#[derive(Debug, Clone)]
pub struct Noticed {
    /// `bounced_hard`, `bounced_soft`, `complained` or `opted_out`.
    pub kind: String,
    /// From whom we have it.
    pub provider: String,
    /// The message of ours it is about.
    pub send: Option<SendId>,
    /// The name of the campaign.
    pub campaign: Option<String>,
}

/// What a person of ours did about a lead, or was asked to do.
#[derive(Debug, Clone)]
pub struct Handover {
    /// Whose.
    pub enrollment: EnrollmentId,
    /// The campaign's name.
    pub campaign: String,
    /// What.
    pub act: HandoverAct,
}

/// An event of a handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoverAct {
    /// Somebody was asked to take the lead.
    Offered {
        /// Who.
        to: Responder,
        /// Until when, campaign time.
        answer_by: DateTime<Utc>,
    },
    /// Somebody took it.
    Accepted(Responder),
    /// The lead was answered.
    Answered,
    /// A person of ours wrote to the lead, in a mail to us.
    Wrote {
        /// Who.
        by: Responder,
        /// Whether it was passed on, or is to be.
        passed_on: bool,
        /// How many files came with it, which are not.
        files: u32,
    },
    /// It is over.
    Closed(HandoverResult),
    /// The sequence goes on.
    GivenBack,
}

/// Returns up to `limit` things that were exchanged with a lead, oldest first, from behind `after`;
/// `None` if there is no such lead.
///
/// # Errors
///
/// When the database fails, or the snapshot of an enrollment does not load.
pub async fn thread(
    room: &Mailroom,
    workspace: WorkspaceId,
    lead: LeadId,
    after: Option<Spot>,
    limit: i64,
) -> Result<Option<Vec<Exchanged>>> {
    let mut tx = room.store.begin(workspace).await?;
    let Some(is_erased) = store::is_erased(&mut tx, workspace, lead).await? else {
        return Ok(None);
    };
    let enrollments = send_views::enrollments_of_lead(&mut tx, workspace, lead.uuid()).await?;
    tx.commit().await?;
    let mut sends = Vec::new();
    for enrollment in &enrollments {
        let (store, versions) = (&room.store, &room.versions);
        sends.extend(enrollment_view::send_ids(store, versions, workspace, *enrollment).await?);
    }
    let enrollments: Vec<Uuid> = enrollments.iter().map(|id| id.uuid()).collect();
    let mut tx = room.store.begin(workspace).await?;
    let spots = store::thread(&mut tx, workspace, lead, &enrollments, &sends, after, limit).await?;
    let named = |source| -> Vec<Uuid> {
        spots.iter().filter(|spot| spot.source == source).map(|spot| spot.id).collect()
    };
    let (sends, events, acting) = (named(SENDS), named(EVENTS), named(ACTS));
    let turns: Vec<i32> =
        spots.iter().filter(|spot| spot.source == ACTS).map(|spot| spot.turn).collect();
    let rows = send_views::by_ids(&mut tx, workspace, &sends).await?;
    let said = store::said(&mut tx, workspace, &sends).await?;
    let heard = store::heard(&mut tx, workspace, &events, &enrollments).await?;
    let acts = store::acts(&mut tx, workspace, &acting, &turns).await?;
    tx.commit().await?;

    let mut found: HashMap<(i32, Uuid, i32), What> = HashMap::new();
    let mut said: HashMap<Uuid, Said> = said.into_iter().map(|it| (it.send_id, it)).collect();
    for send in rows {
        let body = match said.remove(&send.send_id) {
            Some(Said { subject, text, .. }) => Body::Text { subject, text },
            None => Body::Erased,
        };
        found.insert((SENDS, send.send_id, 0), What::Sent(Box::new(Sent { send, body })));
    }
    for event in heard {
        let id = event.event_id;
        found.insert((EVENTS, id, 0), of_event(room, workspace, event, is_erased).await);
    }
    for act in acts {
        if let Some(what) = of_act(&act) {
            found.insert((ACTS, act.enrollment_id, act.turn), what);
        }
    }
    let in_order = spots.into_iter().filter_map(|spot| {
        let what = found.remove(&(spot.source, spot.id, spot.turn))?;
        Some(Exchanged { spot, what })
    });
    Ok(Some(in_order.collect()))
}

/// The sources of [`Spot`].
const SENDS: i32 = 0;
const EVENTS: i32 = 1;
const ACTS: i32 = 2;

async fn of_event(room: &Mailroom, workspace: WorkspaceId, row: Heard, is_erased: bool) -> What {
    let channel = match row.kind.as_str() {
        "mail" => "email",
        "text" | "text_stop" | "text_start" | "text_help" => "sms",
        _ => {
            return What::Noticed(Noticed {
                kind: row.kind,
                provider: row.provider,
                send: row.send_id.map(SendId::new),
                campaign: row.campaign,
            });
        }
    };
    let refs: Option<Refs> = row.refs.and_then(|refs| serde_json::from_value(refs).ok());
    let id = EventId::new(row.event_id);
    let (from, message_id, body) = if is_erased {
        (None, None, Body::Erased)
    } else {
        let (at, attempts) = (row.at, row.attempts);
        let event = Event { id, at, attempts, sealed: row.payload };
        match received::letter(&room.keys, workspace, event).await {
            Letter::Read { from, message_id, subject, text } => {
                (from, message_id, Body::Text { subject, text })
            }
            Letter::Unreadable(why) => (None, None, Body::Unreadable(why)),
        }
    };
    What::Received(Box::new(Received {
        event: id,
        channel,
        is_automatic: row.is_automatic,
        meaning: row.meaning,
        enrollment: row.enrollment_id.map(EnrollmentId::new),
        campaign: row.campaign,
        proven: refs.as_ref().is_some_and(|refs| refs.by != MatchedBy::Sender),
        step: refs.and_then(|refs| refs.step).map(|step| step.to_string()),
        from,
        provider: row.provider,
        message_id,
        body,
    }))
}

fn of_act(row: &Act) -> Option<What> {
    let offer = row.effects.as_deref().and_then(|effects| {
        Requests::read(effects)?.asked.iter().find_map(|effect| match *effect {
            Effect::OfferHandover { to, answer_by, .. } => {
                Some(HandoverAct::Offered { to, answer_by })
            }
            Effect::Send { .. }
            | Effect::PassOn { .. }
            | Effect::Forward { .. }
            | Effect::RequestApproval { .. }
            | Effect::OpenCallTask { .. } => None,
        })
    });
    let said = || match serde_json::from_str(&row.signal).ok()? {
        Signal::HandoverAccepted { by } => Some(HandoverAct::Accepted(by)),
        Signal::HandoverAnswered => Some(HandoverAct::Answered),
        Signal::PersonWrote { by, files, .. } => {
            let requests = row.effects.as_deref().and_then(Requests::read);
            let mut asked = requests.iter().flat_map(|requests| requests.asked.iter());
            let passed_on = asked.any(|effect| matches!(effect, Effect::PassOn { .. }));
            Some(HandoverAct::Wrote { by, passed_on, files })
        }
        Signal::HandoverClosed { result } => Some(HandoverAct::Closed(result)),
        Signal::GivenBack => Some(HandoverAct::GivenBack),
        Signal::Enrolled
        | Signal::Woke
        | Signal::SendAnswered { .. }
        | Signal::Delivered { .. }
        | Signal::Bounced { .. }
        | Signal::Complained
        | Signal::OptedOut
        | Signal::Replied { .. }
        | Signal::AutoReplied { .. }
        | Signal::Clicked { .. }
        | Signal::AttributeChanged
        | Signal::Paused { .. }
        | Signal::Resumed { .. }
        | Signal::Skipped { .. }
        | Signal::SendNow { .. }
        | Signal::Retried
        | Signal::Stopped
        | Signal::HandOver
        | Signal::ApprovalDecided { .. }
        | Signal::CallDone { .. }
        | Signal::VersionMoved
        | Signal::Freed => None,
    };
    Some(What::Handover(Handover {
        enrollment: EnrollmentId::new(row.enrollment_id),
        campaign: row.campaign.clone(),
        act: offer.or_else(said)?,
    }))
}
