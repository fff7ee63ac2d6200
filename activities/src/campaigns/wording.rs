//! The wordings of a campaign, checked before anything is stored: every subject and every body,
//! with the place in the document and the line in the text.

use machine::document::{CampaignDocument, EmailDocument, Fault, SmsDocument, StepDocument};

use crate::content::Part;
use crate::content::step::{BodySource, CompiledStep};
use crate::content::template::{Template, TemplateFault};

/// What every mail has beside the lead's own fields.
const OURS: [(&str, &[&str]); 2] = [("sender", &["name", "address"]), ("campaign", &["name"])];

/// Returns every fault of every wording, in the order of the document.
pub fn check(document: &CampaignDocument) -> Vec<Fault> {
    let mut faults = Vec::new();
    check_steps("steps", &document.steps, Thread::None, &mut faults);
    faults
}

/// Whether a mail goes before, which a mail without a subject can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thread {
    None,
    Begun,
}

/// Returns whether a mail was sent by the end of the steps, whatever lane was taken.
fn check_steps(
    path: &str,
    steps: &[StepDocument],
    mut thread: Thread,
    faults: &mut Vec<Fault>,
) -> Thread {
    for (index, step) in steps.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(email) = &step.email {
            check_email(&format!("{path}.email"), email, thread, faults);
            thread = Thread::Begun;
        }
        if let Some(sms) = &step.sms {
            check_sms(&format!("{path}.sms"), sms, faults);
        }
        if let Some(condition) = &step.condition {
            let path = format!("{path}.condition");
            let then = check_steps(&format!("{path}.then"), &condition.then, thread, faults);
            let other = check_steps(&format!("{path}.else"), &condition.otherwise, thread, faults);
            if then == other {
                thread = then;
            }
        }
    }
    thread
}

fn check_email(path: &str, email: &EmailDocument, thread: Thread, faults: &mut Vec<Fault>) {
    let subject = email.subject.as_deref();
    if email.body.is_some() || email.html.is_some() {
        let (body, html) = (email.body.as_deref(), email.html.as_deref());
        check_wording(path, subject, body, html, thread, faults);
    }
    for (index, variant) in email.variants.iter().enumerate() {
        let path = format!("{path}.variants[{index}]");
        let (body, html) = (variant.body.as_deref(), variant.html.as_deref());
        // A subject beside the variants is that of every variant without one.
        let subject = variant.subject.as_deref().or(subject);
        check_wording(&path, subject, body, html, thread, faults);
    }
}

fn check_wording(
    path: &str,
    subject: Option<&str>,
    body: Option<&str>,
    html: Option<&str>,
    thread: Thread,
    faults: &mut Vec<Fault>,
) {
    match (subject, thread) {
        (None, Thread::None) => faults.push(Fault {
            field: format!("{path}.subject"),
            message: "is missing, and there may be no mail before it to answer: add one".to_owned(),
        }),
        (Some(subject), _) if subject.trim().is_empty() => faults.push(Fault {
            field: format!("{path}.subject"),
            message: "is empty: write one, or leave it out to answer the mail before".to_owned(),
        }),
        (Some(_) | None, _) => {}
    }
    let source = match (body, html) {
        (Some(text), Some(html)) => BodySource::Both { text, html },
        (Some(text), None) => BodySource::Text(text),
        (None, Some(html)) => BodySource::Html(html),
        // Told by the document's own rules.
        (None, None) => return,
    };
    match CompiledStep::compile(subject, source) {
        Ok(wording) => {
            faults.extend(wording.fields().iter().filter_map(|field| foreign(path, field)));
        }
        Err(found) => faults.extend(found.into_iter().map(|fault| at(path, &fault))),
    }
}

/// What we say of a mail ourselves has few fields; no lead could ever fill another one.
fn foreign(path: &str, field: &str) -> Option<Fault> {
    let (root, known) =
        OURS.into_iter().find(|(root, _)| field.split('.').next() == Some(*root))?;
    let is_known = known.iter().any(|name| field == format!("{root}.{name}"));
    let names: Vec<String> = known.iter().map(|name| format!("{{{{ {root}.{name} }}}}")).collect();
    (!is_known).then(|| Fault {
        field: path.to_owned(),
        message: format!("names `{field}`, which no mail has: use {}", names.join(" or ")),
    })
}

fn check_sms(path: &str, sms: &SmsDocument, faults: &mut Vec<Fault>) {
    let variants = sms.variants.iter().enumerate();
    let texts = sms
        .body
        .iter()
        .map(|body| (path.to_owned(), body))
        .chain(variants.map(|(i, variant)| (format!("{path}.variants[{i}]"), &variant.body)));
    for (path, text) in texts {
        if let Err(found) = Template::check(Part::Text, text) {
            faults.extend(found.into_iter().map(|fault| at(&path, &fault)));
        }
    }
}

fn at(path: &str, fault: &TemplateFault) -> Fault {
    Fault {
        field: format!("{path}.{}", fault.part),
        message: format!("line {}: {}; {}", fault.line, fault.found, fault.instead),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(steps: serde_json::Value) -> Vec<String> {
        let document = serde_json::json!({ "name": "x", "zone": "UTC", "steps": steps });
        let document: CampaignDocument = serde_json::from_value(document).unwrap();
        check(&document).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_sound_wording_has_no_fault() {
        let none = faults(serde_json::json!([
            { "key": "intro", "email": { "subject": "Hello {{ first_name }}", "body": "Text" } },
            { "key": "nudge", "wait": "3 days", "email": { "body": "Did you see it?" } },
        ]));
        assert_eq!(none, Vec::<String>::new());
    }

    #[test]
    fn each_fault_names_its_field_and_line() {
        let found = faults(serde_json::json!([
            { "key": "intro", "email": { "variants": [
                { "key": "a", "subject": "Hi", "body": "One\n{% for x in y %}{% endfor %}" },
                { "key": "b", "body": "Two" },
            ] } },
            { "key": "branch", "condition": { "when": { "sent": "intro" }, "then": [
                { "key": "text", "sms": { "body": "{{ a ~ b }}" } },
            ] } },
        ]));
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found[0].starts_with("steps[0].email.variants[0].body: line 2: "), "{found:#?}");
        assert!(
            found[1].starts_with("steps[0].email.variants[1].subject: is missing"),
            "{found:#?}"
        );
        assert!(
            found[2].starts_with("steps[1].condition.then[0].sms.body: line 1: "),
            "{found:#?}"
        );
    }

    #[test]
    fn a_field_of_the_sender_that_no_sender_has_is_a_fault() {
        let found = faults(serde_json::json!([
            { "key": "intro", "email": {
                "subject": "Hello {{ first_name }}",
                "body": "{{ sender.name }}, {{ sender.phone | default('-') }}, {{ campaign.name }}",
            } },
        ]));
        assert_eq!(
            found,
            ["steps[0].email: names `sender.phone`, which no mail has: \
              use {{ sender.name }} or {{ sender.address }}"]
        );
    }

    #[test]
    fn a_mail_without_a_subject_needs_one_before_it_on_every_lane() {
        let lanes = |other: serde_json::Value| {
            faults(serde_json::json!([
                { "key": "branch", "condition": {
                    "when": { "attribute": "rooms", "at_least": 10 },
                    "then": [{ "key": "big", "email": { "subject": "Hello", "body": "Text" } }],
                    "else": other,
                } },
                { "key": "nudge", "email": { "body": "Did you see it?" } },
            ]))
        };
        assert_eq!(lanes(serde_json::json!([])).len(), 1);
        let small = serde_json::json!([
            { "key": "small", "email": { "subject": "Hello", "body": "Text" } }
        ]);
        assert_eq!(lanes(small), Vec::<String>::new());
    }
}
