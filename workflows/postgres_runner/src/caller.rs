//! Effects: prepare, gate and call what turns asked for, and record what became of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activities::error::{Result, chain};
use activities::mailroom::Outlet;
use activities::send::call::call;
use activities::send::gate::{BATCH_MAX, Dispatch};
use activities::send::passage::{self, BUSY_WAIT, answered, kept_back};
use activities::send::prepare::Readied;
use activities::send::record::Known;
use activities::send::{Recorded, gate, prepare};
use activities::trouble;
use activities::turn::Ask;
use machine::ids::{SendId, SenderId, WorkspaceId};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tracing::Span;

use super::halves::Halves;
use super::{Shared, recovery};

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
        let only = if let [ask] = &asks[..] { Some(ask.enrollment) } else { None };
        let passing = trouble::caught(pass(&shared, workspace, asks, &mut calls));
        let Err(trouble) = passing.await else { continue };
        match only {
            Some(enrollment) if !trouble.is_outage() => {
                recovery::blame(&shared, workspace, enrollment, &trouble).await;
            }
            Some(_) | None => {
                tracing::error!(
                    error = chain(&trouble),
                    "gate failed; its sends are handed out again"
                );
                if !trouble.is_outage() {
                    alone = names.len();
                }
            }
        }
        shared.lanes.done(workspace, &names);
        shared.doubt();
        shared.pause(Duration::from_millis(500)).await;
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
    // Each ends when its outcome is on record.
    let mut spans: HashMap<SendId, Span> =
        asks.iter().map(|ask| (ask.send, passage::span(workspace, ask))).collect();
    for readied in prepare(&shared.mailroom, workspace, asks).await? {
        match readied {
            Readied::Ready(message) => {
                shared.lanes.learn(workspace, message.sender.id, &message.outlet);
                ready.push(*message);
            }
            Readied::Answered(ask, answer) => {
                recorded.push(kept_back(&ask, answer));
            }
        }
    }
    let gate_at = Instant::now();
    let gated = gate(&shared.mailroom, workspace, ready).await?;
    for (ask, answer) in gated.answered {
        recorded.push(kept_back(&ask, answer));
    }
    let is_doubtful = !gated.doubtful.is_empty();
    for (ask, fence) in gated.doubtful {
        recorded.push(answered(&ask, Known::NotCalled { fence }));
    }
    for dispatch in gated.dispatched {
        let ask = &dispatch.message.ask;
        if let Outlet::Discard = dispatch.message.outlet {
            let called =
                call(&shared.mailroom, workspace, &dispatch, Duration::ZERO, || true).await;
            recorded.push(answered(ask, passage::known(&dispatch, called)));
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
    let outcome = passage::make_call(&shared.mailroom, workspace, &dispatch, gate_at, &span).await;
    // The recorder outlives every call; it ends when every lane is at rest, so this comes first.
    let _ = shared.outcomes.send((workspace, outcome, span));
    shared.lanes.done(workspace, &[name(&dispatch.message.ask)]);
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

/// Records what became of sends, again and again while the database is away; by halves, so that one that
/// makes it fail is found and the others are on record. Only the end of the process does not wait for ever.
async fn write_down(shared: &Shared, workspace: WorkspaceId, recorded: &[Recorded]) {
    let mut halves = Halves::of(recorded);
    while let Some(part) = halves.next() {
        let writing = passage::write_down(&shared.mailroom, workspace, part, || shared.doubt());
        let error = tokio::select! {
            written = trouble::caught(writing) => match written {
                Ok(turned) => {
                    shared.take_up(workspace, turned);
                    continue;
                }
                Err(trouble) => {
                    let Some(one) = halves.split(part) else { continue };
                    recovery::blame(shared, workspace, one.enrollment, &trouble).await;
                    chain(&trouble)
                }
            },
            () = passage::out_of_time(shared.stop.cancelled()) => {
                "the database is away, and the process ends".to_owned()
            }
        };
        tracing::error!(
            error,
            n = part.len(),
            "outcomes could not be recorded; the sweep will find them"
        );
    }
}

fn name(ask: &Ask) -> Finished {
    (ask.sender, ask.send, ask.attempt)
}
