//! Keeping the server there for as long as a process lives off it. Whoever started it may be a command
//! that ends in a moment; then one of those that were attached starts it anew, on the same port.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{PrivatePostgres, Settings, start};

/// How often it is looked whether the server is there.
const LOOK: Duration = Duration::from_millis(500);

/// How long to wait after a start that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// A private Postgres that is started again when it goes.
#[derive(Debug)]
pub struct Keeper {
    stop: CancellationToken,
    task: JoinHandle<PrivatePostgres>,
}

impl Keeper {
    /// Watches over `postgres`, which was started with `settings`.
    pub fn new(postgres: PrivatePostgres, settings: Settings) -> Self {
        let stop = CancellationToken::new();
        let told = stop.clone();
        let task = tokio::spawn(async move {
            let mut postgres = postgres;
            // Dropped in the middle of a start, the half-started server goes as well.
            let _stopped = told.run_until_cancelled(keep(&mut postgres, &settings)).await;
            postgres
        });
        Self { stop, task }
    }

    /// Stops watching, then the server, if it is ours to stop.
    pub async fn stop(self) {
        self.stop.cancel();
        match self.task.await {
            Ok(postgres) => postgres.stop().await,
            Err(error) => tracing::error!(%error, "nobody watched over the private Postgres"),
        }
    }
}

async fn keep(postgres: &mut PrivatePostgres, settings: &Settings) {
    loop {
        sleep(LOOK).await;
        if postgres.is_running() {
            continue;
        }
        tracing::warn!(postgres.pid = postgres.pid(), "the private Postgres is gone: starting it");
        match start(settings.clone()).await {
            Ok(anew) => {
                if anew.url() != postgres.url() {
                    tracing::error!(
                        "the private Postgres has another port now: end this process and start it again"
                    );
                }
                *postgres = anew;
            }
            Err(error) => {
                tracing::error!(error = told(&error), "the private Postgres does not start");
                sleep(PAUSE).await;
            }
        }
    }
}

fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
