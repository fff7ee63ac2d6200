//! Workflows of leads as somebody beside them sees them: what was recorded of each, and whether it goes on.
//! For whoever measures or judges; it drives nothing, and knows no rows.

use machine::ids::{EnrollmentId, WorkspaceId};
use prost::Message as _;
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{Client, WorkflowFetchHistoryOptions, WorkflowSignalOptions};
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
    source: Box<WorkflowInteractionError>,
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
        let events = self.events(workspace, enrollment).await?;
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

    /// Returns the newest history of an enrollment's workflow with all that it holds, as bytes in which texts
    /// stand as they are, or as JSON writes them.
    ///
    /// # Errors
    ///
    /// When there is none, or the server does not answer.
    pub async fn whole(
        &self,
        workspace: WorkspaceId,
        enrollment: EnrollmentId,
    ) -> Result<Vec<u8>, LookError> {
        let events = self.events(workspace, enrollment).await?;
        Ok(events.iter().flat_map(HistoryEvent::encode_to_vec).collect())
    }

    async fn events(
        &self,
        workspace: WorkspaceId,
        enrollment: EnrollmentId,
    ) -> Result<Vec<HistoryEvent>, LookError> {
        let workflow = workflow_id(workspace, enrollment);
        let handle = self.client.get_workflow_handle::<Lead>(workflow.clone());
        let events =
            handle.fetch_history(WorkflowFetchHistoryOptions::default()).into_events().await;
        events.map_err(|source| LookError { workflow, source: Box::new(source) })
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
        poked.map_err(|source| LookError { workflow, source: Box::new(source) })
    }
}
