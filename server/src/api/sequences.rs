//! `/sequences`: what campaigns run. Every version is kept as it was published.

use activities::campaigns::{self, check};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use machine::document::CampaignDocument;
use machine::ids::SequenceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::caller::Viewer;
use super::page::{Page, Wanted};
use super::problem::{FieldFault, Problem};
use super::request::{Body, Path, Query};

/// Tells the list's cursors from others.
const LIST: &str = "versions";

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/sequences/validate",
            post_with(validate, |op| {
                op.id("validateSequence")
                    .summary("Tell what is wrong with a document")
                    .description(VALIDATING)
                    .tag("sequences")
            }),
        )
        .api_route(
            "/sequences/{sequence}/versions",
            get_with(list, |op| {
                op.id("listVersions")
                    .summary("List the versions of a sequence, the newest first")
                    .tag("sequences")
            }),
        )
        .api_route(
            "/sequences/{sequence}/versions/{version}",
            get_with(get, |op| {
                op.id("getVersion").summary("Read a version as it was published").tag("sequences")
            }),
        )
}

const VALIDATING: &str = "\
Nothing is stored. The faults are those that making a campaign of it would be refused with; a body that \
is no such document at all is refused here too.";

/// What is wrong with a document.
#[derive(Debug, Serialize, JsonSchema)]
struct Validation {
    /// Every fault, in the order of the document; none if it is sound.
    faults: Vec<FieldFault>,
}

async fn validate(
    State(app): State<App>,
    caller: Viewer,
    Body(document): Body<CampaignDocument>,
) -> Result<Json<Validation>, Problem> {
    let Viewer(caller) = caller;
    let faults = check::faults_here(&app.room.store, caller.workspace, &document).await?;
    Ok(Json(Validation { faults: faults.into_iter().map(FieldFault::from).collect() }))
}

#[derive(Debug, Deserialize, JsonSchema)]
struct SequencePath {
    /// The sequence's id, as its campaign shows it.
    sequence: SequenceId,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Items of the page.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A version in a list.
#[derive(Debug, Serialize, JsonSchema)]
struct VersionSummary {
    /// Its number, from 1.
    version: i32,
    /// Campaign time of its making.
    created_at: DateTime<Utc>,
}

impl From<(i32, DateTime<Utc>)> for VersionSummary {
    fn from((version, created_at): (i32, DateTime<Utc>)) -> Self {
        Self { version, created_at }
    }
}

async fn list(
    State(app): State<App>,
    caller: Viewer,
    Path(SequencePath { sequence }): Path<SequencePath>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<VersionSummary>>, Problem> {
    let Viewer(caller) = caller;
    let list = (LIST, sequence);
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let below: Option<i32> = wanted.after(&list)?;
    let (store, workspace) = (&app.room.store, caller.workspace);
    let rows = campaigns::versions(store, workspace, sequence, below, wanted.rows()).await?;
    // Every sequence has a version.
    if rows.is_empty() && below.is_none() {
        return Err(Problem::not_found(format!("there is no sequence {sequence}")));
    }
    Ok(Json(wanted.page(&list, rows, |(version, _)| *version)))
}

#[derive(Debug, Deserialize, JsonSchema)]
struct VersionPath {
    /// The sequence's id, as its campaign shows it.
    sequence: SequenceId,
    /// The version's number, from 1.
    version: i32,
}

/// A version of a sequence.
#[derive(Debug, Serialize, JsonSchema)]
struct SequenceVersion {
    #[serde(flatten)]
    summary: VersionSummary,
    /// What its author wrote.
    document: CampaignDocument,
}

async fn get(
    State(app): State<App>,
    caller: Viewer,
    Path(VersionPath { sequence, version }): Path<VersionPath>,
) -> Result<Json<SequenceVersion>, Problem> {
    let Viewer(caller) = caller;
    let (store, workspace) = (&app.room.store, caller.workspace);
    let published = campaigns::published(store, workspace, sequence, version).await?;
    let Some(published) = published else {
        let detail = format!("there is no version {version} of a sequence {sequence}");
        return Err(Problem::not_found(detail));
    };
    let summary = VersionSummary { version: published.version, created_at: published.created_at };
    Ok(Json(SequenceVersion { summary, document: published.document }))
}
