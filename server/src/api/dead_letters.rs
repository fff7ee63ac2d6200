//! `/dead-letters`: work that was given up, until a person retries or dismisses it.

use activities::dead_letter_verb::{self, Retried};
use activities::received::{self, Letter};
use activities::store::dead_letters::{
    self, DeadLetter as Stored, DeadLetterId, Standing, Subject,
};
use activities::store::inbound_events::{self, EventId};
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
use super::page::{Page, PageQuery, Wanted};
use super::problem::Problem;
use super::request::{Path, Query};

/// Tells the list's cursors from others.
const LIST: &str = "dead-letters";

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
            "/dead-letters/{letter}",
            get_with(show, |op| {
                op.id("getDeadLetter")
                    .summary("Show a dead letter, also one that was dealt with, with its mail")
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
    /// The enrollment that fails to move; of that kind only.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrollment: Option<EnrollmentId>,
    /// The mail's event; of mails only.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventId>,
    /// Why.
    cause: String,
    /// Campaign time.
    at: DateTime<Utc>,
    /// `retried` or `dismissed`; absent: nobody has dealt with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<String>,
    /// Campaign time of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<DateTime<Utc>>,
}

/// Work that was given up, with the mail it is about.
#[derive(Debug, Serialize, JsonSchema)]
struct DeadLetterDetail {
    #[serde(flatten)]
    letter: DeadLetter,
    /// The mail, while it is kept; of mails only.
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<Mail>,
}

/// What a mail says.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterMail")]
struct Mail {
    /// Who says to have written it.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Its subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// What the person wrote, without what was quoted, as far as one can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Why it cannot be read; then nothing else is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

impl From<Letter> for Mail {
    fn from(letter: Letter) -> Self {
        match letter {
            Letter::Read { from, subject, text, .. } => {
                Self { from, subject, text: Some(text), unreadable: None }
            }
            Letter::Unreadable(why) => {
                Self { from: None, subject: None, text: None, unreadable: Some(why) }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// An enrollment that failed to move, and waits.
    Enrollment,
    /// A mail nobody could read: it counts as a reply.
    UnreadMail,
    /// A mail that belongs to no lead.
    UnmatchedMail,
}

impl From<Stored> for DeadLetter {
    fn from(letter: Stored) -> Self {
        let (kind, enrollment, event) = match letter.subject {
            Subject::Enrollment(id) => (Kind::Enrollment, Some(id), None),
            Subject::Event(event) => (Kind::UnreadMail, None, Some(event)),
            Subject::Unmatched(event) => (Kind::UnmatchedMail, None, Some(event)),
        };
        let (resolution, resolved_at) = letter.resolution.map(|it| (it.word, it.at)).unzip();
        Self {
            id: letter.id,
            kind,
            enrollment,
            event,
            cause: letter.cause,
            at: letter.at,
            resolution,
            resolved_at,
        }
    }
}

async fn list(
    State(app): State<App>,
    caller: Viewer,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<DeadLetter>>, Problem> {
    let Viewer(caller) = caller;
    let wanted = Wanted::of(&query)?;
    let before: Option<Standing> = wanted.after(&LIST)?;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let letters = dead_letters::open(&mut tx, caller.workspace, before, wanted.rows()).await?;
    Ok(Json(wanted.page(&LIST, letters, |letter| (letter.at, letter.id))))
}

async fn show(
    State(app): State<App>,
    caller: Viewer,
    Path(LetterPath { letter }): Path<LetterPath>,
) -> Result<Json<DeadLetterDetail>, Problem> {
    let Viewer(caller) = caller;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let found = dead_letters::find(&mut tx, caller.workspace, letter).await?;
    let found =
        found.ok_or_else(|| Problem::not_found(format!("there is no dead letter {letter}")))?;
    let event = match found.subject {
        Subject::Enrollment(_) => None,
        Subject::Event(event) | Subject::Unmatched(event) => {
            inbound_events::get(&mut tx, caller.workspace, event).await?
        }
    };
    tx.commit().await?;
    let mail = match event {
        Some(event) => Some(received::letter(&app.room.keys, caller.workspace, event).await.into()),
        None => None,
    };
    Ok(Json(DeadLetterDetail { letter: found.into(), mail }))
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
