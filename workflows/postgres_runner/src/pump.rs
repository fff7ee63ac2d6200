//! Turns: batches of due enrollments, oldest first, fair between workspaces.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activities::error::{Result, chain};
use activities::store::enrollments::Cursor;
use activities::store::{clock, work};
use activities::trouble::{self, Trouble};
use activities::turn::Due;
use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use tokio::sync::MutexGuard;
use tokio::time::timeout;

use super::{Shared, recovery};

/// When nothing is due, the database is asked again after this long at the latest.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Sends that may wait for their gate before turns rest.
const WAITING_MAX: usize = 20_000;

/// How long what trickles in waits for the batch before it.
const HELD_MAX: Duration = Duration::from_millis(100);

/// How long a scan goes on behind its cursor before it begins again.
const CURSOR_AGE: Duration = Duration::from_secs(3);

/// Where the scans of a runner stand. Who holds this looks for work, and sleeps while there is none. One
/// that works holds on to it for a moment, so that what trickles in meanwhile is taken together; but
/// where a batch comes full, or another workspace waits, there is more to do, and the next one may look.
#[derive(Default)]
pub(crate) struct Scout {
    scans: HashMap<WorkspaceId, Scan>,
    /// The workspace that had the last batch: it comes last in the next round.
    last: Option<WorkspaceId>,
}

struct Scan {
    cursor: Option<Cursor>,
    began: Instant,
}

/// Runs turns until the runner stops.
pub(crate) async fn turn_due(shared: Arc<Shared>) {
    let mut trouble: u32 = 0;
    loop {
        let scout = shared.scout.lock().await;
        if shared.stopping() {
            return;
        }
        match round(&shared, scout).await {
            Ok(Round::Worked) => {
                trouble = 0;
                shared.ready.send_replace(true);
            }
            Ok(Round::Idle(_scout, wait)) => {
                trouble = 0;
                shared.ready.send_replace(true);
                tokio::select! {
                    () = shared.work.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                    () = shared.stop.cancelled() => {}
                }
                shared.look_before(None);
            }
            Err(error) => {
                trouble = trouble.saturating_add(1);
                tracing::error!(error = chain(&error), "turns failed; trying again");
                shared.doubt();
                shared.ready.send_replace(false);
                shared.pause(Duration::from_millis(100 << trouble.min(8))).await;
            }
        }
    }
}

enum Round<'a> {
    Worked,
    /// Nothing is due for so long.
    Idle(MutexGuard<'a, Scout>, Duration),
}

/// One batch, of the first workspace that has one due and comes next.
async fn round<'a>(shared: &'a Shared, mut scout: MutexGuard<'a, Scout>) -> Result<Round<'a>> {
    if shared.lanes.waiting() > WAITING_MAX {
        return Ok(Round::Idle(scout, Duration::from_millis(50)));
    }
    // What becomes due from here on may be missed by the look.
    shared.look_before(Some(DateTime::<Utc>::MAX_UTC));
    let mut conn = shared.mailroom.store.begin_outside().await?;
    let clocks = clock::read(&mut conn).await?;
    let mut workspaces = work::due_workspaces(&mut conn).await?;
    conn.commit().await?;
    workspaces.sort_unstable_by_key(|(workspace, _)| (Some(*workspace) <= scout.last, *workspace));
    let next = workspaces.iter().filter_map(|(_, wake_at)| *wake_at).min();
    if let Some(wait) = next.map(|next| clocks.wall_until(next)).filter(|wait| !wait.is_zero()) {
        shared.look_before(next);
        let wait = wait.to_std().unwrap_or(IDLE_MAX).min(IDLE_MAX);
        return Ok(Round::Idle(scout, wait));
    }
    if next.is_none() {
        return Ok(Round::Idle(scout, IDLE_MAX));
    }
    shared.look_before(None);
    workspaces.retain(|(_, wake_at)| wake_at.is_some_and(|wake_at| wake_at <= clocks.campaign));
    let is_alone = workspaces.len() == 1;
    let mut worked = false;
    for (workspace, _) in workspaces {
        scout.last = Some(workspace);
        let scan = scout.scan(workspace);
        let limit = i64::try_from(shared.settings.batch).unwrap_or(500);
        let due = Due::take(&shared.mailroom.store, workspace, scan.cursor, limit).await?;
        let is_full = due.count() >= shared.settings.batch;
        // A scan that comes back short begins at the start again.
        worked |= due.count() > 0 || scan.cursor.is_some();
        scan.cursor = due.cursor().filter(|_| is_full);
        if due.count() == 0 {
            continue;
        }
        let mut turning = pin!(turn(shared, workspace, due));
        if is_alone && !is_full {
            match timeout(HELD_MAX, &mut turning).await {
                Ok(turned) => return turned.map(|()| Round::Worked),
                Err(_) => tracing::debug!(workspace.id = %workspace, "a turn takes long"),
            }
        }
        drop(scout);
        turning.await?;
        return Ok(Round::Worked);
    }
    if worked {
        return Ok(Round::Worked);
    }
    // Rows that others have locked are theirs.
    shared.look_before(Some(DateTime::<Utc>::MAX_UTC));
    Ok(Round::Idle(scout, Duration::from_millis(10)))
}

impl Scout {
    fn scan(&mut self, workspace: WorkspaceId) -> &mut Scan {
        let begin = || Scan { cursor: None, began: Instant::now() };
        let scan = self.scans.entry(workspace).or_insert_with(begin);
        if scan.began.elapsed() > CURSOR_AGE {
            *scan = begin();
        }
        scan
    }
}

async fn turn(shared: &Shared, workspace: WorkspaceId, due: Due) -> Result<()> {
    match trouble::caught(due.turn(&shared.mailroom.versions)).await {
        Ok(turned) => shared.take_up(workspace, turned),
        Err(Trouble::Failed(error)) if error.is_outage() => return Err(error),
        Err(trouble) => {
            tracing::error!(
                error = chain(&trouble),
                "a batch of turns failed; looking for the cause"
            );
            recovery::turn_by_halves(shared, workspace).await?;
        }
    }
    Ok(())
}
