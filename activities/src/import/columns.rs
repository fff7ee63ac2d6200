//! What the columns of a file are, by their headers.

use csv::StringRecord;
use machine::key::AttributeName;

use super::source::Unreadable;
use super::{Reason, RowFault};

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Column {
    Email,
    Phone,
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

/// The columns of a file.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<(String, Column)>,
    /// Headers of columns that are left out.
    pub(super) ignored: Vec<String>,
}

impl Columns {
    /// Reads the header.
    pub(super) fn of(header: &StringRecord) -> Result<Self, Unreadable> {
        let mut columns: Vec<(String, Column)> = Vec::with_capacity(header.len());
        let mut ignored = Vec::new();
        for cell in header {
            let cell: String = cell.trim().chars().take(100).collect();
            let mut column = Column::named(&name(&cell));
            // Of two columns for the same thing the first one counts.
            if columns.iter().any(|(_, known)| *known == column) {
                column = Column::Ignored;
            }
            if column == Column::Ignored && !cell.is_empty() {
                ignored.push(cell.clone());
            }
            columns.push((cell, column));
        }
        if columns.iter().any(|(_, column)| *column == Column::Email) {
            return Ok(Self { columns, ignored });
        }
        let headers: Vec<_> = columns.iter().map(|(cell, _)| format!("`{cell}`")).collect();
        Err(Unreadable::NoAddresses { headers: headers.join(", ") })
    }

    /// The columns in order, each with its header.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns.iter().map(|(header, column)| (header.as_str(), column))
    }

    /// The header of the column with the addresses.
    pub(super) fn address_header(&self) -> &str {
        let mut addresses = self.iter().filter(|(_, column)| **column == Column::Email);
        addresses.next().map_or("email", |(header, _)| header)
    }

    /// The header of the column with the numbers.
    pub(super) fn phone_header(&self) -> &str {
        let mut numbers = self.iter().filter(|(_, column)| **column == Column::Phone);
        numbers.next().map_or("phone", |(header, _)| header)
    }

    /// The fault of a row whose address stood on `of_line` before.
    pub(super) fn duplicate(&self, line: u64, of_line: u64) -> RowFault {
        let field = self.address_header().to_owned();
        RowFault { line, field, reason: Reason::Duplicate { of_line } }
    }
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

    use super::{Column, Columns, name};
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
        let columns = Columns::of(&StringRecord::from(header.to_vec())).unwrap();
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
        let header = StringRecord::from(vec!["name", "town"]);
        let Err(Unreadable::NoAddresses { headers }) = Columns::of(&header) else {
            panic!("refused")
        };
        assert_eq!(headers, "`name`, `town`");
    }
}
