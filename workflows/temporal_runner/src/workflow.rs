//! The workflow of one lead: a loop that looks at the lead, has done what is open, and sleeps until its
//! time or until it is poked. It knows nothing of sequences and mails and is meant never to change:
//! everything that does is behind the turn, in Postgres.

#![expect(missing_docs, reason = "the macros make constants of their own, without a word")]

use std::pin::Pin;
use std::time::Duration;

use activities::mailroom::LEASE_MAX;
use futures::FutureExt as _;
use futures::future::{OptionFuture, select_all};
use temporalio_common::RetryPolicy;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{
    ActivityExecutionError, ActivityOptions, CancellableFuture, ContinueAsNewOptions,
    LocalActivityOptions, SyncWorkflowContext, TimerOptions, TimerResult, WorkflowContext,
    WorkflowContextView, WorkflowResult, WorkflowTermination,
};

use super::activities::{Sends, Turns};
use super::lenient::Lenient;
use super::payloads::{Errand, ErrandDone, ErrandInput, ErrandKind, LeadInput, LeadView, Poke};
use super::search_attributes;

/// How long a turn may take.
const TURN: Duration = Duration::from_secs(30);

/// How long a send may take in all, with the wait for a free line: more than any lease.
const SEND: Duration = Duration::from_secs(30 * 60);
const _: () = assert!(SEND.as_secs() > LEASE_MAX.num_seconds().unsigned_abs());

/// After this long without a heartbeat an activity is given up: its worker is gone.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How often a send is tried whose own infrastructure fails. Then the lead is looked at again.
const SEND_TRIES: u32 = 5;

/// How long after a turn that did not end the lead is looked at again.
const AGAIN: Duration = Duration::from_secs(60);

/// A timer that fires a little early would be a turn for nothing.
const MARGIN: Duration = Duration::from_millis(10);

/// What one step of the words on a timer or an activity may be long.
const SUMMARY_MAX: usize = 200;

type Timer<'a> = Pin<Box<dyn CancellableFuture<Output = TimerResult> + 'a>>;
type Flight<'a> =
    Pin<Box<dyn CancellableFuture<Output = Result<ErrandDone, ActivityExecutionError>> + 'a>>;

/// One enrollment.
#[workflow]
pub struct Lead {
    input: LeadInput,
    /// How often it was poked.
    pokes: u64,
    /// What was seen last.
    view: LeadView,
}

/// What is under way for an enrollment.
struct Errands<'a> {
    /// Each with whether it was asked for again meanwhile.
    flights: Vec<(Errand, bool, Flight<'a>)>,
    /// What stays planned, until somebody has looked.
    resting: Vec<Errand>,
}

/// Why the loop goes on.
enum Woke {
    Poked,
    Cancelled,
    Fired,
    Done(usize, Box<Result<ErrandDone, ActivityExecutionError>>),
}

#[workflow_methods]
impl Lead {
    #[init]
    fn new(_: &WorkflowContextView, input: LeadInput) -> Self {
        Self { input, pokes: 0, view: LeadView::default() }
    }

    /// Drives the enrollment until nothing is left to wait for.
    #[run(name = "lead.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let ctx = &*ctx;
        let input = ctx.state(|lead| lead.input.clone());
        let mut timer: Option<(Option<i64>, Timer<'_>)> = None;
        let mut errands = Errands { flights: Vec::new(), resting: Vec::new() };
        let mut labels: Option<(String, Option<String>)> = None;
        // What an errand came to: it has looked at the lead itself.
        let mut fresh: Option<LeadView> = None;
        loop {
            // Before the look: a poke that comes during it must not be lost.
            let seen = ctx.state(|lead| lead.pokes);
            let looked = match fresh.take() {
                Some(view) => Ok(view),
                None => {
                    let turn = turn_options();
                    ctx.execute_local_activity(Turns::turn, input.clone(), turn).await
                }
            };
            match looked {
                Ok(view) if view.is_news_after(&ctx.state(|lead| lead.view.clone())) => {
                    errands.start(ctx, &input, &view);
                    // The end of an errand is a look too, and the relay pokes what is late meanwhile.
                    let is_armed = timer.as_ref().map(|(at, _)| *at) == Some(view.wake_at_ms);
                    let is_right = is_armed && view.wake_at_ms.is_some();
                    if errands.flights.is_empty() && !is_right {
                        disarm(&mut timer);
                        if view.wake_at_ms.is_some() {
                            let wait = Duration::from_millis(view.wait_ms) + MARGIN;
                            timer = Some((view.wake_at_ms, arm(ctx, wait, view.headline.as_ref())));
                        }
                    }
                    show(ctx, &input, &view, &mut labels);
                    ctx.state_mut(|lead| lead.view = view);
                }
                // Somebody has looked later, but armed no timer while the errand was under way.
                Ok(_) => continue,
                Err(ActivityExecutionError::Cancelled(..)) => {
                    return Err(WorkflowTermination::cancelled());
                }
                Err(_) => {
                    disarm(&mut timer);
                    timer = Some((None, arm(ctx, AGAIN, None)));
                }
            }
            if errands.flights.is_empty() && seen == ctx.state(|lead| lead.pokes) {
                if ctx.state(|lead| lead.view.rests) {
                    disarm(&mut timer);
                    return Ok(());
                }
                if ctx.continue_as_new_suggested() {
                    ctx.continue_as_new(input.clone(), ContinueAsNewOptions::default())?;
                }
            }
            match next(ctx, seen, &mut timer, &mut errands).await {
                Woke::Poked => errands.resting.clear(),
                Woke::Cancelled => return Err(WorkflowTermination::cancelled()),
                Woke::Fired => {
                    timer = None;
                    errands.resting.clear();
                }
                Woke::Done(index, done) => fresh = errands.note(index, *done),
            }
        }
    }

    /// There is something to look at, whatever the poke says and whether it can be read.
    #[signal(name = "look_again")]
    pub fn look_again(&mut self, _: &mut SyncWorkflowContext<Self>, _: Lenient<Poke>) {
        self.pokes += 1;
    }

    /// How the enrollment stood when it was looked at last.
    #[query(name = "view")]
    pub fn view(&self, _: &WorkflowContextView) -> LeadView {
        self.view.clone()
    }
}

async fn next<'a>(
    ctx: &'a WorkflowContext<Lead>,
    seen: u64,
    timer: &mut Option<(Option<i64>, Timer<'a>)>,
    errands: &mut Errands<'a>,
) -> Woke {
    let mut fired: OptionFuture<_> = timer.as_mut().map(|(_, timer)| timer).into();
    let flights = (!errands.flights.is_empty())
        .then(|| select_all(errands.flights.iter_mut().map(|(_, _, flight)| flight)).fuse());
    let mut done: OptionFuture<_> = flights.into();
    temporalio_sdk::workflows::select! {
        poked = ctx.wait_condition(move |lead: &Lead| lead.pokes != seen) => match poked {
            Ok(()) => Woke::Poked,
            Err(_) => Woke::Cancelled,
        },
        done = done => {
            let (done, index, _) = done.expect("there is one");
            Woke::Done(index, Box::new(done))
        }
        fired = fired => match fired.expect("there is one") {
            TimerResult::Fired => Woke::Fired,
            TimerResult::Cancelled => Woke::Cancelled,
        },
    }
}

impl<'a> Errands<'a> {
    /// Starts what is to be done and is not under way. It is not awaited: a poke must be heard while a
    /// send is under way.
    fn start(&mut self, ctx: &'a WorkflowContext<Lead>, input: &LeadInput, view: &LeadView) {
        for errand in &view.errands {
            if let Some((_, again, _)) = self.flights.iter_mut().find(|(it, _, _)| it == errand) {
                *again = true;
            } else if !self.resting.contains(errand) {
                let flight = begin(ctx, input, errand, view);
                self.flights.push((errand.clone(), false, flight));
            }
        }
    }

    /// Takes an errand off that is done. Returns how the enrollment stands, if it is known.
    fn note(
        &mut self,
        index: usize,
        done: Result<ErrandDone, ActivityExecutionError>,
    ) -> Option<LeadView> {
        let (errand, again, _) = self.flights.remove(index);
        match done {
            Ok(done) if done.waits && again => None,
            Ok(done) => {
                if done.waits {
                    self.resting.push(errand);
                }
                Some(done.view)
            }
            // It is in the rows what is to be done; the lead is looked at, and the errand rests.
            Err(_) => {
                self.resting.push(errand);
                None
            }
        }
    }
}

fn begin<'a>(
    ctx: &'a WorkflowContext<Lead>,
    input: &LeadInput,
    errand: &Errand,
    view: &LeadView,
) -> Flight<'a> {
    let what = ErrandInput {
        workspace: input.workspace,
        enrollment: input.enrollment,
        send: errand.send,
        attempt: errand.attempt,
    };
    let step = view.step.as_deref().unwrap_or("a mail to the team");
    let options = |queue: &str, summary: String| {
        ActivityOptions::with_start_to_close_timeout(SEND)
            .heartbeat_timeout(HEARTBEAT)
            .task_queue(format!("{}-{queue}", input.queues))
            .retry_policy(
                RetryPolicy::builder()
                    .initial_interval(Duration::from_secs(1))
                    .backoff_coefficient(2.0)
                    .maximum_interval(Duration::from_secs(30))
                    .maximum_attempts(SEND_TRIES)
                    .build(),
            )
            .summary(summary)
            .build()
    };
    match errand.kind {
        ErrandKind::Email => {
            let options = options("email", format!("{step}: email"));
            Box::pin(ctx.execute_activity(Sends::send, what, options))
        }
        ErrandKind::Sms => {
            let options = options("sms", format!("{step}: sms"));
            Box::pin(ctx.execute_activity(Sends::send, what, options))
        }
        ErrandKind::Sweep => {
            let options = options("email", "a call was lost: looking for evidence".to_owned());
            Box::pin(ctx.execute_activity(Sends::sweep, what, options))
        }
    }
}

/// A turn is fast, safe to repeat, and holds nothing personal. Its failures are counted in Postgres,
/// which parks the lead after some.
fn turn_options() -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .start_to_close_timeout(TURN)
        .retry_policy(
            RetryPolicy::builder()
                .initial_interval(Duration::from_millis(500))
                .backoff_coefficient(2.0)
                .maximum_interval(Duration::from_secs(30))
                .build(),
        )
        .timer_backoff_threshold(Duration::from_secs(5))
        .build()
}

fn arm<'a>(ctx: &'a WorkflowContext<Lead>, wait: Duration, headline: Option<&String>) -> Timer<'a> {
    let summary: String =
        headline.map_or("looks again", String::as_str).chars().take(SUMMARY_MAX).collect();
    Box::pin(ctx.timer(TimerOptions::builder(wait).summary(summary).build()))
}

/// A timer that is only dropped stays with the server, and wakes the workflow for nothing.
fn disarm(timer: &mut Option<(Option<i64>, Timer<'_>)>) {
    if let Some((_, timer)) = timer.take() {
        timer.cancel();
    }
}

/// Shows people where the lead is, where it stays for longer than a send takes.
fn show(
    ctx: &WorkflowContext<Lead>,
    input: &LeadInput,
    view: &LeadView,
    labels: &mut Option<(String, Option<String>)>,
) {
    if let Some(headline) = &view.headline {
        ctx.set_current_details(headline.clone());
    }
    let now = (view.state.clone(), view.step.clone());
    if input.labelled && view.errands.is_empty() && labels.as_ref() != Some(&now) {
        ctx.upsert_search_attributes(search_attributes::standing(&now.0, now.1.as_deref()));
        *labels = Some(now);
    }
}
