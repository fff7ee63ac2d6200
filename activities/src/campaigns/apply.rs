//! Applying a campaign file: everything that can be wrong is said at once, then a version is
//! published if the document is not the newest one already.

use chrono::{DateTime, Utc};
use machine::document::{CampaignDocument, Fault};
use machine::ids::{CampaignId, SequenceId, WorkspaceId};
use machine::key::StepKey;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::check::{self, Checked};
use super::{Campaign, CampaignStatus};
use crate::campaign_settings::CampaignSettings;
use crate::error::{ActivityError, Result};
use crate::ids;
use crate::store::audit::{self, Act};
use crate::store::campaigns::{self as store, CampaignRow};
use crate::store::sequence_versions::{self, SequenceVersionRow};
use crate::store::{Store, Tx, clock, engines};

/// What applying did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: CampaignStatus,
    /// What became of it.
    pub change: Change,
    /// The version that new enrollments get.
    pub version: i32,
    /// Whether a sender that keeps every message was made, because there was none at all.
    pub capture_made: bool,
    /// The steps on a channel that none of the senders serves; leads will be held there.
    pub unserved: Vec<StepKey>,
    /// The senders without a name, where a text prints `sender.name`; their leads will be held.
    pub nameless: Vec<String>,
    /// The senders whose provider tells of no clicks, where the campaign heeds them.
    pub deaf: Vec<String>,
}

/// What became of the campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Created,
    /// It has a new version.
    Published,
    /// Only what its senders resolve to is new.
    Settings,
    /// It was so already.
    Nothing,
}

impl Change {
    /// The word under which it is on record.
    fn act(self) -> Option<&'static str> {
        match self {
            Self::Created => Some("campaign.create"),
            Self::Published => Some("campaign.publish"),
            Self::Settings => Some("campaign.settings"),
            Self::Nothing => None,
        }
    }
}

/// Why a document was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotApplied {
    /// Everything that is wrong with it.
    Faulty(Vec<Fault>),
    /// Another campaign has the name.
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        by: CampaignId,
    },
    /// Leads run it: only a draft is replaced.
    NotADraft(CampaignStatus),
    /// It is at another version than the one that was to be replaced.
    Changed {
        /// The version it is at.
        version: i32,
    },
}

impl From<Vec<Fault>> for NotApplied {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Faulty(faults)
    }
}

/// Applies `document` under its name: a new draft, or a new version of the campaign that has it.
/// Safe to repeat. The answer is every fault of the document, if there is one.
///
/// # Errors
///
/// When the database fails.
pub async fn apply(
    store: &Store,
    workspace: WorkspaceId,
    document: &CampaignDocument,
    actor: &str,
) -> Result<Result<Applied, Vec<Fault>>> {
    loop {
        let mut tx = store.begin(workspace).await?;
        let name = document.name.trim();
        let before = store::lock_by_name(&mut tx, workspace, name).await?;
        let before = before.map(Campaign::try_from).transpose()?;
        match write(tx, document, before.as_ref(), actor).await? {
            Ok(Some(applied)) => return Ok(Ok(applied)),
            // Somebody applied the same name meanwhile: look again.
            Ok(None) => {}
            Err(faults) => return Ok(Err(faults)),
        }
    }
}

/// Makes a draft from `document`, whose name must be free.
///
/// # Errors
///
/// When the database fails.
pub async fn create(
    store: &Store,
    workspace: WorkspaceId,
    document: &CampaignDocument,
    actor: &str,
) -> Result<Result<Applied, NotApplied>> {
    loop {
        let mut tx = store.begin(workspace).await?;
        if let Some(taken) = taken(&mut tx, workspace, document, None).await? {
            return Ok(Err(taken));
        }
        match write(tx, document, None, actor).await? {
            Ok(Some(applied)) => return Ok(Ok(applied)),
            Ok(None) => {}
            Err(faults) => return Ok(Err(faults.into())),
        }
    }
}

/// Makes a draft named `name` from the newest version of a campaign.
///
/// # Errors
///
/// As [`create`], or when there is no such campaign.
pub async fn duplicate(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    name: &str,
    actor: &str,
) -> Result<Result<Applied, NotApplied>> {
    let mut tx = store.begin(workspace).await?;
    let original = super::find(&mut tx, workspace, campaign).await?;
    let (sequence, version) = (original.sequence, original.version);
    let document = super::document(&mut tx, workspace, sequence, version).await?;
    drop(tx);
    create(store, workspace, &CampaignDocument { name: name.to_owned(), ..document }, actor).await
}

/// Puts `document` in the place of a draft's; the draft takes its name too. With an `expected`
/// version the draft must still be at it.
///
/// # Errors
///
/// When the database fails, or there is no such campaign.
pub async fn replace(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    expected: Option<i32>,
    document: &CampaignDocument,
    actor: &str,
) -> Result<Result<Applied, NotApplied>> {
    loop {
        let mut tx = store.begin(workspace).await?;
        let before = super::lock(&mut tx, workspace, campaign).await?;
        if expected.is_some_and(|version| version != before.version) {
            return Ok(Err(NotApplied::Changed { version: before.version }));
        }
        if before.status != CampaignStatus::Draft {
            return Ok(Err(NotApplied::NotADraft(before.status)));
        }
        if let Some(taken) = taken(&mut tx, workspace, document, Some(campaign)).await? {
            return Ok(Err(taken));
        }
        match write(tx, document, Some(&before), actor).await? {
            Ok(Some(applied)) => return Ok(Ok(applied)),
            Ok(None) => {}
            Err(faults) => return Ok(Err(faults.into())),
        }
    }
}

/// Publishes `document` as the next version of a campaign, whose name it must bear. Leads in it go on
/// with the version they began on; those who enter from now on get this one. With an `expected`
/// version the campaign must still be at it.
///
/// # Errors
///
/// When the database fails, or there is no such campaign.
pub async fn publish(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    expected: Option<i32>,
    document: &CampaignDocument,
    actor: &str,
) -> Result<Result<Applied, NotApplied>> {
    let mut tx = store.begin(workspace).await?;
    let before = super::lock(&mut tx, workspace, campaign).await?;
    if expected.is_some_and(|version| version != before.version) {
        return Ok(Err(NotApplied::Changed { version: before.version }));
    }
    if document.name.trim() != before.name {
        let message = format!("the campaign is `{}`: write that", before.name);
        return Ok(Err(vec![Fault { field: "name".to_owned(), message }].into()));
    }
    let written = write(tx, document, Some(&before), actor).await?;
    Ok(written.map(|applied| applied.expect("its name stays")).map_err(NotApplied::from))
}

async fn taken(
    tx: &mut Tx,
    workspace: WorkspaceId,
    document: &CampaignDocument,
    own: Option<CampaignId>,
) -> Result<Option<NotApplied>> {
    let name = document.name.trim();
    let other = store::by_name(tx, workspace, name).await?.map(|row| row.campaign_id.into());
    let other: Option<CampaignId> = other.filter(|id| Some(*id) != own);
    Ok(other.map(|by| NotApplied::NameTaken { name: name.to_owned(), by }))
}

/// Checks and writes a document: a new draft, or the next version of the campaign `before`, which is
/// locked. `None`: another campaign got the name meanwhile.
async fn write(
    mut tx: Tx,
    document: &CampaignDocument,
    before: Option<&Campaign>,
    actor: &str,
) -> Result<Result<Option<Applied>, Vec<Fault>>> {
    let workspace = tx.workspace();
    let clocks = clock::read(&mut tx).await?;
    let now = clocks.campaign;
    let checked = match check::resolve(&mut tx, workspace, document, before, now).await? {
        Ok(checked) => checked,
        Err(faults) => return Ok(Err(faults)),
    };
    let (hash, stored) = fingerprint(document)?;
    let version = SequenceVersionRow { version: 1, document: stored, hash, created_at: now };
    let written = match before {
        Some(campaign) => update(&mut tx, campaign, document, version, &checked).await?,
        None => insert(&mut tx, workspace, document, version, &checked, now).await?,
    };
    let Some((campaign, change, version)) = written else { return Ok(Ok(None)) };
    if let Some(act) = change.act() {
        let subject = format!("campaign/{campaign}");
        let details = Some(json!({ "version": version }));
        let act = Act { actor, act, subject: &subject, details };
        audit::record(&mut tx, workspace, &act, clocks.wall).await?;
    }
    tx.commit().await?;
    Ok(Ok(Some(Applied {
        campaign,
        name: document.name.trim().to_owned(),
        status: before.map_or(CampaignStatus::Draft, |campaign| campaign.status),
        change,
        version,
        capture_made: checked.capture_made,
        unserved: checked.unserved,
        nameless: checked.nameless,
        deaf: checked.deaf,
    })))
}

/// Returns the hash of a document, and the document as data.
fn fingerprint(document: &CampaignDocument) -> Result<(Vec<u8>, Value)> {
    let stored = |error: serde_json::Error| ActivityError::Stored {
        what: "campaign file",
        why: error.to_string(),
    };
    let text = serde_json::to_vec(document).map_err(stored)?;
    let value = serde_json::to_value(document).map_err(stored)?;
    Ok((Sha256::digest(&text).to_vec(), value))
}

type Written = Option<(CampaignId, Change, i32)>;

async fn insert(
    tx: &mut Tx,
    workspace: WorkspaceId,
    document: &CampaignDocument,
    version: SequenceVersionRow,
    checked: &Checked,
    now: DateTime<Utc>,
) -> Result<Written> {
    let sequence: SequenceId = ids::new();
    let campaign: CampaignId = ids::new();
    sequence_versions::insert(tx, workspace, sequence, &version).await?;
    let row = CampaignRow {
        campaign_id: campaign.uuid(),
        name: document.name.trim().to_owned(),
        engine: engines::usual(tx).await?,
        status: CampaignStatus::Draft.as_str().to_owned(),
        sequence_id: sequence.uuid(),
        version: version.version,
        settings: as_value(&checked.settings),
        verb_seq: 0,
        created_at: now,
        start_at: None,
        started_at: None,
        finished_at: None,
        moving_to: None,
    };
    let is_new = store::insert(tx, workspace, &row).await?;
    Ok(is_new.then_some((campaign, Change::Created, version.version)))
}

async fn update(
    tx: &mut Tx,
    campaign: &Campaign,
    document: &CampaignDocument,
    mut version: SequenceVersionRow,
    checked: &Checked,
) -> Result<Written> {
    let (workspace, sequence) = (tx.workspace(), campaign.sequence);
    let newest = sequence_versions::load(tx, workspace, sequence, campaign.version).await?;
    let change = if newest.is_some_and(|newest| newest.hash == version.hash) {
        version.version = campaign.version;
        if campaign.settings == checked.settings { Change::Nothing } else { Change::Settings }
    } else {
        version.version = campaign.version + 1;
        sequence_versions::insert(tx, workspace, sequence, &version).await?;
        Change::Published
    };
    if change != Change::Nothing {
        let (settings, name) = (as_value(&checked.settings), document.name.trim());
        let set = store::set_version(tx, workspace, campaign.id, name, version.version, &settings);
        match set.await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Ok(None),
            set => set?,
        }
    }
    Ok(Some((campaign.id, change, version.version)))
}

fn as_value(settings: &CampaignSettings) -> Value {
    serde_json::to_value(settings).expect("settings are plain data")
}
