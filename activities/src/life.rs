//! The signs of life of a process, which its leases rest on. One that was silent begins no call whose
//! gate it passed before: others may have given the call up, and a person may have sent it again.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::mailroom::Mailroom;
use crate::store::{clock, turns};
use crate::turn::RUNNER_SILENCE;

/// After this long without a sign of life a process begins no calls. Others wait half as long again
/// before they give its calls up ([`RUNNER_SILENCE`]).
const SILENT: Duration = Duration::from_secs(10);

/// When this process showed that it lives.
#[derive(Debug)]
pub struct Life {
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// The last time.
    at: Instant,
    /// The last time after it had been silent: frozen, or cut off from the database.
    back_at: Option<Instant>,
}

impl Default for Life {
    fn default() -> Self {
        Self { seen: Mutex::new(Seen { at: Instant::now(), back_at: None }) }
    }
}

impl Life {
    /// Notes that this process showed at `at` that it lives.
    fn seen(&self, at: Instant) {
        let mut seen = self.seen.lock().expect("no holder panics");
        if at.duration_since(seen.at) > SILENT {
            seen.back_at = Some(Instant::now());
        }
        seen.at = at;
    }

    /// Whether a call may begin, or still leave, whose gate began at `gate_at`.
    pub fn may_call(&self, gate_at: Instant) -> bool {
        let seen = self.seen.lock().expect("no holder panics");
        seen.at.elapsed() <= SILENT && seen.back_at.is_none_or(|back_at| back_at <= gate_at)
    }
}

/// Shows that this process lives. Returns how many others were found silent, and struck off.
///
/// # Errors
///
/// When the database fails.
pub async fn beat(mailroom: &Mailroom) -> Result<u64> {
    let began = Instant::now();
    let mut conn = mailroom.store.begin_outside().await?;
    let clocks = clock::read(&mut conn).await?;
    turns::beat(&mut conn, mailroom.runner, clocks.wall).await?;
    let buried = turns::bury_silent(&mut conn, clocks.wall, RUNNER_SILENCE).await?;
    conn.commit().await?;
    mailroom.life.seen(began);
    Ok(buried)
}

/// Takes this process off the list.
///
/// # Errors
///
/// When the database fails.
pub async fn say_farewell(mailroom: &Mailroom) -> Result<()> {
    let mut conn = mailroom.store.begin_outside().await?;
    turns::bury(&mut conn, mailroom.runner).await?;
    conn.commit().await?;
    Ok(())
}
