//! The wording of one email step: compiled once per version, rendered for every lead.

use std::collections::BTreeSet;

use serde_json::Map;

use super::Part;
use super::body::{self, Footer};
use super::template::{Gaps, OUTPUT_MAX, Template, TemplateFault, TooLong};
use crate::header_text::{HeaderText, InvalidHeaderText};

pub use super::value::Values;

/// How an author wrote the body of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySource<'a> {
    /// Plain text; a blank line ends a paragraph. The HTML part is made from it.
    Text(&'a str),
    /// HTML, a fragment or a whole document. The plain part is made from it.
    Html(&'a str),
    /// Both parts by hand.
    Both {
        /// The plain part.
        text: &'a str,
        /// The HTML part.
        html: &'a str,
    },
}

/// A checked wording. Cheap to share between threads; a render costs some microseconds from plain
/// text, and about a hundred from HTML, whose plain part has to be made each time.
#[derive(Debug, Clone)]
pub struct CompiledStep {
    subject: Option<Template>,
    body: Body,
    fields: BTreeSet<String>,
}

#[derive(Debug, Clone)]
enum Body {
    Text(Template),
    Html(Template),
    Both { text: Template, html: Template },
}

/// What one lead gets to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// None if the step has no subject of its own: it answers the mail before it.
    pub subject: Option<HeaderText>,
    /// The plain part.
    pub text: String,
    /// The HTML part, a whole document.
    pub html: String,
}

/// Why a wording cannot go to this lead. Each is a lawful answer: a person has to act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderFault {
    /// The lead lacks these fields, in all parts together, by full name and in order.
    #[error("missing: {}", fields.join(", "))]
    Missing {
        /// Full names, such as `company.name`.
        fields: Vec<String>,
    },
    /// The lead has the field, and it is not what the template makes of it.
    #[error("`{field}` is not {needs}")]
    Unusable {
        /// Full name.
        field: String,
        /// What it should be: "a number".
        needs: &'static str,
    },
    /// The subject came out as something that may not stand in a header.
    #[error("the subject cannot be used: {0}")]
    Subject(InvalidHeaderText),
    /// Every condition in the body was false.
    #[error("the body is empty")]
    EmptyBody,
    /// More than 256 kB.
    #[error("the {part} comes to more than {OUTPUT_MAX} bytes")]
    TooLong {
        /// The part.
        part: Part,
    },
    /// The HTML could not be turned into plain text.
    #[error("no plain text can be made from the html")]
    NoPlainText,
}

impl CompiledStep {
    /// Checks a wording. `subject` is None for a follow-up that answers the mail before it.
    ///
    /// # Errors
    ///
    /// All faults of all parts.
    pub fn compile(
        subject: Option<&str>,
        body: BodySource<'_>,
    ) -> Result<Self, Vec<TemplateFault>> {
        let mut faults = Vec::new();
        let mut check =
            |part, source| Template::check(part, source).map_err(|found| faults.extend(found)).ok();
        // A block scalar in YAML ends in a line break that nobody means.
        let subject = subject.map(|source| check(Part::Subject, source.trim()));
        let body = match body {
            BodySource::Text(text) => check(Part::Text, text).map(Body::Text),
            BodySource::Html(html) => check(Part::Html, html).map(Body::Html),
            BodySource::Both { text, html } => {
                let (text, html) = (check(Part::Text, text), check(Part::Html, html));
                text.zip(html).map(|(text, html)| Body::Both { text, html })
            }
        };
        match (subject, body) {
            (None, Some(body)) => Ok(Self::of(None, body)),
            (Some(Some(subject)), Some(body)) => Ok(Self::of(Some(subject), body)),
            (None | Some(_), None) | (Some(None), Some(_)) => Err(faults),
        }
    }

    fn of(subject: Option<Template>, body: Body) -> Self {
        let parts: Vec<&Template> = match &body {
            Body::Text(part) | Body::Html(part) => vec![part],
            Body::Both { text, html } => vec![text, html],
        };
        let fields = parts
            .into_iter()
            .chain(&subject)
            .flat_map(|template| template.fields().iter().cloned())
            .collect();
        Self { subject, body, fields }
    }

    /// Whether it has a subject of its own; without one it goes on under that of its thread.
    pub fn has_subject(&self) -> bool {
        self.subject.is_some()
    }

    /// Every field the wording names, whether or not a lead will need it.
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.fields
    }

    /// Whether the wording prints `field`, a full name, even for a lead of which nothing is known.
    pub fn always_prints(&self, field: &str) -> bool {
        let nothing = Map::new();
        match self.render(Values::new(&nothing, &nothing), None) {
            Err(RenderFault::Missing { fields }) => fields.iter().any(|it| it == field),
            Ok(_)
            | Err(
                RenderFault::Unusable { .. }
                | RenderFault::Subject(_)
                | RenderFault::EmptyBody
                | RenderFault::TooLong { .. }
                | RenderFault::NoPlainText,
            ) => false,
        }
    }

    /// Renders the wording for one lead, with the footer under both parts.
    ///
    /// What a field holds is printed as it is: it is never read as a template, and in HTML it is
    /// escaped. A field is missing if it is absent or null and would be printed; an empty text is
    /// present, and `default` or an `if` around it makes absence lawful.
    ///
    /// # Errors
    ///
    /// [`RenderFault`], with the missing fields of all parts before anything else.
    pub fn render(
        &self,
        values: Values<'_>,
        footer: Option<&Footer<'_>>,
    ) -> Result<Rendered, RenderFault> {
        let mut gaps = Gaps::default();
        let mut print = |template: &Template| {
            let part = template.part();
            template.print(values, &mut gaps).map_err(|TooLong| RenderFault::TooLong { part })
        };
        let subject = self.subject.as_ref().map(&mut print).transpose()?;
        let (text, html) = match &self.body {
            Body::Text(text) => (Some(print(text)?), None),
            Body::Html(html) => (None, Some(print(html)?)),
            Body::Both { text, html } => (Some(print(text)?), Some(print(html)?)),
        };
        gaps.into_result()?;

        let subject = subject.map(|text| text.parse()).transpose().map_err(RenderFault::Subject)?;
        let text = text.map(|text| body::tidy(&text));
        let (text, html) = match (text, html) {
            (Some(text), None) => {
                let html = body::paragraphs(&text);
                (text, html)
            }
            (text, Some(html)) => {
                let text = match text {
                    Some(text) => text,
                    None => body::plain_text(&html).ok_or(RenderFault::NoPlainText)?,
                };
                (text, html)
            }
            (None, None) => (String::new(), String::new()),
        };
        if text.is_empty() {
            return Err(RenderFault::EmptyBody);
        }
        Ok(Rendered {
            subject,
            text: body::text_part(&text, footer),
            html: body::html_part(&html, footer),
        })
    }
}

impl Gaps {
    fn into_result(self) -> Result<(), RenderFault> {
        if !self.missing.is_empty() {
            return Err(RenderFault::Missing { fields: self.missing.into_iter().collect() });
        }
        match self.unusable.into_iter().next() {
            Some((field, needs)) => Err(RenderFault::Unusable { field, needs }),
            None => Ok(()),
        }
    }
}
