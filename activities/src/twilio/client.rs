//! Asking Twilio: one request for each text, and questions that change nothing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::account::{ServiceSid, TwilioAccount};
use crate::http::{self, Answer, Exchange, ProbeFault};
use crate::lease::{Ended, Lease};
use crate::outcome::{Detail, Outcome, Refusal, RefusalClass, twilio_answers};
use crate::phone::PhoneNumber;

/// The longest time that Twilio keeps a text it cannot send.
const VALIDITY_MAX: Duration = Duration::from_secs(36_000);

/// Texts of one answer that a look-up reads.
const PAGE: &str = "50";

/// An account, ready to be asked.
pub struct TwilioClient {
    account: TwilioAccount,
    secret: SecretString,
    http: reqwest::Client,
}

/// From whom a text comes.
#[derive(Debug, Clone, Copy)]
pub enum From<'a> {
    /// A number of ours.
    Number(&'a PhoneNumber),
    /// One of the numbers of a pool; Twilio keeps the same for the same recipient.
    Service(&'a ServiceSid),
}

/// A text to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// From whom.
    pub from: From<'a>,
    /// To whom.
    pub to: &'a PhoneNumber,
    /// What it says.
    pub body: &'a str,
    /// Where Twilio reports what becomes of it.
    pub status_callback: &'a Url,
    /// How long it may wait for the carrier before it must not leave any more.
    pub validity: Duration,
}

/// A text whose outcome nobody knows.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// From whom.
    pub from: From<'a>,
    /// To whom.
    pub to: &'a PhoneNumber,
    /// What it says.
    pub body: &'a str,
    /// It was not handed over before this, wall time.
    pub since: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Message {
    sid: String,
}

#[derive(Deserialize)]
struct Listing {
    messages: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    sid: String,
    body: Option<String>,
    date_created: Option<String>,
    direction: Option<String>,
}

#[derive(Deserialize)]
struct Fault {
    code: Option<u32>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    status: String,
}

impl TwilioClient {
    /// Makes an account ready.
    pub fn new(account: TwilioAccount, secret: SecretString) -> Self {
        Self { account, secret, http: http::client() }
    }

    /// Hands over one text, in one request, within `lease`.
    ///
    /// Only an answer that says so is an acceptance; only one that denies it, or the lack of a
    /// connection, is a refusal. Everything else leaves the outcome open.
    ///
    /// # Errors
    ///
    /// [`Ended`]: it has not left.
    pub async fn send(&self, text: &Text<'_>, lease: &Lease) -> Result<Outcome, Ended> {
        let validity = text.validity.clamp(Duration::from_secs(1), VALIDITY_MAX).as_secs();
        let validity = validity.to_string();
        let (from_name, from) = text.from.field();
        let form = [
            ("To", text.to.as_str()),
            (from_name, from),
            ("Body", text.body),
            ("StatusCallback", text.status_callback.as_str()),
            ("ValidityPeriod", &validity),
        ];
        let request = self.http.post(self.account.resource("/Messages")).form(&form);
        let exchange = http::hand_over(self.authorised(request), lease).await?;
        Ok(match exchange {
            Exchange::NotSent(detail) => {
                Outcome::Refused(Refusal::of(RefusalClass::Retry, detail.as_str()).of_sender())
            }
            Exchange::Lost(detail) => Outcome::Unknown { detail },
            Exchange::Answered(answer) => outcome(&answer),
        })
    }

    /// Looks for a text among those that Twilio took; returns Twilio's name for it.
    ///
    /// # Errors
    ///
    /// What was seen, if Twilio cannot be asked.
    pub async fn find(&self, sought: &Sought<'_>) -> Result<Option<String>, Detail> {
        // The two clocks may differ a little, and Twilio's tells whole seconds.
        let since = sought.since - TimeDelta::minutes(1);
        let mut query = vec![("To", sought.to.as_str()), ("PageSize", PAGE)];
        if let From::Number(number) = sought.from {
            query.push(("From", number.as_str()));
        }
        let request = self.http.get(self.account.resource("/Messages")).query(&query);
        let answer = self.ask(request).await?;
        let listing: Listing = serde_json::from_slice(&answer.body)
            .map_err(|_| Detail::new("the list of messages cannot be read"))?;
        let mut found = listing.messages.into_iter().filter(|message| {
            let is_ours = message.direction.as_deref().is_none_or(|way| way != "inbound");
            let created = message.date_created.as_deref();
            let created = created.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
            let is_new = created.is_none_or(|created| created >= since);
            is_ours && is_new && message.body.as_deref() == Some(sought.body)
        });
        Ok(found.next().map(|message| message.sid))
    }

    /// Asks whether the account can be used, and sends nothing.
    ///
    /// # Errors
    ///
    /// [`ProbeFault`].
    pub async fn probe(&self) -> Result<(), ProbeFault> {
        let request = self.http.get(self.account.resource(""));
        let reach = "check the address after the @, and that this machine reaches it";
        let answer = match http::exchange(self.authorised(request)).await {
            Exchange::NotSent(detail) | Exchange::Lost(detail) => {
                return Err(ProbeFault { detail, fix: reach });
            }
            Exchange::Answered(answer) => answer,
        };
        let fault = |fix| Err(ProbeFault { detail: refusal(&answer).detail, fix });
        match answer.status {
            200..=299 => match serde_json::from_slice::<Account>(&answer.body) {
                Ok(account) if account.status == "active" => Ok(()),
                Ok(account) => Err(ProbeFault {
                    detail: Detail::new(format!("the account is {}", account.status)),
                    fix: "reactivate the account in Twilio's console",
                }),
                // A key may be confined to sending.
                Err(_) => Ok(()),
            },
            401 => fault("check the account's id and its token, and set the sender up again"),
            403 => fault("let the API key read the account, or ignore this if it may only send"),
            404 => fault("check the account's id"),
            429 => Ok(()),
            _ => fault(reach),
        }
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, Detail> {
        match http::exchange(self.authorised(request)).await {
            Exchange::NotSent(detail) | Exchange::Lost(detail) => Err(detail),
            Exchange::Answered(answer) if (200..300).contains(&answer.status) => Ok(answer),
            Exchange::Answered(answer) => Err(refusal(&answer).detail),
        }
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth(self.account.user(), Some(self.secret.expose_secret()))
    }
}

impl<'a> From<'a> {
    fn field(self) -> (&'static str, &'a str) {
        match self {
            Self::Number(number) => ("From", number.as_str()),
            Self::Service(service) => ("MessagingServiceSid", service.as_str()),
        }
    }
}

fn outcome(answer: &Answer) -> Outcome {
    match answer.status {
        200..=299 => match serde_json::from_slice::<Message>(&answer.body) {
            Ok(message) if !message.sid.is_empty() => {
                let sid: String = message.sid.chars().take(64).collect();
                let detail = Detail::new(format!("queued as {sid}"));
                Outcome::Accepted { provider_id: Some(sid), detail }
            }
            Ok(_) | Err(_) => {
                let status = answer.status;
                Outcome::Unknown {
                    detail: Detail::new(format!("HTTP {status} that does not read")),
                }
            }
        },
        // Nobody says what became of the request.
        408 | 409 | 425 | 499 => answer.unclear(),
        300..=499 => Outcome::Refused(refusal(answer)),
        _ => answer.unclear(),
    }
}

fn refusal(answer: &Answer) -> Refusal {
    match serde_json::from_slice::<Fault>(&answer.body) {
        Ok(fault) => {
            let text = fault.message.unwrap_or_default();
            twilio_answers::read(answer.status, fault.code, &text, answer.retry_after)
        }
        Err(_) => twilio_answers::read(answer.status, None, &answer.text(), answer.retry_after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Outcome {
        outcome(&Answer { status, retry_after: None, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn only_an_answer_that_says_so_is_an_acceptance_or_a_refusal() {
        let accepted = read(201, r#"{"sid":"SM1","status":"queued"}"#);
        assert!(
            matches!(accepted, Outcome::Accepted { provider_id: Some(sid), .. } if sid == "SM1")
        );
        for (status, body) in [
            (200, ""),
            (201, "{}"),
            (201, r#"{"sid":""}"#),
            (500, "{}"),
            (503, ""),
            (408, ""),
            (100, ""),
        ] {
            let outcome = read(status, body);
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{status} {body}: {outcome:?}");
        }
        for (status, body, class) in [
            (400, r#"{"code":21211,"message":"invalid 'To'"}"#, RefusalClass::Recipient),
            (400, r#"{"code":21610,"message":"unsubscribed"}"#, RefusalClass::OptedOut),
            (401, r#"{"code":20003,"message":"Authenticate"}"#, RefusalClass::Account),
            (403, "<html>", RefusalClass::Account),
            (429, r#"{"code":20429}"#, RefusalClass::Retry),
            (400, "not json", RefusalClass::Content),
        ] {
            let Outcome::Refused(refusal) = read(status, body) else { panic!("{status} {body}") };
            assert_eq!(refusal.class, class, "{status} {body}");
            assert_eq!(refusal.code, Some(status));
        }
    }
}
