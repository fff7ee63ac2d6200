//! INTERPRET: what a stored mail means. Ingest stored it and holds its leads; here it is opened and
//! read outside any transaction, then its signals get their meaning. A mail that cannot be read five
//! times counts as a reply, the reading on which nothing more is sent and a person looks.

use std::sync::Arc;

use machine::ids::WorkspaceId;
use machine::sequence::Channel;
use machine::signal::{Bounce, ReplyTo, Signal};
use secrecy::ExposeSecret;

use crate::changes::News;
use crate::error::{ActivityError, Result, chain};
use crate::inbound::classification::{Kind, classify};
use crate::inbound::dsn::{Action, BounceClass, Dsn};
use crate::inbound::said;
use crate::ingest::lock_lead;
use crate::ingest::stored_mail::{StoredMail, Unreadable};
use crate::key_ring::KeyRing;
use crate::mailroom::Mailroom;
use crate::store::dead_letters::{self, Subject};
use crate::store::inbound_events::{self, Event, EventId};
use crate::store::signals::{self, Held, MatchedBy, Meant, Uninterpreted};
use crate::store::suppressions::{self, Reason};
use crate::store::{Store, Tx, clock, matches};

/// Signals that one call looks at.
const BATCH: u16 = 100;

/// Failures after which a mail is not read again.
const FAILURES_MAX: i16 = 5;

/// What the machine is told of mail that concerns it no further: a machine answered, and said
/// nothing about when the lead is back.
const NOTHING: Signal = Signal::AutoReplied { back_on: None };

/// What one call did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interpreted {
    /// Mails whose meaning is known now.
    pub mails: usize,
    /// Mails that could not be read this time.
    pub failed: usize,
    /// Whether there may be more that nobody has read.
    pub more: bool,
}

/// What a mail leads to.
struct Meaning {
    suppress: Option<Reason>,
    /// For the enrollment it answers.
    own: Signal,
    /// For the person's other enrollments.
    others: Signal,
}

/// Interprets mails of `workspace`, oldest first, as many as belong to 100 signals.
///
/// # Errors
///
/// When the database fails. A mail that cannot be read is no error: it is counted.
pub async fn interpret(room: &Mailroom, workspace: WorkspaceId) -> Result<Interpreted> {
    let mut tx = room.store.begin_batch(workspace).await?;
    let waiting = signals::uninterpreted(&mut tx, workspace, BATCH).await?;
    tx.commit().await?;
    let signals: usize = waiting.iter().map(|mail| mail.enrollments.len()).sum();
    let more = signals >= usize::from(BATCH);
    let mut interpreted = Interpreted { more, ..Interpreted::default() };
    let mut harmless = Vec::new();
    let done = read_all(room, workspace, &waiting, &mut interpreted, &mut harmless).await;
    // What was read before the database failed is known all the same.
    if !harmless.is_empty() {
        let mut tx = room.store.begin_batch(workspace).await?;
        let harmless: Vec<_> = harmless.iter().map(|(mail, meaning)| (*mail, meaning)).collect();
        settle(&mut tx, &harmless).await?;
        tx.commit().await?;
    }
    done.map(|()| interpreted)
}

/// Reads mails. Those that imply no promise are left to be settled together.
async fn read_all<'a>(
    room: &Mailroom,
    workspace: WorkspaceId,
    waiting: &'a [Uninterpreted],
    interpreted: &mut Interpreted,
    harmless: &mut Vec<(&'a Uninterpreted, Meaning)>,
) -> Result<()> {
    for mail in waiting {
        let mut tx = room.store.begin_batch(workspace).await?;
        let event = inbound_events::get(&mut tx, workspace, mail.event).await?;
        tx.commit().await?;
        let read = match event {
            Some(event) => read(Arc::clone(&room.keys), workspace, event).await,
            None => Err(Unread::Gone),
        };
        match read {
            Ok((kind, words)) => {
                interpreted.mails += 1;
                let mut meaning = Meaning::of(&kind, mail);
                meaning.note_keywords(room, workspace, mail, &words).await?;
                match meaning.suppress {
                    // Each alone: all its locks are taken in one call, in order.
                    Some(reason) => suppress(room, workspace, mail, &meaning, reason).await?,
                    None => harmless.push((mail, meaning)),
                }
            }
            Err(cause) => {
                let cause = chain(&cause);
                tracing::warn!(event.id = %mail.event, cause, "stored mail cannot be read");
                fail(&room.store, workspace, mail, &cause).await?;
                interpreted.failed += 1;
            }
        }
    }
    Ok(())
}

/// Opens and classifies a mail, away from the threads that serve others: it may be large, and meant
/// to harm. Also returns what its author wrote, without what is quoted.
async fn read(
    keys: Arc<KeyRing>,
    workspace: WorkspaceId,
    event: Event,
) -> Result<(Kind, String), Unread> {
    let work = move || {
        let payload =
            inbound_events::open_payload(&keys, workspace, &event).map_err(Unread::Sealed)?;
        let mail = StoredMail::parse(payload.expose_secret()).map_err(Unread::NoMail)?;
        Ok((classify(&mail, event.at), mail.stripped_text))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(kind) => kind,
        Err(_) => Err(Unread::Panicked),
    }
}

/// Why a stored mail cannot be read this time.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("it is no longer stored")]
    Gone,
    #[error("it cannot be opened")]
    Sealed(#[source] ActivityError),
    #[error("it is not what ingest stores")]
    NoMail(#[source] Unreadable),
    #[error("reading it panicked")]
    Panicked,
}

/// Keeps the promise that a mail implies, and settles it.
async fn suppress(
    room: &Mailroom,
    workspace: WorkspaceId,
    mail: &Uninterpreted,
    meaning: &Meaning,
    reason: Reason,
) -> Result<()> {
    let mut tx = room.store.begin_batch(workspace).await?;
    let send = mail.enrollments.iter().find_map(|held| held.refs.send);
    let named = matches::first_send(&mut tx, workspace, send.as_slice()).await?;
    let sent_to = named.and_then(|named| named.address);
    // Every enrollment that a mail holds is the same person's.
    if let Some(lead) = mail.enrollments.first().map(|held| held.lead) {
        let sent_to = sent_to.as_deref();
        let values = lock_lead(&mut tx, room, lead, Channel::Email, sent_to, Some(reason)).await?;
        let now = clock::read(&mut tx).await?.campaign;
        suppressions::add_all(&mut tx, workspace, &values, reason, now).await?;
    }
    settle(&mut tx, &[(mail, meaning)]).await?;
    tx.commit().await
}

/// Gives the signals of mails their meaning; the mails are done.
async fn settle(tx: &mut Tx, mails: &[(&Uninterpreted, &Meaning)]) -> Result<()> {
    let workspace = tx.workspace();
    let now = clock::read(tx).await?;
    let told: Vec<Meant> = mails.iter().flat_map(|(mail, meaning)| meaning.signals(mail)).collect();
    for (mail, meaning) in mails {
        tell(tx, mail, meaning);
    }
    signals::interpret(tx, workspace, &told, now.campaign).await?;
    let events: Vec<EventId> = mails.iter().map(|(mail, _)| mail.event).collect();
    inbound_events::finish(tx, workspace, &events, now.wall).await?;
    Ok(())
}

/// Tells those who watch what a mail means.
fn tell(tx: &mut Tx, mail: &Uninterpreted, meaning: &Meaning) {
    let lead = mail.enrollments.first().map(|held| held.lead);
    let what = meaning.own.kind().to_owned();
    tx.tell(News::Inbound { event: mail.event.uuid(), what, lead });
}

/// Counts a failure; after the last one the mail is a reply, and a person is told.
async fn fail(
    store: &Store,
    workspace: WorkspaceId,
    mail: &Uninterpreted,
    cause: &str,
) -> Result<()> {
    let mut tx = store.begin_batch(workspace).await?;
    let failures = inbound_events::fail(&mut tx, workspace, mail.event).await?;
    if failures.is_none_or(|failures| failures >= FAILURES_MAX) {
        let now = clock::read(&mut tx).await?;
        let told = Meaning::reply(mail).signals(mail);
        let told = signals::interpret(&mut tx, workspace, &told, now.campaign).await?;
        if !told.is_empty() {
            let subject = Subject::Event(mail.event);
            dead_letters::add(&mut tx, workspace, subject, cause, now.campaign).await?;
            inbound_events::give_up(&mut tx, workspace, mail.event, now.wall).await?;
            tell(&mut tx, mail, &Meaning::reply(mail));
        }
    }
    tx.commit().await
}

impl Meaning {
    fn of(kind: &Kind, mail: &Uninterpreted) -> Self {
        let everywhere =
            |suppress, signal: Signal| Self { suppress, own: signal.clone(), others: signal };
        // Anyone can write a report; ours gives back what only the recipient of our mail has.
        let is_proven = mail.enrollments.iter().all(|held| held.refs.by == MatchedBy::Send);
        match kind {
            Kind::Reply => Self::reply(mail),
            Kind::OptOutRequest => everywhere(Some(Reason::OptedOut), Signal::OptedOut),
            Kind::AutoReply(notice) => {
                everywhere(None, Signal::AutoReplied { back_on: notice.back_on })
            }
            Kind::DeliveryReport(report) if is_proven => Self::report(report, mail),
            Kind::FeedbackReport(report) if is_proven && report.is_opt_out() => {
                everywhere(Some(Reason::Complained), Signal::Complained)
            }
            Kind::DeliveryReport(_) | Kind::FeedbackReport(_) => everywhere(None, NOTHING),
        }
    }

    /// Notes which keywords of its campaign stand in an answer.
    async fn note_keywords(
        &mut self,
        room: &Mailroom,
        workspace: WorkspaceId,
        mail: &Uninterpreted,
        words: &str,
    ) -> Result<()> {
        let Signal::Replied { said: noted, .. } = &mut self.own else { return Ok(()) };
        let own = mail.enrollments.iter().find(|held| held.refs.to == ReplyTo::This);
        let Some(own) = own else { return Ok(()) };
        let mut tx = room.store.begin(workspace).await?;
        *noted = said::read(&mut tx, &room.versions, own.enrollment, words).await?;
        tx.commit().await
    }

    fn reply(mail: &Uninterpreted) -> Self {
        let step = mail.enrollments.iter().find_map(|held| held.refs.step.clone());
        Self {
            suppress: None,
            own: Signal::replied(ReplyTo::This, step),
            others: Signal::replied(ReplyTo::Other, None),
        }
    }

    fn report(report: &Dsn, mail: &Uninterpreted) -> Self {
        let step = mail.enrollments.iter().find_map(|held| held.refs.step.clone());
        let bounced = |step, severity| Signal::Bounced { step, severity };
        let arrived = report.recipients.iter().any(|one| one.action == Action::Delivered);
        let (suppress, own, others) = match (report.class(), step) {
            (Some(BounceClass::Hard), step) => {
                (Some(Reason::HardBounce), bounced(step, Bounce::Hard), bounced(None, Bounce::Hard))
            }
            (Some(BounceClass::Soft), step) => (None, bounced(step, Bounce::Soft), NOTHING),
            (None, Some(step)) if arrived => (None, Signal::Delivered { step }, NOTHING),
            // Delayed, or refused for a reason that lies with us.
            (Some(BounceClass::NotTheRecipient) | None, _) => (None, NOTHING, NOTHING),
        };
        Self { suppress, own, others }
    }

    fn signals(&self, mail: &Uninterpreted) -> Vec<Meant> {
        let signal = |held: &Held| match held.refs.to {
            ReplyTo::This => self.own.clone(),
            ReplyTo::Other => self.others.clone(),
        };
        let meant = |held: &Held| Meant {
            event: mail.event,
            enrollment: held.enrollment,
            signal: signal(held),
        };
        mail.enrollments.iter().map(meant).collect()
    }
}
