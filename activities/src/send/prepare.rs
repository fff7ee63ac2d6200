//! PREPARE: reads the lead and renders the message, outside any transaction that locks. What is
//! missing is an answer, not an error.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use machine::ids::{SenderId, Subject, WorkspaceId, send_id};
use machine::sequence::Channel;
use machine::signal::{Answer, Missing, Refusal};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use super::dossier;
use crate::address::EmailAddress;
use crate::content::body::Footer;
use crate::content::step::{RenderFault, Values};
use crate::error::Result;
use crate::header_text::HeaderText;
use crate::mail::message_id::MessageId;
use crate::mailroom::{Mailroom, Outlet};
use crate::senders::Sender;
use crate::store::prepares::{self, Earlier, LeadRow};
use crate::store::{Tx, senders};
use crate::suppression_key::SuppressionHash;
use crate::token::{Claim, TokenKind};
use crate::turn::{Ask, What};

/// A message that is ready for the gate.
#[derive(Clone)]
pub struct Prepared {
    /// What was asked for.
    pub ask: Ask,
    /// The version of the lead's data it was made from.
    pub lead_version: i32,
    /// To whom.
    pub to: EmailAddress,
    /// The address's key on the list of suppressions.
    pub address_hash: SuppressionHash,
    /// Its domain's key on that list.
    pub domain_hash: SuppressionHash,
    /// From whom.
    pub sender: Arc<Sender>,
    /// How it leaves.
    pub outlet: Outlet,
    /// The subject line.
    pub subject: HeaderText,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The messages of the thread before it, oldest first.
    pub thread: Vec<MessageId>,
    /// Where one click opts out; `None` for mails to our own people.
    pub unsubscribe: Option<Url>,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<EmailAddress>,
}

impl Prepared {
    /// Returns the hash of everything the reader sees.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.subject.as_str(), &self.text, &self.html] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().into()
    }
}

/// What became of an ask.
pub enum Readied {
    /// It can go to the gate.
    Ready(Box<Prepared>),
    /// It cannot, and this is the answer.
    Answered(Ask, Answer),
}

/// Prepares the messages of `asks`, all of one workspace.
///
/// # Errors
///
/// When the database fails, or a stored secret cannot be opened.
pub async fn prepare(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    asks: Vec<Ask>,
) -> Result<Vec<Readied>> {
    if asks.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = mailroom.store.begin_batch(workspace).await?;
    let lead_ids: Vec<Uuid> = asks.iter().map(|ask| ask.lead.uuid()).collect();
    let leads: HashMap<Uuid, LeadRow> = prepares::leads(&mut tx, workspace, &lead_ids)
        .await?
        .into_iter()
        .map(|row| (row.lead_id, row))
        .collect();
    let earlier_ids: Vec<Uuid> =
        asks.iter().flat_map(|ask| earlier_sends(workspace, ask)).collect();
    let mut threads = HashMap::<Uuid, Vec<Earlier>>::new();
    for earlier in prepares::earlier(&mut tx, workspace, &earlier_ids).await? {
        threads.entry(earlier.enrollment_id).or_default().push(earlier);
    }
    let subjects = thread_subjects(&mut tx, &asks, &threads).await?;
    let sender_ids: BTreeSet<SenderId> = asks.iter().filter_map(|ask| ask.sender).collect();
    let sender_ids: Vec<SenderId> = sender_ids.into_iter().collect();
    let mut ready_senders = HashMap::new();
    for row in senders::by_ids(&mut tx, workspace, &sender_ids).await? {
        let sender = Arc::new(Sender::try_from(row)?);
        let outlet = mailroom.outlet(workspace, &sender)?;
        if let Err(reason) = &outlet {
            tracing::warn!(sender.id = %sender.id, reason, "sender cannot be used");
        }
        ready_senders.insert(sender.id, (sender, outlet.ok()));
    }
    let mut dossiers = dossier::read(&mut tx, workspace, &asks).await?;
    tx.commit().await?;

    let mut readied = Vec::with_capacity(asks.len());
    for ask in asks {
        let lead = leads.get(&ask.lead.uuid());
        let sender = ask.sender.and_then(|sender| ready_senders.get(&sender));
        let thread = threads.remove(&ask.enrollment.uuid()).unwrap_or_default();
        let dossier = dossiers.remove(&ask.enrollment.uuid());
        let subject = thread.first().and_then(|first| subjects.get(&first.send_id));
        let subject = subject.and_then(|subject| subject.parse().ok());
        let parts = Parts { lead, sender, thread, subject, dossier };
        readied.push(match compose(mailroom, workspace, &ask, &parts) {
            Ok(message) => Readied::Ready(Box::new(message.into_prepared(ask))),
            Err(answer) => Readied::Answered(ask, answer),
        });
    }
    Ok(readied)
}

/// The sends of the mails that stand before this one in the sequence.
fn earlier_sends(workspace: WorkspaceId, ask: &Ask) -> Vec<Uuid> {
    let What::Step { step, channel: Channel::Email, .. } = &ask.what else { return Vec::new() };
    let before = ask.version.mails.iter().take_while(|key| *key != step);
    before
        .map(|key| send_id(workspace, ask.enrollment, Subject::Step(key.as_str()), 1).uuid())
        .collect()
}

/// Reads the subjects of threads, of the messages that bring none of their own.
async fn thread_subjects(
    tx: &mut Tx,
    asks: &[Ask],
    threads: &HashMap<Uuid, Vec<Earlier>>,
) -> Result<HashMap<Uuid, String>> {
    let brings_one = |ask: &Ask| match &ask.what {
        What::Step { step, variant, .. } => {
            let wording = ask.version.wordings.get(&(step.clone(), variant.clone()));
            matches!(wording, Some(Ok(wording)) if wording.has_subject())
        }
        What::Handover { .. } => true,
    };
    let openings = asks.iter().filter(|ask| !brings_one(ask));
    let openings = openings.filter_map(|ask| threads.get(&ask.enrollment.uuid())?.first());
    let openings: Vec<Uuid> = openings.map(|earlier| earlier.send_id).collect();
    let workspace = tx.workspace();
    Ok(prepares::subjects(tx, workspace, &openings).await?)
}

/// What one message is made of.
struct Parts<'a> {
    lead: Option<&'a LeadRow>,
    sender: Option<&'a (Arc<Sender>, Option<Outlet>)>,
    thread: Vec<Earlier>,
    /// What its thread is about, for a message without a subject of its own.
    subject: Option<HeaderText>,
    dossier: Option<dossier::Dossier>,
}

/// A message without its ask.
struct Composed {
    lead_version: i32,
    to: EmailAddress,
    hashes: (SuppressionHash, SuppressionHash),
    sender: Arc<Sender>,
    outlet: Outlet,
    subject: HeaderText,
    text: String,
    html: String,
    thread: Vec<MessageId>,
    unsubscribe: Option<Url>,
    reply_to: Option<EmailAddress>,
}

impl Composed {
    fn into_prepared(self, ask: Ask) -> Prepared {
        Prepared {
            ask,
            lead_version: self.lead_version,
            to: self.to,
            address_hash: self.hashes.0,
            domain_hash: self.hashes.1,
            sender: self.sender,
            outlet: self.outlet,
            subject: self.subject,
            text: self.text,
            html: self.html,
            thread: self.thread,
            unsubscribe: self.unsubscribe,
            reply_to: self.reply_to,
        }
    }
}

fn compose(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    ask: &Ask,
    parts: &Parts<'_>,
) -> std::result::Result<Composed, Answer> {
    let channel = match &ask.what {
        What::Step { channel, .. } => *channel,
        What::Handover { .. } => Channel::Email,
    };
    let no_sender = || Answer::Held { missing: Missing::Sender { channel } };
    let no_address = || Answer::Held { missing: Missing::Address { channel } };
    if channel != Channel::Email {
        return Err(no_sender());
    }
    let (sender, outlet) = parts.sender.ok_or_else(no_sender)?;
    let outlet = outlet.clone().ok_or_else(no_sender)?;
    let lead = parts.lead.ok_or_else(no_address)?;
    let message = match &ask.what {
        What::Step { .. } => {
            let to = lead.email.as_deref().and_then(|email| email.parse().ok());
            let to: EmailAddress = to.ok_or_else(no_address)?;
            step_mail(mailroom, workspace, ask, lead, sender, &to, parts.subject.as_ref())
                .map(|mail| (to, mail))?
        }
        What::Handover { to, answer_by } => {
            let mail = dossier::compose(ask, *to, *answer_by, lead, parts.dossier.as_ref())?;
            (
                mail.to,
                Mail { subject: mail.subject, text: mail.text, html: mail.html, way_out: None },
            )
        }
    };
    let (to, mail) = message;
    let thread = parts
        .thread
        .iter()
        .filter_map(|earlier| earlier.message_id.as_deref().and_then(|id| id.parse().ok()));
    let reply_to = mailroom.reply_domain.as_ref().filter(|_| mail.way_out.is_some());
    let reply_to = reply_to.and_then(|domain| {
        let claim = Claim { workspace: workspace.uuid(), id: ask.send.uuid() };
        format!("{}@{domain}", mailroom.tokens.reply_local_part(claim)).parse().ok()
    });
    Ok(Composed {
        lead_version: lead.version,
        hashes: (
            mailroom.suppressions.address(to.as_str()),
            mailroom.suppressions.domain(to.domain()),
        ),
        to,
        sender: Arc::clone(sender),
        outlet,
        subject: mail.subject,
        text: mail.text,
        html: mail.html,
        thread: thread.collect(),
        unsubscribe: mail.way_out,
        reply_to,
    })
}

struct Mail {
    subject: HeaderText,
    text: String,
    html: String,
    way_out: Option<Url>,
}

fn step_mail(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    ask: &Ask,
    lead: &LeadRow,
    sender: &Sender,
    to: &EmailAddress,
    thread_subject: Option<&HeaderText>,
) -> std::result::Result<Mail, Answer> {
    let content = || Answer::Rejected { class: Refusal::Content, retry_after_s: None };
    let What::Step { step, variant, .. } = &ask.what else { return Err(content()) };
    let wording = ask.version.wordings.get(&(step.clone(), variant.clone()));
    let wording = match wording {
        Some(Ok(wording)) => wording,
        Some(Err(_)) | None => return Err(content()),
    };
    let claim = Claim { workspace: workspace.uuid(), id: ask.send.uuid() };
    let token = mailroom.tokens.sign(TokenKind::OptOut, claim);
    let way_out = mailroom.public_url.join(&format!("u/{token}")).map_err(|_| content())?;
    let empty = Map::new();
    let attributes = lead.attributes.as_object().unwrap_or(&empty);
    let sending = sending_values(ask, sender, to, &way_out);
    let footer = Footer {
        address: sender.postal_address.as_deref().unwrap_or_default(),
        unsubscribe_url: way_out.as_str(),
        unsubscribe_text: "Unsubscribe",
    };
    let rendered =
        wording.render(Values::new(attributes, &sending), Some(&footer)).map_err(|fault| {
            match fault {
                RenderFault::Missing { fields } => {
                    Answer::Held { missing: Missing::Variables { fields } }
                }
                RenderFault::Unusable { field, .. } => {
                    Answer::Held { missing: Missing::Variables { fields: vec![field] } }
                }
                RenderFault::Subject(_)
                | RenderFault::EmptyBody
                | RenderFault::TooLong { .. }
                | RenderFault::NoPlainText => content(),
            }
        })?;
    let subject = match (rendered.subject, thread_subject) {
        (Some(subject), _) => subject,
        (None, Some(first)) => first.reply_subject(),
        // The mails before it were skipped: it opens the thread under their subject.
        (None, None) => {
            opening_subject(ask, Values::new(attributes, &sending)).ok_or_else(content)?
        }
    };
    Ok(Mail { subject, text: rendered.text, html: rendered.html, way_out: Some(way_out) })
}

/// The subject of the first mail of the sequence that has one, for a lead that did not get it.
fn opening_subject(ask: &Ask, values: Values<'_>) -> Option<HeaderText> {
    ask.version.mails.iter().find_map(|key| {
        let mut wordings: Vec<_> =
            ask.version.wordings.iter().filter(|((step, _), _)| step == key).collect();
        wordings.sort_by(|((_, one), _), ((_, other), _)| one.cmp(other));
        wordings
            .into_iter()
            .find_map(|(_, wording)| wording.as_ref().ok()?.render(values, None).ok()?.subject)
    })
}

fn sending_values(
    ask: &Ask,
    sender: &Sender,
    to: &EmailAddress,
    way_out: &Url,
) -> Map<String, Value> {
    let name = sender.from_name.as_ref().map(HeaderText::as_str);
    let values = json!({
        "email": to.as_str(),
        "sender": { "name": name, "address": sender.from.as_str() },
        "campaign": { "name": ask.version.document.name },
        "unsubscribe_url": way_out.as_str(),
    });
    match values {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
