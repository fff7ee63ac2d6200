//! The turn of one enrollment for an engine that drives each alone, and what it has to know afterwards.

use chrono::{DateTime, TimeDelta, Utc};
use machine::ids::{EnrollmentId, SendId, WorkspaceId};

use super::{Ask, Taken, advance};
use crate::error::Result;
use crate::mailroom::Mailroom;
use crate::store::clock::{self, Clocks};
use crate::store::engines::{self, Standing};
use crate::store::enrollments;

/// How an enrollment stands after its turn.
#[derive(Debug)]
pub struct View {
    /// The number of its newest journal row, and of the newest signal it has seen: of two views the one
    /// with the higher numbers is the newer one.
    pub seen: (i32, i32),
    /// The word for where it is.
    pub state: String,
    /// The step that comes next.
    pub step: Option<String>,
    /// When it is due, campaign time.
    pub wake_at: Option<DateTime<Utc>>,
    /// How long that is from now, wall time.
    pub wait: Option<TimeDelta>,
    /// What it does, in a sentence.
    pub headline: Option<String>,
    /// Sends that wait for their gate.
    pub asks: Vec<Ask>,
    /// Sends whose call was lost.
    pub lost: Vec<SendId>,
    /// Nothing will happen to it but by a signal, which may never come.
    pub rests: bool,
}

/// Turns one enrollment of the mailroom's engine. Returns `None` where there is none: it was moved to
/// another engine, or is gone.
///
/// # Errors
///
/// When the database fails. Nothing is written then; the call may be repeated.
pub async fn turn(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
) -> Result<Option<View>> {
    let engine = mailroom.engine;
    let mut tx = mailroom.store.begin_batch(workspace).await?;
    let clocks = clock::read(&mut tx).await?;
    let locked = enrollments::lock(&mut tx, workspace, &[enrollment.uuid()]).await?;
    let standing = engines::standing(&mut tx, workspace, enrollment).await?;
    let Some(standing) = standing.filter(|it| it.engine == engine) else {
        return Ok(None);
    };
    if standing.parked_at.is_some() {
        return Ok(Some(View::of(standing, clocks)));
    }
    let taken = Taken { engine, ..Taken::of(locked) };
    let turned = advance(&mut tx, &mailroom.versions, clocks, taken).await?;
    let standing = engines::standing(&mut tx, workspace, enrollment).await?;
    tx.commit().await?;
    let Some(standing) = standing else { return Ok(None) };
    let mut view = View::of(standing, clocks);
    view.rests &= turned.asks.is_empty() && turned.lost.is_empty();
    view.headline = turned.headlines.into_iter().map(|(_, headline)| headline).next();
    view.asks = turned.asks;
    view.lost = turned.lost.into_iter().map(|(_, send)| send).collect();
    Ok(Some(view))
}

impl View {
    fn of(standing: Standing, clocks: Clocks) -> Self {
        let is_parked = standing.parked_at.is_some();
        let wake_at = standing.wake_at.filter(|_| !is_parked);
        Self {
            seen: (standing.turn, standing.applied_seq),
            state: if is_parked { "failed".to_owned() } else { standing.state },
            step: standing.next_step,
            wake_at,
            wait: wake_at.map(|at| clocks.wall_until(at)),
            headline: None,
            asks: Vec::new(),
            lost: Vec::new(),
            rests: is_parked || standing.ended_at.is_some() && wake_at.is_none(),
        }
    }
}
