//! What changed, for those who watch a workspace: every transaction that changes something worth
//! watching leaves one row of news, which is read in an order in which none is passed by. News carry
//! kinds, ids and words of ours, never an address or a text; they are kept for a day at most.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use machine::ids::{CampaignId, EnrollmentId, LeadId, SendId, SenderId, WorkspaceId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api_keys::ApiKeyId;
use crate::error::Result;
use crate::store::changes::{self as store, Holder};
use crate::store::{Store, api_keys};

/// How long news are kept, wall time.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// How many rows are kept of a workspace at most.
const ROWS_MAX: i64 = 50_000;

/// How many rows one look reads.
const PAGE: i64 = 100;

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum News {
    /// Leads of a campaign came into a state, other than `sending`: that passes, and the outcome of
    /// the message is told.
    Enrollments {
        /// The campaign.
        campaign: CampaignId,
        /// The state, as shown; `parked` where it failed to move and a person must act.
        state: String,
        /// Whose.
        enrollments: Vec<EnrollmentId>,
    },
    /// A handover began, or went on.
    Handover {
        /// Whose.
        enrollment: EnrollmentId,
        /// The campaign.
        campaign: CampaignId,
        /// The person.
        lead: LeadId,
        /// `offered`, `accepted`, `answered`, `closed` or `given_back`.
        state: String,
    },
    /// A campaign came into a status.
    Campaign {
        /// Which.
        campaign: CampaignId,
        /// `draft`, `active`, `paused`, `stopped` or `finished`.
        status: String,
    },
    /// The outcome of messages became known, or lost.
    Sends {
        /// `accepted`, `rejected`, `deferred`, `cancelled`, `planned`, `unknown` or `needs_review`.
        state: String,
        /// Which.
        sends: Vec<SendId>,
    },
    /// Something came in; not that a message was delivered or opened.
    Inbound {
        /// The stored event.
        event: Uuid,
        /// What it is, in a word, as in `mail`; of one that was read, what it was taken for.
        what: String,
        /// Whom it is about, if anybody we know.
        #[serde(skip_serializing_if = "Option::is_none")]
        lead: Option<LeadId>,
    },
    /// A sender can send again, or cannot.
    Sender {
        /// Which.
        sender: SenderId,
        /// `active`, `trouble` or `paused`.
        state: String,
    },
    /// An import is finished.
    Import {
        /// Leads that are new.
        added: u64,
        /// Leads that were changed.
        changed: u64,
        /// Rows that were refused.
        refused: u64,
    },
}

/// Where a row stands among the changes: the transaction that wrote it, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The transaction.
    pub xid: i64,
    /// The row.
    pub change: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.xid, self.change)
    }
}

/// The text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position among the changes")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (xid, change) = text.split_once('-').ok_or(NoPosition)?;
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten().ok_or(NoPosition)
        };
        Ok(Self { xid: number(xid)?, change: number(change)? })
    }
}

/// What one transaction changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// Where it stands.
    pub position: Position,
    /// When it was noted, wall time.
    pub at: DateTime<Utc>,
    /// What, a JSON list of [`News`].
    pub news: String,
}

/// What a look at the changes found.
#[derive(Debug)]
pub enum Seen {
    /// These, in order; there may be more behind a full page.
    Changes(Vec<Change>),
    /// What came after the position is no longer kept: whoever watches has to read anew, and goes on
    /// from here.
    Lost(Position),
    /// The key is revoked.
    Revoked,
}

/// Returns the position before which everything has happened, and behind which everything is to come.
///
/// # Errors
///
/// When the database fails.
pub async fn now(store: &Store, workspace: WorkspaceId) -> Result<Position> {
    let mut tx = store.begin(workspace).await?;
    let horizon = store::horizon(&mut tx).await?;
    Ok(before(horizon.oldest_xid))
}

/// Returns what a workspace changed behind `after`, oldest first, to the holder of `key`.
///
/// # Errors
///
/// When the database fails.
pub async fn behind(
    store: &Store,
    workspace: WorkspaceId,
    key: ApiKeyId,
    after: Position,
) -> Result<Seen> {
    let mut tx = store.begin(workspace).await?;
    if !api_keys::is_in_force(&mut tx, workspace, key.uuid()).await? {
        return Ok(Seen::Revoked);
    }
    // Before the rows are read: what is over now is seen by them.
    let horizon = store::horizon(&mut tx).await?;
    let changes = store::behind(&mut tx, workspace, after, horizon.oldest_xid, PAGE).await?;
    // And the cut after them: what was forgotten meanwhile is missing among them.
    let is_lost = after.xid >= horizon.next_xid
        || store::cut(&mut tx, workspace).await?.is_some_and(|first| after < first);
    Ok(if is_lost { Seen::Lost(before(horizon.oldest_xid)) } else { Seen::Changes(changes) })
}

/// Whether a page is full, so that there may be more.
pub fn is_full(changes: &[Change]) -> bool {
    i64::try_from(changes.len()).is_ok_and(|n| n >= PAGE)
}

/// Returns the newest change of a workspace that may be read.
///
/// # Errors
///
/// When the database fails.
pub async fn newest(store: &Store, workspace: WorkspaceId) -> Result<Option<Position>> {
    let mut tx = store.begin(workspace).await?;
    let horizon = store::horizon(&mut tx).await?;
    Ok(store::newest(&mut tx, workspace, horizon.oldest_xid).await?)
}

/// What keeps those who watch from being told the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delay {
    /// For how long the oldest change waits to be told, wall time; nothing where none waits.
    pub waits: TimeDelta,
    /// Whose transaction is the oldest that is open, where changes wait.
    pub holder: Option<Holder>,
}

/// Returns how late the streams of all workspaces are, and because of whom.
///
/// # Errors
///
/// When the database fails.
pub async fn delay(store: &Store) -> Result<Delay> {
    let mut conn = store.begin_outside().await?;
    let horizon = store::horizon(&mut conn).await?;
    let oldest = store::oldest_untold(&mut conn, horizon).await?;
    let holder = match oldest {
        Some(_) => store::holder(&mut conn, horizon.oldest_xid).await?,
        None => None,
    };
    conn.rollback().await?;
    let waits = oldest.map_or(TimeDelta::zero(), |at| (horizon.wall - at).max(TimeDelta::zero()));
    Ok(Delay { waits, holder })
}

/// Forgets what is older than a day, and the oldest where there is more than anybody catches up with.
///
/// # Errors
///
/// When the database fails.
pub async fn forget(store: &Store, workspace: WorkspaceId) -> Result<u64> {
    let mut tx = store.begin(workspace).await?;
    let horizon = store::horizon(&mut tx).await?;
    let (cutoff, below) = (horizon.wall - KEPT, horizon.oldest_xid);
    let forgotten = store::forget(&mut tx, workspace, cutoff, ROWS_MAX, below).await?;
    tx.commit().await?;
    Ok(forgotten)
}

/// Writes news as they are stored.
pub(crate) fn written(news: &[News]) -> String {
    serde_json::to_string(news).expect("plain data")
}

fn before(xid: i64) -> Position {
    Position { xid: xid - 1, change: i64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written_and_nothing_else_is() {
        let position = Position { xid: 745, change: 12 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for wrong in ["", "745", "745-", "-12", "+7-1", "745-12-1", "a-b", "99999999999999999999-1"]
        {
            assert_eq!(wrong.parse::<Position>(), Err(NoPosition), "{wrong}");
        }
    }
}
