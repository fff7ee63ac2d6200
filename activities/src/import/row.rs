//! One row of a file: a person, or everything that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use machine::context::{Consent, Consents};
use machine::key::AttributeName;

use super::columns::{Column, Columns, ConsentTo};
use super::fault::{Reason, RowFault};
use super::source::Record;
use crate::address::EmailAddress;
use crate::phone::{Country, PhoneNumber};
use crate::tag::Tag;

/// A row without a fault that matters: it has an address, a number or both.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) line: u64,
    pub(super) address: Option<EmailAddress>,
    pub(super) phone: Option<PhoneNumber>,
    pub(super) zone: Option<Tz>,
    /// Unknown where the file says nothing.
    pub(super) consent: Consents,
    /// Those that are not empty.
    pub(super) attributes: BTreeMap<AttributeName, String>,
    pub(super) tags: BTreeSet<Tag>,
}

/// The attribute that names a country.
const COUNTRY: &str = "country";

/// What a row is.
pub(super) enum Parsed {
    Person(Box<Person>),
    Refused,
    /// Nothing in any cell.
    Blank,
}

/// What the caller adds to every row.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    pub(super) tags: Vec<Tag>,
    /// Where numbers without a country code are dialled, if their row does not say it.
    pub(super) country: Option<Country>,
}

/// Reads a row. Every fault is named; those that matter leave the row out.
pub(super) fn parse(
    columns: &Columns,
    record: &Record,
    given: &Given,
    faults: &mut Vec<RowFault>,
) -> Parsed {
    if record.cells.iter().all(|cell| trimmed(cell).is_empty()) {
        return Parsed::Blank;
    }
    let mut row = Row {
        address: None,
        phone: None,
        country: own_country(columns, record).or(given.country),
        zone: None,
        consent: Consents::default(),
        attributes: BTreeMap::new(),
        tags: given.tags.iter().cloned().collect(),
    };
    let mut found: Vec<(&str, Reason)> = Vec::new();
    let mut cells = record.cells.iter();
    let mut line = record.line;
    for (header, column) in columns.iter() {
        let cell = cells.next().unwrap_or_default();
        if let Some(reason) = swallows(cell, line, columns.delimiters(), record.delimiter) {
            found.push((header, reason));
        } else {
            let text = unquoted(trimmed(cell));
            found.extend(row.cell(column, text).map(|reason| (header, reason)));
        }
        line += breaks(cell);
    }
    let swallows = found.iter().any(|(_, reason)| matches!(reason, Reason::Swallows { .. }));
    if !swallows && cells.any(|cell| !trimmed(cell).is_empty()) {
        found.push(("the row", Reason::ExtraCells));
    }
    let is_told = found.iter().any(|(_, reason)| reason.refuses());
    if row.address.is_none() && row.phone.is_none() && !is_told {
        found.push((columns.address_header(), Reason::missing(columns)));
    }
    let is_refused = found.iter().any(|(_, reason)| reason.refuses());
    faults.extend(found.into_iter().map(|(field, reason)| RowFault {
        line: record.line,
        field: field.to_owned(),
        reason,
    }));
    if is_refused {
        return Parsed::Refused;
    }
    Parsed::Person(Box::new(Person {
        line: record.line,
        address: row.address,
        phone: row.phone,
        zone: row.zone,
        consent: row.consent,
        attributes: row.attributes,
        tags: row.tags,
    }))
}

/// The country that a row names by its two letters, whichever way its columns stand.
fn own_country(columns: &Columns, record: &Record) -> Option<Country> {
    let mut cells = columns.iter().zip(record.cells.iter());
    let (_, cell) = cells.find(|((_, column), _)| match column {
        Column::Attribute(name) => name.as_str() == COUNTRY,
        Column::Email
        | Column::Phone
        | Column::Numbers
        | Column::Zone
        | Column::Tags
        | Column::Consent(_)
        | Column::Ignored => false,
    })?;
    unquoted(trimmed(cell)).parse().ok()
}

impl Reason {
    /// What a row lacks that names nobody.
    fn missing(columns: &Columns) -> Self {
        match (columns.holds_addresses(), columns.holds_numbers()) {
            (true, true) => Self::MissingBoth,
            (false, true) => Self::MissingNumber,
            (_, false) => Self::MissingAddress,
        }
    }
}

/// Tells that a cell which begins on `line` holds what looks like rows: as many delimiters as a row has
/// on one of its further lines, and an address.
fn swallows(cell: &str, line: u64, delimiters: usize, delimiter: char) -> Option<Reason> {
    let looks_like_a_row =
        |text: &str| text.contains('@') && text.matches(delimiter).count() >= delimiters;
    let is_open = cell.split('\n').skip(1).any(looks_like_a_row);
    is_open.then(|| Reason::Swallows { first: line + 1, last: line + breaks(cell) })
}

fn breaks(cell: &str) -> u64 {
    u64::try_from(cell.matches('\n').count()).expect("a record is short")
}

struct Row {
    address: Option<EmailAddress>,
    phone: Option<PhoneNumber>,
    country: Option<Country>,
    zone: Option<Tz>,
    consent: Consents,
    attributes: BTreeMap<AttributeName, String>,
    tags: BTreeSet<Tag>,
}

impl Row {
    /// Takes a cell over, or tells what is wrong with it.
    fn cell(&mut self, column: &Column, text: &str) -> Option<Reason> {
        if text.is_empty() || *column == Column::Ignored {
            return None;
        }
        if let Some(reason) = Reason::of_text(text) {
            return Some(reason);
        }
        match column {
            Column::Email => self.address(text),
            Column::Phone => self.phone(text),
            Column::Numbers => self.numbers(text),
            Column::Zone => self.zone(text),
            Column::Tags => self.tags(text),
            Column::Consent(to) => self.consent(*to, text),
            Column::Attribute(name) => {
                self.attributes.insert(name.clone(), text.to_owned());
                reads_as_formula(text).then_some(Reason::Formula)
            }
            Column::Ignored => None,
        }
    }

    fn address(&mut self, text: &str) -> Option<Reason> {
        let parts = text.split([',', ';', '/', '|', ' ']);
        if parts.filter(|part| part.contains('@')).count() > 1 {
            return Some(Reason::SeveralAddresses);
        }
        match text.parse::<EmailAddress>() {
            Ok(address) => {
                let is_ascii = address.local_part().is_ascii();
                self.address = Some(address);
                (!is_ascii).then_some(Reason::MailboxName)
            }
            Err(error) => Some(Reason::Address(error)),
        }
    }

    /// A number is an attribute, too, in the spelling in which it is dialled: texts of mails name it.
    fn phone(&mut self, text: &str) -> Option<Reason> {
        let name = "phone".parse().expect("a name");
        match PhoneNumber::read(text, self.country) {
            Ok(number) => {
                self.attributes.insert(name, number.to_string());
                self.phone = Some(number);
                None
            }
            Err(error) => {
                self.attributes.insert(name, text.to_owned());
                Some(Reason::Phone(error))
            }
        }
    }

    /// The numbers of our own export: texts go to the first, and the attributes have their columns.
    fn numbers(&mut self, text: &str) -> Option<Reason> {
        let first = text.split(';').next().unwrap_or_default();
        match PhoneNumber::read(trimmed(first), self.country) {
            Ok(number) => {
                self.phone = Some(number);
                None
            }
            Err(error) => Some(Reason::Phone(error)),
        }
    }

    fn zone(&mut self, text: &str) -> Option<Reason> {
        match text.parse() {
            Ok(zone) => {
                self.zone = Some(zone);
                None
            }
            Err(_) => Some(Reason::Zone(shortened(text))),
        }
    }

    fn tags(&mut self, text: &str) -> Option<Reason> {
        for tag in text.split([';', ',', '|']).filter(|tag| !tag.trim().is_empty()) {
            match tag.parse() {
                Ok(tag) => {
                    self.tags.insert(tag);
                }
                Err(error) => return Some(Reason::Tag(error)),
            }
        }
        None
    }

    fn consent(&mut self, to: ConsentTo, text: &str) -> Option<Reason> {
        let consent = match text.to_lowercase().as_str() {
            "granted" | "yes" | "y" | "true" | "1" | "opt-in" | "opted in" | "subscribed" => {
                Consent::Granted
            }
            "refused" | "no" | "n" | "false" | "0" | "opt-out" | "opted out" | "unsubscribed" => {
                Consent::Refused
            }
            "unknown" | "-" | "?" => Consent::Unknown,
            _ => return Some(Reason::Consent(shortened(text))),
        };
        match to {
            ConsentTo::Mail => self.consent.email = consent,
            ConsentTo::Texts => self.consent.sms = consent,
            ConsentTo::Calls => self.consent.call = consent,
        }
        None
    }
}

fn trimmed(cell: &str) -> &str {
    cell.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'))
}

/// Takes off the apostrophe by which spreadsheet programs, and our own export, mark text that they
/// would calculate otherwise.
fn unquoted(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(text) if text.starts_with(['=', '+', '-', '@']) => text,
        Some(_) | None => cell,
    }
}

/// Whether a spreadsheet program would calculate the text. Numbers and telephone numbers are none.
fn reads_as_formula(text: &str) -> bool {
    let is_of_number = |c: char| c.is_ascii_digit() || ".,- ()/%".contains(c);
    match text.as_bytes().first() {
        Some(b'=' | b'@') => true,
        Some(b'+' | b'-') => !text[1..].chars().all(is_of_number),
        Some(_) | None => false,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use csv::StringRecord;
    use machine::context::Consent;
    use proptest::prelude::*;

    use super::{Given, Parsed, Person, parse};
    use crate::address::InvalidEmail;
    use crate::import::columns::{Columns, Mapping};
    use crate::import::fault::Reason;
    use crate::import::source::Record;

    const HEADER: [&str; 7] =
        ["email", "first_name", "zone", "tags", "consent", "sms_consent", "rooms"];

    fn read(cells: &[&str]) -> (Parsed, Vec<(String, Reason)>) {
        let header = StringRecord::from(HEADER.to_vec());
        let columns = Columns::of(&header, &Mapping::default()).unwrap();
        let cells = StringRecord::from(cells.to_vec());
        let record = Record { line: 7, cells, delimiter: ',' };
        let mut faults = Vec::new();
        let parsed = parse(&columns, &record, &Given::default(), &mut faults);
        assert!(faults.iter().all(|fault| fault.line == 7));
        (parsed, faults.into_iter().map(|fault| (fault.field, fault.reason)).collect())
    }

    fn person(cells: &[&str]) -> Person {
        match read(cells) {
            (Parsed::Person(person), _) => *person,
            (Parsed::Refused | Parsed::Blank, faults) => panic!("{faults:?}"),
        }
    }

    #[test]
    fn a_full_row_is_a_person() {
        let person = person(&[
            " Ada@Example.com ",
            "Ada",
            "Europe/Lisbon",
            "VIP; lisbon ;vip",
            "yes",
            "Refused",
            "40",
        ]);
        assert_eq!(person.address.unwrap().as_str(), "ada@example.com");
        assert_eq!(person.zone, Some(chrono_tz::Europe::Lisbon));
        assert_eq!(person.consent.email, Consent::Granted);
        assert_eq!(person.consent.sms, Consent::Refused);
        let tags: Vec<_> = person.tags.iter().map(|tag| tag.as_str()).collect();
        assert_eq!(tags, ["lisbon", "vip"]);
        assert_eq!(person.attributes.len(), 2);
    }

    #[test]
    fn a_number_is_read_in_the_country_that_is_given() {
        let header = StringRecord::from(vec!["email", "Mobile"]);
        let columns = Columns::of(&header, &Mapping::default()).unwrap();
        let read = |cell: &str, country: &str| {
            let cells = StringRecord::from(vec!["ada@example.com", cell]);
            let given = Given { country: country.parse().ok(), ..Given::default() };
            let mut faults = Vec::new();
            let record = Record { line: 2, cells, delimiter: ',' };
            let Parsed::Person(person) = parse(&columns, &record, &given, &mut faults) else {
                panic!("a bad number leaves nobody out")
            };
            let number = person.phone.map(String::from);
            (number, person.attributes.values().next().cloned(), faults.len())
        };
        let whole = Some("+351912345678".to_owned());
        assert_eq!(read("912 345 678", "PT"), (whole.clone(), whole.clone(), 0));
        assert_eq!(read("+351 912-345-678", ""), (whole.clone(), whole, 0));
        assert_eq!(read("912 345 678", ""), (None, Some("912 345 678".to_owned()), 1));
        assert_eq!(read("ask her", "PT"), (None, Some("ask her".to_owned()), 1));
        assert_eq!(read("", "PT"), (None, None, 0));
    }

    #[test]
    fn the_country_of_a_row_goes_before_the_one_of_the_file() {
        let read = |header: [&str; 3], cells: [&str; 3]| {
            let columns =
                Columns::of(&StringRecord::from(header.to_vec()), &Mapping::default()).unwrap();
            let cells = StringRecord::from(cells.to_vec());
            let given = Given { country: "PT".parse().ok(), ..Given::default() };
            let record = Record { line: 2, cells, delimiter: ',' };
            let Parsed::Person(person) = parse(&columns, &record, &given, &mut Vec::new()) else {
                panic!("a bad number leaves nobody out")
            };
            person.phone.map(String::from)
        };
        let spanish = Some("+34612345678".to_owned());
        let header = ["email", "phone", "country"];
        assert_eq!(read(header, ["ada@example.com", "612 345 678", " es "]), spanish);
        assert_eq!(
            read(["country", "email", "phone"], ["ES", "ada@example.com", "612 345 678"]),
            spanish
        );
        for unread in ["", "Portugal", "the south"] {
            let number = read(header, ["ada@example.com", "912 345 678", unread]);
            assert_eq!(number.as_deref(), Some("+351912345678"));
        }
        let whole = read(header, ["ada@example.com", "+351 912 345 678", "ES"]);
        assert_eq!(whole.as_deref(), Some("+351912345678"));
    }

    #[test]
    fn a_person_is_known_by_a_number_where_there_is_no_address() {
        let read = |header: &[&str], cells: &[&str]| {
            let header = StringRecord::from(header.to_vec());
            let columns = Columns::of(&header, &Mapping::default()).unwrap();
            let record =
                Record { line: 2, cells: StringRecord::from(cells.to_vec()), delimiter: ',' };
            let mut faults = Vec::new();
            let parsed = parse(&columns, &record, &Given::default(), &mut faults);
            (
                parsed,
                faults.into_iter().map(|fault| (fault.field, fault.reason)).collect::<Vec<_>>(),
            )
        };
        for (header, cells) in [
            (&["phone", "name"][..], &["+351 912 345 678", "Ada"][..]),
            (&["email", "phone"], &["", "+351 912 345 678"]),
        ] {
            let (Parsed::Person(person), faults) = read(header, cells) else { panic!("{cells:?}") };
            assert_eq!((person.address, faults), (None, Vec::new()));
            assert_eq!(person.phone.map(String::from).as_deref(), Some("+351912345678"));
        }
        for (header, cells, field, reason) in [
            (&["name", "phone"][..], &["Ada", ""][..], "phone", Reason::MissingNumber),
            (&["name", "Mail", "Tel"], &["Ada"], "Mail", Reason::MissingBoth),
            (&["name", "Mail"], &["Ada"], "Mail", Reason::MissingAddress),
        ] {
            let (parsed, faults) = read(header, cells);
            assert!(matches!(parsed, Parsed::Refused));
            assert_eq!(faults, [(field.to_owned(), reason)]);
        }
        let (parsed, faults) = read(&["name", "email", "phone"], &["Ada", "", "ask her"]);
        assert!(matches!(parsed, Parsed::Refused));
        assert_eq!(faults.last().unwrap().1, Reason::MissingBoth);
        let (parsed, _) = read(&["email", "phone"], &["ada", "+351 912 345 678"]);
        assert!(matches!(parsed, Parsed::Refused), "a bad address is not passed by in silence");
    }

    #[test]
    fn short_rows_and_empty_cells_say_nothing() {
        let person = person(&["ada@example.com", "", " "]);
        assert!(person.attributes.is_empty() && person.zone.is_none());
        assert!(matches!(read(&["", " ", "\u{feff}"]).0, Parsed::Blank));
    }

    #[test]
    fn every_fault_is_named_at_its_field() {
        for (cells, field, reason) in [
            (&["", "Ada"][..], "email", Reason::MissingAddress),
            (&["ada"], "email", Reason::Address(InvalidEmail::NoAt)),
            (&["ada@example.com; bob@example.com"], "email", Reason::SeveralAddresses),
            (&["ada@example.com bob@example.com"], "email", Reason::SeveralAddresses),
            (&["ada@example.com", "A\nB"], "first_name", Reason::Control),
            (&["ada@example.com", "M\u{fffd}ller"], "first_name", Reason::Garbled),
            (&["ada@example.com", "", "Lisbon"], "zone", Reason::Zone("Lisbon".to_owned())),
            (
                &["ada@example.com", "", "", "", "maybe"],
                "consent",
                Reason::Consent("maybe".to_owned()),
            ),
            (&["ada@example.com", "", "", "", "", "", "4", "x"], "the row", Reason::ExtraCells),
        ] {
            let (parsed, faults) = read(cells);
            assert!(matches!(parsed, Parsed::Refused), "{cells:?}");
            assert_eq!(faults, [(field.to_owned(), reason)], "{cells:?}");
        }
    }

    #[test]
    fn a_row_is_told_all_its_faults() {
        let (parsed, faults) = read(&["ada", "A\tB", "Mars"]);
        assert!(matches!(parsed, Parsed::Refused));
        assert_eq!(faults.len(), 3);
    }

    #[test]
    fn formulas_are_kept_as_text_and_told() {
        for (text, is_told) in [
            ("=1+1", true),
            ("@SUM(A1)", true),
            ("-2+cmd|' /C calc'!A0", true),
            ("+351 21 000 0000", false),
            ("-4.5", false),
            ("a=b", false),
            ("'=1+1", true),
            ("'+351 21 000 0000", false),
            ("'s-Gravenhage", false),
        ] {
            let (parsed, faults) = read(&["ada@example.com", text]);
            let Parsed::Person(person) = parsed else { panic!("{text}") };
            let kept = text.strip_prefix('\'').filter(|text| !text.starts_with('s'));
            let kept = kept.unwrap_or(text);
            assert_eq!(person.attributes.values().next().map(String::as_str), Some(kept));
            assert_eq!(
                faults.iter().any(|(_, reason)| *reason == Reason::Formula),
                is_told,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn reading_is_total(cells in proptest::collection::vec("(?s).{0,30}", 0..10)) {
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            let (parsed, faults) = read(&cells);
            let is_refused = faults.iter().any(|(_, reason)| reason.refuses());
            prop_assert_eq!(matches!(parsed, Parsed::Refused), is_refused);
        }
    }
}
