//! Effects: prepare, gate and call what turns asked for, and record what became of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activities::error::{Result, chain};
use activities::mailroom::Outlet;
use activities::outcome::Outcome;
use activities::send::call::{Called, call};
use activities::send::gate::{BATCH_MAX, Dispatch};
use activities::send::prepare::Readied;
use activities::send::record::Known;
use activities::send::{Recorded, gate, prepare, record};
use activities::turn::Ask;
use machine::ids::{SendId, SenderId, WorkspaceId};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::Shared;
use super::pump::is_outage;

/// How long a send waits whose lead somebody else has locked.
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// How often recording is tried before the outcome is left to the sweep.
const RECORD_TRIES: u32 = 8;

/// The longest wait between two tries.
const RECORD_WAIT: Duration = Duration::from_secs(3);

/// Who a finished send is, for its lane.
type Finished = (Option<SenderId>, SendId, i32);

/// Takes sends through the gate and calls their providers, until the runner stops and every call
/// is answered.
pub(crate) async fn gate_asked(shared: Arc<Shared>) {
    let mut calls = JoinSet::new();
    while let Some((workspace, asks)) =
        shared.lanes.take(BATCH_MAX.min(shared.settings.batch)).await
    {
        while calls.try_join_next().is_some() {}
        let names: Vec<Finished> = asks.iter().map(name).collect();
        if let Err(error) = pass(&shared, workspace, asks, &mut calls).await {
            tracing::error!(error = chain(&error), "gate failed; its sends are handed out again");
            shared.lanes.done(workspace, &names);
            shared.doubt();
            shared.pause(Duration::from_millis(500)).await;
        }
    }
    while calls.join_next().await.is_some() {}
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
    for readied in prepare(&shared.mailroom, workspace, asks).await? {
        match readied {
            Readied::Ready(message) => {
                shared.lanes.learn(workspace, message.sender.id, &message.outlet);
                ready.push(*message);
            }
            Readied::Answered(ask, answer) => {
                recorded.push(answered(&ask, Known::Gate(answer)));
            }
        }
    }
    let gated = gate(&shared.mailroom, workspace, ready).await?;
    let gate_at = Instant::now();
    for (ask, answer) in gated.answered {
        metrics::counter!("meridian_gate_refusals_total", "answer" => answer_word(&answer))
            .increment(1);
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
                call(&shared.mailroom, workspace, &dispatch, Duration::ZERO).await,
            );
            recorded.push(answered(ask, known));
            continue;
        }
        taken.remove(&ask.send);
        calls.spawn(make_call(Arc::clone(shared), workspace, dispatch, gate_at));
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
) {
    let began = Instant::now();
    let called = call(&shared.mailroom, workspace, &dispatch, gate_at.elapsed()).await;
    let seconds = began.elapsed().as_secs_f64();
    let provider = dispatch.message.outlet.name();
    metrics::histogram!("meridian_call_seconds", "provider" => provider).record(seconds);
    let ask = &dispatch.message.ask;
    let outcome = answered(ask, known(&dispatch, called));
    // The recorder outlives every call; it ends when every lane is at rest, so this comes first.
    let _ = shared.outcomes.send((workspace, outcome));
    shared.lanes.done(workspace, &[name(ask)]);
}

/// Records outcomes in batches as they come.
pub(crate) async fn record_outcomes(
    shared: Arc<Shared>,
    mut outcomes: UnboundedReceiver<(WorkspaceId, Recorded)>,
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
        let mut by_workspace = HashMap::<WorkspaceId, Vec<Recorded>>::new();
        for (workspace, outcome) in batch.drain(..) {
            by_workspace.entry(workspace).or_default().push(outcome);
        }
        for (workspace, recorded) in by_workspace {
            write_down(&shared, workspace, &recorded).await;
        }
    }
}

/// Waits until the runner stops and nothing is under way any more.
async fn at_rest(shared: &Shared) {
    shared.stop.cancelled().await;
    shared.lanes.drained().await;
}

/// Records, again and again while the database is away: a lost outcome would need a person. What is
/// not recorded is little, for without a database nothing passes the gate.
async fn write_down(shared: &Shared, workspace: WorkspaceId, recorded: &[Recorded]) {
    let mut tries = 0;
    let error = loop {
        let error = match record(&shared.mailroom, workspace, recorded).await {
            Ok(turned) => {
                for it in recorded {
                    metrics::counter!("meridian_sends_total", "outcome" => it.what.word())
                        .increment(1);
                }
                return shared.take_up(workspace, turned);
            }
            Err(error) => error,
        };
        // It may have been recorded all the same, and what its turn asked for with it.
        shared.doubt();
        tries += 1;
        let may_wait = is_outage(&error) && !shared.stopping();
        if tries >= RECORD_TRIES && !may_wait {
            break error;
        }
        tracing::error!(error = chain(&error), "recording failed; trying again");
        tokio::time::sleep(RECORD_WAIT.min(Duration::from_millis(50 << tries.min(8)))).await;
    };
    tracing::error!(
        error = chain(&error),
        n = recorded.len(),
        "outcomes could not be recorded; the sweep will find them"
    );
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

fn answer_word(answer: &machine::signal::Answer) -> &'static str {
    match answer {
        machine::signal::Answer::Accepted => "accepted",
        machine::signal::Answer::Rejected { .. } => "rejected",
        machine::signal::Answer::Deferred { .. } => "deferred",
        machine::signal::Answer::Held { .. } => "held",
    }
}

fn name(ask: &Ask) -> Finished {
    (ask.sender, ask.send, ask.attempt)
}
