//! From rows to workflows: starts the workflow of every lead that has none, and pokes those that have
//! something to look at. It is the outbox, because rows say what is to be poked until a turn has seen it,
//! and the watchdog, because a lead that is overdue is poked, whatever became of its workflow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use activities::error::{ActivityError, chain};
use activities::mailroom::Mailroom;
use activities::store::engines::{self, Relayed, Waiting};
use activities::store::enrollments::Cursor;
use activities::store::{Tx, bell, clock};
use activities::turn::OVERDUE;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use machine::ids::{EnrollmentId, WorkspaceId};
use sqlx::postgres::PgListener;
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::tonic::Code;
use temporalio_client::{
    Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::{self, Heard};
use super::lenient::Lenient;
use super::payloads::{LeadInput, Poke, workflow_id};
use super::poked::Poked;
use super::search_attributes;
use super::workflow::Lead;

/// How many leads are read at once.
const PAGE: i64 = 500;

/// How many pokes are under way at once.
const AT_ONCE: usize = 50;

/// When nothing rings and nothing is due, rows are looked at again after this long at the latest.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// How many leads of a workspace are poked and have not looked yet, at most, of each scan: more would only
/// wait in Temporal for those before them, and take the time from them.
const WINDOW: usize = 500;

/// When that many are, rows are looked at again after this long.
const FULL_WAIT: Duration = Duration::from_millis(250);

/// The longest wait while Temporal or the database is away.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// How long the bell line rests after a failure.
const LINE_WAIT: Duration = Duration::from_millis(500);

/// A relay.
pub(crate) struct Relay {
    pub(crate) mailroom: Mailroom,
    pub(crate) client: Client,
    pub(crate) queues: String,
    /// Whether the namespace knows our search attributes.
    pub(crate) labelled: bool,
    pub(crate) stop: CancellationToken,
}

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("the database failed")]
    Database(#[from] ActivityError),
    #[error("Temporal takes no pokes")]
    Temporal(#[source] Heard),
    #[error("Temporal does not answer")]
    Silent(#[from] Heard),
}

/// What was heard in place of a poke's being taken.
fn refusal(error: &WorkflowStartError) -> Heard {
    match error {
        WorkflowStartError::Rpc(status) => Heard::from(status),
        error => Heard::new(error),
    }
}

impl From<sqlx::Error> for RoundError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Where a round stands in the leads of a workspace.
enum Scan {
    Unheard(EnrollmentId),
    Overdue(Option<Cursor>),
    Unstarted(EnrollmentId),
}

impl Relay {
    /// Pokes until it is told to stop.
    pub(crate) async fn run(self) {
        let rung = Arc::new(Notify::new());
        let ringing = listen(self.mailroom.clone(), Arc::clone(&rung), self.stop.clone());
        let ringing = tokio::spawn(ringing);
        let mut poked = Poked::default();
        let (mut trouble, mut greet_at): (u32, Instant) = (0, Instant::now());
        while !self.stop.is_cancelled() {
            let wait = match self.greet_and_round(&mut greet_at, &mut poked).await {
                Ok(wait) => {
                    if trouble > 0 {
                        tracing::info!("leads are relayed to Temporal again");
                    }
                    trouble = 0;
                    wait
                }
                Err(error) => {
                    // Said once: it may be away for days.
                    if trouble == 0 {
                        tracing::error!(
                            error = chain(&error),
                            "leads cannot be relayed to Temporal; trying again until they can"
                        );
                    }
                    trouble = trouble.saturating_add(1);
                    greet_at = Instant::now();
                    poked.clear();
                    let wait = AWAY_MAX.min(Duration::from_millis(250 << trouble.min(8)));
                    self.pause(wait).await;
                    continue;
                }
            };
            tokio::select! {
                () = rung.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => {}
            }
        }
        ringing.abort();
    }

    /// A round, and before it, where that is due, whether Temporal is there: that it is away is to be known
    /// before there is somebody to poke. Returns how long nothing is to be done.
    async fn greet_and_round(
        &self,
        greet_at: &mut Instant,
        poked: &mut Poked,
    ) -> Result<Duration, RoundError> {
        if Instant::now() >= *greet_at {
            connection::greet(&self.client).await?;
            *greet_at = Instant::now() + IDLE_MAX;
        }
        let wait = self.round(poked).await?;
        Ok(wait.min(greet_at.saturating_duration_since(Instant::now())))
    }

    /// Pokes what is to be poked. Returns how long nothing will be.
    async fn round(&self, poked: &mut Poked) -> Result<Duration, RoundError> {
        poked.forget(Instant::now());
        let mut conn = self.mailroom.store.begin_outside().await?;
        let clocks = clock::read(&mut conn).await?;
        let relayed = engines::relayed_workspaces(&mut conn).await?;
        conn.commit().await?;
        let overdue = clocks.campaign_in(-OVERDUE);
        let mut wait = IDLE_MAX;
        let nobody = EnrollmentId::new(Uuid::nil());
        // A page of each at a time, and whoever has something to hear first: a stop does not wait until
        // all that is overdue, or has not begun, is poked.
        for Relayed { workspace, unheard, .. } in &relayed {
            if *unheard {
                let scan = Scan::Unheard(nobody);
                wait = wait.min(self.poke_some(poked, *workspace, scan, overdue).await?);
            }
        }
        for Relayed { workspace, wake_at, .. } in &relayed {
            match wake_at {
                Some(at) if *at <= overdue => {
                    let scan = Scan::Overdue(None);
                    wait = wait.min(self.poke_some(poked, *workspace, scan, overdue).await?);
                }
                Some(at) => {
                    let due = (clocks.wall_until(*at) + OVERDUE).to_std().unwrap_or(IDLE_MAX);
                    wait = wait.min(due);
                }
                None => {}
            }
        }
        for Relayed { workspace, unstarted, .. } in &relayed {
            if *unstarted {
                let scan = Scan::Unstarted(nobody);
                wait = wait.min(self.poke_some(poked, *workspace, scan, overdue).await?);
            }
        }
        Ok(wait)
    }

    /// Pokes a page of a scan. Returns how long nothing more of it is to be poked.
    async fn poke_some(
        &self,
        poked: &mut Poked,
        workspace: WorkspaceId,
        mut scan: Scan,
        overdue: DateTime<Utc>,
    ) -> Result<Duration, RoundError> {
        let mut room = WINDOW;
        loop {
            let mut page = self.read(workspace, &scan, overdue).await?;
            let is_full = page.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
            let Some(last) = page.last().cloned() else { return Ok(IDLE_MAX) };
            let now = Instant::now();
            let under_way = page.iter().filter(|lead| poked.is_under_way(lead, now)).count();
            room = room.saturating_sub(under_way);
            page.retain(|lead| poked.is_due(lead, now));
            let is_too_much = page.len() > room;
            page.truncate(room);
            let n = self.poke(poked, workspace, page).await?;
            if is_too_much || room == 0 {
                return Ok(FULL_WAIT);
            }
            if !is_full {
                return Ok(IDLE_MAX);
            }
            // Those who were poked a moment ago are passed by, up to the first who was not.
            if n > 0 || self.stop.is_cancelled() {
                return Ok(Duration::ZERO);
            }
            scan = match scan {
                Scan::Unheard(_) => Scan::Unheard(last.enrollment),
                Scan::Unstarted(_) => Scan::Unstarted(last.enrollment),
                Scan::Overdue(_) => Scan::Overdue(
                    last.wake_at.map(|wake_at| Cursor { wake_at, enrollment: last.enrollment }),
                ),
            };
        }
    }

    async fn read(
        &self,
        workspace: WorkspaceId,
        scan: &Scan,
        overdue: DateTime<Utc>,
    ) -> Result<Vec<Waiting>, RoundError> {
        let mut tx: Tx = self.mailroom.store.begin_batch(workspace).await?;
        let page = match scan {
            Scan::Unheard(after) => engines::unheard(&mut tx, workspace, *after, PAGE).await?,
            Scan::Unstarted(after) => engines::unstarted(&mut tx, workspace, *after, PAGE).await?,
            Scan::Overdue(after) => {
                engines::overdue(&mut tx, workspace, overdue, *after, PAGE).await?
            }
        };
        tx.commit().await?;
        Ok(page)
    }

    /// Pokes each of `page`. Returns how many were poked. One that Temporal refuses for its own sake keeps it from
    /// none of the others.
    async fn poke(
        &self,
        poked: &mut Poked,
        workspace: WorkspaceId,
        page: Vec<Waiting>,
    ) -> Result<usize, RoundError> {
        let mut calls = stream::iter(page)
            .map(|waiting| async move { (self.poke_one(workspace, &waiting).await, waiting) })
            .buffer_unordered(AT_ONCE);
        let (mut n, mut refused) = (0_usize, Vec::new());
        while let Some((done, waiting)) = calls.next().await {
            match done {
                Ok(()) => n += 1,
                Err(error) if is_of_one(&error) => refused.push((waiting.enrollment, error)),
                Err(error) => return Err(RoundError::Temporal(refusal(&error))),
            }
            poked.note(waiting, Instant::now());
        }
        if let Some((enrollment, error)) = refused.first() {
            tracing::warn!(
                enrollment.id = %enrollment,
                n = refused.len(),
                error = %refusal(error),
                "Temporal takes no pokes for some leads; trying again, ever more rarely"
            );
        }
        metrics::counter!("meridian_pokes_total").increment(n as u64);
        Ok(n)
    }

    async fn poke_one(
        &self,
        workspace: WorkspaceId,
        waiting: &Waiting,
    ) -> Result<(), WorkflowStartError> {
        let input = LeadInput {
            workspace: workspace.uuid(),
            enrollment: waiting.enrollment.uuid(),
            queues: self.queues.clone(),
            labelled: self.labelled,
        };
        let labels =
            self.labelled.then(|| search_attributes::beginning(workspace, waiting.campaign));
        let id = workflow_id(workspace, waiting.enrollment);
        let options = WorkflowStartOptions::new(format!("{}-leads", self.queues), id)
            .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .maybe_search_attributes(labels)
            .build();
        let poke = Lenient::from(Poke { signal_seq: waiting.signal_seq });
        self.client
            .signal_with_start_workflow(Lead::run, input, Lead::look_again, poke, options)
            .await?;
        Ok(())
    }

    async fn pause(&self, for_how_long: Duration) {
        tokio::select! {
            () = tokio::time::sleep(for_how_long) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Whether Temporal refuses a poke for its workflow's own sake: it has taken too many, say.
fn is_of_one(error: &WorkflowStartError) -> bool {
    match error {
        WorkflowStartError::Rpc(status) => {
            matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition)
        }
        WorkflowStartError::PayloadConversion(_) => true,
        _ => false,
    }
}

/// Rings when a commit says that it brought work.
async fn listen(mailroom: Mailroom, rung: Arc<Notify>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match mailroom.store.listen(bell::WORK).await {
            Ok(listener) => hear(listener, &rung).await,
            Err(error) => tracing::debug!(error = chain(&error), "no bell line for the relay"),
        }
        // Who knows what was missed.
        rung.notify_one();
        tokio::time::sleep(LINE_WAIT).await;
    }
}

async fn hear(mut listener: PgListener, rung: &Notify) {
    while let Ok(Some(_)) = listener.try_recv().await {
        rung.notify_one();
    }
}
