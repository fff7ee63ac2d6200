//! Campaigns as people see them: applied from a file, started, enrolled into, read. What happens to
//! one lead afterwards is not known here.

pub mod apply;
pub mod check;
pub mod enroll;
pub mod start;
pub mod view;
pub mod wording;

use std::fmt;

use chrono::{DateTime, Utc};
use machine::document::{self, CampaignDocument};
use machine::ids::{CampaignId, SequenceId, WorkspaceId};
use machine::sequence::Version;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::campaign_settings::CampaignSettings;
use crate::engine::Engine;
use crate::error::{ActivityError, Result};
use crate::store::Store;
use crate::store::campaigns::{self as store, CampaignRow, Counter};
use crate::store::sequence_versions;

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CampaignStatus {
    /// Applied, and not started.
    Draft,
    /// Its leads move.
    Active,
    /// A person paused it.
    Paused,
    /// A person ended it.
    Stopped,
    /// No lead of it has anything left to do.
    Finished,
}

impl CampaignStatus {
    /// Every status, in the order of a campaign's life.
    pub const ALL: [Self; 5] =
        [Self::Draft, Self::Active, Self::Paused, Self::Stopped, Self::Finished];

    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
        }
    }

    fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

impl fmt::Display for CampaignStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A campaign.
#[derive(Debug, Clone, PartialEq)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Unique in the workspace.
    pub name: String,
    /// Where it stands.
    pub status: CampaignStatus,
    /// Its sequence.
    pub sequence: SequenceId,
    /// The version that new enrollments get, from 1.
    pub version: i32,
    /// What the gate and the mails read.
    pub settings: CampaignSettings,
    /// The engine that drives it.
    pub engine: Engine,
    /// The newest verb.
    pub verb_seq: i32,
    /// Wall time of its making.
    pub created_at: DateTime<Utc>,
    /// Campaign time at which it starts and its audience enters; gone once all of it is in.
    pub start_at: Option<DateTime<Utc>>,
    /// Campaign time of its start.
    pub started_at: Option<DateTime<Utc>>,
    /// Campaign time of its end.
    pub finished_at: Option<DateTime<Utc>>,
    /// The version its leads are being moved to; gone once all of them were.
    pub moving_to: Option<i32>,
}

impl TryFrom<CampaignRow> for Campaign {
    type Error = ActivityError;

    fn try_from(row: CampaignRow) -> Result<Self> {
        let stored = |why: String| ActivityError::Stored { what: "campaign", why };
        Ok(Self {
            id: row.campaign_id.into(),
            status: CampaignStatus::read(&row.status)
                .ok_or_else(|| stored(format!("`{}` is no status", row.status)))?,
            settings: CampaignSettings::load(row.settings)?,
            name: row.name,
            sequence: row.sequence_id.into(),
            version: row.version,
            engine: row.engine,
            verb_seq: row.verb_seq,
            created_at: row.created_at,
            start_at: row.start_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            moving_to: row.moving_to,
        })
    }
}

/// Returns the campaign of this name.
///
/// # Errors
///
/// When the database fails, or what it holds is not a campaign.
pub async fn by_name(
    store: &Store,
    workspace: WorkspaceId,
    name: &str,
) -> Result<Option<Campaign>> {
    let mut tx = store.begin(workspace).await?;
    store::by_name(&mut tx, workspace, name).await?.map(Campaign::try_from).transpose()
}

/// Returns a campaign.
///
/// # Errors
///
/// [`ActivityError::NoSuchCampaign`], or when the database fails or what it holds is not a campaign.
pub async fn by_id(store: &Store, workspace: WorkspaceId, id: CampaignId) -> Result<Campaign> {
    let mut tx = store.begin(workspace).await?;
    find(&mut tx, workspace, id).await
}

/// As [`by_id`], inside a transaction.
///
/// # Errors
///
/// As [`by_id`].
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: CampaignId,
) -> Result<Campaign> {
    let row = store::by_id(conn, workspace, id).await?;
    row.ok_or(ActivityError::NoSuchCampaign(id))?.try_into()
}

/// As [`find`], locked against changes until the transaction ends.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: CampaignId,
) -> Result<Campaign> {
    let row = store::lock(conn, workspace, id).await?;
    row.ok_or(ActivityError::NoSuchCampaign(id))?.try_into()
}

/// Returns the counters of a campaign that are not zero.
///
/// # Errors
///
/// When the database fails.
pub async fn counters(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<Vec<Counter>> {
    let mut tx = store.begin(workspace).await?;
    Ok(store::counters(&mut tx, workspace, &[campaign]).await?)
}

/// Returns the document of a version.
///
/// # Errors
///
/// When the database fails, or the version is not there or not readable by this build.
pub async fn document(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sequence: SequenceId,
    version: i32,
) -> Result<CampaignDocument> {
    let stored = |why: String| ActivityError::Stored { what: "sequence version", why };
    let row = sequence_versions::load(conn, workspace, sequence, version)
        .await?
        .ok_or_else(|| stored(format!("version {version} is not there")))?;
    serde_json::from_value(row.document).map_err(|error| stored(error.to_string()))
}

/// One version of a sequence as it was published.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Its number, from 1.
    pub version: i32,
    /// Campaign time.
    pub created_at: DateTime<Utc>,
    /// What its author wrote.
    pub document: CampaignDocument,
}

/// Returns up to `limit` versions of a sequence below number `below`, the newest first: their numbers
/// and the campaign times of their making.
///
/// # Errors
///
/// When the database fails.
pub async fn versions(
    store: &Store,
    workspace: WorkspaceId,
    sequence: SequenceId,
    below: Option<i32>,
    limit: i64,
) -> Result<Vec<(i32, DateTime<Utc>)>> {
    let mut tx = store.begin(workspace).await?;
    Ok(sequence_versions::list(&mut tx, workspace, sequence, below, limit).await?)
}

/// Returns one version of a sequence, if there is such a one.
///
/// # Errors
///
/// When the database fails, or the version is not readable by this build.
pub async fn published(
    store: &Store,
    workspace: WorkspaceId,
    sequence: SequenceId,
    version: i32,
) -> Result<Option<Published>> {
    let mut tx = store.begin(workspace).await?;
    let row = sequence_versions::load(&mut tx, workspace, sequence, version).await?;
    let Some(row) = row else { return Ok(None) };
    let document = serde_json::from_value(row.document).map_err(|error| ActivityError::Stored {
        what: "sequence version",
        why: error.to_string(),
    })?;
    Ok(Some(Published { version: row.version, created_at: row.created_at, document }))
}

/// Makes the version that leads run from its stored document.
///
/// # Errors
///
/// When the document breaks a rule of this build: it was accepted once, so that is a bug.
pub fn compile(document: &CampaignDocument) -> Result<Version> {
    document::compile(document).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        ActivityError::Stored { what: "sequence version", why: faults.join("; ") }
    })
}
