//! `/handovers`: leads that need a person.

use activities::handover_cause::{self, Cause};
use activities::handovers::{self, Order, Ordered};
use activities::store::clock;
use activities::store::handover_views::{self, HandoverView, Standing, Which};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use chrono::{DateTime, Utc};
use machine::ids::EnrollmentId;
use machine::signal::HandoverResult;
use machine::state::Responder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::caller::{Operator, Viewer};
use super::page::{Page, Wanted};
use super::problem::Problem;
use super::request::{Body, Path, Query};

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/handovers",
            get_with(list, |op| {
                op.id("listHandovers")
                    .summary("List the leads that need a person, the most urgent first")
                    .tag("handovers")
            }),
        )
        .api_route(
            "/handovers/{enrollment}/accept",
            post_with(accept, |op| op.id("acceptHandover").summary("Take a lead").tag("handovers")),
        )
        .api_route(
            "/handovers/{enrollment}/answered",
            post_with(answered, |op| {
                op.id("answerHandover").summary("Say that the lead was answered").tag("handovers")
            }),
        )
        .api_route(
            "/handovers/{enrollment}/close",
            post_with(close, |op| op.id("closeHandover").summary("Close it").tag("handovers")),
        )
        .api_route(
            "/handovers/{enrollment}/give-back",
            post_with(give_back, |op| {
                op.id("giveBackHandover")
                    .summary("Give the lead back to its sequence")
                    .tag("handovers")
            }),
        )
}

/// A lead that a person has, or had.
#[derive(Debug, Serialize, JsonSchema)]
struct Handover {
    /// Whose: the handover is named by its enrollment.
    enrollment: EnrollmentId,
    /// Which handover of the enrollment, from 1.
    visit: i32,
    /// The campaign's name.
    campaign: String,
    /// The lead's mail address.
    email: Option<String>,
    /// `offered`, `accepted`, `answered`, `closed` or `given_back`.
    state: String,
    /// `first` or `fallback`.
    responder: String,
    /// The agent who has it, or is asked, where agents are asked in turn.
    agent: Option<String>,
    /// Until when an answer is expected, campaign time.
    answer_by: Option<DateTime<Utc>>,
    /// Whether that time has passed.
    overdue: bool,
    /// `won` or `lost`.
    result: Option<String>,
    /// Why a person is needed, where the journal tells.
    cause: Option<Cause>,
    /// Campaign time.
    opened_at: DateTime<Utc>,
    /// Campaign time.
    closed_at: Option<DateTime<Utc>>,
}

impl Handover {
    fn of(view: HandoverView, cause: Option<Cause>, now: DateTime<Utc>) -> Self {
        let overdue = view.closed_at.is_none() && view.answer_by.is_some_and(|by| by < now);
        Self {
            enrollment: view.enrollment_id.into(),
            visit: view.visit,
            campaign: view.campaign,
            email: view.email,
            state: view.state,
            responder: view.responder,
            agent: view.agent,
            answer_by: view.answer_by,
            overdue,
            result: view.result,
            cause,
            opened_at: view.opened_at,
            closed_at: view.closed_at,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Also those that are over.
    #[serde(default)]
    all: bool,
    /// Items of the page.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Viewer,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Handover>>, Problem> {
    let Viewer(caller) = caller;
    let which = if query.all { Which::All } else { Which::Open };
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let list = ("handovers", query.all);
    let after: Option<Standing> = wanted.after(&list)?;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let now = clock::read(&mut tx).await?.campaign;
    let rows = wanted.rows();
    let views = handover_views::list(&mut tx, caller.workspace, which, after, rows).await?;
    let Page { items, next }: Page<HandoverView> =
        wanted.page(&list, views, HandoverView::standing);
    let named: Vec<_> = items.iter().map(|view| (view.enrollment_id.into(), view.visit)).collect();
    let mut causes = handover_cause::causes(&mut tx, caller.workspace, &named).await?;
    let items = items.into_iter().map(|view| {
        let cause = causes.remove(&(view.enrollment_id.into(), view.visit));
        Handover::of(view, cause, now)
    });
    Ok(Json(Page { items: items.collect(), next }))
}

#[derive(Debug, Deserialize, JsonSchema)]
struct HandoverPath {
    /// The enrollment that was handed over.
    enrollment: EnrollmentId,
}

/// Who takes a lead.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Acceptance {
    /// For the campaign's fallback address instead of the first.
    #[serde(default)]
    fallback: bool,
}

async fn accept(
    State(app): State<App>,
    caller: Operator,
    Path(path): Path<HandoverPath>,
    Body(acceptance): Body<Acceptance>,
) -> Result<NoContent, Problem> {
    let by = if acceptance.fallback { Responder::Fallback } else { Responder::First };
    order(&app, &caller, path, Order::Accept(by)).await
}

async fn answered(
    State(app): State<App>,
    caller: Operator,
    Path(path): Path<HandoverPath>,
) -> Result<NoContent, Problem> {
    order(&app, &caller, path, Order::Answered).await
}

/// How a handover ends.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Closing {
    /// What came of it.
    result: ClosingResult,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ClosingResult {
    /// We got what we wanted.
    Won,
    /// We did not.
    Lost,
}

async fn close(
    State(app): State<App>,
    caller: Operator,
    Path(path): Path<HandoverPath>,
    Body(closing): Body<Closing>,
) -> Result<NoContent, Problem> {
    let result = match closing.result {
        ClosingResult::Won => HandoverResult::Won,
        ClosingResult::Lost => HandoverResult::Lost,
    };
    order(&app, &caller, path, Order::Close(result)).await
}

async fn give_back(
    State(app): State<App>,
    caller: Operator,
    Path(path): Path<HandoverPath>,
) -> Result<NoContent, Problem> {
    order(&app, &caller, path, Order::GiveBack).await
}

async fn order(
    app: &App,
    caller: &Operator,
    path: HandoverPath,
    order: Order,
) -> Result<NoContent, Problem> {
    let Operator(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    let enrollment = path.enrollment;
    match handovers::order(store, caller.workspace, enrollment, order, &actor).await? {
        Ordered::Told => Ok(NoContent),
        Ordered::NoneOpen => {
            Err(Problem::not_found(format!("no person has the lead of enrollment {enrollment}")))
        }
    }
}
