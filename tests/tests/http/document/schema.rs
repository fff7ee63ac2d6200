//! Whether a value is what a schema of the document says. It knows the keywords that our own schemas are
//! written with, and fails at any other.

use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Keywords that say nothing about values.
const REMARKS: [&str; 8] =
    ["title", "description", "default", "examples", "$schema", "deprecated", "readOnly", "$defs"];

/// Returns the first thing in `value` that `schema` does not allow, with its place.
pub(super) fn fault(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let Value::Object(schema) = schema else {
        return (schema == false).then(|| format!("is not allowed: {value}"));
    };
    for (keyword, wanted) in schema {
        let fault = match keyword.as_str() {
            "$ref" => {
                let pointer = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                fault(document, document.pointer(pointer).expect(pointer), value)
            }
            "allOf" => list(wanted).iter().find_map(|each| fault(document, each, value)),
            "anyOf" | "oneOf" => {
                let of = list(wanted).iter().filter(|each| fault(document, each, value).is_none());
                let fit = of.count();
                let fits = fit == 1 || (keyword == "anyOf" && fit > 1);
                (!fits).then(|| format!("{fit} of {keyword} fit {value}"))
            }
            "properties" | "patternProperties" | "additionalProperties" | "required" => None,
            "items" => value.as_array().and_then(|items| {
                let mut items = items.iter().enumerate();
                items.find_map(|(n, item)| Some(format!("[{n}]{}", fault(document, wanted, item)?)))
            }),
            _ => fault_of_word(keyword, wanted, value),
        };
        if fault.is_some() {
            return fault;
        }
    }
    value.as_object().and_then(|fields| fault_of_fields(document, schema, fields))
}

fn fault_of_fields(
    document: &Value,
    schema: &Map<String, Value>,
    fields: &Map<String, Value>,
) -> Option<String> {
    let required = schema.get("required").map(list).unwrap_or_default();
    if let Some(name) = required.iter().find(|name| !fields.contains_key(name.as_str().unwrap())) {
        return Some(format!(".{} is missing", name.as_str().unwrap()));
    }
    fields.iter().find_map(|(name, field)| {
        let known = schema.get("properties").and_then(|properties| properties.get(name));
        let by_pattern = || schema.get("patternProperties")?.as_object()?.values().next();
        let wanted = known.or_else(by_pattern).or_else(|| schema.get("additionalProperties"))?;
        Some(format!(".{name}{}", fault(document, wanted, field)?))
    })
}

fn fault_of_word(keyword: &str, wanted: &Value, value: &Value) -> Option<String> {
    let length = match value {
        Value::String(text) => Some(text.chars().count() as u64),
        Value::Array(items) => Some(items.len() as u64),
        Value::Object(fields) => Some(fields.len() as u64),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    };
    let fits = match keyword {
        "type" => match wanted {
            Value::Array(types) => types.iter().any(|each| is_of(each, value)),
            _ => is_of(wanted, value),
        },
        "enum" => list(wanted).contains(value),
        "const" => wanted == value,
        "minimum" => value.as_f64().is_none_or(|n| n >= wanted.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|n| n <= wanted.as_f64().unwrap()),
        "minLength" | "minItems" => length.is_none_or(|n| n >= wanted.as_u64().unwrap()),
        "maxLength" | "maxItems" | "maxProperties" => {
            length.is_none_or(|n| n <= wanted.as_u64().unwrap())
        }
        "format" => value.as_str().is_none_or(|text| match wanted.as_str().unwrap() {
            "uuid" => text.parse::<Uuid>().is_ok(),
            "date-time" => DateTime::parse_from_rfc3339(text).is_ok(),
            "date" => text.parse::<NaiveDate>().is_ok(),
            other => panic!("the format {other} is new: say here what it means"),
        }),
        // The server's own reading of the value is the judge of it.
        "pattern" | "uniqueItems" => true,
        known if REMARKS.contains(&known) => true,
        other => panic!("the keyword {other} is new: say here what it means"),
    };
    (!fits).then(|| format!(" is {value}, against {keyword} {wanted}"))
}

fn is_of(named: &Value, value: &Value) -> bool {
    match named.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type {other}"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).expect("a list")
}
