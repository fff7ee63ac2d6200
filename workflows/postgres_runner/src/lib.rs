//! Drives turns and effects from due rows in Postgres.
//!
//! Turns run in batches, woken by a notification or by the next due time, never by polling. What a
//! turn asks for is handed over in memory; the stored rows are for recovery. Several processes may
//! share one database: rows are taken with SKIP LOCKED, and a runner that falls silent has its
//! calls swept by the others, or by itself when it comes back.

mod caller;
mod halves;
mod housekeeping;
mod lanes;
mod plans;
mod pump;
mod recovery;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use activities::error::Result;
use activities::life;
use activities::mailroom::Mailroom;
use activities::send::Recorded;
use activities::store::bell;
use activities::turn::Turned;
use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use machine::ids::{EnrollmentId, SendId, WorkspaceId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Span;

/// How a runner works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many transactions of turns may run at once: as many as there are cores.
    pub writers: usize,
    /// How many enrollments one turn takes.
    pub batch: usize,
    /// How many calls one mail account may have open.
    pub calls_per_mailbox: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let writers = std::thread::available_parallelism().map_or(2, usize::from);
        Self { writers, batch: 500, calls_per_mailbox: 1 }
    }
}

/// A running engine. Dropped, it stops without waiting; [`Runner::drain`] stops it in order.
pub struct Runner {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    ready: watch::Receiver<bool>,
}

/// What the tasks of a runner share.
struct Shared {
    mailroom: Mailroom,
    settings: Settings,
    lanes: lanes::Lanes,
    /// Rung when there may be turns to run.
    work: Notify,
    scout: tokio::sync::Mutex<pump::Scout>,
    /// A lead that is due before this time of the campaigns' clock is news to the scout; `None` while
    /// it will look anyway.
    news: Mutex<Option<DateTime<Utc>>>,
    /// Rung when there may be mail to read or orders to tell.
    chores: Notify,
    /// Rung when a campaign has something in store for many leads.
    plans: Notify,
    outcomes: mpsc::UnboundedSender<(WorkspaceId, Recorded, Span)>,
    lost: mpsc::UnboundedSender<(WorkspaceId, Vec<(EnrollmentId, SendId)>)>,
    /// Rung when open requests are to be looked at.
    look: Notify,
    /// Whether something was handed out that may have been lost on its way to memory.
    in_doubt: AtomicBool,
    stop: CancellationToken,
    ready: watch::Sender<bool>,
}

impl Runner {
    /// Starts driving.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached.
    pub async fn start(mailroom: Mailroom, settings: Settings) -> Result<Self> {
        let (outcomes, recorded) = mpsc::unbounded_channel();
        let (lost, swept) = mpsc::unbounded_channel();
        let (ready, is_ready) = watch::channel(false);
        let shared = Arc::new(Shared {
            lanes: lanes::Lanes::new(settings.calls_per_mailbox),
            mailroom,
            settings,
            work: Notify::new(),
            scout: tokio::sync::Mutex::default(),
            news: Mutex::default(),
            chores: Notify::new(),
            plans: Notify::new(),
            look: Notify::new(),
            outcomes,
            lost,
            in_doubt: AtomicBool::new(false),
            stop: CancellationToken::new(),
            ready,
        });
        life::beat(&shared.mailroom).await?;
        let mut listener = shared.mailroom.store.listen(bell::WORK).await?;
        listener.listen(bell::PLANS).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(housekeeping::listen(Arc::clone(&shared), listener));
        tasks.spawn(supervise(Arc::clone(&shared), housekeeping::keep_beating));
        tasks.spawn(supervise(Arc::clone(&shared), housekeeping::do_chores));
        tasks.spawn(supervise(Arc::clone(&shared), housekeeping::play_recipients));
        tasks.spawn(supervise(Arc::clone(&shared), plans::carry_out));
        tasks.spawn(supervise(Arc::clone(&shared), recovery::take_up_open));
        tasks.spawn(recovery::sweep_lost(Arc::clone(&shared), swept));
        tasks.spawn(caller::record_outcomes(Arc::clone(&shared), recorded));
        for _ in 0..shared.settings.writers {
            tasks.spawn(supervise(Arc::clone(&shared), pump::turn_due));
            tasks.spawn(caller::gate_asked(Arc::clone(&shared)));
        }
        Ok(Self { shared, tasks, ready: is_ready })
    }

    /// Tells whether turns run.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Rings the bell: there may be work.
    pub fn wake(&self) {
        self.shared.work.notify_one();
        self.shared.chores.notify_one();
        self.shared.plans.notify_one();
    }

    /// Stops in order: no new turns and gates, calls under way finish and are recorded, and the
    /// runner's name is taken off the list.
    pub async fn drain(mut self) {
        self.shared.ready.send_replace(false);
        // Before the stop: when the recorder sees that and nothing is under way, it ends.
        self.shared.lanes.close();
        self.shared.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        if let Err(error) = life::say_farewell(&self.shared.mailroom).await {
            tracing::warn!(error = activities::error::chain(&error), "could not sign off");
        }
    }
}

/// Runs a task until it ends by itself. One that panics begins again: a process that only looks alive
/// would be worse than none.
async fn supervise<F: Future<Output = ()>>(shared: Arc<Shared>, task: impl Fn(Arc<Shared>) -> F) {
    while AssertUnwindSafe(task(Arc::clone(&shared))).catch_unwind().await.is_err() {
        tracing::error!("a task of the engine panicked; it begins again");
        shared.doubt();
        shared.pause(Duration::from_secs(1)).await;
    }
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Notes that a transaction failed which may have been committed: what it handed out is in rows
    /// only, and is looked for.
    fn doubt(&self) {
        self.in_doubt.store(true, Ordering::Relaxed);
    }

    /// Passes on what a turn led to.
    fn take_up(&self, workspace: WorkspaceId, turned: Turned) {
        metrics::counter!("meridian_turns_total").increment(turned.taken as u64);
        metrics::counter!("meridian_transitions_total").increment(turned.applied as u64);
        if !turned.lost.is_empty() {
            // The receiver lives as long as the runner does.
            let _ = self.lost.send((workspace, turned.lost));
        }
        if !turned.asks.is_empty() {
            self.lanes.put(workspace, turned.asks);
        }
        if let Some(wake_at) = turned.next_wake {
            let news = *self.news.lock().expect("no holder panics");
            if news.is_some_and(|before| wake_at < before) {
                self.work.notify_one();
            }
        }
    }

    /// Says what is news to the scout from here on.
    fn look_before(&self, before: Option<DateTime<Utc>>) {
        *self.news.lock().expect("no holder panics") = before;
    }

    /// Waits, unless the runner stops first.
    async fn pause(&self, for_how_long: Duration) {
        tokio::select! {
            () = tokio::time::sleep(for_how_long) => {}
            () = self.stop.cancelled() => {}
        }
    }
}
