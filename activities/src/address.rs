//! Addresses we could write to, in the one spelling under which they are stored, compared and
//! suppressed. Whether anybody reads mail there is not known here.

use std::fmt;
use std::str::FromStr;

use email_address::Options;
use serde::{Deserialize, Serialize};

/// The longest address a mail server has to accept (RFC 5321, with the erratum), in bytes.
const LENGTH_MAX: usize = 254;

/// An e-mail address: trimmed, lower-case, one `@`, a domain with a top level.
///
/// One mailbox has one spelling: `INFO@Bücher.DE`, `info@bücher。de` and `info@xn--bcher-kva.de`
/// all become `info@bücher.de`. Without that a suppressed address could be reached by writing it
/// differently. Comments, quoted local parts, address literals and invisible characters are
/// refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress {
    address: String,
    /// Byte position of the `@`.
    at: usize,
}

/// Why a text is not an address. The text itself is left out: it may be personal, or 10 kB long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    /// Nothing but white space.
    #[error("the address is empty")]
    Empty,
    /// No `@` at all.
    #[error("the address has no @")]
    NoAt,
    /// Longer than mail servers accept.
    #[error("the address is longer than {LENGTH_MAX} characters")]
    TooLong,
    /// The part before the `@`: empty, quoted, two addresses, invisible characters.
    #[error("the part before the @ is not a mailbox name")]
    Mailbox,
    /// The part after the `@` is no domain name with a top level.
    #[error("the part after the @ is not a domain such as example.com")]
    Domain,
}

impl EmailAddress {
    /// The canonical spelling.
    pub fn as_str(&self) -> &str {
        &self.address
    }

    /// The part before the `@`.
    pub fn local_part(&self) -> &str {
        &self.address[..self.at]
    }

    /// The part after the `@`, in its own script: `bücher.de`.
    pub fn domain(&self) -> &str {
        &self.address[self.at + 1..]
    }

    /// The domain as DNS and mail servers without SMTPUTF8 read it: `xn--bcher-kva.de`.
    pub fn ascii_domain(&self) -> String {
        idna::domain_to_ascii_strict(self.domain()).expect("the domain was read from this form")
    }
}

impl FromStr for EmailAddress {
    type Err = InvalidEmail;

    fn from_str(raw: &str) -> Result<Self, InvalidEmail> {
        // Spreadsheets leave byte-order marks and zero-width spaces around a cell.
        let trimmed =
            raw.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'));
        if trimmed.is_empty() {
            return Err(InvalidEmail::Empty);
        }
        // Before anything that costs time in the length of the input.
        if trimmed.len() > LENGTH_MAX {
            return Err(InvalidEmail::TooLong);
        }
        let lower = trimmed.to_lowercase();
        let (local, domain) = lower.rsplit_once('@').ok_or(InvalidEmail::NoAt)?;
        if !local.chars().all(is_mailbox_character)
            || !email_address::EmailAddress::is_valid_local_part(local)
        {
            return Err(InvalidEmail::Mailbox);
        }
        let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail::Domain)?;
        let options =
            Options::default().with_required_tld().without_domain_literal().without_display_text();
        let on_the_wire = format!("{local}@{ascii}");
        email_address::EmailAddress::parse_with_options(&on_the_wire, options)
            .map_err(|_| InvalidEmail::Domain)?;
        // `1.2.3.4` is four valid labels, and no domain.
        if ascii.rsplit('.').next().is_none_or(|top| top.bytes().all(|b| b.is_ascii_digit())) {
            return Err(InvalidEmail::Domain);
        }
        let (unicode, valid) = idna::domain_to_unicode(&ascii);
        valid.map_err(|_| InvalidEmail::Domain)?;
        let address = format!("{local}@{unicode}");
        if address.len() > LENGTH_MAX || on_the_wire.len() > LENGTH_MAX {
            return Err(InvalidEmail::TooLong);
        }
        Ok(Self { at: local.len(), address })
    }
}

/// Letters and digits of any script, and the unquoted signs of RFC 5321. Zero-width characters and
/// lone combining marks would make two addresses that look the same.
fn is_mailbox_character(c: char) -> bool {
    c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = InvalidEmail;

    fn try_from(raw: String) -> Result<Self, InvalidEmail> {
        raw.parse()
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(raw: &str) -> Result<EmailAddress, InvalidEmail> {
        raw.parse()
    }

    #[test]
    fn one_mailbox_has_one_spelling() {
        for spelling in [
            "info@bücher.de",
            "  INFO@Bücher.DE\n",
            "info@xn--bcher-kva.de",
            "info@XN--BCHER-KVA.de",
            "info@bücher。de",
            "\u{feff}info@bu\u{308}cher.de\u{200b}",
        ] {
            let address = parse(spelling).unwrap();
            assert_eq!(address.as_str(), "info@bücher.de", "{spelling:?}");
            assert_eq!(address.domain(), "bücher.de");
            assert_eq!(address.ascii_domain(), "xn--bcher-kva.de");
            assert_eq!(address.local_part(), "info");
        }
    }

    #[test]
    fn usual_and_unusual_addresses_pass() {
        for raw in [
            "ada@example.com",
            "o'brien+news@mail.example.co.uk",
            "a.b-c_d@sub.example.museum",
            "用户@例え.jp",
            "ünal@example.com",
        ] {
            assert_eq!(parse(raw).unwrap().as_str(), raw);
        }
    }

    #[test]
    fn what_is_not_one_address_is_refused() {
        use InvalidEmail::{Domain, Empty, Mailbox, NoAt, TooLong};
        let long = format!("{}@example.com", "a".repeat(10_000));
        for (raw, fault) in [
            ("", Empty),
            (" \t\r\n", Empty),
            ("ada", NoAt),
            ("@example.com", Mailbox),
            ("ada@bob@example.com", Mailbox),
            ("ada@example.com, bob@example.com", Mailbox),
            ("ada@example.com bob@example.com", Mailbox),
            ("Ada <ada@example.com>", Mailbox),
            ("(comment)ada@example.com", Mailbox),
            ("\"ada lovelace\"@example.com", Mailbox),
            ("ada\r\nBcc: eve@example.com", Mailbox),
            ("ada\0@example.com", Mailbox),
            ("a\u{200b}da@example.com", Mailbox),
            (".ada@example.com", Mailbox),
            ("a..da@example.com", Mailbox),
            ("ada@localhost", Domain),
            ("ada@example", Domain),
            ("ada@", Domain),
            ("ada@.com", Domain),
            ("ada@exam ple.com", Domain),
            ("ada@example.com>", Domain),
            ("ada@-example.com", Domain),
            ("ada@[127.0.0.1]", Domain),
            ("ada@127.0.0.1", Domain),
            ("ada@example.com(comment)", Domain),
            (long.as_str(), TooLong),
        ] {
            assert_eq!(parse(raw), Err(fault), "{raw:?}");
        }
    }

    #[test]
    fn serde_goes_through_the_one_constructor() {
        let address: EmailAddress = serde_json::from_str("\" Ada@Example.com\"").unwrap();
        assert_eq!(serde_json::to_string(&address).unwrap(), "\"ada@example.com\"");
        assert!(serde_json::from_str::<EmailAddress>("\"ada\"").is_err());
    }

    proptest! {
        #[test]
        fn parsing_is_stable_and_lettre_agrees(raw in "\\PC{0,20}@\\PC{0,12}\\.[a-zA-Zéß]{2,5}") {
            if let Ok(address) = parse(&raw) {
                prop_assert_eq!(&parse(address.as_str()).unwrap(), &address);
                prop_assert!(lettre::Address::new(address.local_part(), address.ascii_domain()).is_ok());
                prop_assert!(!address.as_str().chars().any(char::is_whitespace));
            }
        }

        #[test]
        fn plain_addresses_pass(local in "[a-z0-9][a-z0-9_+-]{0,30}", domain in "[a-z]{1,20}\\.[a-z]{2,6}") {
            let raw = format!("{local}@{domain}");
            let address = parse(&raw).unwrap();
            prop_assert_eq!(address.as_str(), raw.as_str());
        }
    }
}
