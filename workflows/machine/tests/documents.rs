//! The campaign file: what authors write compiles, and what is wrong is named with its field and
//! its fix, every fault at once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use machine::document::{CampaignDocument, compile, unreachable_clicks};
use machine::sequence::{Channel, FirstAsked, ReplyRule, ReplyScope, StepKind, Version};
use serde_json::{Value, json};

fn parse(document: Value) -> CampaignDocument {
    serde_json::from_value(document).unwrap()
}

fn compiled(document: Value) -> Version {
    compile(&parse(document)).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn minimal() -> Value {
    json!({ "name": "Test", "zone": "UTC", "steps": [{ "key": "intro", "email": { "body": "x" } }] })
}

/// The minimal campaign with one field set by its path: `/steps/0/email`.
fn with(path: &str, value: Value) -> Value {
    let mut document = minimal();
    let (parent, field) = path.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    match parent {
        Value::Object(fields) => drop(fields.insert(field.to_owned(), value)),
        Value::Array(items) => items.push(value),
        _ => panic!("{path} leads into a plain value"),
    }
    document
}

#[test]
fn a_handover_to_nobody_is_one_to_the_workspace() {
    let version = compiled(with("/handover", json!({})));
    assert_eq!(version.handover.unwrap().first, FirstAsked::Address);
}

#[test]
fn a_fault_names_its_field_and_its_fix() {
    let email = |key: &str| json!({ "key": key, "email": { "body": "x" } });
    let condition = |when: Value| json!([{ "key": "c", "condition": { "when": when, "then": [{ "key": "t", "email": { "body": "x" } }] } }]);
    let cases = [
        (with("/name", json!("  ")), "name", "give the campaign a name"),
        (with("/steps", json!([])), "steps", "add at least one step"),
        (with("/steps", json!([{ "key": "a" }])), "steps[0]", "add one of `email`"),
        (
            with("/steps", json!([{ "key": "a", "email": { "body": "x" }, "call": {} }])),
            "steps[0]",
            "does several things (email, call)",
        ),
        (with("/steps", json!([email("a"), email("a")])), "steps[1].key", "keys are unique"),
        (with("/steps/0/email", json!({})), "steps[0].email", "add `body` or `html`"),
        (with("/steps/0/email/body", json!(" ")), "steps[0].email", "write one"),
        (with("/steps/0/email/html", json!("<p>x")), "steps[0].email", "keep one"),
        (
            with("/steps/0/email/variants", json!([{ "key": "a", "body": "x" }])),
            "steps[0].email",
            "move it into a variant",
        ),
        (
            with("/steps/0/email", json!({ "variants": [{ "key": "a" }] })),
            "steps[0].email.variants[0]",
            "add `body` or `html`",
        ),
        (
            with(
                "/steps/0/email",
                json!({ "variants": [
                { "key": "a", "body": "x" }, { "key": "a", "body": "y" },
            ] }),
            ),
            "steps[0].email.variants",
            "keys are unique",
        ),
        (
            with(
                "/steps/0/email",
                json!({ "variants": [{ "key": "a", "body": "x", "weight": 0 }] }),
            ),
            "steps[0].email.variants",
            "give at least one a share",
        ),
        (
            with(
                "/steps/0/email",
                json!({ "variants": [{ "key": "a", "body": "x", "weight": 1001 }] }),
            ),
            "steps[0].email.variants",
            "use smaller shares",
        ),
        (with("/steps", json!([{ "key": "s", "sms": {} }])), "steps[0].sms", "add `body`"),
        (
            with(
                "/steps",
                json!([{ "key": "s", "sms": { "body": "x", "variants": [{ "key": "a", "body": "y" }] } }]),
            ),
            "steps[0].sms",
            "move it into a variant",
        ),
        (
            with(
                "/steps",
                json!([{ "key": "w", "wait": "1 day", "wait_until": { "for": "1 day" } }]),
            ),
            "steps[0].wait_until",
            "the wait's length is `for`",
        ),
        (
            with("/steps", json!([{ "key": "w", "wait_until": { "for": "0 days" } }])),
            "steps[0].wait_until.for",
            "write it like `5 days`",
        ),
        (
            with(
                "/steps",
                json!([{ "key": "w", "wait_until": { "for": "1 day", "clicks": ["nowhere"] } }]),
            ),
            "steps[0].wait_until.clicks[0]",
            "use the key of a step",
        ),
        (
            with("/steps", condition(json!({ "sent": "nowhere" }))),
            "steps[0].condition.when.sent",
            "use the key of a step",
        ),
        (with("/steps", condition(json!({}))), "steps[0].condition.when", "set one of `all`"),
        (
            with("/steps", json!([{ "key": "c", "condition": { "when": { "sent": "c" } } }])),
            "steps[0].condition",
            "fill `then` or `else`",
        ),
        (
            with("/steps", json!([{ "key": "end", "finish": {} }, email("late")])),
            "steps[0]",
            "move it to the end",
        ),
        (with("/steps", json!([{ "key": "h", "handover": {} }])), "handover", "add `handover.to`"),
        (
            with("/handover", json!({ "to": "a@b.example", "agents": "in_turn" })),
            "handover.agents",
            "keep one",
        ),
        (with("/reply", json!({ "rule": "hand_over" })), "reply.rule", "add `handover.to`"),
        (with("/reply", json!({ "scope": "company" })), "reply.scope", "add `handover`"),
        (with("/handover", json!({ "to": "sales" })), "handover.to", "sales@example.com"),
        (
            with("/handover", json!({ "to": "a@b.c", "fallback": "a b@c.d" })),
            "handover.fallback",
            "sales@example.com",
        ),
        (
            with("/handover", json!({ "to": "a@b.c", "answer_within": "0 hours" })),
            "handover.answer_within",
            "write it like `4 hours`",
        ),
        (
            with(
                "/handover",
                json!({ "to": "a@b.c", "hours": [{ "days": [], "from": "09:00", "to": "17:00" }] }),
            ),
            "handover.hours[0].days",
            "name at least one day",
        ),
        (
            with("/windows", json!([{ "days": [], "from": "09:00", "to": "17:00" }])),
            "windows[0].days",
            "name at least one day",
        ),
        (with("/retry", json!({ "refusals": 0 })), "retry.refusals", "use 1 to 20"),
        (with("/caps", json!({ "per_day": 0 })), "caps.per_day", "use at least 1"),
        (
            with("/recontact", json!({ "not_within": "0 days" })),
            "recontact.not_within",
            "write it like `30 days`",
        ),
        (with("/goal", json!({ "attribute": "won" })), "goal", "add `equals`"),
        (
            with("/audience", json!({ "filter": { "sent": "intro" } })),
            "audience.filter",
            "use attributes",
        ),
    ];
    for (document, field, fix) in cases {
        let faults = compile(&parse(document.clone())).expect_err(&document.to_string());
        let named = faults.iter().find(|fault| fault.field == field);
        let fault = named.unwrap_or_else(|| panic!("{field} is not among {faults:#?}"));
        assert!(fault.message.contains(fix), "{fault}");
        assert!(!fault.message.ends_with('.'), "{fault}");
        assert_eq!(faults.len(), 1, "{faults:#?}");
    }
}

#[test]
fn all_faults_are_named_at_once() {
    let document = json!({
        "name": "", "zone": "UTC", "steps": [{ "key": "a" }, { "key": "a" }],
        "retry": { "refusals": 99 }, "goal": { "sent": "nowhere" },
    });
    let fields: Vec<_> =
        compile(&parse(document)).unwrap_err().into_iter().map(|fault| fault.field).collect();
    assert_eq!(
        fields,
        ["name", "steps[0]", "steps[1].key", "steps[1]", "goal.sent", "retry.refusals"]
    );
}

#[test]
fn conditions_nested_too_deep_are_refused() {
    let mut steps = json!([{ "key": "leaf", "email": { "body": "x" } }]);
    for depth in 0..10 {
        let when = json!({ "attribute": "a", "exists": true });
        steps =
            json!([{ "key": format!("c{depth}"), "condition": { "when": when, "then": steps } }]);
    }
    let faults = compile(&parse(with("/steps", steps))).unwrap_err();
    assert!(faults[0].message.contains("flatten the conditions"), "{faults:#?}");
}

#[test]
fn a_sequence_too_long_is_refused() {
    let steps: Vec<_> =
        (0..201).map(|n| json!({ "key": format!("s{n}"), "email": { "body": "x" } })).collect();
    let faults = compile(&parse(with("/steps", json!(steps)))).unwrap_err();
    assert_eq!((faults[0].field.as_str(), faults.len()), ("steps", 1));
}

#[test]
fn an_unknown_field_is_refused() {
    for path in ["/windos", "/steps/0/emial", "/steps/0/email/bdy"] {
        let result = serde_json::from_value::<CampaignDocument>(with(path, json!({})));
        assert!(result.unwrap_err().to_string().contains("unknown field"), "{path}");
    }
}

#[test]
fn a_whole_campaign_compiles() {
    let version = compiled(json!({
        "name": "Hotels, spring",
        "description": "Night audit, for hotels with more than fifty rooms",
        "senders": ["anna"],
        "audience": { "tags": ["hotel"], "filter": { "attribute": "rooms", "at_least": 10 } },
        "zone": "Europe/Lisbon",
        "windows": [
            { "days": ["mon", "tue", "wed", "thu"], "from": "09:00", "to": "12:00" },
            { "days": ["mon", "tue", "wed", "thu"], "from": "13:30", "to": "17:00" },
        ],
        "holidays": ["2026-04-03"],
        "caps": { "per_day": 40 },
        "goal": { "attribute": "stage", "equals": "won" },
        "reply": { "scope": "campaign" },
        "handover": {
            "to": "sales@example.com", "fallback": "lead@example.com", "answer_within": "4 hours",
            "hours": [{ "days": ["mon"], "from": "09:00", "to": "18:00" }],
        },
        "retry": { "refusals": 4 },
        "steps": [
            { "key": "intro", "email": { "variants": [
                { "key": "a", "weight": 2, "subject": "Night audit", "body": "Dear {{ first_name }}" },
                { "key": "b", "subject": "Your nights", "html": "<p>Dear {{ first_name }}</p>" },
            ] } },
            { "key": "look", "wait_until": { "for": "3 days", "clicks": ["intro"] } },
            { "key": "big", "condition": {
                "when": { "all": [
                    { "attribute": "rooms", "at_least": 50 },
                    { "waited": "look", "by": "click" },
                ] },
                "then": [{ "key": "ring", "call": { "note": "Ask about nights" } }],
                "else": [{ "key": "nudge", "wait": "1 day at 09:00", "email": { "body": "Again" } }],
            } },
            { "key": "text", "wait": "2 days", "sms": { "body": "Hi", "approval": true } },
            { "key": "team", "handover": {} },
        ],
    }));
    assert_eq!(
        (version.on_reply, version.reply_scope),
        (ReplyRule::HandOver, ReplyScope::Campaign)
    );
    assert_eq!(version.refusals_max, 4);
    let names: Vec<_> = version.attributes.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["rooms", "stage"]);
    let mut keys = Vec::new();
    version.each_step(&mut |step| keys.push(step.key.as_str().to_owned()));
    assert_eq!(keys, ["intro", "look", "big", "ring", "nudge", "text", "team"]);
    let kind = &version.step(&"text".parse().unwrap()).unwrap().kind;
    assert!(matches!(kind, StepKind::Message { channel: Channel::Sms, .. }));
}

#[test]
fn what_is_left_out_has_a_safe_meaning() {
    let version = compiled(minimal());
    assert_eq!((version.on_reply, version.reply_scope), (ReplyRule::Stop, ReplyScope::Person));
    assert_eq!((version.refusals_max, version.mail_needs_consent), (6, false));
    let version = compiled(with("/handover", json!({ "to": "sales@example.com" })));
    assert_eq!(version.on_reply, ReplyRule::HandOver);
}

#[test]
fn a_document_written_out_reads_back_the_same() {
    let document = parse(with("/handover", json!({ "to": "sales@example.com" })));
    let written = serde_json::to_value(&document).unwrap();
    assert_eq!(parse(written), document);
}

#[test]
fn a_wait_for_clicks_in_a_message_that_comes_later_is_refused_when_it_is_published() {
    let email = |key: &str| json!({ "key": key, "email": { "body": "x" } });
    let look = |clicks: &str| json!({ "key": "look", "wait_until": { "for": "3 days", "clicks": [clicks] } });
    let lanes = json!({
        "key": "lanes",
        "condition": { "when": { "sent": "intro" }, "then": [email("large")], "else": [look("large")] },
    });
    for (steps, field) in [
        (json!([email("intro"), look("intro")]), None),
        (json!([look("intro"), email("intro")]), Some("steps[0].wait_until.clicks[0]")),
        (json!([email("intro"), look("look")]), Some("steps[1].wait_until.clicks[0]")),
        (json!([email("intro"), lanes]), Some("steps[1].condition.else[0].wait_until.clicks[0]")),
        (json!([look("nowhere"), email("intro")]), None),
    ] {
        let document: CampaignDocument =
            serde_json::from_value(with("/steps", steps.clone())).unwrap();
        let faults = unreachable_clicks(&document);
        assert_eq!(faults.first().map(|fault| fault.field.as_str()), field, "{steps}");
        assert!(faults.iter().all(|fault| fault.message.contains("name an earlier step")));
    }
}
