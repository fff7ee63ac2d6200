//! `/sends`: every message, what it said, and what is known of it.

use activities::enrollment_view;
use activities::reviews::{self, Verdict};
use activities::store::send_views::{self, Became, Content, Heard, SendView};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, LeadId, SendId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::App;
use super::caller::{Caller, Operator, Viewer};
use super::page::{Page, Wanted};
use super::problem::Problem;
use super::request::{Body, Path, Query};

/// Tells the list of those to be reviewed from others.
const TO_REVIEW: &str = "sends to review";

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/sends",
            get_with(list, |op| {
                op.id("listSends")
                    .summary(
                        "List the messages of a lead or an enrollment, or those to be reviewed",
                    )
                    .tag("sends")
            }),
        )
        .api_route(
            "/sends/{send}",
            get_with(show, |op| {
                op.id("getSend").summary("Show a message with its text").tag("sends")
            }),
        )
        .api_route(
            "/sends/{send}/review",
            post_with(review, |op| {
                op.id("reviewSend")
                    .summary("Say whether a message left of which nobody knows")
                    .tag("sends")
            }),
        )
}

/// A message.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Send {
    /// Its id; its Message-ID begins with it.
    id: SendId,
    /// Whose.
    enrollment: EnrollmentId,
    /// The person.
    lead: LeadId,
    /// The campaign's name.
    campaign: String,
    /// `step`: to the lead; `answer`: to the lead, from a person of ours; `handover`: to a person of ours.
    kind: String,
    /// The step, or whom a handover is offered to, or the mail of a person of ours that is passed on.
    step: String,
    /// `email` or `sms`.
    channel: String,
    /// Which ask of it, from 1.
    attempt: i32,
    /// The wording.
    variant: Option<String>,
    /// `planned`, `deferred`, `cancelled`, `dispatching`, `accepted`, `rejected`, `unknown` or
    /// `needs_review`.
    state: String,
    /// Why it stands there.
    detail: Option<String>,
    /// The sender's name.
    sender: Option<String>,
    /// To whom; absent once erased, and before the gate.
    address: Option<String>,
    /// Campaign time for which it is booked.
    slot_at: Option<DateTime<Utc>>,
    /// Campaign time at which it was let out.
    sent_at: Option<DateTime<Utc>>,
    /// The provider's name for it.
    provider_id: Option<String>,
    /// Its Message-ID.
    message_id: Option<String>,
    /// What became of it, as far as anybody knows.
    outcome: Option<Became>,
}

impl From<SendView> for Send {
    fn from(view: SendView) -> Self {
        Self {
            outcome: view.became(),
            id: view.send_id.into(),
            enrollment: view.enrollment_id.into(),
            lead: view.lead_id.into(),
            campaign: view.campaign,
            kind: view.kind,
            step: view.step_key,
            channel: view.channel,
            attempt: view.attempt,
            variant: view.variant,
            state: view.state,
            detail: view.detail,
            sender: view.sender,
            address: view.address,
            slot_at: view.slot_at,
            sent_at: view.gate_at,
            provider_id: view.provider_id,
            message_id: view.message_id,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Those of this enrollment.
    enrollment: Option<EnrollmentId>,
    /// Those to this lead, in all campaigns.
    lead: Option<LeadId>,
    /// Those in this state: `needs_review`.
    state: Option<ListState>,
    /// Items of the page; of `state` only, the other lists are short.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ListState {
    /// Nobody knows whether they left.
    NeedsReview,
}

async fn list(
    State(app): State<App>,
    caller: Viewer,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Send>>, Problem> {
    let Viewer(caller) = caller;
    match (query.enrollment, query.lead, query.state) {
        (Some(enrollment), None, None) => {
            let sends = of_enrollment(&app, &caller, enrollment).await?;
            Ok(Json(Page { items: sends.into_iter().map(Send::from).collect(), next: None }))
        }
        (None, Some(lead), None) => {
            let mut tx = app.room.store.begin(caller.workspace).await?;
            let enrollments =
                send_views::enrollments_of_lead(&mut tx, caller.workspace, lead.uuid()).await?;
            tx.commit().await?;
            let mut items = Vec::new();
            for enrollment in enrollments {
                items.extend(of_enrollment(&app, &caller, enrollment).await?);
            }
            items.sort_by_key(|send| (send.gate_at.is_none(), send.gate_at));
            Ok(Json(Page { items: items.into_iter().map(Send::from).collect(), next: None }))
        }
        (None, None, Some(ListState::NeedsReview)) => {
            let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
            let after: Option<Uuid> = wanted.after(&TO_REVIEW)?;
            let after = after.unwrap_or_default();
            let mut tx = app.room.store.begin(caller.workspace).await?;
            let rows =
                send_views::to_review(&mut tx, caller.workspace, after, wanted.rows()).await?;
            Ok(Json(wanted.page(&TO_REVIEW, rows, |row| row.send_id)))
        }
        (_, _, _) => Err(Problem::invalid_field(
            "enrollment",
            "name exactly one of `enrollment`, `lead` and `state`",
        )),
    }
}

async fn of_enrollment(
    app: &App,
    caller: &Caller,
    enrollment: EnrollmentId,
) -> Result<Vec<SendView>, Problem> {
    let (store, versions) = (&app.room.store, &app.room.versions);
    let sends = enrollment_view::send_ids(store, versions, caller.workspace, enrollment).await?;
    let mut tx = store.begin(caller.workspace).await?;
    Ok(send_views::by_ids(&mut tx, caller.workspace, &sends).await?)
}

/// A message with what it said and what was heard of it.
#[derive(Debug, Serialize, JsonSchema)]
struct WholeSend {
    #[serde(flatten)]
    send: Send,
    /// Its subject.
    subject: Option<String>,
    /// Its plain text; absent before the gate, and once erased.
    text: Option<String>,
    /// Its HTML.
    html: Option<String>,
    /// What was heard of it, oldest first.
    events: Vec<SendEvent>,
}

/// Something that was heard of a message.
#[derive(Debug, Serialize, JsonSchema)]
struct SendEvent {
    /// What: `delivered`, `bounced`, `opened`, `clicked` and the like.
    kind: String,
    /// From whom.
    provider: String,
    /// Campaign time.
    at: DateTime<Utc>,
}

impl From<Heard> for SendEvent {
    fn from(heard: Heard) -> Self {
        Self { kind: heard.kind, provider: heard.provider, at: heard.at }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct SendPath {
    /// The message's id.
    send: SendId,
}

async fn show(
    State(app): State<App>,
    caller: Viewer,
    Path(SendPath { send }): Path<SendPath>,
) -> Result<Json<WholeSend>, Problem> {
    let Viewer(caller) = caller;
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let views = send_views::by_ids(&mut tx, caller.workspace, &[send.uuid()]).await?;
    let view = views.into_iter().next().ok_or_else(|| unknown(send))?;
    let content = send_views::content(&mut tx, caller.workspace, send).await?;
    let heard = send_views::heard(&mut tx, caller.workspace, send).await?;
    let (subject, text, html) = match content {
        Some(Content { subject, text, html }) => (subject, Some(text), html),
        None => (None, None, None),
    };
    let events = heard.into_iter().map(SendEvent::from).collect();
    Ok(Json(WholeSend { send: view.into(), subject, text, html, events }))
}

/// What a person found out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Review {
    /// Whether it left.
    verdict: ReviewVerdict,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ReviewVerdict {
    /// It went: the sequence goes on.
    Sent,
    /// It did not: it is sent again.
    Lost,
}

async fn review(
    State(app): State<App>,
    caller: Operator,
    Path(SendPath { send }): Path<SendPath>,
    Body(review): Body<Review>,
) -> Result<NoContent, Problem> {
    let Operator(caller) = caller;
    let verdict = match review.verdict {
        ReviewVerdict::Sent => Verdict::Sent,
        ReviewVerdict::Lost => Verdict::Lost,
    };
    match reviews::decide(&app.room, caller.workspace, send, verdict, &caller.actor()).await? {
        true => Ok(NoContent),
        false => Err(Problem::not_found(format!("no message {send} waits for a word"))),
    }
}

fn unknown(send: SendId) -> Problem {
    Problem::not_found(format!("there is no message {send}"))
}
