//! The sentences: plain English, times on the lead's own clock, keys in backquotes.

use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::{InDoubt, Values};
use crate::calendar::{Calendar, TEXT_HOURS, Weekday, Window};
use crate::condition::Condition;
use crate::context::Context;
use crate::enrollment::Enrollment;
use crate::key::StepKey;
use crate::outcome::Outcome;
use crate::sequence::{Channel, Step, StepKind, WaitUntil, Wake};
use crate::signal::{Missing, PauseScope};
use crate::state::{Open, Responder, State, Wait, Why};

/// What every later step hangs on.
pub(super) const NO_REPLY: &str = "if no reply";

/// Returns the sentence that says what the lead is doing, why and until when.
pub(super) fn headline(enrollment: &Enrollment, context: &Context<'_>, values: Values) -> String {
    let at = |time: DateTime<Utc>| clock(time, context);
    match &enrollment.state {
        State::Waiting { step, wait } => waiting(step, wait, enrollment, context, values),
        State::Dispatching { step, .. } => format!("Is sending `{step}` and waits for the answer"),
        State::AwaitingApproval { step, expires_at, .. } => {
            format!("Waits until {} for a person to approve `{step}`", at(*expires_at))
        }
        State::AwaitingCall { step, .. } => {
            format!("Waits for a person to make the call `{step}`")
        }
        State::Held { step, missing, since } => {
            format!("Held before `{step}` since {}: {}", at(*since), lacking(missing))
        }
        State::Paused { since, resume } => format!(
            "Paused since {} before `{}`: nothing leaves until {} resumed",
            at(*since),
            resume.step(),
            paused_things(enrollment),
        ),
        State::Offered { answer_by, remind_at: Some(later), .. }
            if context.now < *later.min(answer_by) && asks_later(enrollment) =>
        {
            format!("Waits for a person: nobody can be asked before {}", at(*later))
        }
        State::Offered { to, answer_by, .. } => offered(who(*to), *answer_by, context),
        State::Accepted { by, answer_by } => {
            format!("With {}, who has until {} to answer the lead", who(*by), at(*answer_by))
        }
        State::Answered { by } => {
            format!("With {}, who has answered the lead; automation is off", who(*by))
        }
        State::Ended { outcome } => over(*outcome).to_owned(),
    }
}

/// What is said of a message of which nobody knows whether it went out.
pub(super) fn doubt(message: InDoubt<'_>) -> String {
    let what = match message {
        InDoubt::Step(step) => format!("`{step}`"),
        InDoubt::Offer => "the mail to the team".to_owned(),
        InDoubt::Answer => "the answer that a person wrote".to_owned(),
    };
    format!("nobody knows whether {what} went out: a person must look, and say")
}

/// Returns the sentence for a handover that waits for `who`.
pub(super) fn offered(who: &str, answer_by: DateTime<Utc>, context: &Context<'_>) -> String {
    let at = clock(answer_by, context);
    if answer_by <= context.now {
        format!("Offered to {who}, who has not answered since {at}")
    } else {
        format!("Offered to {who}, who has until {at} to take it")
    }
}

/// Whether the newest mail of a handover has not left and is asked for again later only.
fn asks_later(enrollment: &Enrollment) -> bool {
    let is_asked_for = enrollment.data.open.iter().any(Open::is_to_the_team);
    enrollment.data.handovers.attempts > 0 && !is_asked_for
}

fn waiting(
    key: &StepKey,
    wait: &Wait,
    enrollment: &Enrollment,
    context: &Context<'_>,
    values: Values,
) -> String {
    let Some(step) = context.version.step(key) else {
        return format!("Passes by `{key}`, which the sequence does not have any more");
    };
    if wait.wake_at <= context.now {
        return format!("Is about to {}", infinitive(step));
    }
    let when = clock(wait.wake_at, context);
    if let StepKind::WaitUntil(until) = &step.kind
        && wait.why == Why::UntilEvent
    {
        return format!("Waits until {when} for {}", events(until, values));
    }
    let reason = reason(wait.why, step, enrollment, context);
    format!("Waits until {when} to {}: {reason}", infinitive(step))
}

/// What a step is about to do.
pub(super) fn infinitive(step: &Step) -> String {
    let key = &step.key;
    match &step.kind {
        StepKind::Message { channel: Channel::Email, .. } => format!("send `{key}`"),
        StepKind::Message { channel: Channel::Sms, .. } => format!("text `{key}`"),
        StepKind::Message { channel: Channel::Call, .. } | StepKind::Call => {
            format!("put the call `{key}` on the list")
        }
        StepKind::WaitUntil(_) => format!("end the wait `{key}`"),
        StepKind::Condition { .. } => format!("decide `{key}`"),
        StepKind::Handover => format!("hand over to a person (`{key}`)"),
        StepKind::Finish => format!("finish (`{key}`)"),
    }
}

fn events(until: &WaitUntil, values: Values) -> String {
    let mut events = Vec::new();
    if until.reply {
        events.push("a reply".to_owned());
    }
    if let [first, more @ ..] = until.clicks.as_slice() {
        let more = more.iter().map(|key| format!(" or `{key}`")).collect::<String>();
        events.push(format!("a click in `{first}`{more}"));
    }
    if let Some(wanted) = &until.attribute {
        events.push(match values {
            Values::Shown => condition(wanted),
            Values::Withheld => "an attribute".to_owned(),
        });
    }
    match events.pop() {
        None => "time to pass".to_owned(),
        Some(last) if events.is_empty() => last,
        Some(last) => format!("{} or {last}", events.join(", ")),
    }
}

/// Why a step waits, as the end of a sentence.
fn reason(why: Why, step: &Step, enrollment: &Enrollment, context: &Context<'_>) -> String {
    match why {
        Why::Delay if step.delay.is_none() => "as soon as it may".to_owned(),
        Why::Delay => format!("{} after the step before", step.delay),
        Why::UntilEvent => "the end of the wait".to_owned(),
        Why::LeadAsked => "the lead is away".to_owned(),
        Why::SendWindow => "outside the sending window".to_owned(),
        Why::Holiday => "a holiday".to_owned(),
        Why::QuietHours => "too early or too late for a text".to_owned(),
        Why::SenderPacing => "the sender leaves time between messages".to_owned(),
        Why::SenderDailyLimit => "the sender's messages of the day are used up".to_owned(),
        Why::CampaignDailyLimit => "the campaign's messages of the day are used up".to_owned(),
        Why::RecontactGuard => "another campaign wrote to the lead a short while ago".to_owned(),
        Why::ColleagueWithPerson => "a colleague is with a person".to_owned(),
        Why::RetryBackoff => {
            let refusals = enrollment.data.asked.get(&step.key).map_or(0, |asked| asked.refusals);
            format!("attempt {refusals} of {} failed", context.version.refusals_max)
        }
        Why::ProviderOutage => "the sender's provider is not working".to_owned(),
        Why::CampaignPaused => "the campaign is paused".to_owned(),
        Why::LeadPaused => "the lead is paused".to_owned(),
        Why::MissingVariable => "a value is missing".to_owned(),
        Why::ConsentMissing => "consent is missing".to_owned(),
        Why::SenderDisconnected => "no sender works".to_owned(),
        Why::AddressMissing => "there is no address".to_owned(),
        Why::Approval => "a draft waits for a decision".to_owned(),
        Why::CallQueue => "a call waits to be made".to_owned(),
        Why::OwnerReply => "a person has the lead".to_owned(),
        Why::AgentsAway => "no agent works now".to_owned(),
        Why::AgentsBusy => "every agent who works now has as many leads as they may".to_owned(),
        Why::AgentMissing => "there is no agent left to ask".to_owned(),
    }
}

/// A row of the ladder of constraints.
pub(super) fn label(
    why: Why,
    step: &Step,
    enrollment: &Enrollment,
    context: &Context<'_>,
) -> String {
    match why {
        Why::SendWindow => format!("Sending window {}", windows(&context.version.calendar)),
        Why::Holiday => "No holiday".to_owned(),
        Why::QuietHours => {
            let (opens, closes) = TEXT_HOURS;
            format!("Hours for texts {opens} to {closes}")
        }
        Why::LeadAsked => match enrollment.data.away_until {
            Some(back_on) => format!("The lead is back on {}", back_on.format("%a %-d %b")),
            None => "The lead is back".to_owned(),
        },
        Why::Delay
        | Why::UntilEvent
        | Why::SenderPacing
        | Why::SenderDailyLimit
        | Why::CampaignDailyLimit
        | Why::RecontactGuard
        | Why::ColleagueWithPerson
        | Why::RetryBackoff
        | Why::ProviderOutage
        | Why::CampaignPaused
        | Why::LeadPaused
        | Why::MissingVariable
        | Why::ConsentMissing
        | Why::SenderDisconnected
        | Why::AddressMissing
        | Why::Approval
        | Why::CallQueue
        | Why::OwnerReply
        | Why::AgentsAway
        | Why::AgentsBusy
        | Why::AgentMissing => capitalised(&reason(why, step, enrollment, context)),
    }
}

fn windows(calendar: &Calendar) -> String {
    let window = |window: &Window| format!("{} {} to {}", days(window), window.from, window.to);
    calendar.windows.iter().map(window).collect::<Vec<_>>().join(", ")
}

fn days(window: &Window) -> String {
    let listed: Vec<_> = Weekday::ALL.iter().filter(|day| window.days.contains(day)).collect();
    let name = |day: &Weekday| capitalised(&day.to_string());
    match listed.as_slice() {
        [] => String::new(),
        all if all.len() == Weekday::ALL.len() => "every day".to_owned(),
        [first, .., last] if **last as usize - **first as usize + 1 == listed.len() => {
            format!("{} to {}", name(first), name(last))
        }
        some => some.iter().map(|day| name(day)).collect::<Vec<_>>().join(", "),
    }
}

fn lacking(missing: &Missing) -> String {
    match missing {
        Missing::Variables { fields } => {
            let names: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            format!("{} {verb} missing", names.join(", "))
        }
        Missing::Consent { channel } => format!("there is no consent for {}", channel.as_str()),
        Missing::Sender { channel } => format!("no {} sender works", channel.as_str()),
        Missing::Address { channel } => format!("there is no address for {}", channel.as_str()),
        Missing::Approval => "its draft was not approved".to_owned(),
        Missing::Agent => "there is no agent left to ask".to_owned(),
        Missing::SmtpUtf8 => "the sender's mail server takes no mailbox names outside ASCII \
                              (SMTPUTF8); another address or another server would do"
            .to_owned(),
    }
}

fn paused_things(enrollment: &Enrollment) -> &'static str {
    let paused = |scope| enrollment.data.pauses.contains(&scope);
    match (paused(PauseScope::Lead), paused(PauseScope::Campaign)) {
        (true, true) => "lead and campaign are",
        (false, true) => "the campaign is",
        (true | false, false) => "the lead is",
    }
}

fn who(responder: Responder) -> &'static str {
    match responder {
        Responder::First => "the campaign's owner",
        Responder::Fallback => "the fallback",
    }
}

fn over(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Failed => "Given up: too many attempts failed, or the message was refused",
        Outcome::Completed => "Finished: every step is done and there was no reply",
        Outcome::Met => "Finished well: the campaign's goal is met",
        Outcome::Replied => "Finished well: the lead replied",
        Outcome::Bounced => "Ended: the address is bad",
        Outcome::Stopped => "Ended by a person or a rule",
        Outcome::OptedOut => "Ended: nobody may write to the lead any more",
    }
}

/// A condition as part of a sentence: `rooms` is at least 50.
pub(super) fn condition(condition: &Condition) -> String {
    let list = |parts: &[Condition], word: &str| {
        let parts: Vec<_> = parts.iter().map(self::condition).collect();
        parts.join(word)
    };
    if let Some(all) = &condition.all {
        return list(all, " and ");
    }
    if let Some(any) = &condition.any {
        return list(any, " or ");
    }
    if let Some(not) = &condition.not {
        return format!("not: {}", self::condition(not));
    }
    if let Some(name) = &condition.attribute {
        return format!("`{name}` {}", comparison(condition));
    }
    if let Some(step) = &condition.sent {
        return match &condition.variant {
            Some(variant) => format!("`{step}` was sent as `{variant}`"),
            None => format!("`{step}` was sent"),
        };
    }
    if let Some(step) = &condition.delivered {
        return format!("`{step}` was delivered");
    }
    if let Some(step) = &condition.clicked {
        return format!("a link in `{step}` was followed");
    }
    if let Some(step) = &condition.replied {
        return format!("`{step}` was answered");
    }
    if let Some(keyword) = &condition.said {
        return format!("an answer says `{keyword}`");
    }
    if let Some(least) = condition.score_at_least {
        return format!("the score is at least {least}");
    }
    match (&condition.waited, condition.by) {
        (Some(step), Some(Wake::Time)) => format!("`{step}` ran out"),
        (Some(step), Some(Wake::Reply)) => format!("a reply ended `{step}`"),
        (Some(step), Some(Wake::Click)) => format!("a click ended `{step}`"),
        (Some(step), Some(Wake::Attribute)) => format!("an attribute ended `{step}`"),
        (Some(step), None) => format!("`{step}` is over"),
        (None, _) => "never".to_owned(),
    }
}

fn comparison(condition: &Condition) -> String {
    if let Some(exists) = condition.exists {
        return if exists { "is known" } else { "is not known" }.to_owned();
    }
    if let Some(value) = &condition.equals {
        return format!("is {}", plain(value));
    }
    if let Some(values) = &condition.one_of {
        let values: Vec<_> = values.iter().map(plain).collect();
        return format!("is one of {}", values.join(", "));
    }
    if let Some(least) = condition.at_least {
        return format!("is at least {least}");
    }
    if let Some(most) = condition.at_most {
        return format!("is at most {most}");
    }
    match &condition.contains {
        Some(part) => format!("contains {part}"),
        None => "is anything".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A time on the lead's clock, as short as it can be without doubt: `today 14:20`, `Tue 09:10`,
/// `Tue 3 Mar 09:10`, with the place.
fn clock(time: DateTime<Utc>, context: &Context<'_>) -> String {
    let zone = context.zone();
    let (local, now) = (time.with_timezone(&zone), context.now.with_timezone(&zone));
    let ahead = local.date_naive().signed_duration_since(now.date_naive()).num_days();
    let shown = match ahead {
        0 => local.format("today %H:%M"),
        1..=6 => local.format("%a %H:%M"),
        _ if local.year() == now.year() => local.format("%a %-d %b %H:%M"),
        _ => local.format("%a %-d %b %Y %H:%M"),
    };
    format!("{shown} {}", place(zone))
}

fn place(zone: Tz) -> String {
    let name = zone.name();
    match name.rsplit_once('/') {
        Some((area, city)) if area != "Etc" => format!("in {}", city.replace('_', " ")),
        Some((_, offset)) => offset.to_owned(),
        None => name.to_owned(),
    }
}

pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
