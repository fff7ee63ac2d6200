//! What goes wrong: batches that fail, calls that were lost, runners that died.

use std::sync::Arc;
use std::time::Duration;

use activities::error::{Result, chain};
use activities::send::sweep;
use activities::store::{clock, enrollments, work};
use activities::trouble::{Trouble, caught};
use activities::turn;
use machine::ids::{EnrollmentId, SendId, WorkspaceId};
use tokio::sync::mpsc::UnboundedReceiver;
use uuid::Uuid;

use super::Shared;

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
    by_halves(shared, workspace, ids).await
}

async fn by_halves(shared: &Shared, workspace: WorkspaceId, ids: Vec<Uuid>) -> Result<()> {
    let mailroom = &shared.mailroom;
    let mut parts: Vec<Vec<Uuid>> = vec![ids];
    while let Some(part) = parts.pop() {
        if part.is_empty() || shared.stopping() {
            continue;
        }
        let turned = turn::these(&mailroom.store, &mailroom.versions, workspace, &part);
        match caught(turned).await {
            Ok(turned) => shared.take_up(workspace, turned),
            Err(Trouble::Failed(error)) if error.is_outage() => return Err(error),
            Err(trouble) if part.len() == 1 => {
                let enrollment = EnrollmentId::new(part[0]);
                trouble.blame(mailroom, workspace, enrollment).await?;
                // Nobody looks for what becomes due without a turn.
                shared.work.notify_one();
            }
            Err(_) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.push(second.to_vec());
                parts.push(first.to_vec());
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
            let Err(trouble) = sweep_these(&shared, workspace, sends).await else { continue };
            if trouble.is_outage() || sends.len() == 1 {
                continue;
            }
            // The one that makes the sweep fail is found, and the others are swept.
            for lost in sends {
                let _ = sweep_these(&shared, workspace, std::slice::from_ref(lost)).await;
            }
        }
    }
}

/// Sweeps these. One alone that fails is to blame for it.
async fn sweep_these(
    shared: &Shared,
    workspace: WorkspaceId,
    lost: &[(EnrollmentId, SendId)],
) -> Result<(), Trouble> {
    let sends: Vec<SendId> = lost.iter().map(|(_, send)| *send).collect();
    match caught(sweep(&shared.mailroom, workspace, &sends)).await {
        Ok(Some(turned)) => shared.take_up(workspace, turned),
        Ok(None) => {}
        Err(trouble) => {
            // Its enrollment looks again by itself.
            tracing::error!(error = chain(&trouble), "sweep failed; it is repeated");
            if let [(enrollment, _)] = lost {
                blame(shared, workspace, *enrollment, &trouble).await;
            }
            shared.pause(Duration::from_millis(500)).await;
            return Err(trouble);
        }
    }
    Ok(())
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
            by_halves(shared, workspace, page).await?;
        }
    }
    Ok(())
}
