//! What a person may do about a lead that was handed over. The machine decides what follows.

use machine::ids::{EnrollmentId, WorkspaceId};
use machine::signal::{HandoverResult, Signal};
use machine::state::Responder;

use crate::error::Result;
use crate::ids;
use crate::ingest::{self, Verb};
use crate::store::{Store, handover_views};

/// What a person orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Take the lead.
    Accept(Responder),
    /// The lead was answered.
    Answered,
    /// Close it.
    Close(HandoverResult),
    /// Let the sequence go on.
    GiveBack,
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordered {
    /// The lead was told.
    Told,
    /// No person has the lead.
    NoneOpen,
}

/// Tells a lead that is with a person what that person ordered; `actor` is on record for it.
///
/// # Errors
///
/// When there is no such enrollment, or the database fails.
pub async fn order(
    store: &Store,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    order: Order,
    actor: &str,
) -> Result<Ordered> {
    let mut tx = store.begin(workspace).await?;
    let open = handover_views::open(&mut tx, workspace, enrollment).await?;
    tx.commit().await?;
    if open.is_none() {
        return Ok(Ordered::NoneOpen);
    }
    let signal = match order {
        Order::Accept(by) => Signal::HandoverAccepted { by },
        Order::Answered => Signal::HandoverAnswered,
        Order::Close(result) => Signal::HandoverClosed { result },
        Order::GiveBack => Signal::GivenBack,
    };
    let source_key = format!("handover/{}", ids::new::<machine::ids::Send>());
    let verb = Verb { enrollment, signal, source_key, actor: actor.to_owned() };
    ingest::verb(store, workspace, verb).await?;
    Ok(Ordered::Told)
}
