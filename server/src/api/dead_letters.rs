//! `/dead-letters`: work that was given up, until a person retries or dismisses it.

use activities::dead_letter_verb::{self, Retried};
use activities::store::dead_letters::{self, DeadLetter as Stored, DeadLetterId, Subject};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use chrono::{DateTime, Utc};
use machine::ids::EnrollmentId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::App;
use super::caller::{Operator, Viewer};
use super::page::Page;
use super::problem::Problem;
use super::request::Path;

/// The most letters a list shows.
const LIST_MAX: u16 = 1_000;

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/dead-letters",
            get_with(list, |op| {
                op.id("listDeadLetters")
                    .summary("List the work that was given up, newest first")
                    .tag("dead letters")
            }),
        )
        .api_route(
            "/dead-letters/{letter}/retry",
            post_with(retry, |op| {
                op.id("retryDeadLetter")
                    .summary("Put an enrollment back to work once its cause is mended")
                    .tag("dead letters")
            }),
        )
        .api_route(
            "/dead-letters/{letter}/dismiss",
            post_with(dismiss, |op| {
                op.id("dismissDeadLetter").summary("Put a letter aside").tag("dead letters")
            }),
        )
}

/// Work that was given up.
#[derive(Debug, Serialize, JsonSchema)]
struct DeadLetter {
    /// Its id.
    id: DeadLetterId,
    /// What was given up.
    kind: Kind,
    /// The enrollment whose turns fail; of that kind only.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrollment: Option<EnrollmentId>,
    /// Why.
    cause: String,
    /// Campaign time.
    at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// An enrollment whose turns fail: it does not move.
    Enrollment,
    /// A mail nobody could read: it counts as a reply.
    UnreadMail,
    /// A mail that belongs to no lead.
    UnmatchedMail,
}

impl From<Stored> for DeadLetter {
    fn from(letter: Stored) -> Self {
        let (kind, enrollment) = match letter.subject {
            Subject::Enrollment(id) => (Kind::Enrollment, Some(id)),
            Subject::Event(_) => (Kind::UnreadMail, None),
            Subject::Unmatched(_) => (Kind::UnmatchedMail, None),
        };
        Self { id: letter.id, kind, enrollment, cause: letter.cause, at: letter.at }
    }
}

async fn list(State(app): State<App>, caller: Viewer) -> Result<Json<Page<DeadLetter>>, Problem> {
    let Viewer(caller) = caller;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let letters = dead_letters::open(&mut tx, caller.workspace, LIST_MAX).await?;
    Ok(Json(Page { items: letters.into_iter().map(DeadLetter::from).collect(), next: None }))
}

#[derive(Debug, Deserialize, JsonSchema)]
struct LetterPath {
    /// The letter's id.
    letter: DeadLetterId,
}

async fn retry(
    State(app): State<App>,
    caller: Operator,
    Path(LetterPath { letter }): Path<LetterPath>,
) -> Result<NoContent, Problem> {
    let Operator(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    match dead_letter_verb::retry(store, caller.workspace, letter, &actor).await? {
        Retried::Working(_) => Ok(NoContent),
        Retried::NotAnEnrollment => Err(Problem::conflict(
            "it is about a mail, which counts as a reply as it is: read it, then dismiss it",
        )),
        Retried::NotOpen => Err(unknown(letter)),
    }
}

async fn dismiss(
    State(app): State<App>,
    caller: Operator,
    Path(LetterPath { letter }): Path<LetterPath>,
) -> Result<NoContent, Problem> {
    let Operator(caller) = caller;
    let (store, actor) = (&app.room.store, caller.actor());
    match dead_letter_verb::dismiss(store, caller.workspace, letter, &actor).await? {
        true => Ok(NoContent),
        false => Err(unknown(letter)),
    }
}

fn unknown(letter: DeadLetterId) -> Problem {
    Problem::not_found(format!("there is no open dead letter {letter}"))
}
