//! What the columns of a file are, by their headers.

use std::collections::BTreeMap;

use csv::StringRecord;
use machine::key::AttributeName;

use super::Headers;
use super::meanings::{self, KeptColumn};
use super::source::{COLUMNS_MAX, Unreadable};

/// Headers that a message names.
const HEADERS_TOLD: usize = 20;

/// Columns of our own export that nobody sets.
const OURS: [&str; 4] = ["lead_id", "lead_source", "lead_since", "other_emails"];

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Column {
    Email,
    Phone,
    /// The numbers of our own export, which a column of the phone goes before.
    Numbers,
    Zone,
    Tags,
    Consent(ConsentTo),
    Attribute(AttributeName),
    Ignored,
}

/// To what a lead agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConsentTo {
    Mail,
    Texts,
    Calls,
}

/// Columns whose headers do not say what they hold, by their headers.
#[derive(Debug, Clone, Default)]
pub struct Mapping(BTreeMap<String, Column>);

/// A column was mapped to what is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is nothing that a column can hold: use email, phone, zone, tags, consent, \
     sms_consent, call_consent, `-` to leave it out, or the name of an attribute such as first_name"
)]
pub struct InvalidMapping {
    /// The header.
    pub header: String,
    /// What it was mapped to.
    pub name: String,
}

impl Mapping {
    /// Reads what each header stands for, as in `First name` for `first_name`.
    ///
    /// # Errors
    ///
    /// When one stands for nothing.
    pub fn new(names: impl IntoIterator<Item = (String, String)>) -> Result<Self, InvalidMapping> {
        let read = |(header, name): (String, String)| {
            let column = match name.as_str() {
                "-" => Column::Ignored,
                // An attribute keeps the name it is given, where a header is translated.
                name if name.parse::<AttributeName>().is_ok() => match Column::named(name) {
                    Column::Attribute(_) => Column::attribute(name),
                    known => known,
                },
                _ => return Err(InvalidMapping { header, name }),
            };
            Ok((header.trim().to_owned(), column))
        };
        names.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// The columns of a file.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<(String, Column)>,
    /// Headers of columns that are left out.
    pub(super) ignored: Vec<String>,
}

impl Columns {
    /// Reads the header; what is mapped goes before what a header says by itself.
    pub(super) fn of(header: &StringRecord, mapping: &Mapping) -> Result<Self, Unreadable> {
        if header.len() > COLUMNS_MAX {
            return Err(Unreadable::TooManyColumns { columns: header.len() });
        }
        let mut columns: Vec<(String, Column)> = Vec::with_capacity(header.len());
        let mut ignored = Vec::new();
        let mut missing: Vec<&str> = mapping.0.keys().map(String::as_str).collect();
        let mapped: Vec<&Column> = mapping.0.values().collect();
        for cell in header {
            let given = mapping.0.get(cell.trim());
            missing.retain(|header| *header != cell.trim());
            let cell: String = cell.trim().chars().take(100).collect();
            let name = name(&cell);
            let is_unwanted =
                given.map_or(OURS.contains(&name.as_str()), |it| *it == Column::Ignored);
            if is_unwanted {
                columns.push((cell, Column::Ignored));
                continue;
            }
            let named = || Some(Column::named(&name)).filter(|column| !mapped.contains(&column));
            let mut column = given.cloned().or_else(named).unwrap_or(Column::Ignored);
            // Of two columns for the same thing the first one counts.
            if columns.iter().any(|(_, known)| *known == column) {
                column = Column::Ignored;
            }
            if column == Column::Ignored && !cell.is_empty() {
                ignored.push(cell.clone());
            }
            columns.push((cell, column));
        }
        if let Some(header) = missing.first() {
            let header = header.chars().take(100).collect();
            return Err(Unreadable::NoSuchColumn { header, headers: told(&columns) });
        }
        let columns = Self { columns, ignored };
        if columns.holds_addresses() || columns.holds_numbers() {
            return Ok(columns);
        }
        let (headers, example) = (told(&columns.columns), columns.likely());
        Err(Unreadable::NoAddresses { headers, example })
    }

    /// Returns how the column would be mapped that most likely says where people are reached.
    fn likely(&self) -> String {
        let is_mail = |header: &&str| header.to_lowercase().contains("mail");
        if let Some(header) = self.iter().map(|(header, _)| header).find(is_mail) {
            return format!("{header}=email");
        }
        let is_phone = |header: &&str| meanings::translated(&name(header)) == Some("phone");
        match self.iter().map(|(header, _)| header).find(is_phone) {
            Some(header) => format!("{header}=phone"),
            None => "HEADER=email".to_owned(),
        }
    }

    /// Returns what is worth a word about them.
    pub(super) fn headers(&self) -> Headers {
        Headers {
            ignored: self.ignored.clone(),
            foreign: self.kept(meanings::translated),
            misspelt: self.kept(meanings::misspelt),
        }
    }

    /// Columns that are kept as attributes and mean by `meaning` what has a name here, unless another
    /// column has it.
    fn kept(&self, meaning: fn(&str) -> Option<&'static str>) -> Vec<KeptColumn> {
        let kept = self.iter().filter_map(|(header, column)| {
            let Column::Attribute(attribute) = column else { return None };
            let meaning = meaning(attribute.as_str())?;
            let meant = Column::named(meaning);
            let is_free = self.iter().all(|(_, column)| *column != meant);
            // One that was mapped so is meant so.
            let is_own_name = name(header) == attribute.as_str();
            let (header, attribute) = (header.to_owned(), attribute.clone());
            (is_free && is_own_name).then_some(KeptColumn { header, attribute, meaning })
        });
        kept.collect()
    }

    /// How many delimiters a row has.
    pub(super) fn delimiters(&self) -> usize {
        self.columns.len().saturating_sub(1)
    }

    /// The columns in order, each with its header.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns.iter().map(|(header, column)| (header.as_str(), column))
    }

    /// Whether one holds mail addresses.
    pub(super) fn holds_addresses(&self) -> bool {
        self.iter().any(|(_, column)| *column == Column::Email)
    }

    /// Whether one holds telephone numbers.
    pub(super) fn holds_numbers(&self) -> bool {
        self.iter().any(|(_, column)| matches!(column, Column::Phone | Column::Numbers))
    }

    /// The header of the column with the addresses; with the numbers, where there are no addresses.
    pub(super) fn address_header(&self) -> &str {
        let mut addresses = self.iter().filter(|(_, column)| **column == Column::Email);
        addresses.next().map_or_else(|| self.phone_header(), |(header, _)| header)
    }

    /// The header of the column with the numbers.
    pub(super) fn phone_header(&self) -> &str {
        let holds = |column: &Column| matches!(column, Column::Phone | Column::Numbers);
        let mut numbers = self.iter().filter(|(_, column)| holds(column));
        numbers.next().map_or("phone", |(header, _)| header)
    }
}

/// Names columns in a message.
fn told(columns: &[(String, Column)]) -> String {
    let shown = columns.iter().take(HEADERS_TOLD).map(|(cell, _)| format!("`{cell}`"));
    let mut told = shown.collect::<Vec<_>>().join(", ");
    if columns.len() > HEADERS_TOLD {
        told = format!("{told} and {} more", columns.len() - HEADERS_TOLD);
    }
    told
}

impl Column {
    fn named(name: &str) -> Self {
        match name {
            "email" | "e_mail" | "mail" | "email_address" | "e_mail_address" | "mail_address" => {
                Self::Email
            }
            "zone" | "time_zone" | "timezone" | "tz" => Self::Zone,
            "tags" | "tag" => Self::Tags,
            "consent" | "email_consent" | "consent_email" | "mail_consent" | "opt_in" => {
                Self::Consent(ConsentTo::Mail)
            }
            "sms_consent" | "consent_sms" => Self::Consent(ConsentTo::Texts),
            "call_consent" | "consent_call" | "phone_consent" | "consent_phone" => {
                Self::Consent(ConsentTo::Calls)
            }
            "firstname" | "given_name" | "forename" => Self::attribute("first_name"),
            "lastname" | "surname" | "family_name" => Self::attribute("last_name"),
            "company_name" | "organisation" | "organization" => Self::attribute("company"),
            "phone" | "phone_number" | "telephone" | "tel" | "mobile" | "mobile_phone" | "cell"
            | "cell_phone" | "sms" => Self::Phone,
            "text_numbers" => Self::Numbers,
            other => Self::attribute(other),
        }
    }

    fn attribute(name: &str) -> Self {
        name.parse().map_or(Self::Ignored, Self::Attribute)
    }
}

/// Writes a header as a name: `Room Count` becomes `room_count`, `Größe (m²)` `groesse_m`.
fn name(header: &str) -> String {
    let mut name = String::new();
    for letter in header.to_lowercase().chars() {
        match letter {
            'a'..='z' | '0'..='9' => name.push(letter),
            'ä' => name.push_str("ae"),
            'ö' => name.push_str("oe"),
            'ü' => name.push_str("ue"),
            'ß' => name.push_str("ss"),
            'à' | 'á' | 'â' | 'ã' | 'å' => name.push('a'),
            'è' | 'é' | 'ê' | 'ë' => name.push('e'),
            'ì' | 'í' | 'î' | 'ï' => name.push('i'),
            'ò' | 'ó' | 'ô' | 'õ' => name.push('o'),
            'ù' | 'ú' | 'û' => name.push('u'),
            'ç' => name.push('c'),
            'ñ' => name.push('n'),
            _ if name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    name.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use csv::StringRecord;

    use super::{Column, Columns, Mapping, name};
    use crate::import::source::Unreadable;

    #[test]
    fn headers_become_names() {
        for (header, expected) in [
            ("Room Count", "room_count"),
            ("  E-Mail ", "e_mail"),
            ("Größe (m²)", "groesse_m"),
            ("first--name", "first_name"),
            ("客室数", ""),
        ] {
            assert_eq!(name(header), expected, "{header}");
        }
    }

    #[test]
    fn columns_are_known_by_many_names_and_once() {
        let header =
            ["E-Mail", "Vorname", "Surname", "TimeZone", "2nd", "客室数", "mail", "Tags", ""];
        let columns = read(&header, &Mapping::default()).unwrap();
        let kinds: Vec<_> = columns.iter().map(|(_, column)| column.clone()).collect();
        let attribute = |name: &str| Column::Attribute(name.parse().unwrap());
        let ignored = || Column::Ignored;
        let expected = [
            Column::Email,
            attribute("vorname"),
            attribute("last_name"),
            Column::Zone,
            ignored(),
            ignored(),
            ignored(),
            Column::Tags,
            ignored(),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(columns.ignored, ["2nd", "客室数", "mail"]);
    }

    #[test]
    fn a_file_without_addresses_is_refused_with_what_it_has() {
        for (header, expected) in [
            (
                ["name", "town"],
                "only `name`, `town`; say which one holds the addresses: --map \"HEADER=email\"",
            ),
            (["E-Mail-Adresse", "Ort"], "--map \"E-Mail-Adresse=email\""),
        ] {
            let refused = read(&header, &Mapping::default()).unwrap_err();
            assert!(matches!(refused, Unreadable::NoAddresses { .. }));
            assert!(refused.to_string().ends_with(expected), "{refused}");
        }
    }

    #[test]
    fn a_column_of_numbers_is_enough_and_one_of_another_language_is_guessed() {
        for header in [["Mobile", "town"], ["text_numbers", "town"]] {
            assert!(read(&header, &Mapping::default()).unwrap().holds_numbers());
        }
        let refused = read(&["Telemóvel", "Nome"], &Mapping::default()).unwrap_err();
        assert!(refused.to_string().ends_with("--map \"Telemóvel=phone\""), "{refused}");
    }

    #[test]
    fn a_file_with_more_columns_than_anybody_means_is_refused_in_few_words() {
        let header = |columns: usize| -> Vec<String> {
            (0..columns).map(|number| format!("column {number}")).collect()
        };
        let refused = |columns: usize| {
            let header = StringRecord::from(header(columns));
            Columns::of(&header, &Mapping::default()).unwrap_err().to_string()
        };
        assert!(refused(1_000).contains("`column 19` and 980 more;"), "{}", refused(1_000));
        for columns in [1_001, 1_000_000] {
            let refused = refused(columns);
            assert!(refused.contains(&format!("{columns} columns")) && refused.len() < 200);
        }
    }

    #[test]
    fn headers_of_other_languages_are_told_with_what_they_may_mean() {
        let header = ["email", "Vorname", "Nachname", "company", "Firma", "Größe"];
        let columns = read(&header, &Mapping::default()).unwrap();
        let told: Vec<_> =
            columns.headers().foreign.into_iter().map(|it| (it.header, it.meaning)).collect();
        let expected = [("Vorname", "first_name"), ("Nachname", "last_name")];
        assert_eq!(told, expected.map(|(header, meaning)| (header.to_owned(), meaning)));
        let header = ["E-mail", "Nome", "Apelido", "Empresa", "Telemóvel", "País", "Fuso horário"];
        let columns = read(&header, &Mapping::default()).unwrap();
        let told: Vec<_> = columns.headers().foreign.into_iter().map(|it| it.meaning).collect();
        assert_eq!(told, ["first_name", "last_name", "company", "phone", "country", "zone"]);
        let names = [("Vorname", "first_name"), ("Nachname", "nachname")];
        let mapping = Mapping::new(names.map(|(a, b)| (a.to_owned(), b.to_owned()))).unwrap();
        let columns = read(&["email", "Vorname", "Nachname"], &mapping).unwrap();
        assert_eq!(columns.headers().foreign.len(), 1);
    }

    #[test]
    fn headers_with_a_slip_are_told_unless_another_column_has_the_name() {
        let told = |header: &[&str]| -> Vec<(String, &str)> {
            let columns = read(header, &Mapping::default()).unwrap();
            columns.headers().misspelt.into_iter().map(|it| (it.header, it.meaning)).collect()
        };
        assert_eq!(told(&["email", "Consnet"]), [("Consnet".to_owned(), "consent")]);
        assert_eq!(told(&["email", "Consnet", "opt_in"]), []);
        assert_eq!(told(&["e-mail address", "E-Mails", "first name"]), []);
    }

    #[test]
    fn a_mapping_goes_before_what_headers_say() {
        let names = [("Kontakt", "email"), ("Vorname", "first_name"), ("Notes", "-")];
        let owned = |(a, b): (&str, &str)| (a.to_owned(), b.to_owned());
        let mapping = Mapping::new(names.map(owned)).unwrap();
        let columns =
            read(&["E-Mail", "Kontakt", "Vorname", "First name", "Notes"], &mapping).unwrap();
        let kinds: Vec<_> = columns.iter().map(|(_, column)| column.clone()).collect();
        let first_name = Column::Attribute("first_name".parse().unwrap());
        let ignored = Column::Ignored;
        let expected = [ignored.clone(), Column::Email, first_name, ignored.clone(), ignored];
        assert_eq!(kinds, expected);
        assert_eq!(columns.ignored, ["E-Mail", "First name"]);

        let Err(Unreadable::NoSuchColumn { header, .. }) = read(&["email"], &mapping) else {
            panic!("refused")
        };
        assert_eq!(header, "Kontakt");
        let wrong = Mapping::new([owned(("Name", "First Name"))]).unwrap_err();
        assert_eq!((wrong.header.as_str(), wrong.name.as_str()), ("Name", "First Name"));
    }

    fn read(header: &[&str], mapping: &Mapping) -> Result<Columns, Unreadable> {
        Columns::of(&StringRecord::from(header.to_vec()), mapping)
    }
}
