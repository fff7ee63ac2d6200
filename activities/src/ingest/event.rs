//! One event from outside, as ingest needs it: what makes it unique, what it says, whom it names. The
//! ways of the providers end here; nothing after this knows them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use machine::ids::{SendId, WorkspaceId};
use machine::signal::Bounce;
use uuid::Uuid;

use super::stored_mail::StoredMail;
use crate::address::EmailAddress;
use crate::inbound::classification::{Kind, classify};
use crate::inbound::dsn::{BounceClass, Dsn};
use crate::inbound::feedback::Feedback;
use crate::inbound::{Correlator, Envelope, InboundMail, answer, bare_message_id, vouched};
use crate::mailgun::{
    About, Failure, FailureMeaning, MailgunEvent, MailgunPost, SendMode, SuppressionList, Visitor,
};
use crate::mailroom::Mailroom;
use crate::origin::Correspondent;
use crate::outcome::Detail;

/// The longest word for a kind of event, in characters.
const KIND_MAX: usize = 60;

/// Who brings an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Mailgun's webhooks and routes.
    Mailgun,
    /// Twilio's webhooks.
    Twilio,
    /// The answer to a call of ours.
    Refusal,
    /// A link in a mail of ours.
    Link,
    /// The capture sender, which plays recipients.
    Capture,
}

/// One event.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub(super) provider: Provider,
    /// The same for every repeat, different for any other event of the provider.
    pub(super) event_key: String,
    /// Used up by the event.
    pub(super) token: Option<String>,
    /// Which ask of the send it names, where it says so.
    pub(super) attempt: Option<i32>,
    /// How far the message is by it, where such events have an order.
    pub(super) progress: Option<MessageProgress>,
    /// What it says against our own account.
    pub(super) account_fault: Option<Detail>,
    pub(super) fact: Fact,
    pub(super) names: Names,
    /// What its author wrote, where it is a text.
    pub(super) words: Option<String>,
    /// What it is as a letter of a person of ours, where it is a mail.
    pub(super) letter: Option<Letter>,
    pub(super) payload: Vec<u8>,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// Nothing a lead has to hear of, in the provider's word.
    Noted(String),
    /// A message reached the recipient's server.
    Delivered,
    /// A person followed a link.
    Clicked,
    /// A message came back.
    Bounced(Bounce),
    /// The recipient reported it as unwanted.
    Complained,
    /// The recipient wants no more.
    OptedOut,
    /// A mail came in.
    Mail(Author),
    /// A text came in.
    Text(Said),
}

/// How far a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageProgress {
    /// The provider's name for the message.
    pub(super) message: String,
    /// It never falls.
    pub(super) rank: u8,
}

/// What a text asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// No more texts.
    Stop,
    /// Texts again, if they were stopped; else it is an answer like any other.
    Start,
    /// Who we are; its provider answers that.
    Help,
    /// Anything else: an answer.
    Reply,
}

/// Who wrote a mail, at first sight. Only what belongs to no enrollment is judged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    /// A person, or nobody knows.
    Person,
    /// A person who wants no more.
    Objector,
    /// A machine.
    Machine,
}

/// A mail as the letter of a person of ours, if it should be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    /// The address its author claims.
    pub(super) from: Option<EmailAddress>,
    /// Whether who brings it vouches for that.
    pub(super) is_vouched: bool,
    /// Whether its author wrote nothing of their own.
    pub(super) is_empty: bool,
    /// How many files came with it.
    pub(super) files: u32,
}

/// Whom an event names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Sends it claims to be about, best first. That they are ours is still to be looked up.
    pub(super) sends: Vec<SendId>,
    /// Who says to have written it.
    pub(super) sender: Option<Correspondent>,
}

impl Names {
    /// A send.
    pub(super) fn send(send: SendId) -> Self {
        Self { sends: vec![send], sender: None }
    }
}

/// What Mailgun posted, as it is kept.
#[derive(Debug, Clone)]
pub enum PostBody {
    /// The JSON of an event.
    Event(Vec<u8>),
    /// The form of a mail.
    Mail(Vec<(String, String)>),
}

impl Provider {
    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mailgun => "mailgun",
            Self::Twilio => "twilio",
            Self::Refusal => "refusal",
            Self::Link => "link",
            Self::Capture => "capture",
        }
    }
}

impl NewEvent {
    /// Reads a post of Mailgun whose signature was verified. Of its body only that is believed which
    /// names a send of ours.
    pub fn of_mailgun(
        room: &Mailroom,
        workspace: WorkspaceId,
        post: MailgunPost,
        body: PostBody,
        now: DateTime<Utc>,
    ) -> Self {
        let (fact, names) = of_post(room, workspace, &post.event, now);
        let attempt = attempt_of(&post.event);
        let mail = post.event.into_mail();
        let letter = mail.map(|mail| Letter::of(&mail, vouched::by_mailgun(&mail)));
        let payload = match body {
            PostBody::Event(bytes) => bytes,
            PostBody::Mail(fields) => StoredMail::Mailgun { fields }.to_bytes(),
        };
        Self {
            provider: Provider::Mailgun,
            event_key: post.event_key,
            token: Some(post.signature.token),
            attempt,
            progress: None,
            account_fault: None,
            words: None,
            letter,
            fact,
            names,
            payload,
        }
    }

    /// An event about nothing more than this.
    pub(super) fn plain(provider: Provider, event_key: String, fact: Fact, names: Names) -> Self {
        Self {
            provider,
            event_key,
            token: None,
            attempt: None,
            progress: None,
            account_fault: None,
            fact,
            names,
            words: None,
            letter: None,
            payload: Vec::new(),
        }
    }

    /// Reads a whole mail (RFC 5322). `event_key` is the same whenever the same mail is brought.
    pub fn of_raw_mail(
        room: &Mailroom,
        workspace: WorkspaceId,
        provider: Provider,
        event_key: String,
        raw: &[u8],
        envelope: Envelope,
        now: DateTime<Utc>,
    ) -> Self {
        let stored = StoredMail::raw(raw, &envelope);
        let is_vouched = match provider {
            // Nobody but we ourselves play it.
            Provider::Capture => true,
            Provider::Mailgun | Provider::Twilio | Provider::Refusal | Provider::Link => false,
        };
        let ((fact, names), letter) = match InboundMail::from_raw(raw, &envelope) {
            Ok(mail) => {
                let letter = Letter::of(&mail, is_vouched);
                (of_mail(room, workspace, &mail, now), Some(letter))
            }
            // No mail at all: a person may still make sense of it.
            Err(_) => ((Fact::Mail(Author::Person), Names::default()), None),
        };
        let payload = stored.to_bytes();
        Self { payload, letter, ..Self::plain(provider, event_key, fact, names) }
    }

    /// The played recipient of `send` did something. `event_key` is the same for every repeat.
    pub fn of_played(send: SendId, event_key: String, played: Played) -> Self {
        let fact = match played {
            Played::BouncedHard => Fact::Bounced(Bounce::Hard),
            Played::BouncedSoft => Fact::Bounced(Bounce::Soft),
            Played::Delivered => Fact::Delivered,
            Played::Clicked => Fact::Clicked,
            Played::Complained => Fact::Complained,
            Played::OptedOut => Fact::OptedOut,
        };
        Self::plain(Provider::Capture, event_key, fact, Names::send(send))
    }

    /// The recipient of `send` used the link in it, for the `nth` time that this means something.
    pub(super) fn of_opt_out_link(send: SendId, nth: i64) -> Self {
        Self::plain(Provider::Link, format!("{send}/{nth}"), Fact::OptedOut, Names::send(send))
    }
}

/// What a played recipient, or its server, does without writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Played {
    /// Says that the address does not exist.
    BouncedHard,
    /// Says that the mailbox is full.
    BouncedSoft,
    /// Takes the message in.
    Delivered,
    /// Follows a link.
    Clicked,
    /// Reports the message as unwanted.
    Complained,
    /// Uses the way out.
    OptedOut,
}

impl Fact {
    /// The word that is stored.
    pub(super) fn kind(&self) -> &str {
        match self {
            Self::Noted(word) => word,
            Self::Delivered => "delivered",
            Self::Clicked => "clicked",
            Self::Bounced(Bounce::Hard) => "bounced_hard",
            Self::Bounced(Bounce::Soft) => "bounced_soft",
            Self::Complained => "complained",
            Self::OptedOut => "opted_out",
            Self::Mail(_) => "mail",
            Self::Text(Said::Stop) => "text_stop",
            Self::Text(Said::Start) => "text_start",
            Self::Text(Said::Help) => "text_help",
            Self::Text(Said::Reply) => "text",
        }
    }

    /// Whether it is told to those who watch: that a message goes its way is counted, and no more.
    pub(super) fn is_news(&self) -> bool {
        match self {
            Self::Noted(_) | Self::Delivered => false,
            Self::Clicked
            | Self::Bounced(_)
            | Self::Complained
            | Self::OptedOut
            | Self::Mail(_)
            | Self::Text(_) => true,
        }
    }
}

impl Letter {
    fn of(mail: &InboundMail, is_vouched: bool) -> Self {
        // What reads the content must not keep the mail from being stored.
        let own = catch_unwind(AssertUnwindSafe(|| answer::own_text(mail, None)));
        Self {
            from: mail.from.as_ref().and_then(|from| from.address.parse().ok()),
            is_vouched,
            is_empty: own.unwrap_or_default().is_empty(),
            files: mail.files.try_into().unwrap_or(u32::MAX),
        }
    }
}

fn of_post(
    room: &Mailroom,
    workspace: WorkspaceId,
    event: &MailgunEvent,
    now: DateTime<Utc>,
) -> (Fact, Names) {
    let noted = |word: &str| Fact::Noted(word.to_owned());
    let (fact, about) = match event {
        MailgunEvent::Accepted(about) => (noted("accepted"), about),
        MailgunEvent::Delivered(about) => (Fact::Delivered, about),
        MailgunEvent::FailedPermanent { about, failure } => (of_failure(failure), about),
        MailgunEvent::FailedTemporary { about, failure } => (of_trouble(failure), about),
        MailgunEvent::Complained(about) => (Fact::Complained, about),
        MailgunEvent::Unsubscribed(about) => (Fact::OptedOut, about),
        MailgunEvent::Opened { about, .. } => (noted("opened"), about),
        MailgunEvent::Clicked { about, visitor: Visitor::Person, .. } => (Fact::Clicked, about),
        MailgunEvent::Clicked { about, visitor: Visitor::Bot(_), .. } => {
            (noted("clicked_by_machine"), about)
        }
        MailgunEvent::Inbound(mail) => return of_mail(room, workspace, mail, now),
        // Nobody signed the word.
        MailgunEvent::Ignored { kind } => {
            let kind: String = kind.chars().take(KIND_MAX).collect();
            return (Fact::Noted(kind), Names::default());
        }
    };
    match about.mode {
        SendMode::Real => (fact, names_of_event(about)),
        // Nothing was sent to anyone, so nothing happened.
        SendMode::Test => (noted("test"), Names::default()),
    }
}

fn attempt_of(event: &MailgunEvent) -> Option<i32> {
    match event {
        MailgunEvent::Accepted(about)
        | MailgunEvent::Delivered(about)
        | MailgunEvent::FailedPermanent { about, .. }
        | MailgunEvent::FailedTemporary { about, .. }
        | MailgunEvent::Complained(about)
        | MailgunEvent::Unsubscribed(about)
        | MailgunEvent::Opened { about, .. }
        | MailgunEvent::Clicked { about, .. } => about.attempt,
        MailgunEvent::Inbound(_) | MailgunEvent::Ignored { .. } => None,
    }
}

fn of_failure(failure: &Failure) -> Fact {
    match failure.meaning() {
        FailureMeaning::Bounce(BounceClass::Hard) => Fact::Bounced(Bounce::Hard),
        FailureMeaning::Bounce(BounceClass::Soft) => Fact::Bounced(Bounce::Soft),
        FailureMeaning::Bounce(BounceClass::NotTheRecipient) => Fact::Noted("refused".to_owned()),
        FailureMeaning::Suppressed(SuppressionList::Bounces) => Fact::Bounced(Bounce::Hard),
        FailureMeaning::Suppressed(SuppressionList::Complaints) => Fact::Complained,
        FailureMeaning::Suppressed(SuppressionList::Unsubscribes) => Fact::OptedOut,
    }
}

/// A failure after which the provider tries again counts only if the mailbox itself is in trouble:
/// greylisting and rate limits would end leads whose mail arrives an hour later.
fn of_trouble(failure: &Failure) -> Fact {
    match failure.enhanced {
        Some(code) if matches!(code.subject, 1 | 2) => Fact::Bounced(Bounce::Soft),
        Some(_) | None => Fact::Noted("failed_temporarily".to_owned()),
    }
}

fn names_of_event(about: &About) -> Names {
    let by_message = about.message_id.as_deref().and_then(send_in_message_id);
    let sends = about.send_id.map(SendId::new).into_iter().chain(by_message).collect();
    Names { sends, sender: None }
}

fn of_mail(
    room: &Mailroom,
    workspace: WorkspaceId,
    mail: &InboundMail,
    now: DateTime<Utc>,
) -> (Fact, Names) {
    let mut names = Names::default();
    for correlator in mail.correlators() {
        match correlator {
            Correlator::MessageId(id) => names.sends.extend(send_in_message_id(&id)),
            Correlator::ReplyToken(token) => {
                let claim = room.tokens.verify_reply(&token);
                let ours = claim.filter(|claim| claim.workspace == workspace.uuid());
                names.sends.extend(ours.map(|claim| SendId::new(claim.id)));
            }
            Correlator::Sender(address) => {
                names.sender = address.parse().ok().map(Correspondent::Mailbox);
            }
        }
    }
    // What reads the content must not keep the mail from being stored.
    let read = catch_unwind(AssertUnwindSafe(|| (reported(mail), author(mail, now))));
    let (reported, author) = read.unwrap_or((Vec::new(), Author::Person));
    names.sends.splice(0..0, reported);
    (Fact::Mail(author), names)
}

/// The sends that a report gives back.
fn reported(mail: &InboundMail) -> Vec<SendId> {
    let dsn = Dsn::read(mail);
    let feedback = Feedback::read(mail);
    let envelope = dsn.as_ref().and_then(|dsn| dsn.original_envelope_id.as_deref());
    let returned = [
        dsn.as_ref().and_then(|dsn| dsn.returned_message_id.as_deref()),
        feedback.as_ref().and_then(|feedback| feedback.returned_message_id.as_deref()),
    ];
    let by_envelope = envelope.and_then(|id| id.parse::<SendId>().ok());
    let by_message = returned.into_iter().flatten().filter_map(send_in_message_id);
    by_envelope.into_iter().chain(by_message).collect()
}

fn author(mail: &InboundMail, now: DateTime<Utc>) -> Author {
    match classify(mail, now) {
        Kind::Reply => Author::Person,
        Kind::OptOutRequest => Author::Objector,
        Kind::AutoReply(_) | Kind::DeliveryReport(_) | Kind::FeedbackReport(_) => Author::Machine,
    }
}

/// The send whose id is the local part of a Message-ID, as ours have it.
fn send_in_message_id(id: &str) -> Option<SendId> {
    let id = bare_message_id(id)?;
    let (local, _) = id.split_once('@')?;
    Uuid::try_parse(local).ok().map(SendId::new)
}
