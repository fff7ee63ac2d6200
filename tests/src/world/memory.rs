//! The memory backend: the store, the ledger's rules, the provider and the runner of the product's
//! protocol, one after another in one process. It commits nothing and sends nothing.

mod agents;
mod colleagues;
mod gate;
mod judge;
mod ledger;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use activities::agents::roster::Absence;
use activities::store::quotas::{Count, Key};
use chrono::{DateTime, Utc};
use machine::context::Facts;
use machine::document::{CampaignDocument, compile};
use machine::effect::EffectId;
use machine::enrollment::Enrollment;
use machine::ids::{CampaignId, EnrollmentId, LeadId, SendId, WorkspaceId};
use machine::sequence::Version;
use machine::signal::{Answer, Bounce, Refusal, ReplyTo, Signal};
use uuid::Uuid;

use self::agents::Team;
use self::ledger::{Ledger, Stand, What};
use super::agent::Agent;
use super::backend::{ANSWER, CampaignVerb, Mail, Reading, Sent, Sight, Went};
use super::news::{Author, LeadChange, News};
use super::person::Lead;
use super::provider::Script;
use super::sequence::Sender;
use super::{BEGINNING, names};

/// How many rounds may follow one another at one moment.
const ROUNDS_MAX: usize = 1_000;

/// A world in memory.
pub struct Memory(Mutex<Inner>);

struct Inner {
    now: DateTime<Utc>,
    workspace: WorkspaceId,
    campaigns: BTreeMap<CampaignId, Campaign>,
    senders: BTreeMap<String, Mailbox>,
    leads: BTreeMap<LeadId, Lead>,
    enrollments: BTreeMap<EnrollmentId, Row>,
    /// The order of enrolling.
    order: Vec<EnrollmentId>,
    ledger: Ledger,
    /// Requests to our people.
    tasks: BTreeMap<EffectId, EnrollmentId>,
    /// Addresses never to be written to, and how the gate says so.
    suppressed: BTreeMap<String, Refusal>,
    quotas: BTreeMap<Key, Count>,
    provider: Provided,
    team_mails: Vec<Mail>,
    reading: Reading,
    team: Team,
    /// Sends that a person ordered once more.
    reviewed: BTreeSet<SendId>,
    /// How many letters people of ours wrote.
    letters: u64,
}

struct Campaign {
    document: CampaignDocument,
    version: Version,
    verbs: Vec<(DateTime<Utc>, CampaignVerb)>,
}

struct Mailbox {
    id: Uuid,
    about: Sender,
    next_free_at: Option<DateTime<Utc>>,
}

/// The provider: what it was told to do, what it took, and the calls it has not answered.
struct Provided {
    script: Script,
    accepts: Vec<SendId>,
    held: Vec<Call>,
}

/// A request to the provider.
struct Call {
    effect: EffectId,
    enrollment: EnrollmentId,
    what: What,
    to: String,
    /// When it passed the gate.
    at: DateTime<Utc>,
}

/// One enrollment as it is stored.
struct Row {
    lead: LeadId,
    campaign: CampaignId,
    snapshot: Vec<u8>,
    turn: u32,
    enrolled_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
    signals: Vec<Heard>,
    applied_seq: u32,
    verb_seq: usize,
    wake_at: Option<DateTime<Utc>>,
    parked: Option<String>,
    journal: Vec<Journaled>,
    sends: Vec<Sent>,
}

/// A stored signal.
struct Heard {
    holds: bool,
    /// What it turned out to be.
    signal: Signal,
    /// Whether anybody has read it.
    read: bool,
}

/// One application of the machine.
struct Journaled {
    at: DateTime<Utc>,
    signal: Signal,
    facts: Facts,
}

impl Campaign {
    fn verb_seq(&self) -> usize {
        self.verbs.len()
    }
}

impl Row {
    /// The first signal that was not applied, with its number; `None` inside where nobody has read
    /// it.
    fn next_signal(&self) -> Option<(u32, Option<Signal>)> {
        let heard = self.signals.get(self.applied_seq as usize)?;
        Some((self.applied_seq + 1, heard.read.then(|| heard.signal.clone())))
    }

    fn waits_for_reading(&self) -> bool {
        self.next_signal().is_some_and(|(_, signal)| signal.is_none())
    }
}

impl Memory {
    pub(super) fn new(workspace: WorkspaceId) -> Self {
        Self(Mutex::new(Inner {
            now: BEGINNING.parse().expect("a time"),
            workspace,
            campaigns: BTreeMap::new(),
            senders: BTreeMap::new(),
            leads: BTreeMap::new(),
            enrollments: BTreeMap::new(),
            order: Vec::new(),
            ledger: Ledger::default(),
            tasks: BTreeMap::new(),
            suppressed: BTreeMap::new(),
            quotas: BTreeMap::new(),
            provider: Provided { script: Script::Accept, accepts: Vec::new(), held: Vec::new() },
            team_mails: Vec::new(),
            reading: Reading::AtOnce,
            team: Team::default(),
            reviewed: BTreeSet::new(),
            letters: 0,
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("a test that panicked is over")
    }

    pub(super) fn start(&self, document: &CampaignDocument, sender: &Sender) -> CampaignId {
        let mut inner = self.inner();
        let version = compile(document).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let id: CampaignId = names::of("campaign", &document.name).into();
        assert!(!inner.campaigns.contains_key(&id), "two campaigns named {}", document.name);
        let mailbox = Mailbox {
            id: names::of("sender", &sender.name),
            about: sender.clone(),
            next_free_at: None,
        };
        inner.senders.entry(sender.name.clone()).or_insert(mailbox);
        let campaign = Campaign { document: document.clone(), version, verbs: Vec::new() };
        inner.campaigns.insert(id, campaign);
        id
    }

    pub(super) fn hire(&self, agent: &Agent) {
        let mut inner = self.inner();
        inner.team.hire(agent);
        inner.tell_who_waits_for_an_agent(None);
    }

    pub(super) fn leave(&self, name: &str, absence: Absence) {
        self.inner().team.leave(name, absence);
    }

    pub(super) fn enroll(&self, campaign: CampaignId, lead: &Lead) -> EnrollmentId {
        let mut inner = self.inner();
        let lead_id = names::lead(&lead.address);
        inner.leads.entry(lead_id).or_insert_with(|| lead.clone());
        let now = inner.now;
        let about = &inner.campaigns[&campaign];
        let id = names::enrollment(&about.document.name, lead_id);
        let begun = Enrollment::begin(&about.version.steps[0], now);
        // One that enters a paused campaign has the pause before it.
        let paused = matches!(about.verbs.last(), Some((_, CampaignVerb::Pause)));
        let row = Row {
            lead: lead_id,
            campaign,
            snapshot: serde_json::to_vec(&begun).expect("plain data"),
            turn: 0,
            enrolled_at: now,
            changed_at: now,
            signals: Vec::new(),
            applied_seq: 0,
            verb_seq: about.verb_seq() - usize::from(paused),
            wake_at: begun.wake_at(),
            parked: None,
            journal: Vec::new(),
            sends: Vec::new(),
        };
        assert!(inner.enrollments.insert(id, row).is_none(), "{} is enrolled", lead.address);
        inner.order.push(id);
        id
    }

    pub(super) fn hear(&self, enrollment: EnrollmentId, news: &News) {
        let mut inner = self.inner();
        let row = &inner.enrollments[&enrollment];
        let lead = row.lead;
        let newest = row.sends.last().filter(|sent| sent.step != ANSWER);
        let newest = newest.map(|sent| sent.step.parse().expect("a step's key"));
        let step = |key: &String| key.parse().expect("a step's key");
        let (own, others) = match news {
            News::Reply { text: _ } => (
                Signal::replied(ReplyTo::This, newest),
                Some(Signal::replied(ReplyTo::Other, None)),
            ),
            News::OutOfOffice { back_on } => {
                let away = Signal::AutoReplied { back_on: *back_on };
                (away.clone(), Some(away))
            }
            News::Bounce(severity @ Bounce::Hard) => (
                Signal::Bounced { step: newest, severity: *severity },
                Some(Signal::Bounced { step: None, severity: *severity }),
            ),
            News::Bounce(severity @ Bounce::Soft) => {
                (Signal::Bounced { step: newest, severity: *severity }, None)
            }
            News::OptOut => (Signal::OptedOut, Some(Signal::OptedOut)),
            News::Complaint => (Signal::Complained, Some(Signal::Complained)),
            News::TeamAnswer { of, author: Author::Themselves, text } if !text.is_empty() => {
                inner.letters += 1;
                let mail = names::of("letter", &inner.letters.to_string()).into();
                (Signal::PersonWrote { by: *of, mail, files: 0 }, None)
            }
            News::TeamAnswer { .. } => return,
            News::Delivered { step: key } => (Signal::Delivered { step: step(key) }, None),
            News::Click { step: key } => (Signal::Clicked { step: step(key) }, None),
        };
        if let Some(class) = gate::refusal_of(&own) {
            let address = inner.leads[&lead].address.clone();
            inner.suppressed.entry(address).or_insert(class);
        }
        // Only mail has to be read; a report says what it is.
        let is_mail = matches!(news, News::Reply { .. } | News::OutOfOffice { .. });
        let read = !is_mail || inner.reading == Reading::AtOnce;
        inner.tell(enrollment, own, read);
        let same =
            inner.enrollments.iter().filter(|(id, row)| row.lead == lead && **id != enrollment);
        let same: Vec<EnrollmentId> = same.map(|(id, _)| *id).collect();
        for id in same {
            if let Some(signal) = &others {
                inner.tell(id, signal.clone(), read);
            }
        }
    }

    pub(super) fn order(&self, enrollment: EnrollmentId, signal: &Signal) {
        let mut inner = self.inner();
        if let Signal::ApprovalDecided { effect, .. } | Signal::CallDone { effect, .. } = signal {
            inner.tasks.remove(effect);
        }
        inner.tell(enrollment, signal.clone(), true);
    }

    pub(super) fn order_campaign(&self, campaign: CampaignId, verb: CampaignVerb) {
        let mut inner = self.inner();
        let now = inner.now;
        let campaign = inner.campaigns.get_mut(&campaign).expect("it was started");
        campaign.verbs.push((now, verb));
    }

    pub(super) fn review(&self, enrollment: EnrollmentId, went: Went) {
        let mut inner = self.inner();
        let in_review: Vec<EffectId> = inner
            .ledger
            .iter()
            .filter(|(_, row)| row.enrollment == enrollment && row.stand == Stand::NeedsReview)
            .map(|(send, row)| EffectId { send, attempt: row.attempt })
            .collect();
        assert!(!in_review.is_empty(), "nothing is in review");
        for effect in in_review {
            match went {
                Went::Yes => inner.record(effect, Answer::Accepted),
                Went::No => {
                    inner.reviewed.insert(effect.send);
                    inner.record(effect, Answer::Lost);
                }
            }
        }
    }

    pub(super) fn change(&self, enrollment: EnrollmentId, change: &LeadChange) {
        use machine::sequence::Channel;
        let mut inner = self.inner();
        let lead = inner.enrollments[&enrollment].lead;
        let about = inner.leads.get_mut(&lead).expect("it is enrolled");
        match change {
            LeadChange::Attribute(name, value) => {
                about.attributes.insert(name.clone(), value.clone());
            }
            LeadChange::Consent(Channel::Email, consent) => about.consent.email = *consent,
            LeadChange::Consent(Channel::Sms, consent) => about.consent.sms = *consent,
            LeadChange::Consent(Channel::Call, consent) => about.consent.call = *consent,
        }
        let same = inner.enrollments.iter().filter(|(_, row)| row.lead == lead);
        let same: Vec<EnrollmentId> = same.map(|(id, _)| *id).collect();
        for id in same {
            inner.tell(id, Signal::AttributeChanged, true);
        }
    }

    pub(super) fn script(&self, script: Script) {
        self.inner().provider.script = script;
    }

    pub(super) fn release(&self) {
        let mut inner = self.inner();
        for call in std::mem::take(&mut inner.provider.held) {
            inner.take(&call);
            inner.record(call.effect, Answer::Accepted);
        }
    }

    pub(super) fn read_mail(&self, reading: Reading) {
        let mut inner = self.inner();
        inner.reading = reading;
        if reading == Reading::AtOnce {
            let heard = inner.enrollments.values_mut().flat_map(|row| &mut row.signals);
            heard.for_each(|heard| heard.read = true);
        }
    }

    pub(super) fn spoil(&self, enrollment: EnrollmentId) {
        self.inner().row(enrollment).snapshot = b"{\"rules\":1,\"state\":\"gone\"}".to_vec();
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.inner().now
    }

    pub(super) fn move_clock(&self, to: DateTime<Utc>) {
        let mut inner = self.inner();
        assert!(to >= inner.now, "campaign time never goes back");
        inner.now = to;
    }

    pub(super) fn next_due(&self) -> Option<DateTime<Utc>> {
        let inner = self.inner();
        let rows = inner.enrollments.values().filter(|row| row.parked.is_none());
        let wakes = rows.filter_map(|row| row.wake_at).filter(|at| *at > inner.now);
        wakes.chain(inner.next_lease()).min()
    }

    pub(super) fn settle(&self) {
        self.inner().settle();
    }

    pub(super) fn sight(&self, enrollment: EnrollmentId) -> Sight {
        self.inner().sight(enrollment)
    }

    pub(super) fn sights(&self) -> Vec<Sight> {
        let inner = self.inner();
        inner.order.iter().map(|id| inner.sight(*id)).collect()
    }

    pub(super) fn team_mails(&self) -> Vec<Mail> {
        self.inner().team_mails.clone()
    }

    pub(super) fn faults(&self) -> Vec<String> {
        self.inner().faults()
    }
}

impl Inner {
    fn row(&mut self, id: EnrollmentId) -> &mut Row {
        self.enrollments.get_mut(&id).expect("it is enrolled")
    }

    /// Stores a signal; it is heard in the next turn.
    fn tell(&mut self, id: EnrollmentId, signal: Signal, read: bool) {
        let holds = !read || signal.holds();
        self.row(id).signals.push(Heard { holds, signal, read });
    }

    /// Turns, gates and calls until nothing moves.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let due: Vec<EnrollmentId> =
                self.enrollments.keys().copied().filter(|id| self.is_due(*id)).collect();
            for id in &due {
                self.turn(*id, Vec::new());
            }
            let swept = self.sweep();
            let gated = self.gate();
            if due.is_empty() && !swept && !gated {
                return;
            }
        }
        panic!("the world does not come to rest at {}", self.now);
    }
}
