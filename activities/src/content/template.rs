//! A template that has passed the check, and how it is printed.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::Part;
use super::filter::Filter;
use super::grammar;
use super::value::{Gap, Value, Values};

/// The most one part may come to, in bytes.
pub const OUTPUT_MAX: usize = 256 * 1024;

/// One part of a wording, checked and ready to be printed any number of times, from any thread.
#[derive(Debug, Clone)]
pub struct Template {
    part: Part,
    nodes: Vec<Node>,
    fields: BTreeSet<String>,
}

/// A place in a template that is not allowed, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}, line {line}: {found}; {instead}")]
pub struct TemplateFault {
    /// The part of the wording.
    pub part: Part,
    /// The line in that part, from 1.
    pub line: u32,
    /// What stands there.
    pub found: String,
    /// What to write instead.
    pub instead: String,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Raw(String),
    Print(Expression),
    If { test: Expression, then: Vec<Node>, otherwise: Vec<Node> },
}

#[derive(Debug, Clone)]
pub(super) enum Expression {
    Field(Vec<String>),
    Constant(Json),
    Not(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    /// `a < b < c`: each neighbour pair has to hold.
    Compare {
        first: Box<Expression>,
        rest: Vec<(Comparison, Expression)>,
    },
    Choose {
        test: Box<Expression>,
        then: Box<Expression>,
        otherwise: Option<Box<Expression>>,
    },
    IsDefined(Box<Expression>),
    Filter(Box<Expression>, Filter),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

/// What printing lacked: collected over all parts, so that a person is asked once.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    pub(super) missing: BTreeSet<String>,
    /// Field, and what was needed of it.
    pub(super) unusable: BTreeSet<(String, &'static str)>,
}

/// The part came to more than [`OUTPUT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

impl Template {
    /// Reads and checks `source`.
    ///
    /// Allowed are text, `{{ field }}` with up to two levels below it, `{% if %}`, constants,
    /// comparisons, `and`, `or`, `not`, `in`, `is defined`, and the listed filters.
    ///
    /// # Errors
    ///
    /// All faults of the source, in the order in which they stand.
    pub fn check(part: Part, source: &str) -> Result<Self, Vec<TemplateFault>> {
        let (nodes, fields) = grammar::read(part, source)?;
        Ok(Self { part, nodes, fields })
    }

    /// The part this was written for.
    pub fn part(&self) -> Part {
        self.part
    }

    /// Every field the template names, by its full name, whether or not a lead will need it.
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.fields
    }

    /// Prints the template, noting in `gaps` what it lacked; the text is only good if nothing was.
    pub(super) fn print(&self, values: Values<'_>, gaps: &mut Gaps) -> Result<String, TooLong> {
        let mut printer =
            Printer { values, escape: self.part == Part::Html, out: String::new(), gaps };
        printer.nodes(&self.nodes)?;
        Ok(printer.out)
    }
}

struct Printer<'v, 'g> {
    values: Values<'v>,
    escape: bool,
    out: String,
    gaps: &'g mut Gaps,
}

impl<'v> Printer<'v, '_> {
    fn nodes(&mut self, nodes: &'v [Node]) -> Result<(), TooLong> {
        for node in nodes {
            match node {
                Node::Raw(raw) => self.push(raw)?,
                Node::Print(expression) => self.print(&expression.evaluate(self.values))?,
                Node::If { test, then, otherwise } => {
                    let holds = test.evaluate(self.values).is_true();
                    self.nodes(if holds { then } else { otherwise })?;
                }
            }
        }
        Ok(())
    }

    fn print(&mut self, value: &Value<'_>) -> Result<(), TooLong> {
        if let Value::Gap(gap) = value {
            match gap {
                Gap::Missing(field) => {
                    self.gaps.missing.insert(field.clone());
                }
                Gap::Unusable { field, needs } => {
                    self.gaps.unusable.insert((field.clone(), needs));
                }
                Gap::Nothing => {}
            }
        }
        let text = value.printed();
        if self.escape { self.push(&escape(&text)) } else { self.push(&text) }
    }

    fn push(&mut self, text: &str) -> Result<(), TooLong> {
        if self.out.len() + text.len() > OUTPUT_MAX {
            return Err(TooLong);
        }
        self.out.push_str(text);
        Ok(())
    }
}

/// Escapes text for HTML, also inside a quoted attribute. Slashes stay: links remain readable.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

impl Expression {
    pub(super) fn evaluate<'v>(&'v self, values: Values<'v>) -> Value<'v> {
        match self {
            Self::Field(path) => values.get(path),
            Self::Constant(constant) => Value::from_json(constant),
            Self::Not(operand) => Value::Bool(!operand.evaluate(values).is_true()),
            Self::And(left, right) => {
                let left = left.evaluate(values);
                if left.is_true() { right.evaluate(values) } else { left }
            }
            Self::Or(left, right) => {
                let left = left.evaluate(values);
                if left.is_true() { left } else { right.evaluate(values) }
            }
            Self::Compare { first, rest } => {
                let mut left = first.evaluate(values);
                for (comparison, right) in rest {
                    let right = right.evaluate(values);
                    if !comparison.holds(&left, &right) {
                        return Value::Bool(false);
                    }
                    left = right;
                }
                Value::Bool(true)
            }
            Self::Choose { test, then, otherwise } => {
                match (test.evaluate(values).is_true(), otherwise) {
                    (true, _) => then.evaluate(values),
                    (false, Some(otherwise)) => otherwise.evaluate(values),
                    (false, None) => Value::Gap(Gap::Nothing),
                }
            }
            Self::IsDefined(operand) => Value::Bool(operand.evaluate(values).is_there()),
            Self::Filter(operand, filter) => {
                filter.apply(operand.evaluate(values), || operand.name(), values)
            }
        }
    }

    /// The field at the root of a chain of filters, as a fault names it.
    fn name(&self) -> String {
        match self {
            Self::Field(path) => path.join("."),
            Self::Filter(operand, _) => operand.name(),
            Self::Constant(_)
            | Self::Not(_)
            | Self::And(..)
            | Self::Or(..)
            | Self::Compare { .. }
            | Self::Choose { .. }
            | Self::IsDefined(_) => "an expression".to_owned(),
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value<'_>, right: &Value<'_>) -> bool {
        match self {
            Self::Equal => left.equals(right),
            Self::NotEqual => !left.equals(right),
            Self::Less => left.order(right).is_some_and(std::cmp::Ordering::is_lt),
            Self::LessOrEqual => left.order(right).is_some_and(std::cmp::Ordering::is_le),
            Self::Greater => left.order(right).is_some_and(std::cmp::Ordering::is_gt),
            Self::GreaterOrEqual => left.order(right).is_some_and(std::cmp::Ordering::is_ge),
            Self::In => right.contains(left),
            Self::NotIn => !right.contains(left),
        }
    }
}
