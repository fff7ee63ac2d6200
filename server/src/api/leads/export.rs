//! `/leads/export`: leads as a CSV file, made while it is read.

use activities::error::chain;
use activities::leads::export as activity;
use activities::leads::search::Query as Search;
use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{
    MediaType, Operation, Response as ApiResponse, SchemaObject, StatusCode as ApiStatus,
};
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures::stream;
use machine::explain::Shown;
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::wording;
use crate::api::App;
use crate::api::caller::Viewer;
use crate::api::problem::Problem;
use crate::api::request::Query;

/// Which leads are exported: those that pass everything that is named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    /// Those with an enrollment in this state.
    state: Option<Shown>,
    /// Those with this tag.
    tag: Option<String>,
    /// Those whose attribute `country` is this, in any case of letters.
    country: Option<String>,
    /// Those whose attribute `tier` is this, in any case of letters.
    tier: Option<String>,
    /// Those whose attribute `score` is at least this.
    score_min: Option<f64>,
    /// Those of whom an address, the name, the last name or the company begins with this, in any case
    /// of letters.
    text: Option<String>,
    /// Those who came to us then or later.
    created_since: Option<DateTime<Utc>>,
    /// Those whose `source` begins with this, as in `import/`.
    source: Option<String>,
    /// Those at this stage, in any case of letters.
    stage: Option<String>,
    /// Those with a mail address, or those without.
    has_email: Option<bool>,
}

/// A CSV file on its way out.
#[derive(Debug)]
pub(super) struct CsvOut(Body);

impl IntoResponse for CsvOut {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
            (header::CONTENT_DISPOSITION, "attachment; filename=\"leads.csv\""),
        ];
        (headers, self.0).into_response()
    }
}

impl OperationOutput for CsvOut {
    type Inner = Self;

    fn operation_response(_: &mut GenContext, _: &mut Operation) -> Option<ApiResponse> {
        let json_schema = json_schema!({ "type": "string" });
        let schema = SchemaObject { json_schema, external_docs: None, example: None };
        let media = MediaType { schema: Some(schema), ..MediaType::default() };
        Some(ApiResponse {
            description:
                "A CSV file in UTF-8 with a column for each attribute; what a spreadsheet \
                          program would calculate begins with an apostrophe"
                    .to_owned(),
            content: [("text/csv".to_owned(), media)].into_iter().collect(),
            ..ApiResponse::default()
        })
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        let response = Self::operation_response(ctx, operation);
        response.map(|it| (Some(ApiStatus::Code(200)), it)).into_iter().collect()
    }
}

pub(super) async fn export(
    State(app): State<App>,
    caller: Viewer,
    Query(query): Query<ExportQuery>,
) -> Result<CsvOut, Problem> {
    let Viewer(caller) = caller;
    let search = Search {
        state: query.state,
        tag: wording::tag(query.tag.as_deref())?,
        country: wording::searched("country", query.country)?,
        tier: wording::searched("tier", query.tier)?,
        score_min: query.score_min,
        text: wording::searched("text", query.text)?,
        since: query.created_since,
        source: wording::searched("source", query.source)?,
        stage: wording::searched("stage", query.stage)?,
        has_email: query.has_email,
    };
    let (sender, chunks) = mpsc::channel::<Vec<u8>>(1);
    let task = tokio::spawn(async move {
        let (store, actor) = (&app.room.store, caller.actor());
        activity::export(store, caller.workspace, &search, &actor, &sender).await
    });
    let chunks = stream::unfold((chunks, Some(task)), async |(mut chunks, task)| {
        if let Some(chunk) = chunks.recv().await {
            return Some((Ok(chunk), (chunks, task)));
        }
        // A file that breaks off must not look like a whole one.
        let broken = match task?.await {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => chain(&error),
            Err(error) => chain(&error),
        };
        tracing::error!(error = broken, "an export broke off");
        Some((Err(std::io::Error::other("the export broke off")), (chunks, None)))
    });
    Ok(CsvOut(Body::from_stream(chunks)))
}
