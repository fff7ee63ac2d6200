//! `/leads/import`: a CSV file of any size becomes leads. It is put aside on disk as it comes, because
//! it is read twice; memory holds a few batches of rows.

use std::collections::BTreeMap;

use activities::error::chain;
use activities::import::{
    self as activity, ImportError, KeptColumn, Mapping, Options, Policy, Report, RowFault,
    RowOutcome, RowResult, Unreadable,
};
use activities::phone::Country;
use activities::tag::Tag;
use aide::generate::GenContext;
use aide::openapi::{
    MediaType, Operation, RequestBody, Response as ApiResponse, SchemaObject,
    StatusCode as ApiStatus,
};
use aide::operation::set_body;
use aide::{OperationInput, OperationOutput};
use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};
use machine::ids::{LeadId, WorkspaceId};
use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::api::App;
use crate::api::caller::{Caller, Operator};
use crate::api::problem::Problem;
use crate::api::request::Query;
use crate::api::slots::Slot;

/// Where it is.
pub(in crate::api) const PATH: &str = "/leads/import";

/// The longest file, in bytes.
const FILE_MAX: u64 = 512 * 1024 * 1024;

/// Faults that an answer tells one by one.
const FAULTS_MAX: usize = 1_000;

/// The longest `source`, in characters.
const SOURCE_MAX: usize = 100;

/// The type of an answer with a line for each row.
const ROWS_TYPE: &str = "application/x-ndjson";

/// How a file is to be read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportQuery {
    /// What columns hold whose headers do not say it: a JSON object from headers to `email`, `phone`,
    /// `zone`, `tags`, `consent`, `sms_consent`, `call_consent`, names of attributes, or `-` for what is
    /// left out, as in `{"First name":"first_name"}`.
    map: Option<String>,
    /// What becomes of leads that are known.
    #[serde(default)]
    merge: MergePolicy,
    /// Where telephone numbers without a country code are dialled: two letters, as in `PT`. Those in a
    /// row's own column `country` go before it.
    country: Option<String>,
    /// Tags for every lead of the file, parted by commas.
    tags: Option<String>,
    /// Where the file comes from, as in `crm`.
    source: Option<String>,
    /// Of which rows is told what became of them.
    #[serde(default)]
    results: Results,
}

/// What becomes of leads that are known.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum MergePolicy {
    /// What the file says wins; an empty cell says nothing.
    #[default]
    Overwrite,
    /// What is known stays, and the file adds to it. A refusal counts always.
    Fill,
    /// They stay as they are.
    Skip,
}

/// Of which rows is told what became of them.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Results {
    /// Of those with a fault, in one JSON answer.
    #[default]
    Faults,
    /// Of all, in NDJSON while they go in; the last line has the sums, or the problem.
    All,
}

/// A CSV file on its way in.
pub(super) struct CsvFile {
    file: std::fs::File,
    /// Few are worked on at once.
    slot: Slot,
}

impl FromRequest<App> for CsvFile {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("text/csv") {
            return Err(Problem::wrong_type("send a file, with `Content-Type: text/csv`"));
        }
        let caller = request.extensions().get::<Caller>().expect("behind `authenticate`");
        let slot = app.imports.take(caller.workspace)?;
        let file = put_aside(request.into_body()).await?;
        Ok(Self { file, slot })
    }
}

/// Writes a body to a file that nobody else can open and that goes with its handle.
async fn put_aside(body: Body) -> Result<std::fs::File, Problem> {
    let file = tempfile::tempfile().map_err(|error| no_room(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    let mut chunks = body.into_data_stream();
    let mut length = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::malformed("the body did not arrive whole"))?;
        length += chunk.len() as u64;
        if length > FILE_MAX {
            return Err(Problem::too_long(format!("the file is longer than {FILE_MAX} bytes")));
        }
        file.write_all(&chunk).await.map_err(|error| no_room(&error))?;
    }
    file.flush().await.map_err(|error| no_room(&error))?;
    let mut file = file.into_std().await;
    std::io::Seek::rewind(&mut file).map_err(|error| no_room(&error))?;
    Ok(file)
}

fn no_room(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "an import could not be put aside");
    Problem::unavailable("there is no room for the file now: try again later")
}

impl OperationInput for CsvFile {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = json_schema!({ "type": "string", "examples": ["email\nada@example.com\n"] });
        let body = RequestBody {
            description: Some(
                "A CSV file in any usual encoding; its first line names the columns, at most 1,000. A row \
                 without an address is known by its telephone number"
                    .to_owned(),
            ),
            content: [("text/csv".to_owned(), media(schema))].into_iter().collect(),
            required: true,
            extensions: Default::default(),
        };
        set_body(ctx, operation, body);
    }
}

fn media(json_schema: schemars::Schema) -> MediaType {
    let schema = SchemaObject { json_schema, external_docs: None, example: None };
    MediaType { schema: Some(schema), ..MediaType::default() }
}

/// What an import did.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ImportReport {
    /// New leads.
    added: u64,
    /// Leads that were known, with something new about them.
    changed: u64,
    /// Leads that were known, and nothing new.
    unchanged: u64,
    /// Rows that were left out.
    refused: u64,
    /// What is wrong with the file, in its order; the first thousand.
    faults: Vec<ImportFault>,
    /// Faults beyond those.
    faults_omitted: u64,
    /// Columns that were left out because their headers cannot be names.
    ignored_columns: Vec<String>,
    /// Columns that are kept as attributes, and whose headers say in another language what has a name
    /// here.
    foreign_columns: Vec<AttributeColumn>,
    /// Columns that are kept as attributes, and whose headers are names of ours but for one slip.
    misspelt_columns: Vec<AttributeColumn>,
}

/// A column that is kept as an attribute, and may mean what has a name here; `map` says what it means.
#[derive(Debug, Serialize, JsonSchema)]
struct AttributeColumn {
    /// The header.
    header: String,
    /// The attribute.
    attribute: String,
    /// What was probably meant, as in `consent`.
    meaning: String,
}

impl From<KeptColumn> for AttributeColumn {
    fn from(column: KeptColumn) -> Self {
        let KeptColumn { header, attribute, meaning } = column;
        Self { header, attribute: attribute.to_string(), meaning: meaning.to_owned() }
    }
}

/// Something wrong with a row.
#[derive(Debug, Serialize, JsonSchema)]
struct ImportFault {
    /// The line it begins on; the header is line 1.
    line: u64,
    /// The column, as its header names it.
    field: String,
    /// What is wrong, and what to do about it.
    reason: String,
    /// Whether the row was left out for it.
    refuses: bool,
}

/// What became of one row.
#[derive(Debug, Serialize, JsonSchema)]
struct ImportedRow {
    /// The line it begins on; the header is line 1.
    line: u64,
    /// What became of it.
    outcome: ImportedAs,
    /// The lead it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    lead: Option<LeadId>,
    /// What is wrong with it; of a row that went in, what was noticed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    faults: Vec<ImportFault>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ImportedAs {
    /// A new lead.
    Added,
    /// A lead that was known, with something new about it.
    Changed,
    /// A lead that was known, and nothing new.
    Unchanged,
    /// It was left out.
    Refused,
}

/// One line of an answer with a line for each row.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ImportLine {
    /// What became of a row.
    Row(ImportedRow),
    /// The sums: the last line of an import that came to its end.
    Report(ImportReport),
    /// Why it did not come to its end. What went in before stays; it may be repeated.
    Problem(Problem),
}

impl From<RowFault> for ImportFault {
    fn from(fault: RowFault) -> Self {
        let (refuses, reason) = (fault.reason.refuses(), fault.reason.to_string());
        Self { line: fault.line, field: fault.field, reason, refuses }
    }
}

impl From<RowResult> for ImportedRow {
    fn from(row: RowResult) -> Self {
        let (outcome, lead) = match row.outcome {
            RowOutcome::Added(lead) => (ImportedAs::Added, Some(lead)),
            RowOutcome::Changed(lead) => (ImportedAs::Changed, Some(lead)),
            RowOutcome::Unchanged(lead) => (ImportedAs::Unchanged, Some(lead)),
            RowOutcome::Refused => (ImportedAs::Refused, None),
        };
        let faults = row.faults.into_iter().map(ImportFault::from).collect();
        Self { line: row.line, outcome, lead, faults }
    }
}

impl From<Report> for ImportReport {
    fn from(report: Report) -> Self {
        let omitted = report.faults.len().saturating_sub(FAULTS_MAX) as u64;
        let kept =
            |columns: Vec<KeptColumn>| columns.into_iter().map(AttributeColumn::from).collect();
        Self {
            added: report.totals.added,
            changed: report.totals.changed,
            unchanged: report.totals.unchanged,
            refused: report.totals.refused,
            faults: report.faults.into_iter().take(FAULTS_MAX).map(ImportFault::from).collect(),
            faults_omitted: report.faults_omitted + omitted,
            ignored_columns: report.ignored_columns,
            foreign_columns: kept(report.foreign_columns),
            misspelt_columns: kept(report.misspelt_columns),
        }
    }
}

/// The answer to an import.
#[derive(Debug)]
pub(super) enum Imported {
    /// When all is done.
    Report(Box<ImportReport>),
    /// While it is done.
    Rows(Body),
}

impl IntoResponse for Imported {
    fn into_response(self) -> Response {
        match self {
            Self::Report(report) => Json(report).into_response(),
            Self::Rows(body) => ([(header::CONTENT_TYPE, ROWS_TYPE)], body).into_response(),
        }
    }
}

impl OperationOutput for Imported {
    type Inner = Self;

    fn operation_response(ctx: &mut GenContext, _: &mut Operation) -> Option<ApiResponse> {
        let report = media(ctx.schema.subschema_for::<ImportReport>());
        let rows = media(ctx.schema.subschema_for::<ImportLine>());
        Some(ApiResponse {
            description: "What became of the rows".to_owned(),
            content: [("application/json".to_owned(), report), (ROWS_TYPE.to_owned(), rows)]
                .into_iter()
                .collect(),
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

pub(super) async fn import(
    State(app): State<App>,
    caller: Operator,
    Query(query): Query<ImportQuery>,
    file: CsvFile,
) -> Result<Imported, Problem> {
    let Operator(caller) = caller;
    let results = query.results;
    let mut options = options(query)?;
    options.actor = caller.actor();
    match results {
        Results::Faults => {
            let report = run(&app, caller.workspace, file, &options).await?;
            Ok(Imported::Report(Box::new(report.into())))
        }
        Results::All => Ok(Imported::Rows(told(app, caller.workspace, file, options))),
    }
}

async fn run(
    app: &App,
    workspace: WorkspaceId,
    file: CsvFile,
    options: &Options,
) -> Result<Report, Problem> {
    let (store, key) = (&app.room.store, &app.room.suppressions);
    let CsvFile { file, slot } = file;
    let report = activity::leads(store, key, workspace, file, options, |_| {}).await;
    drop(slot);
    report.map_err(problem)
}

/// Imports while what becomes of each row is told. Who hangs up misses the rest of the telling; the
/// leads go in all the same.
fn told(app: App, workspace: WorkspaceId, file: CsvFile, mut options: Options) -> Body {
    let (sender, rows) = mpsc::channel::<Vec<RowResult>>(1);
    options.results = Some(sender);
    let task = tokio::spawn(async move {
        let report = run(&app, workspace, file, &options).await;
        // The last line follows when the rows are through.
        drop(options);
        report
    });
    let lines = stream::unfold((rows, Some(task)), async |(mut rows, task)| {
        if let Some(batch) = rows.recv().await {
            let lines: Vec<u8> =
                batch.into_iter().flat_map(|row| line(&ImportLine::Row(row.into()))).collect();
            return Some((lines, (rows, task)));
        }
        let last = match task?.await {
            Ok(Ok(report)) => ImportLine::Report(ImportReport {
                faults: Vec::new(),
                faults_omitted: 0,
                ..report.into()
            }),
            Ok(Err(problem)) => ImportLine::Problem(problem),
            Err(error) => {
                tracing::error!(error = chain(&error), "an import broke off");
                ImportLine::Problem(Problem::unavailable("the import broke off: repeat it"))
            }
        };
        Some((line(&last), (rows, None)))
    });
    Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>))
}

fn line(line: &ImportLine) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).expect("it is plain data");
    bytes.push(b'\n');
    bytes
}

fn options(query: ImportQuery) -> Result<Options, Problem> {
    let tags = query.tags.unwrap_or_default();
    let tags: Result<Vec<Tag>, _> =
        tags.split(',').filter(|tag| !tag.trim().is_empty()).map(str::parse).collect();
    let tags = tags.map_err(|error| Problem::invalid_field("tags", error.to_string()))?;
    let source = query.source.unwrap_or_else(|| "api".to_owned());
    if source.chars().count() > SOURCE_MAX || source.contains(char::is_control) {
        let message = format!("use at most {SOURCE_MAX} characters on one line");
        return Err(Problem::invalid_field("source", message));
    }
    let country = query.country.map(|country| country.parse::<Country>()).transpose();
    let country = country.map_err(|error| Problem::invalid_field("country", error.to_string()))?;
    Ok(Options {
        tags,
        country,
        source: format!("import/{source}"),
        mapping: mapping(query.map.as_deref())?,
        policy: match query.merge {
            MergePolicy::Overwrite => Policy::Overwrite,
            MergePolicy::Fill => Policy::Fill,
            MergePolicy::Skip => Policy::Skip,
        },
        ..Options::default()
    })
}

fn mapping(text: Option<&str>) -> Result<Mapping, Problem> {
    let Some(text) = text else { return Ok(Mapping::default()) };
    let names: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| {
        let message = "use a JSON object from headers to names, as in {\"Mail\":\"email\"}";
        Problem::invalid_field("map", message)
    })?;
    Mapping::new(names).map_err(|error| {
        Problem::invalid_field(format!("map[{}]", error.header), error.to_string())
    })
}

fn problem(error: ImportError) -> Problem {
    let error = match error {
        ImportError::Store(error) => return error.into(),
        ImportError::Unreadable { why, .. } => why,
    };
    match error {
        Unreadable::Io(error) => no_room(&error),
        error @ Unreadable::NoSuchColumn { .. } => Problem::invalid_field("map", error.to_string()),
        error @ Unreadable::RecordTooLong { .. } => {
            Problem::malformed(format!("{error}; the rows before it went in"))
        }
        error @ (Unreadable::Empty
        | Unreadable::Spreadsheet
        | Unreadable::NotText
        | Unreadable::QuoteNotClosed { .. }
        | Unreadable::NoAddresses { .. }
        | Unreadable::TooManyColumns { .. }) => Problem::malformed(error.to_string()),
    }
}
