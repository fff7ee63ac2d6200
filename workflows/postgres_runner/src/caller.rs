//! Effects: prepare, gate and call what turns asked for, and record what became of it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activities::error::{Result, chain};
use activities::mailroom::Outlet;
use activities::outcome::{Detail, Outcome};
use activities::send::call::{Called, call};
use activities::send::gate::{BATCH_MAX, Dispatch};
use activities::send::prepare::Readied;
use activities::send::record::Known;
use activities::send::{Recorded, gate, prepare, record};
use activities::turn::Ask;
use futures::FutureExt as _;
use machine::ids::{SendId, SenderId, WorkspaceId};
use machine::signal::{Answer, Refusal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span, field};

use super::Shared;
use super::pump::is_outage;

/// How long a send waits whose lead somebody else has locked.
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// How often recording is tried before the outcome is left to the sweep.
const RECORD_TRIES: u32 = 8;

/// How long a runner that stops waits for a database that is away.
const RECORD_LAST: Duration = Duration::from_secs(10);

/// The longest wait between two tries.
const RECORD_WAIT: Duration = Duration::from_secs(3);

/// Who a finished send is, for its lane.
type Finished = (Option<SenderId>, SendId, i32);

/// Takes sends through the gate and calls their providers, until the runner stops and every call
/// is answered.
pub(crate) async fn gate_asked(shared: Arc<Shared>) {
    let mut calls = JoinSet::new();
    // How many sends go alone, because one of those that went together made the gate fail.
    let mut alone: usize = 0;
    loop {
        let limit = if alone > 0 { 1 } else { BATCH_MAX.min(shared.settings.batch) };
        let Some((workspace, asks)) = shared.lanes.take(limit).await else { break };
        alone = alone.saturating_sub(1);
        while calls.try_join_next().is_some() {}
        let names: Vec<Finished> = asks.iter().map(name).collect();
        let passing = AssertUnwindSafe(pass(&shared, workspace, asks, &mut calls));
        let Err(trouble) = Trouble::of(passing.catch_unwind().await) else { continue };
        tracing::error!(error = trouble.what, "gate failed; its sends are handed out again");
        shared.lanes.done(workspace, &names);
        shared.doubt();
        if !trouble.is_outage && names.len() > 1 {
            alone = names.len();
        }
        shared.pause(Duration::from_millis(500)).await;
    }
    while calls.join_next().await.is_some() {}
}

/// Why a step failed.
struct Trouble {
    what: String,
    is_outage: bool,
}

impl Trouble {
    fn of<T>(done: std::thread::Result<Result<T>>) -> Result<T, Self> {
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Self { what: chain(&error), is_outage: is_outage(&error) }),
            Err(_) => Err(Self { what: "it panicked".to_owned(), is_outage: false }),
        }
    }
}

async fn pass(
    shared: &Arc<Shared>,
    workspace: WorkspaceId,
    asks: Vec<Ask>,
    calls: &mut JoinSet<()>,
) -> Result<()> {
    let mut recorded = Vec::new();
    let mut finished: Vec<Finished> = Vec::new();
    let mut ready = Vec::with_capacity(asks.len());
    let mut taken: HashMap<SendId, Finished> =
        asks.iter().map(|ask| (ask.send, name(ask))).collect();
    // Each ends when its outcome is on record.
    let mut spans: HashMap<SendId, Span> =
        asks.iter().map(|ask| (ask.send, span_of(workspace, ask))).collect();
    for readied in prepare(&shared.mailroom, workspace, asks).await? {
        match readied {
            Readied::Ready(message) => {
                shared.lanes.learn(workspace, message.sender.id, &message.outlet);
                ready.push(*message);
            }
            Readied::Answered(ask, answer) => {
                count_refusal(&answer);
                recorded.push(answered(&ask, Known::Gate(answer)));
            }
        }
    }
    let gate_at = Instant::now();
    let gated = gate(&shared.mailroom, workspace, ready).await?;
    for (ask, answer) in gated.answered {
        count_refusal(&answer);
        recorded.push(answered(&ask, Known::Gate(answer)));
    }
    let is_doubtful = !gated.doubtful.is_empty();
    for (ask, fence) in gated.doubtful {
        recorded.push(answered(&ask, Known::NotCalled { fence }));
    }
    for dispatch in gated.dispatched {
        let ask = &dispatch.message.ask;
        if let Outlet::Discard = dispatch.message.outlet {
            let known = known(
                &dispatch,
                call(&shared.mailroom, workspace, &dispatch, Duration::ZERO, || true).await,
            );
            recorded.push(answered(ask, known));
            continue;
        }
        taken.remove(&ask.send);
        let span = spans.remove(&ask.send).unwrap_or_else(Span::none);
        calls.spawn(make_call(Arc::clone(shared), workspace, dispatch, gate_at, span));
    }
    let mut again = gated.changed;
    if !gated.busy.is_empty() {
        shared.pause(BUSY_WAIT).await;
        again.extend(gated.busy);
    }
    for ask in &again {
        taken.remove(&ask.send);
    }
    shared.lanes.put_back(workspace, again);
    for it in &recorded {
        if let Some(span) = spans.get(&it.send) {
            span.record("outcome", it.what.word());
        }
    }
    finished.extend(taken.into_values());
    if !recorded.is_empty() {
        write_down(shared, workspace, &recorded).await;
    }
    // Not before it is on record that doubtful ones were not called: this runner must not try the
    // same gate meanwhile.
    shared.lanes.done(workspace, &finished);
    if is_doubtful {
        shared.doubt();
    }
    Ok(())
}

async fn make_call(
    shared: Arc<Shared>,
    workspace: WorkspaceId,
    dispatch: Dispatch,
    gate_at: Instant,
    span: Span,
) {
    let began = Instant::now();
    let called = if shared.may_call(gate_at) {
        let alive = Arc::clone(&shared);
        let is_ours = move || alive.may_call(gate_at);
        let called = call(&shared.mailroom, workspace, &dispatch, gate_at.elapsed(), is_ours);
        let provider = dispatch.message.outlet.name();
        let called = called.instrument(tracing::debug_span!(parent: &span, "call", provider));
        // It may have left before.
        let unknown =
            |_| Called::Answered(Outcome::Unknown { detail: Detail::new("the call panicked") });
        AssertUnwindSafe(called).catch_unwind().await.unwrap_or_else(unknown)
    } else {
        Called::TooLate
    };
    let seconds = began.elapsed().as_secs_f64();
    let provider = dispatch.message.outlet.name();
    metrics::histogram!("meridian_call_seconds", "provider" => provider).record(seconds);
    let ask = &dispatch.message.ask;
    let outcome = answered(ask, known(&dispatch, called));
    span.record("outcome", outcome.what.word());
    // The recorder outlives every call; it ends when every lane is at rest, so this comes first.
    let _ = shared.outcomes.send((workspace, outcome, span));
    shared.lanes.done(workspace, &[name(ask)]);
}

/// Records outcomes in batches as they come.
pub(crate) async fn record_outcomes(
    shared: Arc<Shared>,
    mut outcomes: UnboundedReceiver<(WorkspaceId, Recorded, Span)>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        let n = tokio::select! {
            n = outcomes.recv_many(&mut batch, BATCH_MAX) => n,
            // Calls hold the runner; when they are done the last outcomes are in the channel.
            () = at_rest(&shared) => {
                while let Ok(outcome) = outcomes.try_recv() {
                    batch.push(outcome);
                }
                batch.len()
            }
        };
        if n == 0 {
            return;
        }
        let mut by_workspace = HashMap::<WorkspaceId, (Vec<Recorded>, Vec<Span>)>::new();
        for (workspace, outcome, span) in batch.drain(..) {
            let (recorded, spans) = by_workspace.entry(workspace).or_default();
            recorded.push(outcome);
            spans.push(span);
        }
        for (workspace, (recorded, spans)) in by_workspace {
            write_down(&shared, workspace, &recorded).await;
            drop(spans);
        }
    }
}

/// Waits until the runner stops and nothing is under way any more.
async fn at_rest(shared: &Shared) {
    shared.stop.cancelled().await;
    shared.lanes.drained().await;
}

/// Records, again and again while the database is away: a lost outcome would need a person. What is
/// not recorded is little, for without a database nothing passes the gate. Only the end of the process
/// does not wait for ever.
async fn write_down(shared: &Shared, workspace: WorkspaceId, recorded: &[Recorded]) {
    let ending = async {
        shared.stop.cancelled().await;
        tokio::time::sleep(RECORD_LAST).await;
    };
    let error = tokio::select! {
        written = AssertUnwindSafe(try_to_write_down(shared, workspace, recorded)).catch_unwind() => {
            match Trouble::of(written) {
                Ok(()) => return,
                Err(trouble) => trouble.what,
            }
        }
        () = ending => "the database is away, and the process ends".to_owned(),
    };
    tracing::error!(
        error,
        n = recorded.len(),
        "outcomes could not be recorded; the sweep will find them"
    );
}

async fn try_to_write_down(
    shared: &Shared,
    workspace: WorkspaceId,
    recorded: &[Recorded],
) -> Result<()> {
    let mut tries = 0;
    loop {
        let error = match record(&shared.mailroom, workspace, recorded).await {
            Ok(turned) => {
                for it in recorded {
                    metrics::counter!("meridian_sends_total", "outcome" => it.what.word())
                        .increment(1);
                }
                shared.take_up(workspace, turned);
                return Ok(());
            }
            Err(error) => error,
        };
        // It may have been recorded all the same, and what its turn asked for with it.
        shared.doubt();
        tries += 1;
        if tries >= RECORD_TRIES && !is_outage(&error) {
            return Err(error);
        }
        tracing::error!(error = chain(&error), "recording failed; trying again");
        tokio::time::sleep(RECORD_WAIT.min(Duration::from_millis(50 << tries.min(8)))).await;
    }
}

fn known(dispatch: &Dispatch, called: Called) -> Known {
    match called {
        Called::Answered(outcome) => Known::Call { fence: dispatch.fence, outcome },
        Called::TooLate => Known::NotCalled { fence: dispatch.fence },
    }
}

fn answered(ask: &Ask, what: Known) -> Recorded {
    if let Known::Call { outcome: Outcome::Unknown { .. }, .. } = what {
        tracing::warn!(send.id = %ask.send, enrollment.id = %ask.enrollment, "outcome unknown");
    }
    Recorded { send: ask.send, attempt: ask.attempt, enrollment: ask.enrollment, what }
}

/// Counts a message that was kept back, in words that are few.
fn count_refusal(answer: &Answer) {
    let (answer, reason) = match answer {
        // The second is a person's word.
        Answer::Accepted | Answer::Lost => return,
        Answer::Rejected { class, .. } => ("rejected", class_word(*class)),
        Answer::Deferred { reason, .. } => ("deferred", reason.as_str()),
        Answer::Held { missing } => ("held", missing.why().as_str()),
    };
    let labels = [("answer", answer), ("reason", reason)];
    metrics::counter!("meridian_gate_refusals_total", &labels).increment(1);
}

fn class_word(class: Refusal) -> &'static str {
    match class {
        Refusal::Retry => "retry",
        Refusal::Recipient => "recipient",
        Refusal::Content => "content",
        Refusal::Account => "account",
        Refusal::Suppressed => "suppressed",
    }
}

/// The span of one passage of a send: ready, gate, call and record. It belongs to the turn that asked.
fn span_of(workspace: WorkspaceId, ask: &Ask) -> Span {
    let span = tracing::debug_span!(
        parent: None,
        "send",
        workspace.id = %workspace,
        enrollment.id = %ask.enrollment,
        lead.id = %ask.lead,
        send.id = %ask.send,
        attempt = ask.attempt,
        outcome = field::Empty,
    );
    ask.trace.lead_to(&span);
    span
}

fn name(ask: &Ask) -> Finished {
    (ask.sender, ask.send, ask.attempt)
}
