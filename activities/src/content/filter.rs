//! What may stand after a `|` in a template. None of them makes much out of little.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate};
use serde_json::Value as Json;

use super::template::Expression;
use super::value::{Gap, Value, Values};

#[derive(Debug, Clone)]
pub(super) enum Filter {
    /// `empty_too`: an empty value is replaced like a missing one.
    Default {
        other: Box<Expression>,
        empty_too: bool,
    },
    Upper,
    Lower,
    Title,
    Capitalize,
    Trim,
    Length,
    First,
    Last,
    Round {
        digits: u8,
    },
    Urlencode,
    /// The `strftime` pattern has been checked.
    Date {
        pattern: String,
    },
}

impl Filter {
    pub(super) fn apply<'v>(
        &'v self,
        value: Value<'v>,
        name: impl Fn() -> String,
        values: Values<'v>,
    ) -> Value<'v> {
        if let Self::Default { other, empty_too } = self {
            let absent = matches!(value, Value::Gap(_)) || (*empty_too && !value.is_true());
            return if absent { other.evaluate(values) } else { value };
        }
        // What is missing stays missing through every other filter, and keeps its name.
        if let Value::Gap(_) = value {
            return value;
        }
        match self {
            Self::Default { .. } => value,
            Self::Upper => Value::text(value.printed().to_uppercase()),
            Self::Lower => Value::text(value.printed().to_lowercase()),
            Self::Title => {
                let text = value.printed().into_owned();
                Value::text(minijinja::filters::title(Cow::Owned(text)))
            }
            Self::Capitalize => Value::text(capitalize(&value.printed())),
            Self::Trim => Value::text(value.printed().trim().to_owned()),
            Self::Length => {
                let length = match &value {
                    Value::List(items) => items.len(),
                    Value::Gap(_) | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
                        value.printed().chars().count()
                    }
                };
                Value::integer(i64::try_from(length).unwrap_or(i64::MAX))
            }
            Self::First => ends(&value, name, <[Json]>::first, |text| text.chars().next()),
            Self::Last => ends(&value, name, <[Json]>::last, |text| text.chars().next_back()),
            Self::Round { digits } => match value.as_number() {
                Some(number) => Value::text(round(number, *digits)),
                None => unusable(name, "a number"),
            },
            Self::Urlencode => {
                let text = minijinja::Value::from(value.printed().into_owned());
                match minijinja::filters::urlencode(&text) {
                    Ok(encoded) => Value::text(encoded),
                    Err(_) => unusable(name, "text"),
                }
            }
            Self::Date { pattern } => match date(&value.printed()) {
                Some(date) => Value::text(date.format(pattern).to_string()),
                None => unusable(name, "a date such as 2027-03-31"),
            },
        }
    }
}

fn unusable<'v>(name: impl Fn() -> String, needs: &'static str) -> Value<'v> {
    Value::Gap(Gap::Unusable { field: name(), needs })
}

fn ends<'v>(
    value: &Value<'v>,
    name: impl Fn() -> String,
    of_list: impl Fn(&[Json]) -> Option<&Json>,
    of_text: impl Fn(&str) -> Option<char>,
) -> Value<'v> {
    let end = match value {
        Value::List(items) => of_list(items).map(Value::from_json),
        Value::Gap(_) | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            of_text(&value.printed()).map(|c| Value::text(c.to_string()))
        }
    };
    end.unwrap_or_else(|| Value::Gap(Gap::Missing(name())))
}

fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + &letters.as_str().to_lowercase()
    })
}

/// Rounds half away from zero, as people do, and keeps the asked digits: prices are `3.50`.
fn round(number: f64, digits: u8) -> String {
    let scale = 10_f64.powi(digits.into());
    let rounded = (number * scale).round() / scale;
    // A sum too large to be scaled has no digits after the point anyway.
    let rounded = if rounded.is_finite() { rounded } else { number };
    format!("{:.*}", digits.into(), if rounded == 0.0 { 0.0 } else { rounded })
}

/// Reads the date of an ISO date or time, in its own zone.
fn date(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.date_naive()))
}
