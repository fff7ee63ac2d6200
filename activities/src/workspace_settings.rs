//! What holds for a whole workspace, and what becomes of its campaigns when it changes.

use machine::ids::WorkspaceId;
use serde_json::json;

use crate::address::EmailAddress;
use crate::error::Result;
use crate::store::audit::{self, Act};
use crate::store::{Store, clock, workspaces};

/// Why the address stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSet {
    /// Whoever asks has seen another version of the workspace.
    #[error("it was changed since it was read: read it again")]
    Stale,
    /// It is used, and there would be none.
    #[error(
        "the campaign `{campaign}` hands over to it: set another address, or name one in the \
         campaign's file"
    )]
    InUse {
        /// One that uses it.
        campaign: String,
    },
}

/// Sets the mail address to which handovers are offered where a campaign names nobody, on record, in a
/// workspace whose version `admits` lets pass; campaigns that use it hand over to the new one from now
/// on. Returns how many they are.
///
/// # Errors
///
/// When the database fails; nothing was changed then.
pub async fn set_handover_address(
    store: &Store,
    workspace: WorkspaceId,
    address: Option<&EmailAddress>,
    admits: impl FnOnce(i32) -> bool + Send,
    actor: &str,
) -> Result<Result<u64, NotSet>> {
    let mut tx = store.begin(workspace).await?;
    if !admits(workspaces::lock(&mut tx, workspace).await?) {
        return Ok(Err(NotSet::Stale));
    }
    let text = address.map(EmailAddress::as_str);
    workspaces::set_handover_address(&mut tx, workspace, text).await?;
    let users = match text {
        Some(text) => workspaces::hand_over_to(&mut tx, workspace, text).await?,
        None => match workspaces::hands_over_by_default(&mut tx, workspace).await? {
            Some(campaign) => return Ok(Err(NotSet::InUse { campaign })),
            None => 0,
        },
    };
    let wall = clock::read(&mut tx).await?.wall;
    let subject = format!("workspace/{workspace}");
    let details = Some(json!({ "is_set": text.is_some(), "campaigns": users }));
    let act = Act { actor, act: "workspace.handover_address", subject: &subject, details };
    audit::record(&mut tx, workspace, &act, wall).await?;
    tx.commit().await?;
    Ok(Ok(users))
}
