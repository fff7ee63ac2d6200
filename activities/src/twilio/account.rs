//! Where Twilio is and who we are there, written as one address line.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::http;

/// Twilio's servers are in it.
const DOMAIN: &str = "twilio.com";

/// Characters of an id of Twilio's: two letters and 32 hexadecimal digits.
const SID_LEN: usize = 34;

/// An account at Twilio, without its secret.
///
/// | written | means |
/// |---|---|
/// | `twilio://AC…@api.twilio.com` | the account, whose auth token is the password |
/// | `twilio://SK…@api.twilio.com?account=AC…` | an API key of the account, whose secret is the password |
/// | `twilio+http://AC…@127.0.0.1:8025` | without encryption, on this machine only: for emulators |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwilioAccount {
    user: String,
    account: String,
    base: Url,
}

/// The id of a messaging service: a pool of numbers that Twilio chooses from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceSid(String);

/// What is wrong with an account's address line, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTwilioAccount {
    /// It is no URL at all.
    #[error("not an address of Twilio; write twilio://ACCOUNT_SID@api.twilio.com")]
    NotUrl,
    /// The part before the `@`.
    #[error(
        "the account is missing; write twilio://ACCOUNT_SID@api.twilio.com, where ACCOUNT_SID is AC and 32 digits"
    )]
    User,
    /// An API key does not say whose it is.
    #[error("an API key needs its account: add ?account=ACCOUNT_SID")]
    Account,
    /// Something after the host that we do not know.
    #[error("`{0}` is not understood; after the host only ?account=ACCOUNT_SID may stand")]
    Extra(String),
    /// A secret in the line: it would be stored and shown in the open.
    #[error("leave the token out of the address; it is asked for and sealed separately")]
    Password,
    /// A server of somebody else.
    #[error("that is no server of Twilio; write twilio://ACCOUNT_SID@api.twilio.com")]
    Foreign,
    /// Plain text over a network.
    #[error(
        "twilio+http:// sends everything in the open and is for this machine only; write twilio://"
    )]
    Insecure,
}

/// A text that is no id of a messaging service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a messaging service: MG and 32 hexadecimal digits")]
pub struct InvalidService;

impl TwilioAccount {
    /// Who logs in: the account itself, or an API key of it.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The account.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Whether the password is the account's auth token, with which Twilio also signs its posts.
    pub fn has_auth_token(&self) -> bool {
        self.user == self.account
    }

    /// Where a resource of the account is.
    pub(super) fn resource(&self, name: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/2010-04-01/Accounts/{}{name}.json", self.account));
        url
    }
}

impl FromStr for TwilioAccount {
    type Err = InvalidTwilioAccount;

    fn from_str(raw: &str) -> Result<Self, InvalidTwilioAccount> {
        let url = Url::parse(raw.trim()).map_err(|_| InvalidTwilioAccount::NotUrl)?;
        let scheme = match url.scheme() {
            "twilio" => "https",
            "twilio+http" => "http",
            _ => return Err(InvalidTwilioAccount::NotUrl),
        };
        if url.password().is_some() {
            return Err(InvalidTwilioAccount::Password);
        }
        let base = http::base(&url, scheme).ok_or(InvalidTwilioAccount::NotUrl)?;
        match scheme {
            "http" if !http::is_this_machine(&base) => return Err(InvalidTwilioAccount::Insecure),
            "https" if !http::is_server_of(&base, DOMAIN) => {
                return Err(InvalidTwilioAccount::Foreign);
            }
            _ => {}
        }
        if !matches!(url.path(), "" | "/") {
            return Err(InvalidTwilioAccount::Extra(url.path().to_owned()));
        }
        if let Some(fragment) = url.fragment() {
            return Err(InvalidTwilioAccount::Extra(format!("#{fragment}")));
        }
        let mut account = None;
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("account", sid) if is_sid(sid, "AC") => account = Some(sid.to_owned()),
                (key, value) => return Err(InvalidTwilioAccount::Extra(format!("{key}={value}"))),
            }
        }
        let user = url.username();
        match (is_sid(user, "AC"), is_sid(user, "SK"), account) {
            (true, _, None) => Ok(Self { user: user.to_owned(), account: user.to_owned(), base }),
            (true, _, Some(other)) => Err(InvalidTwilioAccount::Extra(format!("account={other}"))),
            (false, true, Some(account)) => Ok(Self { user: user.to_owned(), account, base }),
            (false, true, None) => Err(InvalidTwilioAccount::Account),
            (false, false, _) => Err(InvalidTwilioAccount::User),
        }
    }
}

impl fmt::Display for TwilioAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.base.scheme() == "http" { "twilio+http" } else { "twilio" };
        let host = self.base.host_str().unwrap_or_default();
        write!(f, "{scheme}://{}@{host}", self.user)?;
        if let Some(port) = self.base.port() {
            write!(f, ":{port}")?;
        }
        if self.user != self.account {
            write!(f, "?account={}", self.account)?;
        }
        Ok(())
    }
}

impl ServiceSid {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceSid {
    type Err = InvalidService;

    fn from_str(raw: &str) -> Result<Self, InvalidService> {
        let sid = raw.trim();
        if is_sid(sid, "MG") { Ok(Self(sid.to_owned())) } else { Err(InvalidService) }
    }
}

impl fmt::Display for ServiceSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_sid(text: &str, kind: &str) -> bool {
    text.len() == SID_LEN
        && text.strip_prefix(kind).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AC: &str = "AC0123456789abcdef0123456789abcdef";
    const SK: &str = "SK0123456789abcdef0123456789abcdef";

    #[test]
    fn an_account_is_one_line_and_reads_back() {
        for (line, user, account) in [
            (format!("twilio://{AC}@api.twilio.com"), AC, AC),
            (format!("twilio://{SK}@api.dublin.ie1.twilio.com?account={AC}"), SK, AC),
            (format!("twilio+http://{AC}@127.0.0.1:8025"), AC, AC),
            (format!("twilio+http://{AC}@[::1]:8025"), AC, AC),
        ] {
            let read: TwilioAccount = line.parse().unwrap();
            assert_eq!((read.user(), read.account()), (user, account));
            assert_eq!(read.to_string(), line);
            assert_eq!(read.has_auth_token(), user == AC);
        }
        let account: TwilioAccount = format!("twilio://{AC}@api.twilio.com").parse().unwrap();
        let expected = format!("https://api.twilio.com/2010-04-01/Accounts/{AC}/Messages.json");
        assert_eq!(account.resource("/Messages").as_str(), expected);
    }

    #[test]
    fn what_cannot_be_used_says_what_to_write() {
        use InvalidTwilioAccount::{Account, Extra, Foreign, Insecure, NotUrl, Password, User};
        for (line, fault) in [
            ("twilio".to_owned(), NotUrl),
            ("smtp://a@b.c".to_owned(), NotUrl),
            ("twilio://api.twilio.com".to_owned(), User),
            ("twilio://ACxx@api.twilio.com".to_owned(), User),
            (format!("twilio://{AC}:token@api.twilio.com"), Password),
            (format!("twilio://{SK}@api.twilio.com"), Account),
            (format!("twilio://{AC}@api.twilio.com/x"), Extra("/x".to_owned())),
            (format!("twilio://{AC}@api.twilio.com?x=y"), Extra("x=y".to_owned())),
            (format!("twilio://{AC}@10.0.0.1"), Foreign),
            (format!("twilio+http://{AC}@api.twilio.com"), Insecure),
        ] {
            assert_eq!(line.parse::<TwilioAccount>(), Err(fault), "{line}");
        }
        assert!("MG0123456789abcdef0123456789abcdef".parse::<ServiceSid>().is_ok());
        assert!(AC.parse::<ServiceSid>().is_err());
    }
}
