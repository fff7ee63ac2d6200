//! The workers of a process: one for the workflows of leads and their turns, one for each channel's sends.
//! Each has a thread of its own: the workflows of one worker all run on one.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use activities::mailroom::Mailroom;
use temporalio_client::Client;
use temporalio_sdk::error::{
    RuntimeError, WorkerCreateError, WorkerRunError, WorkflowRegistrationError,
};
use temporalio_sdk::runtime::RuntimeOptions;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::activities::{Sends, Turns};
use super::lines::Lines;
use super::meter;
use super::outage::Outage;
use super::workflow::Lead;
use super::{PerSecond, Settings};

/// How long activities may go on when the process ends, before they are told to.
const GRACE: Duration = Duration::from_secs(20);

/// How many sends a worker of a channel has at once. One that waits for its mailbox's line holds one too,
/// and must not keep those of other mailboxes away.
const SEND_SLOTS: usize = 500;

/// Of tasks that the worker of a channel never gets.
const OTHER_SLOTS: usize = 1;

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[error("the worker of {queue} ended")]
pub(crate) struct Ended {
    queue: String,
    #[source]
    why: Why,
}

/// What ended a worker.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("its workflow cannot be registered")]
    Workflow(#[source] WorkflowRegistrationError),
    #[error("there is no thread for it")]
    Thread(#[source] io::Error),
    #[error("the SDK does not start")]
    Runtime(#[source] RuntimeError),
    #[error("it cannot be made")]
    Made(#[source] WorkerCreateError),
    #[error("it failed")]
    Run(#[source] WorkerRunError),
    #[error("it stopped by itself")]
    ByItself,
}

/// The workers that run.
pub(crate) struct Workers {
    /// Each with its queue.
    ends: Vec<(String, oneshot::Receiver<Result<(), Ended>>)>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Dropped, it tells them to stop.
    stop: DropGuard,
    /// Told when the process ends.
    ending: CancellationToken,
}

impl Workers {
    /// Starts them.
    pub(crate) fn start(
        client: &Client,
        mailroom: &Mailroom,
        settings: &Settings,
    ) -> Result<Self, Ended> {
        let lines = Arc::new(Lines::new(settings.calls_per_mailbox));
        let outage = Arc::new(Outage::default());
        let queue = |name: &str| format!("{}-{name}", settings.queues);
        let ending = CancellationToken::new();
        let stop = ending.clone().drop_guard();
        let mut workers = Self { ends: Vec::new(), threads: Vec::new(), stop, ending };
        let leads = queue("leads");
        let options = WorkerOptions::new(leads.clone())
            .register_workflow::<Lead>()
            .map_err(|error| Ended { queue: leads.clone(), why: Why::Workflow(error) })?
            .register_activities(Turns::new(mailroom.clone(), Arc::clone(&outage)))
            .max_cached_workflows(settings.cached_workflows)
            .graceful_shutdown_period(GRACE)
            .build();
        workers.add(leads, client.clone(), options)?;
        for (name, limit) in
            [("email", settings.email_per_second), ("sms", settings.sms_per_second)]
        {
            let ending = workers.ending.clone();
            let (lines, outage) = (Arc::clone(&lines), Arc::clone(&outage));
            let sends = Sends::new(mailroom.clone(), lines, outage, ending);
            let options = of_sends(queue(name), sends, limit);
            workers.add(queue(name), client.clone(), options)?;
        }
        Ok(workers)
    }

    fn add(&mut self, queue: String, client: Client, options: WorkerOptions) -> Result<(), Ended> {
        let (end, ends) = oneshot::channel();
        let (handle, stop, name) = (Handle::current(), self.ending.clone(), queue.clone());
        let work = move || {
            let done = handle.block_on(run(client, options, stop));
            let done = done.map_err(|why| Ended { queue: name, why });
            // Nobody waits for it when the process ends.
            let _ = end.send(done);
        };
        let thread = thread::Builder::new().name(queue.clone()).spawn(work);
        let failed = |error| Ended { queue: queue.clone(), why: Why::Thread(error) };
        self.threads.push(thread.map_err(failed)?);
        self.ends.push((queue, ends));
        Ok(())
    }

    /// Waits until one ends before it was told to.
    pub(crate) async fn ended(&mut self) -> Ended {
        let ends = self.ends.iter_mut().map(|(_, end)| end);
        let (done, index, _) = futures::future::select_all(ends).await;
        let (queue, _) = self.ends.swap_remove(index);
        match done {
            Ok(Err(ended)) => ended,
            Ok(Ok(())) | Err(_) => Ended { queue, why: Why::ByItself },
        }
    }

    /// Stops them in order: nothing new is taken, and what is under way finishes.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().all(|thread| thread.join().is_ok())
        });
        if !joined.await.unwrap_or(false) {
            tracing::error!("a worker for Temporal panicked");
        }
    }
}

/// The worker of a channel.
fn of_sends(queue: String, sends: Sends, limit: Option<PerSecond>) -> WorkerOptions {
    let slots = FixedSizeSlotSupplier::new;
    let tuner = TunerHolder::builder()
        .activity_task_slot_supplier(slots(SEND_SLOTS))
        .workflow_task_slot_supplier(slots(OTHER_SLOTS))
        .local_activity_task_slot_supplier(slots(OTHER_SLOTS))
        .nexus_task_slot_supplier(slots(OTHER_SLOTS))
        .build();
    WorkerOptions::new(queue)
        .register_activities(sends)
        .tuner(tuner)
        .maybe_max_task_queue_activities_per_second(limit.map(PerSecond::get))
        .graceful_shutdown_period(GRACE)
        .build()
}

async fn run(client: Client, options: WorkerOptions, stop: CancellationToken) -> Result<(), Why> {
    let runtime = RuntimeOptions::builder()
        .telemetry_options(meter::of_workers())
        .heartbeat_interval(None)
        .build()
        .expect("only an interval can be wrong, and there is none");
    let runtime = Runtime::from_current_tokio(runtime).map_err(Why::Runtime)?;
    let mut worker = Worker::new(&runtime, client, options).map_err(Why::Made)?;
    let end = worker.shutdown_handle();
    let mut running = std::pin::pin!(worker.run());
    let done = tokio::select! {
        done = &mut running => done,
        () = stop.cancelled() => {
            end();
            running.await
        }
    };
    done.map_err(Why::Run)
}
