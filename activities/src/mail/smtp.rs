//! Handing one message to a mail server, stage by stage, so that what went wrong also says whether
//! the message can have gone out. Before the final dot it has not; after it, only the server's
//! answer tells. lettre speaks the protocol; it keeps no connections and repeats nothing here.

mod probe;
mod stop;

use std::fmt;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Ehlo, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::{Response, Severity};
use machine::ids::SendId;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout, timeout_at};

use super::account::{Security, SmtpAccount};
use super::message::wire_address;
use super::reach::Reach;
use crate::address::EmailAddress;
use crate::lease::{Ended, Lease};
use crate::outcome::smtp_replies::Stage;
use crate::outcome::{Detail, Outcome, Refusal, RefusalClass};

use stop::{Cause, Stop, done, innermost, step};

pub use probe::{ProbeFault, Probed};

/// A mail server account, ready to take messages. Made once per sender and shared: what it holds
/// (trusted roots, credentials) is slow to build.
pub struct SmtpTransport {
    account: SmtpAccount,
    credentials: Option<Credentials>,
    tls: Option<TlsParameters>,
    limits: Limits,
    reach: Reach,
}

/// How long to wait for a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Name look-up, connection, handshake on `smtps`, greeting and EHLO together.
    pub connect: Duration,
    /// Everything before the final dot. Never more than half of a call's budget.
    pub dialogue: Duration,
    /// The answer to the final dot. Giving up early is what makes duplicates (RFC 1047).
    pub reply: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            dialogue: Duration::from_secs(4 * 60),
            reply: Duration::from_secs(10 * 60),
        }
    }
}

/// What the mail server is told besides the message.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Where bounces go.
    pub from: &'a EmailAddress,
    /// The one recipient.
    pub to: &'a EmailAddress,
    /// Comes back in bounce reports, where the server knows how (`ENVID`).
    pub send: SendId,
}

/// Why an account cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupFault {
    /// The account logs in, and no password is stored.
    #[error("no password is stored for this account")]
    NoPassword,
    /// The file of `?ca=` cannot be read.
    #[error("the certificate file {} cannot be read", .path.display())]
    RootCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// This machine's certificates cannot be loaded.
    #[error("the certificates this machine trusts cannot be loaded; install ca-certificates")]
    Roots(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Debug for SmtpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpTransport").field("account", &self.account).finish_non_exhaustive()
    }
}

impl SmtpTransport {
    /// Makes an account ready: reads the root certificates and keeps the credentials.
    ///
    /// # Errors
    ///
    /// [`SetupFault`], which no repetition cures.
    pub fn new(account: SmtpAccount, password: Option<&SecretString>) -> Result<Self, SetupFault> {
        let credentials = match (account.user(), password) {
            (None, _) => None,
            (Some(_), None) => return Err(SetupFault::NoPassword),
            (Some(user), Some(password)) => {
                Some(Credentials::new(user.to_owned(), password.expose_secret().to_owned()))
            }
        };
        let tls = match account.security() {
            Security::Plain => None,
            Security::StartTls | Security::Tls => Some(tls_parameters(&account)?),
        };
        Ok(Self { account, credentials, tls, limits: Limits::default(), reach: Reach::Public })
    }

    /// The same account where other servers may be spoken to.
    #[must_use]
    pub fn within(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// The same account with other waiting times.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Hands over one message on a connection of its own, within `lease`, which is asked again when the
    /// server has said that the message may come.
    ///
    /// Every failure before the final dot is a refusal, since nothing can have been sent. After the
    /// dot a reply is believed, and everything else is [`Outcome::Unknown`]. Dropping the future
    /// leaves the outcome open, as a crash would.
    ///
    /// # Errors
    ///
    /// [`Ended`]: the message has not left.
    pub async fn send(
        &self,
        envelope: &Envelope<'_>,
        message: &[u8],
        lease: &Lease,
    ) -> Result<Outcome, Ended> {
        let (start, budget) = (Instant::now(), lease.budget());
        let deadlines = Deadlines {
            connected: start + self.limits.connect.min(budget / 2),
            dot: start + self.limits.dialogue.min(budget / 2),
            end: start + budget,
        };
        let mut line = match self.open(envelope.from, &deadlines).await {
            Ok(line) => line,
            Err(stop) => return Ok(Outcome::Refused(stop.refusal)),
        };
        let outcome = match line.announce(envelope, message, &deadlines).await {
            Ok(()) => {
                // A connection that ends before the dot has sent nothing (RFC 5321, 3.8).
                lease.check()?;
                line.hand_over(message, &deadlines, self.limits.reply).await
            }
            Err(stop) => Outcome::Refused(stop.refusal),
        };
        // Where the server has answered it waits for a command, and hears a good-bye; the outcome
        // does not wait for its answer. In the middle of a message a command would be text.
        let answered = match &outcome {
            Outcome::Accepted { .. } => true,
            Outcome::Refused(refusal) => refusal.code.is_some(),
            Outcome::Unknown { .. } => false,
        };
        if answered {
            tokio::spawn(line.quit());
        }
        Ok(outcome)
    }

    /// Connects, encrypts as the account demands, and logs in.
    async fn open(&self, from: &EmailAddress, deadlines: &Deadlines) -> Result<Line, Stop> {
        // A laptop's or a container's own name is often no domain, and some servers insist on one.
        let hello = ClientId::Domain(from.ascii_domain());
        let at = deadlines.connected;
        let server = (self.account.host(), self.account.port());
        let addresses: Vec<SocketAddr> = match timeout_at(at, tokio::net::lookup_host(server)).await
        {
            Ok(Ok(addresses)) => self.admitted(addresses)?,
            Ok(Err(error)) => return Err(Stop::local(Stage::Connect, Cause::Name, &error)),
            Err(_) => return Err(Stop::late(Stage::Connect)),
        };
        let from_the_start = match self.account.security() {
            Security::Tls => self.tls.clone(),
            Security::StartTls | Security::Plain => None,
        };
        // One dead address of several must not use up the time of the others.
        let each = (!addresses.is_empty())
            .then(|| self.limits.connect / u32::try_from(addresses.len()).unwrap_or(u32::MAX));
        let mut connection = step(
            Stage::Connect,
            at,
            AsyncSmtpConnection::connect_tokio1(&addresses[..], each, &hello, from_the_start, None),
        )
        .await?;

        let at = deadlines.dot;
        if let (Security::StartTls, Some(tls)) = (self.account.security(), &self.tls) {
            if !connection.can_starttls() {
                let detail = "the server offers no STARTTLS";
                return Err(Stop::ours(
                    Stage::Tls,
                    Cause::NoStartTls,
                    RefusalClass::Account,
                    detail,
                ));
            }
            step(Stage::Tls, at, connection.starttls(tls.clone(), &hello)).await?;
        }
        // lettre keeps only the features it uses itself; asking again is allowed at any time.
        let features = step(Stage::Connect, at, connection.command(Ehlo::new(hello))).await?;
        let features = Features::read(&features);
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            if connection.server_info().get_auth_mechanism(&mechanisms).is_none() {
                let detail = "the server offers no login with a password";
                return Err(Stop::ours(
                    Stage::Login,
                    Cause::NoLogin,
                    RefusalClass::Account,
                    detail,
                ));
            }
            step(Stage::Login, at, connection.auth(&mechanisms, credentials)).await?;
        }
        Ok(Line { connection, features })
    }

    /// Returns the addresses that may be spoken to.
    fn admitted(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Stop> {
        let mut refused = None;
        let mut admitted = Vec::new();
        for address in addresses {
            match self.reach.admits(address) {
                Ok(()) => admitted.push(address),
                Err(fault) => refused = Some(fault),
            }
        }
        match refused {
            Some(fault) if admitted.is_empty() => {
                let (class, detail) = (RefusalClass::Account, fault.to_string());
                Err(Stop::ours(Stage::Connect, Cause::OutOfReach, class, &detail))
            }
            Some(_) | None => Ok(admitted),
        }
    }
}

fn tls_parameters(account: &SmtpAccount) -> Result<TlsParameters, SetupFault> {
    let mut builder = TlsParameters::builder(account.host().to_owned());
    if let Some(path) = account.root_certificate() {
        let unreadable = |source| SetupFault::RootCertificate { path: path.to_owned(), source };
        let pem = std::fs::read(path).map_err(|error| unreadable(error.into()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| unreadable(error.into()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| SetupFault::Roots(error.into()))
}

struct Deadlines {
    connected: Instant,
    /// Until the final dot is written.
    dot: Instant,
    end: Instant,
}

/// What the server says it can do, as far as a message depends on it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Features {
    /// Bounce reports that carry an id of ours.
    dsn: bool,
    eight_bit_mime: bool,
    /// Mailbox names in other scripts.
    smtp_utf8: bool,
    size_max: Option<u64>,
}

impl Features {
    fn read(ehlo: &Response) -> Self {
        let mut features = Self::default();
        for line in ehlo.message().skip(1) {
            let mut words = line.split_whitespace();
            match words.next().map(str::to_ascii_uppercase).as_deref() {
                Some("DSN") => features.dsn = true,
                Some("8BITMIME") => features.eight_bit_mime = true,
                Some("SMTPUTF8") => features.smtp_utf8 = true,
                Some("SIZE") => {
                    let size = words.next().and_then(|it| it.parse().ok());
                    features.size_max = size.filter(|it| *it > 0);
                }
                Some(_) | None => {}
            }
        }
        features
    }
}

/// An open connection that has said who it is.
struct Line {
    connection: AsyncSmtpConnection,
    features: Features,
}

impl Line {
    /// Names sender and recipient, and asks to hand over the message.
    async fn announce(
        &mut self,
        envelope: &Envelope<'_>,
        message: &[u8],
        deadlines: &Deadlines,
    ) -> Result<(), Stop> {
        let unusable = |stage, class| {
            move |_| Stop::ours(stage, Cause::Said, class, "the address cannot be written in SMTP")
        };
        let from =
            wire_address(envelope.from).map_err(unusable(Stage::Sender, RefusalClass::Account))?;
        let to = wire_address(envelope.to)
            .map_err(unusable(Stage::Recipient, RefusalClass::Recipient))?;

        let mut parameters = Vec::new();
        let foreign = |address: &EmailAddress| !address.local_part().is_ascii();
        if foreign(envelope.from) || foreign(envelope.to) {
            if !self.features.smtp_utf8 {
                let (stage, class) = if foreign(envelope.from) {
                    (Stage::Sender, RefusalClass::Account)
                } else {
                    (Stage::Recipient, RefusalClass::SmtpUtf8)
                };
                let detail = "the server takes no mailbox names outside ASCII (SMTPUTF8)";
                return Err(Stop::ours(stage, Cause::Said, class, detail));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !message.is_ascii() && self.features.eight_bit_mime {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        if self.features.dsn {
            for (keyword, value) in
                [("RET", "HDRS".to_owned()), ("ENVID", envelope.send.to_string())]
            {
                let keyword = keyword.to_owned();
                parameters.push(MailParameter::Other { keyword, value: Some(value) });
            }
        }
        let at = deadlines.dot;
        let sender = self.connection.command(Mail::new(Some(from), parameters));
        done(Stage::Sender, &step(Stage::Sender, at, sender).await?)?;
        let recipient = self.connection.command(Rcpt::new(to, Vec::new()));
        done(Stage::Recipient, &step(Stage::Recipient, at, recipient).await?)?;
        let go_ahead = step(Stage::Data, at, self.connection.command(Data)).await?;
        if !go_ahead.has_code(354) {
            return Err(Stop::unexpected(Stage::Data, &go_ahead));
        }
        Ok(())
    }

    /// Writes the message and waits for the answer.
    async fn hand_over(
        &mut self,
        message: &[u8],
        deadlines: &Deadlines,
        reply: Duration,
    ) -> Outcome {
        // The line end before the dot is lettre's.
        let message = message.strip_suffix(b"\r\n").unwrap_or(message);
        // lettre asks for the next part when all before it are written, and writes the dot when
        // there is none: from then on the server may have the whole message.
        let dot = AtomicBool::new(false);
        let mut rest = Some(message);
        let parts = std::iter::from_fn(|| {
            let part = rest.take();
            if part.is_none() {
                dot.store(true, Ordering::Relaxed);
            }
            part
        });
        let mut writing =
            pin!(AssertUnwindSafe(self.connection.message_iter(parts)).catch_unwind());
        let first = timeout_at(deadlines.dot, &mut writing).await;
        let dot_written = dot.load(Ordering::Relaxed);
        let answer = match first {
            Ok(answer) => Ok(answer),
            Err(late) if !dot_written => Err(late),
            Err(_) => timeout_at(deadlines.end.min(Instant::now() + reply), &mut writing).await,
        };
        let lost = |seen: String| {
            if dot.load(Ordering::Relaxed) {
                Outcome::Unknown { detail: Detail::new(format!("after the message: {seen}")) }
            } else {
                let detail = format!("{}: {seen}", Stage::Data.name());
                Outcome::Refused(Refusal::of(RefusalClass::Retry, detail).of_sender())
            }
        };
        match answer {
            Ok(Ok(Ok(response))) if response.code().severity == Severity::PositiveCompletion => {
                let text = text(&response);
                Outcome::Accepted { provider_id: queue_id(&text), detail: Detail::new(text) }
            }
            Ok(Ok(Ok(response))) => lost(format!("unexpected reply {}", response.code())),
            // Read only after the dot, so it answers the message.
            Ok(Ok(Err(error))) if error.status().is_some() => {
                Outcome::Refused(Stop::of(Stage::Message, &error).refusal)
            }
            Ok(Ok(Err(error))) => lost(innermost(&error)),
            Ok(Err(_panic)) => lost("the reply could not be read".to_owned()),
            Err(_) => lost("no answer in time".to_owned()),
        }
    }

    /// Says good-bye, and waits a moment for the answer.
    async fn quit(mut self) {
        let _answer = timeout(Duration::from_secs(5), self.connection.quit()).await;
    }
}

/// All lines of a reply as one text.
fn text(response: &Response) -> String {
    response.message().collect::<Vec<_>>().join(" ")
}

/// The server's own name for the message, where it tells one as most do: `queued as 4F2A1`.
fn queue_id(text: &str) -> Option<String> {
    let said = "queued as ";
    let at = text.to_ascii_lowercase().find(said)? + said.len();
    let id = text[at..].split_whitespace().next()?.trim_matches(['<', '>', '.', ',', ';']);
    (!id.is_empty() && id.len() <= 100).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_ids_are_found() {
        assert_eq!(queue_id("2.0.0 Ok: queued as 4F2A1").as_deref(), Some("4F2A1"));
        assert_eq!(queue_id("Ok, Queued as <a.b@c>.").as_deref(), Some("a.b@c"));
        assert_eq!(queue_id("2.0.0 OK 1234 gsmtp"), None);
        assert_eq!(queue_id("queued as "), None);
    }

    #[test]
    fn a_call_and_its_wait_fit_into_the_lease() {
        let limits = Limits::default();
        let lease = Duration::from_secs(15 * 60);
        assert!(limits.connect < limits.dialogue);
        assert!(limits.dialogue + limits.reply < lease);
    }
}
