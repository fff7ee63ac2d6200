//! A mail server that is not ours: aiosmtpd under Python, as `tests/smtp/server.py` sets it up. Its
//! log is synced before it says 250, so the log is what was accepted.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::PYTHON;
use crate::janitor;

/// How long the server takes, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delays {
    /// Before it accepts a message.
    pub before: u32,
    /// Between accepting it and saying so.
    pub after: u32,
    /// More than that, for recipients `slow-…`.
    pub slow: u32,
    /// For `unheard-…` and `unanswered-…`, once.
    pub hold: u32,
    /// For `unheard-…`, once: before it lets the message come.
    pub ask: u32,
}

/// A running mail server; it ends with the test.
pub struct MailServer {
    port: u16,
    place: TempDir,
    forgotten: AtomicUsize,
    _process: Child,
}

/// A message it accepted.
#[derive(Debug, Clone, Deserialize)]
pub struct Accepted {
    /// Our name of the send.
    pub send: Uuid,
    /// The message's id, in brackets.
    pub message_id: String,
    /// The message it follows.
    pub in_reply_to: Option<String>,
    /// The subject line, decoded.
    pub subject: String,
    /// The way out, in brackets.
    pub unsubscribe: Option<String>,
    /// The recipient.
    pub to: String,
    /// When, in seconds since 1970.
    pub at: f64,
    /// Where the message is kept.
    pub file: PathBuf,
}

impl MailServer {
    /// Starts a server.
    ///
    /// # Panics
    ///
    /// When it does not start, with what to install.
    pub async fn start(delays: Delays) -> Self {
        let place = tempfile::tempdir().expect("a directory for the mail server");
        janitor::remove_at_end(place.path());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("smtp/server.py");
        let mut command = Command::new(PYTHON);
        command.arg(script).arg(place.path());
        for (name, ms) in [
            ("--before-ms", delays.before),
            ("--after-ms", delays.after),
            ("--slow-ms", delays.slow),
            ("--hold-ms", delays.hold),
            ("--ask-ms", delays.ask),
        ] {
            command.arg(name).arg(ms.to_string());
        }
        // It ends when its standard input does, which is when this process has ended in any way.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let fix = "run `scripts/setup smtp`, or `apt-get install python3-aiosmtpd`";
        let mut process = match command.kill_on_drop(true).spawn() {
            Ok(process) => process,
            Err(error) => panic!("{PYTHON} does not run ({error}): {fix}"),
        };
        let mut told = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut told).await.expect("a pipe can be read");
        let Ok(port) = told.trim().parse() else {
            let mut error = String::new();
            let mut stderr = process.stderr.take().expect("it is piped");
            stderr.read_to_string(&mut error).await.expect("a pipe can be read");
            panic!("no mail server to test with: {fix}\n{error}");
        };
        Self { port, place, forgotten: AtomicUsize::new(0), _process: process }
    }

    /// Returns the server as the URL of a sender.
    pub fn url(&self) -> String {
        format!("smtp+plain://127.0.0.1:{}", self.port)
    }

    /// Whether a message waits until it may come, or has waited.
    pub fn is_asked(&self) -> bool {
        self.place.path().join("asked").exists()
    }

    /// Returns everything it accepted so far, in order, up to what is forgotten.
    pub fn accepted(&self) -> Vec<Accepted> {
        let mut accepted = self.log();
        accepted.split_off(self.forgotten.load(Ordering::Relaxed))
    }

    /// Forgets what it accepted so far, for somebody who begins anew.
    pub fn forget(&self) {
        self.forgotten.store(self.log().len(), Ordering::Relaxed);
    }

    fn log(&self) -> Vec<Accepted> {
        let log = self.place.path().join("accepted.jsonl");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        // A line without an end is being written.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of the log")).collect()
    }

    /// Returns a message as it was received.
    pub fn message(&self, accepted: &Accepted) -> String {
        let path = self.place.path().join(&accepted.file);
        std::fs::read_to_string(path).expect("the message is kept before it is noted")
    }
}
