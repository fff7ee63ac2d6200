//! Sends of which nobody knows whether they left: a person says.

use machine::ids::{EnrollmentId, SendId, WorkspaceId};

use crate::error::Result;
use crate::mailroom::Mailroom;
use crate::send::record::{Known, Recorded, record_and_wake};
use crate::store::audit::{self, Act};
use crate::store::{clock, reviews};

/// What a person found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It went: the sequence goes on.
    Sent,
    /// It did not: it is sent again, through the gate.
    Lost,
}

/// Settles a send that waits for a person's word. Returns whether it did wait.
///
/// # Errors
///
/// When the database fails; the call may be repeated.
pub async fn decide(
    room: &Mailroom,
    workspace: WorkspaceId,
    send: SendId,
    verdict: Verdict,
    actor: &str,
) -> Result<bool> {
    let mut tx = room.store.begin(workspace).await?;
    let Some(review) = reviews::one(&mut tx, workspace, send).await? else { return Ok(false) };
    let now = clock::read(&mut tx).await?;
    let subject = format!("send/{send}");
    let act = match verdict {
        Verdict::Sent => "review.sent",
        Verdict::Lost => "review.lost",
    };
    audit::record(
        &mut tx,
        workspace,
        &Act { actor, act, subject: &subject, details: None },
        now.wall,
    )
    .await?;
    tx.commit().await?;
    let what = match verdict {
        Verdict::Sent => Known::ReviewedAsSent,
        Verdict::Lost => Known::ReviewedAsLost,
    };
    let enrollment = EnrollmentId::new(review.enrollment_id);
    let recorded = Recorded { send, attempt: review.attempt, enrollment, what };
    record_and_wake(room, workspace, &[recorded]).await?;
    Ok(true)
}
