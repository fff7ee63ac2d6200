//! What a person may do about work that was given up.

use machine::ids::{EnrollmentId, WorkspaceId};

use crate::changes::News;
use crate::error::Result;
use crate::store::audit::{self, Act};
use crate::store::dead_letters::{self, DeadLetterId, Subject};
use crate::store::{Store, Tx, bell, clock, enrollments};
use crate::turn::OVERDUE;

/// What became of a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// The enrollment is due again.
    Working(EnrollmentId),
    /// The letter is about a mail, and a mail is not repeated.
    NotAnEnrollment,
    /// It was dealt with before, or never was.
    NotOpen,
}

/// Puts a parked enrollment back to work and closes its letter.
///
/// # Errors
///
/// When the database fails; the call may be repeated.
pub async fn retry(
    store: &Store,
    workspace: WorkspaceId,
    id: DeadLetterId,
    actor: &str,
) -> Result<Retried> {
    let mut tx = store.begin(workspace).await?;
    let found = dead_letters::find(&mut tx, workspace, id).await?;
    let Some(letter) = found.filter(|letter| letter.resolution.is_none()) else {
        return Ok(Retried::NotOpen);
    };
    let enrollment = match letter.subject {
        Subject::Enrollment(enrollment) => enrollment,
        Subject::Event(_) | Subject::Unmatched(_) => return Ok(Retried::NotAnEnrollment),
    };
    let clocks = clock::read(&mut tx).await?;
    let (now, overdue) = (clocks.campaign, clocks.campaign_in(-OVERDUE));
    let unparked = enrollments::unpark(&mut tx, workspace, enrollment, now, overdue).await?;
    if let Some((campaign, state)) = unparked {
        tx.tell(News::Enrollments { campaign, state, enrollments: vec![enrollment] });
    }
    close(&mut tx, id, "retried", actor).await?;
    bell::ring(&mut tx, workspace).await?;
    tx.commit().await?;
    Ok(Retried::Working(enrollment))
}

/// Closes a letter without doing anything about it. Returns whether it was open.
///
/// # Errors
///
/// When the database fails; the call may be repeated.
pub async fn dismiss(
    store: &Store,
    workspace: WorkspaceId,
    id: DeadLetterId,
    actor: &str,
) -> Result<bool> {
    let mut tx = store.begin(workspace).await?;
    let was_open = close(&mut tx, id, "dismissed", actor).await?;
    tx.commit().await?;
    Ok(was_open)
}

async fn close(tx: &mut Tx, id: DeadLetterId, resolution: &str, actor: &str) -> Result<bool> {
    let workspace = tx.workspace();
    let now = clock::read(tx).await?;
    let was_open = dead_letters::resolve(tx, workspace, id, resolution, now.campaign).await?;
    if was_open {
        let act = format!("dead_letter.{resolution}");
        let subject = format!("dead_letter/{id}");
        let act = Act { actor, act: &act, subject: &subject, details: None };
        audit::record(tx, workspace, &act, now.wall).await?;
    }
    Ok(was_open)
}
