//! Keys that authors give: of steps, variants and lead attributes. A key never changes, because
//! snapshots and send ids are made of it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest key, in bytes.
pub const MAX_LENGTH: usize = 60;

/// A short name of a `K`: a lower-case letter, then lower-case letters, digits, `_` and `-`.
pub struct Key<K> {
    text: Arc<str>,
    kind: PhantomData<fn() -> K>,
}

/// Names a step of a sequence.
pub enum Step {}
/// Names one wording of a step.
pub enum Variant {}
/// Names an attribute of a lead.
pub enum Attribute {}

/// Names words that answers are searched for.
pub enum Keyword {}
/// Names something that hands a lead over by itself.
pub enum Trigger {}

/// A step of a sequence.
pub type StepKey = Key<Step>;
/// One wording of a step.
pub type VariantKey = Key<Variant>;
/// An attribute of a lead.
pub type AttributeName = Key<Attribute>;
/// Words that answers are searched for.
pub type KeywordKey = Key<Keyword>;
/// Something that hands a lead over by itself.
pub type TriggerKey = Key<Trigger>;

/// A text that cannot be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a key: use a lower-case letter first, then lower-case letters, digits, `_` or \
     `-`, at most 60 in all"
)]
pub struct InvalidKey(String);

impl<K> Key<K> {
    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<K> FromStr for Key<K> {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let first = |byte: u8| byte.is_ascii_lowercase();
        let rest =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let fits = text.len() <= MAX_LENGTH
            && text.bytes().next().is_some_and(first)
            && text.bytes().all(rest);
        if fits {
            Ok(Self { text: text.into(), kind: PhantomData })
        } else {
            Err(InvalidKey(text.chars().take(MAX_LENGTH + 10).collect()))
        }
    }
}

impl<K> Clone for Key<K> {
    fn clone(&self) -> Self {
        Self { text: Arc::clone(&self.text), kind: PhantomData }
    }
}

impl<K> PartialEq for Key<K> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<K> Eq for Key<K> {}

impl<K> PartialOrd for Key<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Key<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl<K> Hash for Key<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl<K> fmt::Debug for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl<K> fmt::Display for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<K> Serialize for Key<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, K> Deserialize<'de> for Key<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<K> JsonSchema for Key<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9_-]{0,59}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_plain() {
        for good in ["a", "intro", "step-2", "last_call", &"x".repeat(60)] {
            assert!(good.parse::<StepKey>().is_ok(), "{good}");
        }
        for bad in ["", "1st", "Intro", "a b", "é", "-a", &"x".repeat(61)] {
            assert!(bad.parse::<StepKey>().is_err(), "{bad}");
        }
    }
}
