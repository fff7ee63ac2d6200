//! The closed set of things that can carry out a scenario, and the facts each must answer. To add
//! one: a variant, a constructor of its name, and an arm in each method.

use activities::agents::roster::Absence;
use chrono::{DateTime, Utc};
use machine::document::CampaignDocument;
use machine::enrollment::Enrollment;
use machine::explain::{Plan, Shown};
use machine::ids::{CampaignId, EnrollmentId};
use machine::outcome::Outcome;
use machine::signal::{ResumeRule, Signal};

use super::agent::Agent;
use super::memory::Memory;
use super::names;
use super::news::{LeadChange, News};
use super::person::Lead;
use super::postgres::{Clock, Postgres, Times};
use super::provider::Script;
use super::sequence::Sender;

/// What carries out a scenario.
pub enum Backend {
    /// Everything in this process, in memory.
    Memory(Box<Memory>),
    /// The product's transactions on a real database.
    Postgres(Box<Postgres>),
}

/// An order about a whole campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CampaignVerb {
    /// Nothing leaves until it is resumed.
    Pause,
    /// It goes on.
    Resume(ResumeRule),
    /// Every live lead ends as stopped.
    Stop,
}

/// In the place of a step: what a person of ours wrote to the lead.
pub const ANSWER: &str = "/answer";

/// A message that reached the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Of which step; [`ANSWER`] where it is no step's.
    pub step: String,
    /// In which wording.
    pub variant: Option<String>,
    /// To which address.
    pub to: String,
    /// When, campaign time.
    pub at: DateTime<Utc>,
}

/// A mail to one of our own people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// To which address.
    pub to: String,
    /// When, campaign time.
    pub at: DateTime<Utc>,
}

/// Everything a scenario may ask about one enrollment.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The word for where it is, as lists show it; failed where it is parked.
    pub state: Shown,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What it will do, in words; `None` where it is parked.
    pub plan: Option<Plan>,
    /// The enrollment as it is stored; `None` where it is parked.
    pub enrollment: Option<Enrollment>,
    /// What it received, in the order of arrival at the provider.
    pub sends: Vec<Sent>,
    /// Requests that nobody has answered.
    pub unanswered: Vec<String>,
    /// Why it is parked.
    pub parked: Option<String>,
    /// How many sends wait for a person's judgement whether they went.
    pub in_review: usize,
}

impl Backend {
    /// Returns a world in memory.
    #[expect(clippy::unused_async, reason = "backends are made alike, and others connect")]
    pub async fn memory() -> Self {
        Self::Memory(Box::new(Memory::new(names::workspace())))
    }

    /// Returns a world in memory whose names are those of this one.
    pub(super) fn in_memory(&self) -> Self {
        let workspace = match self {
            Self::Memory(_) => names::workspace(),
            Self::Postgres(postgres) => postgres.workspace(),
        };
        Self::Memory(Box::new(Memory::new(workspace)))
    }

    /// Returns a world on a real database of its own.
    pub async fn postgres() -> Self {
        Self::Postgres(Box::new(Postgres::new(Times::Once).await))
    }

    /// Returns a world on a real database of its own in which everything is done twice.
    pub async fn postgres_twice() -> Self {
        Self::Postgres(Box::new(Postgres::new(Times::Twice).await))
    }

    /// Returns a world on a real database of its own whose leads a real Temporal server drives, and
    /// whose messages leave through a mail server.
    pub async fn temporal() -> Self {
        Self::Postgres(Box::new(Postgres::driven_by_temporal(Clock::Set).await))
    }

    /// Returns such a world whose leads wake by Temporal's timers, which are short.
    pub async fn temporal_with_timers() -> Self {
        Self::Postgres(Box::new(Postgres::driven_by_temporal(Clock::Runs).await))
    }

    /// Whether leads that are due at the same moment come one by one, in no order.
    pub(super) fn takes_each_lead_alone(&self) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::Postgres(postgres) => postgres.takes_each_lead_alone(),
        }
    }

    /// Ends what the world runs.
    pub async fn close(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Postgres(postgres) => postgres.close().await,
        }
    }

    /// Applies a campaign and starts it; the sender is made if there is none of its name.
    pub async fn start(&self, document: &CampaignDocument, sender: &Sender) -> CampaignId {
        match self {
            Self::Memory(memory) => memory.start(document, sender),
            Self::Postgres(postgres) => postgres.start(document, sender).await,
        }
    }

    /// An agent joins the team.
    pub async fn hire(&self, agent: &Agent) {
        match self {
            Self::Memory(memory) => memory.hire(agent),
            Self::Postgres(postgres) => postgres.hire(agent).await,
        }
    }

    /// An agent takes no leads for a time.
    pub async fn leave(&self, name: &str, absence: Absence) {
        match self {
            Self::Memory(memory) => memory.leave(name, absence),
            Self::Postgres(postgres) => postgres.leave(name, absence).await,
        }
    }

    /// Enrolls a lead, known before or not.
    pub async fn enroll(&self, campaign: CampaignId, lead: &Lead) -> EnrollmentId {
        match self {
            Self::Memory(memory) => memory.enroll(campaign, lead),
            Self::Postgres(postgres) => postgres.enroll(campaign, lead).await,
        }
    }

    /// Something arrives from outside about the lead of an enrollment.
    pub async fn hear(&self, enrollment: EnrollmentId, news: &News) {
        match self {
            Self::Memory(memory) => memory.hear(enrollment, news),
            Self::Postgres(postgres) => postgres.hear(enrollment, news).await,
        }
    }

    /// A person of ours gives an order, or an answer, about one enrollment.
    pub async fn order(&self, enrollment: EnrollmentId, signal: &Signal) {
        match self {
            Self::Memory(memory) => memory.order(enrollment, signal),
            Self::Postgres(postgres) => postgres.order(enrollment, signal).await,
        }
    }

    /// A person of ours gives an order about a campaign.
    pub async fn order_campaign(&self, campaign: CampaignId, verb: CampaignVerb) {
        match self {
            Self::Memory(memory) => memory.order_campaign(campaign, verb),
            Self::Postgres(postgres) => postgres.order_campaign(campaign, verb).await,
        }
    }

    /// A person of ours says whether a send in review went, or orders another attempt.
    pub async fn review(&self, enrollment: EnrollmentId, went: Went) {
        match self {
            Self::Memory(memory) => memory.review(enrollment, went),
            Self::Postgres(postgres) => postgres.review(enrollment, went).await,
        }
    }

    /// Data of the lead of an enrollment changes.
    pub async fn change(&self, enrollment: EnrollmentId, change: &LeadChange) {
        match self {
            Self::Memory(memory) => memory.change(enrollment, change),
            Self::Postgres(postgres) => postgres.change(enrollment, change).await,
        }
    }

    /// A person lets every sender send again. In memory none ever stops.
    pub async fn resume_senders(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Postgres(postgres) => postgres.resume_senders().await,
        }
    }

    /// Tells the provider how to answer the leads' messages from now on.
    pub async fn script(&self, script: Script) {
        match self {
            Self::Memory(memory) => memory.script(script),
            Self::Postgres(postgres) => postgres.script(script).await,
        }
    }

    /// The provider answers the calls it holds, accepting them.
    pub async fn release(&self) {
        match self {
            Self::Memory(memory) => memory.release(),
            Self::Postgres(postgres) => postgres.release().await,
        }
    }

    /// Mail that arrives is stored, but nobody reads it until it is read again.
    pub async fn read_mail(&self, reading: Reading) {
        match self {
            Self::Memory(memory) => memory.read_mail(reading),
            Self::Postgres(postgres) => postgres.read_mail(reading).await,
        }
    }

    /// Spoils the stored snapshot of an enrollment.
    pub async fn spoil(&self, enrollment: EnrollmentId) {
        match self {
            Self::Memory(memory) => memory.spoil(enrollment),
            Self::Postgres(postgres) => postgres.spoil(enrollment).await,
        }
    }

    /// Returns the campaign time.
    pub async fn now(&self) -> DateTime<Utc> {
        match self {
            Self::Memory(memory) => memory.now(),
            Self::Postgres(postgres) => postgres.now().await,
        }
    }

    /// Moves the campaign clock forward; nothing happens by itself.
    pub async fn move_clock(&self, to: DateTime<Utc>) {
        match self {
            Self::Memory(memory) => memory.move_clock(to),
            Self::Postgres(postgres) => postgres.move_clock(to).await,
        }
    }

    /// Returns when something falls due next, later than now.
    pub async fn next_due(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Memory(memory) => memory.next_due(),
            Self::Postgres(postgres) => postgres.next_due().await,
        }
    }

    /// What comes in from now on is not looked at, where leads wake by timers.
    pub async fn hold_up(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Postgres(postgres) => postgres.hold_up().await,
        }
    }

    /// What has come in is looked at.
    pub async fn go_on(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Postgres(postgres) => postgres.go_on().await,
        }
    }

    /// Lets everything happen that is due now: turns, gates, calls, records.
    pub async fn settle(&self) {
        match self {
            Self::Memory(memory) => memory.settle(),
            Self::Postgres(postgres) => postgres.settle().await,
        }
    }

    /// Returns what there is to see of one enrollment.
    pub async fn sight(&self, enrollment: EnrollmentId) -> Sight {
        match self {
            Self::Memory(memory) => memory.sight(enrollment),
            Self::Postgres(postgres) => postgres.sight(enrollment).await,
        }
    }

    /// Returns every enrollment, in the order of enrolling.
    pub async fn sights(&self) -> Vec<Sight> {
        match self {
            Self::Memory(memory) => memory.sights(),
            Self::Postgres(postgres) => postgres.sights().await,
        }
    }

    /// Returns the mails to our own people.
    pub async fn team_mails(&self) -> Vec<Mail> {
        match self {
            Self::Memory(memory) => memory.team_mails(),
            Self::Postgres(postgres) => postgres.team_mails().await,
        }
    }

    /// Returns what breaks an invariant: one accept for each send, quotas as counted, nothing
    /// planned for leads that are over, nothing sent to suppressed addresses, and journals that
    /// replay to what is stored.
    pub async fn faults(&self) -> Vec<String> {
        match self {
            Self::Memory(memory) => memory.faults(),
            Self::Postgres(postgres) => postgres.faults().await,
        }
    }
}

/// What a person says about a send nobody knows about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// It went.
    Yes,
    /// It did not, and is to be tried again.
    No,
}

/// Whether stored mail is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As it arrives.
    AtOnce,
    /// Not yet.
    Stopped,
}
