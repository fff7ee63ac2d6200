//! A trial: every mail of a campaign, made with one lead's data and sent to an address of ours at
//! once. It stands outside the ledger: nobody's sequence moves, no quota is used.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use machine::document::StepDocument;
use machine::ids::{CampaignId, LeadId, SendId, WorkspaceId};
use machine::key::{StepKey, VariantKey};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Actor, Stage, cast};
use crate::address::EmailAddress;
use crate::campaigns;
use crate::campaigns::enroll::Selection;
use crate::content::body::Footer;
use crate::content::step::RenderFault;
use crate::error::Result;
use crate::header_text::HeaderText;
use crate::ids;
use crate::mail::message::{Message, Purpose};
use crate::mailroom::{Mailroom, Outlet};
use crate::outcome::Outcome;
use crate::senders::Sender;
use crate::store::{clock, suppressions};
use crate::token::{Claim, TokenKind};

/// How long one mail may take.
const BUDGET: Duration = Duration::from_secs(60);

/// What stands before every subject.
const MARK: &str = "[test] ";

/// One mail of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "TestMail")]
pub struct Tried {
    /// The step.
    pub step: StepKey,
    /// The wording.
    pub variant: Option<VariantKey>,
    /// What became of it.
    #[serde(flatten)]
    pub result: TrialResult,
}

/// What became of a mail.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
#[schemars(rename = "TestMailResult")]
pub enum TrialResult {
    /// The mail server took it.
    Sent {
        /// Under this subject.
        subject: String,
    },
    /// The sender keeps what it is given, so it is shown here instead.
    Shown {
        /// The subject.
        subject: String,
        /// The plain part.
        text: String,
    },
    /// It cannot be made from this lead's data.
    NotMade {
        /// Why.
        why: String,
    },
    /// The mail server did not take it, or it is not known whether it did.
    NotSent {
        /// What was seen.
        why: String,
    },
}

/// Why nothing was tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTried {
    /// There is no lead whose data could fill the mails.
    #[error("nobody's data can fill the mails: import leads, or name one")]
    NoLead,
    /// None of the campaign's senders is active.
    #[error("none of the campaign's senders is active")]
    NoSender,
    /// The sender cannot be used.
    #[error("the sender `{sender}` cannot be used: {why}")]
    BadSender {
        /// Its name.
        sender: String,
        /// Why.
        why: String,
    },
    /// Nobody writes to this address.
    #[error("the address is on the list of suppressions: use another")]
    Suppressed,
}

/// Makes every mail of a campaign with the data of `lead`, or of the first of its audience, and sends
/// it to `to` through the first of its senders.
///
/// # Errors
///
/// When the database fails, or there is no such campaign.
pub async fn run(
    room: &Mailroom,
    workspace: WorkspaceId,
    campaign: CampaignId,
    lead: Option<LeadId>,
    to: &EmailAddress,
) -> Result<Result<Vec<Tried>, NotTried>> {
    let mut tx = room.store.begin(workspace).await?;
    let campaign = campaigns::find(&mut tx, workspace, campaign).await?;
    let now = clock::read(&mut tx).await?.campaign;
    let key = &room.suppressions;
    let hashes = [key.address(to.as_str()), key.domain(to.domain())];
    if !suppressions::in_force(&mut tx, workspace, &hashes).await?.is_empty() {
        return Ok(Err(NotTried::Suppressed));
    }
    drop(tx);
    let selection = match lead {
        Some(lead) => Selection::Leads(vec![lead]),
        None => Selection::Audience,
    };
    let (stage, actors, _) = cast(room, workspace, &campaign, &selection, 1, now).await?;
    let Some(actor) = actors.first() else { return Ok(Err(NotTried::NoLead)) };
    send(room, workspace, &stage, actor, to, now).await
}

async fn send(
    room: &Mailroom,
    workspace: WorkspaceId,
    stage: &Stage,
    actor: &Actor,
    to: &EmailAddress,
    now: DateTime<Utc>,
) -> Result<Result<Vec<Tried>, NotTried>> {
    let Some(sender) = stage.senders.values().next() else { return Ok(Err(NotTried::NoSender)) };
    let outlet = match room.outlet(workspace, sender)? {
        Ok(outlet) => outlet,
        Err(why) => {
            return Ok(Err(NotTried::BadSender { sender: sender.name.clone(), why }));
        }
    };
    let before = mails_before(&stage.version.document.steps);
    let mut subjects = HashMap::new();
    let mut tried = Vec::new();
    for step in &stage.version.mails {
        let mut variants: Vec<&Option<VariantKey>> = stage
            .version
            .wordings
            .keys()
            .filter(|(key, _)| key == step)
            .map(|(_, variant)| variant)
            .collect();
        variants.sort();
        for variant in variants {
            let send: SendId = ids::new();
            let made = make(room, workspace, stage, actor, sender, to, send, (step, variant));
            let result = match made {
                Ok(mail) => {
                    let before = before.get(step).and_then(|key| subjects.get(key));
                    let subject = mail.subject(before);
                    subjects.entry(step.clone()).or_insert_with(|| subject.clone());
                    deliver(&outlet, sender, to, send, &subject, &mail, now).await
                }
                Err(why) => TrialResult::NotMade { why },
            };
            tried.push(Tried { step: step.clone(), variant: variant.clone(), result });
        }
    }
    Ok(Ok(tried))
}

/// Returns the mail before each mail, on the same lane; behind a decision that of its first lane that
/// has one.
fn mails_before(steps: &[StepDocument]) -> HashMap<StepKey, StepKey> {
    fn walk(
        steps: &[StepDocument],
        mut newest: Option<StepKey>,
        before: &mut HashMap<StepKey, StepKey>,
    ) -> Option<StepKey> {
        for step in steps {
            if step.email.is_some() {
                before.extend(newest.replace(step.key.clone()).map(|it| (step.key.clone(), it)));
            }
            if let Some(condition) = &step.condition {
                let then = walk(&condition.then, newest.clone(), before);
                let otherwise = walk(&condition.otherwise, newest.clone(), before);
                newest = if then == newest { otherwise } else { then };
            }
        }
        newest
    }
    let mut before = HashMap::new();
    walk(steps, None, &mut before);
    before
}

struct Mail {
    subject: Option<HeaderText>,
    text: String,
    html: String,
    way_out: url::Url,
}

impl Mail {
    /// Returns the subject, which of a follow-up is an answer to the mail `before` it.
    fn subject(&self, before: Option<&HeaderText>) -> HeaderText {
        let before = before.and_then(|it| it.as_str().trim_start_matches(MARK).parse().ok());
        let own = match (&self.subject, before) {
            (Some(own), _) => own.as_str().to_owned(),
            (None, Some(before)) => HeaderText::reply_subject(&before).to_string(),
            (None, None) => String::new(),
        };
        let marked: String = format!("{MARK}{own}").chars().take(250).collect();
        marked.parse().expect("a mark before header text is header text")
    }
}

#[expect(clippy::too_many_arguments, reason = "what one mail is made of")]
fn make(
    room: &Mailroom,
    workspace: WorkspaceId,
    stage: &Stage,
    actor: &Actor,
    sender: &Sender,
    to: &EmailAddress,
    send: SendId,
    (step, variant): (&StepKey, &Option<VariantKey>),
) -> Result<Mail, String> {
    let wording = match stage.version.wordings.get(&(step.clone(), variant.clone())) {
        Some(Ok(wording)) => wording,
        Some(Err(why)) => return Err(why.clone()),
        None => return Err("it has no wording".to_owned()),
    };
    // The link works and opts nobody out: no send has this id.
    let claim = Claim { workspace: workspace.uuid(), id: send.uuid() };
    let token = room.tokens.sign(TokenKind::OptOut, claim);
    let way_out = room.public_url.join(&format!("u/{token}")).map_err(|it| it.to_string())?;
    let footer = Footer {
        address: sender.postal_address.as_deref().unwrap_or_default(),
        unsubscribe_url: way_out.as_str(),
        unsubscribe_text: "Unsubscribe",
    };
    let rendered = stage
        .render(wording, actor, sender, to, way_out.as_str(), Some(&footer))
        .map_err(|fault: RenderFault| fault.to_string())?;
    Ok(Mail { subject: rendered.subject, text: rendered.text, html: rendered.html, way_out })
}

async fn deliver(
    outlet: &Outlet,
    sender: &Sender,
    to: &EmailAddress,
    send: SendId,
    subject: &HeaderText,
    mail: &Mail,
    now: DateTime<Utc>,
) -> TrialResult {
    let transport = match outlet {
        Outlet::Smtp(transport) => transport,
        Outlet::Capture | Outlet::Discard => {
            let (subject, text) = (subject.to_string(), mail.text.clone());
            return TrialResult::Shown { subject, text };
        }
    };
    let message = Message {
        send,
        from: &sender.from,
        from_name: sender.from_name.as_ref(),
        to,
        reply_to: None,
        subject,
        date: now,
        thread: &[],
        text: &mail.text,
        html: &mail.html,
        purpose: Purpose::Outreach { unsubscribe: &mail.way_out },
    };
    let bytes = match message.to_bytes() {
        Ok(bytes) => bytes,
        Err(fault) => return TrialResult::NotMade { why: crate::error::chain(&fault) },
    };
    let envelope = crate::mail::smtp::Envelope { from: &sender.from, to, send };
    match transport.send(&envelope, &bytes, BUDGET).await {
        Outcome::Accepted { .. } => TrialResult::Sent { subject: subject.to_string() },
        Outcome::Refused(refusal) => {
            TrialResult::NotSent { why: refusal.detail.as_str().to_owned() }
        }
        Outcome::Unknown { detail } => TrialResult::NotSent {
            why: format!("it may have gone out all the same: {}", detail.as_str()),
        },
    }
}
