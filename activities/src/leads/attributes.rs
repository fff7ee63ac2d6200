//! The attributes of leads: what may stand in them, and how a change merges into them.

use machine::key::{AttributeName, InvalidKey};
use serde_json::{Map, Value};

use crate::import::Reason;

/// The most attributes a lead may have.
const COUNT_MAX: usize = 1_000;

/// How deep lists and objects may stand in each other.
const DEPTH_MAX: usize = 4;

/// Something that cannot be an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeFault {
    /// Where, as in `address.street`.
    pub path: String,
    /// What is wrong with it.
    pub reason: InvalidAttribute,
}

/// What is wrong with an attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAttribute {
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] InvalidKey),
    /// Its text cannot be sent.
    #[error("{0}")]
    Text(Reason),
    /// Lists in lists in lists.
    #[error("lists and objects stand in each other more than {DEPTH_MAX} deep")]
    Deep,
}

/// More attributes than a lead may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lead has at most {COUNT_MAX} attributes")]
pub struct TooMany;

/// Checks attributes, or a patch of them.
///
/// # Errors
///
/// All that is wrong with them.
pub fn check(attributes: &Map<String, Value>) -> Result<(), Vec<AttributeFault>> {
    let mut faults = Vec::new();
    for (name, value) in attributes {
        match name.parse::<AttributeName>() {
            Ok(_) => check_value(name, value, 1, &mut faults),
            Err(error) => {
                let path = name.chars().filter(|c| !c.is_control()).take(60).collect();
                faults.push(AttributeFault { path, reason: error.into() });
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn check_value(path: &str, value: &Value, depth: usize, faults: &mut Vec<AttributeFault>) {
    let mut fault = |reason| faults.push(AttributeFault { path: path.to_owned(), reason });
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => {
            if let Some(reason) = Reason::of_text(text) {
                fault(InvalidAttribute::Text(reason));
            }
        }
        Value::Array(_) | Value::Object(_) if depth > DEPTH_MAX => fault(InvalidAttribute::Deep),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_value(&format!("{path}[{index}]"), item, depth + 1, faults);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                match Reason::of_text(name) {
                    Some(reason) => fault_at(path, reason, faults),
                    None => check_value(&format!("{path}.{name}"), value, depth + 1, faults),
                }
            }
        }
    }
}

fn fault_at(path: &str, reason: Reason, faults: &mut Vec<AttributeFault>) {
    faults.push(AttributeFault { path: path.to_owned(), reason: InvalidAttribute::Text(reason) });
}

/// Merges a patch into attributes (RFC 7396): what it names as null goes, objects merge, everything
/// else is replaced.
///
/// # Errors
///
/// [`TooMany`] if there would be too many.
pub fn merge(
    attributes: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, TooMany> {
    let merged = merged(attributes.clone(), patch);
    if merged.len() > COUNT_MAX { Err(TooMany) } else { Ok(merged) }
}

fn merged(mut target: Map<String, Value>, patch: &Map<String, Value>) -> Map<String, Value> {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(fields) => {
                let before = match target.remove(name) {
                    Some(Value::Object(before)) => before,
                    Some(_) | None => Map::new(),
                };
                target.insert(name.clone(), Value::Object(merged(before, fields)));
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{check, merge};

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_patch_merges_as_the_standard_says() {
        // The cases of RFC 7396, appendix A, that have an object on both sides.
        for (original, patch, result) in [
            (json!({ "a": "b" }), json!({ "a": "c" }), json!({ "a": "c" })),
            (json!({ "a": "b" }), json!({ "b": "c" }), json!({ "a": "b", "b": "c" })),
            (json!({ "a": "b" }), json!({ "a": null }), json!({})),
            (json!({ "a": ["b"] }), json!({ "a": "c" }), json!({ "a": "c" })),
            (
                json!({ "a": { "b": "c" } }),
                json!({ "a": { "b": "d", "c": null } }),
                json!({ "a": { "b": "d" } }),
            ),
            (json!({ "a": [{ "b": "c" }] }), json!({ "a": [1] }), json!({ "a": [1] })),
            (json!({ "e": null }), json!({ "a": 1 }), json!({ "e": null, "a": 1 })),
            (json!({}), json!({ "a": { "bb": { "ccc": null } } }), json!({ "a": { "bb": {} } })),
        ] {
            assert_eq!(merge(&map(original), &map(patch)), Ok(map(result)));
        }
        let many = (0..1_001).map(|n| (format!("a{n}"), json!(n))).collect();
        assert!(merge(&Map::new(), &many).is_err());
    }

    #[test]
    fn what_cannot_be_sent_is_named_where_it_stands() {
        let good = json!({ "rooms": 40, "spa": true, "stars": null, "tags": ["a", { "b": "c" }] });
        assert_eq!(check(&map(good)), Ok(()));
        let bad = json!({
            "First Name": "Ada",
            "name": "Ada\r\nBcc: eve@example.com",
            "list": [{ "x": "\u{0}" }],
            "deep": [[[[[1]]]]],
        });
        let faults = check(&map(bad)).unwrap_err();
        let mut paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["First Name", "deep[0][0][0][0]", "list[0].x", "name"]);
    }
}
