//! A trial: every mail of a campaign, or every text, made with one lead's data and sent to an address or
//! a number of ours at once. It stands outside the ledger: nobody's sequence moves, no quota is used.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use machine::document::StepDocument;
use machine::ids::{CampaignId, LeadId, SendId, WorkspaceId};
use machine::key::{StepKey, VariantKey};
use machine::sequence::Channel;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Actor, Stage, cast};
use crate::address::EmailAddress;
use crate::campaigns;
use crate::campaigns::enroll::Selection;
use crate::content::body::Footer;
use crate::content::step::{RenderFault, Rendered};
use crate::error::Result;
use crate::header_text::HeaderText;
use crate::ids;
use crate::lease::Lease;
use crate::mail::message::{Message, Purpose};
use crate::mail::smtp::Envelope;
use crate::mailgun::client::Mail as MailgunMail;
use crate::mailroom::{Mailroom, Outlet};
use crate::origin::{Correspondent, Origin};
use crate::outcome::Outcome;
use crate::phone::PhoneNumber;
use crate::senders::Sender;
use crate::sms::{self, Measure};
use crate::store::{clock, suppressions};
use crate::token::{Claim, SendClaim, TokenKind};
use crate::twilio::client::{From, Text as TwilioText};

/// How long a text may wait for its carrier.
const VALIDITY: Duration = Duration::from_secs(600);

/// How long one message may take.
const BUDGET: Duration = Duration::from_secs(60);

/// Why a trial's call is always made.
const NEVER_ENDS: &str = "nobody else makes this call";

/// What stands before every subject and every text.
const MARK: &str = "[test] ";

/// One message of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "TestMessage")]
pub struct Tried {
    /// The step.
    pub step: StepKey,
    /// The wording.
    pub variant: Option<VariantKey>,
    /// What became of it.
    #[serde(flatten)]
    pub result: TrialResult,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
#[schemars(rename = "TestResult")]
pub enum TrialResult {
    /// The provider took it.
    Sent {
        /// Under this subject; a text has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// What a text comes to.
        #[serde(skip_serializing_if = "Option::is_none")]
        parts: Option<Measure>,
    },
    /// The sender keeps what it is given, so it is shown here instead.
    Shown {
        /// The subject; a text has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// The plain part.
        text: String,
        /// What a text comes to.
        #[serde(skip_serializing_if = "Option::is_none")]
        parts: Option<Measure>,
    },
    /// It cannot be made from this lead's data.
    NotMade {
        /// Why.
        why: String,
    },
    /// The provider did not take it, or it is not known whether it did.
    NotSent {
        /// What was seen.
        why: String,
    },
}

/// Why nothing was tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTried {
    /// There is no lead whose data could fill the messages.
    #[error("nobody's data can fill the messages: import leads, or name one")]
    NoLead,
    /// The campaign has no message on that channel.
    #[error("the campaign has no {}", in_words(*.0))]
    NoMessage(Channel),
    /// None of the campaign's senders on that channel is active.
    #[error("none of the campaign's senders for {} is active", .0.as_str())]
    NoSender(Channel),
    /// The sender cannot be used.
    #[error("the sender `{sender}` cannot be used: {why}")]
    BadSender {
        /// Its name.
        sender: String,
        /// Why.
        why: String,
    },
    /// Nobody writes to this address.
    #[error("it is on the list of suppressions: use another")]
    Suppressed,
}

fn in_words(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "mails: name a telephone number, to which its texts go",
        Channel::Sms | Channel::Call => "texts: name a mail address, to which its mails go",
    }
}

/// Makes every message of a campaign on the channel of `to` with the data of `lead`, or of the first
/// of its audience, and sends it there through the first of its senders.
///
/// # Errors
///
/// When the database fails, or there is no such campaign.
pub async fn run(
    room: &Mailroom,
    workspace: WorkspaceId,
    campaign: CampaignId,
    lead: Option<LeadId>,
    to: &Correspondent,
) -> Result<Result<Vec<Tried>, NotTried>> {
    let mut tx = room.store.begin(workspace).await?;
    let campaign = campaigns::find(&mut tx, workspace, campaign).await?;
    let now = clock::read(&mut tx).await?.campaign;
    let key = &room.suppressions;
    let mut hashes = vec![key.address(to.as_str())];
    match to {
        Correspondent::Mailbox(address) => hashes.push(key.domain(address.domain())),
        Correspondent::Phone(_) => {}
    }
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
    to: &Correspondent,
    now: DateTime<Utc>,
) -> Result<Result<Vec<Tried>, NotTried>> {
    let channel = to.channel();
    let steps = match to {
        Correspondent::Mailbox(_) => &stage.version.mails,
        Correspondent::Phone(_) => &stage.version.texts,
    };
    if steps.is_empty() {
        return Ok(Err(NotTried::NoMessage(channel)));
    }
    let Some(sender) = stage.senders.values().find(|sender| sender.channel == channel) else {
        return Ok(Err(NotTried::NoSender(channel)));
    };
    let outlet = match room.outlet(workspace, sender) {
        Ok(outlet) => outlet,
        Err(why) => {
            return Ok(Err(NotTried::BadSender { sender: sender.name.clone(), why }));
        }
    };
    let trial = Trial { room, workspace, stage, actor, sender, outlet: &outlet, now };
    let before = mails_before(&stage.version.document.steps);
    let mut subjects: HashMap<StepKey, HeaderText> = HashMap::new();
    let mut tried = Vec::new();
    for step in steps {
        let mut variants: Vec<&Option<VariantKey>> = stage
            .version
            .wordings
            .keys()
            .filter(|(key, _)| key == step)
            .map(|(_, variant)| variant)
            .collect();
        variants.sort();
        for variant in variants {
            let result = match to {
                Correspondent::Mailbox(to) => {
                    let earlier = before.get(step).and_then(|key| subjects.get(key)).cloned();
                    let (result, subject) = trial.mail(to, (step, variant), earlier.as_ref()).await;
                    if let Some(subject) = subject {
                        subjects.entry(step.clone()).or_insert(subject);
                    }
                    result
                }
                Correspondent::Phone(to) => trial.text(to, (step, variant)).await,
            };
            tried.push(Tried { step: step.clone(), variant: variant.clone(), result });
        }
    }
    Ok(Ok(tried))
}

/// Why a message cannot be made from a lead's data.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    /// Its step has no such wording.
    #[error("it has no wording")]
    NoWording,
    /// Its wording is faulty.
    #[error("{0}")]
    Unsound(String),
    /// A value is missing, or does not fit.
    #[error(transparent)]
    Render(#[from] RenderFault),
    /// The public address leads nowhere.
    #[error(transparent)]
    Link(#[from] url::ParseError),
}

/// What all messages of a trial share.
struct Trial<'a> {
    room: &'a Mailroom,
    workspace: WorkspaceId,
    stage: &'a Stage,
    actor: &'a Actor,
    sender: &'a Sender,
    outlet: &'a Outlet,
    now: DateTime<Utc>,
}

type Wording<'a> = (&'a StepKey, &'a Option<VariantKey>);

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

impl Trial<'_> {
    async fn mail(
        &self,
        to: &EmailAddress,
        wording: Wording<'_>,
        before: Option<&HeaderText>,
    ) -> (TrialResult, Option<HeaderText>) {
        let send: SendId = ids::new();
        match self.make_mail(send, wording) {
            Ok(mail) => {
                let subject = mail.subject(before);
                (self.deliver(to, send, &subject, mail).await, Some(subject))
            }
            Err(why) => (TrialResult::NotMade { why: why.to_string() }, None),
        }
    }

    async fn deliver(
        &self,
        to: &EmailAddress,
        send: SendId,
        subject: &HeaderText,
        mail: Mail,
    ) -> TrialResult {
        let shown = || Some(subject.to_string());
        let Some(from) = self.sender.from.mailbox() else {
            return TrialResult::NotMade { why: "the sender has no mail address".to_owned() };
        };
        let message = Message {
            send,
            from,
            from_name: self.sender.from_name.as_ref(),
            to,
            reply_to: None,
            subject,
            date: self.now,
            thread: &[],
            text: &mail.text,
            html: &mail.html,
            purpose: Purpose::Outreach { unsubscribe: &mail.way_out },
        };
        let bytes = match message.to_bytes() {
            Ok(bytes) => bytes,
            Err(fault) => return TrialResult::NotMade { why: crate::error::chain(&fault) },
        };
        let outcome = match self.outlet {
            Outlet::Smtp(transport) => transport
                .send(&Envelope { from, to, send }, &bytes, &Lease::new(BUDGET))
                .await
                .expect(NEVER_ENDS),
            Outlet::Mailgun(client) => {
                let mail = MailgunMail { send, attempt: 0, to, message: &bytes };
                client.send(&mail, &Lease::new(BUDGET)).await.expect(NEVER_ENDS)
            }
            Outlet::Capture | Outlet::Discard | Outlet::Twilio(_) => {
                return TrialResult::Shown { subject: shown(), text: mail.text, parts: None };
            }
        };
        told(outcome, shown(), None)
    }

    async fn text(&self, to: &PhoneNumber, wording: Wording<'_>) -> TrialResult {
        let send: SendId = ids::new();
        let (text, _) = match self.render(send, wording, None) {
            Ok(rendered) => rendered,
            Err(why) => return TrialResult::NotMade { why: why.to_string() },
        };
        let text = sms::travelling(&format!("{MARK}{}", text.text.trim_end()));
        let parts = Some(sms::measure(&text));
        let from = match &self.sender.from {
            Origin::Number(number) => From::Number(number),
            Origin::Service(service) => From::Service(service),
            Origin::Mailbox(_) => {
                return TrialResult::NotMade { why: "the sender has no number".to_owned() };
            }
        };
        let Outlet::Twilio(client) = self.outlet else {
            return TrialResult::Shown { subject: None, text, parts };
        };
        // Nothing waits for what becomes of it: no send has this id.
        let (workspace, id) = (self.workspace.uuid(), send.uuid());
        let token = self.room.tokens.sign_send(SendClaim { workspace, send: id, attempt: 0 });
        let callback = self.room.public_url.join(&format!("webhooks/twilio/status/{token}"));
        let callback = match callback {
            Ok(callback) => callback,
            Err(error) => return TrialResult::NotMade { why: error.to_string() },
        };
        let (body, status_callback) = (text.as_str(), &callback);
        let text = TwilioText { from, to, body, status_callback, validity: VALIDITY };
        told(client.send(&text, &Lease::new(BUDGET)).await.expect(NEVER_ENDS), None, parts)
    }

    fn make_mail(&self, send: SendId, wording: Wording<'_>) -> Result<Mail, NotMade> {
        let address = self.sender.postal_address.as_deref().unwrap_or_default();
        let (rendered, way_out) = self.render(send, wording, Some(address))?;
        Ok(Mail { subject: rendered.subject, text: rendered.text, html: rendered.html, way_out })
    }

    /// Renders a wording, with the footer of a mail that names this postal address.
    fn render(
        &self,
        send: SendId,
        (step, variant): Wording<'_>,
        postal_address: Option<&str>,
    ) -> Result<(Rendered, url::Url), NotMade> {
        let wording = match self.stage.version.wordings.get(&(step.clone(), variant.clone())) {
            Some(Ok(wording)) => wording,
            Some(Err(why)) => return Err(NotMade::Unsound(why.clone())),
            None => return Err(NotMade::NoWording),
        };
        // The link works and opts nobody out: no send has this id.
        let claim = Claim { workspace: self.workspace.uuid(), id: send.uuid() };
        let token = self.room.tokens.sign(TokenKind::OptOut, claim);
        let way_out = self.room.public_url.join(&format!("u/{token}"));
        let way_out = way_out?;
        let footer = postal_address.map(|address| Footer {
            address,
            unsubscribe_url: way_out.as_str(),
            unsubscribe_text: "Unsubscribe",
        });
        let rendered = self.stage.render(
            wording,
            self.actor,
            self.sender,
            way_out.as_str(),
            footer.as_ref(),
        )?;
        Ok((rendered, way_out))
    }
}

fn told(outcome: Outcome, subject: Option<String>, parts: Option<Measure>) -> TrialResult {
    match outcome {
        Outcome::Accepted { .. } => TrialResult::Sent { subject, parts },
        Outcome::Refused(refusal) => {
            TrialResult::NotSent { why: refusal.detail.as_str().to_owned() }
        }
        Outcome::Unknown { detail } => TrialResult::NotSent {
            why: format!("it may have gone out all the same: {}", detail.as_str()),
        },
    }
}
