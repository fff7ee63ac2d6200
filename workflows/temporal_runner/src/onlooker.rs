//! Workflows of leads as somebody beside them sees them: what was recorded of each, and whether it goes on.
//! For whoever measures or judges; it drives nothing, and knows no rows.

use std::collections::BTreeSet;
use std::error::Error;

use futures::TryStreamExt as _;
use machine::ids::{EnrollmentId, WorkspaceId};
use prost::Message as _;
use temporalio_client::{
    Client, WorkflowExecutionInfo, WorkflowFetchHistoryOptions, WorkflowListOptions,
    WorkflowSignalOptions,
};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use url::Url;

use super::connection::{ConnectionError, connect};
use super::lenient::Lenient;
use super::payloads::{Poke, workflow_id};
use super::workflow::Lead;

/// Looks at workflows.
pub struct Onlooker {
    client: Client,
}

/// What was recorded of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Events of its history.
    pub events: usize,
    /// Those of them that only write search attributes.
    pub labels: usize,
    /// Where it stands.
    pub standing: Standing,
}

/// Where a workflow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A worker is to look at it or to send for it, or does.
    Busy,
    /// It waits for a timer or a poke.
    Waiting,
    /// It has completed.
    Completed,
}

/// A workflow cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("workflow {workflow} cannot be looked at")]
pub struct LookError {
    workflow: String,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl Onlooker {
    /// Connects; to `address` if it is given, else where the settings say.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn connect(address: Option<&Url>) -> Result<Self, ConnectionError> {
        Ok(Self { client: connect(address, "onlooker".to_owned()).await? })
    }

    /// Reads the newest history of an enrollment's workflow.
    ///
    /// # Errors
    ///
    /// When there is none, or the server does not answer.
    pub async fn recorded(
        &self,
        workspace: WorkspaceId,
        enrollment: EnrollmentId,
    ) -> Result<Recorded, LookError> {
        let events = self.events(&workflow_id(workspace, enrollment), None).await?;
        let count = |kinds: &[EventType]| {
            events.iter().filter(|event| kinds.contains(&event.event_type())).count()
        };
        // Each begins with one event and ends with another.
        let tasks = count(&[EventType::WorkflowTaskScheduled])
            - count(&[
                EventType::WorkflowTaskCompleted,
                EventType::WorkflowTaskFailed,
                EventType::WorkflowTaskTimedOut,
            ]);
        let sends = count(&[EventType::ActivityTaskScheduled])
            - count(&[
                EventType::ActivityTaskCompleted,
                EventType::ActivityTaskFailed,
                EventType::ActivityTaskTimedOut,
                EventType::ActivityTaskCanceled,
            ]);
        let standing = if count(&[EventType::WorkflowExecutionCompleted]) > 0 {
            Standing::Completed
        } else if tasks + sends > 0 {
            Standing::Busy
        } else {
            Standing::Waiting
        };
        let labels = count(&[EventType::UpsertWorkflowSearchAttributes]);
        Ok(Recorded { events: events.len(), labels, standing })
    }

    /// Returns the histories of all runs of an enrollment's workflow with all that they hold, as bytes in which
    /// texts stand as they are, or as JSON writes them.
    ///
    /// # Errors
    ///
    /// When there is none, or the server does not answer.
    pub async fn whole(
        &self,
        workspace: WorkspaceId,
        enrollment: EnrollmentId,
    ) -> Result<Vec<u8>, LookError> {
        let workflow = workflow_id(workspace, enrollment);
        let query = format!("WorkflowId = '{workflow}'");
        let listed = self.client.list_workflows(query, WorkflowListOptions::default());
        let runs = listed.map_ok(|run| Some(run.run_id().to_owned())).try_collect();
        let mut runs: BTreeSet<Option<String>> =
            runs.await.map_err(|source| LookError::of(&workflow, source))?;
        // The newest run may not be listed yet.
        runs.insert(None);
        let mut whole = Vec::new();
        for run in runs {
            let events = self.events(&workflow, run).await?;
            whole.extend(events.iter().flat_map(HistoryEvent::encode_to_vec));
        }
        Ok(whole)
    }

    /// Reads the history of a run; of the newest if none is named.
    async fn events(
        &self,
        workflow: &str,
        run: Option<String>,
    ) -> Result<Vec<HistoryEvent>, LookError> {
        let named = WorkflowExecutionInfo::builder()
            .namespace(self.client.options().namespace.clone())
            .workflow_id(workflow.to_owned())
            .maybe_run_id(run)
            .build();
        let handle = named.bind_untyped(self.client.clone());
        let events = handle.fetch_history(WorkflowFetchHistoryOptions::default()).into_events();
        events.await.map_err(|source| LookError::of(workflow, source))
    }

    /// Pokes a workflow that goes on, as the relay does, though there is nothing new to see.
    ///
    /// # Errors
    ///
    /// When it does not go on, or the server does not answer.
    pub async fn poke(
        &self,
        workspace: WorkspaceId,
        enrollment: EnrollmentId,
    ) -> Result<(), LookError> {
        let workflow = workflow_id(workspace, enrollment);
        let handle = self.client.get_workflow_handle::<Lead>(workflow.clone());
        let poke = Lenient::from(Poke { signal_seq: 0 });
        let poked = handle.signal(Lead::look_again, poke, WorkflowSignalOptions::default()).await;
        poked.map_err(|source| LookError::of(&workflow, source))
    }
}

impl LookError {
    fn of(workflow: &str, source: impl Error + Send + Sync + 'static) -> Self {
        Self { workflow: workflow.to_owned(), source: Box::new(source) }
    }
}
