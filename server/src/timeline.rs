//! What happened to an enrollment, in words: the journal keeps codes, and the words are made here,
//! on reading, so that they can be improved for the past too.

use activities::enrollment_view::{EnrollmentView, signal_of};
use activities::handover_cause::{self, Cause};
use activities::store::journal::Entry;
use chrono::{DateTime, Utc};
use machine::explain::Shown;
use machine::ids::{SendId, WorkspaceId};
use machine::signal::{
    Answer, Bounce, CallResult, Decision, HandoverResult, Missing, PauseScope, Refusal, ReplyTo,
    ResumeRule, Signal,
};
use machine::state::{Responder, Why};
use serde::Serialize;

use crate::times;

/// What a wake-up led to that handed the lead over.
const OFFERED: &str = "offered to a person";

/// One event of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its number.
    pub turn: i32,
    /// Campaign time.
    pub at: DateTime<Utc>,
    /// The kind of the signal.
    pub kind: String,
    /// What happened, in words.
    pub what: String,
    /// The state after it, as shown.
    pub state: String,
    /// What was to come next, and when.
    pub next: Option<(String, Option<DateTime<Utc>>)>,
}

/// Tells a journal.
pub fn tell(view: &EnrollmentView, workspace: WorkspaceId, entries: &[Entry]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::with_capacity(entries.len());
    let mut offered: Option<Responder> = None;
    let mut before: Option<&Entry> = None;
    for entry in entries {
        let what = match signal_of(entry) {
            Some(signal) => sentence(&signal, entry, (view, workspace)),
            // A later build knew more kinds of signals.
            None => entry.cause.replace('_', " "),
        };
        let what = match handed_over(view, entry, before) {
            Some(why) => why_after(&what, &why),
            None => what,
        };
        before = Some(entry);
        let what = match (offer(entry), offered) {
            (Some(to), Some(before)) if to == before => {
                format!("{} was reminded", responder(to))
            }
            (Some(Responder::Fallback), Some(Responder::First)) => {
                "nobody took it in time: offered to the fallback".to_owned()
            }
            (Some(_) | None, _) => what,
        };
        offered = if entry.to_state == Shown::WithPerson.as_str() {
            offer(entry).or(offered)
        } else {
            None
        };
        events.push(Event {
            turn: entry.turn,
            at: entry.at,
            kind: entry.cause.clone(),
            what,
            state: entry.to_state.clone(),
            next: entry.next_step.clone().map(|step| (step, entry.next_at)),
        });
    }
    events
}

/// Returns what an entry handed the lead over for, where its signal does not say so.
fn handed_over(view: &EnrollmentView, entry: &Entry, before: Option<&Entry>) -> Option<String> {
    if !handover_cause::hands_over(entry) {
        return None;
    }
    match Cause::of(entry, before) {
        Cause::Step { step: Some(step) } => Some(format!("the step `{step}`")),
        Cause::Triggered { triggers } | Cause::Replied { triggers } if !triggers.is_empty() => {
            let met = handover_cause::in_words(&triggers, &view.version.version);
            Some(format!("the trigger {met}"))
        }
        Cause::Step { step: None }
        | Cause::Asked
        | Cause::Triggered { .. }
        | Cause::Replied { .. } => None,
    }
}

fn why_after(what: &str, why: &str) -> String {
    match what {
        OFFERED => format!("{why} handed it over to a person"),
        what => format!("{what}; {why} handed it over to a person"),
    }
}

/// Returns whom an entry offers the lead to.
fn offer(entry: &Entry) -> Option<Responder> {
    let asked: serde_json::Value = serde_json::from_str(entry.effects.as_deref()?).ok()?;
    let mut asked = asked["asked"].as_array()?.iter();
    let offer = asked.find(|effect| effect["effect"] == "offer_handover")?;
    serde_json::from_value(offer["to"].clone()).ok()
}

fn responder(responder: Responder) -> &'static str {
    match responder {
        Responder::First => "the team",
        Responder::Fallback => "the fallback",
    }
}

fn sentence(
    signal: &Signal,
    entry: &Entry,
    (view, workspace): (&EnrollmentView, WorkspaceId),
) -> String {
    let step_of = |send: SendId| view.step_of(workspace, send);
    let at_home = |at: DateTime<Utc>| times::short(view.zone, at);
    match signal {
        Signal::Enrolled => "entered the campaign".to_owned(),
        Signal::Woke => woke(entry),
        Signal::SendAnswered { effect, answer } => {
            let what = match step_of(effect.send) {
                Some(step) => format!("`{step}`"),
                None if view.is_answer(workspace, effect.send) => {
                    "the answer that a person wrote".to_owned()
                }
                None => "the mail to the team".to_owned(),
            };
            format!("{what} {}", answered(answer, &at_home))
        }
        Signal::Delivered { step } => format!("`{step}` reached the mailbox"),
        Signal::Bounced { step, severity } => {
            let what = step.as_ref().map_or("a mail".to_owned(), |step| format!("`{step}`"));
            match severity {
                Bounce::Hard => format!("{what} came back: the address does not work"),
                Bounce::Soft => format!("{what} came back: the mailbox has passing trouble"),
            }
        }
        Signal::Complained => "reported a mail as unwanted".to_owned(),
        Signal::OptedOut => "opted out".to_owned(),
        Signal::Replied { to: ReplyTo::This, step: Some(step), .. } => {
            format!("replied to `{step}`")
        }
        Signal::Replied { to: ReplyTo::This, step: None, .. } => "replied".to_owned(),
        Signal::Replied { to: ReplyTo::Other, .. } => "replied to another campaign".to_owned(),
        Signal::AutoReplied { back_on: Some(day) } => {
            format!("an auto-reply came: away until {}", day.format("%a %-d %b %Y"))
        }
        Signal::AutoReplied { back_on: None } => "an auto-reply came".to_owned(),
        Signal::Clicked { step } => format!("followed a link in `{step}`"),
        Signal::AttributeChanged => "the lead's data changed".to_owned(),
        Signal::Paused { scope: PauseScope::Lead } => "paused by a person".to_owned(),
        Signal::Paused { scope: PauseScope::Campaign } => "the campaign was paused".to_owned(),
        Signal::Resumed { scope, rule } => resumed(*scope, *rule),
        Signal::Skipped { step } => format!("a person skipped `{step}`"),
        Signal::SendNow { step } => format!("a person ordered `{step}` without further delay"),
        Signal::Retried => "a person had it tried again".to_owned(),
        Signal::Stopped => "stopped by a person".to_owned(),
        Signal::HandOver => "a person asked for a handover".to_owned(),
        Signal::HandoverAccepted { by: Responder::First } => "the team took the lead".to_owned(),
        Signal::HandoverAccepted { by: Responder::Fallback } => {
            "the fallback took the lead".to_owned()
        }
        Signal::HandoverAnswered => "a person answered the lead".to_owned(),
        Signal::PersonWrote { by, files, .. } => wrote(*by, *files, entry),
        Signal::HandoverClosed { result: HandoverResult::Won } => {
            "the handover was closed as won".to_owned()
        }
        Signal::HandoverClosed { result: HandoverResult::Lost } => {
            "the handover was closed as lost".to_owned()
        }
        Signal::GivenBack => "a person gave the lead back".to_owned(),
        Signal::ApprovalDecided { decision: Decision::Approved, .. } => {
            "a person approved the draft".to_owned()
        }
        Signal::ApprovalDecided { decision: Decision::Rejected, .. } => {
            "a person rejected the draft".to_owned()
        }
        Signal::CallDone { result, .. } => match result {
            CallResult::Reached => "the lead was reached by telephone".to_owned(),
            CallResult::NoAnswer => "a call was not answered".to_owned(),
            CallResult::WrongNumber => "the telephone number is wrong".to_owned(),
        },
        Signal::Freed => "what it waited for may be free again".to_owned(),
        Signal::VersionMoved => "moved to another version of the sequence".to_owned(),
    }
}

/// What became of a mail in which a person of ours wrote to the lead.
fn wrote(by: Responder, files: u32, entry: &Entry) -> String {
    let asks = entry.effects.as_deref().is_some_and(|asked| asked.contains("\"pass_on\""));
    let what = match asks {
        true => "it is passed on",
        // Where the lead stands says why.
        false => "it was not passed on",
    };
    let files = match files {
        0 => String::new(),
        1 => ", without the file that came with it".to_owned(),
        more => format!(", without the {more} files that came with it"),
    };
    let standing = match (asks, entry.to_state.as_str()) {
        (true, _) => String::new(),
        (false, state) => format!(" ({})", state.replace('_', " ")),
    };
    format!("{} answered the lead by mail: {what}{files}{standing}", responder(by))
}

/// What a wake-up led to, told by what was asked for.
fn woke(entry: &Entry) -> String {
    let asked = entry.effects.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let asked: serde_json::Value = asked.unwrap_or_default();
    let effect = &asked["asked"][0];
    let step = effect["step"].as_str().unwrap_or_default();
    match effect["effect"].as_str() {
        Some("send") => match effect["variant"].as_str() {
            Some(variant) => format!("time for `{step}`, wording `{variant}`"),
            None => format!("time for `{step}`"),
        },
        Some("offer_handover") => OFFERED.to_owned(),
        Some("request_approval") => format!("a draft of `{step}` waits for approval"),
        Some("open_call_task") => format!("the call `{step}` is due"),
        Some("pass_on") => "time for the answer that a person wrote".to_owned(),
        Some("forward") => "time to tell the person what the lead wrote".to_owned(),
        Some(_) | None => "the wait was over".to_owned(),
    }
}

fn answered(answer: &Answer, at_home: &dyn Fn(DateTime<Utc>) -> String) -> String {
    match answer {
        Answer::Accepted => "was sent".to_owned(),
        Answer::Rejected { class, .. } => match class {
            Refusal::Retry => "was refused for now; it is tried again".to_owned(),
            Refusal::Recipient => "was refused: the address does not work".to_owned(),
            Refusal::Content => "was refused: the message itself is the trouble".to_owned(),
            Refusal::Account => "was refused: our mail account is the trouble".to_owned(),
            Refusal::Suppressed => {
                "was not sent: the address is on the suppression list".to_owned()
            }
        },
        Answer::Lost => "did not go out, says a person: it is sent again".to_owned(),
        Answer::Deferred { until, reason } => {
            format!("has a slot at {} ({})", at_home(*until), why(*reason))
        }
        Answer::Held { missing } => format!("cannot go: {}", lacks(missing)),
    }
}

/// Returns what a step lacks.
pub fn lacks(missing: &Missing) -> String {
    match missing {
        Missing::Variables { fields } => {
            let verb = if fields.len() == 1 { "is" } else { "are" };
            format!("{} {verb} missing", fields.join(", "))
        }
        Missing::Consent { channel } => format!("consent to {} is missing", channel.as_str()),
        Missing::Sender { channel } => format!("no sender for {} works", channel.as_str()),
        Missing::Address { channel } => format!("there is no address for {}", channel.as_str()),
        Missing::Approval => "it was not approved".to_owned(),
        Missing::Agent => "there is no agent left to ask".to_owned(),
        Missing::SmtpUtf8 => "the sender's mail server takes no mailbox names outside ASCII \
                              (SMTPUTF8)"
            .to_owned(),
    }
}

/// Returns a reason in words.
pub fn why(why: Why) -> String {
    why.as_str().replace('_', " ")
}

fn resumed(scope: PauseScope, rule: ResumeRule) -> String {
    let what = match scope {
        PauseScope::Lead => "resumed by a person",
        PauseScope::Campaign => "the campaign was resumed",
    };
    let wait = match rule {
        ResumeRule::Keep => "the wait keeps its time",
        ResumeRule::Shift => "the rest of the wait follows",
        ResumeRule::Restart => "the wait begins anew",
    };
    format!("{what}; {wait}")
}
