//! The JSON of an event webhook. Fields come and go over the years: each is looked for where it
//! stands today, and its absence is an answer.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    About, BounceArrival, Failure, MailgunEvent, MailgunPost, PostFault, Reason, SendMode,
    Signature, Visitor, bounded_key, json,
};
use crate::inbound::bare_message_id;
use crate::inbound::dsn::EnhancedCode;

pub(super) fn parse(body: &[u8]) -> Result<MailgunPost, PostFault> {
    let post = json::parse(body)
        .map_err(|error| PostFault::NotJson { line: error.line(), column: error.column() })?;
    let signature = Signature {
        timestamp: required(&post, "/signature/timestamp", "signature.timestamp")?,
        token: required(&post, "/signature/token", "signature.token")?,
        signature: required(&post, "/signature/signature", "signature.signature")?,
    };
    let data = match post.get("event-data") {
        Some(data @ Value::Object(_)) => data,
        Some(_) => return Err(PostFault::Wrong { field: "event-data", expected: "an object" }),
        None => return Err(PostFault::Missing { field: "event-data" }),
    };
    let kind = required(data, "/event", "event-data.event")?.to_ascii_lowercase();
    let about = about(data);
    Ok(MailgunPost {
        event_key: event_key(&kind, &about, &signature),
        event: event(kind, about, data),
        signature,
    })
}

fn event(kind: String, about: About, data: &Value) -> MailgunEvent {
    match kind.as_str() {
        "accepted" => MailgunEvent::Accepted(about),
        "delivered" => MailgunEvent::Delivered(about),
        // Without a severity it is not known to be final, and what is not final stops nobody.
        "failed" if text(data, "/severity").as_deref() == Some("permanent") => {
            MailgunEvent::FailedPermanent { about, failure: failure(data) }
        }
        "failed" => MailgunEvent::FailedTemporary { about, failure: failure(data) },
        "complained" => MailgunEvent::Complained(about),
        "unsubscribed" => MailgunEvent::Unsubscribed(about),
        "opened" => MailgunEvent::Opened { about, visitor: visitor(data) },
        "clicked" => MailgunEvent::Clicked {
            about,
            url: text(data, "/url").unwrap_or_default(),
            visitor: visitor(data),
        },
        _ => MailgunEvent::Ignored { kind },
    }
}

fn about(data: &Value) -> About {
    let send_id = text(data, "/user-variables/send_id");
    let is_test = data.pointer("/flags/is-test-mode").and_then(Value::as_bool) == Some(true);
    About {
        event_id: text(data, "/id").filter(|id| !id.is_empty()),
        at: data.pointer("/timestamp").and_then(instant),
        recipient: text(data, "/recipient").map(|address| address.trim().to_lowercase()),
        message_id: text(data, "/message/headers/message-id").as_deref().and_then(bare_message_id),
        send_id: send_id.and_then(|id| id.trim().parse().ok()),
        attempt: text(data, "/user-variables/attempt").and_then(|it| it.trim().parse().ok()),
        mode: if is_test { SendMode::Test } else { SendMode::Real },
    }
}

/// The id of an event is unique within a day, so the day belongs to the key; without an id the token
/// stands in, which a repeat may carry anew: the event then counts twice, and means no more.
fn event_key(kind: &str, about: &About, signature: &Signature) -> String {
    bounded_key(match (&about.event_id, about.at) {
        (Some(id), Some(at)) => format!("{kind}/{}/{id}", at.date_naive()),
        (Some(_), None) | (None, _) => format!("token/{}", signature.token),
    })
}

fn failure(data: &Value) -> Failure {
    let message =
        [text(data, "/delivery-status/message"), text(data, "/delivery-status/description")]
            .into_iter()
            .flatten()
            .find(|message| !message.is_empty())
            .unwrap_or_default();
    let enhanced = text(data, "/delivery-status/enhanced-code").and_then(|code| code.parse().ok());
    let is_delayed =
        data.pointer("/flags/is-delayed-bounce").and_then(Value::as_bool) == Some(true);
    Failure {
        reason: reason(text(data, "/reason").unwrap_or_default()),
        code: text(data, "/delivery-status/code").and_then(|code| code.parse().ok()),
        enhanced: enhanced.or_else(|| EnhancedCode::find(&message)),
        message,
        arrival: if is_delayed { BounceArrival::Delayed } else { BounceArrival::AtOnce },
    }
}

fn reason(word: String) -> Reason {
    match word.as_str() {
        "bounce" => Reason::Bounce,
        "hardfail" => Reason::HardFail,
        "generic" => Reason::Generic,
        "espblock" => Reason::EspBlock,
        "greylisted" => Reason::Greylisted,
        "blacklisted" => Reason::Blacklisted,
        "suppress-bounce" => Reason::SuppressBounce,
        "suppress-complaint" => Reason::SuppressComplaint,
        "suppress-unsubscribe" => Reason::SuppressUnsubscribe,
        "old" => Reason::Old,
        _ => Reason::Other(word),
    }
}

fn visitor(data: &Value) -> Visitor {
    match text(data, "/client-info/bot") {
        Some(bot) if !bot.is_empty() => Visitor::Bot(bot),
        Some(_) | None => Visitor::Person,
    }
}

/// A string, or a number as its text: Mailgun has used both for the same field.
fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn required(value: &Value, pointer: &str, field: &'static str) -> Result<String, PostFault> {
    match value.pointer(pointer) {
        None | Some(Value::Null) => Err(PostFault::Missing { field }),
        Some(_) => text(value, pointer)
            .filter(|text| !text.is_empty())
            .ok_or(PostFault::Wrong { field, expected: "a text" }),
    }
}

/// Seconds since 1970, with a fraction.
fn instant(value: &Value) -> Option<DateTime<Utc>> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let since = TimeDelta::from_std(Duration::try_from_secs_f64(seconds).ok()?).ok()?;
    DateTime::UNIX_EPOCH.checked_add_signed(since)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use crate::inbound::dsn::BounceClass;
    use crate::mailgun::{
        BounceArrival, FailureMeaning, MailgunEvent, MailgunPost, PostFault, Reason, SendMode,
        Visitor, parse_event,
    };

    fn post(data: &Value) -> Value {
        json!({
            "signature": { "timestamp": "1529006854", "token": "t0ken", "signature": "abcd" },
            "event-data": data,
        })
    }

    fn read(data: &Value) -> MailgunPost {
        parse_event(post(data).to_string().as_bytes()).expect("a post")
    }

    #[test]
    fn a_permanent_failure_is_read_with_its_reason_and_our_send() {
        let send = Uuid::from_u128(7);
        let read = read(&json!({
            "event": "failed", "id": "G9Bn5sl1TC6nu79C8C0bwg", "timestamp": 1529006854.329574,
            "severity": "permanent", "reason": "bounce", "recipient": "Joe@example.com",
            "message": { "headers": { "message-id": "20180614@example.org", "to": "x" }, "size": 1 },
            "delivery-status": {
                "code": 550, "enhanced-code": "5.1.1", "message": "no such user", "attempt-no": 1,
            },
            "flags": { "is-delayed-bounce": true, "is-test-mode": false },
            "user-variables": { "send_id": send.to_string(), "attempt": "1" },
            "field-of-next-year": [1, 2, 3],
        }));
        assert_eq!(read.event_key, "failed/2018-06-14/G9Bn5sl1TC6nu79C8C0bwg");
        assert_eq!(read.signature.token, "t0ken");
        let MailgunEvent::FailedPermanent { about, failure } = read.event else {
            panic!("{:?}", read.event)
        };
        assert_eq!(about.send_id, Some(send));
        assert_eq!(about.recipient.as_deref(), Some("joe@example.com"));
        assert_eq!(about.message_id.as_deref(), Some("20180614@example.org"));
        assert_eq!(about.at.map(|at| at.timestamp_millis()), Some(1_529_006_854_329));
        assert_eq!(about.mode, SendMode::Real);
        assert_eq!(failure.reason, Reason::Bounce);
        assert_eq!(failure.arrival, BounceArrival::Delayed);
        assert_eq!(failure.meaning(), FailureMeaning::Bounce(BounceClass::Hard));
    }

    #[test]
    fn every_kind_of_event_has_its_value() {
        let kind = |data: Value| read(&data).event;
        assert!(matches!(kind(json!({"event": "accepted"})), MailgunEvent::Accepted(_)));
        assert!(matches!(kind(json!({"event": "delivered"})), MailgunEvent::Delivered(_)));
        assert!(matches!(kind(json!({"event": "complained"})), MailgunEvent::Complained(_)));
        assert!(matches!(kind(json!({"event": "unsubscribed"})), MailgunEvent::Unsubscribed(_)));
        assert!(matches!(
            kind(json!({"event": "failed", "severity": "temporary", "reason": "greylisted"})),
            MailgunEvent::FailedTemporary { .. }
        ));
        assert!(matches!(kind(json!({"event": "failed"})), MailgunEvent::FailedTemporary { .. }));
        assert!(matches!(
            kind(json!({"event": "opened", "client-info": {"bot": "apple"}})),
            MailgunEvent::Opened { visitor: Visitor::Bot(_), .. }
        ));
        let clicked = kind(
            json!({"event": "clicked", "url": "https://x.example", "client-info": {"bot": ""}}),
        );
        let MailgunEvent::Clicked { url, visitor, .. } = clicked else { panic!("{clicked:?}") };
        assert_eq!((url.as_str(), visitor), ("https://x.example", Visitor::Person));
        assert_eq!(
            kind(json!({"event": "list_member_uploaded"})),
            MailgunEvent::Ignored { kind: "list_member_uploaded".to_owned() }
        );
    }

    #[test]
    fn absent_and_odd_fields_are_answers() {
        let read = read(&json!({
            "event": "delivered", "timestamp": "soon", "user-variables": [], "message": null,
            "flags": "none", "recipient": 5,
        }));
        assert_eq!(read.event_key, "token/t0ken");
        let MailgunEvent::Delivered(about) = read.event else { panic!("{:?}", read.event) };
        assert_eq!((about.at, about.send_id, about.message_id), (None, None, None));
    }

    #[test]
    fn faults_name_the_field() {
        let fault = |value: Value| parse_event(value.to_string().as_bytes()).expect_err("a fault");
        let missing = |field| PostFault::Missing { field };
        assert_eq!(fault(json!({})), missing("signature.timestamp"));
        assert_eq!(fault(json!([])), missing("signature.timestamp"));
        assert_eq!(fault(post(&json!({}))), missing("event-data.event"));
        assert_eq!(
            fault(post(&json!("text"))),
            PostFault::Wrong { field: "event-data", expected: "an object" }
        );
        assert_eq!(
            fault(post(&json!({"event": {}}))),
            PostFault::Wrong { field: "event-data.event", expected: "a text" }
        );
        let mut unsigned = post(&json!({"event": "opened"}));
        unsigned["signature"]["token"] = Value::Null;
        assert_eq!(fault(unsigned), missing("signature.token"));
        assert!(matches!(parse_event(b"{"), Err(PostFault::NotJson { line: 1, .. })));
    }

    #[test]
    fn the_key_of_an_event_is_the_same_for_each_repeat_and_fits_an_index() {
        let one = json!({"event": "opened", "id": "abc", "timestamp": 1529006854.1});
        let first = read(&one);
        let mut repeat = post(&one);
        repeat["signature"]["token"] = json!("another");
        let repeat = parse_event(repeat.to_string().as_bytes()).expect("a post");
        assert_eq!(first.event_key, repeat.event_key);

        let long = json!({"event": "opened", "id": "x".repeat(100_000), "timestamp": 1.0});
        assert!(read(&long).event_key.len() <= 200);
    }

    proptest! {
        #[test]
        fn reading_is_total(body in proptest::collection::vec(any::<u8>(), 0..200), stamp in any::<f64>()) {
            let _ = parse_event(&body);
            let data = json!({"event": "opened", "id": "a", "timestamp": stamp});
            prop_assert!(parse_event(post(&data).to_string().as_bytes()).is_ok());
        }
    }
}
