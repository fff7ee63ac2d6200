//! What can be wrong with a row, in words for whoever made the file.

use std::fmt;

use crate::address::InvalidEmail;
use crate::phone::InvalidPhone;
use crate::tag::InvalidTag;

/// The longest value, in characters.
const VALUE_MAX: usize = 10_000;

/// Something wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// The line it begins on; the header is line 1.
    pub line: u64,
    /// The column, as its header names it.
    pub field: String,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No address to write to.
    MissingAddress,
    /// No telephone number, in a file that has no addresses.
    MissingNumber,
    /// Neither an address nor a telephone number.
    MissingBoth,
    /// The address is none.
    Address(InvalidEmail),
    /// The mailbox has a name in another script than ASCII. It is kept, though many servers take no
    /// mail for it.
    MailboxName,
    /// More than one address.
    SeveralAddresses,
    /// The address was on another line before.
    Duplicate {
        /// Which.
        of_line: u64,
    },
    /// Not a time zone we know.
    Zone(String),
    /// Not a word for consent.
    Consent(String),
    /// Not a tag.
    Tag(InvalidTag),
    /// A line break or another control character.
    Control,
    /// Lines of the file that look like rows stand between its quotation marks.
    Swallows {
        /// The first of them.
        first: u64,
        /// The last.
        last: u64,
    },
    /// Characters that were lost before the file came to us.
    Garbled,
    /// Too long to be meant.
    TooLong,
    /// More cells than columns: a delimiter stands unquoted in one.
    ExtraCells,
    /// Its owner was erased, and we promised never to write there again.
    Erased,
    /// It reads as a formula. It is kept as text.
    Formula,
    /// Not a telephone number. It is kept as text, and nobody is texted there.
    Phone(InvalidPhone),
    /// The number was on another line before, and the row has nothing else to know its person by.
    SameNumber {
        /// Which.
        of_line: u64,
    },
    /// The number was on another line before, and a telephone is one person's here.
    PhoneOnLine {
        /// Which.
        of_line: u64,
    },
    /// The number belongs to another lead.
    PhoneOfAnother,
}

impl Reason {
    /// Says why nothing about a lead may hold `text`.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        if text.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            Some(Self::Control)
        } else if text.contains('\u{fffd}') {
            Some(Self::Garbled)
        } else if text.len() > VALUE_MAX && text.chars().count() > VALUE_MAX {
            Some(Self::TooLong)
        } else {
            None
        }
    }

    /// Whether the row is left out for it.
    pub fn refuses(&self) -> bool {
        match self {
            Self::MailboxName
            | Self::Formula
            | Self::Phone(_)
            | Self::PhoneOnLine { .. }
            | Self::PhoneOfAnother => false,
            Self::MissingAddress
            | Self::MissingNumber
            | Self::MissingBoth
            | Self::SameNumber { .. }
            | Self::Address(_)
            | Self::SeveralAddresses
            | Self::Duplicate { .. }
            | Self::Zone(_)
            | Self::Consent(_)
            | Self::Tag(_)
            | Self::Control
            | Self::Swallows { .. }
            | Self::Garbled
            | Self::TooLong
            | Self::ExtraCells
            | Self::Erased => true,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingAddress => f.write_str("there is no address"),
            Self::MissingNumber => f.write_str("there is no telephone number"),
            Self::MissingBoth => f.write_str(
                "there is neither an address nor a telephone number that can be dialled",
            ),
            Self::SameNumber { of_line } => write!(f, "the same number is on line {of_line}"),
            Self::Address(error) => error.fmt(f),
            Self::MailboxName => f.write_str(
                "the name before the @ has letters that many mail servers do not take (SMTPUTF8); \
                 through one of them its mails are held",
            ),
            Self::SeveralAddresses => {
                f.write_str("there are several addresses; give each a row of its own")
            }
            Self::Duplicate { of_line } => write!(f, "the same address is on line {of_line}"),
            Self::Zone(zone) => write!(f, "`{zone}` is not a time zone such as Europe/Lisbon"),
            Self::Consent(word) => {
                write!(f, "`{word}` is not one of granted, refused, unknown, yes, no")
            }
            Self::Tag(error) => error.fmt(f),
            Self::Control => f.write_str("it holds a line break or another control character"),
            Self::Swallows { first, last } => {
                let lines = if first == last {
                    format!("line {first} was")
                } else {
                    format!("lines {first} to {last} were")
                };
                write!(
                    f,
                    "its quotation mark closes on line {last} only, so {lines} taken for a part of \
                     it; close it where the value ends"
                )
            }
            Self::Garbled => f.write_str(
                "some of its characters were lost before; export it again as CSV (UTF-8)",
            ),
            Self::TooLong => write!(f, "it is longer than {VALUE_MAX} characters"),
            Self::ExtraCells => f.write_str(
                "it has more cells than there are columns; put quotation marks round text that \
                 holds a delimiter",
            ),
            Self::Erased => f.write_str(
                "its owner was erased and is not written to again; whoever may lifts the \
                 suppression first",
            ),
            Self::Formula => f.write_str("it reads as a formula; it was kept as text"),
            Self::Phone(error) => write!(f, "{error}; it was kept as text"),
            Self::PhoneOnLine { of_line } => {
                write!(f, "the same number is on line {of_line}; nobody is texted twice")
            }
            Self::PhoneOfAnother => f.write_str("the number belongs to another lead"),
        }
    }
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, {}: {}", self.line, self.field, self.reason)
    }
}
