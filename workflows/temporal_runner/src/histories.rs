//! Histories of leads, as they were recorded by a server, run through the loop once more: one that
//! would now go another way belongs to a lead that another build could not go on with.

use std::collections::BTreeSet;

use activities::error::chain;
use futures::StreamExt as _;
use temporalio_client::{WorkflowFetchHistoryOptions, WorkflowHistory, WorkflowListOptions};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use url::Url;

use super::connection::connect;
use super::workflow::Lead;

/// A history: its workflow's name, and what happened, as the SDK writes it.
pub type History = (String, Vec<u8>);

/// Why histories cannot be had, or do not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HistoryError(String);

/// Fetches the newest history of every lead, up to `limit` leads; from `address` if it is given.
///
/// # Errors
///
/// When the server does not answer.
pub async fn fetch(address: Option<&Url>, limit: usize) -> Result<Vec<History>, HistoryError> {
    let failed = |error: &dyn std::error::Error| HistoryError(chain(error));
    let client = connect(address, "histories".to_owned()).await.map_err(|error| failed(&error))?;
    let mut listed =
        client.list_workflows("WorkflowType = 'lead.v1'", WorkflowListOptions::default());
    let mut names = BTreeSet::new();
    while let Some(listed) = listed.next().await {
        names.insert(listed.map_err(|error| failed(&error))?.id().to_owned());
        if names.len() >= limit {
            break;
        }
    }
    let mut histories = Vec::with_capacity(names.len());
    for name in names {
        let handle = client.get_workflow_handle::<Lead>(name.clone());
        let history = handle.fetch_history(WorkflowFetchHistoryOptions::default()).to_json().await;
        histories.push((name, history.map_err(|error| failed(&error))?));
    }
    Ok(histories)
}

/// Runs a history through the loop of this build.
///
/// # Errors
///
/// When it goes another way, or is none.
pub async fn replay(history: &[u8]) -> Result<(), HistoryError> {
    let failed = |error: &dyn std::error::Error| HistoryError(chain(error));
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<Lead>()
        .map_err(|error| failed(&error))?
        .build();
    let replayer = WorkflowReplayer::new(options).map_err(|error| failed(&error))?;
    let history = WorkflowHistory::from_json(history).map_err(|error| failed(&error))?;
    replayer.replay_workflow(history).await.map_err(|error| failed(&error))?;
    Ok(())
}
