//! What every engine does on a send's way from its ask to its record, told once: the call while this
//! process lives, and recording again and again. How many pass at once, and when, is the engine's.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use machine::ids::WorkspaceId;
use machine::signal::{Answer, Refusal};
use tracing::{Instrument as _, Span, field};

use super::call::{Called, call};
use super::gate::Dispatch;
use super::record::{Known, Recorded, record};
use crate::error::{Result, chain};
use crate::mailroom::Mailroom;
use crate::outcome::{Detail, Outcome};
use crate::turn::{Ask, Turned};

/// How long a send waits whose lead somebody else has locked.
pub const BUSY_WAIT: Duration = Duration::from_millis(20);

/// How often recording is tried before the outcome is left to the sweep.
const RECORD_TRIES: u32 = 8;

/// The longest wait between two tries.
const RECORD_WAIT: Duration = Duration::from_secs(3);

/// How long a process that ends waits for a database that is away.
const RECORD_LAST: Duration = Duration::from_secs(10);

/// Returns the span of one passage of a send: ready, gate, call and record. It belongs to the turn that
/// asked.
pub fn span(workspace: WorkspaceId, ask: &Ask) -> Span {
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

/// Returns what is to be recorded of an ask.
pub fn answered(ask: &Ask, what: Known) -> Recorded {
    if let Known::Call { outcome: Outcome::Unknown { .. }, .. } = what {
        tracing::warn!(send.id = %ask.send, enrollment.id = %ask.enrollment, "outcome unknown");
    }
    Recorded { send: ask.send, attempt: ask.attempt, enrollment: ask.enrollment, what }
}

/// Returns what is to be recorded of an ask that was answered without a call, and counts it, in words
/// that are few.
pub fn kept_back(ask: &Ask, answer: Answer) -> Recorded {
    let counted = match &answer {
        // The second is a person's word.
        Answer::Accepted | Answer::Lost => None,
        Answer::Rejected { class, .. } => Some(("rejected", class_word(*class))),
        Answer::Deferred { reason, .. } => Some(("deferred", reason.as_str())),
        Answer::Held { missing } => Some(("held", missing.why().as_str())),
    };
    if let Some((answer, reason)) = counted {
        let labels = [("answer", answer), ("reason", reason)];
        metrics::counter!("meridian_gate_refusals_total", &labels).increment(1);
    }
    answered(ask, Known::Gate(answer))
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

/// Calls the provider of a send whose gate began at `gate_at`, if this process has lived since. Returns
/// what is to be recorded.
pub async fn make_call(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    dispatch: &Dispatch,
    gate_at: Instant,
    span: &Span,
) -> Recorded {
    let began = Instant::now();
    let provider = dispatch.message.outlet.name();
    let called = if mailroom.life.may_call(gate_at) {
        let life = mailroom.life.clone();
        let is_ours = move || life.may_call(gate_at);
        let called = call(mailroom, workspace, dispatch, gate_at.elapsed(), is_ours);
        let called = called.instrument(tracing::debug_span!(parent: span, "call", provider));
        // It may have left before.
        let unknown =
            |_| Called::Answered(Outcome::Unknown { detail: Detail::new("the call panicked") });
        AssertUnwindSafe(called).catch_unwind().await.unwrap_or_else(unknown)
    } else {
        Called::TooLate
    };
    let seconds = began.elapsed().as_secs_f64();
    metrics::histogram!("meridian_call_seconds", "provider" => provider).record(seconds);
    let outcome = answered(&dispatch.message.ask, known(dispatch, called));
    span.record("outcome", outcome.what.word());
    outcome
}

/// Returns what is known after a call.
pub fn known(dispatch: &Dispatch, called: Called) -> Known {
    match called {
        Called::Answered(outcome) => Known::Call { fence: dispatch.fence, outcome },
        Called::TooLate => Known::NotCalled { fence: dispatch.fence },
    }
}

/// Waits for `ending`, the end of the process, and then for a database that is away for as long as it will.
pub async fn out_of_time(ending: impl Future<Output = ()>) {
    ending.await;
    tokio::time::sleep(RECORD_LAST).await;
}

/// Records, again and again while the database is away: a lost outcome would need a person. What is
/// not recorded is little, for without a database nothing passes the gate. `in_doubt` is called
/// whenever it may have been recorded all the same, and what its turn asked for with it.
///
/// # Errors
///
/// When it fails again and again although the database is there; several at once are tried once, for it
/// may be one of them that makes it fail.
pub async fn write_down(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    recorded: &[Recorded],
    mut in_doubt: impl FnMut(),
) -> Result<Turned> {
    let tries_max = if recorded.len() > 1 { 1 } else { RECORD_TRIES };
    let mut tries = 0;
    loop {
        let error = match record(mailroom, workspace, recorded).await {
            Ok(turned) => {
                for it in recorded {
                    metrics::counter!("meridian_sends_total", "outcome" => it.what.word())
                        .increment(1);
                }
                return Ok(turned);
            }
            Err(error) => error,
        };
        in_doubt();
        tries += 1;
        if tries >= tries_max && !error.is_outage() {
            return Err(error);
        }
        tracing::error!(error = chain(&error), "recording failed; trying again");
        tokio::time::sleep(RECORD_WAIT.min(Duration::from_millis(50 << tries.min(8)))).await;
    }
}
