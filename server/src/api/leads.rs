//! `/leads`: the people that campaigns may write to.

mod export;
mod import;
mod wording;

use activities::leads::search::{self, Query as Search};
use activities::leads::{self as people, NotChanged, erase};
use activities::store::enrollment_views::{self, EnrollmentRow};
use activities::store::lead_views::{self, LeadView};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use chrono::{DateTime, Utc};
use machine::explain::Shown;
use machine::ids::{EnrollmentId, LeadId, WorkspaceId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::App;
use super::answer::{Created, Versioned};
use super::caller::{Admin, Operator, Viewer};
use super::if_match::IfMatch;
use super::page::{Page, Wanted};
use super::problem::Problem;
use super::request::{Body, Path, Query};
pub(super) use import::PATH as IMPORT_PATH;
pub(super) use wording::searched;
use wording::{ConsentWord, LeadChange, NewLead};

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/leads",
            get_with(list, |op| op.id("listLeads").summary("List leads").tag("leads"))
                .post_with(create, |op| op.id("createLead").summary("Add a lead").tag("leads")),
        )
        .api_route(
            "/leads/{lead}",
            get_with(show, |op| {
                op.id("getLead").summary("Show a lead and the campaigns it is in").tag("leads")
            })
            .patch_with(change, |op| {
                op.id("changeLead")
                    .summary("Change a lead by a merge patch and tell its campaigns")
                    .tag("leads")
            })
            .delete_with(forget, |op| {
                op.id("eraseLead")
                    .summary("Erase a person; only the promise never to write to it is kept")
                    .tag("leads")
            }),
        )
        .api_route(
            IMPORT_PATH,
            post_with(import::import, |op| {
                op.id("importLeads").summary("Import leads from a CSV file").tag("leads")
            }),
        )
        .api_route(
            "/leads/export",
            get_with(export::export, |op| {
                op.id("exportLeads").summary("Export leads as a CSV file").tag("leads")
            }),
        )
}

/// A person we may write to.
#[derive(Debug, Serialize, JsonSchema)]
struct Lead {
    /// Its id.
    id: LeadId,
    /// Rises with every change; its entity tag.
    version: i32,
    /// Its mail addresses in their order; mail goes to the first.
    emails: Vec<String>,
    /// Its telephone numbers in their order; texts go to the first.
    phones: Vec<String>,
    /// The zone it lives in; absent: the campaign's.
    zone: Option<String>,
    /// What it agreed to.
    consent: Consent,
    /// Everything else that is known of it.
    attributes: Map<String, Value>,
    /// Its tags in their order.
    tags: Vec<String>,
    /// Where it stands with us: `new`, `contacted` once a message left, `replied` once it wrote to us; or
    /// whatever people say of it, as in `qualified`, `customer` or `lost`. It never falls behind what
    /// happened.
    stage: String,
    /// How it came to us, as in `import/hotels.csv`.
    source: String,
    /// When it came to us.
    created_at: DateTime<Utc>,
    /// When it was changed last.
    changed_at: DateTime<Utc>,
    /// When it was erased; then nothing else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_at: Option<DateTime<Utc>>,
}

/// What a person agreed to, by channel.
#[derive(Debug, Serialize, JsonSchema)]
struct Consent {
    /// To mail, which passes at `unknown` unless a campaign asks for more.
    email: ConsentWord,
    /// To texts, which need `granted`.
    sms: ConsentWord,
    /// To calls, which need `granted`.
    call: ConsentWord,
}

/// A lead with the campaigns it is in.
#[derive(Debug, Serialize, JsonSchema)]
struct LeadDetail {
    #[serde(flatten)]
    lead: Lead,
    /// Its enrollments in the order in which they were made.
    enrollments: Vec<LeadEnrollment>,
}

/// The run of a lead through a campaign.
#[derive(Debug, Serialize, JsonSchema)]
struct LeadEnrollment {
    /// Its id.
    id: EnrollmentId,
    /// The campaign's name.
    campaign: String,
    /// Where it is.
    state: String,
    /// Why it is there.
    why: Option<String>,
    /// Until when.
    until: Option<DateTime<Utc>>,
    /// The step that comes next.
    next_step: Option<String>,
    /// When.
    next_at: Option<DateTime<Utc>>,
    /// When something happened to it last.
    changed_at: DateTime<Utc>,
    /// When it was taken out of the run because it failed again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked_at: Option<DateTime<Utc>>,
}

impl Lead {
    /// A lead at this stage.
    fn of(view: LeadView, stage: Option<String>) -> Self {
        let attributes = match view.attributes {
            Value::Object(attributes) => attributes,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        Self {
            id: view.lead_id.into(),
            version: view.version,
            emails: view.emails,
            phones: view.phones,
            zone: view.zone,
            consent: Consent {
                email: ConsentWord::of(&view.email_consent),
                sms: ConsentWord::of(&view.sms_consent),
                call: ConsentWord::of(&view.call_consent),
            },
            attributes,
            tags: view.tags,
            stage: stage.unwrap_or_else(|| "new".to_owned()),
            source: view.source,
            created_at: view.created_at,
            changed_at: view.changed_at,
            erased_at: view.erased_at,
        }
    }
}

impl From<EnrollmentRow> for LeadEnrollment {
    fn from(row: EnrollmentRow) -> Self {
        Self {
            id: row.enrollment_id.into(),
            campaign: row.campaign,
            state: row.state,
            why: row.why,
            until: row.until,
            next_step: row.next_step,
            next_at: row.next_at,
            changed_at: row.changed_at,
            parked_at: row.parked_at,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Items of the page.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
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
    /// Those of whom a mail address, a number, the name (the first one, a space, the last one), the last
    /// name or the company begins with this, in any case of letters: `ada@`, `ada l` and `lovelace` find
    /// Ada Lovelace, `love` at the end of a word nobody.
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

async fn list(
    State(app): State<App>,
    caller: Viewer,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Lead>>, Problem> {
    let Viewer(caller) = caller;
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
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
    let list = ("leads", &search);
    let after: Option<LeadId> = wanted.after(&list)?;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let rows = search::page(&mut tx, caller.workspace, &search, after, wanted.rows()).await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.lead_id).collect();
    let mut stages = lead_views::stages(&mut tx, caller.workspace, &ids).await?;
    let rows: Vec<Lead> = rows
        .into_iter()
        .map(|row| {
            let stage = stages.remove(&row.lead_id);
            Lead::of(row, stage)
        })
        .collect();
    Ok(Json(wanted.page(&list, rows, |lead: &Lead| lead.id)))
}

async fn create(
    State(app): State<App>,
    caller: Operator,
    Body(new): Body<NewLead>,
) -> Result<Created<Lead>, Problem> {
    let Operator(caller) = caller;
    let (new, places) = new.parsed()?;
    match people::create(&app.room, caller.workspace, &new, &caller.actor()).await? {
        Ok(id) => {
            let body = view(&app, caller.workspace, id).await?;
            Ok(Created { location: format!("/api/v1/leads/{id}"), body })
        }
        Err(refused) => Err(places.refused(&refused)),
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct LeadPath {
    /// The lead's id.
    lead: LeadId,
}

async fn show(
    State(app): State<App>,
    caller: Viewer,
    Path(LeadPath { lead }): Path<LeadPath>,
) -> Result<Versioned<LeadDetail>, Problem> {
    let Viewer(caller) = caller;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let view = lead_views::by_ids(&mut tx, caller.workspace, &[lead]).await?.pop();
    let view = view.ok_or_else(|| none(lead))?;
    let rows = enrollment_views::of_lead(&mut tx, caller.workspace, lead).await?;
    let enrollments = rows.into_iter().map(LeadEnrollment::from).collect();
    let version = view.version;
    let mut stages = lead_views::stages(&mut tx, caller.workspace, &[lead.uuid()]).await?;
    let lead = Lead::of(view, stages.remove(&lead.uuid()));
    Ok(Versioned { version, body: LeadDetail { lead, enrollments } })
}

async fn change(
    State(app): State<App>,
    caller: Operator,
    Path(LeadPath { lead }): Path<LeadPath>,
    if_match: IfMatch,
    Body(change): Body<LeadChange>,
) -> Result<Versioned<Lead>, Problem> {
    let Operator(caller) = caller;
    let (change, places) = change.parsed()?;
    let (workspace, actor) = (caller.workspace, caller.actor());
    let admits = |version| if_match.admits(version);
    match people::change(&app.room, workspace, lead, &change, admits, &actor).await? {
        Ok(_) => {
            let body = view(&app, workspace, lead).await?;
            Ok(Versioned { version: body.version, body })
        }
        Err(NotChanged::NoSuchLead) => Err(none(lead)),
        Err(NotChanged::Erased) => Err(Problem::conflict("the person was erased")),
        Err(NotChanged::Stale) => {
            Err(Problem::changed("it was changed since it was read: read it again"))
        }
        Err(NotChanged::NoAddress) => Err(Problem::invalid_field(
            "emails",
            "a lead has an address or a number: erase the lead, or leave it one",
        )),
        Err(NotChanged::Attributes(error)) => {
            Err(Problem::invalid_field("attributes", error.to_string()))
        }
        Err(NotChanged::Refused(refused)) => Err(places.refused(&refused)),
    }
}

async fn forget(
    State(app): State<App>,
    caller: Admin,
    Path(LeadPath { lead }): Path<LeadPath>,
) -> Result<NoContent, Problem> {
    let Admin(caller) = caller;
    match erase::erase(&app.room, caller.workspace, lead, &caller.actor()).await? {
        true => Ok(NoContent),
        false => Err(none(lead)),
    }
}

async fn view(app: &App, workspace: WorkspaceId, lead: LeadId) -> Result<Lead, Problem> {
    let mut tx = app.room.store.begin(workspace).await?;
    let view = lead_views::by_ids(&mut tx, workspace, &[lead]).await?.pop();
    let mut stages = lead_views::stages(&mut tx, workspace, &[lead.uuid()]).await?;
    view.map(|view| Lead::of(view, stages.remove(&lead.uuid()))).ok_or_else(|| none(lead))
}

fn none(lead: LeadId) -> Problem {
    Problem::not_found(format!("there is no lead {lead}"))
}
