//! How programs write leads, read into what activities work with. Everything that is wrong is told at
//! once, each at its field.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use activities::leads::attributes;
use activities::leads::{AttributeChange, Change, ConsentChange, New, Refused};
use activities::tag::Tag;
use chrono_tz::Tz;
use machine::context::{Consent, Consents};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::patch::Patch;
use crate::api::problem::{FieldFault, Problem};

/// The most addresses, or numbers, of one lead.
const ADDRESSES_MAX: usize = 10;

/// The most tags of one lead.
const TAGS_MAX: usize = 100;

/// The longest name of a stage, in characters.
const STAGE_MAX: usize = 100;

/// The longest text that is searched for, in characters: as much as an index holds.
const SEARCHED_MAX: usize = 100;

/// Whether a person agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConsentWord {
    /// Nobody asked.
    Unknown,
    /// It agreed.
    Granted,
    /// It refused.
    Refused,
}

impl ConsentWord {
    pub(super) fn of(word: &str) -> Self {
        match word {
            "granted" => Self::Granted,
            "refused" => Self::Refused,
            _ => Self::Unknown,
        }
    }
}

impl From<ConsentWord> for Consent {
    fn from(word: ConsentWord) -> Self {
        match word {
            ConsentWord::Unknown => Self::Unknown,
            ConsentWord::Granted => Self::Granted,
            ConsentWord::Refused => Self::Refused,
        }
    }
}

/// Consent on some channels.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentWords {
    /// To mail.
    email: Option<ConsentWord>,
    /// To texts.
    sms: Option<ConsentWord>,
    /// To calls.
    call: Option<ConsentWord>,
}

/// A lead to be added. It has an address or a number.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLead {
    /// Its mail addresses.
    #[serde(default)]
    #[schemars(length(max = 10))]
    emails: Vec<String>,
    /// Its telephone numbers with their country codes, as in `+351912345678`.
    #[serde(default)]
    #[schemars(length(max = 10))]
    phones: Vec<String>,
    /// The zone it lives in, as in `Europe/Lisbon`.
    zone: Option<String>,
    /// What it agreed to.
    #[serde(default)]
    consent: ConsentWords,
    /// Everything else: texts, numbers, lists and objects under names such as `first_name`.
    #[serde(default)]
    attributes: Map<String, Value>,
    /// Where it stands with us, as in `qualified`: the attribute `stage`.
    stage: Option<String>,
    /// Words to find it again.
    #[serde(default)]
    #[schemars(length(max = 100))]
    tags: Vec<String>,
}

/// What is to be different: a merge patch (RFC 7396). What is absent stays, what is null goes, lists
/// are replaced as a whole.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeadChange {
    /// All its mail addresses.
    #[serde(default)]
    #[schemars(length(max = 10))]
    emails: Patch<Vec<String>>,
    /// All its telephone numbers.
    #[serde(default)]
    #[schemars(length(max = 10))]
    phones: Patch<Vec<String>>,
    /// The zone it lives in; null: the campaign's.
    #[serde(default)]
    zone: Patch<String>,
    /// What it agrees to; null: nothing is known.
    #[serde(default)]
    consent: Patch<ConsentWords>,
    /// Attributes to be set, or to go where they are null.
    #[serde(default)]
    attributes: Patch<Map<String, Value>>,
    /// Where it stands with us, as in `qualified`, `customer` or `lost`: the attribute `stage`; null: what
    /// happened says it.
    #[serde(default)]
    stage: Patch<String>,
    /// All its tags.
    #[serde(default)]
    #[schemars(length(max = 100))]
    tags: Patch<Vec<String>>,
}

/// Where in a request each address stands.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<(String, String)>);

impl Places {
    /// Tells that a lead cannot have one of the addresses, which is named by its place.
    pub(super) fn refused(&self, refused: &Refused) -> Problem {
        let (Refused::Taken { address, .. } | Refused::Erased { address }) = refused;
        let field = self.0.iter().find(|(one, _)| one == address);
        let field = field.map_or("emails", |(_, field)| field);
        Problem::conflict(match refused {
            Refused::Taken { lead, .. } => {
                format!("{field} belongs to lead {lead}: change that one")
            }
            Refused::Erased { .. } => format!(
                "{field}: its owner was erased, and we promised never to write there again; lift \
                 the suppression first"
            ),
        })
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Reader {
    faults: Vec<FieldFault>,
    places: Places,
}

impl Reader {
    fn fault(&mut self, field: impl Into<String>, message: impl fmt::Display) {
        self.faults.push(FieldFault { field: field.into(), message: message.to_string() });
    }

    fn addresses<T: FromStr<Err: fmt::Display> + Ord + fmt::Display>(
        &mut self,
        field: &str,
        texts: &[String],
    ) -> BTreeSet<T> {
        let mut read = BTreeSet::new();
        if texts.len() > ADDRESSES_MAX {
            self.fault(field, format_args!("a lead has at most {ADDRESSES_MAX}"));
            return read;
        }
        for (index, text) in texts.iter().enumerate() {
            let place = format!("{field}[{index}]");
            match text.parse::<T>() {
                Ok(address) => {
                    self.places.0.push((address.to_string(), place));
                    read.insert(address);
                }
                Err(error) => self.fault(place, error),
            }
        }
        read
    }

    fn tags(&mut self, texts: &[String]) -> BTreeSet<Tag> {
        let mut read = BTreeSet::new();
        if texts.len() > TAGS_MAX {
            self.fault("tags", format_args!("a lead has at most {TAGS_MAX}"));
            return read;
        }
        for (index, text) in texts.iter().enumerate() {
            match text.parse() {
                Ok(tag) => {
                    read.insert(tag);
                }
                Err(error) => self.fault(format!("tags[{index}]"), error),
            }
        }
        read
    }

    fn zone(&mut self, text: &str) -> Option<Tz> {
        let zone = text.trim().parse().ok();
        if zone.is_none() {
            self.fault("zone", "it is not a time zone such as Europe/Lisbon");
        }
        zone
    }

    fn attributes(&mut self, attributes: Map<String, Value>) -> Map<String, Value> {
        for fault in attributes::check(&attributes).err().unwrap_or_default() {
            self.fault(format!("attributes.{}", fault.path), fault.reason);
        }
        attributes
    }

    /// Reads a stage, as the attribute that holds it.
    fn stage(&mut self, text: &str) -> Value {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > STAGE_MAX || text.contains(char::is_control) {
            self.fault("stage", format_args!("use 1 to {STAGE_MAX} characters on one line"));
        }
        Value::String(text.to_owned())
    }

    fn done<T>(self, read: T) -> Result<(T, Places), Problem> {
        if self.faults.is_empty() {
            Ok((read, self.places))
        } else {
            Err(Problem::invalid(self.faults))
        }
    }
}

impl NewLead {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub(super) fn parsed(self) -> Result<(New, Places), Problem> {
        let mut reader = Reader::default();
        if self.emails.is_empty() && self.phones.is_empty() {
            reader.fault("emails", "name an address, or a number under `phones`");
        }
        let mut given = reader.attributes(self.attributes);
        if let Some(stage) = self.stage {
            given.insert("stage".to_owned(), reader.stage(&stage));
        }
        let attributes = attributes::merge(&Map::new(), &given).unwrap_or_else(|error| {
            reader.fault("attributes", error);
            Map::new()
        });
        let word = |word: Option<ConsentWord>| word.map_or(Consent::Unknown, Consent::from);
        let new = New {
            emails: reader.addresses("emails", &self.emails),
            phones: reader.addresses("phones", &self.phones),
            zone: self.zone.and_then(|zone| reader.zone(&zone)),
            consent: Consents {
                email: word(self.consent.email),
                sms: word(self.consent.sms),
                call: word(self.consent.call),
            },
            attributes,
            tags: reader.tags(&self.tags),
            source: "api".to_owned(),
        };
        reader.done(new)
    }
}

impl LeadChange {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub(super) fn parsed(self) -> Result<(Change, Places), Problem> {
        let mut reader = Reader::default();
        let zone = match self.zone {
            Patch::Keep => None,
            Patch::Clear => Some(None),
            Patch::Set(zone) => Some(reader.zone(&zone)),
        };
        let mut attributes = match self.attributes {
            Patch::Keep => AttributeChange::None,
            Patch::Clear => AttributeChange::Clear,
            Patch::Set(patch) => AttributeChange::Merge(reader.attributes(patch)),
        };
        let stage = match self.stage {
            Patch::Keep => None,
            Patch::Clear => Some(Value::Null),
            Patch::Set(stage) => Some(reader.stage(&stage)),
        };
        if let Some(stage) = stage {
            let mut patch = match attributes {
                AttributeChange::None => Map::new(),
                AttributeChange::Merge(patch) => patch,
                AttributeChange::Clear => {
                    reader.fault("stage", "it is one of the attributes, which are all to go");
                    Map::new()
                }
            };
            patch.insert("stage".to_owned(), stage);
            attributes = AttributeChange::Merge(patch);
        }
        let change = Change {
            emails: listed(self.emails).map(|texts| reader.addresses("emails", &texts)),
            phones: listed(self.phones).map(|texts| reader.addresses("phones", &texts)),
            zone,
            consent: consent(&self.consent),
            attributes,
            tags: listed(self.tags).map(|texts| reader.tags(&texts)),
        };
        reader.done(change)
    }
}

/// A list that is null is an empty one.
fn listed(patch: Patch<Vec<String>>) -> Option<Vec<String>> {
    match patch {
        Patch::Keep => None,
        Patch::Clear => Some(Vec::new()),
        Patch::Set(texts) => Some(texts),
    }
}

fn consent(patch: &Patch<ConsentWords>) -> ConsentChange {
    let unknown = Some(ConsentWord::Unknown);
    let words = match patch {
        Patch::Keep => ConsentWords::default(),
        Patch::Clear => ConsentWords { email: unknown, sms: unknown, call: unknown },
        Patch::Set(words) => *words,
    };
    ConsentChange {
        email: words.email.map(Consent::from),
        sms: words.sms.map(Consent::from),
        call: words.call.map(Consent::from),
    }
}

/// Reads the tag of a query.
///
/// # Errors
///
/// When it is none.
pub(super) fn tag(text: Option<&str>) -> Result<Option<Tag>, Problem> {
    let tag = text.map(str::parse).transpose();
    tag.map_err(|error: activities::tag::InvalidTag| {
        Problem::invalid_field("tag", error.to_string())
    })
}

/// Reads what is searched for; nothing but spaces is nothing.
///
/// # Errors
///
/// When it is nothing that a lead can have.
pub(in crate::api) fn searched(
    field: &str,
    text: Option<String>,
) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    if text.chars().count() > SEARCHED_MAX || text.contains(char::is_control) {
        let message = format!("use at most {SEARCHED_MAX} characters on one line");
        return Err(Problem::invalid_field(field, message));
    }
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}
