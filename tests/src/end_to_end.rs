//! A whole installation under test, seen from outside: the real program as a process of its own, a
//! mail server that is not ours, a provider that posts over HTTP, and recipients who follow a script.
//! What was accepted is told by the mail server's log, never by our own tables.

pub mod gateway;
pub mod installation;
pub mod mail_server;
pub mod oracle;
pub mod program;
pub mod provider;
pub mod proxy;
pub mod recipients;
pub mod temporal_server;

use std::time::Duration;

use tokio::time::Instant;

/// Debian's Python, whose aiosmtpd `make test` installs.
pub const PYTHON: &str = "/usr/bin/python3";

/// How long to wait for what is bound to happen: far longer than it takes, even beside other work, for
/// no test is about how long.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until `look` finds nothing more to wait for.
///
/// # Panics
///
/// When `limit` passes first, with what `look` still waited for.
pub async fn until(limit: Duration, mut look: impl AsyncFnMut() -> Result<(), String>) {
    let begun = Instant::now();
    loop {
        let Err(missing) = look().await else { return };
        assert!(begun.elapsed() < limit, "after {limit:?}: {missing}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Returns the seed of a run: the variable `SEED`, or one that is new. It is told, so that a run that
/// failed can be had again, as far as processes allow.
pub fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| rand::random_range(0..1_000_000));
    tell(format_args!("SEED={seed}"));
    seed
}

/// Writes a line for whoever watches the run.
pub fn tell(line: std::fmt::Arguments<'_>) {
    #[expect(clippy::print_stderr, reason = "shown when the test fails")]
    {
        eprintln!("{line}");
    }
}

/// Returns the seconds since 1970 by this machine's clock, as the mail server's log tells them.
pub fn wall_seconds() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "the mail server and the provider are outside")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).expect("it is later than 1970");
    since.as_secs_f64()
}
