//! The mail that offers a lead to a person of ours, with what they should read before acting: who
//! it is, what was sent, what happened.

use std::collections::HashMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::ids::WorkspaceId;
use machine::signal::{Answer, Missing, Refusal};
use machine::state::Responder;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::address::EmailAddress;
use crate::content::step::{BodySource, CompiledStep, Values};
use crate::error::Result;
use crate::header_text::HeaderText;
use crate::store::Tx;
use crate::store::journal::{self, Entry};
use crate::store::prepares::LeadRow;
use crate::turn::{Ask, What};

/// How many journal rows a dossier tells.
const ROWS_MAX: i64 = 200;

/// What is known of one enrollment.
pub(super) struct Dossier {
    entries: Vec<Entry>,
}

/// A mail to a person of ours.
pub(super) struct Offer {
    pub(super) to: EmailAddress,
    pub(super) subject: HeaderText,
    pub(super) text: String,
    pub(super) html: String,
}

/// Reads what the offers among `asks` have to tell.
pub(super) async fn read(
    tx: &mut Tx,
    workspace: WorkspaceId,
    asks: &[Ask],
) -> Result<HashMap<Uuid, Dossier>> {
    let mut dossiers = HashMap::new();
    for ask in asks.iter().filter(|ask| matches!(ask.what, What::Handover { .. })) {
        let entries = journal::entries(tx, workspace, ask.enrollment, 0, ROWS_MAX).await?;
        dossiers.insert(ask.enrollment.uuid(), Dossier { entries });
    }
    Ok(dossiers)
}

/// Writes the offer.
pub(super) fn compose(
    ask: &Ask,
    to: Responder,
    answer_by: Option<DateTime<Utc>>,
    lead: &LeadRow,
    dossier: Option<&Dossier>,
) -> std::result::Result<Offer, Answer> {
    let no_address =
        Answer::Held { missing: Missing::Address { channel: machine::sequence::Channel::Email } };
    let handover = ask.settings.handover.as_ref();
    let address = handover.and_then(|handover| match to {
        Responder::First => Some(handover.to.as_str()),
        Responder::Fallback => handover.fallback.as_deref().or(Some(handover.to.as_str())),
    });
    let Some(to) = address.and_then(|address| address.parse().ok()) else {
        return Err(no_address);
    };
    let text = tell(ask, answer_by, lead, dossier);
    let values = json!({ "who": who(lead), "campaign": ask.version.document.name, "text": text });
    let values = values.as_object().cloned().unwrap_or_default();
    let empty = Map::new();
    let wording = CompiledStep::compile(
        Some("{{ who }} needs you ({{ campaign }})"),
        BodySource::Text("{{ text }}"),
    );
    let rendered = wording.ok().and_then(|it| it.render(Values::new(&empty, &values), None).ok());
    let content = Answer::Rejected { class: Refusal::Content, retry_after_s: None };
    let rendered = rendered.ok_or_else(|| content.clone())?;
    let subject = rendered.subject.ok_or(content)?;
    Ok(Offer { to, subject, text: rendered.text, html: rendered.html })
}

/// The person's name, company or address, in one line.
fn who(lead: &LeadRow) -> String {
    let field = |name: &str| {
        let value = lead.attributes.get(name).and_then(Value::as_str).unwrap_or_default();
        value.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
    };
    let name = format!("{} {}", field("first_name"), field("last_name")).trim().to_owned();
    let company = field("company");
    let parts: Vec<String> = [name, company].into_iter().filter(|part| !part.is_empty()).collect();
    match parts.is_empty() {
        true => lead.email.clone().unwrap_or_else(|| "A lead".to_owned()),
        false => parts.join(", "),
    }
}

fn tell(
    ask: &Ask,
    answer_by: Option<DateTime<Utc>>,
    lead: &LeadRow,
    dossier: Option<&Dossier>,
) -> String {
    let zone = ask.settings.zone;
    let mut text = String::new();
    let _ = writeln!(text, "{} needs a person.", who(lead));
    if let Some(answer_by) = answer_by {
        let _ = writeln!(text, "Please answer by {}.", local(answer_by, zone));
    }
    text.push_str("\nWho\n");
    if let Some(email) = &lead.email {
        let _ = writeln!(text, "email: {email}");
    }
    for (name, value) in lead.attributes.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let _ = writeln!(text, "{name}: {value}");
    }
    text.push_str("\nWhat happened\n");
    for entry in dossier.into_iter().flat_map(|dossier| &dossier.entries) {
        if let Some(words) = words(entry) {
            let _ = writeln!(text, "{}: {words}", local(entry.at, zone));
        }
    }
    text.push_str("\nWhat you can do\n");
    let id = ask.enrollment;
    let _ = writeln!(text, "Take it: meridian handover accept {id}");
    let _ = writeln!(text, "Close it: meridian handover close {id} --won, or --lost");
    let _ = writeln!(text, "Give it back to the campaign: meridian handover give-back {id}");
    text
}

fn local(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%a %-d %b %Y %H:%M %Z").to_string()
}

/// Tells one journal row, if it is worth telling.
fn words(entry: &Entry) -> Option<String> {
    let signal: Value = serde_json::from_str(&entry.signal).unwrap_or(Value::Null);
    let step = signal.get("step").and_then(Value::as_str).unwrap_or("a message");
    match entry.cause.as_str() {
        "enrolled" => Some("entered the campaign".to_owned()),
        "send_answered" if signal.pointer("/answer/answer") == Some(&json!("accepted")) => {
            Some(match &entry.next_step {
                Some(next) => format!("was written to; next would have been {next}"),
                None => "was written to".to_owned(),
            })
        }
        "delivered" => Some(format!("{step} was delivered")),
        "clicked" => Some(format!("followed a link in {step}")),
        "replied" => Some(format!("answered {step}")),
        "auto_replied" => Some("sent an automatic answer".to_owned()),
        "hand_over" => Some("was handed over by a person".to_owned()),
        "given_back" => Some("was given back to the campaign".to_owned()),
        _ => None,
    }
}
