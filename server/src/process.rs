//! A process that runs leads: the database, the engine and HTTP, started in this order and stopped
//! in the other one, so that nothing loses the ground it stands on.

use std::net::SocketAddr;

use activities::engine::Engine;
use activities::mailroom::Mailroom;
use activities::store::engines;
use anyhow::Context as _;
use postgres_runner::{Runner, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Config, Database};
use crate::metrics::Metrics;
use crate::serve::connections::Limits;
use crate::serve::{self, Routes, Server};
use crate::session::Session;
use crate::temporal_server::TemporalServer;
use crate::workflow_pages::WorkflowPages;

/// A running process.
pub struct Process {
    session: Session,
    running: Running,
}

/// What of a process runs beside its database.
struct Running {
    runner: Runner,
    temporal: Option<Temporal>,
    servers: Vec<Server>,
    address: Option<SocketAddr>,
}

/// The engine that works through Temporal.
struct Temporal {
    runner: temporal_runner::Runner,
    /// A development server of our own, where nobody named one.
    server: Option<TemporalServer>,
}

/// What of HTTP a process answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// Everything.
    All,
    /// Health and metrics only.
    Probes,
    /// Nothing.
    Off,
}

impl Process {
    /// Starts the engine on an open database, and HTTP beside it.
    ///
    /// # Errors
    ///
    /// When the address is taken or the database fails. What was opened is closed then.
    pub async fn start(
        mut session: Session,
        mut config: Config,
        http: Http,
    ) -> anyhow::Result<Self> {
        session.keep_database(&config);
        match Self::begin(&session, &mut config, http).await {
            Ok(running) => Ok(Self { session, running }),
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    async fn begin(session: &Session, config: &mut Config, http: Http) -> anyhow::Result<Running> {
        let listener = match http {
            Http::All | Http::Probes => Some(serve::bind(config.listen).await?),
            Http::Off => None,
        };
        if let Some(listener) = &listener {
            // Of port 0 the operating system made another one.
            config.listen = listener.local_addr().context("a listener has an address")?;
        }
        let metrics_listener = match config.metrics_listen {
            Some(address) => Some(serve::bind(address).await?),
            None => None,
        };
        let metrics = Metrics::install().context("metrics cannot be counted")?;
        let room = session.mailroom(config)?;
        // First, for it may be refused, and nothing has begun yet.
        let temporal = match config.engine {
            Some(Engine::Temporal) => Some(Temporal::start(room.clone(), config).await?),
            Some(Engine::Postgres) | None => None,
        };
        if let Some(engine) = config.engine {
            let mut tx = session.store.begin_outside().await?;
            engines::make_usual(&mut tx, engine).await?;
            tx.commit().await?;
        }
        if temporal.is_none() {
            tell_of_temporal(session).await?;
        }
        let runner = Runner::start(room.clone(), Settings::default())
            .await
            .context("the engine did not start")?;
        let open = match http {
            Http::All => Some(config.proxies.clone()),
            Http::Probes | Http::Off => None,
        };
        let workflows = WorkflowPages::find_or_warn(config);
        let address = listener.as_ref().map(|_| config.listen);
        let answered = [
            (listener, Routes { open, metrics: metrics_listener.is_none(), workflows }),
            (metrics_listener, Routes { open: None, metrics: true, workflows: None }),
        ];
        let servers = answered.into_iter().filter_map(|(listener, routes)| {
            let router = serve::router(&room, metrics.clone(), runner.ready(), routes);
            Some(Server::start(listener?, router, Limits::default()))
        });
        let servers = servers.collect();
        Ok(Running { runner, temporal, servers, address })
    }

    /// Returns what it works on.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns where it answers, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.running.address
    }

    /// Tells whether turns run.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.running.runner.ready()
    }

    /// Stops: no new work, calls under way finish, then HTTP, then the database.
    pub async fn stop(self) {
        let Running { runner, temporal, servers, address: _ } = self.running;
        // The other engine shows that this process lives, as long as this one has calls under way.
        if let Some(temporal) = temporal {
            temporal.stop().await;
        }
        runner.drain().await;
        for server in servers {
            server.stop().await;
        }
        self.session.close().await;
    }
}

/// Tells who runs no worker of Temporal that there are leads for one.
async fn tell_of_temporal(session: &Session) -> anyhow::Result<()> {
    let mut tx = session.store.begin_outside().await?;
    let relayed = engines::relayed_workspaces(&mut tx).await?;
    tx.commit().await?;
    if !relayed.is_empty() {
        tracing::warn!(
            "Temporal drives leads here, and this process does not work for it: they stand still unless \
             another one runs with --engine temporal"
        );
    }
    Ok(())
}

impl Temporal {
    /// Starts the engine, on a development server where nobody named one.
    async fn start(room: Mailroom, config: &Config) -> anyhow::Result<Self> {
        let server = match temporal_runner::address()? {
            Some(_) => None,
            None => {
                if let Database::Url(_) = config.database {
                    tracing::warn!(
                        "nobody says where Temporal is: a development server of our own is used, \
                         which no process of another machine or data directory shares; set \
                         TEMPORAL_ADDRESS where there are several"
                    );
                }
                Some(TemporalServer::start(&config.data_dir).await?)
            }
        };
        let usual = temporal_runner::Settings::default();
        let settings = temporal_runner::Settings {
            address: server.as_ref().map(|server| server.address().clone()),
            queues: config.temporal_queues.clone().unwrap_or(usual.queues),
            email_per_second: config.temporal_email_per_second,
            sms_per_second: config.temporal_sms_per_second,
            ..usual
        };
        let runner = temporal_runner::Runner::start(room, settings)?;
        Ok(Self { runner, server })
    }

    /// Stops: calls under way finish, then the server goes, if it is ours.
    async fn stop(self) {
        self.runner.drain().await;
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}

/// The wish that the process end. Listened for before anything starts, so that it is never cut off in
/// the middle of a call.
pub struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// When signals cannot be heard.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        })
    }

    /// Waits until somebody wants the process to end.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
