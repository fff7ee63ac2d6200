//! Trying an account without sending anything, for `doctor`: what works, or what to do about it.

use std::time::Duration;

use lettre::transport::smtp::commands::Mail;
use tokio::time::Instant;

use super::stop::{Cause, Stop, done, step};
use super::{Deadlines, SmtpTransport};
use crate::address::EmailAddress;
use crate::mail::account::Security;
use crate::mail::message::wire_address;
use crate::mail::reach;
use crate::outcome::smtp_replies::Stage;
use crate::outcome::{Detail, RefusalClass};

/// What an account can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Whether the connection was encrypted.
    pub encrypted: bool,
    /// Whether the server asked who we are, and believed it.
    pub logged_in: bool,
    /// Whether bounce reports will carry our id.
    pub reports_bounces_by_id: bool,
    /// The largest message it takes, in bytes, if it says so.
    pub size_max: Option<u64>,
}

/// What is wrong with an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}; {fix}")]
pub struct ProbeFault {
    /// Where it went wrong.
    pub stage: Stage,
    /// What was seen.
    pub detail: Detail,
    /// What to do.
    pub fix: String,
}

impl SmtpTransport {
    /// Connects, encrypts, logs in, asks whether `from` may send, and says good-bye: within a
    /// minute, and without naming a recipient.
    ///
    /// # Errors
    ///
    /// [`ProbeFault`], with what to do about it.
    pub async fn probe(&self, from: &EmailAddress) -> Result<Probed, ProbeFault> {
        let start = Instant::now();
        let end = start + Duration::from_secs(60).min(self.limits.dialogue);
        let connected = end.min(start + self.limits.connect);
        let deadlines = Deadlines { connected, dot: end, end };
        self.try_out(from, &deadlines).await.map_err(|stop| ProbeFault {
            stage: stop.stage,
            fix: self.fix(&stop),
            detail: stop.refusal.detail,
        })
    }

    async fn try_out(&self, from: &EmailAddress, deadlines: &Deadlines) -> Result<Probed, Stop> {
        let mut line = self.open(from, deadlines).await?;
        let sender = wire_address(from).map_err(|_| {
            let detail = "the address cannot be written in SMTP";
            Stop::ours(Stage::Sender, Cause::Said, RefusalClass::Account, detail)
        })?;
        let mail = line.connection.command(Mail::new(Some(sender), Vec::new()));
        let reply = step(Stage::Sender, deadlines.dot, mail).await;
        let asked = reply.and_then(|reply| done(Stage::Sender, &reply));
        let probed = Probed {
            encrypted: line.connection.is_encrypted(),
            logged_in: self.credentials.is_some(),
            reports_bounces_by_id: line.features.dsn,
            size_max: line.features.size_max,
        };
        line.quit().await;
        asked.map(|()| probed)
    }

    fn fix(&self, stop: &Stop) -> String {
        let (host, port) = (self.account.host(), self.account.port());
        let advice = match (stop.cause, stop.stage) {
            (Cause::Name, _) => return format!("check the host name `{host}`"),
            (Cause::OutOfReach, _) => reach::FIX,
            (Cause::NobodyThere, _) => {
                return format!(
                    "nothing listens on {host}:{port}: check the port (smtp:// usually 587, smtps:// 465)"
                );
            }
            (Cause::Late | Cause::Broken, Stage::Connect) => {
                return match self.account.security() {
                    Security::Tls => format!(
                        "check that {host}:{port} is reachable from here; many networks block mail ports"
                    ),
                    Security::StartTls | Security::Plain => format!(
                        "check that {host}:{port} is reachable from here (many networks block mail ports), \
                         and write smtps:// if the port expects TLS from the start, as 465 does"
                    ),
                };
            }
            (Cause::Late | Cause::Broken, _) => {
                "try again; if it stays so, ask the server's operator"
            }
            (Cause::NotTls, _) => match self.account.security() {
                Security::Tls => {
                    "the port does not speak TLS from the start: write smtp:// (port 587)"
                }
                Security::StartTls | Security::Plain => {
                    "ask the server's operator to repair its TLS"
                }
            },
            (Cause::UnknownIssuer, _) => {
                "add ?ca=FILE with the certificate of the server's authority, or install ca-certificates"
            }
            (Cause::WrongName, _) => "write the host name that stands in the server's certificate",
            (Cause::Expired, _) => "renew the server's certificate, and check this machine's clock",
            (Cause::NoStartTls, _) => {
                "write smtps:// (port 465), or smtp+plain:// for a server on this machine"
            }
            (Cause::NoLogin, _) => "leave the user out of the account, or use an encrypted port",
            (Cause::Said, stage) => match stop.refusal.class {
                RefusalClass::Retry => "the server asks to try again later",
                RefusalClass::Recipient
                | RefusalClass::Content
                | RefusalClass::Account
                | RefusalClass::OptedOut
                | RefusalClass::SmtpUtf8 => said_at(stage),
            },
        };
        advice.to_owned()
    }
}

fn said_at(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "the server refuses this machine: ask its operator, or use a relay",
        Stage::Tls => "ask the server's operator to repair its TLS",
        Stage::Login => {
            "check user name and password; accounts with two-step login need an app password"
        }
        Stage::Sender => {
            "log in with an account that may send as this address, or allow the address at the server"
        }
        Stage::Recipient | Stage::Data | Stage::Message => "read what the server says",
    }
}
