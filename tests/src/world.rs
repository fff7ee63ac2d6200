//! The world the tests run in: campaigns, people, a provider, a team and a clock that tests move.
//!
//! Scenarios are written once, in sentences, against [`World`]; what carries them out is a
//! [`Backend`], one of a closed set. The memory backend drives the machine through turn, gate and
//! record as the product's protocol says and keeps the ledger's unique rules; it is never a
//! product engine. A backend answers facts; all judging is done here.

mod agent;
mod backend;
mod mail_server;
mod memory;
mod names;
mod news;
mod person;
mod postgres;
mod provider;
mod sequence;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use activities::agents::roster::Absence;
use chrono::{DateTime, TimeDelta, Utc};
use machine::explain::Shown;
use machine::ids::CampaignId;
use machine::outcome::Outcome;
use machine::signal::ResumeRule;

pub use agent::{Agent, agent};
pub use backend::{ANSWER, Backend, CampaignVerb, Mail, Sent, Sight};
pub use machine::calendar::Weekday;
pub use machine::signal::HandoverResult;
pub use news::{Author, LeadChange, News};
pub use person::{Lead, Person, lead};
pub use provider::{Provider, Script};
pub use sequence::{
    FALLBACK, OWNER, Sender, Sequence, WEEKDAYS, days, hours, minutes, sender, sequence,
};

/// When every world begins: a Monday, eight o'clock in Lisbon.
pub const BEGINNING: &str = "2026-03-02T08:00:00Z";

/// How many moments one move of the clock may pass through: a world that is busier never rests.
const MOMENTS_MAX: usize = 20_000;

/// A world. Cheap to clone: every clone is the same world.
#[derive(Clone)]
pub struct World {
    backend: Arc<Backend>,
    people: Arc<AtomicUsize>,
    last: Arc<std::sync::Mutex<Option<CampaignId>>>,
    competing: Arc<AtomicBool>,
    /// Whether nobody waits for what comes of an order or of news.
    held_up: Arc<AtomicBool>,
}

/// A campaign of the world.
pub struct Campaign {
    world: World,
    id: CampaignId,
}

/// What a scenario came to, the same on every backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// What became of each enrollment, in the order of enrolling.
    pub fates: Vec<Fate>,
    /// The mails to our own people, in order.
    pub told: Vec<Mail>,
    /// Whether leads competed for something.
    pub is_of_competitors: bool,
}

impl Transcript {
    /// The same, where it does not matter which of the leads that competed had which fate: when something
    /// was sent to somebody, and how many ended in which way.
    fn of_nobody_by_name(mut self) -> Self {
        if self.is_of_competitors {
            for sent in self.fates.iter_mut().flat_map(|fate| &mut fate.received) {
                (sent.to, sent.step, sent.variant) = (String::new(), String::new(), None);
            }
            self.fates.sort_by_cached_key(|fate| format!("{fate:?}"));
        }
        self
    }
}

/// What became of an enrollment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// The messages the lead received, in order.
    pub received: Vec<Sent>,
    /// The word for where it is at the end.
    pub state: Shown,
    /// How it ended, if it did.
    pub outcome: Option<Outcome>,
}

/// Runs a scenario on `backend` and in memory: what it comes to must be the same.
pub async fn run_as_in_memory<S, F>(backend: Backend, scenario: S)
where
    S: Fn(World) -> F,
    F: Future<Output = ()>,
{
    let mut expected = run(backend.in_memory(), &scenario).await;
    let takes_each_alone = backend.takes_each_lead_alone();
    let mut transcript = run(backend, &scenario).await;
    if takes_each_alone {
        (expected, transcript) = (expected.of_nobody_by_name(), transcript.of_nobody_by_name());
    }
    for (number, (fate, expected)) in transcript.fates.iter().zip(&expected.fates).enumerate() {
        assert_eq!(fate, expected, "lead {number} went another way than in memory");
    }
    assert_eq!(transcript, expected, "it went another way than in memory");
}

/// Runs a scenario in a world of its own, and judges what it leaves behind.
async fn run<S, F>(backend: Backend, scenario: S) -> Transcript
where
    S: FnOnce(World) -> F,
    F: Future<Output = ()>,
{
    let world = World::on(backend);
    scenario(world.clone()).await;
    world.settle().await;
    let transcript = world.finish().await;
    world.backend.close().await;
    transcript
}

impl World {
    /// Returns a world carried out by `backend`.
    pub fn on(backend: Backend) -> Self {
        Self {
            backend: Arc::new(backend),
            people: Arc::default(),
            last: Arc::default(),
            competing: Arc::default(),
            held_up: Arc::default(),
        }
    }

    /// A campaign is applied and started.
    pub async fn given(&self, sequence: Sequence) -> Campaign {
        let sender = sequence.sender.clone();
        let id = self.backend.start(&sequence.into_document(), &sender).await;
        *self.last.lock().expect("no test holds it across a panic") = Some(id);
        Campaign { world: self.clone(), id }
    }

    /// Several leads want the same thing at the same moment, a place of the day or the one refusal. Which
    /// of them gets it is for whoever drives them to say; that one does, and what becomes of the
    /// others, is not.
    pub fn leads_compete(&self) {
        self.competing.store(true, Ordering::Relaxed);
    }

    /// Agents join the team.
    pub async fn agents(&self, agents: impl IntoIterator<Item = Agent>) {
        for agent in agents {
            self.backend.hire(&agent).await;
        }
    }

    /// An agent takes no leads from now on, until `until`, given as `2026-03-29T01:30:00Z`.
    pub async fn agent_is_away(&self, name: &str, until: &str) {
        let (from, until) = (self.now().await, Some(until.parse().expect("a time")));
        self.backend.leave(name, Absence { from, until }).await;
    }

    /// The agents were mailed in this order, by their names.
    pub async fn agents_were_told(&self, names: &[&str]) {
        let mut mails = self.backend.team_mails().await;
        mails.retain(|mail| mail.to != OWNER && mail.to != FALLBACK);
        let expected: Vec<String> = names.iter().map(|name| agent::address(name)).collect();
        let told: Vec<&String> = mails.iter().map(|mail| &mail.to).collect();
        assert_eq!(told, expected.iter().collect::<Vec<_>>(), "{mails:#?}");
    }

    /// A person enters the campaign that was given last.
    pub async fn enrolls(&self, lead: impl Into<Lead>) -> Person {
        let last = *self.last.lock().expect("no test holds it across a panic");
        self.enrolls_in(last.expect("a campaign was given"), lead).await
    }

    async fn enrolls_in(&self, campaign: CampaignId, lead: impl Into<Lead>) -> Person {
        let lead = lead.into();
        let enrollment = self.backend.enroll(campaign, &lead).await;
        self.people.fetch_add(1, Ordering::Relaxed);
        self.settle().await;
        Person::new(self.clone(), enrollment)
    }

    /// Time passes, and everything that falls due happens at its time.
    pub async fn after(&self, time: TimeDelta) {
        let then = self.now().await + time;
        self.at(then).await;
    }

    /// Time passes until `then`, given as `2026-03-29T01:30:00Z`.
    pub async fn until(&self, then: &str) {
        self.at(then.parse().expect("a time")).await;
    }

    async fn at(&self, then: DateTime<Utc>) {
        for _ in 0..MOMENTS_MAX {
            self.settle().await;
            match self.backend.next_due().await {
                Some(due) if due <= then => self.backend.move_clock(due).await,
                Some(_) | None => {
                    self.backend.move_clock(then).await;
                    return self.settle().await;
                }
            }
        }
        panic!("the world does not come to rest before {then}");
    }

    /// Returns the campaign time.
    pub async fn now(&self) -> DateTime<Utc> {
        self.backend.now().await
    }

    /// A person lets every sender send again that its provider made stop.
    pub async fn senders_are_resumed(&self) {
        self.backend.resume_senders().await;
        self.settle().await;
    }

    /// Everything that is due now happens.
    pub async fn settle(&self) {
        if !self.held_up.load(Ordering::Relaxed) {
            self.backend.settle().await;
        }
    }

    /// All that `deeds` does has come in before the test waits for what comes of it. Where the test drives
    /// leads itself, or they wake by timers, none of it is looked at before.
    pub async fn at_once(&self, deeds: impl Future<Output = ()>) {
        self.settle().await;
        self.held_up.store(true, Ordering::Relaxed);
        self.backend.hold_up().await;
        deeds.await;
        self.backend.go_on().await;
        self.held_up.store(false, Ordering::Relaxed);
        self.settle().await;
    }

    /// The provider that takes the leads' messages.
    pub fn provider(&self) -> Provider {
        Provider::new(self.clone())
    }

    /// The owner was mailed `times` times.
    pub async fn owner_was_told(&self, times: usize) {
        self.was_told(OWNER, times).await;
    }

    /// The fallback was mailed `times` times.
    pub async fn fallback_was_told(&self, times: usize) {
        self.was_told(FALLBACK, times).await;
    }

    async fn was_told(&self, who: &str, times: usize) {
        let mails = self.backend.team_mails().await;
        let told: Vec<&Mail> = mails.iter().filter(|mail| mail.to == who).collect();
        assert_eq!(told.len(), times, "{who} was told {told:#?}");
    }

    /// Judges what is left: nothing is unanswered, and the ledger keeps its rules.
    async fn finish(&self) -> Transcript {
        let sights = self.backend.sights().await;
        assert_eq!(sights.len(), self.people.load(Ordering::Relaxed), "people were lost");
        for sight in &sights {
            assert!(sight.unanswered.is_empty(), "left unanswered: {sight:#?}");
        }
        let faults = self.backend.faults().await;
        assert!(faults.is_empty(), "{faults:#?}");
        let fate = |sight: Sight| Fate {
            received: sight.sends,
            state: sight.state,
            outcome: sight.outcome,
        };
        let mut told = self.backend.team_mails().await;
        told.sort_by(|one, other| (one.at, &one.to).cmp(&(other.at, &other.to)));
        Transcript {
            fates: sights.into_iter().map(fate).collect(),
            told,
            is_of_competitors: self.competing.load(Ordering::Relaxed),
        }
    }
}

impl Campaign {
    /// A person enters it.
    pub async fn enrolls(&self, lead: impl Into<Lead>) -> Person {
        self.world.enrolls_in(self.id, lead).await
    }

    /// It is paused.
    pub async fn pause(&self) {
        self.order(CampaignVerb::Pause).await;
    }

    /// It is paused at the moment at which the provider answers the calls in flight, so that no
    /// lead has heard of the one before the other.
    pub async fn pause_as_the_provider_answers(&self) {
        self.world.backend.order_campaign(self.id, CampaignVerb::Pause).await;
        self.world.provider().answers().await;
    }

    /// It is resumed.
    pub async fn resume(&self, rule: ResumeRule) {
        self.order(CampaignVerb::Resume(rule)).await;
    }

    /// It is stopped for good.
    pub async fn stop(&self) {
        self.order(CampaignVerb::Stop).await;
    }

    async fn order(&self, verb: CampaignVerb) {
        self.world.backend.order_campaign(self.id, verb).await;
        self.world.settle().await;
    }
}

/// Runs each scenario on every backend, as `memory::name` and so on, and compares what it came to
/// with what it came to in memory.
///
/// The list of backends stands in one line below; a scenario knows none of them.
#[macro_export]
macro_rules! scenarios {
    ($($(#[$meta:meta])* async fn $name:ident($world:ident: World) $body:block)*) => {
        $($(#[$meta])* async fn $name($world: $crate::world::World) $body)*

        $crate::scenarios!(@on [memory postgres postgres_twice temporal] ($($name)*));
    };
    (@on [$($backend:ident)*] $names:tt) => {
        $($crate::scenarios!(@backend $backend $names);)*
    };
    (@backend $backend:ident ($($name:ident)*)) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let backend = $crate::world::Backend::$backend().await;
                    $crate::world::run_as_in_memory(backend, super::$name).await;
                }
            )*
        }
    };
}
