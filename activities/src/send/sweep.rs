//! SWEEP: calls whose outcome nobody knows. Evidence makes them accepted; where there is none a
//! person must look. No program calls the provider again for them.

use std::collections::HashMap;

use machine::ids::{EnrollmentId, SendId, SenderId, WorkspaceId};
use uuid::Uuid;

use super::record::{Known, Recorded, record};
use crate::error::Result;
use crate::mailroom::Mailroom;
use crate::senders::{Sender, Transport};
use crate::store::records::{self, Lost};
use crate::store::{captures, clock, inbound_events, senders};
use crate::turn::{RUNNER_SILENCE, Turned};

/// Looks for evidence about `sends`, whose lease is over or whose runner is silent.
///
/// Returns `None` when none of them is lost after all.
///
/// # Errors
///
/// When the database fails. The call may be repeated.
pub async fn sweep(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    sends: &[SendId],
) -> Result<Option<Turned>> {
    let ids: Vec<Uuid> = sends.iter().map(|send| send.uuid()).collect();
    let mut tx = mailroom.store.begin_batch(workspace).await?;
    let clocks = clock::read(&mut tx).await?;
    let silent_since = clocks.wall - RUNNER_SILENCE;
    let own = mailroom.runner;
    let lost = records::give_up(&mut tx, workspace, &ids, clocks.wall, silent_since, own).await?;
    tx.commit().await?;
    if lost.is_empty() {
        return Ok(None);
    }
    let found = evidence(mailroom, workspace, &lost).await?;
    let recorded: Vec<Recorded> = lost
        .iter()
        .map(|lost| Recorded {
            send: SendId::new(lost.send_id),
            attempt: lost.attempt,
            enrollment: EnrollmentId::new(lost.enrollment_id),
            what: match found.get(&lost.send_id) {
                Some(detail) => Known::Found((*detail).to_owned()),
                None => Known::NotFound(
                    "the call was lost; its provider cannot be asked whether it arrived".to_owned(),
                ),
            },
        })
        .collect();
    for it in &recorded {
        let state = if matches!(it.what, Known::Found(_)) { "accepted" } else { "needs_review" };
        tracing::warn!(send.id = %it.send, enrollment.id = %it.enrollment, state, "lost call swept");
    }
    record(mailroom, workspace, &recorded).await.map(Some)
}

/// Asks each channel for what it knows. A plain mail server knows nothing; the capture sender
/// keeps what it accepted.
async fn evidence(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    lost: &[Lost],
) -> Result<HashMap<Uuid, &'static str>> {
    let mut tx = mailroom.store.begin(workspace).await?;
    let mut ids: Vec<SenderId> =
        lost.iter().filter_map(|lost| lost.sender_id.map(SenderId::new)).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut capturing = Vec::new();
    for row in senders::by_ids(&mut tx, workspace, &ids).await? {
        let sender = Sender::try_from(row)?;
        if matches!(sender.transport, Transport::Capture { .. }) {
            capturing.push(sender.id.uuid());
        }
    }
    let kept = lost.iter().filter(|it| it.sender_id.is_some_and(|id| capturing.contains(&id)));
    let (sends, attempts): (Vec<Uuid>, Vec<i32>) = kept.map(|it| (it.send_id, it.attempt)).unzip();
    let captured = captures::kept(&mut tx, workspace, &sends, &attempts).await?;
    let all: Vec<SendId> = lost.iter().map(|it| SendId::new(it.send_id)).collect();
    let reported = inbound_events::evidence(&mut tx, workspace, &all).await?;
    tx.commit().await?;
    let captured = captured.into_iter().map(|send| (send, "the capture sender has it"));
    let reported =
        reported.into_iter().map(|send| (send.uuid(), "its provider has reported about it"));
    Ok(captured.chain(reported).collect())
}
