//! What goes wrong: batches that fail, calls that were lost, runners that died.

use std::sync::Arc;
use std::time::Duration;

use activities::error::{Result, chain};
use activities::send::sweep;
use activities::store::{clock, enrollments, work};
use activities::trouble::{self, Trouble};
use activities::turn;
use machine::ids::{EnrollmentId, SendId, WorkspaceId};
use tokio::sync::mpsc::UnboundedReceiver;
use uuid::Uuid;

use super::Shared;
use super::halves::Halves;

/// Sends that are swept in one go.
const SWEEP_MAX: usize = 100;

/// Turns the due enrollments of a workspace by halves, so that the one that makes a batch fail is
/// found and the others go on. One that fails five times is parked.
pub(crate) async fn turn_by_halves(shared: &Shared, workspace: WorkspaceId) -> Result<()> {
    let mailroom = &shared.mailroom;
    let limit = i64::try_from(shared.settings.batch).unwrap_or(500);
    let mut tx = mailroom.store.begin(workspace).await?;
    let clocks = clock::read(&mut tx).await?;
    let ids = work::due_ids(&mut tx, workspace, clocks.campaign, limit).await?;
    tx.commit().await?;
    by_halves(shared, workspace, &ids).await
}

async fn by_halves(shared: &Shared, workspace: WorkspaceId, ids: &[Uuid]) -> Result<()> {
    let mailroom = &shared.mailroom;
    let mut halves = Halves::of(ids);
    while let Some(part) = halves.next() {
        if part.is_empty() || shared.stopping() {
            break;
        }
        let turned = turn::these(&mailroom.store, &mailroom.versions, workspace, part);
        match trouble::caught(turned).await {
            Ok(turned) => shared.take_up(workspace, turned),
            Err(Trouble::Failed(error)) if error.is_outage() => return Err(error),
            Err(trouble) => {
                if let Some(enrollment) = halves.split(part) {
                    blame(shared, workspace, EnrollmentId::new(*enrollment), &trouble).await;
                }
            }
        }
    }
    Ok(())
}

/// Sweeps calls that were lost, as turns find them.
pub(crate) async fn sweep_lost(
    shared: Arc<Shared>,
    mut lost: UnboundedReceiver<(WorkspaceId, Vec<(EnrollmentId, SendId)>)>,
) {
    loop {
        let next = tokio::select! {
            next = lost.recv() => next,
            () = shared.stop.cancelled() => return,
        };
        let Some((workspace, sends)) = next else { return };
        for sends in sends.chunks(SWEEP_MAX) {
            sweep_by_halves(&shared, workspace, sends).await;
        }
    }
}

/// Sweeps these by halves, so that one that makes the sweep fail is found and the others are swept. Who is
/// not swept looks again by itself.
async fn sweep_by_halves(
    shared: &Shared,
    workspace: WorkspaceId,
    sends: &[(EnrollmentId, SendId)],
) {
    let mut halves = Halves::of(sends);
    while let Some(part) = halves.next() {
        if shared.stopping() {
            return;
        }
        let ids: Vec<SendId> = part.iter().map(|(_, send)| *send).collect();
        match trouble::caught(sweep(&shared.mailroom, workspace, &ids)).await {
            Ok(Some(turned)) => shared.take_up(workspace, turned),
            Ok(None) => {}
            Err(trouble) if trouble.is_outage() => {
                tracing::error!(error = chain(&trouble), "sweep failed; it is repeated");
                shared.pause(Duration::from_millis(500)).await;
                return;
            }
            Err(trouble) => {
                if let Some((enrollment, _)) = halves.split(part) {
                    blame(shared, workspace, *enrollment, &trouble).await;
                }
            }
        }
    }
}

/// Counts a failure against the one lead that it was about.
pub(crate) async fn blame(
    shared: &Shared,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    trouble: &Trouble,
) {
    if let Err(error) = trouble.blame(&shared.mailroom, workspace, enrollment).await {
        tracing::error!(error = chain(&error), "a failure was not counted");
    }
    // Nobody looks for what becomes due without a turn.
    shared.work.notify_one();
}

/// Looks at open requests after a start, and whenever a runner has died or something may have been lost.
pub(crate) async fn take_up_open(shared: Arc<Shared>) {
    while !shared.stopping() {
        if let Err(error) = look_at_open_requests(&shared).await {
            tracing::error!(
                error = chain(&error),
                "open requests were not looked at; trying again"
            );
            shared.pause(Duration::from_secs(1)).await;
            continue;
        }
        tokio::select! {
            () = shared.look.notified() => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

/// Looks at every enrollment that may have a request under way.
async fn look_at_open_requests(shared: &Shared) -> Result<()> {
    let mailroom = &shared.mailroom;
    let mut conn = mailroom.store.begin_outside().await?;
    let workspaces = work::due_workspaces(&mut conn).await?;
    conn.commit().await?;
    for (workspace, _) in workspaces {
        let mut after = Uuid::nil();
        loop {
            if shared.stopping() {
                return Ok(());
            }
            let mut tx = mailroom.store.begin(workspace).await?;
            let page = enrollments::with_open_requests(&mut tx, workspace, after, 500).await?;
            tx.commit().await?;
            let Some(last) = page.last() else { break };
            after = *last;
            by_halves(shared, workspace, &page).await?;
        }
    }
    Ok(())
}
