//! Why a dialogue ended before the message was handed over: where, and what was seen there.

use std::error::Error as _;
use std::io;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::response::{Response, Severity};
use tokio::time::{Instant, timeout_at};

use crate::outcome::smtp_replies::{self, Stage};
use crate::outcome::{Refusal, RefusalClass};

/// The end of a dialogue in which nothing was sent.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) stage: Stage,
    pub(super) cause: Cause,
    pub(super) refusal: Refusal,
}

/// What was seen, as far as a person can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The host's name is not known.
    Name,
    /// The host may not be spoken to.
    OutOfReach,
    /// Nobody listens.
    NobodyThere,
    /// No answer in time.
    Late,
    /// The connection broke off, or spoke no SMTP.
    Broken,
    /// The other side spoke no TLS.
    NotTls,
    /// Nobody we trust has signed the certificate.
    UnknownIssuer,
    /// The certificate is for another name.
    WrongName,
    /// The certificate is not valid now.
    Expired,
    NoStartTls,
    NoLogin,
    /// A reply, or a rule of our own: the detail tells.
    Said,
}

impl Stop {
    /// A failure that lettre reports: a reply with a code, or the lack of one.
    pub(super) fn of(stage: Stage, error: &Error) -> Self {
        if let Some(code) = error.status() {
            let text = error.source().map(ToString::to_string).unwrap_or_default();
            let refusal = smtp_replies::read(stage, code.into(), &text);
            return Self { stage, cause: Cause::Said, refusal };
        }
        let cause = cause(error);
        // With `smtps` the handshake is part of connecting.
        let stage = match cause {
            Cause::NotTls | Cause::UnknownIssuer | Cause::WrongName | Cause::Expired => Stage::Tls,
            Cause::Name
            | Cause::OutOfReach
            | Cause::NobodyThere
            | Cause::Late
            | Cause::Broken
            | Cause::NoStartTls
            | Cause::NoLogin
            | Cause::Said => stage,
        };
        Self::ours(stage, cause, RefusalClass::Retry, &innermost(error))
    }

    pub(super) fn local(stage: Stage, cause: Cause, error: &io::Error) -> Self {
        Self::ours(stage, cause, RefusalClass::Retry, &error.to_string())
    }

    pub(super) fn late(stage: Stage) -> Self {
        Self::ours(stage, Cause::Late, RefusalClass::Retry, "no answer in time")
    }

    pub(super) fn unexpected(stage: Stage, response: &Response) -> Self {
        let detail = format!("unexpected reply {}", response.code());
        Self::ours(stage, Cause::Said, RefusalClass::Retry, &detail)
    }

    /// A refusal in our own words: what went wrong with the server itself is nobody's message.
    pub(super) fn ours(stage: Stage, cause: Cause, class: RefusalClass, detail: &str) -> Self {
        let refusal = Refusal::of(class, format!("{}: {detail}", stage.name()));
        let refusal = match class {
            RefusalClass::Retry | RefusalClass::Account => refusal.of_sender(),
            RefusalClass::Recipient
            | RefusalClass::Content
            | RefusalClass::OptedOut
            | RefusalClass::SmtpUtf8 => refusal,
        };
        Self { stage, cause, refusal }
    }
}

/// What was seen in the end: each layer above only repeats it.
pub(super) fn innermost(error: &Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn cause(error: &Error) -> Cause {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return tls_cause(tls);
        }
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            if let Some(tls) = io.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>()) {
                return tls_cause(tls);
            }
            return match io.kind() {
                io::ErrorKind::ConnectionRefused => Cause::NobodyThere,
                io::ErrorKind::TimedOut => Cause::Late,
                _ => Cause::Broken,
            };
        }
        source = inner.source();
    }
    Cause::Broken
}

fn tls_cause(error: &rustls::Error) -> Cause {
    use rustls::CertificateError;
    match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Cause::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Cause::Expired,
            _ => Cause::UnknownIssuer,
        },
        _ => Cause::NotTls,
    }
}

/// Awaits one stage of the dialogue until `deadline`.
///
/// lettre panics on some replies no sane server gives (an EHLO line of blanks). A hostile one must
/// not take the worker down, nor leave a send without an answer.
pub(super) async fn step<T>(
    stage: Stage,
    deadline: Instant,
    doing: impl Future<Output = Result<T, Error>>,
) -> Result<T, Stop> {
    match timeout_at(deadline, AssertUnwindSafe(doing).catch_unwind()).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(error))) => Err(Stop::of(stage, &error)),
        Ok(Err(_panic)) => {
            let detail = "the reply could not be read";
            Err(Stop::ours(stage, Cause::Broken, RefusalClass::Retry, detail))
        }
        Err(_) => Err(Stop::late(stage)),
    }
}

/// Takes a reply that has to mean "done", not "go on".
pub(super) fn done(stage: Stage, response: &Response) -> Result<(), Stop> {
    match response.code().severity {
        Severity::PositiveCompletion => Ok(()),
        Severity::PositiveIntermediate
        | Severity::TransientNegativeCompletion
        | Severity::PermanentNegativeCompletion => Err(Stop::unexpected(stage, response)),
    }
}
