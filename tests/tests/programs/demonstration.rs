//! What the demonstration prints for programs works as it is printed.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use activities::engine::Engine;
use chrono::NaiveDateTime;
use serde_json::Value;
use tempfile::TempDir;
use tests::end_to_end::{program, until};
use tests::janitor;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long the demonstration may take to print what it prints at first.
const PATIENCE: Duration = Duration::from_secs(120);

/// How it shows the time.
const TIME: &str = "%a %d %b %Y %H:%M UTC";

/// How fast its clock runs.
const FACTOR: u32 = 5_000;

/// The program with its data in a directory, and nothing else to go by.
fn meridian(dir: &Path) -> Command {
    let mut command = Command::new(program::path());
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("MERIDIAN_DATA_DIR", dir)
        .kill_on_drop(true);
    command
}

/// A demonstration in a directory of its own.
struct Demonstration {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Demonstration {
    fn start(dir: &Path, engine: Engine) -> Self {
        let mut command = meridian(dir);
        command
            .args(["up", "--demo", "--engine", engine.as_str()])
            .env("MERIDIAN_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The lines with `curl` that it prints.
    async fn printed(&mut self) -> Vec<String> {
        let mut printed = Vec::new();
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.trim_start().starts_with("curl ") {
                    printed.push(line.trim().to_owned());
                }
                if line.starts_with("Kill it at any moment") {
                    return;
                }
            }
            panic!("it ended before it had said everything");
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("it comes up in time");
        printed
    }

    /// The next time that it shows, by its own clock.
    async fn shown(&mut self) -> NaiveDateTime {
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                let time = line.split("  ").next().unwrap_or_default();
                if let Ok(at) = NaiveDateTime::parse_from_str(time, TIME) {
                    return at;
                }
            }
            panic!("it ended before it had shown a time");
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("it shows the time again and again")
    }

    /// Ends it as Ctrl-C does.
    async fn end(mut self) {
        let pid = libc::pid_t::try_from(self.child.id().unwrap()).unwrap();
        #[expect(unsafe_code, reason = "std has no call for it; the child was not waited for yet")]
        let told = unsafe { libc::kill(pid, libc::SIGINT) };
        assert_eq!(told, 0);
        // Until the end of what it prints, or it would wait for a reader.
        while self.lines.next_line().await.unwrap().is_some() {}
        assert!(self.child.wait().await.unwrap().success());
    }
}

/// Runs a line as it is printed, and returns what is answered with this status.
async fn runs(line: &str, status: u16) -> Value {
    let shell = format!("{line} --silent --show-error --write-out '\\n%{{http_code}}'");
    let output = Command::new("sh").args(["-c", &shell]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {text}{error}");
    let (body, told) = text.rsplit_once('\n').unwrap();
    assert_eq!(told, status.to_string(), "{line}: {body}");
    serde_json::from_str(body).unwrap()
}

fn place() -> TempDir {
    let mut builder = tempfile::Builder::new();
    // Root lends the database a user, who has to reach it.
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o711));
    let place = builder.tempdir().unwrap();
    janitor::remove_at_end(place.path());
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn temporal_drives_the_demonstration_where_it_is_told_to() {
    let place = place();
    let mut demonstration = Demonstration::start(place.path(), Engine::Temporal);
    let printed = demonstration.printed().await;
    let look = &printed[0];
    until(PATIENCE, async || {
        let campaign = runs(look, 200).await;
        assert_eq!(campaign["engine"], "temporal");
        if campaign["sent"].as_u64() > Some(0) { Ok(()) } else { Err(campaign.to_string()) }
    })
    .await;
    demonstration.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_clock_stands_still_between_two_runs() {
    let place = place();
    let mut demonstration = Demonstration::start(place.path(), Engine::Postgres);
    let before = demonstration.shown().await;
    let shown = Instant::now();
    demonstration.end().await;
    let ran = shown.elapsed();

    // Somebody looks at it meanwhile, which is hours by its clock.
    let looked = meridian(&place.path().join("demo")).arg("verify").output().await.unwrap();
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
    let mut demonstration = Demonstration::start(place.path(), Engine::Postgres);
    let begun = Instant::now();
    let after = demonstration.shown().await;
    let ran = ran + begun.elapsed();
    let passed = (after - before).to_std().unwrap();
    assert!(passed <= ran * FACTOR, "{passed:?} passed on its clock in {ran:?}");
    demonstration.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_lines_show_pause_and_resume_the_campaign() {
    let place = place();
    let mut demonstration = Demonstration::start(place.path(), Engine::Postgres);
    let printed = demonstration.printed().await;
    let [look, pause, resume] = &printed[..] else { panic!("three lines: {printed:#?}") };
    let campaign = runs(look, 200).await;
    assert_eq!((&campaign["name"], &campaign["leads"]), (&"hotel-outreach".into(), &198.into()));
    assert_eq!(runs(pause, 200).await["status"], "paused");
    demonstration.end().await;

    // Begun again it goes on where it was, paused, with a key of its own.
    let mut demonstration = Demonstration::start(place.path(), Engine::Postgres);
    let printed = demonstration.printed().await;
    let [look, _, resume_now] = &printed[..] else { panic!("three lines: {printed:#?}") };
    assert_ne!(resume, resume_now, "it listens elsewhere");
    assert_eq!(runs(look, 200).await["status"], "paused");
    assert_eq!(runs(resume_now, 200).await["status"], "active");
    demonstration.end().await;
}
