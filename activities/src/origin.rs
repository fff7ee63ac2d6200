//! The two ends of a message: from whom it comes (a mailbox, a number, or a provider's pool of numbers)
//! and to whom it goes.

use std::fmt;
use std::str::FromStr;

use machine::sequence::Channel;

use crate::address::{EmailAddress, InvalidEmail};
use crate::phone::{InvalidPhone, PhoneNumber};
use crate::twilio::account::ServiceSid;

/// From whom messages come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Mails, from this address.
    Mailbox(EmailAddress),
    /// Texts, from this number.
    Number(PhoneNumber),
    /// Texts, from one of the numbers of a messaging service.
    Service(ServiceSid),
}

/// Who wrote to us, or to whom we write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Correspondent {
    /// By mail.
    Mailbox(EmailAddress),
    /// By text.
    Phone(PhoneNumber),
}

impl Correspondent {
    /// Returns the channel on which it is reached.
    pub fn channel(&self) -> Channel {
        match self {
            Self::Mailbox(_) => Channel::Email,
            Self::Phone(_) => Channel::Sms,
        }
    }

    /// The one spelling in which it is stored.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Mailbox(address) => address.as_str(),
            Self::Phone(number) => number.as_str(),
        }
    }
}

impl FromStr for Correspondent {
    type Err = InvalidOrigin;

    /// Reads a mail address, or a number that is written in full.
    fn from_str(raw: &str) -> Result<Self, InvalidOrigin> {
        match raw.parse()? {
            Origin::Mailbox(address) => Ok(Self::Mailbox(address)),
            Origin::Number(number) => Ok(Self::Phone(number)),
            Origin::Service(_) => Err(InvalidOrigin::Neither),
        }
    }
}

impl fmt::Display for Correspondent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why nothing can come from a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigin {
    /// It has an `@`, and is no address.
    #[error(transparent)]
    Mailbox(InvalidEmail),
    /// It begins like a number, and is none.
    #[error(transparent)]
    Number(InvalidPhone),
    /// It is neither.
    #[error(
        "write a mail address, a telephone number such as +351912345678, or the id of a messaging \
         service (MG and 32 digits)"
    )]
    Neither,
}

impl Origin {
    /// Returns the channel of what comes from it.
    pub fn channel(&self) -> Channel {
        match self {
            Self::Mailbox(_) => Channel::Email,
            Self::Number(_) | Self::Service(_) => Channel::Sms,
        }
    }

    /// Returns the address, if mails come from it.
    pub fn mailbox(&self) -> Option<&EmailAddress> {
        match self {
            Self::Mailbox(address) => Some(address),
            Self::Number(_) | Self::Service(_) => None,
        }
    }

    /// The one spelling in which it is stored and shown.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Mailbox(address) => address.as_str(),
            Self::Number(number) => number.as_str(),
            Self::Service(service) => service.as_str(),
        }
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(raw: &str) -> Result<Self, InvalidOrigin> {
        let text = raw.trim();
        if text.contains('@') {
            return text.parse().map(Self::Mailbox).map_err(InvalidOrigin::Mailbox);
        }
        if let Ok(service) = text.parse() {
            return Ok(Self::Service(service));
        }
        if text.starts_with(['+', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '(']) {
            return text.parse().map(Self::Number).map_err(InvalidOrigin::Number);
        }
        Err(InvalidOrigin::Neither)
    }
}

impl From<EmailAddress> for Origin {
    fn from(address: EmailAddress) -> Self {
        Self::Mailbox(address)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back() {
        for (text, channel) in [
            ("ada@example.com", Channel::Email),
            ("+15550100", Channel::Sms),
            ("MG0123456789abcdef0123456789abcdef", Channel::Sms),
        ] {
            let origin: Origin = text.parse().unwrap();
            assert_eq!((origin.as_str(), origin.channel()), (text, channel));
        }
        assert!(matches!("ada@".parse::<Origin>(), Err(InvalidOrigin::Mailbox(_))));
        let without = "912345678".parse::<Origin>();
        assert_eq!(without, Err(InvalidOrigin::Number(InvalidPhone::NoCountry)));
        assert_eq!("ACME".parse::<Origin>(), Err(InvalidOrigin::Neither));
    }
}
