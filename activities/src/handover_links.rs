//! The link in an offer, by which the agent it was made to takes the lead: once, without a login, and
//! only while that offer stands. Looking at it changes nothing, because mail scanners follow links.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::ids::{EnrollmentId, SendId, WorkspaceId};
use machine::signal::Signal;
use machine::state::Responder;

use crate::campaign_settings::CampaignSettings;
use crate::error::Result;
use crate::ingest;
use crate::mailroom::Mailroom;
use crate::send::dossier;
use crate::store::audit::{self, Act};
use crate::store::clock;
use crate::store::handover_links::{self as store, OfferRow};
use crate::store::signals::{self, Content, NewSignal};
use crate::token::Claim;

/// An offer, as the agent it was made to sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Where it stands.
    pub standing: Standing,
    /// The campaign's name.
    pub campaign: String,
    /// Who needs a person, and why, in one line; `None` where the lead was erased.
    pub subject: Option<String>,
    /// What the mail begins with; `None` where the lead was erased.
    pub head: Option<String>,
    /// Until when the lead expects an answer.
    pub answer_by: Option<DateTime<Utc>>,
    /// On whose clock that is shown.
    pub zone: Tz,
}

/// Where an offer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The agent may take the lead.
    Open,
    /// The agent took it.
    Taken,
    /// The agent took it and answered the lead.
    Answered,
    /// It was not taken in time: somebody else is asked, or has it.
    MovedOn,
    /// It is over.
    Closed,
    /// The campaign goes on with the lead.
    GivenBack,
}

/// Returns the offer that the link of `claim` is about; `None`: there is none any more.
///
/// # Errors
///
/// When the database fails.
pub async fn look(room: &Mailroom, claim: Claim) -> Result<Option<Offer>> {
    let workspace = WorkspaceId::new(claim.workspace);
    let mut tx = room.store.begin(workspace).await?;
    let row = store::find(&mut tx, workspace, SendId::new(claim.id)).await?;
    row.map(Offer::of).transpose()
}

/// Takes the lead for the agent, if the offer stands, and returns what has become of it.
///
/// # Errors
///
/// When the database fails: it may be tried again.
pub async fn accept(room: &Mailroom, claim: Claim) -> Result<Option<Offer>> {
    let room = room.clone();
    ingest::undisturbed(async move {
        take(&room, claim).await?;
        look(&room, claim).await
    })
    .await
}

async fn take(room: &Mailroom, claim: Claim) -> Result<()> {
    let (workspace, send) = (WorkspaceId::new(claim.workspace), SendId::new(claim.id));
    let mut tx = room.store.begin(workspace).await?;
    let Some(row) = store::find(&mut tx, workspace, send).await? else { return Ok(()) };
    let now = clock::read(&mut tx).await?;
    let enrollment = EnrollmentId::new(row.enrollment_id);
    let new = NewSignal {
        enrollment,
        content: Content::Known(Signal::HandoverAccepted { by: Responder::First }),
        source_key: format!("offer/{send}/accept"),
        event: None,
        refs: None,
    };
    // This locks the enrollment, so that no turn moves the offer on meanwhile; a repeat tells nothing.
    if signals::write(&mut tx, workspace, &[new], now.campaign).await?.is_empty() {
        return Ok(());
    }
    // A statement of its own after the lock: it sees what became of the offer while we waited. What
    // does not stand is not taken: nothing of this is committed.
    let row = store::find(&mut tx, workspace, send).await?;
    let Some(row) = row.filter(|row| Standing::of(row) == Standing::Open) else { return Ok(()) };
    store::accept(&mut tx, workspace, send, now.campaign).await?;
    let actor = format!("agent/{}", row.agent_id);
    let subject = format!("enrollment/{enrollment}");
    let act = Act { actor: &actor, act: "handover_accepted", subject: &subject, details: None };
    audit::record(&mut tx, workspace, &act, now.wall).await?;
    tx.commit().await?;
    Ok(())
}

impl Offer {
    fn of(row: OfferRow) -> Result<Self> {
        let standing = Standing::of(&row);
        let head = row.text.as_deref().map(dossier::head);
        Ok(Self {
            standing,
            head: head.map(str::to_owned),
            zone: CampaignSettings::load(row.settings)?.zone,
            campaign: row.campaign,
            subject: row.subject,
            answer_by: row.answer_by,
        })
    }
}

impl Standing {
    fn of(row: &OfferRow) -> Self {
        match row.state.as_str() {
            "closed" => Self::Closed,
            "given_back" => Self::GivenBack,
            _ if !row.stands => Self::MovedOn,
            "answered" => Self::Answered,
            "offered" if row.accepted_at.is_none() => Self::Open,
            _ => Self::Taken,
        }
    }
}
