//! PREPARE: reads the lead and renders the message, outside any transaction that locks. What is
//! missing is an answer, not an error.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use machine::ids::{AgentId, SenderId, Subject, WorkspaceId, send_id};
use machine::sequence::{Channel, FirstAsked};
use machine::signal::{Answer, Missing, Refusal};
use machine::state::Responder;
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use super::content::{Content, Errand, Mail, Text};
use super::{answer, dossier};
use crate::address::EmailAddress;
use crate::agents::offers::{self, Turns};
use crate::content::body::Footer;
use crate::content::step::{CompiledStep, RenderFault, Values};
use crate::error::Result;
use crate::header_text::HeaderText;
use crate::mailroom::{Mailroom, Outlet};
use crate::phone::PhoneNumber;
use crate::senders::Sender;
use crate::sms;
use crate::store::prepares::{self, Earlier, LeadRow};
use crate::store::{Tx, answers as store_answers, senders};
use crate::suppression_key::SuppressionHash;
use crate::token::{Claim, TokenKind};
use crate::turn::{Ask, What};

/// What an answer is about where nothing before it had a subject: to a text, by somebody who was never
/// mailed.
const NO_SUBJECT: &str = "Your message";

/// A message that is ready for the gate.
#[derive(Clone)]
pub struct Prepared {
    /// What was asked for.
    pub ask: Ask,
    /// The version of the lead's data it was made from.
    pub lead_version: i32,
    /// The address's key on the list of suppressions.
    pub address_hash: SuppressionHash,
    /// Its domain's key on that list; a number has none, and this is its own.
    pub domain_hash: SuppressionHash,
    /// From whom.
    pub sender: Arc<Sender>,
    /// How it leaves.
    pub outlet: Outlet,
    /// What goes out.
    pub content: Content,
    /// The agent whose turn it was, where agents are asked in turn.
    pub agent: Option<AgentId>,
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
/// When the database fails.
pub async fn prepare(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    mut asks: Vec<Ask>,
) -> Result<Vec<Readied>> {
    if asks.is_empty() {
        return Ok(Vec::new());
    }
    // As the gate sorts them, so that it finds the same agents' turns.
    asks.sort_by_key(|ask| (ask.wake_at, ask.send));
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
        let Some(sender) = Sender::readable(row).map(Arc::new) else { continue };
        let outlet = mailroom.outlet(workspace, &sender);
        if let Err(reason) = &outlet {
            tracing::warn!(sender.id = %sender.id, reason, "sender cannot be used");
        }
        ready_senders.insert(sender.id, (sender, outlet.ok()));
    }
    let files = dossier::read(&mut tx, &mailroom.suppressions, workspace, &asks).await?;
    let answers = answer::read(&mut tx, &asks).await?;
    let forwarded: Vec<Uuid> = asks
        .iter()
        .filter(|ask| matches!(ask.what, What::Forward { to: Responder::First }))
        .map(|ask| ask.enrollment.uuid())
        .collect();
    let having = having(&mut tx, &forwarded).await?;
    let mut turns = Turns::now(&mut tx, &asks).await?;
    tx.commit().await?;
    let dossiers = dossier::open(mailroom, workspace, files).await;
    let (letters, last) = answer::open(mailroom, workspace, answers).await;

    let mut readied = Vec::with_capacity(asks.len());
    for ask in asks {
        let lead = leads.get(&ask.lead.uuid());
        let sender = ask.sender.and_then(|sender| ready_senders.get(&sender));
        // Several messages about one lead may leave at once: answers to it, and mails to the team.
        let (thread, dossier) = if ask.what.is_to_the_team() {
            (Vec::new(), dossiers.get(&ask.enrollment.uuid()))
        } else {
            (threads.get(&ask.enrollment.uuid()).cloned().unwrap_or_default(), None)
        };
        let letter = match ask.what {
            What::Answer { mail } => letters.get(&mail),
            What::Step { .. } | What::Handover { .. } | What::Forward { .. } => None,
        };
        let letter = letter.map(|letter| (letter, last.get(&ask.enrollment.uuid())));
        let subject = thread.last().and_then(|before| subjects.get(&before.send_id));
        let subject = subject.and_then(|subject| subject.parse().ok());
        let agent = match turns.choose(&ask) {
            _ if !offers::is_in_turn(&ask) => None,
            Ok(agent) => Some((agent.id, agent.email.clone())),
            Err(answer) => {
                readied.push(Readied::Answered(ask, answer));
                continue;
            }
        };
        let id = agent.as_ref().map(|(id, _)| *id);
        let agent = agent.map(|(_, email)| email);
        let agent = agent.or_else(|| match ask.what {
            What::Forward { to: Responder::First } => having.get(&ask.enrollment.uuid()).cloned(),
            What::Forward { to: Responder::Fallback }
            | What::Step { .. }
            | What::Handover { .. }
            | What::Answer { .. } => None,
        });
        let parts = Parts { lead, sender, thread, subject, dossier, agent, letter };
        readied.push(match compose(mailroom, workspace, &ask, &parts) {
            Ok(message) => {
                // The next offer of the batch is another's turn.
                if let Some(id) = id {
                    turns.take(&ask, id);
                }
                Readied::Ready(Box::new(message.into_prepared(ask, id)))
            }
            Err(answer) => Readied::Answered(ask, answer),
        });
    }
    Ok(readied)
}

/// Returns the addresses of the agents who have these leads, by enrollment.
async fn having(tx: &mut Tx, enrollments: &[Uuid]) -> Result<HashMap<Uuid, String>> {
    let workspace = tx.workspace();
    let rows = store_answers::having(tx, workspace, enrollments).await?;
    Ok(rows.into_iter().map(|row| (row.enrollment_id, row.email)).collect())
}

/// The sends of the mails that stand before this one in the sequence, or before what a person writes.
fn earlier_sends(workspace: WorkspaceId, ask: &Ask) -> Vec<Uuid> {
    let step = match &ask.what {
        What::Step { step, channel: Channel::Email, .. } => Some(step),
        What::Answer { .. } => None,
        What::Step { channel: Channel::Sms | Channel::Call, .. }
        | What::Handover { .. }
        | What::Forward { .. } => return Vec::new(),
    };
    let before = ask.version.mails.iter().take_while(|key| Some(*key) != step);
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
        What::Handover { .. } | What::Forward { .. } => true,
        What::Answer { .. } => false,
    };
    let befores = asks.iter().filter(|ask| !brings_one(ask));
    let befores = befores.filter_map(|ask| threads.get(&ask.enrollment.uuid())?.last());
    let befores: Vec<Uuid> = befores.map(|earlier| earlier.send_id).collect();
    let workspace = tx.workspace();
    Ok(prepares::subjects(tx, workspace, &befores).await?)
}

/// What one message is made of.
struct Parts<'a> {
    lead: Option<&'a LeadRow>,
    sender: Option<&'a (Arc<Sender>, Option<Outlet>)>,
    thread: Vec<Earlier>,
    /// What its thread is about, for a message without a subject of its own.
    subject: Option<HeaderText>,
    dossier: Option<&'a dossier::Dossier>,
    /// Where the agent is written to whose turn it is, or who has the lead.
    agent: Option<String>,
    /// What a person of ours wrote, and what of the lead it answers.
    letter: Option<(&'a answer::Letter, Option<&'a answer::Last>)>,
}

/// A message without its ask.
struct Composed {
    lead_version: i32,
    hashes: (SuppressionHash, SuppressionHash),
    sender: Arc<Sender>,
    outlet: Outlet,
    content: Content,
}

impl Composed {
    fn into_prepared(self, ask: Ask, agent: Option<AgentId>) -> Prepared {
        Prepared {
            ask,
            agent,
            lead_version: self.lead_version,
            address_hash: self.hashes.0,
            domain_hash: self.hashes.1,
            sender: self.sender,
            outlet: self.outlet,
            content: self.content,
        }
    }
}

fn compose(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    ask: &Ask,
    parts: &Parts<'_>,
) -> std::result::Result<Composed, Answer> {
    let channel = ask.what.channel();
    let no_sender = || Answer::Held { missing: Missing::Sender { channel } };
    let no_address = || Answer::Held { missing: Missing::Address { channel } };
    let (sender, outlet) = parts.sender.ok_or_else(no_sender)?;
    let outlet = outlet.clone().ok_or_else(no_sender)?;
    let lead = parts.lead.ok_or_else(no_address)?;
    let content = match (channel, sender.from.mailbox()) {
        (Channel::Email, Some(from)) => {
            let addressing = Addressing { lead, sender, from };
            Content::Mail(Box::new(compose_mail(mailroom, workspace, ask, parts, &addressing)?))
        }
        (Channel::Sms, None) => {
            let to = lead.phone.as_deref().and_then(|phone| phone.parse().ok());
            let to: PhoneNumber = to.ok_or_else(no_address)?;
            let text = step_text(mailroom, workspace, ask, lead, sender)?;
            Content::Text(Text { to, text })
        }
        (Channel::Email | Channel::Sms | Channel::Call, _) => return Err(no_sender()),
    };
    let key = &mailroom.suppressions;
    let address = key.address(content.address());
    let domain = match &content {
        Content::Mail(mail) => key.domain(mail.to.domain()),
        Content::Text(_) => address,
    };
    Ok(Composed {
        lead_version: lead.version,
        hashes: (address, domain),
        sender: Arc::clone(sender),
        outlet,
        content,
    })
}

/// Who writes a mail about whom.
struct Addressing<'a> {
    lead: &'a LeadRow,
    sender: &'a Sender,
    from: &'a EmailAddress,
}

fn compose_mail(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    ask: &Ask,
    parts: &Parts<'_>,
    Addressing { lead, sender, from }: &Addressing<'_>,
) -> std::result::Result<Mail, Answer> {
    let no_address = || Answer::Held { missing: Missing::Address { channel: Channel::Email } };
    let (to, wording) = match &ask.what {
        What::Step { .. } => {
            let to = lead.email.as_deref().and_then(|email| email.parse().ok());
            let to: EmailAddress = to.ok_or_else(no_address)?;
            let thread_subject = parts.subject.as_ref();
            let wording = step_mail(mailroom, workspace, ask, lead, sender, thread_subject)?;
            (to, wording)
        }
        What::Answer { .. } => {
            let to = lead.email.as_deref().and_then(|email| email.parse().ok());
            (to.ok_or_else(no_address)?, answer_mail(parts)?)
        }
        What::Handover { to, .. } | What::Forward { to } => {
            let dossier = parts.dossier.ok_or_else(no_address)?;
            let recipient = recipient(ask, *to, parts)?;
            let (link, answer_by) = match ask.what {
                What::Handover { answer_by, .. } if recipient.is_agent() => {
                    (Some(accept_link(mailroom, workspace, ask)?), answer_by)
                }
                What::Handover { answer_by, .. } => (None, answer_by),
                What::Forward { .. } | What::Step { .. } | What::Answer { .. } => (None, None),
            };
            let comes_back = mailroom.reply_domain.is_some();
            let about = dossier::About { lead, sender, dossier, link, comes_back };
            let offer = dossier::compose(ask, &recipient, answer_by, &about)?;
            let (subject, text, html) = (offer.subject, offer.text, offer.html);
            (offer.to, Wording { subject, text, html, errand: Errand::Notice })
        }
    };
    let thread = parts
        .thread
        .iter()
        .filter_map(|earlier| earlier.message_id.as_deref().and_then(|id| id.parse().ok()));
    // What the lead wrote last is what is answered.
    let last = parts.letter.and_then(|(_, last)| last?.message_id.clone());
    let thread = thread.chain(last);
    let reply_to = mailroom.reply_domain.as_ref();
    let reply_to = reply_to.and_then(|domain| {
        let claim = Claim { workspace: workspace.uuid(), id: ask.send.uuid() };
        format!("{}@{domain}", mailroom.tokens.reply_local_part(claim)).parse().ok()
    });
    Ok(Mail {
        from: (*from).clone(),
        to,
        subject: wording.subject,
        text: wording.text,
        html: wording.html,
        thread: thread.collect(),
        errand: wording.errand,
        reply_to,
    })
}

struct Wording {
    subject: HeaderText,
    text: String,
    html: String,
    errand: Errand,
}

/// Whom a mail to the team goes to.
fn recipient(
    ask: &Ask,
    to: Responder,
    parts: &Parts<'_>,
) -> std::result::Result<dossier::Recipient, Answer> {
    let rule = ask.version.version.handover.as_ref();
    let in_turn = rule.is_some_and(|rule| match rule.first {
        FirstAsked::AgentsInTurn => true,
        FirstAsked::Address => false,
    });
    // The lead is one agent's; nobody else is told what it writes.
    if parts.agent.is_none() && in_turn && ask.what == (What::Forward { to: Responder::First }) {
        return Err(Answer::Held { missing: Missing::Agent });
    }
    dossier::Recipient::of(ask, to, parts.agent.as_deref())
}

/// What a person of ours wrote, under the subject of the lead's conversation.
fn answer_mail(parts: &Parts<'_>) -> std::result::Result<Wording, Answer> {
    let (letter, last) = parts.letter.ok_or_else(content_fault)?;
    let written = letter.text.as_deref().and_then(answer::compose);
    let (text, html) = written.ok_or_else(content_fault)?;
    let subject = last.and_then(|last| last.subject.as_ref()).or(parts.subject.as_ref());
    let subject = match subject {
        Some(subject) => subject.reply_subject(),
        None => NO_SUBJECT.parse().map_err(|_| content_fault())?,
    };
    Ok(Wording { subject, text, html, errand: Errand::Answer })
}

fn step_mail(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    ask: &Ask,
    lead: &LeadRow,
    sender: &Sender,
    thread_subject: Option<&HeaderText>,
) -> std::result::Result<Wording, Answer> {
    let way_out = way_out(mailroom, workspace, ask)?;
    let empty = Map::new();
    let attributes = lead.attributes.as_object().unwrap_or(&empty);
    let sending = sending_values(ask, lead, sender, &way_out);
    let values = Values::new(attributes, &sending);
    let footer = Footer {
        address: sender.postal_address.as_deref().unwrap_or_default(),
        unsubscribe_url: way_out.as_str(),
        unsubscribe_text: "Unsubscribe",
    };
    let rendered = wording(ask)?.render(values, Some(&footer)).map_err(unrendered)?;
    let subject = match (rendered.subject, thread_subject) {
        (Some(subject), _) => subject,
        (None, Some(before)) => before.reply_subject(),
        // The mails before it were skipped: it opens the thread under their subject.
        (None, None) => opening_subject(ask, values).ok_or_else(content_fault)?,
    };
    let errand = Errand::Outreach { unsubscribe: way_out };
    Ok(Wording { subject, text: rendered.text, html: rendered.html, errand })
}

/// Returns what a text says, in the alphabet it travels in.
fn step_text(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    ask: &Ask,
    lead: &LeadRow,
    sender: &Sender,
) -> std::result::Result<String, Answer> {
    let way_out = way_out(mailroom, workspace, ask)?;
    let empty = Map::new();
    let attributes = lead.attributes.as_object().unwrap_or(&empty);
    let sending = sending_values(ask, lead, sender, &way_out);
    let rendered = wording(ask)?.render(Values::new(attributes, &sending), None);
    let text = sms::travelling(rendered.map_err(unrendered)?.text.trim_end());
    if text.chars().count() > sms::CHARACTERS_MAX { Err(content_fault()) } else { Ok(text) }
}

fn wording(ask: &Ask) -> std::result::Result<&CompiledStep, Answer> {
    let What::Step { step, variant, .. } = &ask.what else { return Err(content_fault()) };
    match ask.version.wordings.get(&(step.clone(), variant.clone())) {
        Some(Ok(wording)) => Ok(wording),
        Some(Err(_)) | None => Err(content_fault()),
    }
}

fn way_out(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    ask: &Ask,
) -> std::result::Result<Url, Answer> {
    let claim = Claim { workspace: workspace.uuid(), id: ask.send.uuid() };
    let token = mailroom.tokens.sign(TokenKind::OptOut, claim);
    mailroom.public_url.join(&format!("u/{token}")).map_err(|_| content_fault())
}

/// The link by which an agent takes a lead that was offered by this mail.
fn accept_link(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    ask: &Ask,
) -> std::result::Result<Url, Answer> {
    let claim = Claim { workspace: workspace.uuid(), id: ask.send.uuid() };
    let token = mailroom.tokens.sign(TokenKind::AcceptHandover, claim);
    mailroom.public_url.join(&format!("h/{token}")).map_err(|_| content_fault())
}

fn content_fault() -> Answer {
    Answer::Rejected { class: Refusal::Content, retry_after_s: None }
}

fn unrendered(fault: RenderFault) -> Answer {
    match fault {
        RenderFault::Missing { fields } => Answer::Held { missing: Missing::Variables { fields } },
        RenderFault::Unusable { field, .. } => {
            Answer::Held { missing: Missing::Variables { fields: vec![field] } }
        }
        RenderFault::Subject(_)
        | RenderFault::EmptyBody
        | RenderFault::TooLong { .. }
        | RenderFault::NoPlainText => content_fault(),
    }
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

fn sending_values(ask: &Ask, lead: &LeadRow, sender: &Sender, way_out: &Url) -> Map<String, Value> {
    let name = sender.from_name.as_ref().map(HeaderText::as_str);
    let mut values = Map::new();
    values.extend(lead.email.clone().map(|email| ("email".to_owned(), email.into())));
    values.extend(lead.phone.clone().map(|phone| ("phone".to_owned(), phone.into())));
    let sender = json!({ "name": name, "address": sender.from.as_str() });
    values.insert("sender".to_owned(), sender);
    values.insert("campaign".to_owned(), json!({ "name": ask.version.document.name }));
    values.insert("unsubscribe_url".to_owned(), way_out.as_str().into());
    values
}
