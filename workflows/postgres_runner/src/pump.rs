//! Turns: batches of due enrollments, oldest first, fair between workspaces.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activities::error::{ActivityError, Result, chain};
use activities::store::enrollments::Cursor;
use activities::store::{clock, work};
use activities::turn;
use machine::ids::WorkspaceId;

use super::{Shared, recovery};

/// When nothing is due, the database is asked again after this long at the latest.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Sends that may wait for their gate before turns rest.
const WAITING_MAX: usize = 20_000;

/// How long a scan goes on behind its cursor before it begins again.
const CURSOR_AGE: Duration = Duration::from_secs(3);

/// Runs turns until the runner stops.
pub(crate) async fn turn_due(shared: Arc<Shared>) {
    let mut scans = HashMap::<WorkspaceId, Scan>::new();
    let mut trouble: u32 = 0;
    while !shared.stopping() {
        let bell = shared.work.notified();
        tokio::pin!(bell);
        bell.as_mut().enable();
        match round(&shared, &mut scans).await {
            Ok(Round::Worked) => {
                trouble = 0;
                shared.ready.send_replace(true);
            }
            Ok(Round::Idle(wait)) => {
                trouble = 0;
                shared.ready.send_replace(true);
                tokio::select! {
                    () = bell => {}
                    () = tokio::time::sleep(wait) => {}
                    () = shared.stop.cancelled() => {}
                }
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

enum Round {
    Worked,
    Idle(Duration),
}

struct Scan {
    cursor: Option<Cursor>,
    began: Instant,
}

/// One batch for each workspace that has one due.
async fn round(shared: &Shared, scans: &mut HashMap<WorkspaceId, Scan>) -> Result<Round> {
    if shared.lanes.waiting() > WAITING_MAX {
        return Ok(Round::Idle(Duration::from_millis(50)));
    }
    let mut conn = shared.mailroom.store.begin_outside().await?;
    let clocks = clock::read(&mut conn).await?;
    let workspaces = work::due_workspaces(&mut conn).await?;
    conn.commit().await?;
    let mut next = None;
    let mut worked = false;
    for (workspace, wake_at) in workspaces {
        let Some(wake_at) = wake_at else { continue };
        if wake_at > clocks.campaign {
            let wait = clocks.wall_until(wake_at);
            next = Some(next.map_or(wait, |sooner: chrono::TimeDelta| sooner.min(wait)));
            continue;
        }
        worked |= batch(shared, workspace, scans).await?;
    }
    if worked {
        return Ok(Round::Worked);
    }
    let wait = next.and_then(|wait| wait.to_std().ok()).unwrap_or(IDLE_MAX);
    // A moment at least: rows that others have locked are theirs.
    Ok(Round::Idle(wait.clamp(Duration::from_millis(5), IDLE_MAX)))
}

/// Runs batches of one workspace while they come full, a few at most. Returns whether any did work.
async fn batch(
    shared: &Shared,
    workspace: WorkspaceId,
    scans: &mut HashMap<WorkspaceId, Scan>,
) -> Result<bool> {
    let scan =
        scans.entry(workspace).or_insert_with(|| Scan { cursor: None, began: Instant::now() });
    if scan.began.elapsed() > CURSOR_AGE {
        *scan = Scan { cursor: None, began: Instant::now() };
    }
    let limit = i64::try_from(shared.settings.batch).unwrap_or(500);
    let mailroom = &shared.mailroom;
    let turned =
        turn::due(&mailroom.store, &mailroom.versions, workspace, scan.cursor, limit).await;
    let turned = match turned {
        Ok(turned) => turned,
        Err(error) if is_outage(&error) => return Err(error),
        Err(error) => {
            tracing::error!(
                error = chain(&error),
                "a batch of turns failed; looking for the cause"
            );
            recovery::turn_by_halves(shared, workspace).await?;
            return Ok(true);
        }
    };
    let full = turned.taken == shared.settings.batch;
    let began_at_start = scan.cursor.is_none();
    scan.cursor = turned.cursor.filter(|_| full);
    let worked = turned.taken > 0 || !began_at_start;
    shared.take_up(workspace, turned);
    Ok(worked)
}

/// A session was ended because it rested in a transaction: we were frozen.
const RESTED_TOO_LONG: &str = "25P03";

/// Whether the database is away, so that no lead is to blame.
pub(crate) fn is_outage(error: &ActivityError) -> bool {
    match error {
        ActivityError::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
            code == RESTED_TOO_LONG
                || ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
        }),
        ActivityError::Database(_) => true,
        _ => false,
    }
}
