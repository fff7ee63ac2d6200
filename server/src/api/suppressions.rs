//! `/suppressions`: those we never write to.

use activities::origin::Correspondent;
use activities::store::suppression_views::{self, SuppressionView};
use activities::store::suppressions::SuppressionId;
use activities::suppression_list::{self, Suppressed};
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::App;
use super::answer::Created;
use super::caller::{Operator, Viewer};
use super::page::{Page, PageQuery, Wanted};
use super::problem::Problem;
use super::request::{Body, Path, Query};

/// Tells the list's cursors from others.
const LIST: &str = "suppressions";

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/suppressions",
            get_with(list, |op| {
                op.id("listSuppressions")
                    .summary("List those we never write to")
                    .tag("suppressions")
            })
            .post_with(add, |op| {
                op.id("addSuppression").summary("Never write to somebody").tag("suppressions")
            }),
        )
        .api_route(
            "/suppressions/{suppression}",
            get_with(show, |op| {
                op.id("getSuppression")
                    .summary("Show an entry that is in force")
                    .tag("suppressions")
            })
            .delete_with(lift, |op| {
                op.id("liftSuppression").summary("Take an entry off the list").tag("suppressions")
            }),
        )
}

/// Somebody we never write to.
#[derive(Debug, Serialize, JsonSchema)]
struct Suppression {
    /// Its id.
    id: SuppressionId,
    /// `address`: one mailbox, however it is spelt, or one telephone number; `domain`: every mailbox of a
    /// domain.
    scope: String,
    /// The address or domain; absent once the person was erased, though the promise stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// `opted_out`, `complained`, `hard_bounce`, `by_person`, `imported` or `erased`.
    reason: String,
    /// Campaign time.
    suppressed_at: DateTime<Utc>,
}

impl From<SuppressionView> for Suppression {
    fn from(view: SuppressionView) -> Self {
        Self {
            id: view.suppression_id.into(),
            scope: view.scope,
            value: view.value,
            reason: view.reason,
            suppressed_at: view.suppressed_at,
        }
    }
}

async fn list(
    State(app): State<App>,
    caller: Viewer,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Suppression>>, Problem> {
    let Viewer(caller) = caller;
    let wanted = Wanted::of(&query)?;
    let before: Option<Uuid> = wanted.after(&LIST)?;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let rows =
        suppression_views::in_force(&mut tx, caller.workspace, before, wanted.rows()).await?;
    Ok(Json(wanted.page(&LIST, rows, |row| row.suppression_id)))
}

/// Whom never to write to: one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewSuppression {
    /// One mailbox, however it is spelt, or one telephone number such as `+351912345678`.
    address: Option<String>,
    /// Every mailbox of a domain, as in `example.com`.
    domain: Option<String>,
}

async fn add(
    State(app): State<App>,
    caller: Operator,
    Body(new): Body<NewSuppression>,
) -> Result<Created<Suppression>, Problem> {
    let Operator(caller) = caller;
    let suppressed = match (new.address, new.domain) {
        (Some(text), None) => {
            let somebody = text.parse::<Correspondent>();
            somebody.map_err(|error| Problem::invalid_field("address", error.to_string()))?.into()
        }
        (None, Some(text)) => Suppressed::domain(&text)
            .map_err(|error| Problem::invalid_field("domain", error.to_string()))?,
        (None, None) => {
            let message = "is missing: name an `address`, or a whole `domain`";
            return Err(Problem::invalid_field("address", message));
        }
        (Some(_), Some(_)) => {
            let message = "stands beside `address`: add them one after the other";
            return Err(Problem::invalid_field("domain", message));
        }
    };
    let actor = caller.actor();
    let (entry, _) =
        suppression_list::add(&app.room, caller.workspace, &suppressed, &actor).await?;
    let location = format!("/api/v1/suppressions/{}", entry.suppression_id);
    Ok(Created { location, body: entry.into() })
}

#[derive(Debug, Deserialize, JsonSchema)]
struct SuppressionPath {
    /// The entry's id.
    suppression: SuppressionId,
}

async fn show(
    State(app): State<App>,
    caller: Viewer,
    Path(SuppressionPath { suppression }): Path<SuppressionPath>,
) -> Result<Json<Suppression>, Problem> {
    let Viewer(caller) = caller;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let found = suppression_views::find(&mut tx, caller.workspace, suppression.uuid()).await?;
    Ok(Json(found.ok_or_else(|| none(suppression))?.into()))
}

async fn lift(
    State(app): State<App>,
    caller: Operator,
    Path(SuppressionPath { suppression }): Path<SuppressionPath>,
) -> Result<NoContent, Problem> {
    let Operator(caller) = caller;
    let actor = caller.actor();
    match suppression_list::lift(&app.room, caller.workspace, suppression, &actor).await? {
        true => Ok(NoContent),
        false => Err(none(suppression)),
    }
}

fn none(suppression: SuppressionId) -> Problem {
    Problem::not_found(format!("there is no entry {suppression} in force"))
}
