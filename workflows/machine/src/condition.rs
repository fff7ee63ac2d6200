//! Conditions an author may write: on the lead's named attributes and on what happened to the
//! steps so far. Evaluation is total; a comparison that makes no sense is false.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::Attributes;
use crate::key::{AttributeName, KeywordKey, StepKey, VariantKey};
use crate::sequence::Wake;
use crate::state::{Done, History};

/// A test with the answer yes or no. Exactly one field is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Every one of these holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<Condition>>,
    /// At least one of these holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<Condition>>,
    /// This does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<Condition>>,
    /// The lead's attribute of this name passes the comparison beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<AttributeName>,
    /// With `attribute`: it equals this. Text is compared without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// With `attribute`: it equals one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Value>>,
    /// With `attribute`: it is a number and not smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// With `attribute`: it is a number and not larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// With `attribute`: it is a text that contains this, without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// With `attribute`: it is there and not empty (`true`), or it is not (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// The message of this step was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<StepKey>,
    /// The message of this step was reported as delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<StepKey>,
    /// A link in the message of this step was followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clicked: Option<StepKey>,
    /// The lead answered the message of this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replied: Option<StepKey>,
    /// The `wait_until` step of this key ended, by the event beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<StepKey>,
    /// With `waited`: what ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Wake>,
    /// One of the words under this key of `keywords` stood in an answer of the lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<KeywordKey>,
    /// The lead's score is not smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_at_least: Option<i32>,
    /// The lead got this variant of the step named in `sent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantKey>,
}

/// What a condition may look at.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// The lead's attributes that the version names.
    pub attributes: &'a Attributes,
    /// What happened so far.
    pub history: &'a History,
    /// What the lead is worth by the rules of its version.
    pub score: i32,
}

impl Condition {
    /// Whether the condition holds.
    pub fn holds(&self, evidence: Evidence<'_>) -> bool {
        if let Some(all) = &self.all {
            return all.iter().all(|one| one.holds(evidence));
        }
        if let Some(any) = &self.any {
            return any.iter().any(|one| one.holds(evidence));
        }
        if let Some(not) = &self.not {
            return !not.holds(evidence);
        }
        if let Some(name) = &self.attribute {
            return self.compares(evidence.attributes.get(name));
        }
        if let Some(least) = self.score_at_least {
            return evidence.score >= least;
        }
        let history = evidence.history;
        if let Some(keyword) = &self.said {
            return history.said.contains(keyword);
        }
        if let Some(step) = &self.sent {
            return match history.done.get(step) {
                Some(Done::Sent { variant }) => self.variant.is_none() || self.variant == *variant,
                _ => false,
            };
        }
        if let Some(step) = &self.delivered {
            return history.delivered.contains(step);
        }
        if let Some(step) = &self.clicked {
            return history.clicked.contains(step);
        }
        if let Some(step) = &self.replied {
            return history.replied.contains(step);
        }
        if let Some(step) = &self.waited {
            return match history.done.get(step) {
                Some(Done::Waited { by }) => self.by.is_none_or(|wanted| wanted == *by),
                _ => false,
            };
        }
        false
    }

    /// Adds the attributes the condition names to `names`.
    pub fn collect_attributes(&self, names: &mut BTreeSet<AttributeName>) {
        names.extend(self.attribute.clone());
        self.parts().for_each(|part| part.collect_attributes(names));
    }

    /// Adds the steps the condition names, with the field that names them, to `steps`.
    pub fn collect_steps<'a>(&'a self, steps: &mut Vec<(&'static str, &'a StepKey)>) {
        let named = [
            ("sent", &self.sent),
            ("delivered", &self.delivered),
            ("clicked", &self.clicked),
            ("replied", &self.replied),
            ("waited", &self.waited),
        ];
        steps.extend(named.into_iter().filter_map(|(field, key)| Some((field, key.as_ref()?))));
        self.parts().for_each(|part| part.collect_steps(steps));
    }

    /// Adds the keywords the condition names to `keywords`.
    pub fn collect_keywords<'a>(&'a self, keywords: &mut BTreeSet<&'a KeywordKey>) {
        keywords.extend(&self.said);
        self.parts().for_each(|part| part.collect_keywords(keywords));
    }

    /// Whether the condition looks at the score.
    pub fn names_score(&self) -> bool {
        self.score_at_least.is_some() || self.parts().any(Self::names_score)
    }

    /// Whether the condition looks at clicks.
    pub fn names_clicks(&self) -> bool {
        self.clicked.is_some() || self.parts().any(Self::names_clicks)
    }

    /// Returns what is wrong with the condition where it chooses leads that have not begun.
    pub fn fault_as_filter(&self) -> Option<String> {
        let mut steps = Vec::new();
        self.collect_steps(&mut steps);
        let too_early = "looks at what happened, but nothing has happened yet: use attributes";
        let mut keywords = BTreeSet::new();
        self.collect_keywords(&mut keywords);
        let is_early = !steps.is_empty() || !keywords.is_empty() || self.names_score();
        self.fault().or_else(|| is_early.then(|| too_early.to_owned()))
    }

    /// Returns what is wrong with the shape of the condition, if anything: the field and the fix.
    pub fn fault(&self) -> Option<String> {
        let subjects = [
            ("all", self.all.is_some()),
            ("any", self.any.is_some()),
            ("not", self.not.is_some()),
            ("attribute", self.attribute.is_some()),
            ("sent", self.sent.is_some()),
            ("delivered", self.delivered.is_some()),
            ("clicked", self.clicked.is_some()),
            ("replied", self.replied.is_some()),
            ("waited", self.waited.is_some()),
            ("said", self.said.is_some()),
            ("score_at_least", self.score_at_least.is_some()),
        ];
        let set: Vec<_> = subjects.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        let subject = match set.as_slice() {
            [] => return Some("says nothing: set one of `all`, `any`, `not`, `attribute`, `sent`, `delivered`, `clicked`, `replied`, `waited`, `said`, `score_at_least`".to_owned()),
            [one] => *one,
            more => return Some(format!("sets {} at once: keep one, or combine them under `all` or `any`", more.join(", "))),
        };
        let comparisons = self.comparisons();
        match (subject, comparisons) {
            ("attribute", 0) => return Some("names an attribute without a comparison: add `equals`, `one_of`, `at_least`, `at_most`, `contains` or `exists`".to_owned()),
            ("attribute", 1) => {}
            ("attribute", _) => return Some("has several comparisons: keep one, or combine them under `all`".to_owned()),
            (_, 0) => {}
            (_, _) => return Some(format!("has a comparison beside `{subject}`: comparisons belong to `attribute`")),
        }
        if self.by.is_some() && subject != "waited" {
            return Some("has `by` without `waited`: remove it".to_owned());
        }
        if self.variant.is_some() && subject != "sent" {
            return Some("has `variant` without `sent`: name the step in `sent`".to_owned());
        }
        self.parts().find_map(Self::fault)
    }

    fn parts(&self) -> impl Iterator<Item = &Self> {
        let all = self.all.iter().flatten();
        all.chain(self.any.iter().flatten()).chain(self.not.as_deref())
    }

    fn comparisons(&self) -> usize {
        [
            self.equals.is_some(),
            self.one_of.is_some(),
            self.at_least.is_some(),
            self.at_most.is_some(),
            self.contains.is_some(),
            self.exists.is_some(),
        ]
        .into_iter()
        .filter(|set| *set)
        .count()
    }

    fn compares(&self, value: Option<&Value>) -> bool {
        if let Some(wanted) = self.exists {
            return wanted == value.is_some_and(|value| !is_empty(value));
        }
        let Some(value) = value else { return false };
        if let Some(wanted) = &self.equals {
            return same(value, wanted);
        }
        if let Some(wanted) = &self.one_of {
            return wanted.iter().any(|wanted| same(value, wanted));
        }
        if let Some(least) = self.at_least {
            return number(value).is_some_and(|number| number >= least);
        }
        if let Some(most) = self.at_most {
            return number(value).is_some_and(|number| number <= most);
        }
        match (&self.contains, value) {
            (Some(part), Value::String(text)) => text.to_lowercase().contains(&part.to_lowercase()),
            _ => false,
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Equality as an author means it: `50` in a file equals `"50"` from a CSV, `Lisbon` equals
/// `lisbon`.
fn same(value: &Value, wanted: &Value) -> bool {
    if let (Some(value), Some(wanted)) = (number(value), number(wanted)) {
        return (value - wanted).abs() < f64::EPSILON;
    }
    match (text(value), text(wanted)) {
        (Some(value), Some(wanted)) => value.to_lowercase() == wanted.to_lowercase(),
        _ => value == wanted,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(condition: Value, attributes: Value) -> bool {
        let condition: Condition = serde_json::from_value(condition).unwrap();
        assert_eq!(condition.fault(), None);
        let attributes: Attributes = serde_json::from_value(attributes).unwrap();
        let history = History::default();
        condition.holds(Evidence { attributes: &attributes, history: &history, score: 10 })
    }

    #[test]
    fn attributes_compare_as_authors_mean_it() {
        let lead = json!({ "rooms": "50", "city": "Lisbon", "empty": " " });
        for (condition, expected) in [
            (json!({ "attribute": "rooms", "at_least": 50 }), true),
            (json!({ "attribute": "rooms", "equals": 50 }), true),
            (json!({ "attribute": "rooms", "at_most": 49.5 }), false),
            (json!({ "attribute": "city", "equals": "lisbon" }), true),
            (json!({ "attribute": "city", "one_of": ["Porto", "LISBON"] }), true),
            (json!({ "attribute": "city", "at_least": 1 }), false),
            (json!({ "attribute": "city", "contains": "isb" }), true),
            (json!({ "attribute": "empty", "exists": true }), false),
            (json!({ "attribute": "missing", "exists": false }), true),
            (json!({ "attribute": "missing", "equals": "x" }), false),
            (json!({ "not": { "attribute": "missing", "equals": "x" } }), true),
            (
                json!({ "all": [{ "attribute": "rooms", "exists": true }, { "sent": "intro" }] }),
                false,
            ),
            (
                json!({ "any": [{ "attribute": "rooms", "exists": true }, { "sent": "intro" }] }),
                true,
            ),
        ] {
            assert_eq!(holds(condition.clone(), lead.clone()), expected, "{condition}");
        }
    }

    #[test]
    fn the_score_and_what_was_said_count() {
        assert!(holds(json!({ "score_at_least": 10 }), json!({})));
        assert!(!holds(json!({ "score_at_least": 11 }), json!({})));
        assert!(!holds(json!({ "said": "price" }), json!({})));
        let said: Condition = serde_json::from_value(json!({ "said": "price" })).unwrap();
        let history = History { said: ["price".parse().unwrap()].into(), ..History::default() };
        let attributes = Attributes::default();
        assert!(said.holds(Evidence { attributes: &attributes, history: &history, score: 0 }));
    }

    #[test]
    fn a_malformed_condition_says_what_to_do() {
        for (condition, part) in [
            (json!({}), "says nothing"),
            (json!({ "attribute": "rooms" }), "without a comparison"),
            (json!({ "attribute": "rooms", "equals": 1, "exists": true }), "several comparisons"),
            (json!({ "attribute": "rooms", "equals": 1, "sent": "a" }), "at once"),
            (json!({ "sent": "a", "by": "reply" }), "without `waited`"),
            (json!({ "all": [{ "sent": "a", "equals": 2 }] }), "beside `sent`"),
        ] {
            let condition: Condition = serde_json::from_value(condition).unwrap();
            assert!(condition.fault().unwrap().contains(part), "{:?}", condition.fault());
        }
    }
}
