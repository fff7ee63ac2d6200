//! What an expression of a template can be while it is printed: borrowed from the lead's fields
//! wherever possible, and aware of the field it stands for where there is nothing to print.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

/// The fields a template may name.
///
/// What we know about the sending (`sender`, `campaign`, `unsubscribe_url`) goes before what an
/// import may have called the same.
#[derive(Debug, Clone, Copy)]
pub struct Values<'v> {
    lead: &'v Map<String, Json>,
    sending: &'v Map<String, Json>,
}

impl<'v> Values<'v> {
    /// Joins the lead's attributes with the fields of the sending.
    pub fn new(lead: &'v Map<String, Json>, sending: &'v Map<String, Json>) -> Self {
        Self { lead, sending }
    }

    fn top(self, name: &str) -> Option<&'v Json> {
        self.sending.get(name).or_else(|| self.lead.get(name))
    }

    /// Looks a field up by its path, at least one name long.
    pub(super) fn get(self, path: &[String]) -> Value<'v> {
        let mut names = path.iter();
        let mut found = names.next().and_then(|name| self.top(name));
        for name in names {
            found = found.and_then(|value| value.as_object()?.get(name));
        }
        match found {
            None | Some(Json::Null) => Value::Gap(Gap::Missing(path.join("."))),
            Some(Json::Bool(truth)) => Value::Bool(*truth),
            Some(Json::Number(number)) => Value::Number(Cow::Borrowed(number)),
            Some(Json::String(text)) => Value::Text(Cow::Borrowed(text)),
            Some(Json::Array(items)) => Value::List(items),
            Some(Json::Object(_)) => Value::Gap(Gap::Unusable {
                field: path.join("."),
                needs: "one of the fields it groups",
            }),
        }
    }
}

/// The value of an expression.
#[derive(Debug, Clone)]
pub(super) enum Value<'v> {
    /// Nothing to print, and why.
    Gap(Gap),
    Bool(bool),
    Number(Cow<'v, serde_json::Number>),
    Text(Cow<'v, str>),
    List(&'v [Json]),
}

/// Why an expression has nothing to print. It only matters if it is printed: `default` and `if`
/// take it as absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gap {
    /// The field is absent or null.
    Missing(String),
    /// The field is there and cannot be used in this way.
    Unusable { field: String, needs: &'static str },
    /// The constant `none`, or `{{ 'x' if y }}` without an else: prints as nothing.
    Nothing,
}

impl<'v> Value<'v> {
    pub(super) fn text(text: impl Into<Cow<'v, str>>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn integer(number: i64) -> Self {
        Self::Number(Cow::Owned(number.into()))
    }

    pub(super) fn from_json(json: &'v Json) -> Self {
        match json {
            Json::Null | Json::Object(_) => Self::Gap(Gap::Nothing),
            Json::Bool(truth) => Self::Bool(*truth),
            Json::Number(number) => Self::Number(Cow::Borrowed(number)),
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(items) => Self::List(items),
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            // A group of fields is there, though it cannot be printed.
            Self::Gap(Gap::Unusable { .. }) => true,
            Self::Gap(Gap::Missing(_) | Gap::Nothing) => false,
            Self::Bool(truth) => *truth,
            Self::Number(number) => number.as_f64() != Some(0.0),
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
        }
    }

    /// Whether there is anything: what `is defined` asks.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Gap(Gap::Missing(_) | Gap::Nothing))
    }

    /// The number this is or spells: imported fields are text.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            Self::Text(text) => text.trim().parse().ok().filter(|it: &f64| it.is_finite()),
            Self::Gap(_) | Self::Bool(_) | Self::List(_) => None,
        }
    }

    /// The text that is printed for this. A gap prints nothing; lists print with commas.
    pub(super) fn printed(&self) -> Cow<'_, str> {
        match self {
            Self::Gap(_) => Cow::Borrowed(""),
            Self::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Text(text) => Cow::Borrowed(text),
            Self::List(items) => {
                let printed: Vec<_> = items
                    .iter()
                    .map(|item| match item {
                        // One level: deeper ones would print brackets nobody wants in a mail.
                        Json::Array(_) | Json::Object(_) | Json::Null => String::new(),
                        Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                            Value::from_json(item).printed().into_owned()
                        }
                    })
                    .filter(|item| !item.is_empty())
                    .collect();
                Cow::Owned(printed.join(", "))
            }
        }
    }

    /// Equality as an author means it: `"4"` from an import equals `4`, nothing equals a gap.
    pub(super) fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Gap(_), Value::Gap(_)) => !self.is_there() && !other.is_there(),
            (Value::Gap(_), _) | (_, Value::Gap(_)) => false,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Bool(truth), Value::Text(text)) | (Value::Text(text), Value::Bool(truth)) => {
                text.eq_ignore_ascii_case(if *truth { "true" } else { "false" })
            }
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Number(_) | Value::Text(_), Value::Number(_) | Value::Text(_)) => {
                self.as_number().is_some_and(|number| Some(number) == other.as_number())
            }
            (Value::Bool(_) | Value::List(_), _) | (_, Value::Bool(_) | Value::List(_)) => false,
        }
    }

    /// Order: numbers by size if one side is a number, texts by letters. None where there is no
    /// order, and then neither `<` nor `>` holds.
    pub(super) fn order(&self, other: &Value<'_>) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Number(_) | Value::Text(_), Value::Number(_) | Value::Text(_)) => {
                self.as_number()?.partial_cmp(&other.as_number()?)
            }
            (Value::Gap(_) | Value::Bool(_) | Value::List(_), _)
            | (_, Value::Gap(_) | Value::Bool(_) | Value::List(_)) => None,
        }
    }

    /// Whether a list holds the other value, or a text holds it as a part.
    pub(super) fn contains(&self, other: &Value<'_>) -> bool {
        match self {
            Self::List(items) => items.iter().any(|item| Value::from_json(item).equals(other)),
            Self::Text(text) => other.is_there() && text.contains(&*other.printed()),
            Self::Gap(_) | Self::Bool(_) | Self::Number(_) => false,
        }
    }
}
