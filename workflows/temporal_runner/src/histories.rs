//! Histories of leads, as they were recorded by a server, run through the loop once more: one that
//! would now go another way belongs to a lead that another build could not go on with.

use std::collections::BTreeSet;

use activities::error::chain;
use futures::StreamExt as _;
use machine::ids::{EnrollmentId, WorkspaceId};
use temporalio_client::errors::ClientError;
use temporalio_client::{
    Client, WorkflowExecutionInfo, WorkflowFetchHistoryOptions, WorkflowHistory,
    WorkflowHistoryError, WorkflowListOptions,
};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use url::Url;

use super::connection::{ConnectionError, connect};
use super::payloads::workflow_id;
use super::workflow::Lead;

/// A history: the name of its workflow or run, and what happened, as the SDK writes it.
pub type History = (String, Vec<u8>);

/// Why histories cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server cannot be reached.
    #[error("no histories can be had")]
    Connection(#[from] ConnectionError),
    /// It does not tell which there are.
    #[error("workflows cannot be listed")]
    List(#[source] Box<ClientError>),
    /// It does not tell one of them.
    #[error("the history of {workflow} cannot be had")]
    History {
        /// Which.
        workflow: String,
        /// What was heard.
        #[source]
        source: Box<WorkflowHistoryError>,
    },
}

/// Why a history does not hold. With texts, so that answers can be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It is none.
    #[error("it is no history: {0}")]
    Unreadable(String),
    /// It cannot be run.
    #[error("nothing can be replayed: {0}")]
    Replayer(String),
    /// It goes another way.
    #[error("it does not go as it went: {0}")]
    OtherWay(String),
}

/// Fetches the histories of leads, of up to `limit` runs: a lead whose history grew long has several. From
/// `address` if it is given.
///
/// # Errors
///
/// When the server does not answer.
pub async fn fetch(address: Option<&Url>, limit: usize) -> Result<Vec<History>, FetchError> {
    let client = connect(address, "histories".to_owned()).await?;
    let mut listed =
        client.list_workflows("WorkflowType = 'lead.v1'", WorkflowListOptions::default());
    let mut runs = BTreeSet::new();
    while let Some(listed) = listed.next().await {
        let listed = listed.map_err(|error| FetchError::List(Box::new(error)))?;
        runs.insert((listed.id().to_owned(), listed.run_id().to_owned()));
        if runs.len() >= limit {
            break;
        }
    }
    let mut histories = Vec::with_capacity(runs.len());
    for (workflow, run) in runs {
        histories.push(read(&client, workflow, Some(run)).await?);
    }
    Ok(histories)
}

/// Fetches the newest history of one lead; from `address` if it is given.
///
/// # Errors
///
/// When there is none, or the server does not answer.
pub async fn fetch_one(
    address: Option<&Url>,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
) -> Result<History, FetchError> {
    let client = connect(address, "histories".to_owned()).await?;
    read(&client, workflow_id(workspace, enrollment), None).await
}

async fn read(
    client: &Client,
    workflow: String,
    run: Option<String>,
) -> Result<History, FetchError> {
    let named = WorkflowExecutionInfo::builder()
        .namespace(client.options().namespace.clone())
        .workflow_id(workflow.clone())
        .maybe_run_id(run.clone())
        .build();
    let handle = named.bind_untyped(client.clone());
    let history = handle.fetch_history(WorkflowFetchHistoryOptions::default()).to_json().await;
    match history {
        Ok(history) => {
            Ok((run.map_or(workflow.clone(), |run| format!("{workflow}/{run}")), history))
        }
        Err(error) => Err(FetchError::History { workflow, source: Box::new(error) }),
    }
}

/// Runs a history through the loop of this build.
///
/// # Errors
///
/// When it goes another way, or is none.
pub async fn replay(history: &[u8]) -> Result<(), ReplayError> {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<Lead>()
        .map_err(|error| ReplayError::Replayer(chain(&error)))?
        .build();
    let replayer = WorkflowReplayer::new(options);
    let replayer = replayer.map_err(|error| ReplayError::Replayer(chain(&error)))?;
    let history = WorkflowHistory::from_json(history);
    let history = history.map_err(|error| ReplayError::Unreadable(chain(&error)))?;
    let replayed = replayer.replay_workflow(history).await;
    replayed.map_err(|error| ReplayError::OtherWay(chain(&error)))
}
