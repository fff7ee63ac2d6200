//! How a sender's messages leave, as one address line. The line never carries a password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use machine::sequence::Channel;
use secrecy::SecretString;
use url::Url;

use crate::mail::account::{InvalidAccount, SmtpAccount};
use crate::mailgun::account::{InvalidMailgunAccount, MailgunAccount};
use crate::origin::Origin;
use crate::twilio::account::{InvalidTwilioAccount, TwilioAccount};

/// How messages leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// They do not: they are kept and can be read. A script may play the recipients.
    Capture {
        /// The file of the script, as an absolute path.
        script: Option<PathBuf>,
    },
    /// Through a mail server.
    Smtp(SmtpAccount),
    /// Mails, through Mailgun's HTTP interface.
    Mailgun(MailgunAccount),
    /// Texts, through Twilio.
    Twilio(TwilioAccount),
    /// They are accepted and forgotten: for measuring, never for people.
    Discard,
}

/// What is wrong with a sender's URL, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransport {
    /// The account of a mail server.
    #[error(transparent)]
    Account(#[from] InvalidAccount),
    /// A domain at Mailgun.
    #[error(transparent)]
    Mailgun(#[from] InvalidMailgunAccount),
    /// An account at Twilio.
    #[error(transparent)]
    Twilio(#[from] InvalidTwilioAccount),
    /// A script is named by a path that depends on where the program was started.
    #[error("`{0}` is not an absolute path; write capture:/path/to/script.yaml")]
    RelativeScript(String),
}

/// A sender's URL and its address belong to different channels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Mails come from addresses.
    #[error("{0} sends mails: give the address they come from, as in --from ada@example.com")]
    Mail(String),
    /// Texts come from numbers.
    #[error(
        "{0} sends texts: give the number they come from, as in --from +351912345678, or the id of a \
         messaging service"
    )]
    Text(String),
}

impl Transport {
    /// Returns the channel that is served if its messages come from `from`.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] if they cannot.
    pub fn channel(&self, from: &Origin) -> Result<Channel, Mismatch> {
        match (self, from.channel()) {
            (Self::Capture { .. } | Self::Discard, channel) => Ok(channel),
            (Self::Smtp(_) | Self::Mailgun(_), Channel::Email) => Ok(Channel::Email),
            (Self::Twilio(_), Channel::Sms) => Ok(Channel::Sms),
            (Self::Smtp(_) | Self::Mailgun(_), Channel::Sms | Channel::Call) => {
                Err(Mismatch::Mail(self.to_string()))
            }
            (Self::Twilio(_), Channel::Email | Channel::Call) => {
                Err(Mismatch::Text(self.to_string()))
            }
        }
    }

    /// Returns the script that plays the recipients, if there is one.
    pub fn script(&self) -> Option<&Path> {
        match self {
            Self::Capture { script } => script.as_deref(),
            Self::Smtp(_) | Self::Mailgun(_) | Self::Twilio(_) | Self::Discard => None,
        }
    }

    /// Whether what is sent leaves this machine.
    pub fn leaves(&self) -> bool {
        match self {
            Self::Capture { .. } | Self::Discard => false,
            Self::Smtp(_) | Self::Mailgun(_) | Self::Twilio(_) => true,
        }
    }

    /// Whether it logs in somewhere, and so needs a password.
    pub fn needs_password(&self) -> bool {
        match self {
            Self::Capture { .. } | Self::Discard => false,
            Self::Smtp(account) => account.user().is_some(),
            Self::Mailgun(_) | Self::Twilio(_) => true,
        }
    }
}

impl FromStr for Transport {
    type Err = InvalidTransport;

    fn from_str(raw: &str) -> Result<Self, InvalidTransport> {
        if raw.trim() == "discard:" {
            return Ok(Self::Discard);
        }
        let Some(script) = raw.trim().strip_prefix("capture:") else {
            let scheme = raw.trim().split(':').next().unwrap_or_default();
            return Ok(match scheme {
                "twilio" | "twilio+http" => Self::Twilio(raw.parse()?),
                "mailgun" | "mailgun+http" => Self::Mailgun(raw.parse()?),
                _ => Self::Smtp(raw.parse()?),
            });
        };
        match Path::new(script) {
            path if script.is_empty() || path == Path::new("//") => {
                Ok(Self::Capture { script: None })
            }
            path if path.is_absolute() => Ok(Self::Capture { script: Some(path.to_owned()) }),
            _ => Err(InvalidTransport::RelativeScript(script.to_owned())),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capture { script: None } => f.write_str("capture:"),
            Self::Capture { script: Some(path) } => write!(f, "capture:{}", path.display()),
            Self::Smtp(account) => account.fmt(f),
            Self::Mailgun(account) => account.fmt(f),
            Self::Twilio(account) => account.fmt(f),
            Self::Discard => f.write_str("discard:"),
        }
    }
}

/// Takes the password out of a URL that people pasted whole.
pub fn split_password(raw: &str) -> (String, Option<SecretString>) {
    let Ok(mut url) = Url::parse(raw.trim()) else { return (raw.to_owned(), None) };
    let Some(password) = url.password().map(percent_decoded) else { return (raw.to_owned(), None) };
    match url.set_password(None) {
        Ok(()) => (url.to_string(), Some(password)),
        Err(()) => (raw.to_owned(), None),
    }
}

fn percent_decoded(text: &str) -> SecretString {
    // The query decoder reads a plus as a blank; here it is itself.
    let escaped = format!("it={}", text.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(escaped.as_bytes()).next();
    decoded.map(|(_, it)| it.into_owned()).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_pasted_password_never_stays_in_the_url() {
        let (url, password) = split_password("smtp://ada:p%40ss+1@mail.example.com:587");
        assert_eq!(url, "smtp://ada@mail.example.com:587");
        assert_eq!(password.unwrap().expose_secret(), "p@ss+1");
        let transport: Transport = url.parse().unwrap();
        assert_eq!(transport.to_string(), url);
        assert!(transport.needs_password());
        for plain in ["smtp://ada@mail.example.com", "capture:", "nonsense"] {
            assert!(split_password(plain).1.is_none(), "{plain}");
        }
    }

    #[test]
    fn a_channel_follows_from_url_and_address() {
        let sid = "AC0123456789abcdef0123456789abcdef";
        let twilio: Transport = format!("twilio://{sid}@api.twilio.com").parse().unwrap();
        let mailgun: Transport = "mailgun://mg.example.com@api.mailgun.net".parse().unwrap();
        let capture: Transport = "capture:".parse().unwrap();
        let (mailbox, number): (Origin, Origin) =
            ("ada@example.com".parse().unwrap(), "+15550100".parse().unwrap());
        assert_eq!(twilio.channel(&number), Ok(Channel::Sms));
        assert_eq!(mailgun.channel(&mailbox), Ok(Channel::Email));
        assert_eq!(capture.channel(&mailbox), Ok(Channel::Email));
        assert_eq!(capture.channel(&number), Ok(Channel::Sms));
        assert!(matches!(twilio.channel(&mailbox), Err(Mismatch::Text(_))));
        assert!(matches!(mailgun.channel(&number), Err(Mismatch::Mail(_))));
        let (url, token) = split_password(&format!("twilio://{sid}:to%40ken@api.twilio.com"));
        assert_eq!(url.parse(), Ok(twilio));
        assert_eq!(token.unwrap().expose_secret(), "to@ken");
    }

    #[test]
    fn a_capture_sender_may_name_a_script() {
        assert_eq!("capture:".parse(), Ok(Transport::Capture { script: None }));
        let played: Transport = "capture:/srv/recipients.yaml".parse().unwrap();
        assert_eq!(played.script(), Some(Path::new("/srv/recipients.yaml")));
        assert_eq!(played.to_string().parse(), Ok(played));
        let refused = "capture:recipients.yaml".parse::<Transport>();
        assert!(matches!(refused, Err(InvalidTransport::RelativeScript(_))));
    }
}
