//! Where a sender's mail server is and how we speak to it, written as one address line.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

/// A mail server account, without its password.
///
/// | written | means |
/// |---|---|
/// | `smtp://user@host` | STARTTLS required, port 587 |
/// | `smtps://user@host` | TLS from the first byte, port 465 |
/// | `smtp+plain://localhost:2525` | no encryption, port 25; only to this machine |
/// | `smtp+plain://host?insecure=yes` | no encryption over the network, if you really want it |
///
/// `?ca=/path/to/ca.pem` adds a root certificate for a server of your own. A user name that is an
/// address is written as it is: `smtp://ada@example.com@mail.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SmtpAccount {
    url: Url,
    host: String,
    port: u16,
    security: Security,
    user: Option<String>,
    root_certificate: Option<PathBuf>,
}

/// How the connection is protected. There is no opportunistic choice: an attacker would make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Plain until STARTTLS, which has to succeed before anything else is said.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// None.
    Plain,
}

/// What is wrong with an account's address line, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccount {
    /// It is no URL at all.
    #[error("not an address of a mail server; write smtp://user@host:587")]
    NotUrl,
    /// The part before `://`.
    #[error("`{0}` is not a way to reach a mail server; write smtp://, smtps:// or smtp+plain://")]
    Scheme(String),
    /// The host is absent or malformed.
    #[error("the host is missing or malformed; write smtp://user@mail.example.com:587")]
    Host,
    /// Port 0.
    #[error("port 0 cannot be reached; write smtp://user@host:587")]
    Port,
    /// Something after the host that we do not know.
    #[error("`{0}` is not understood; after the host only ?ca=FILE and ?insecure=yes may stand")]
    Extra(String),
    /// A password in the line: it would be stored and shown in the open.
    #[error("leave the password out of the address; it is asked for and sealed separately")]
    Password,
    /// Plain text over a network.
    #[error(
        "smtp+plain:// sends everything in the open and is for this machine only; \
         write smtp://, or add ?insecure=yes"
    )]
    Insecure,
}

impl SmtpAccount {
    /// The server's name, in ASCII, or its IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How the connection is protected.
    pub fn security(&self) -> Security {
        self.security
    }

    /// Who logs in; None where the server asks nobody.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// A PEM file with a root certificate to trust beside those of this machine.
    pub fn root_certificate(&self) -> Option<&Path> {
        self.root_certificate.as_deref()
    }
}

impl FromStr for SmtpAccount {
    type Err = InvalidAccount;

    fn from_str(raw: &str) -> Result<Self, InvalidAccount> {
        let url = Url::parse(raw.trim()).map_err(|_| InvalidAccount::NotUrl)?;
        let (security, usual_port) = match url.scheme() {
            "smtp" => (Security::StartTls, 587),
            "smtps" => (Security::Tls, 465),
            "smtp+plain" => (Security::Plain, 25),
            other => return Err(InvalidAccount::Scheme(other.to_owned())),
        };
        if url.password().is_some() {
            return Err(InvalidAccount::Password);
        }
        let host = host(url.host_str().unwrap_or_default())?;
        let port = match url.port() {
            Some(0) => return Err(InvalidAccount::Port),
            Some(port) => port,
            None => usual_port,
        };
        if !matches!(url.path(), "" | "/") {
            return Err(InvalidAccount::Extra(url.path().to_owned()));
        }
        if let Some(fragment) = url.fragment() {
            return Err(InvalidAccount::Extra(format!("#{fragment}")));
        }
        let (mut root_certificate, mut insecure) = (None, false);
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("ca", file) if !file.is_empty() => root_certificate = Some(PathBuf::from(file)),
                ("insecure", "yes") => insecure = true,
                (key, value) => return Err(InvalidAccount::Extra(format!("{key}={value}"))),
            }
        }
        if security == Security::Plain && !insecure && !is_this_machine(&host) {
            return Err(InvalidAccount::Insecure);
        }
        let user = match url.username() {
            "" => None,
            // The query decoder is the one percent decoder at hand; a plus is itself here.
            user => {
                let escaped = format!("user={}", user.replace('+', "%2B"));
                url::form_urlencoded::parse(escaped.as_bytes())
                    .next()
                    .map(|(_, it)| it.into_owned())
            }
        };
        Ok(Self { host, port, security, user, root_certificate, url })
    }
}

fn host(written: &str) -> Result<String, InvalidAccount> {
    let bare = written.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(written);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    // In a scheme the URL standard does not know, other scripts arrive percent-encoded.
    let encoded = format!("host={written}");
    let decoded = url::form_urlencoded::parse(encoded.as_bytes()).next();
    let decoded = decoded.map(|(_, it)| it.into_owned()).unwrap_or_default();
    idna::domain_to_ascii_strict(&decoded).map_err(|_| InvalidAccount::Host)
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for SmtpAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

impl TryFrom<String> for SmtpAccount {
    type Error = InvalidAccount;

    fn try_from(raw: String) -> Result<Self, InvalidAccount> {
        raw.parse()
    }
}

impl From<SmtpAccount> for String {
    fn from(account: SmtpAccount) -> Self {
        account.url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<SmtpAccount, InvalidAccount> {
        raw.parse()
    }

    #[test]
    fn the_usual_lines_are_read() {
        for (raw, host, port, security, user) in [
            (
                "smtp://ada@mail.example.com",
                "mail.example.com",
                587,
                Security::StartTls,
                Some("ada"),
            ),
            ("smtp://mail.example.com:2587", "mail.example.com", 2587, Security::StartTls, None),
            ("smtps://ada@mail.example.com", "mail.example.com", 465, Security::Tls, Some("ada")),
            (
                "smtp://ada+x@example.com@h.example.com",
                "h.example.com",
                587,
                Security::StartTls,
                Some("ada+x@example.com"),
            ),
            (
                "smtp://ada%40example.com@h.example.com/",
                "h.example.com",
                587,
                Security::StartTls,
                Some("ada@example.com"),
            ),
            ("smtp+plain://127.0.0.1:2525", "127.0.0.1", 2525, Security::Plain, None),
            ("smtp+plain://localhost", "localhost", 25, Security::Plain, None),
            ("smtp+plain://[::1]:2525", "::1", 2525, Security::Plain, None),
            ("smtp+plain://relay.lan?insecure=yes", "relay.lan", 25, Security::Plain, None),
            ("smtps://mail.bücher.de", "mail.xn--bcher-kva.de", 465, Security::Tls, None),
        ] {
            let account = parse(raw).unwrap();
            assert_eq!(
                (account.host(), account.port(), account.security(), account.user()),
                (host, port, security, user),
                "{raw}"
            );
            assert_eq!(parse(&account.to_string()).unwrap(), account);
        }
        let account = parse("smtp://h.example.com?ca=/etc/own%20ca.pem").unwrap();
        assert_eq!(account.root_certificate(), Some(Path::new("/etc/own ca.pem")));
    }

    #[test]
    fn what_is_wrong_is_told_with_a_fix() {
        use InvalidAccount::{Extra, Host, Insecure, NotUrl, Password, Port, Scheme};
        for (raw, fault) in [
            ("mail.example.com", NotUrl),
            ("mail.example.com:587", Scheme("mail.example.com".to_owned())),
            ("http://mail.example.com", Scheme("http".to_owned())),
            ("smtp://", Host),
            ("smtp://ada@", NotUrl),
            ("smtp://a b.example.com", NotUrl),
            ("smtp://h.example.com:0", Port),
            ("smtp://ada:secret@h.example.com", Password),
            ("smtp://h.example.com/inbox", Extra("/inbox".to_owned())),
            ("smtp://h.example.com?tls=off", Extra("tls=off".to_owned())),
            ("smtp+plain://relay.lan", Insecure),
            ("smtp+plain://10.0.0.1:25", Insecure),
            ("smtp+plain://127.0.0.1.example.com", Insecure),
        ] {
            assert_eq!(parse(raw), Err(fault), "{raw}");
        }
    }
}
