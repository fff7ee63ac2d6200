//! Trouble with a provider closes its own senders for a while, never another's: after some calls in a
//! row that it did not answer nothing leaves, then one call tries, and if that is answered the others
//! follow. An account that is refused pauses its sender until a person has acted.

use chrono::{DateTime, TimeDelta, Utc};
use machine::ids::{SenderId, WorkspaceId};

use super::Sender;
use crate::changes::News;
use crate::error::Result;
use crate::mailroom::Mailroom;
use crate::outcome::{Detail, Outcome, SenderHealth};
use crate::store::audit::{self, Act};
use crate::store::{clock, senders};

/// Calls in a row that a provider may leave without an answer.
const CALLS_MAX: i32 = 5;

/// The first rest after that, wall time; each further call that fails doubles it.
const REST: TimeDelta = TimeDelta::seconds(30);

/// The longest.
const REST_MAX: TimeDelta = TimeDelta::minutes(15);

/// Trouble with the provider of a sender: calls in a row that it did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// How many.
    pub count: u32,
    /// What was seen last.
    pub detail: String,
    /// Until when nothing leaves, wall time; then one call tries.
    pub until: Option<DateTime<Utc>>,
}

/// Whether trouble keeps a sender from sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// It does not.
    Closed,
    /// Nothing leaves before this, wall time.
    Open {
        /// When one call tries again.
        until: DateTime<Utc>,
    },
    /// One call tries; if it is answered the others follow.
    HalfOpen,
}

impl Breaker {
    /// Reads when trouble ends.
    pub fn of(until: Option<DateTime<Utc>>, wall: DateTime<Utc>) -> Self {
        match until {
            None => Self::Closed,
            Some(until) if until > wall => Self::Open { until },
            Some(_) => Self::HalfOpen,
        }
    }

    /// Returns the word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Notes what the outcome of a call says about the sender it went through. What cannot be noted is
/// logged: the outcome itself matters more.
pub async fn note(room: &Mailroom, workspace: WorkspaceId, sender: &Sender, outcome: &Outcome) {
    let noted = match outcome.sender_health() {
        // The usual case costs nothing.
        SenderHealth::Well if sender.trouble.is_none() => return,
        SenderHealth::Well => end(room, workspace, sender).await,
        SenderHealth::Trouble { detail, retry_after } => {
            begin(room, workspace, sender, &detail.impersonal(), retry_after).await
        }
        SenderHealth::Fault { detail } => pause(room, workspace, sender.id, &detail).await,
    };
    if let Err(error) = noted {
        let error = crate::error::chain(&error);
        tracing::error!(sender.id = %sender.id, error, "the state of a sender was not noted");
    }
}

async fn end(room: &Mailroom, workspace: WorkspaceId, sender: &Sender) -> Result<()> {
    let mut tx = room.store.begin(workspace).await?;
    let Some(state) = senders::end_trouble(&mut tx, workspace, sender.id).await? else {
        return Ok(());
    };
    tx.tell(News::Sender { sender: sender.id, state });
    tx.commit().await?;
    tracing::info!(sender.id = %sender.id, "a provider answers again");
    Ok(())
}

async fn begin(
    room: &Mailroom,
    workspace: WorkspaceId,
    sender: &Sender,
    detail: &str,
    retry_after: Option<TimeDelta>,
) -> Result<()> {
    let mut tx = room.store.begin(workspace).await?;
    let Some(before) = senders::lock_trouble(&mut tx, workspace, sender.id).await? else {
        return Ok(());
    };
    let count = before.saturating_add(1);
    let rest = rest(count, retry_after);
    let until = match rest {
        Some(rest) => Some(clock::read(&mut tx).await?.wall + rest),
        None => None,
    };
    senders::note_trouble(&mut tx, workspace, sender.id, count, detail, until).await?;
    if until.is_some() {
        tx.tell(News::Sender { sender: sender.id, state: "trouble".to_owned() });
    }
    tx.commit().await?;
    if let Some(rest) = rest {
        let rest_s = rest.num_seconds();
        tracing::warn!(sender.id = %sender.id, count, rest_s, "a provider does not answer; its sender rests");
    }
    Ok(())
}

/// Pauses a sender whose account is refused, with the provider's words as the reason, but for
/// addresses in them: they would outlive an erase.
///
/// # Errors
///
/// When the database fails.
pub async fn pause(
    room: &Mailroom,
    workspace: WorkspaceId,
    sender: SenderId,
    reason: &Detail,
) -> Result<()> {
    let mut tx = room.store.begin(workspace).await?;
    if senders::pause(&mut tx, workspace, sender, &reason.impersonal()).await? {
        let wall = clock::read(&mut tx).await?.wall;
        let subject = format!("sender/{sender}");
        let act = Act { actor: "provider", act: "sender.pause", subject: &subject, details: None };
        audit::record(&mut tx, workspace, &act, wall).await?;
        tx.tell(News::Sender { sender, state: "paused".to_owned() });
        tracing::error!(sender.id = %sender, "a provider refuses our account; its sender is paused");
    }
    tx.commit().await
}

/// How long nothing leaves after this many failures in a row; a provider that asks for time gets it at
/// the first.
fn rest(count: i32, asked: Option<TimeDelta>) -> Option<TimeDelta> {
    let earned = (count >= CALLS_MAX).then(|| {
        let doubled = u32::try_from(count - CALLS_MAX).unwrap_or_default().min(10);
        (REST * 2_i32.pow(doubled)).min(REST_MAX)
    });
    earned.max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_begins_after_five_failures_and_grows_up_to_a_bound() {
        let rests = [4, 5, 6, 7, 20, i32::MAX].map(|count| rest(count, None));
        let seconds = [None, Some(30), Some(60), Some(120), Some(900), Some(900)];
        assert_eq!(rests, seconds.map(|seconds| seconds.map(TimeDelta::seconds)));
        let asked = Some(TimeDelta::seconds(45));
        assert_eq!(rest(1, asked), asked);
        assert_eq!(rest(6, asked), Some(TimeDelta::seconds(60)));
    }

    #[test]
    fn a_rest_that_is_over_leaves_one_call_to_try() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(Breaker::of(None, now), Breaker::Closed);
        assert_eq!(Breaker::of(Some(now), now), Breaker::HalfOpen);
        let until = now + TimeDelta::seconds(1);
        assert_eq!(Breaker::of(Some(until), now), Breaker::Open { until });
    }
}
