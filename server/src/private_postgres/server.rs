//! Getting at the server: attach to the one that runs on our files, or start one.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{
    PrivatePostgres, Settings, StartError,
    account::Account,
    binaries::Binaries,
    database,
    guardian::Guardian,
    holder::{self, Holder},
    patience::Patience,
    place::Place,
};

/// A port can be taken between our look and the server's; then we look again, this often.
const PORT_TRIES: u32 = 5;

/// What the server runs with, on the command line, so that a new release needs no edit of files.
const SERVER_SETTINGS: &[(&str, &str)] = &[
    // Only loopback and a password: a socket would add a path with a length limit and gain nothing.
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    // What an acknowledged write rests on. The program refuses a server without them.
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("max_connections", "100"),
    ("shared_buffers", "256MB"),
    // Fewer checkpoints, so fewer full pages in the log, and those compressed.
    ("max_wal_size", "2GB"),
    ("wal_compression", "on"),
    // Hot rows are rewritten several times in a lead's life: vacuum early and do not dawdle.
    ("autovacuum_vacuum_scale_factor", "0.02"),
    ("autovacuum_vacuum_cost_delay", "0"),
    // A forgotten transaction pins dead rows and slows every scan for due leads.
    ("idle_in_transaction_session_timeout", "60s"),
    // Due leads are read in index order: price random pages for the disks people have.
    ("random_page_cost", "1.1"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_lock_waits", "on"),
    // The detail of a violated key holds addresses, and erasing a lead does not reach this log.
    ("log_error_verbosity", "terse"),
];

/// Attaches to the server that runs on our files, or makes sure that none does.
///
/// "ready" in the server's own file is not enough: a server whose owner just died still says so. A
/// query is, and where none succeeds we wait for the server to go.
pub(super) async fn attach(
    place: &Place,
    name: &str,
    url: impl Fn(u16) -> String,
) -> Result<Option<PrivatePostgres>, StartError> {
    let mut patience = Patience::new();
    let mut last_answer = None;
    loop {
        let pid = match holder::look(&place.data)? {
            Holder::Nobody => return Ok(None),
            Holder::Server { pid, ready_port: Some(port) } => {
                match database::open(&url(port), name).await {
                    Ok(url) => {
                        tracing::info!(
                            postgres.pid = pid,
                            postgres.port = port,
                            "attached to the private Postgres"
                        );
                        let data = place.data.clone();
                        return Ok(Some(PrivatePostgres { url, data, pid, guardian: None }));
                    }
                    Err(error) if database::refuses_us(&error) => {
                        let data = place.data.clone();
                        return Err(StartError::NotAnswering { pid, data, source: Some(error) });
                    }
                    Err(error) => last_answer = Some(error),
                }
                pid
            }
            Holder::Server { pid, ready_port: None } | Holder::Remains { pid } => pid,
        };
        if patience.is_over("an earlier private Postgres to answer or to end") {
            let data = place.data.clone();
            return Err(StartError::NotAnswering { pid, data, source: last_answer });
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Starts the server as our child and waits until the database answers.
pub(super) async fn start(
    place: &Place,
    binaries: &Binaries,
    account: Option<&Account>,
    settings: &Settings,
    url: impl Fn(u16) -> String,
) -> Result<PrivatePostgres, StartError> {
    place.turn_log()?;
    let mut tries = 1;
    let (guardian, port) = loop {
        let port = free_port(place.last_port())?;
        let options = SERVER_SETTINGS
            .iter()
            .map(|&(name, value)| format!("{name}={value}"))
            .chain(settings.extra.iter().map(|(name, value)| format!("{name}={value}")))
            .chain([format!("port={port}")]);
        let guardian = Guardian::spawn(binaries, place, account, options)?;
        match until_ready(place, &guardian).await {
            Ok(()) => break (guardian, port),
            Err(StartError::Ended { .. }) if tries < PORT_TRIES && !is_free(port) => {
                tracing::info!(postgres.port = port, "somebody else took the port; trying another");
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    };
    place.remember_port(port)?;
    let url = database::open(&url(port), &settings.database)
        .await
        .map_err(|source| StartError::Database { name: settings.database.clone(), source })?;
    guardian.rely_on_it();
    let pid = guardian.pid();
    tracing::info!(
        postgres.pid = pid,
        postgres.port = port,
        postgres.major = binaries.major,
        postgres.data_dir = %place.data.display(),
        postgres.log = %place.log.display(),
        "started the private Postgres",
    );
    Ok(PrivatePostgres { url, data: place.data.clone(), pid, guardian: Some(guardian) })
}

/// The port of last time if it can be had, so that a client's notes stay true, else any.
fn free_port(last: Option<u16>) -> Result<u16, StartError> {
    if let Some(port) = last.filter(|port| is_free(*port)) {
        return Ok(port);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(StartError::NoPort)?;
    Ok(listener.local_addr().map_err(StartError::NoPort)?.port())
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Waits until our own child says that it is ready, or has ended.
async fn until_ready(place: &Place, guardian: &Guardian) -> Result<(), StartError> {
    let mut patience = Patience::new();
    loop {
        if let Ok(status) = timeout(Duration::from_millis(5), guardian.ended()).await {
            let tail = place.log_tail();
            return Err(StartError::Ended { status, log: place.log.clone(), tail });
        }
        if holder::is_ready(&place.data, guardian.pid()) {
            return Ok(());
        }
        if patience.is_over("the private Postgres to start; after a crash it first recovers") {
            return Err(StartError::NotReady { log: place.log.clone(), tail: place.log_tail() });
        }
    }
}
