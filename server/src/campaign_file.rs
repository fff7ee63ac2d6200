//! The campaign file on disk: YAML in, a document and its faults out, each fault with the line it
//! stands on. What a document means is the machine's to know.

mod mending;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use machine::document::{CampaignDocument, Fault};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The largest file that is read, in bytes.
const SIZE_MAX: u64 = 1024 * 1024;

/// A file that was read.
#[derive(Debug)]
pub struct CampaignFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub document: CampaignDocument,
    lines: Lines,
}

/// A file with something to mend.
#[derive(Debug)]
pub struct FaultyFile {
    path: PathBuf,
    faults: Vec<(Option<Place>, String)>,
}

/// A place in a file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    line: u64,
    column: u64,
}

impl CampaignFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not a campaign: a [`FaultyFile`] then.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let size = std::fs::metadata(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .len();
        anyhow::ensure!(size <= SIZE_MAX, "{} is larger than 1 MiB", path.display());
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(path, &text).map_err(Into::into)
    }

    /// Parses a text that stands in `path`.
    ///
    /// # Errors
    ///
    /// What the parser stumbled over.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FaultyFile> {
        let document = serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map(|at| Place { line: at.line(), column: at.column() });
            let message = plain(&error);
            let lines = Lines::of(text);
            let field = place.and_then(|place| lines.field_at(place));
            let mut further = mending::further(text);
            // The parser knows the place of the first one best, and says least of it.
            let is_first = |fault: &Fault| {
                let line = lines.find(&fault.field).map(|place| place.line);
                line == place.map(|place| place.line) && fault.message.starts_with(&message)
            };
            let same = further.iter().position(is_first);
            let message = same.map_or(message.clone(), |at| further.remove(at).message);
            let first = match &field {
                Some(field) => format!("{field}: {message}"),
                None => message,
            };
            let mut faults = vec![(place, first)];
            for fault in further {
                let place = lines.find(&fault.field);
                // The parser told the first one, and where it stands.
                if faults.iter().all(|(known, _)| *known != place) {
                    faults.push((place, fault.to_string()));
                }
            }
            faults.sort_by_key(|(place, _)| *place);
            FaultyFile { path: path.to_owned(), faults }
        })?;
        Ok(Self { path: path.to_owned(), document, lines: Lines::of(text) })
    }

    /// Returns the faults of the document with their places, in the order of the file.
    pub fn faulty(&self, faults: &[Fault]) -> FaultyFile {
        let mut placed: Vec<_> =
            faults.iter().map(|fault| (self.lines.find(&fault.field), fault.to_string())).collect();
        placed.sort_by_key(|(place, _)| *place);
        FaultyFile { path: self.path.clone(), faults: placed }
    }
}

impl fmt::Display for FaultyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.faults.len() == 1 { "fault" } else { "faults" };
        write!(f, "{} has {} {many}", self.path.display(), self.faults.len())?;
        for (place, message) in &self.faults {
            write!(f, "\n  {}", self.path.display())?;
            if let Some(place) = place {
                write!(f, ":{}:{}", place.line, place.column)?;
            }
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FaultyFile {}

/// Returns the message alone: the place stands before it, the excerpt says nothing more.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let text = text.rfind(" at line ").map_or(text, |end| &text[..end]);
    let duplicate = text.strip_prefix("duplicate mapping key: ");
    match text {
        "expected sequence start" => "a list is needed: begin every entry with `- `".to_owned(),
        "expected mapping start" => "fields are needed: write each as `name: value`".to_owned(),
        "expected string scalar" => "a text is needed".to_owned(),
        "invalid u32" | "invalid u64" => "a whole number is needed".to_owned(),
        text => match duplicate.and_then(|rest| rest.split(',').next()) {
            Some(name) => format!("`{name}` stands here twice: keep one"),
            None => mending::told(text),
        },
    }
}

/// The places of every field, by its path: `steps[2].email.subject`.
#[derive(Debug, Default)]
struct Lines(BTreeMap<String, Place>);

impl Lines {
    fn of(text: &str) -> Self {
        let mut lines = Self::default();
        // It was parsed before; a file that cannot be placed is told without places.
        if let Ok(root) = serde_saphyr::from_str::<Spanned<Node>>(text) {
            lines.walk(String::new(), &root);
        }
        lines
    }

    fn walk(&mut self, path: String, node: &Spanned<Node>) {
        match &node.value {
            Node::Scalar => {}
            Node::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(format!("{path}[{index}]"), item);
                }
            }
            Node::Fields(fields) => {
                for (name, value) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    self.walk(format!("{path}{dot}{name}"), value);
                }
            }
        }
        let place = Place { line: node.referenced.line(), column: node.referenced.column() };
        self.0.insert(path, place);
    }

    /// Returns the field that begins at `place`, the innermost one.
    fn field_at(&self, place: Place) -> Option<String> {
        let fields = self.0.iter().filter(|(field, at)| **at == place && !field.is_empty());
        fields.map(|(field, _)| field.clone()).max_by_key(String::len)
    }

    /// Returns where a field stands; where it is missing, where it would stand.
    fn find(&self, field: &str) -> Option<Place> {
        let mut path = field;
        loop {
            if let Some(place) = self.0.get(path) {
                return Some(*place);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// Any YAML, for the places of its fields.
#[derive(Debug)]
enum Node {
    Scalar,
    List(Vec<Spanned<Node>>),
    Fields(Vec<(String, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            fields.push(entry);
        }
        Ok(Node::Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
name: Hotels
zone: Europe/Lisbon
steps:
  - key: intro
    email:
      subject: Hello
      body: |
        Dear {{ name }},
  - key: intro
    wait: 3 days
    email: { body: Again }
";

    #[test]
    fn faults_are_told_with_their_lines() {
        let file = CampaignFile::parse(Path::new("hotels.yaml"), FILE).unwrap();
        let fault = |field: &str| Fault { field: field.to_owned(), message: "is wrong".to_owned() };
        let faults = ["steps[1].key", "steps[0].email.body", "handover", "steps[1].email.subject"];
        let told = file.faulty(&faults.map(fault)).to_string();
        assert_eq!(
            told,
            "hotels.yaml has 4 faults\n  \
             hotels.yaml: handover: is wrong\n  \
             hotels.yaml:8:9: steps[0].email.body: is wrong\n  \
             hotels.yaml:9:10: steps[1].key: is wrong\n  \
             hotels.yaml:11:12: steps[1].email.subject: is wrong"
        );
    }

    #[test]
    fn what_is_not_a_campaign_is_refused_where_it_stands() {
        for (text, told) in [
            ("name: [", "broken.yaml:"),
            (
                "name: x\nzone: Mars/Olympus\nsteps: []\n",
                "broken.yaml:2:7: zone: `Mars/Olympus` is not a time zone: write it like Europe/Lisbon",
            ),
            (
                "name: x\nzone: UTC\nholidays: [2026-13-01]\nsteps: []\n",
                "broken.yaml:3:12: holidays[0]: `2026-13-01` is not a day: write it like 2026-12-24",
            ),
            (
                "name: x\nzone: UTC\nstep: []\n",
                "broken.yaml:3:1: `step` is nothing that can stand here: did you mean `steps`?",
            ),
            (
                "name: x\nzone: UTC\nsteps:\n  - key: A b\n",
                "broken.yaml:4:10: steps[0].key: `A b` is not a key",
            ),
            ("name: x\nzone: UTC\nsteps: none\n", "broken.yaml:3:8: steps: a list is needed"),
            (
                "name: x\nzone: UTC\ncaps: { per_day: lots }\nsteps: []\n",
                "broken.yaml:3:18: caps.per_day: a whole number is needed",
            ),
            ("name: x\nname: y\nzone: UTC\nsteps: []\n", "`name` stands here twice: keep one"),
            ("name: x\nzone: UTC\nsteps:\n  - intro\n", "steps[0]: fields are needed"),
        ] {
            let faulty = CampaignFile::parse(Path::new("broken.yaml"), text).unwrap_err();
            assert!(faulty.to_string().contains(told), "{faulty}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = "\
name: x
zone: Mars/Olympus
windows:
  - { days: [montag, tue], from: '09:00', to: '17:00' }
  - { days: [fry], from: '09:00', to: '17:00' }
caps: { per_day: lots }
colour: red
reply: { rule: hand_ovr }
steps:
  - key: intro
    email: {}
";
        let told = CampaignFile::parse(Path::new("x.yaml"), text).unwrap_err().to_string();
        for part in [
            "x.yaml has 7 faults",
            "x.yaml:2:7: zone: `Mars/Olympus` is not a time zone",
            "x.yaml:4:14: windows[0].days[0]: `montag` is not known here: use one of",
            "did you mean `mon`?",
            "x.yaml:5:14: windows[1].days[0]: `fry` is not known here",
            "did you mean `fri`?",
            "x.yaml:6:18: caps.per_day: a whole number is needed",
            "x.yaml:7:9: colour: `colour` is nothing that can stand here: use one of",
            "x.yaml:8:16: reply.rule: `hand_ovr` is not known here",
            "did you mean `hand_over`?",
            "x.yaml:11:12: steps[0].email: has no text",
        ] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
    }
}
