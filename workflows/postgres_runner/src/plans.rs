//! What campaigns have in store for many leads at once: an audience enters at its time, leads move to
//! another version. It takes long, so it stands in nobody's way: turns, orders and mail have tasks of
//! their own.

use std::sync::Arc;
use std::time::Duration;

use activities::campaigns::start;
use activities::error::{ActivityError, Result, chain};
use activities::store::{clock, work};
use activities::version_move;

use super::Shared;

/// How long nobody looks when nothing is planned and no bell rings.
const IDLE: Duration = Duration::from_secs(10);

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Carries plans out until the runner stops.
pub(crate) async fn carry_out(shared: Arc<Shared>) {
    while !shared.stopping() {
        let bell = shared.plans.notified();
        // A page that is cut off is done again.
        let wait = tokio::select! {
            done = round(&shared) => done,
            () = shared.stop.cancelled() => return,
        };
        let wait = wait.unwrap_or_else(|error| {
            note(&error);
            AGAIN
        });
        tokio::select! {
            () = bell => {}
            () = tokio::time::sleep(wait) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

/// Carries out what is due. Returns how long to wait.
async fn round(shared: &Shared) -> Result<Duration> {
    let mailroom = &shared.mailroom;
    let mut conn = mailroom.store.begin_outside().await?;
    let clocks = clock::read(&mut conn).await?;
    let starts = work::planned_starts(&mut conn).await?;
    let moves = work::moving_campaigns(&mut conn).await?;
    conn.commit().await?;
    let mut wait = IDLE;
    for (workspace, campaign, start_at) in starts {
        if start_at <= clocks.campaign {
            // One that fails holds nobody else up.
            if let Err(error) = start::perform(&mailroom.store, workspace, campaign).await {
                note(&error);
                wait = wait.min(AGAIN);
            }
        } else {
            let until = clocks.wall_until(start_at).to_std().unwrap_or(IDLE);
            wait = wait.min(until.max(Duration::from_millis(5)));
        }
    }
    for (workspace, campaign) in moves {
        let taken_up = |turned| shared.take_up(workspace, turned);
        let moved = version_move::perform(mailroom, workspace, campaign, taken_up).await;
        if let Err(error) = moved {
            note(&error);
            wait = wait.min(AGAIN);
        }
    }
    Ok(wait)
}

fn note(error: &ActivityError) {
    tracing::error!(error = chain(error), "a campaign's plan failed; trying again");
}
