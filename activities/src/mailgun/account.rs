//! Where Mailgun is and for which domain we send there, written as one address line.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::http;

/// Mailgun's servers are in it.
const DOMAIN: &str = "mailgun.net";

/// A sending domain at Mailgun, without its key.
///
/// | written | means |
/// |---|---|
/// | `mailgun://mg.example.com@api.mailgun.net` | a domain in the United States |
/// | `mailgun://mg.example.com@api.eu.mailgun.net` | a domain in the European Union |
/// | `mailgun://mg.example.com@api.mailgun.net?tracking=clicks` | the same, and Mailgun tells of clicks; or `opens`, or `clicks,opens` |
/// | `mailgun+http://mg.example.com@127.0.0.1:8025` | without encryption, on this machine only: for emulators |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailgunAccount {
    domain: String,
    base: Url,
    tracking: Tracking,
}

/// What Mailgun is to tell of beside deliveries. It rewrites the links of a mail for clicks, and puts a
/// picture into it for opens; so it does neither unless somebody asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracking {
    /// Whether a link was clicked.
    pub clicks: bool,
    /// Whether the mail was opened.
    pub opens: bool,
}

/// What is wrong with an account's address line, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMailgunAccount {
    /// It is no URL at all.
    #[error("not an address of Mailgun; write mailgun://DOMAIN@api.mailgun.net")]
    NotUrl,
    /// The part before the `@`.
    #[error("the sending domain is missing; write mailgun://DOMAIN@api.mailgun.net")]
    Domain,
    /// Something after the host.
    #[error(
        "`{0}` is not understood; nothing may stand after the host but ?tracking=clicks, \
         ?tracking=opens or ?tracking=clicks,opens"
    )]
    Extra(String),
    /// A key in the line: it would be stored and shown in the open.
    #[error("leave the key out of the address; it is asked for and sealed separately")]
    Password,
    /// A server of somebody else.
    #[error(
        "that is no server of Mailgun; write mailgun://DOMAIN@api.mailgun.net, or \
         @api.eu.mailgun.net in the European Union"
    )]
    Foreign,
    /// Plain text over a network.
    #[error(
        "mailgun+http:// sends everything in the open and is for this machine only; write mailgun://"
    )]
    Insecure,
}

impl MailgunAccount {
    /// The sending domain, in ASCII.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// What Mailgun is to tell of.
    pub fn tracking(&self) -> Tracking {
        self.tracking
    }

    /// Where a resource of the domain is.
    pub(super) fn resource(&self, name: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v3/{}/{name}", self.domain));
        url
    }
}

impl FromStr for MailgunAccount {
    type Err = InvalidMailgunAccount;

    fn from_str(raw: &str) -> Result<Self, InvalidMailgunAccount> {
        let url = Url::parse(raw.trim()).map_err(|_| InvalidMailgunAccount::NotUrl)?;
        let scheme = match url.scheme() {
            "mailgun" => "https",
            "mailgun+http" => "http",
            _ => return Err(InvalidMailgunAccount::NotUrl),
        };
        if url.password().is_some() {
            return Err(InvalidMailgunAccount::Password);
        }
        let base = http::base(&url, scheme).ok_or(InvalidMailgunAccount::NotUrl)?;
        match scheme {
            "http" if !http::is_this_machine(&base) => return Err(InvalidMailgunAccount::Insecure),
            "https" if !http::is_server_of(&base, DOMAIN) => {
                return Err(InvalidMailgunAccount::Foreign);
            }
            _ => {}
        }
        if !matches!(url.path(), "" | "/") {
            return Err(InvalidMailgunAccount::Extra(url.path().to_owned()));
        }
        if let Some(extra) = url.fragment() {
            return Err(InvalidMailgunAccount::Extra(extra.to_owned()));
        }
        let tracking = match url.query() {
            None => Tracking::default(),
            Some(query) => {
                tracking(query).ok_or_else(|| InvalidMailgunAccount::Extra(query.to_owned()))?
            }
        };
        let domain = idna::domain_to_ascii_strict(url.username())
            .ok()
            .filter(|domain| domain.contains('.'))
            .ok_or(InvalidMailgunAccount::Domain)?;
        Ok(Self { domain, base, tracking })
    }
}

impl fmt::Display for MailgunAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.base.scheme() == "http" { "mailgun+http" } else { "mailgun" };
        let host = self.base.host_str().unwrap_or_default();
        write!(f, "{scheme}://{}@{host}", self.domain)?;
        if let Some(port) = self.base.port() {
            write!(f, ":{port}")?;
        }
        match self.tracking {
            Tracking { clicks: false, opens: false } => Ok(()),
            Tracking { clicks: true, opens: false } => f.write_str("?tracking=clicks"),
            Tracking { clicks: false, opens: true } => f.write_str("?tracking=opens"),
            Tracking { clicks: true, opens: true } => f.write_str("?tracking=clicks,opens"),
        }
    }
}

/// Reads `tracking=` with one or two words.
fn tracking(query: &str) -> Option<Tracking> {
    let mut tracking = Tracking::default();
    for word in query.strip_prefix("tracking=")?.split(',') {
        match word {
            "clicks" => tracking.clicks = true,
            "opens" => tracking.opens = true,
            _ => return None,
        }
    }
    Some(tracking)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_line_and_reads_back() {
        for line in [
            "mailgun://mg.example.com@api.mailgun.net",
            "mailgun://mg.example.com@api.eu.mailgun.net",
            "mailgun+http://mg.example.com@127.0.0.1:8025",
            "mailgun://mg.example.com@api.mailgun.net?tracking=clicks",
            "mailgun+http://mg.example.com@127.0.0.1:8025?tracking=clicks,opens",
        ] {
            let account: MailgunAccount = line.parse().unwrap();
            assert_eq!(account.domain(), "mg.example.com");
            assert_eq!(account.to_string(), line);
        }
        let account: MailgunAccount = "mailgun://mg.example.com@api.mailgun.net".parse().unwrap();
        let expected = "https://api.mailgun.net/v3/mg.example.com/messages.mime";
        assert_eq!(account.resource("messages.mime").as_str(), expected);
    }

    #[test]
    fn what_cannot_be_used_says_what_to_write() {
        use InvalidMailgunAccount::{Domain, Extra, Foreign, Insecure, NotUrl, Password};
        for (line, fault) in [
            ("mailgun", NotUrl),
            ("https://mg.example.com@api.mailgun.net", NotUrl),
            ("mailgun://api.mailgun.net", Domain),
            ("mailgun://example@api.mailgun.net", Domain),
            ("mailgun://mg.example.com:key@api.mailgun.net", Password),
            ("mailgun://mg.example.com@api.mailgun.net/v3", Extra("/v3".to_owned())),
            ("mailgun://mg.example.com@api.mailgun.net?x=y", Extra("x=y".to_owned())),
            (
                "mailgun://mg.example.com@api.mailgun.net?tracking=all",
                Extra("tracking=all".to_owned()),
            ),
            ("mailgun://mg.example.com@metadata.internal", Foreign),
            ("mailgun+http://mg.example.com@api.mailgun.net", Insecure),
        ] {
            assert_eq!(line.parse::<MailgunAccount>(), Err(fault), "{line}");
        }
    }
}
