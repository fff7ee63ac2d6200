//! `/conversations`: who wrote to us, and everything that was exchanged with one person, on all
//! channels and across campaigns.

use activities::conversations::{
    self, Body as Wording, Exchanged, Handover, HandoverAct, Noticed, Received, Sent, What,
};
use activities::store::conversations::{self as store, Author, Filter, Spot};
use activities::store::send_views::Became;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, EnrollmentId, LeadId, SendId};
use machine::signal::HandoverResult;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::App;
use super::caller::Viewer;
use super::page::{Page, Wanted};
use super::problem::Problem;
use super::request::{Path, Query};

/// Tells the list's cursors from others.
const LIST: &str = "conversations";

/// Tells a thread's cursors from others.
const THREAD: &str = "conversation";

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/conversations",
            get_with(list, |op| {
                op.id("listConversations")
                    .summary("List the leads that wrote to us, who wrote last first")
                    .description(
                        "Automatic answers and delivery reports begin no conversation, and erased \
                         people are left out.",
                    )
                    .tag("conversations")
            }),
        )
        .api_route(
            "/conversations/{lead}",
            get_with(show, |op| {
                op.id("getConversation")
                    .summary("Read what was exchanged with a lead, the oldest first")
                    .description(
                        "One thread over all channels and campaigns: what we sent, what came in, \
                         bounces and opt-outs, and what people of ours did.",
                    )
                    .tag("conversations")
            }),
        )
}

/// A lead that wrote to us.
#[derive(Debug, Serialize, JsonSchema)]
struct Conversation {
    /// Who.
    lead: LeadId,
    /// Its mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Its telephone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    /// When it wrote last, campaign time.
    at: DateTime<Utc>,
    /// How: `email` or `sms`.
    channel: String,
    /// The handover in which a person of ours owes it an answer: its enrollment.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<EnrollmentId>,
    /// Until when, campaign time.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_by: Option<DateTime<Utc>>,
}

impl From<Author> for Conversation {
    fn from(author: Author) -> Self {
        Self {
            lead: author.lead_id.into(),
            email: author.email,
            phone: author.phone,
            at: author.at,
            channel: author.channel,
            waiting: author.waiting.map(Into::into),
            answer_by: author.answer_by,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only leads in this campaign.
    campaign: Option<CampaignId>,
    /// Only those to whom a person of ours owes an answer.
    #[serde(default)]
    waiting: bool,
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
) -> Result<Json<Page<Conversation>>, Problem> {
    let Viewer(caller) = caller;
    let name = (LIST, query.campaign, query.waiting);
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let after: Option<Uuid> = wanted.after(&name)?;
    let filter = Filter { campaign: query.campaign, waiting: query.waiting };
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let rows = store::authors(&mut tx, caller.workspace, filter, after, wanted.rows()).await?;
    tx.commit().await?;
    Ok(Json(wanted.page(&name, rows, |row| row.event_id)))
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ConversationPath {
    /// The lead's id.
    lead: LeadId,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ThreadQuery {
    /// Items of the page.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn show(
    State(app): State<App>,
    caller: Viewer,
    Path(ConversationPath { lead }): Path<ConversationPath>,
    Query(query): Query<ThreadQuery>,
) -> Result<Json<Page<ThreadItem>>, Problem> {
    let Viewer(caller) = caller;
    let name = (THREAD, lead);
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let after: Option<(DateTime<Utc>, i32, Uuid, i32)> = wanted.after(&name)?;
    let after = after.map(|(at, source, id, turn)| Spot { at, source, id, turn });
    let (room, workspace) = (&app.room, caller.workspace);
    let thread = conversations::thread(room, workspace, lead, after, wanted.rows()).await?;
    let thread = thread.ok_or_else(|| Problem::not_found(format!("there is no lead {lead}")))?;
    Ok(Json(
        wanted.page(&name, thread, |it| (it.spot.at, it.spot.source, it.spot.id, it.spot.turn)),
    ))
}

/// Something that was exchanged with a lead. Times are campaign time.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ThreadItem {
    /// A message of ours.
    Sent(SentItem),
    /// A mail or a text that came in.
    Received(ReceivedItem),
    /// Something else that was heard of the lead.
    Event(EventItem),
    /// What a person of ours did, or was asked to do.
    Handover(HandoverItem),
}

/// A message of ours.
#[derive(Debug, Serialize, JsonSchema)]
struct SentItem {
    /// When it was let out.
    at: DateTime<Utc>,
    /// `email` or `sms`.
    channel: String,
    /// The message's id.
    send: SendId,
    /// Whose.
    enrollment: EnrollmentId,
    /// The campaign's name.
    campaign: String,
    /// The step; absent where a person of ours wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// The mail of a person of ours that it passes on: its stored event.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Uuid>,
    /// The wording.
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    /// `dispatching`, `accepted`, `rejected`, `unknown` or `needs_review`.
    state: String,
    /// Why it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The sender's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    /// The provider's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
    /// Its Message-ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// What became of it, as far as anybody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Became>,
    #[serde(flatten)]
    body: MessageBody,
}

/// A mail or a text that came in.
#[derive(Debug, Serialize, JsonSchema)]
struct ReceivedItem {
    /// When it came.
    at: DateTime<Utc>,
    /// `email` or `sms`.
    channel: String,
    /// The stored event's id.
    event: Uuid,
    /// Whether a machine wrote it: an out-of-office notice, a delivery report.
    automatic: bool,
    /// What it was taken for: `replied`, `auto_replied`, `opted_out`, `bounced` and the like; absent
    /// while nobody has read it, and where no enrollment was told of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
    /// The enrollment it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrollment: Option<EnrollmentId>,
    /// The name of its campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    /// The step it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// Whether it is known to come from the lead, or only says so.
    proven: bool,
    /// Who says to have written it.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Who brought it: `mailgun`, `twilio` and the like.
    provider: String,
    /// The name that it came with: the Message-ID of a mail, the provider's id of a text. The author's
    /// own program wrote that of a mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(flatten)]
    body: MessageBody,
}

/// What a message says.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct MessageBody {
    /// Its subject; a text has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// What was written: of a mail that came in, without what was quoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Whether it was erased with its lead.
    erased: bool,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// Something that was heard of a lead without a letter.
#[derive(Debug, Serialize, JsonSchema)]
struct EventItem {
    /// When it was heard.
    at: DateTime<Utc>,
    /// `bounced_hard`, `bounced_soft`, `complained` or `opted_out`.
    kind: String,
    /// From whom we have it.
    provider: String,
    /// The message of ours it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    send: Option<SendId>,
    /// The name of its campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
}

/// What a person of ours did about a lead, or was asked to do.
#[derive(Debug, Serialize, JsonSchema)]
struct HandoverItem {
    /// When.
    at: DateTime<Utc>,
    /// Whose.
    enrollment: EnrollmentId,
    /// The campaign's name.
    campaign: String,
    /// `offered`, `accepted`, `wrote` (answered by mail), `answered`, `closed` or `given_back`.
    act: &'static str,
    /// Who was asked, took it or wrote: `first` or `fallback`.
    #[serde(skip_serializing_if = "Option::is_none")]
    responder: Option<&'static str>,
    /// Until when an answer is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_by: Option<DateTime<Utc>>,
    /// What came of it: `won` or `lost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    /// Of what was written: whether it is passed on to the lead.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed_on: Option<bool>,
    /// Of what was written: how many files came with it, which are not passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    attachments: Option<u32>,
}

impl From<Exchanged> for ThreadItem {
    fn from(Exchanged { spot, what }: Exchanged) -> Self {
        let at = spot.at;
        match what {
            What::Sent(sent) => Self::Sent(SentItem::of(at, *sent)),
            What::Received(received) => Self::Received(ReceivedItem::of(at, *received)),
            What::Noticed(Noticed { kind, provider, send, campaign }) => {
                Self::Event(EventItem { at, kind, provider, send, campaign })
            }
            What::Handover(handover) => Self::Handover(HandoverItem::of(at, handover)),
        }
    }
}

impl SentItem {
    fn of(at: DateTime<Utc>, Sent { send, body }: Sent) -> Self {
        let answer = match send.kind.as_str() {
            "answer" => send.step_key.parse().ok(),
            _ => None,
        };
        Self {
            answer,
            at,
            outcome: send.became(),
            channel: send.channel,
            send: send.send_id.into(),
            enrollment: send.enrollment_id.into(),
            campaign: send.campaign,
            step: Some(send.step_key).filter(|_| answer.is_none()),
            variant: send.variant,
            state: send.state,
            detail: send.detail,
            sender: send.sender,
            provider_id: send.provider_id,
            message_id: send.message_id,
            body: body.into(),
        }
    }
}

impl ReceivedItem {
    fn of(at: DateTime<Utc>, received: Received) -> Self {
        Self {
            at,
            channel: received.channel.to_owned(),
            event: received.event.uuid(),
            automatic: received.is_automatic,
            meaning: received.meaning,
            enrollment: received.enrollment,
            campaign: received.campaign,
            step: received.step,
            proven: received.proven,
            from: received.from,
            provider: received.provider,
            message_id: received.message_id,
            body: received.body.into(),
        }
    }
}

impl From<Wording> for MessageBody {
    fn from(body: Wording) -> Self {
        match body {
            Wording::Text { subject, text } => {
                Self { subject, text: Some(text), ..Self::default() }
            }
            Wording::Erased => Self { erased: true, ..Self::default() },
            Wording::Unreadable(why) => Self { unreadable: Some(why), ..Self::default() },
        }
    }
}

impl HandoverItem {
    fn of(at: DateTime<Utc>, Handover { enrollment, campaign, act }: Handover) -> Self {
        let item = Self {
            at,
            enrollment,
            campaign,
            act: "answered",
            responder: None,
            answer_by: None,
            result: None,
            passed_on: None,
            attachments: None,
        };
        match act {
            HandoverAct::Offered { to, answer_by } => Self {
                act: "offered",
                responder: Some(to.as_str()),
                answer_by: Some(answer_by),
                ..item
            },
            HandoverAct::Accepted(by) => {
                Self { act: "accepted", responder: Some(by.as_str()), ..item }
            }
            HandoverAct::Answered => item,
            HandoverAct::Wrote { by, passed_on, files } => Self {
                act: "wrote",
                responder: Some(by.as_str()),
                passed_on: Some(passed_on),
                attachments: Some(files),
                ..item
            },
            HandoverAct::Closed(result) => {
                let result = match result {
                    HandoverResult::Won => "won",
                    HandoverResult::Lost => "lost",
                };
                Self { act: "closed", result: Some(result), ..item }
            }
            HandoverAct::GivenBack => Self { act: "given_back", ..item },
        }
    }
}
