//! `/campaigns/{campaign}/enrollments`: who is in a campaign, and who enters.

use activities::campaigns;
use activities::campaigns::enroll::{self, Enrolled, LeftOut, NotEnrolled, Progress, Selection};
use activities::leads::search::Query as Search;
use activities::store::enrollment_views::{self, EnrollmentRow};
use activities::tag::Tag;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use machine::condition::Condition;
use machine::explain::Shown;
use machine::ids::{EnrollmentId, LeadId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CampaignPath;
use crate::api::App;
use crate::api::caller::{Operator, Viewer};
use crate::api::leads;
use crate::api::page::{Page, Wanted};
use crate::api::problem::Problem;
use crate::api::request::{Body, Path, Query};

/// Tells the list's cursors from others.
const LIST: &str = "campaign-enrollments";

/// The most leads that are named in one request, and that an answer tells one by one.
const NAMED_MAX: usize = 10_000;

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new().api_route(
        "/campaigns/{campaign}/enrollments",
        get_with(list, |op| {
            op.id("listEnrollments").summary("List the leads of a campaign").tag("enrollments")
        })
        .post_with(add, |op| {
            op.id("addEnrollments")
                .summary("Add leads to a campaign that was started")
                .description("A lead is in a campaign at most once, however often it is added.")
                .tag("enrollments")
        }),
    )
}

/// An enrollment in a list. Times are campaign time.
#[derive(Debug, Serialize, JsonSchema)]
struct EnrollmentSummary {
    /// Its id.
    id: EnrollmentId,
    /// The person.
    lead: LeadId,
    /// The person's mail address.
    email: Option<String>,
    /// On whose clock it runs: the person's zone, else the campaign's.
    zone: Option<String>,
    /// Where it is: an `EnrollmentState`.
    state: String,
    /// Why it is there: a `Reason`.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Until when, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
    /// The step that comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<String>,
    /// When it comes, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<DateTime<Utc>>,
    /// When something happened to it last.
    changed_at: DateTime<Utc>,
    /// When it was taken out of the run, because it failed to move again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked_at: Option<DateTime<Utc>>,
}

impl From<EnrollmentRow> for EnrollmentSummary {
    fn from(row: EnrollmentRow) -> Self {
        Self {
            id: row.enrollment_id.into(),
            lead: row.lead_id.into(),
            email: row.email,
            zone: row.zone,
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
    /// Only those in this state.
    state: Option<Shown>,
    /// Items of the page.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Viewer,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<EnrollmentSummary>>, Problem> {
    let Viewer(caller) = caller;
    let list = (LIST, campaign, query.state);
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let after: Option<LeadId> = wanted.after(&list)?;
    let (workspace, state) = (caller.workspace, query.state.map(Shown::as_str));
    let mut tx = app.room.store.begin(workspace).await?;
    campaigns::find(&mut tx, workspace, campaign).await?;
    let rows = wanted.rows();
    let rows =
        enrollment_views::of_campaign(&mut tx, workspace, campaign, state, after, rows).await?;
    Ok(Json(wanted.page(&list, rows, |row| row.lead_id)))
}

/// Who is to enter: one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum NewEnrollments {
    /// These leads, at most 10,000.
    Leads(Vec<LeadId>),
    /// Leads that pass this.
    Matching(Box<Matching>),
    /// Whom the campaign's own document names.
    Audience(Nobody),
    /// Every lead of the workspace.
    Everyone(Nobody),
}

/// Which leads.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Matching {
    /// Leads with all of these tags.
    #[serde(default)]
    tags: Vec<String>,
    /// And for which this holds.
    #[serde(default)]
    filter: Option<Box<Condition>>,
    /// And with an enrollment in this state, in any campaign.
    state: Option<Shown>,
    /// And whose attribute `country` is this, in any case of letters.
    country: Option<String>,
    /// And whose attribute `tier` is this, in any case of letters.
    tier: Option<String>,
    /// And whose attribute `score` is at least this.
    score_min: Option<f64>,
    /// And of whom an address, the name, the last name or the company begins with this, in any case of
    /// letters.
    text: Option<String>,
    /// And who came to us then or later.
    created_since: Option<DateTime<Utc>>,
    /// And whose `source` begins with this, as in `import/`.
    source: Option<String>,
    /// And at this stage, in any case of letters.
    stage: Option<String>,
    /// And with a mail address, or without.
    has_email: Option<bool>,
}

impl Matching {
    fn selection(self) -> Result<Selection, Problem> {
        if let Some(fault) = self.filter.as_deref().and_then(Condition::fault_as_filter) {
            return Err(Problem::invalid_field("matching.filter", fault));
        }
        let searched = |field: &str, text| leads::searched(&format!("matching.{field}"), text);
        let mut search = Search {
            state: self.state,
            tag: None,
            country: searched("country", self.country)?,
            tier: searched("tier", self.tier)?,
            score_min: self.score_min,
            text: searched("text", self.text)?,
            since: self.created_since,
            source: searched("source", self.source)?,
            stage: searched("stage", self.stage)?,
            has_email: self.has_email,
        };
        let (tags, filter) = (self.tags, self.filter);
        match (search == Search::default(), tags.is_empty() && filter.is_none()) {
            (true, true) => {
                let message = "name tags, a filter or anything else; `everyone` means every lead";
                Err(Problem::invalid_field("matching", message))
            }
            (true, false) => Ok(Selection::Matching { tags, filter }),
            (false, _) => {
                let read = tags.iter().map(|tag| tag.parse()).collect::<Result<Vec<Tag>, _>>();
                let read = read
                    .map_err(|error| Problem::invalid_field("matching.tags", error.to_string()))?;
                let mut tags = read.into_iter();
                search.tag = tags.next();
                Ok(Selection::Found { search: Box::new(search), tags: tags.collect(), filter })
            }
        }
    }
}

/// Nothing more is to be said.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nobody {}

impl NewEnrollments {
    fn selection(self) -> Result<Selection, Problem> {
        match self {
            Self::Leads(leads) if leads.is_empty() || leads.len() > NAMED_MAX => {
                Err(Problem::invalid_field("leads", format!("name 1 to {NAMED_MAX} leads")))
            }
            Self::Leads(leads) => Ok(Selection::Leads(leads)),
            Self::Matching(matching) => matching.selection(),
            Self::Audience(Nobody {}) => Ok(Selection::Audience),
            Self::Everyone(Nobody {}) => Ok(Selection::Matching { tags: Vec::new(), filter: None }),
        }
    }
}

/// What became of those who were to enter.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct EnrollmentReport {
    /// How many entered.
    added: u64,
    /// How many did not.
    skipped: u64,
    /// How many, by reason.
    reasons: SkippedByReason,
    /// Those who entered; the first 10,000.
    enrollments: Vec<NewEnrollment>,
    /// Those who did not; the first 10,000.
    left_out: Vec<SkippedLead>,
}

/// How many leads did not enter.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct SkippedByReason {
    /// They were in the campaign before.
    already_in: u64,
    /// They have no address on any channel that the sequence uses.
    no_address: u64,
    /// The filter does not hold for them.
    filtered_out: u64,
    /// Another campaign wrote to them a shorter while ago than this one allows.
    recently_contacted: u64,
    /// A person has them from another campaign.
    with_person: u64,
    /// There is no such lead.
    unknown: u64,
}

impl SkippedByReason {
    fn of(enrolled: Enrolled) -> Self {
        let Enrolled {
            added: _,
            already_in,
            no_address,
            filtered_out,
            recently_contacted,
            with_person,
            unknown,
        } = enrolled;
        Self { already_in, no_address, filtered_out, recently_contacted, with_person, unknown }
    }
}

/// A lead that entered.
#[derive(Debug, Serialize, JsonSchema)]
struct NewEnrollment {
    /// Who.
    lead: LeadId,
    /// Its run through the campaign.
    enrollment: EnrollmentId,
}

/// A lead that did not enter.
#[derive(Debug, Serialize, JsonSchema)]
struct SkippedLead {
    /// Who.
    lead: LeadId,
    /// Why.
    reason: LeftOut,
}

async fn add(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    Body(new): Body<NewEnrollments>,
) -> Result<Json<EnrollmentReport>, Problem> {
    let Operator(caller) = caller;
    let selection = new.selection()?;
    let (store, workspace, actor) = (&app.room.store, caller.workspace, caller.actor());
    let mut report = EnrollmentReport::default();
    let mut note = |progress: Progress<'_>| report.note(progress);
    let done = enroll::enroll(store, workspace, campaign, &selection, &actor, &mut note).await?;
    report.sum(done.map_err(refused)?);
    Ok(Json(report))
}

impl EnrollmentReport {
    fn note(&mut self, progress: Progress<'_>) {
        let room = NAMED_MAX - self.enrollments.len();
        let entered = progress.entered.iter().take(room);
        self.enrollments.extend(
            entered
                .map(|(lead, enrollment)| NewEnrollment { lead: *lead, enrollment: *enrollment }),
        );
        let room = NAMED_MAX - self.left_out.len();
        let left_out = progress.left_out.iter().take(room);
        self.left_out
            .extend(left_out.map(|(lead, reason)| SkippedLead { lead: *lead, reason: *reason }));
    }

    fn sum(&mut self, enrolled: Enrolled) {
        self.added = enrolled.added;
        self.skipped = enrolled.seen() - enrolled.added;
        self.reasons = SkippedByReason::of(enrolled);
    }
}

fn refused(refusal: NotEnrolled) -> Problem {
    Problem::conflict(match refusal {
        NotEnrolled::Draft(_) => "it is a draft: start it first",
        NotEnrolled::Paused(_) => "it is paused: resume it, with a rule",
        NotEnrolled::Stopped(_) => "it is stopped for good: duplicate it",
    })
}
