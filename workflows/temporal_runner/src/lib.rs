//! Drives turns and effects from workflows in Temporal.
//!
//! Postgres holds the lead: a workflow only says when to look at it, and where a send runs. It beats its
//! time with one timer, hears pokes, and has done what a turn found open. A relay starts and pokes
//! workflows from rows, so that nothing is lost while Temporal is away. The process that runs this one
//! runs the Postgres engine too, which shows that it lives and does the chores for all.

pub mod activities;
mod connection;
pub mod histories;
pub mod lenient;
mod lines;
pub mod meter;
pub mod onlooker;
mod outage;
pub mod payloads;
mod poked;
mod relay;
mod search_attributes;
mod worker;
pub mod workflow;

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::{Duration, Instant};

use ::activities::engine::Engine;
use ::activities::error::chain;
use ::activities::mailroom::Mailroom;
use temporalio_client::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

pub use connection::{ConnectionError, address, answers, namespace, probe};
pub use payloads::workflow_id;
pub use search_attributes::NAMES as SEARCH_ATTRIBUTES;

/// The longest wait between two attempts to reach Temporal.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Workers that ran for so long were well.
const STEADY: Duration = Duration::from_secs(60);

/// How the leads of Temporal are driven.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where Temporal is; where nothing is said, as its own programs are told.
    pub address: Option<Url>,
    /// What the names of task queues begin with.
    pub queues: String,
    /// How many calls one mail account may have open.
    pub calls_per_mailbox: usize,
    /// How many workflows a worker remembers; a larger number makes it slower.
    pub cached_workflows: usize,
    /// How fast Temporal hands out mails.
    pub email_per_second: Option<PerSecond>,
    /// How fast Temporal hands out texts.
    pub sms_per_second: Option<PerSecond>,
}

/// How many activities of a queue Temporal hands out in a second, to all processes together: more than
/// none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerSecond(f64);

/// The text is no such number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number above 0: write it like 20 or 0.5")]
pub struct InvalidPerSecond(String);

impl PerSecond {
    /// Returns the number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for PerSecond {
    type Err = InvalidPerSecond;

    fn from_str(text: &str) -> Result<Self, InvalidPerSecond> {
        match text.parse::<f64>() {
            Ok(number) if number > 0.0 && number.is_finite() => Ok(Self(number)),
            Ok(_) | Err(_) => Err(InvalidPerSecond(text.to_owned())),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: None,
            queues: "meridian".to_owned(),
            calls_per_mailbox: 1,
            cached_workflows: 800,
            email_per_second: None,
            sms_per_second: None,
        }
    }
}

/// A running engine. Dropped, it stops without waiting; [`Runner::drain`] stops it in order.
pub struct Runner {
    stop: DropGuard,
    driving: JoinHandle<()>,
}

impl Runner {
    /// Starts driving, now or as soon as Temporal answers.
    ///
    /// # Errors
    ///
    /// When what is said of Temporal does not read well, or names a file that is not there.
    pub fn start(mailroom: Mailroom, settings: Settings) -> Result<Self, ConnectionError> {
        connection::address()?;
        let stop = CancellationToken::new();
        let mailroom = mailroom.driven_by(Engine::Temporal);
        let driving = tokio::spawn(drive(mailroom, settings, stop.clone()));
        Ok(Self { stop: stop.drop_guard(), driving })
    }

    /// Stops in order: no more pokes and new work, and calls under way finish and are recorded.
    pub async fn drain(self) {
        drop(self.stop);
        if let Err(error) = self.driving.await {
            tracing::error!(%error, "the Temporal engine panicked");
        }
    }
}

/// Connects, works until it is told to stop, and begins again when a worker ends by itself.
async fn drive(mailroom: Mailroom, settings: Settings, stop: CancellationToken) {
    let mut trouble: u32 = 0;
    let mut said = BTreeSet::new();
    while !stop.is_cancelled() {
        let identity = format!("meridian/{}", mailroom.runner);
        let connected = tokio::select! {
            connected = connection::connect(settings.address.as_ref(), identity) => connected,
            () = stop.cancelled() => return,
        };
        let began = Instant::now();
        let error = match connected {
            Ok(client) => match work(client, &mailroom, &settings, &stop).await {
                Ok(()) => return,
                Err(error) => chain(&error),
            },
            Err(error) => chain(&error),
        };
        if began.elapsed() > STEADY {
            trouble = 0;
            said.clear();
        }
        // Each cause is said once: it may be away for days.
        if said.insert(error.clone()) {
            tracing::error!(error, "the Temporal engine does not run; trying again until it does");
        }
        trouble = trouble.saturating_add(1);
        tokio::select! {
            () = tokio::time::sleep(AGAIN_MAX.min(Duration::from_millis(250 << trouble.min(8)))) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Works until it is told to stop.
async fn work(
    client: Client,
    mailroom: &Mailroom,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<(), worker::Ended> {
    let namespace = client.options().namespace.clone();
    let labelled = tokio::select! {
        labelled = search_attributes::ensure(client.connection(), &namespace) => labelled,
        () = stop.cancelled() => return Ok(()),
    };
    let poking = stop.child_token();
    let mut workers = worker::Workers::start(&client, mailroom, settings)?;
    let relay = relay::Relay {
        mailroom: mailroom.clone(),
        client,
        queues: settings.queues.clone(),
        labelled,
        stop: poking.clone(),
    };
    let relaying = tokio::spawn(relay.run());
    tracing::info!(
        temporal.namespace = namespace,
        temporal.queues = settings.queues,
        "Temporal drives leads"
    );
    let ended = tokio::select! {
        ended = workers.ended() => Err(ended),
        () = stop.cancelled() => Ok(()),
    };
    // No more pokes, then no more work.
    poking.cancel();
    if let Err(error) = relaying.await {
        tracing::error!(%error, "the relay panicked");
    }
    workers.stop().await;
    ended
}
