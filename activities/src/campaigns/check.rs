//! What a campaign file comes to in its workspace: every fault it has, or its settings with what its author
//! should know.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use machine::document::{self, CampaignDocument, Fault, StepDocument};
use machine::ids::WorkspaceId;
use machine::key::StepKey;
use machine::sequence::{Channel, StepKind, Version};
use sqlx::PgConnection;

use super::{Campaign, CampaignStatus, wording};
use crate::address::EmailAddress;
use crate::campaign_settings::{CampaignSettings, HandoverAddresses};
use crate::error::Result;
use crate::ids;
use crate::senders::{Sender, Transport};
use crate::store::senders::{self, SenderRow};
use crate::store::{Store, Tx, clock, workspaces};
use crate::versions;

/// The senders that are made where a workspace has none, by the channel they serve, and from whom the
/// messages they keep seem to come. The domain and the number are reserved and belong to nobody.
const CAPTURES: [(Channel, &str, &str); 2] = [
    (Channel::Email, "capture", "campaigns@meridian.example"),
    (Channel::Sms, "capture-texts", "+12025550100"),
];

/// The most senders a workspace may have.
const SENDERS_MAX: i64 = 1_000;

/// Returns every fault of a document that can be found without a database.
pub fn faults(document: &CampaignDocument) -> Vec<Fault> {
    let mut faults = document::compile(document).err().unwrap_or_default();
    faults.extend(document::unreachable_clicks(document));
    // Versions that run already may have such a name.
    if document.name.trim().contains(char::is_control) {
        let message = "holds a line break or another control character: leave it out".to_owned();
        faults.push(Fault { field: "name".to_owned(), message });
    }
    faults.extend(wording::check(document));
    faults
}

/// Returns every fault of a document, also those that only this workspace makes faults, as a sender
/// that it does not have. Nothing is stored.
///
/// # Errors
///
/// When the database fails.
pub async fn faults_here(
    store: &Store,
    workspace: WorkspaceId,
    document: &CampaignDocument,
) -> Result<Vec<Fault>> {
    let mut tx = store.begin(workspace).await?;
    let now = clock::read(&mut tx).await?.campaign;
    let checked = resolve(&mut tx, workspace, document, None, now).await?;
    Ok(checked.err().unwrap_or_default())
}

/// What a sound document comes to.
pub(super) struct Checked {
    pub(super) settings: CampaignSettings,
    pub(super) capture_made: bool,
    pub(super) unserved: Vec<StepKey>,
    pub(super) nameless: Vec<String>,
    pub(super) deaf: Vec<String>,
}

/// Resolves what a document names in its workspace; where that has no senders at all, those are made that
/// keep every message.
pub(super) async fn resolve(
    tx: &mut Tx,
    workspace: WorkspaceId,
    document: &CampaignDocument,
    before: Option<&Campaign>,
    now: DateTime<Utc>,
) -> Result<Result<Checked, Vec<Fault>>> {
    let mut faults = faults(document);
    if before.is_some_and(|campaign| campaign.status == CampaignStatus::Stopped) {
        faults.push(Fault {
            field: "name".to_owned(),
            message: format!(
                "the campaign `{}` is stopped for good: give the file another name",
                document.name.trim()
            ),
        });
    }
    let handover = handover(tx, document, &mut faults).await?;
    let (senders, capture_made) = senders(tx, workspace, document, &mut faults, now).await?;
    if !faults.is_empty() {
        return Ok(Err(faults));
    }
    if handover.is_some() && senders.iter().all(|sender| sender.channel != Channel::Email) {
        let message =
            "names nobody who sends mails, by which a person is told of a handover: name one";
        return Ok(Err(vec![Fault { field: "senders".to_owned(), message: message.to_owned() }]));
    }
    let settings = CampaignSettings {
        senders: senders.iter().map(|sender| sender.id).collect(),
        per_day: document.caps.per_day,
        zone: document.zone,
        handover,
    };
    let version = super::compile(document)?;
    let unserved = unserved(&version, &senders);
    let nameless = nameless(document, &senders);
    let deaf = deaf(&version, &senders);
    Ok(Ok(Checked { settings, capture_made, unserved, nameless, deaf }))
}

/// Returns whom a campaign hands over to; where it names nobody, that is the workspace's own address.
async fn handover(
    tx: &mut Tx,
    document: &CampaignDocument,
    faults: &mut Vec<Fault>,
) -> Result<Option<HandoverAddresses>> {
    let Some(addresses) = named(document, faults) else { return Ok(None) };
    let names_agents = document.handover.as_ref().is_some_and(|it| it.agents.is_some());
    if addresses.to.is_some() || names_agents {
        return Ok(Some(addresses));
    }
    let workspace = tx.workspace();
    let to = workspaces::hold_handover_address(tx, workspace).await?;
    if to.is_none() {
        let message = "names nobody, and the workspace has no address for that: add \
                       `to: sales@example.com` or `agents: in_turn`, or run `meridian handover \
                       address sales@example.com`";
        faults.push(Fault { field: "handover".to_owned(), message: message.to_owned() });
    }
    Ok(Some(HandoverAddresses { to, is_default: true, ..addresses }))
}

/// Reads the addresses that a campaign names.
fn named(document: &CampaignDocument, faults: &mut Vec<Fault>) -> Option<HandoverAddresses> {
    let mut read = |field: &str, text: &str| match text.parse::<EmailAddress>() {
        Ok(address) => Some(address),
        Err(error) => {
            // A plainer rule may have said so already.
            if faults.iter().all(|fault| fault.field != field) {
                let message = format!("{error}: write it like `sales@example.com`");
                faults.push(Fault { field: field.to_owned(), message });
            }
            None
        }
    };
    let handover = document.handover.as_ref()?;
    let to = handover.to.as_ref().map(|address| read("handover.to", address));
    let fallback =
        handover.fallback.as_ref().and_then(|address| read("handover.fallback", address));
    let to = match to {
        Some(read) => Some(read?.to_string()),
        None => None,
    };
    Some(HandoverAddresses { to, fallback: fallback.map(String::from), is_default: false })
}

/// Resolves the senders that the document names; where a workspace has none at all, one that keeps
/// every message is made.
async fn senders(
    tx: &mut Tx,
    workspace: WorkspaceId,
    document: &CampaignDocument,
    faults: &mut Vec<Fault>,
    now: DateTime<Utc>,
) -> Result<(Vec<Sender>, bool)> {
    let rows = senders::list(tx, workspace, SENDERS_MAX).await?;
    let known: Vec<Sender> = rows.into_iter().map(Sender::try_from).collect::<Result<_>>()?;
    let channels = channels(document);
    if document.senders.is_empty() && known.is_empty() && !channels.is_empty() {
        let mut made = Vec::new();
        for (channel, name, from) in CAPTURES {
            if channels.contains(&channel) {
                made.push(make_capture(tx, workspace, channel, name, from, now).await?);
            }
        }
        return Ok((made, true));
    }
    if document.senders.is_empty() && !channels.is_empty() {
        let names: Vec<&str> = known.iter().map(|sender| sender.name.as_str()).collect();
        faults.push(Fault {
            field: "senders".to_owned(),
            message: format!("names nobody: name one or more of {}", names.join(", ")),
        });
    }
    let mut by_name: BTreeMap<&str, &Sender> =
        known.iter().map(|sender| (sender.name.as_str(), sender)).collect();
    let mut found = Vec::new();
    for (index, name) in document.senders.iter().enumerate() {
        let field = format!("senders[{index}]");
        match by_name.remove(name.as_str()) {
            Some(sender) => found.push(sender.clone()),
            None if found.iter().any(|sender: &Sender| sender.name == *name) => {
                let message = format!("`{name}` is named twice: keep one");
                faults.push(Fault { field, message });
            }
            None => faults.push(Fault {
                field,
                message: format!(
                    "there is no sender `{name}`: run \
                     `meridian sender add {name} smtp://user@host --from ADDRESS`, or \
                     `meridian sender add {name} capture: --from ADDRESS` to keep every message here"
                ),
            }),
        }
    }
    Ok((found, false))
}

async fn make_capture(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    channel: Channel,
    name: &str,
    from: &str,
    now: DateTime<Utc>,
) -> Result<Sender> {
    let row = SenderRow {
        sender_id: ids::new::<machine::ids::Sender>().uuid(),
        name: name.to_owned(),
        channel: channel.as_str().to_owned(),
        url: Transport::Capture { script: None }.to_string(),
        secret: None,
        from_address: from.to_owned(),
        from_name: None,
        postal_address: None,
        zone: "UTC".to_owned(),
        per_day: None,
        spacing_s: 0,
        weight: 1,
        status: "active".to_owned(),
        status_reason: None,
        next_free_at: None,
        trouble_count: 0,
        trouble: None,
        trouble_until: None,
    };
    let (id, _) = senders::upsert(conn, workspace, &row, now).await?;
    Sender::try_from(SenderRow { sender_id: id.uuid(), ..row })
}

/// The channels on which messages leave; an offer to a person of ours is a mail.
fn channels(document: &CampaignDocument) -> BTreeSet<Channel> {
    fn collect(steps: &[StepDocument], channels: &mut BTreeSet<Channel>) {
        for step in steps {
            channels.extend(step.email.as_ref().map(|_| Channel::Email));
            channels.extend(step.sms.as_ref().map(|_| Channel::Sms));
            if let Some(condition) = &step.condition {
                collect(&condition.then, channels);
                collect(&condition.otherwise, channels);
            }
        }
    }
    let mut channels = BTreeSet::new();
    collect(&document.steps, &mut channels);
    channels.extend(document.handover.as_ref().map(|_| Channel::Email));
    channels
}

fn unserved(version: &Version, senders: &[Sender]) -> Vec<StepKey> {
    let mut keys = Vec::new();
    version.each_step(&mut |step| match &step.kind {
        StepKind::Message { channel, .. } => {
            if senders.iter().all(|sender| sender.channel != *channel) {
                keys.push(step.key.clone());
            }
        }
        StepKind::Call
        | StepKind::WaitUntil(_)
        | StepKind::Condition { .. }
        | StepKind::Handover
        | StepKind::Finish => {}
    });
    keys
}

fn nameless(document: &CampaignDocument, senders: &[Sender]) -> Vec<String> {
    let wordings = versions::wordings(document);
    let mut wordings = wordings.values().filter_map(|wording| wording.as_ref().ok());
    if !wordings.any(|wording| wording.always_prints("sender.name")) {
        return Vec::new();
    }
    let nameless = senders.iter().filter(|sender| sender.from_name.is_none());
    nameless.map(|sender| sender.name.clone()).collect()
}

/// Returns the senders whose provider is asked to tell of no clicks, where the campaign heeds them.
fn deaf(version: &Version, senders: &[Sender]) -> Vec<String> {
    if !version.heeds_clicks() {
        return Vec::new();
    }
    let deaf = senders.iter().filter(|sender| match &sender.transport {
        Transport::Mailgun(account) => !account.tracking().clicks,
        Transport::Smtp(_)
        | Transport::Twilio(_)
        | Transport::Capture { .. }
        | Transport::Discard => false,
    });
    deaf.map(|sender| sender.name.clone()).collect()
}
