//! `/audit`: who did what.

use activities::store::audit::{self, Recorded};
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::App;
use super::caller::{Admin, Caller};
use super::page::{Page, Wanted};
use super::problem::Problem;
use super::request::Query;

/// Tells the list's cursors from others.
const LIST: &str = "audit";

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new().api_route(
        "/audit",
        get_with(list, |op| {
            op.id("listActs").summary("List who did what, newest first").tag("audit")
        }),
    )
}

/// Something that a person or a program did.
#[derive(Debug, Serialize, JsonSchema)]
struct Act {
    /// Its number; later acts have higher ones.
    id: i64,
    /// Wall time.
    at: DateTime<Utc>,
    /// Who: `cli`, or `key/` and the id of a key.
    actor: String,
    /// What, in a word.
    act: String,
    /// To what: a kind and an id, as in `enrollment/…`.
    subject: String,
    /// More about it.
    details: Option<Value>,
    /// The seal in hexadecimal: SHA-256 over the seal before and this act. Absent for some seconds.
    seal: Option<String>,
}

impl From<Recorded> for Act {
    fn from(act: Recorded) -> Self {
        Self {
            id: act.audit_id,
            at: act.at,
            actor: act.actor,
            act: act.act,
            subject: act.subject,
            details: act.details.and_then(|details| serde_json::from_str(&details).ok()),
            seal: act.seal.map(hex::encode),
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
}

async fn list(
    State(app): State<App>,
    Admin(Caller { workspace, .. }): Admin,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Act>>, Problem> {
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let before = wanted.after(&LIST)?.unwrap_or(i64::MAX);
    let mut tx = app.room.store.begin(workspace).await?;
    let acts = audit::before(&mut tx, workspace, before, wanted.rows()).await?;
    Ok(Json(wanted.page(&LIST, acts, |act| act.audit_id)))
}
