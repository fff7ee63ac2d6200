//! A Temporal server that is not ours: the development server of Temporal's own program, on a database
//! file that outlives it, so that it can be killed and started again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tempfile::TempDir;
use temporal_runner::histories;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::until;
use crate::{cluster, janitor};

/// How long a server may take to answer.
const READY: Duration = Duration::from_secs(120);

/// More histories than a test leaves behind.
const HISTORIES_MAX: usize = 5_000;

/// What to do where there is none.
const FIX: &str = "run `scripts/setup temporal`, or \
                   `go install github.com/temporalio/cli/cmd/temporal@v1.5.1`, and put it on PATH";

/// The variable that names a server for the tests to share, on this machine. Not Temporal's own: whoever
/// has that set has workflows there.
const GIVEN: &str = "MERIDIAN_TEST_TEMPORAL";

/// Returns the server that the tests are to share, if there is one.
///
/// # Panics
///
/// When it is not on this machine.
pub fn given() -> Option<SocketAddr> {
    let address = std::env::var(GIVEN).ok()?;
    let address: SocketAddr = address.parse().expect("it is 127.0.0.1:PORT");
    assert!(address.ip().is_loopback(), "{GIVEN} is on another machine");
    Some(address)
}

/// The limits of senders whose campaign runs a day a second. Temporal's timers fire some hundred
/// milliseconds late, which are hours there: whoever has the last place of a day would miss it again and
/// again.
pub const LIMITS: [[&str; 2]; 2] = [["--spacing", "0 minutes"], ["--per-day", "10000"]];

/// Returns the settings of an installation whose leads are driven by the server at this address.
pub fn engine(address: &str) -> [(&str, &str); 2] {
    [("MERIDIAN_ENGINE", "temporal"), ("TEMPORAL_ADDRESS", address)]
}

/// A server.
pub struct TemporalServer {
    port: u16,
    /// Nothing where [`GIVEN`] named one that is there.
    ours: Option<Ours>,
}

/// A server of our own; it ends with the test.
struct Ours {
    place: TempDir,
    process: Child,
    histories: Histories,
}

/// When a workflow is asked to go on in a new history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Histories {
    /// After some thousand events, as servers usually do.
    Long,
    /// After thirty.
    Short,
}

impl TemporalServer {
    /// Starts a server with an empty database, unless one is [given] to the tests.
    ///
    /// # Panics
    ///
    /// When it does not start, with what to install.
    pub async fn start() -> Self {
        match given() {
            Some(address) => Self { port: address.port(), ours: None },
            None => Self::of_its_own(Histories::Long).await,
        }
    }

    /// Starts a server with an empty database, which no other test shares.
    ///
    /// # Panics
    ///
    /// When it does not start, with what to install.
    pub async fn of_its_own(histories: Histories) -> Self {
        let place = tempfile::tempdir_in(cluster::place());
        let place = place.expect("a directory for Temporal's server");
        janitor::remove_at_end(place.path());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = free.local_addr().expect("a listener has an address").port();
        drop(free);
        let mut ours = Ours { process: spawn(&place, port, histories), place, histories };
        ours.ready(port).await;
        Self { port, ours: Some(ours) }
    }

    /// Returns its address, as `TEMPORAL_ADDRESS` wants it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it as a power cut would, if it is ours: others are not for tests to end.
    pub async fn kill(&mut self) {
        if let Some(ours) = &mut self.ours {
            ours.process.kill().await.expect("our own child can be killed");
        }
    }

    /// Starts it again on what it had on disk.
    ///
    /// # Panics
    ///
    /// When it is not ours.
    pub async fn start_again(&mut self) {
        let ours = self.ours.as_mut().expect("only a server of our own is killed");
        ours.process = spawn(&ours.place, self.port, ours.histories);
        ours.ready(self.port).await;
    }

    /// Has everything that it has recorded of leads go the same way once more. Kept where
    /// `MERIDIAN_HISTORIES` says. Returns how many histories there are.
    ///
    /// # Panics
    ///
    /// When there is none, or one goes another way.
    pub async fn replay_histories(&self) -> usize {
        let address = format!("http://{}", self.address()).parse().expect("an address");
        let found = histories::fetch(Some(&address), HISTORIES_MAX).await;
        let found = found.expect("the server answers");
        assert!(!found.is_empty(), "there are no histories");
        assert!(found.len() < HISTORIES_MAX, "there may be more histories");
        let place = std::env::var_os("MERIDIAN_HISTORIES").map(PathBuf::from);
        for (name, history) in &found {
            assert_eq!(histories::replay(history).await, Ok(()), "{name}");
            if let Some(place) = &place {
                let name = name.replace('/', "-");
                let kept = std::fs::write(place.join(format!("{name}.json")), history);
                kept.expect("a place to write to");
            }
        }
        found.len()
    }

    /// Returns everything it has on disk; nothing if it is not ours.
    pub fn stored(&self) -> Vec<u8> {
        let Some(ours) = &self.ours else { return Vec::new() };
        let mut stored = Vec::new();
        for entry in std::fs::read_dir(ours.place.path()).expect("the directory is there") {
            let path: PathBuf = entry.expect("it can be read").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("server.db"))
            {
                stored.extend(std::fs::read(path).expect("a file of ours"));
            }
        }
        stored
    }

    /// Returns the words on what a workflow has begun, in its order: the type of each event, and its summary.
    pub async fn summaries(&self, workflow: &str) -> Vec<(String, String)> {
        let summary = |event: &Value| {
            let data = event["userMetadata"]["summary"]["data"].as_str()?;
            let text = BASE64_STANDARD.decode(data).expect("a payload");
            let text = serde_json::from_slice(&text).expect("a text as JSON");
            Some((event["eventType"].as_str()?.to_owned(), text))
        };
        self.events(workflow).await.iter().filter_map(summary).collect()
    }

    /// Returns the newest history of a workflow.
    pub async fn events(&self, workflow: &str) -> Vec<Value> {
        let mut shown = self.json(&["workflow", "show", "--workflow-id", workflow]).await;
        serde_json::from_value(shown["events"].take()).expect("a list")
    }

    /// Returns the ids of the workflows that a query of its lists finds.
    pub async fn found(&self, query: &str) -> Vec<String> {
        let listed = self.json(&["workflow", "list", "--query", query]).await;
        let id = |listed: &Value| listed["execution"]["workflowId"].as_str().map(str::to_owned);
        let listed = listed.as_array().expect("a list").iter();
        listed.map(|listed| id(listed).expect("each has an id")).collect()
    }

    /// Runs the program against it, and returns what it printed as JSON.
    ///
    /// # Panics
    ///
    /// When it printed anything else.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.run(&[arguments, &["--output", "json"]].concat()).await;
        serde_json::from_str(&printed).expect("it prints JSON")
    }

    /// Runs the program against it, and returns what it printed.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("temporal")
            .args(arguments)
            .args(["--address", &self.address()])
            .output()
            .await
            .expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    }
}

impl Ours {
    async fn ready(&mut self, port: u16) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = self.place.path().join("server.log");
        until(READY, async || {
            if let Ok(Some(status)) = self.process.try_wait() {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("no Temporal to test with ({status}): {FIX}\n{log}");
            }
            TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
}

fn spawn(place: &TempDir, port: u16, histories: Histories) -> Child {
    let log = std::fs::File::create(place.path().join("server.log")).expect("a log file");
    let errors = log.try_clone().expect("a file can be shared");
    let mut command = Command::new("temporal");
    command
        .args(["server", "start-dev", "--headless", "--ip", "127.0.0.1", "--log-level", "error"])
        .args(["--port", &port.to_string()])
        .arg("--db-filename")
        .arg(place.path().join("server.db"))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .kill_on_drop(true);
    match histories {
        Histories::Long => {}
        Histories::Short => {
            let limit = "limit.historyCount.suggestContinueAsNew=30";
            command.args(["--dynamic-config-value", limit]);
        }
    }
    match command.spawn() {
        Ok(process) => process,
        Err(error) => panic!("no Temporal to test with ({error}): {FIX}"),
    }
}
