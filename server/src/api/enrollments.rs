//! `/enrollments`: one lead's run through one campaign: what it is doing and why, what happened to it,
//! and orders about it.

use activities::engine::Engine;
use activities::enrollment_orders::{self, Order};
use activities::enrollment_view::{self, EnrollmentView};
use activities::store::journal::Entry;
use activities::store::send_views::{Became, SendView};
use activities::version_move;
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use machine::explain::Plan;
use machine::ids::{CampaignId, EnrollmentId, LeadId, SendId, WorkspaceId};
use machine::key::StepKey;
use machine::signal::{CallResult, Decision, ResumeRule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::App;
use super::answer::Accepted;
use super::caller::{Operator, Viewer};
use super::campaigns::moves::{self, MoveOrder};
use super::idempotency::SourceKey;
use super::page::{Page, Wanted};
use super::problem::Problem;
use super::request::{Body, MaybeBody, Path, Query};
use crate::timeline;
use crate::workflow_pages::WorkflowPages;

/// Tells the list's cursors from others.
const JOURNAL: &str = "journal";

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/enrollments/{enrollment}",
            get_with(get, |op| {
                op.id("getEnrollment")
                    .summary("Explain what a lead is doing, why, until when, and what comes next")
                    .tag("enrollments")
            }),
        )
        .api_route(
            "/enrollments/{enrollment}/journal",
            get_with(journal, |op| {
                op.id("getJournal")
                    .summary("Read what happened to a lead, the oldest first")
                    .tag("enrollments")
            }),
        )
        .api_route(
            "/enrollments/{enrollment}/signals",
            post_with(signal, |op| {
                op.id("signalEnrollment")
                    .summary("Give an order about a lead")
                    .description(SIGNALLING)
                    .tag("enrollments")
            }),
        )
        .api_route(
            "/enrollments/{enrollment}/move",
            post_with(move_lead, |op| {
                op.id("moveEnrollment")
                    .summary("Move a lead to another version of the sequence, at once")
                    .description("Done steps stay done, and a removed one is passed by.")
                    .tag("enrollments")
            }),
        )
}

const SIGNALLING: &str = "\
What would mean nothing as things are is refused with 409. Nothing leaves past an order that holds it \
once this is answered; the lead itself acts on it a moment later.";

#[derive(Debug, Deserialize, JsonSchema)]
struct EnrollmentPath {
    /// The enrollment's id.
    enrollment: EnrollmentId,
}

/// One lead's run through one campaign. Times are campaign time.
#[derive(Debug, Serialize, JsonSchema)]
struct Enrollment {
    /// Its id.
    id: EnrollmentId,
    /// The campaign.
    campaign: CampaignId,
    /// The campaign's name.
    campaign_name: String,
    /// What drives it.
    engine: Engine,
    /// Its workflow in Temporal's pages, where Temporal drives it and an address of its pages is known. A
    /// lead that waits for nothing has none, or one that is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    temporal_url: Option<Url>,
    /// The version of the campaign's sequence that it runs.
    version: i32,
    /// The person.
    lead: LeadId,
    /// The person's mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// On whose clock it runs: the person's zone, else the campaign's.
    zone: String,
    /// The name of the mailbox that writes to the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    /// When it was taken out of the run, because it failed to move again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked_at: Option<DateTime<Utc>>,
    /// Facts on their way to it, which the plan does not know yet.
    unseen: i32,
    /// What it will do next, when, why then, and what would wake it sooner.
    plan: Plan,
    /// Its messages, the oldest first.
    sends: Vec<EnrollmentSend>,
}

/// A message of an enrollment.
#[derive(Debug, Serialize, JsonSchema)]
struct EnrollmentSend {
    /// Its id.
    id: SendId,
    /// `step`: to the lead; `answer`: to the lead, from a person of ours; `handover`: to a person of ours.
    kind: String,
    /// The step, or whom a handover is offered to, or the mail of a person of ours that is passed on.
    step: String,
    /// Which try of it this is.
    attempt: i32,
    /// The wording.
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    /// Where it stands: `planned`, `deferred`, `dispatching`, `accepted`, `rejected`, `unknown`,
    /// `needs_review` or `cancelled`.
    state: String,
    /// Why it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The sender's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    /// When it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<DateTime<Utc>>,
    /// When its slot begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    slot_at: Option<DateTime<Utc>>,
    /// Its subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The provider's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
    /// Its Message-ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// What became of it, as far as anybody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Became>,
}

impl From<SendView> for EnrollmentSend {
    fn from(row: SendView) -> Self {
        Self {
            outcome: row.became(),
            id: row.send_id.into(),
            kind: row.kind,
            step: row.step_key,
            attempt: row.attempt,
            variant: row.variant,
            state: row.state,
            detail: row.detail,
            sender: row.sender,
            at: row.gate_at,
            slot_at: row.slot_at,
            subject: row.subject,
            provider_id: row.provider_id,
            message_id: row.message_id,
        }
    }
}

impl Enrollment {
    fn of(view: EnrollmentView, workspace: WorkspaceId, workflows: Option<&WorkflowPages>) -> Self {
        Self {
            id: view.id,
            engine: view.stored.engine,
            temporal_url: match view.stored.engine {
                Engine::Temporal => workflows.map(|pages| pages.lead(workspace, view.id)),
                Engine::Postgres => None,
            },
            campaign: view.stored.campaign_id.into(),
            campaign_name: view.stored.campaign,
            version: view.version.number,
            lead: view.stored.lead_id.into(),
            email: view.stored.email,
            zone: view.zone.name().to_owned(),
            sender: view.stored.sender,
            parked_at: view.stored.parked_at,
            unseen: view.stored.unseen,
            plan: view.plan,
            sends: view.sends.into_iter().map(EnrollmentSend::from).collect(),
        }
    }
}

async fn move_lead(
    State(app): State<App>,
    caller: Operator,
    Path(EnrollmentPath { enrollment }): Path<EnrollmentPath>,
    MaybeBody(MoveOrder { to_version }): MaybeBody<MoveOrder>,
) -> Result<Json<Enrollment>, Problem> {
    let Operator(caller) = caller;
    let (room, workspace, actor) = (&app.room, caller.workspace, caller.actor());
    let (store, versions) = (&room.store, &room.versions);
    let moved =
        version_move::one(store, versions, workspace, enrollment, to_version, &actor).await?;
    moved.map_err(moves::refused)?;
    let view = enrollment_view::read(store, versions, workspace, enrollment).await?;
    Ok(Json(Enrollment::of(view, workspace, app.workflows.as_deref())))
}

async fn get(
    State(app): State<App>,
    caller: Viewer,
    Path(EnrollmentPath { enrollment }): Path<EnrollmentPath>,
) -> Result<Json<Enrollment>, Problem> {
    let (room, workspace) = (&app.room, caller.0.workspace);
    let view = enrollment_view::read(&room.store, &room.versions, workspace, enrollment).await?;
    Ok(Json(Enrollment::of(view, workspace, app.workflows.as_deref())))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JournalQuery {
    /// Items of the page.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Something that happened to a lead: one application of its state machine.
#[derive(Debug, Serialize, JsonSchema)]
struct JournalEntry {
    /// Its number, from 1 and without gaps.
    turn: i32,
    /// Campaign time.
    at: DateTime<Utc>,
    /// What it was: the kind of the signal.
    kind: String,
    /// What happened, in words.
    what: String,
    /// The signal as the machine read it: ids, keys and times.
    signal: Value,
    /// Where the lead was before.
    from_state: String,
    /// Where it was after.
    state: String,
    /// Why it waited there: a `Reason`.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// The step that was to come next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<String>,
    /// When it was to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<DateTime<Utc>>,
    /// What was asked for and what was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<Value>,
}

impl From<(Entry, String)> for JournalEntry {
    fn from((entry, what): (Entry, String)) -> Self {
        Self {
            turn: entry.turn,
            at: entry.at,
            kind: entry.cause,
            what,
            signal: serde_json::from_str(&entry.signal).unwrap_or_default(),
            from_state: entry.from_state,
            state: entry.to_state,
            why: entry.why,
            next_step: entry.next_step,
            next_at: entry.next_at,
            effects: entry.effects.and_then(|effects| serde_json::from_str(&effects).ok()),
        }
    }
}

async fn journal(
    State(app): State<App>,
    caller: Viewer,
    Path(EnrollmentPath { enrollment }): Path<EnrollmentPath>,
    Query(query): Query<JournalQuery>,
) -> Result<Json<Page<JournalEntry>>, Problem> {
    let (room, workspace) = (&app.room, caller.0.workspace);
    let list = (JOURNAL, enrollment);
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let after: Option<i32> = wanted.after(&list)?;
    let view = enrollment_view::read(&room.store, &room.versions, workspace, enrollment).await?;
    let rows = wanted.rows();
    let entries =
        enrollment_view::journal_page(&room.store, workspace, enrollment, after, rows).await?;
    let told = timeline::tell(&view, workspace, &entries).into_iter().map(|event| event.what);
    let rows = entries.into_iter().zip(told).collect();
    Ok(Json(wanted.page(&list, rows, |(entry, _)| entry.turn)))
}

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OrderWord {
    /// Let it rest until it is resumed.
    Pause,
    /// Let it go on; needs `rule`.
    Resume,
    /// Leave the next step out; `step` may name it.
    Skip,
    /// Do not wait for the delay of the next step; `step` may name it. Windows and limits still count.
    SendNow,
    /// Try again what was given up, from the step that failed; only of a lead that is `failed`.
    Retry,
    /// End it.
    Stop,
    /// Offer the lead to a person.
    HandOver,
    /// The lead replied where its mail does not come to us.
    Replied,
    /// Approve the draft that waits.
    Approve,
    /// Reject the draft that waits.
    Reject,
    /// Tell how the call went that was due; needs `result`.
    Called,
}

/// An order about a lead.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignalOrder {
    /// What to do.
    signal: OrderWord,
    /// Of `resume`: what becomes of the wait that was interrupted.
    rule: Option<ResumeRule>,
    /// Of `skip` and `send_now`: the step that is meant. If another one comes next by now, the order
    /// is refused.
    step: Option<StepKey>,
    /// Of `called`: how the call went.
    result: Option<CallResult>,
}

/// An order that was taken.
#[derive(Debug, Serialize, JsonSchema)]
struct SignalTaken {
    /// Whom it is about.
    enrollment: EnrollmentId,
    /// What to do.
    signal: OrderWord,
    /// What its machine is told, as its journal will show.
    told: Value,
}

async fn signal(
    State(app): State<App>,
    caller: Operator,
    Path(EnrollmentPath { enrollment }): Path<EnrollmentPath>,
    SourceKey(source_key): SourceKey,
    Body(body): Body<SignalOrder>,
) -> Result<Accepted<SignalTaken>, Problem> {
    let (Operator(caller), word) = (caller, body.signal);
    let (room, workspace, actor) = (&app.room, caller.workspace, caller.actor());
    let order = body.order()?;
    let (store, versions) = (&room.store, &room.versions);
    let told =
        enrollment_orders::give(store, versions, workspace, enrollment, order, source_key, &actor);
    let told = told.await?.map_err(|refused| Problem::conflict(refused.to_string()))?;
    let told = serde_json::to_value(&told).expect("signals are plain data");
    Ok(Accepted(SignalTaken { enrollment, signal: word, told }))
}

impl SignalOrder {
    fn order(self) -> Result<Order, Problem> {
        let needs = |field: &str, of: &str| {
            Problem::invalid_field(field, format!("is missing: `{of}` needs it"))
        };
        let fields = [
            ("rule", self.rule.is_some(), self.signal == OrderWord::Resume),
            (
                "step",
                self.step.is_some(),
                matches!(self.signal, OrderWord::Skip | OrderWord::SendNow),
            ),
            ("result", self.result.is_some(), self.signal == OrderWord::Called),
        ];
        if let Some((field, ..)) = fields.iter().find(|(_, given, fits)| *given && !fits) {
            let message = "belongs to another signal: leave it out";
            return Err(Problem::invalid_field(*field, message));
        }
        Ok(match self.signal {
            OrderWord::Pause => Order::Pause,
            OrderWord::Resume => Order::Resume(self.rule.ok_or_else(|| needs("rule", "resume"))?),
            OrderWord::Skip => Order::Skip(self.step),
            OrderWord::SendNow => Order::SendNow(self.step),
            OrderWord::Retry => Order::Retry,
            OrderWord::Stop => Order::Stop,
            OrderWord::HandOver => Order::HandOver,
            OrderWord::Replied => Order::Replied,
            OrderWord::Approve => Order::Decide(Decision::Approved),
            OrderWord::Reject => Order::Decide(Decision::Rejected),
            OrderWord::Called => {
                Order::Called(self.result.ok_or_else(|| needs("result", "called"))?)
            }
        })
    }
}
