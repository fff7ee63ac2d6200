//! SIGNAL: an event from outside, or a person's order, becomes a fact for the machine. One
//! transaction stores the event, keeps the promise it implies and tells every enrollment of the
//! person; whoever waits for the answer may hang up without disturbing it. What a mail means is read
//! later, in [`crate::interpret`]; that it holds the lead is certain from here on.

mod answers;
mod consequence;
mod event;
pub(crate) mod stored_mail;
mod target;
mod texts;

use machine::ids::{EnrollmentId, LeadId, SendId, WorkspaceId};
use machine::sequence::Channel;
use machine::signal::Signal;
use sqlx::PgConnection;
use tracing::{Instrument as _, Span, field};

pub use event::{NewEvent, Played, PostBody, Provider};

use crate::changes::News;
use crate::companies;
use crate::error::{ActivityError, Result};
use crate::ids;
use crate::inbound::said;
use crate::mailroom::Mailroom;
use crate::send::record::{self, Known, Recorded};
use crate::senders::trouble;
use crate::store::audit::{self, Act};
use crate::store::clock::{self, Clocks};
use crate::store::company_holds;
use crate::store::dead_letters::{self, Subject};
use crate::store::inbound_events::{self, EventId, NewRow, Progress};
use crate::store::matches::{self, Call, NamedSend};
use crate::store::signals::{self, Content, NewSignal};
use crate::store::suppressions::{self, Reason, Value};
use crate::store::{Store, Tx, locks};
use crate::token::Claim;
use consequence::{Consequence, Locks};
use event::{Author, Fact, Said};
use target::{Found, Target};

/// How often a transaction is begun again that stood in another's way.
const TRIES: u8 = 3;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signalled {
    /// It is stored, and these enrollments will hear of it; of many events nobody does.
    Stored {
        /// By id.
        enrollments: Vec<EnrollmentId>,
    },
    /// It was stored before; nothing happened.
    Repeated,
    /// It is stored, and belongs to no lead of ours.
    Unmatched,
}

/// An order of a person about one enrollment.
#[derive(Debug, Clone)]
pub struct Verb {
    /// Which.
    pub enrollment: EnrollmentId,
    /// What the machine is told.
    pub signal: Signal,
    /// The same for every repeat of the same order.
    pub source_key: String,
    /// Who orders it, for the record.
    pub actor: String,
}

/// Stores an event and tells the machine. Once this was called, a dropped caller changes nothing.
///
/// # Errors
///
/// When the database fails. Nothing was stored then, or all of it: whoever brought the event brings
/// it again.
pub async fn signal(room: &Mailroom, workspace: WorkspaceId, event: NewEvent) -> Result<Signalled> {
    let room = room.clone();
    let (provider, what) = (event.provider.as_str(), event.fact.kind());
    let span = tracing::debug_span!(
        "signal",
        workspace.id = %workspace,
        event.id = field::Empty,
        provider,
        what,
    );
    let signalling = async move {
        let mut tries = 1;
        let (signalled, named) = loop {
            match take(&room, workspace, &event).await {
                Err(error) if tries < TRIES && error.is_conflict() => tries += 1,
                answer => break answer?,
            }
        };
        // Asked of a repeat too: the first time may have been cut off before this.
        if let Some(named) = named {
            if named.call == Call::Lost && event.proves(&named) {
                settle(&room, workspace, &named, event.fact.kind()).await?;
            }
            if let (Some(sender), Some(fault)) = (named.sender, &event.account_fault) {
                trouble::pause(&room, workspace, sender, fault).await?;
            }
        }
        Ok(signalled)
    };
    undisturbed(signalling.instrument(span)).await
}

/// Opts the recipient of a send out, for good: whoever holds the link may use it at any time and as
/// often as they like.
///
/// # Errors
///
/// As [`signal`].
pub async fn opt_out(room: &Mailroom, claim: Claim) -> Result<Signalled> {
    let room = room.clone();
    undisturbed(async move {
        let (workspace, send) = (WorkspaceId::new(claim.workspace), SendId::new(claim.id));
        let nth = nth_use(&room, workspace, send).await?;
        signal(&room, workspace, NewEvent::of_opt_out_link(send, nth)).await
    })
    .await
}

/// Tells one enrollment what a person ordered, and puts the order on record.
///
/// # Errors
///
/// [`ActivityError::NoSuchEnrollment`], or when the database fails: the same order may be given again.
pub async fn verb(store: &Store, workspace: WorkspaceId, verb: Verb) -> Result<Signalled> {
    let store = store.clone();
    undisturbed(async move {
        let mut tx = store.begin_batch(workspace).await?;
        let lead = signals::lead_of(&mut tx, workspace, verb.enrollment)
            .await?
            .ok_or(ActivityError::NoSuchEnrollment(verb.enrollment))?;
        if verb.signal.holds() {
            locks::lock_exclusive(&mut tx, &[locks::lead_key(workspace, lead)]).await?;
        }
        let now = clock::read(&mut tx).await?;
        let act = verb.signal.kind();
        let new = NewSignal {
            enrollment: verb.enrollment,
            content: Content::Known(verb.signal),
            source_key: verb.source_key,
            event: None,
            refs: None,
        };
        let enrollments = signals::write(&mut tx, workspace, &[new], now.campaign).await?;
        if enrollments.is_empty() {
            return Ok(Signalled::Repeated);
        }
        let subject = format!("enrollment/{}", verb.enrollment);
        let act = Act { actor: &verb.actor, act, subject: &subject, details: None };
        audit::record(&mut tx, workspace, &act, now.wall).await?;
        tx.commit().await?;
        Ok(Signalled::Stored { enrollments })
    })
    .await
}

/// Takes the exclusive locks of a lead and of the addresses that `reason` is about: those of an
/// opt-out are all we know of the person on that channel, a bounce concerns the one that was written
/// to. Returns the addresses.
pub(crate) async fn lock_lead(
    tx: &mut Tx,
    room: &Mailroom,
    lead: LeadId,
    channel: Channel,
    sent_to: Option<&str>,
    reason: Option<Reason>,
) -> Result<Vec<Value>> {
    let workspace = tx.workspace();
    let mut addresses: Vec<String> = Vec::new();
    if reason.is_some() {
        addresses.extend(sent_to.map(str::to_owned));
    }
    match reason {
        None | Some(Reason::HardBounce) => {}
        Some(
            Reason::OptedOut
            | Reason::Complained
            | Reason::ByPerson
            | Reason::Imported
            | Reason::Erased,
        ) => {
            addresses.extend(matches::addresses_of(tx, workspace, lead, channel).await?);
        }
    }
    let key = &room.suppressions;
    let values: Vec<Value> = addresses.iter().map(|address| Value::address(key, address)).collect();
    let mut wanted = vec![locks::lead_key(workspace, lead)];
    wanted.extend(values.iter().map(|value| locks::address_key(workspace, value.hash())));
    locks::lock_exclusive(tx, &wanted).await?;
    Ok(values)
}

/// Returns which use of the link in `send` this is, of those that mean something: used again while
/// its promise stands, it is the same one; after a person lifted that, the link makes it anew.
async fn nth_use(room: &Mailroom, workspace: WorkspaceId, send: SendId) -> Result<i64> {
    let mut tx = room.store.begin(workspace).await?;
    let named = matches::first_send(&mut tx, workspace, &[send]).await?;
    let Some(address) = named.and_then(|named| named.address) else { return Ok(0) };
    let hash = room.suppressions.address(&address);
    let link = Provider::Link.as_str();
    let used = inbound_events::count(&mut tx, workspace, link, send).await?;
    let stands = suppressions::in_force(&mut tx, workspace, &[hash]).await?;
    tx.commit().await?;
    Ok(if used > 0 && stands.contains(&hash) { used - 1 } else { used })
}

/// The transaction. Also returns the send that the event names.
async fn take(
    room: &Mailroom,
    workspace: WorkspaceId,
    event: &NewEvent,
) -> Result<(Signalled, Option<NamedSend>)> {
    let id: EventId = ids::new();
    Span::current().record("event.id", field::display(id));
    let mut tx = room.store.begin_batch(workspace).await?;
    let now = clock::read(&mut tx).await?;
    let found = target::find(&mut tx, workspace, &event.names, event.attempt).await?;
    let sealed = inbound_events::seal_payload(&room.keys, workspace, id, kept(event, &found));
    let named = found.named().cloned();
    let row = NewRow {
        id,
        provider: event.provider.as_str(),
        event_key: &event.event_key,
        token: event.token.as_deref(),
        kind: kind(event, &found),
        send: named.as_ref().filter(|_| !is_new_mail(event, &found)).map(|named| named.send),
        attempt: event.attempt,
        lead: found.lead(),
        sealed: &sealed,
        progress: progress(&event.fact, &found),
        is_automatic: event.fact == Fact::Mail(Author::Machine),
    };
    if !inbound_events::add(&mut tx, workspace, &row, now).await? {
        return Ok((Signalled::Repeated, named));
    }
    let begun = event.fact == Fact::Text(Said::Start)
        && texts::begin_again(&mut tx, room, event, &found).await?;
    let signalled = match &found {
        Found::Lead(_) | Found::Responder(_) | Found::Erased(_) | Found::Nobody if begun => {
            Signalled::Stored { enrollments: Vec::new() }
        }
        Found::Lead(target) => tell(&mut tx, room, (id, event), target).await?,
        Found::Nobody if event.fact == Fact::Text(Said::Stop) => {
            texts::stop_stranger(&mut tx, room, event).await?
        }
        Found::Responder(named) => answers::take(&mut tx, (id, event), named).await?,
        Found::Erased(_) => {
            unmatched(&mut tx, workspace, (id, event), now, "whom it is from was erased").await?
        }
        Found::Nobody => {
            unmatched(&mut tx, workspace, (id, event), now, "names no send or lead").await?
        }
    };
    if event.fact.is_news() {
        tx.tell(News::Inbound { event: id.uuid(), what: row.kind.to_owned(), lead: row.lead });
    }
    tx.commit().await?;
    Ok((signalled, named))
}

/// What is kept of an event: of what a provider says about somebody who was erased, nothing.
fn kept<'e>(event: &'e NewEvent, found: &Found) -> &'e [u8] {
    match found {
        Found::Erased(_) if !is_new_mail(event, found) => b"",
        // It quotes what we knew of the lead.
        Found::Responder(named) if named.erased => b"",
        Found::Erased(_) | Found::Lead(_) | Found::Responder(_) | Found::Nobody => &event.payload,
    }
}

/// The word under which an event is stored: what a person of ours writes is no mail of the lead.
fn kind<'e>(event: &'e NewEvent, found: &Found) -> &'e str {
    match (&event.fact, found) {
        (Fact::Mail(_), Found::Responder(_)) => "answer",
        (fact, Found::Responder(_) | Found::Lead(_) | Found::Erased(_) | Found::Nobody) => {
            fact.kind()
        }
    }
}

/// Whether somebody who was erased writes to us anew. A person decides what becomes of it, as of the
/// mail of any stranger; it is not forgotten with what came before.
fn is_new_mail(event: &NewEvent, found: &Found) -> bool {
    matches!(found, Found::Erased(_)) && matches!(event.fact, Fact::Mail(_))
}

fn progress(fact: &Fact, found: &Found) -> Progress {
    match (fact, found) {
        (Fact::Mail(_), Found::Lead(_)) => Progress::Waiting,
        (
            Fact::Mail(_)
            | Fact::Noted(_)
            | Fact::Delivered
            | Fact::Clicked
            | Fact::Bounced(_)
            | Fact::Complained
            | Fact::OptedOut
            | Fact::Text(_),
            Found::Lead(_) | Found::Responder(_) | Found::Erased(_) | Found::Nobody,
        ) => Progress::Done,
    }
}

async fn tell(
    tx: &mut Tx,
    room: &Mailroom,
    (id, event): (EventId, &NewEvent),
    target: &Target,
) -> Result<Signalled> {
    let workspace = tx.workspace();
    let mut consequence = Consequence::of(&event.fact, target);
    if let (Some(Content::Known(Signal::Replied { said: noted, .. })), Some(own), Some(words)) =
        (&mut consequence.own, &target.own, &event.words)
    {
        *noted = said::read(tx, &room.versions, own.enrollment, words).await?;
    }
    let values = match consequence.locks {
        Locks::None if event.progress.is_none() || consequence.own.is_none() => Vec::new(),
        // What has an order is looked at one by one.
        Locks::None => lock_lead(tx, room, target.lead, target.channel, None, None).await?,
        Locks::Lead(reason) => {
            let (channel, sent_to) = (target.channel, target.sent_to());
            lock_lead(tx, room, target.lead, channel, sent_to, reason).await?
        }
    };
    if texts::is_overtaken(tx, (id, event), target).await? {
        return Ok(Signalled::Stored { enrollments: Vec::new() });
    }
    // Read after the locks: a stop is never stamped earlier than a gate that was before it.
    let now = clock::read(tx).await?;
    if let Some(reason) = consequence.suppress {
        suppressions::add_all(tx, workspace, &values, reason, now.campaign).await?;
    }
    let audience = audience(tx, &consequence, target).await?;
    let own = target.own.as_ref().map(|own| own.enrollment);
    let new: Vec<NewSignal> = audience
        .into_iter()
        .filter_map(|enrollment| {
            let is_own = Some(enrollment) == own;
            let content = if is_own { &consequence.own } else { &consequence.others };
            Some(NewSignal {
                enrollment,
                content: content.clone()?,
                source_key: format!("{}/{}", event.provider.as_str(), event.event_key),
                event: Some(id),
                refs: Some(target.refs(enrollment)),
            })
        })
        .collect();
    let enrollments = signals::write(tx, workspace, &new, now.campaign).await?;
    let author = match event.fact {
        Fact::Mail(author) => Some(author),
        Fact::Text(Said::Reply | Said::Start) => Some(Author::Person),
        Fact::Text(Said::Stop | Said::Help)
        | Fact::Noted(_)
        | Fact::Delivered
        | Fact::Clicked
        | Fact::Bounced(_)
        | Fact::Complained
        | Fact::OptedOut => None,
    };
    if let (Some(own), Some(_)) = (own.filter(|own| enrollments.contains(own)), author) {
        // From now on colleagues wait, too; the turn that knows what it is lets them go on.
        let public = companies::PUBLIC_DOMAINS;
        company_holds::hold_for_an_answer(tx, workspace, own, public).await?;
    }
    if let (true, Some(author)) = (enrollments.is_empty(), author) {
        not_enrolled(tx, workspace, (id, author), &values, now).await?;
    }
    Ok(Signalled::Stored { enrollments })
}

/// Returns who hears of a fact.
async fn audience(
    tx: &mut Tx,
    consequence: &Consequence,
    target: &Target,
) -> Result<Vec<EnrollmentId>> {
    let workspace = tx.workspace();
    if consequence.others.is_some() {
        let all = signals::enrollments_of(tx, workspace, &[target.lead]).await?;
        return Ok(all.into_iter().map(|(enrollment, _)| enrollment).collect());
    }
    Ok(target.own.iter().map(|own| own.enrollment).collect())
}

/// A mail or a text from a lead who is in no campaign: no turn will ever read it.
async fn not_enrolled(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    (id, author): (EventId, Author),
    values: &[Value],
    now: Clocks,
) -> Result<()> {
    match author {
        Author::Machine => {}
        Author::Objector => {
            suppressions::add_all(conn, workspace, values, Reason::OptedOut, now.campaign).await?;
        }
        Author::Person => {
            let cause = "its sender is in no campaign";
            let subject = Subject::Unmatched(id);
            dead_letters::add(conn, workspace, subject, cause, now.campaign).await?;
        }
    }
    inbound_events::finish(conn, workspace, &[id], now.wall).await?;
    Ok(())
}

async fn unmatched(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    (id, event): (EventId, &NewEvent),
    now: Clocks,
    cause: &str,
) -> Result<Signalled> {
    match event.fact {
        Fact::Mail(Author::Person | Author::Objector) | Fact::Text(Said::Reply | Said::Start) => {
            let subject = Subject::Unmatched(id);
            dead_letters::add(conn, workspace, subject, cause, now.campaign).await?;
        }
        // Machines write to everybody, and other programs may share the provider's account.
        Fact::Mail(Author::Machine)
        | Fact::Text(Said::Stop | Said::Help)
        | Fact::Noted(_)
        | Fact::Delivered
        | Fact::Clicked
        | Fact::Bounced(_)
        | Fact::Complained
        | Fact::OptedOut => {}
    }
    Ok(Signalled::Unmatched)
}

/// Records that a call of which nobody knew the outcome arrived: an event names its send. What the
/// turn asks for is found by the runners, whom the turn wakes.
async fn settle(
    room: &Mailroom,
    workspace: WorkspaceId,
    lost: &NamedSend,
    kind: &str,
) -> Result<()> {
    let recorded = Recorded {
        send: lost.send,
        attempt: lost.attempt,
        enrollment: lost.enrollment,
        what: Known::Found(format!("an event names it: {kind}")),
    };
    tracing::info!(send.id = %lost.send, enrollment.id = %lost.enrollment, kind, "lost call found");
    record::record_and_wake(room, workspace, &[recorded]).await?;
    Ok(())
}

/// Runs `work` to its end even if nobody waits for it any more.
pub(crate) async fn undisturbed<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(answer) => answer,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only the end of the program cancels it.
        Err(_) => Err(sqlx::Error::PoolClosed.into()),
    }
}
