//! What the workflows of leads have done: a turn, the passage of one send, the search for a lost one. Each
//! may be done any number of times: the states of rows decide. What a provider refuses is no failure
//! here; a failure is our own infrastructure's, and says no more than its kind.

#![expect(missing_docs, reason = "the macros make constants of their own, without a word")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use activities::error::{ActivityError as Error, chain};
use activities::mailroom::Mailroom;
use activities::send::passage::{self, BUSY_WAIT, answered, kept_back};
use activities::send::prepare::Readied;
use activities::send::record::Known;
use activities::send::{Recorded, gate, prepare, sweep};
use activities::trouble;
use activities::turn::Ask;
use activities::turn::one::{self, View};
use machine::ids::{EnrollmentId, SendId, WorkspaceId};
use temporalio_macros::activities;
use temporalio_sdk::ApplicationFailure;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::lines::Lines;
use super::outage::Outage;
use super::payloads::{ErrandDone, ErrandInput, LeadInput, LeadView};

/// How often an activity shows that it lives.
const BEAT: Duration = Duration::from_secs(5);

/// How often a send is taken to its gate in one go, while others have its lead or its data change.
const GATES_MAX: u32 = 50;

/// Why an activity failed, as Temporal may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Failure {
    #[error("the database is away")]
    Outage,
    #[error("it failed, and Meridian's log says why")]
    Failed,
}

impl Failure {
    /// Returns the failure of an activity, which names its kind and no cause.
    fn told(self) -> ActivityError {
        let kind = match self {
            Self::Outage => "Outage",
            Self::Failed => "Failed",
        };
        let failure = ApplicationFailure::builder(self).type_name(kind.to_owned()).build();
        ActivityError::application(failure)
    }
}

/// Turns.
pub struct Turns {
    mailroom: Mailroom,
    outage: Arc<Outage>,
}

/// Sends, and what is on their way.
pub struct Sends {
    mailroom: Mailroom,
    lines: Arc<Lines>,
    outage: Arc<Outage>,
    /// Told when the process ends.
    ending: CancellationToken,
}

impl Turns {
    pub(crate) fn new(mailroom: Mailroom, outage: Arc<Outage>) -> Self {
        Self { mailroom, outage }
    }
}

impl Sends {
    pub(crate) fn new(
        mailroom: Mailroom,
        lines: Arc<Lines>,
        outage: Arc<Outage>,
        ending: CancellationToken,
    ) -> Self {
        Self { mailroom, lines, outage, ending }
    }
}

#[activities]
impl Turns {
    /// Turns an enrollment.
    #[activity(name = "turn.v1")]
    pub async fn turn(
        self: Arc<Self>,
        _: ActivityContext,
        input: LeadInput,
    ) -> Result<LeadView, ActivityError> {
        let (workspace, enrollment) =
            (WorkspaceId::new(input.workspace), EnrollmentId::new(input.enrollment));
        let turn = one::turn(&self.mailroom, workspace, enrollment);
        let turn = self.outage.heed("a turn", enrollment, turn);
        let lead = (workspace, enrollment);
        answered_for(&self.mailroom, &self.outage, lead, turn).await.map(shown)
    }
}

#[activities]
impl Sends {
    /// Takes a send to its gate, calls its provider and records what became of it.
    #[activity(name = "send.v1")]
    pub async fn send(
        self: Arc<Self>,
        context: ActivityContext,
        errand: ErrandInput,
    ) -> Result<ErrandDone, ActivityError> {
        let work = self.pass(&errand);
        beating(&context, answered_for(&self.mailroom, &self.outage, names(&errand), work)).await
    }

    /// Looks for evidence about a call that was lost.
    #[activity(name = "sweep.v1")]
    pub async fn sweep(
        self: Arc<Self>,
        context: ActivityContext,
        errand: ErrandInput,
    ) -> Result<ErrandDone, ActivityError> {
        let work = self.look(&errand);
        beating(&context, answered_for(&self.mailroom, &self.outage, names(&errand), work)).await
    }
}

/// Works for a lead. What fails for its sake is counted, and parks it after some; Temporal is told no more
/// than the kind, for what a failure says may be about somebody.
async fn answered_for<T>(
    mailroom: &Mailroom,
    outage: &Outage,
    (workspace, enrollment): (WorkspaceId, EnrollmentId),
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, ActivityError> {
    let trouble = match trouble::caught(work).await {
        Ok(done) => return Ok(done),
        Err(trouble) => trouble,
    };
    if trouble.is_outage() {
        return Err(Failure::Outage.told());
    }
    let blame = trouble.blame(mailroom, workspace, enrollment);
    match outage.heed("counting a failure", enrollment, blame).await {
        Ok(()) => Err(Failure::Failed.told()),
        Err(error) if error.is_outage() => Err(Failure::Outage.told()),
        Err(error) => {
            tracing::error!(enrollment.id = %enrollment, error = chain(&error), "a failure was not counted");
            Err(Failure::Failed.told())
        }
    }
}

/// Works, and shows meanwhile that it lives.
async fn beating(
    context: &ActivityContext,
    work: impl Future<Output = Result<ErrandDone, ActivityError>>,
) -> Result<ErrandDone, ActivityError> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(BEAT) => {
                // One that is told to stop ends its call all the same: it may have left.
                if let Err(error) = context.record_heartbeat(()).await {
                    tracing::debug!(%error, "a heartbeat was not taken");
                }
            }
        }
    }
}

/// What a passage came to.
enum Passed {
    /// It is on record.
    Recorded,
    /// It stays planned.
    Waits,
}

impl Sends {
    async fn pass(&self, errand: &ErrandInput) -> Result<ErrandDone, Error> {
        let (workspace, enrollment) = names(errand);
        // The turn knows whether it is still wanted, and what it says.
        let Some(mut view) = self.turn(workspace, enrollment).await? else { return Ok(done(None)) };
        let wanted = |ask: &Ask| ask.send.uuid() == errand.send && ask.attempt == errand.attempt;
        let Some(at) = view.asks.iter().position(wanted) else { return Ok(done(Some(view))) };
        let (ask, seen) = (view.asks.swap_remove(at), view.seen);
        let span = passage::span(workspace, &ask);
        let passed = self.take_through(workspace, ask, &span).await?;
        let view = self.turn(workspace, enrollment).await?;
        // What this turn has heard, the end of a pause say, nobody is told of again.
        let is_unchanged = view.as_ref().is_some_and(|view| view.seen == seen);
        Ok(ErrandDone { waits: matches!(passed, Passed::Waits) && is_unchanged, ..done(view) })
    }

    async fn turn(
        &self,
        workspace: WorkspaceId,
        enrollment: EnrollmentId,
    ) -> Result<Option<View>, Error> {
        let turn = one::turn(&self.mailroom, workspace, enrollment);
        self.outage.heed("a turn", enrollment, turn).await
    }

    async fn take_through(
        &self,
        workspace: WorkspaceId,
        mut ask: Ask,
        span: &Span,
    ) -> Result<Passed, Error> {
        let enrollment = ask.enrollment;
        // No lease runs while a send waits for a free line.
        let _line = tokio::select! {
            line = self.lines.enter(workspace, ask.sender) => line,
            () = self.ending.cancelled() => return Ok(Passed::Waits),
        };
        for _ in 0..GATES_MAX {
            let readying = prepare(&self.mailroom, workspace, vec![ask]);
            let readied = self.outage.heed("preparing a send", enrollment, readying).await?.pop();
            let message = match readied {
                Some(Readied::Ready(message)) => *message,
                Some(Readied::Answered(ask, answer)) => {
                    return self.record(workspace, kept_back(&ask, answer)).await;
                }
                None => return Ok(Passed::Waits),
            };
            self.lines.learn(workspace, message.sender.id, &message.outlet);
            let gate_at = Instant::now();
            let gating = gate(&self.mailroom, workspace, vec![message]);
            let mut gated = self.outage.heed("the gate of a send", enrollment, gating).await?;
            if let Some(dispatch) = gated.dispatched.pop() {
                let mailroom = &self.mailroom;
                let called =
                    passage::make_call(mailroom, workspace, &dispatch, gate_at, span).await;
                let is_too_late = matches!(called.what, Known::NotCalled { .. });
                let passed = self.record(workspace, called).await?;
                // At once it would be too late again.
                return Ok(if is_too_late { Passed::Waits } else { passed });
            }
            if let Some((ask, answer)) = gated.answered.pop() {
                return self.record(workspace, kept_back(&ask, answer)).await;
            }
            if let Some((ask, fence)) = gated.doubtful.pop() {
                self.record(workspace, answered(&ask, Known::NotCalled { fence })).await?;
                return Ok(Passed::Waits);
            }
            ask = match (gated.changed.pop(), gated.busy.pop()) {
                (Some(ask), _) => ask,
                (None, Some(ask)) => {
                    tokio::time::sleep(BUSY_WAIT).await;
                    ask
                }
                // It has to see something first, or is somebody else's by now.
                (None, None) => return Ok(Passed::Waits),
            };
        }
        Ok(Passed::Waits)
    }

    async fn record(&self, workspace: WorkspaceId, recorded: Recorded) -> Result<Passed, Error> {
        // What is lost here is found by the next turn.
        let written = [recorded];
        let writing = passage::write_down(&self.mailroom, workspace, &written, || ());
        tokio::select! {
            done = writing => done.map(|_| Passed::Recorded),
            () = passage::out_of_time(self.ending.cancelled()) => {
                tracing::error!("an outcome could not be recorded; the sweep will find it");
                Ok(Passed::Waits)
            }
        }
    }

    async fn look(&self, errand: &ErrandInput) -> Result<ErrandDone, Error> {
        let (workspace, enrollment) = names(errand);
        let sends = [SendId::new(errand.send)];
        let sweep = sweep(&self.mailroom, workspace, &sends);
        let settled = self.outage.heed("a sweep", enrollment, sweep).await?.is_some();
        let view = self.turn(workspace, enrollment).await?;
        // One that is not settled has its time, which the turn knows.
        Ok(ErrandDone { waits: !settled, ..done(view) })
    }
}

fn names(errand: &ErrandInput) -> (WorkspaceId, EnrollmentId) {
    (WorkspaceId::new(errand.workspace), EnrollmentId::new(errand.enrollment))
}

fn done(view: Option<View>) -> ErrandDone {
    ErrandDone { waits: false, view: shown(view) }
}

fn shown(view: Option<View>) -> LeadView {
    view.map_or_else(LeadView::gone, LeadView::from)
}
