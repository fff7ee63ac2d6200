//! A campaign tried out before it is started: run ahead on the real calendar, and its mails sent to an
//! address of ours.

use std::collections::BTreeMap;

use activities::campaigns::enroll::Selection;
use activities::origin::Correspondent;
use activities::rehearsal::summary::{self, Summary, Texts};
use activities::rehearsal::trial::{self, NotTried, Tried};
use activities::rehearsal::{self, Course, Rehearsed};
use aide::axum::ApiRouter;
use aide::axum::routing::post_with;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use machine::ids::{CampaignId, LeadId};
use machine::key::StepKey;
use machine::signal::Missing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CampaignPath;
use crate::api::App;
use crate::api::caller::{Operator, Viewer};
use crate::api::problem::Problem;
use crate::api::request::{Body, MaybeBody, Path};
use crate::timeline;

/// With how many leads a campaign is rehearsed where nobody says, and at most.
const LEADS: u32 = 1_000;
const LEADS_MAX: u32 = 10_000;

/// How many courses are shown where nobody says, and at most.
const COURSES: usize = 20;
const COURSES_MAX: usize = 1_000;

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/campaigns/{campaign}/rehearse",
            post_with(rehearse, |op| {
                op.id("rehearseCampaign")
                    .summary("Tell whom it would write to and when, if nobody answered")
                    .description("Nothing is stored, and nothing leaves.")
                    .tag("campaigns")
            }),
        )
        .api_route(
            "/campaigns/{campaign}/send-test",
            post_with(send_test, |op| {
                op.id("sendTest")
                    .summary("Send every mail of a campaign to an address of yours at once, or every text to a number")
                    .tag("campaigns")
            }),
        )
}

/// What to rehearse with.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RehearsalOrder {
    /// Only this lead; else the audience.
    lead: Option<LeadId>,
    /// At most this many leads; 1,000 where it is left out.
    #[schemars(range(min = 1, max = 10_000))]
    leads_max: Option<u32>,
    /// Show the ways of at most this many of them; 20 where it is left out.
    #[schemars(range(min = 0, max = 1_000))]
    courses_max: Option<usize>,
}

/// A campaign run ahead from now, with nobody answering.
#[derive(Debug, Serialize, JsonSchema)]
struct Rehearsal {
    /// The campaign.
    campaign: CampaignId,
    /// The version that was run.
    version: i32,
    /// The campaign time from which it was run.
    from: DateTime<Utc>,
    /// The campaign's zone, on whose calendar the days are.
    zone: String,
    /// Leads that would enter.
    leads: usize,
    /// Leads that would not: they have no address.
    no_address: u64,
    /// Leads that would not: the audience's filter does not hold for them.
    filtered_out: u64,
    /// Leads of them that get a message or a call.
    reached: usize,
    /// Leads that would not: another campaign wrote to them a shorter while ago than this one allows.
    recently_contacted: u64,
    /// Leads that would not: a person has them from another campaign.
    with_person: u64,
    /// Messages and calls.
    touches: usize,
    /// When the first of them leaves.
    first_at: Option<DateTime<Utc>>,
    /// When the last of them leaves.
    last_at: Option<DateTime<Utc>>,
    /// What leaves on each day on which something does.
    days: Vec<RehearsedDay>,
    /// Who would be held, and why.
    held: Vec<HeldLeads>,
    /// How many leads end how.
    endings: BTreeMap<&'static str, usize>,
    /// What the texts of each step come to.
    texts: BTreeMap<StepKey, Texts>,
    /// The names of the senders, by their ids.
    senders: BTreeMap<String, String>,
    /// The ways of the first leads.
    courses: Vec<Course>,
}

/// What leaves on one day.
#[derive(Debug, Serialize, JsonSchema)]
struct RehearsedDay {
    /// The day.
    day: NaiveDate,
    /// Messages and calls.
    total: usize,
    /// As many of each step.
    steps: BTreeMap<StepKey, usize>,
}

/// Leads that would be held for the same reason.
#[derive(Debug, Serialize, JsonSchema)]
struct HeldLeads {
    /// At which step.
    step: StepKey,
    /// What is missing.
    #[serde(flatten)]
    missing: Missing,
    /// The same in words.
    why: String,
    /// How many.
    leads: usize,
    /// The address or number of one of them.
    example: Option<String>,
}

async fn rehearse(
    State(app): State<App>,
    caller: Viewer,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    MaybeBody(order): MaybeBody<RehearsalOrder>,
) -> Result<Json<Rehearsal>, Problem> {
    let limit = order.leads_max.unwrap_or(LEADS);
    let shown = order.courses_max.unwrap_or(COURSES);
    if !(1..=LEADS_MAX).contains(&limit) {
        return Err(Problem::invalid_field("leads_max", format!("use 1 to {LEADS_MAX}")));
    }
    if shown > COURSES_MAX {
        return Err(Problem::invalid_field("courses_max", format!("use 0 to {COURSES_MAX}")));
    }
    let selection = match order.lead {
        Some(lead) => Selection::Leads(vec![lead]),
        None => Selection::Audience,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let done = rehearsal::run(&app.room, caller.0.workspace, campaign, &selection, limit).await?;
    if done.left_out.unknown > 0 {
        return Err(Problem::invalid_field("lead", "there is no such lead"));
    }
    Ok(Json(Rehearsal::of(done, shown)))
}

impl Rehearsal {
    fn of(done: Rehearsed, shown: usize) -> Self {
        let Rehearsed { campaign, from, mut courses, left_out, senders, steps: _ } = done;
        let zone = campaign.settings.zone;
        let summary = Summary::of(&courses, zone);
        let Summary { touches, first_at, last_at, days, held, endings, texts, .. } = summary;
        let leads = courses.len();
        courses.truncate(shown);
        Self {
            campaign: campaign.id,
            version: campaign.version,
            from,
            zone: zone.name().to_owned(),
            leads,
            no_address: left_out.no_address,
            filtered_out: left_out.filtered_out,
            reached: summary.reached,
            recently_contacted: left_out.recently_contacted,
            with_person: left_out.with_person,
            touches,
            first_at,
            last_at,
            days: days.into_iter().map(RehearsedDay::from).collect(),
            held: held.into_iter().map(HeldLeads::from).collect(),
            endings,
            texts,
            senders: senders.into_iter().map(|(id, name)| (id.to_string(), name)).collect(),
            courses,
        }
    }
}

impl From<summary::Day> for RehearsedDay {
    fn from(day: summary::Day) -> Self {
        let summary::Day { day, total, steps } = day;
        Self { day, total, steps }
    }
}

impl From<summary::HeldLeads> for HeldLeads {
    fn from(held: summary::HeldLeads) -> Self {
        let summary::HeldLeads { step, missing, leads, example } = held;
        Self { step, why: timeline::lacks(&missing), missing, leads, example }
    }
}

/// A trial to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TestOrder {
    /// Where the mails go, or with a number such as `+351912345678` the texts.
    to: String,
    /// The lead whose data fill them; else the first of the audience.
    lead: Option<LeadId>,
}

/// What became of a trial.
#[derive(Debug, Serialize, JsonSchema)]
struct TestReport {
    /// Where they went.
    to: String,
    /// Every message, in every wording.
    messages: Vec<Tried>,
}

async fn send_test(
    State(app): State<App>,
    caller: Operator,
    Path(CampaignPath { campaign }): Path<CampaignPath>,
    Body(order): Body<TestOrder>,
) -> Result<Json<TestReport>, Problem> {
    let Operator(caller) = caller;
    let to: Correspondent =
        order.to.parse().map_err(|error| Problem::invalid_field("to", format!("{error}")))?;
    match trial::run(&app.room, caller.workspace, campaign, order.lead, &to).await? {
        Ok(messages) => Ok(Json(TestReport { to: to.to_string(), messages })),
        Err(refusal @ NotTried::Suppressed) => {
            Err(Problem::invalid_field("to", refusal.to_string()))
        }
        Err(refusal @ NotTried::NoLead) if order.lead.is_some() => {
            Err(Problem::invalid_field("lead", refusal.to_string()))
        }
        Err(
            refusal @ (NotTried::NoLead
            | NotTried::NoMessage(_)
            | NotTried::NoSender(_)
            | NotTried::BadSender { .. }),
        ) => Err(Problem::conflict(refusal.to_string())),
    }
}
