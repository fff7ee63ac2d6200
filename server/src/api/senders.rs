//! `/senders`: the mailboxes and numbers that campaigns send from.

use activities::header_text::HeaderText;
use activities::held_leads;
use activities::mail::reach::{self, Reach};
use activities::name;
use activities::origin::Origin;
use activities::senders::{self, Added, NewSender, Sender, SenderStatus, Transport};
use activities::store::clock;
use activities::store::senders::{self as store, DayUse};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::ids::SenderId;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::App;
use super::answer::{self, Created};
use super::caller::{Admin, Caller, Viewer};
use super::page::{Page, PageQuery, Wanted};
use super::problem::{FieldFault, Problem};
use super::request::{Body, Path, Query};

/// Tells the list's cursors from others.
const LIST: &str = "senders";

/// The longest spacing, in seconds.
const SPACING_MAX_S: u32 = 86_400;

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            "/senders",
            get_with(list, |op| {
                op.id("listSenders")
                    .summary("List the senders with what they sent today")
                    .tag("senders")
            })
            .post_with(set, |op| {
                op.id("setSender")
                    .summary("Set a sender up, or change the one of this name")
                    .tag("senders")
            }),
        )
        .api_route(
            "/senders/{name}",
            get_with(show, |op| {
                op.id("getSender").summary("Show a sender with what it sent today").tag("senders")
            }),
        )
        .api_route(
            "/senders/{name}/pause",
            post_with(pause, |op| {
                op.id("pauseSender")
                    .summary("Stop sending through it; its leads wait")
                    .tag("senders")
            }),
        )
        .api_route(
            "/senders/{name}/resume",
            post_with(resume, |op| {
                op.id("resumeSender").summary("Send through it again").tag("senders")
            }),
        )
}

/// A mailbox or number we send from. Its password is never told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Sender")]
struct SenderView {
    /// Its id.
    id: SenderId,
    /// What campaigns call it.
    name: String,
    /// How its messages leave, without the password.
    url: String,
    /// `email` or `sms`.
    channel: String,
    /// The address, number or messaging service that messages come from.
    from: String,
    /// The name beside the address.
    from_name: Option<String>,
    /// The zone whose midnight begins its day.
    zone: String,
    /// Messages a day; absent: no limit.
    per_day: Option<u32>,
    /// Seconds between two messages.
    spacing_s: u32,
    /// Its share among the senders of a campaign.
    weight: u32,
    /// `active` or `paused`.
    status: String,
    /// Why it is paused.
    status_reason: Option<String>,
    /// `closed` while its provider answers; `open` while nothing leaves because it does not; `half_open`
    /// when one message tries again.
    breaker: String,
    /// What its provider's trouble is, if there is any.
    trouble: Option<TroubleView>,
    /// Messages let out today, where a limit makes them count.
    sent_today: i32,
    /// Messages booked for today.
    booked_today: i32,
    /// Campaign time of the first slot that pacing leaves free.
    next_free_at: Option<DateTime<Utc>>,
}

/// Calls in a row that a provider did not answer.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SenderTrouble")]
struct TroubleView {
    /// How many.
    calls: u32,
    /// What was seen last.
    detail: String,
    /// Until when nothing leaves, wall time.
    until: Option<DateTime<Utc>>,
}

impl SenderView {
    fn of(sender: Sender, today: DayUse, wall: DateTime<Utc>) -> Self {
        Self {
            id: sender.id,
            channel: sender.channel.as_str().to_owned(),
            breaker: sender.breaker(wall).as_str().to_owned(),
            trouble: sender.trouble.map(|trouble| TroubleView {
                calls: trouble.count,
                detail: trouble.detail,
                until: trouble.until,
            }),
            url: sender.transport.to_string(),
            from: sender.from.to_string(),
            from_name: sender.from_name.map(|name| name.as_str().to_owned()),
            zone: sender.zone.name().to_owned(),
            per_day: sender.per_day,
            spacing_s: sender.spacing_s,
            weight: sender.weight,
            status: sender.status.as_str().to_owned(),
            status_reason: sender.status_reason,
            sent_today: today.used,
            booked_today: today.booked,
            next_free_at: sender.next_free_at,
            name: sender.name,
        }
    }
}

async fn list(
    State(app): State<App>,
    caller: Viewer,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<SenderView>>, Problem> {
    let Viewer(caller) = caller;
    let wanted = Wanted::of(&query)?;
    let after: Option<String> = wanted.after(&LIST)?;
    let (store, workspace) = (&app.room.store, caller.workspace);
    let senders = senders::page(store, workspace, after.as_deref(), wanted.rows()).await?;
    let Page { items, next } = wanted.page(&LIST, senders, |sender| sender.name.clone());
    Ok(Json(Page { items: with_use(&app, &caller, items).await?, next }))
}

async fn show(
    State(app): State<App>,
    caller: Viewer,
    Path(SenderPath { name }): Path<SenderPath>,
) -> Result<Json<SenderView>, Problem> {
    let Viewer(caller) = caller;
    let found = senders::get(&app.room.store, caller.workspace, &name).await?;
    let shown = with_use(&app, &caller, found.into_iter().collect()).await?.pop();
    Ok(Json(shown.ok_or_else(|| unknown(&name))?))
}

/// Tells what senders sent today.
async fn with_use(
    app: &App,
    caller: &Caller,
    senders: Vec<Sender>,
) -> Result<Vec<SenderView>, Problem> {
    let mut tx = app.room.store.begin(caller.workspace).await?;
    let clocks = clock::read(&mut tx).await?;
    let now = clocks.campaign;
    let day = |sender: &Sender| now.with_timezone(&sender.zone).date_naive();
    let days: Vec<_> = senders.iter().map(|sender| (sender.id, day(sender))).collect();
    let used = store::use_of_day(&mut tx, caller.workspace, &days).await?;
    let items = senders.into_iter().map(|sender| {
        let today = used.iter().find(|(id, _)| *id == sender.id).map(|(_, used)| *used);
        SenderView::of(sender, today.unwrap_or_default(), clocks.wall)
    });
    Ok(items.collect())
}

/// A sender to be set up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SenderBody {
    /// What campaigns call it.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// `smtp://user@host:587`, `smtps://user@host:465`, `mailgun://DOMAIN@api.mailgun.net`,
    /// `twilio://ACCOUNT_SID@api.twilio.com`, or `capture:` to keep every message here. Never with a
    /// password.
    url: String,
    /// The account's password, key or token; absent: the one that is stored, if the account is the same.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// The address that mails come from, or the number or messaging service that texts do.
    from: String,
    /// The name beside the address.
    from_name: Option<String>,
    /// The sender's postal address, for the footer of every mail.
    postal_address: Option<String>,
    /// The zone whose midnight begins its day.
    #[serde(default = "utc")]
    zone: String,
    /// Messages a day; absent: no limit.
    #[schemars(range(min = 1, max = 999_999))]
    per_day: Option<u32>,
    /// Seconds between two messages.
    #[serde(default)]
    #[schemars(range(max = 86_400))]
    spacing_s: u32,
    /// Its share among the senders of a campaign.
    #[serde(default = "one")]
    #[schemars(range(max = 1_000))]
    weight: u32,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn one() -> u32 {
    1
}

/// What was set up.
#[derive(Debug, Serialize, JsonSchema)]
struct SetSender {
    /// Its id.
    id: SenderId,
    /// Its name.
    name: String,
    /// Whether there was none of this name.
    is_new: bool,
    /// Leads that lacked a sender and were told to look again.
    woken: u64,
}

async fn set(
    State(app): State<App>,
    caller: Admin,
    Body(body): Body<SenderBody>,
) -> Result<Created<SetSender>, Problem> {
    let Admin(caller) = caller;
    let room = &app.room;
    let new = parse(body, room.reach)?;
    let (workspace, actor) = (caller.workspace, caller.actor());
    let added = senders::add(&room.store, workspace, &room.keys, &new, &actor).await?;
    let (id, is_new) = match added {
        Added::New(id) => (id, true),
        Added::Changed(id) => (id, false),
        Added::SameFrom(other) => {
            return Err(Problem::invalid_field("from", senders::same_from(&other)));
        }
    };
    let woken = wake_held(&app, &caller, id).await?;
    let location = answer::place("senders", &new.name);
    Ok(Created { location, body: SetSender { id, name: new.name, is_new, woken } })
}

/// Reads every field; every fault is told at once.
fn parse(body: SenderBody, reach: Reach) -> Result<NewSender, Problem> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, message: String| {
        faults.push(FieldFault { field: field.to_owned(), message });
    };
    let name = name::read(&body.name).unwrap_or_else(|error| {
        fault("name", error.to_string());
        String::new()
    });
    let transport = body.url.parse::<Transport>().map_err(|error| fault("url", error.to_string()));
    if let Ok(transport) = &transport {
        if transport.script().is_some() {
            fault(
                "url",
                "a script is a file of the server: name it on the command line".to_owned(),
            );
        }
        if let Transport::Smtp(account) = transport {
            if account.root_certificate().is_some() {
                fault(
                    "url",
                    "a certificate is a file of the server: name it on the command line".to_owned(),
                );
            }
            if let Err(reason) = reach.admits_account(account) {
                fault("url", format!("{reason}: {}", reach::FIX));
            }
        }
        if senders::split_password(&body.url).1.is_some() {
            fault("url", "leave the password out, and send it as `password`".to_owned());
        }
    }
    let from = body.from.parse::<Origin>().map_err(|error| fault("from", error.to_string()));
    if let (Ok(transport), Ok(from)) = (&transport, &from)
        && let Err(error) = transport.channel(from)
    {
        fault("from", error.to_string());
    }
    let from_name = body.from_name.map(|name| name.parse::<HeaderText>()).transpose();
    let from_name = from_name.map_err(|error| fault("from_name", error.to_string()));
    let zone = body.zone.parse::<Tz>().map_err(|_| {
        fault("zone", format!("`{}` is no zone: write it like `Europe/Lisbon`", body.zone));
    });
    if body.per_day.is_some_and(|n| !(1..1_000_000).contains(&n)) {
        fault("per_day", "use 1 to 999999, or leave it out for no limit".to_owned());
    }
    if body.spacing_s > SPACING_MAX_S {
        fault("spacing_s", format!("use at most {SPACING_MAX_S}, a day"));
    }
    if body.weight > 1_000 {
        fault("weight", "use 0 to 1000".to_owned());
    }
    match (transport, from, from_name, zone) {
        (Ok(transport), Ok(from), Ok(from_name), Ok(zone)) if faults.is_empty() => Ok(NewSender {
            name,
            transport,
            password: body.password,
            from,
            from_name,
            postal_address: body.postal_address,
            zone,
            per_day: body.per_day,
            spacing_s: body.spacing_s,
            weight: body.weight,
        }),
        (_, _, _, _) => Err(Problem::invalid(faults)),
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct SenderPath {
    /// The sender's name.
    name: String,
}

/// Why a sender is stopped.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pausing {
    /// For those who see it in the list.
    reason: Option<String>,
}

async fn pause(
    State(app): State<App>,
    caller: Admin,
    Path(SenderPath { name }): Path<SenderPath>,
    Body(pausing): Body<Pausing>,
) -> Result<NoContent, Problem> {
    let Admin(caller) = caller;
    let reason = pausing.reason.as_deref().map(name::read_remark).transpose();
    let reason = reason.map_err(|error| Problem::invalid_field("reason", error.to_string()))?;
    let (status, reason) = (SenderStatus::Paused, reason.as_deref());
    let (store, actor) = (&app.room.store, caller.actor());
    match senders::set_status(store, caller.workspace, &name, status, reason, &actor).await? {
        Some(_) => Ok(NoContent),
        None => Err(unknown(&name)),
    }
}

async fn resume(
    State(app): State<App>,
    caller: Admin,
    Path(SenderPath { name }): Path<SenderPath>,
) -> Result<NoContent, Problem> {
    let Admin(caller) = caller;
    let (store, status, actor) = (&app.room.store, SenderStatus::Active, caller.actor());
    let set = senders::set_status(store, caller.workspace, &name, status, None, &actor).await?;
    let id = set.ok_or_else(|| unknown(&name))?;
    wake_held(&app, &caller, id).await?;
    Ok(NoContent)
}

async fn wake_held(app: &App, caller: &Caller, sender: SenderId) -> Result<u64, Problem> {
    let actor = caller.actor();
    Ok(held_leads::sender_mended(&app.room.store, caller.workspace, sender, &actor).await?)
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no sender `{name}`"))
}
