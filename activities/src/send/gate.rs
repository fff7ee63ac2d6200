//! GATE: the one transaction in which a send may turn from planned to dispatching. Everything that
//! could stop it is looked at here, under locks that make a stop and the gate serial.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use machine::calendar::Calendar;
use machine::country;
use machine::ids::{SendId, WorkspaceId};
use machine::sequence::{Channel, Version};
use machine::signal::{Answer, Missing, Refusal};
use machine::state::Why;
use uuid::Uuid;

use super::colleagues::Colleagues;
use super::prepare::Prepared;
use super::recontact::{self, Contacts};
use super::slots::{
    Book, Booking, CampaignLimits, Candidate as Asking, Outage, SenderLimits, Verdict,
};
use crate::agents::offers::Turns;
use crate::error::Result;
use crate::mailroom::Mailroom;
use crate::senders::trouble::Breaker;
use crate::store::clock::{self, Clocks};
use crate::store::gates::{self, Campaign, Candidate, Passed, PutOff};
use crate::store::quotas::{self, Scope};
use crate::store::{Tx, locks};
use crate::turn::{Ask, What};

/// The most sends one gate takes: it holds an advisory lock for each lead and each address, and
/// the lock table of a server at its default settings is full between ten and twenty thousand.
pub const BATCH_MAX: usize = 500;

/// How long a sender in trouble waits for the one call that tries before another one does, wall time.
const TRIAL: TimeDelta = TimeDelta::seconds(60);

/// How long before a window closes a send must leave, campaign time: on a clock that runs fast, wall
/// time would be longer than any window.
const MARGIN: TimeDelta = TimeDelta::seconds(30);

/// The hours of what is bound to none.
static ALWAYS_OPEN: LazyLock<Calendar> = LazyLock::new(Calendar::default);

/// A send past the gate.
pub struct Dispatch {
    /// What goes out.
    pub message: Prepared,
    /// The number of this gate; the outcome is recorded under it.
    pub fence: i32,
    /// When it passed, campaign time.
    pub gate_at: DateTime<Utc>,
    /// How long it may take to leave, wall time: then its window closes.
    pub open_for: TimeDelta,
}

/// What the gate made of a batch.
#[derive(Default)]
pub struct Gated {
    /// Sends to be called now.
    pub dispatched: Vec<Dispatch>,
    /// Sends that have their answer without a call.
    pub answered: Vec<(Ask, Answer)>,
    /// Sends whose lead or address somebody else has locked: for the next round.
    pub busy: Vec<Ask>,
    /// Sends whose lead has changed since they were prepared: to be prepared again.
    pub changed: Vec<Ask>,
    /// Sends that stay planned until a turn has seen what stands against them.
    pub waiting: Vec<Ask>,
    /// Sends of which nobody knows whether they passed, with the number of this gate: the commit was
    /// sent and not answered. They must not be called.
    pub doubtful: Vec<(Ask, i32)>,
    /// When the leases of this batch end, wall time.
    pub lease_until: Option<DateTime<Utc>>,
}

/// Takes up to [`BATCH_MAX`] prepared messages of one workspace through the gate.
///
/// # Errors
///
/// When the database fails before the commit: nothing has passed then.
pub async fn gate(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    messages: Vec<Prepared>,
) -> Result<Gated> {
    let mut gated = Gated::default();
    if messages.is_empty() {
        return Ok(gated);
    }
    debug_assert!(messages.len() <= BATCH_MAX);
    let mut tx = mailroom.store.begin_batch(workspace).await?;
    locks::lock_shared(&mut tx, locks::workspace_key(workspace)).await?;
    let messages = lock_people(&mut tx, messages, &mut gated).await?;
    let seen = read(&mut tx, &messages).await?;
    let clocks = clock::read(&mut tx).await?;
    let now = clocks.campaign;
    let mut standing = Vec::with_capacity(messages.len());
    for message in messages {
        // Not planned any more, or locked by a turn: whoever has it hands it out again.
        let Some(candidate) = seen.candidates.get(&message.ask.send.uuid()) else { continue };
        match inspect(&message, candidate, &seen, now) {
            Inspection::Stands => standing.push((message, candidate)),
            Inspection::Changed => gated.changed.push(message.ask),
            Inspection::Waits => gated.waiting.push(message.ask),
            Inspection::Answered(answer) => gated.answered.push((message.ask, answer)),
        }
    }
    standing.sort_by_key(|(message, candidate)| {
        (candidate.slot_at.unwrap_or(now), message.ask.wake_at, message.ask.send)
    });
    let asks = standing.iter().map(|(message, _)| &message.ask);
    // Before the agents are locked: who lets a company go may free an agent, too.
    let mut colleagues = Colleagues::read(&mut tx, &standing).await?;
    let mut turns = Turns::locked(&mut tx, asks, now).await?;
    // Before the rows are locked that every other gate of the same senders needs.
    let mut contacts = Contacts::read(&mut tx, &standing).await?;
    let mut book = open_book(&mut tx, &standing, clocks).await?;
    let mut passed = Passed::default();
    let mut put_off = PutOff::default();
    for (message, candidate) in standing {
        let sender = message.sender.id.uuid();
        if !book.senders.contains_key(&sender) {
            let missing = Missing::Sender { channel: message.sender.channel };
            gated.answered.push((message.ask, Answer::Held { missing }));
            continue;
        }
        // Meanwhile it may have become another agent's turn, or nobody's.
        if message.agent.is_some_and(|agent| !turns.is_turn_of(&message.ask, agent)) {
            gated.changed.push(message.ask);
            continue;
        }
        let guarded = contacts.guard(&message, candidate);
        let guarded = guarded.map(|until| (until, Why::RecontactGuard));
        let guarded = colleagues.guard(&message, now).max(guarded);
        match allot(&mut book, &message, candidate, guarded, now) {
            Verdict::Go { sender_day, campaign_day } => {
                if let Some(agent) = message.agent {
                    turns.take(&message.ask, agent);
                }
                let lease_until = clocks.wall + message.outlet.lease();
                gated.lease_until = gated.lease_until.max(Some(lease_until));
                contacts.note(&message.ask, now);
                let content = &message.content;
                passed.ids.push(message.ask.send.uuid());
                passed.addresses.push(content.address().to_owned());
                let id = content.message_id(message.ask.send);
                passed.message_ids.push(id.map(|id| id.as_str().to_owned()));
                passed.leases.push(lease_until);
                passed.days.push(sender_day);
                passed.campaign_days.push(campaign_day);
                passed.hashes.push(content.hash().to_vec());
                passed.subjects.push(content.subject().map(str::to_owned));
                passed.texts.push(content.text().to_owned());
                passed.htmls.push(content.html().map(str::to_owned));
                let open_for = open_for(&message, candidate, clocks);
                let fence = candidate.fence + 1;
                gated.dispatched.push(Dispatch { message, fence, gate_at: now, open_for });
            }
            Verdict::Defer { until, because, days } => {
                let outage = because == Why::ProviderOutage;
                let spread =
                    if outage { spread(message.ask.send, clocks) } else { TimeDelta::zero() };
                let until = until + spread;
                put_off.ids.push(message.ask.send.uuid());
                put_off.details.push(because.as_str());
                put_off.slot_ats.push(until);
                put_off.days.push(days.map(|days| days.0));
                put_off.campaign_days.push(days.map(|days| days.1));
                let answer = Answer::Deferred { until, reason: because };
                gated.answered.push((message.ask, answer));
            }
        }
    }
    turns.write(&mut tx).await?;
    colleagues.write(&mut tx).await?;
    gates::pass(&mut tx, workspace, &passed, mailroom.runner, now).await?;
    gates::put_off(&mut tx, workspace, &put_off).await?;
    close_book(&mut tx, &book, clocks).await?;
    if let Err(error) = tx.commit().await {
        tracing::error!(error = crate::error::chain(&error), "nobody knows what passed the gate");
        return Ok(gated.in_doubt(&seen.candidates));
    }
    Ok(gated)
}

impl Gated {
    /// What is left of a gate whose commit was not answered.
    fn in_doubt(self, candidates: &HashMap<Uuid, Candidate>) -> Self {
        let Self { dispatched, answered, busy, changed, waiting, .. } = self;
        let dispatched = dispatched.into_iter().map(|it| (it.message.ask, it.fence));
        let answered = answered.into_iter().map(|(ask, _)| {
            let fence = candidates.get(&ask.send.uuid()).map_or(0, |it| it.fence);
            (ask, fence + 1)
        });
        let doubtful = dispatched.chain(answered).collect();
        Self { doubtful, busy, changed, waiting, ..Self::default() }
    }
}

/// Tries for the locks of every lead and address; who is refused waits for the next round.
async fn lock_people(
    tx: &mut Tx,
    messages: Vec<Prepared>,
    gated: &mut Gated,
) -> Result<Vec<Prepared>> {
    let workspace = tx.workspace();
    let locks = messages.iter().flat_map(|message| {
        let lead = locks::lead_key(workspace, message.ask.lead);
        // Of two campaigns that write to one person at once, one has to see the other.
        let alone = recontact::is_guarded(&message.ask);
        [(lead, alone), (locks::address_key(workspace, &message.address_hash), false)]
    });
    let (keys, alone): (Vec<i64>, Vec<bool>) = locks.unzip();
    let granted = locks::try_lock(tx, &keys, &alone).await?;
    let mut locked = Vec::with_capacity(messages.len());
    for (index, message) in messages.into_iter().enumerate() {
        let both = granted.get(2 * index..2 * index + 2);
        if both.is_some_and(|both| both.iter().all(|granted| *granted)) {
            locked.push(message);
        } else {
            gated.busy.push(message.ask);
        }
    }
    Ok(locked)
}

/// What the gate reads about a batch, all of it after the locks.
struct Seen {
    candidates: HashMap<Uuid, Candidate>,
    campaigns: HashMap<Uuid, Campaign>,
    /// Why addresses and domains are suppressed, by hash.
    suppressions: HashMap<Vec<u8>, String>,
}

async fn read(tx: &mut Tx, messages: &[Prepared]) -> Result<Seen> {
    let workspace = tx.workspace();
    let sends: Vec<Uuid> = messages.iter().map(|m| m.ask.send.uuid()).collect();
    let attempts: Vec<i32> = messages.iter().map(|m| m.ask.attempt).collect();
    let candidates = gates::lock_planned(tx, workspace, &sends, &attempts).await?;
    let campaigns: BTreeSet<Uuid> = messages.iter().map(|m| m.ask.campaign.uuid()).collect();
    let campaigns: Vec<Uuid> = campaigns.into_iter().collect();
    let campaigns = gates::campaigns(tx, workspace, &campaigns).await?;
    let distinct = |hash: fn(&Prepared) -> &[u8]| -> Vec<&[u8]> {
        messages.iter().map(hash).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let (addresses, domains) = (distinct(|m| &m.address_hash), distinct(|m| &m.domain_hash));
    let suppressions = gates::suppressions(tx, workspace, &addresses, &domains).await?;
    Ok(Seen {
        candidates: candidates.into_iter().map(|row| (row.send_id, row)).collect(),
        campaigns: campaigns.into_iter().map(|row| (row.campaign_id, row)).collect(),
        suppressions,
    })
}

enum Inspection {
    Stands,
    Changed,
    Waits,
    Answered(Answer),
}

/// Looks at everything that may stop a send, short of room.
fn inspect(
    message: &Prepared,
    candidate: &Candidate,
    seen: &Seen,
    now: DateTime<Utc>,
) -> Inspection {
    if message.ask.what.is_to_the_team() {
        // The lead's wishes are not about a mail to one of our own people.
        return if candidate.held_up { Inspection::Waits } else { Inspection::Stands };
    }
    let channel = message.ask.what.channel();
    let is_answer = matches!(message.ask.what, What::Answer { .. });
    let campaign = seen.campaigns.get(&message.ask.campaign.uuid());
    let goes_on = campaign.is_some_and(|it| {
        // A person's own answer may be the last that leaves of a campaign.
        (it.active || is_answer && it.finished) && it.verb_seq <= candidate.verb_seq
    });
    if candidate.held_up || !goes_on {
        return Inspection::Waits;
    }
    let of_address = seen.suppressions.get(message.address_hash.as_slice());
    if let Some(reason) =
        of_address.or_else(|| seen.suppressions.get(message.domain_hash.as_slice()))
    {
        let class = match reason.as_str() {
            "hard_bounce" => Refusal::Recipient,
            _ => Refusal::Suppressed,
        };
        return Inspection::Answered(Answer::Rejected { class, retry_after_s: None });
    }
    if candidate.lead_version != message.lead_version {
        return Inspection::Changed;
    }
    if is_answer {
        // The lead wrote to us: only its word that it wants no mail stands against an answer, and no
        // window does.
        return match candidate.email_consent.as_str() {
            "refused" => {
                let class = Refusal::Suppressed;
                Inspection::Answered(Answer::Rejected { class, retry_after_s: None })
            }
            _ => Inspection::Stands,
        };
    }
    let consent = match channel {
        Channel::Email => &candidate.email_consent,
        Channel::Sms | Channel::Call => &candidate.sms_consent,
    };
    let granted_needed =
        channel != Channel::Email || message.ask.version.version.mail_needs_consent;
    let consents = match consent.as_str() {
        "granted" => true,
        "refused" => false,
        _ => !granted_needed,
    };
    if !consents {
        let missing = Missing::Consent { channel };
        return Inspection::Answered(Answer::Held { missing });
    }
    let version = &message.ask.version.version;
    if !version.calendar_of(channel).suits(&zones(candidate, version), now) {
        return Inspection::Answered(Answer::Held { missing: Missing::zone() });
    }
    Inspection::Stands
}

/// The zones in each of which the message must leave inside its window.
fn zones(candidate: &Candidate, version: &Version) -> Vec<Tz> {
    let own = candidate.zone.as_deref().and_then(|zone| zone.parse().ok());
    let country = candidate.country.as_deref().and_then(|country| country.parse().ok());
    country::candidates(own.as_ref(), country, &version.zone).to_vec()
}

/// Locks senders and quotas in the order of their keys and reads their limits.
async fn open_book(
    tx: &mut Tx,
    standing: &[(Prepared, &Candidate)],
    clocks: Clocks,
) -> Result<Book> {
    let workspace = tx.workspace();
    let now = clocks.campaign;
    let mut book = Book::default();
    let mut campaigns = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for (message, _) in standing {
        ids.insert(message.sender.id.uuid());
        let settings = &message.ask.settings;
        let limits = CampaignLimits { per_day: settings.per_day, zone: settings.zone };
        campaigns.insert(message.ask.campaign.uuid(), limits);
    }
    let limited: Vec<Uuid> =
        campaigns.iter().filter(|(_, it)| it.per_day.is_some()).map(|(id, _)| *id).collect();
    if !limited.is_empty() {
        gates::lock_campaigns(tx, workspace, &limited).await?;
    }
    book.campaigns = campaigns;
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let mut owners: Vec<(Scope, Uuid)> = limited.iter().map(|id| (Scope::Campaign, *id)).collect();
    for sender in gates::lock_senders(tx, workspace, &ids).await? {
        if !sender.active {
            continue;
        }
        let per_day = sender.per_day.and_then(|n| u32::try_from(n).ok());
        if per_day.is_some() {
            owners.push((Scope::Sender, sender.sender_id));
        }
        let limits = SenderLimits {
            per_day,
            spacing: TimeDelta::seconds(sender.spacing_s.into()),
            zone: sender.zone.parse().unwrap_or(chrono_tz::UTC),
            next_free_at: sender.next_free_at,
            outage: match Breaker::of(sender.trouble_until, clocks.wall) {
                Breaker::Closed => Outage::None,
                Breaker::Open { until } => Outage::Until(clocks.campaign_in(until - clocks.wall)),
                Breaker::HalfOpen => Outage::OneMayTry { next: clocks.campaign_in(TRIAL) },
            },
        };
        book.senders.insert(sender.sender_id, limits);
    }
    if !owners.is_empty() {
        let slots = standing
            .iter()
            .filter_map(|(_, candidate)| candidate.slot_day.min(candidate.slot_campaign_day));
        let today = now.date_naive() - TimeDelta::days(1);
        let since = slots.min().map_or(today, |day| day.min(today));
        book.counts = quotas::lock(tx, workspace, &owners, since).await?;
    }
    Ok(book)
}

async fn close_book(tx: &mut Tx, book: &Book, clocks: Clocks) -> Result<()> {
    let workspace = tx.workspace();
    if !book.trials.is_empty() {
        let ids: Vec<Uuid> = book.trials.iter().copied().collect();
        gates::begin_trials(tx, workspace, &ids, clocks.wall + TRIAL).await?;
    }
    let paced = book.senders.iter().filter(|(_, it)| it.spacing > TimeDelta::zero());
    let (ids, next): (Vec<Uuid>, Vec<DateTime<Utc>>) =
        paced.filter_map(|(id, it)| Some((*id, it.next_free_at?))).unzip();
    gates::move_cursors(tx, workspace, &ids, &next).await?;
    quotas::put(tx, workspace, &book.changed).await?;
    Ok(())
}

fn allot(
    book: &mut Book,
    message: &Prepared,
    candidate: &Candidate,
    guarded: Option<(DateTime<Utc>, Why)>,
    now: DateTime<Utc>,
) -> Verdict {
    let version = &message.ask.version.version;
    if message.ask.what.is_to_the_team() {
        // Our own people are told at once, whatever the limits of a lead's mail.
        let settings = &message.ask.settings;
        let sender = book.senders.get(&message.sender.id.uuid());
        let zone = sender.map_or(chrono_tz::UTC, |sender| sender.zone);
        return Verdict::Go {
            sender_day: now.with_timezone(&zone).date_naive(),
            campaign_day: now.with_timezone(&settings.zone).date_naive(),
        };
    }
    let booked = match (candidate.slot_at, candidate.slot_day, candidate.slot_campaign_day) {
        (Some(at), Some(sender_day), Some(campaign_day)) => {
            let because = candidate.detail.as_deref().and_then(Why::of);
            let because = because.unwrap_or(Why::SenderDailyLimit);
            Some(Booking { at, because, sender_day, campaign_day })
        }
        _ => None,
    };
    let zones = zones(candidate, version);
    let (calendar, windows) = match message.ask.what {
        // Of a letter from person to person the limits count, and no hour does.
        What::Answer { .. } => (&*ALWAYS_OPEN, &*ALWAYS_OPEN),
        What::Step { .. } | What::Handover { .. } | What::Forward { .. } => {
            (version.calendar_of(message.sender.channel), &version.calendar)
        }
    };
    let asking = Asking {
        sender: message.sender.id.uuid(),
        campaign: message.ask.campaign.uuid(),
        calendar,
        windows,
        zones: &zones,
        booked,
        margin: MARGIN,
        guarded,
    };
    book.allot(&asking, now)
}

/// Those whom an outage put off do not all come back at once.
fn spread(send: SendId, clocks: Clocks) -> TimeDelta {
    let seconds = i64::from(send.uuid().as_fields().0 % 30);
    clocks.campaign_in(TimeDelta::seconds(seconds)) - clocks.campaign
}

/// How long a message that passes now may take to leave, wall time.
fn open_for(message: &Prepared, candidate: &Candidate, clocks: Clocks) -> TimeDelta {
    let version = &message.ask.version.version;
    let calendar = match message.ask.what {
        What::Step { .. } => version.calendar_of(message.sender.channel),
        What::Handover { .. } | What::Answer { .. } | What::Forward { .. } => &*ALWAYS_OPEN,
    };
    let zones = zones(candidate, version);
    match calendar.first_closing(&zones, clocks.campaign) {
        Some(closes) => clocks.wall_until(closes),
        // A mail to one of our own people, or from one, has no window.
        None => message.outlet.lease(),
    }
}
