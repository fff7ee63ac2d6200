//! Asking Mailgun: one request for each mail, and questions that change nothing. The mail goes over
//! whole, so that it is ours to the byte, its Message-ID included.

use machine::ids::SendId;
use reqwest::RequestBuilder;
use reqwest::multipart::{Form, Part};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::account::MailgunAccount;
use crate::address::EmailAddress;
use crate::http::{self, Answer, Exchange, ProbeFault};
use crate::lease::{Ended, Lease};
use crate::mail::message_id::MessageId;
use crate::outcome::{Detail, Outcome, Refusal, RefusalClass, mailgun_answers};

/// Events of one answer that a look-up reads.
const PAGE: &str = "100";

/// A sending domain, ready to be asked.
pub struct MailgunClient {
    account: MailgunAccount,
    key: SecretString,
    http: reqwest::Client,
}

/// A mail to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// Comes back in every event, with the number of the ask.
    pub send: SendId,
    /// Which ask of it.
    pub attempt: i32,
    /// The one recipient.
    pub to: &'a EmailAddress,
    /// RFC 5322.
    pub message: &'a [u8],
}

/// A mail whose outcome nobody knows.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// Which send.
    pub send: SendId,
    /// Which ask of it.
    pub attempt: i32,
    /// To whom it went.
    pub to: &'a EmailAddress,
    /// Its name.
    pub message_id: &'a MessageId,
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// It sends and reads events.
    Full,
    /// It may only send, or nobody knows: mails of unknown outcome cannot be looked up.
    SendingOnly,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    id: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Events {
    items: Vec<Value>,
}

impl MailgunClient {
    /// Makes a domain ready.
    pub fn new(account: MailgunAccount, key: SecretString) -> Self {
        Self { account, key, http: http::client() }
    }

    /// Hands over one mail, in one request, within `lease`.
    ///
    /// Only an answer that says so is an acceptance; only one that denies it, or the lack of a
    /// connection, is a refusal. A 5xx leaves the outcome open: mails have gone out behind one.
    ///
    /// # Errors
    ///
    /// [`Ended`]: it has not left.
    pub async fn send(&self, mail: &Mail<'_>, lease: &Lease) -> Result<Outcome, Ended> {
        let message = Part::bytes(mail.message.to_vec()).file_name("message.eml");
        let message = message.mime_str("message/rfc822").expect("a type that is written well");
        let tracking = self.account.tracking();
        let form = Form::new()
            .text("to", format!("{}@{}", mail.to.local_part(), mail.to.ascii_domain()))
            .text("v:send_id", mail.send.to_string())
            .text("v:attempt", mail.attempt.to_string())
            .text("o:tracking", yes_or_no(tracking.clicks || tracking.opens))
            .text("o:tracking-clicks", yes_or_no(tracking.clicks))
            .text("o:tracking-opens", yes_or_no(tracking.opens))
            .part("message", message);
        let request = self.http.post(self.account.resource("messages.mime")).multipart(form);
        let exchange = http::hand_over(self.authorised(request), lease).await?;
        Ok(match exchange {
            Exchange::NotSent(detail) => {
                Outcome::Refused(Refusal::of(RefusalClass::Retry, detail.as_str()).of_sender())
            }
            Exchange::Lost(detail) => Outcome::Unknown { detail },
            Exchange::Answered(answer) => outcome(&answer),
        })
    }

    /// Looks for a mail among the events of its recipient and its name; tells what was found.
    ///
    /// # Errors
    ///
    /// What was seen, if Mailgun cannot be asked.
    pub async fn find(&self, sought: &Sought<'_>) -> Result<Option<String>, Detail> {
        let recipient = sought.to.as_str();
        let by_name = [("message-id", sought.message_id.as_str()), ("limit", PAGE)];
        let by_recipient = [("recipient", recipient), ("limit", PAGE)];
        for query in [by_name, by_recipient] {
            let request = self.http.get(self.account.resource("events")).query(&query);
            let answer = self.ask(request).await?;
            let events: Events = serde_json::from_slice(&answer.body)
                .map_err(|_| Detail::new("the list of events cannot be read"))?;
            if let Some(event) = events.items.iter().find(|event| names(event, sought)) {
                let word = event.get("event").and_then(Value::as_str).unwrap_or("event");
                let word: String = word.chars().take(30).collect();
                return Ok(Some(format!("its provider lists it: {word}")));
            }
        }
        Ok(None)
    }

    /// Asks whether the key is taken, and sends nothing.
    ///
    /// # Errors
    ///
    /// [`ProbeFault`].
    pub async fn probe(&self) -> Result<Rights, ProbeFault> {
        let request = self.http.get(self.account.resource("events")).query(&[("limit", "1")]);
        let reach = "check the address after the @ (api.eu.mailgun.net in the European Union), and \
                     that this machine reaches it";
        let answer = match http::exchange(self.authorised(request)).await {
            Exchange::NotSent(detail) | Exchange::Lost(detail) => {
                return Err(ProbeFault { detail, fix: reach });
            }
            Exchange::Answered(answer) => answer,
        };
        let detail = refusal(&answer).detail;
        match answer.status {
            200..=299 => Ok(Rights::Full),
            // A key that may only send is refused here as well.
            403 | 429 => Ok(Rights::SendingOnly),
            401 => Err(ProbeFault {
                detail,
                fix: "check the key; one that may only send is refused here too, and then this can \
                      be ignored",
            }),
            404 => Err(ProbeFault {
                detail,
                fix: "check the domain, and its region: api.mailgun.net or api.eu.mailgun.net",
            }),
            _ => Err(ProbeFault { detail, fix: reach }),
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
        request.basic_auth("api", Some(self.key.expose_secret()))
    }
}

fn yes_or_no(asked_for: bool) -> &'static str {
    if asked_for { "yes" } else { "no" }
}

/// Whether an event is about this very ask of the send.
fn names(event: &Value, sought: &Sought<'_>) -> bool {
    let variable = |name: &str| {
        event.pointer(&format!("/user-variables/{name}")).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    variable("send_id").is_some_and(|id| id == sought.send.to_string())
        && variable("attempt").is_some_and(|attempt| attempt == sought.attempt.to_string())
}

fn outcome(answer: &Answer) -> Outcome {
    match answer.status {
        200..=299 => match serde_json::from_slice::<Said>(&answer.body) {
            Ok(said) if !said.id.is_empty() => {
                let id: String = said.id.trim_matches(['<', '>']).chars().take(200).collect();
                let detail = Detail::new(&said.message);
                Outcome::Accepted { provider_id: Some(id), detail }
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
    let said = serde_json::from_slice::<Said>(&answer.body).map(|said| said.message);
    let text = said.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| answer.text());
    mailgun_answers::read(answer.status, &text, answer.retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Outcome {
        outcome(&Answer { status, retry_after: None, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn only_an_answer_that_says_so_is_an_acceptance_or_a_refusal() {
        let accepted = read(200, r#"{"id":"<a@b.c>","message":"Queued. Thank you."}"#);
        assert!(
            matches!(accepted, Outcome::Accepted { provider_id: Some(id), .. } if id == "a@b.c")
        );
        for (status, body) in [(200, ""), (200, "{}"), (500, "{}"), (502, "<html>"), (408, "")] {
            let outcome = read(status, body);
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{status} {body}: {outcome:?}");
        }
        for (status, body, class) in [
            (400, r#"{"message":"to parameter is not a valid address"}"#, RefusalClass::Recipient),
            (401, "Forbidden", RefusalClass::Account),
            (
                429,
                r#"{"message":"limit exceeded, try again after 5 seconds"}"#,
                RefusalClass::Retry,
            ),
            (413, "", RefusalClass::Content),
        ] {
            let Outcome::Refused(refusal) = read(status, body) else { panic!("{status} {body}") };
            assert_eq!(refusal.class, class, "{status} {body}");
        }
    }

    #[test]
    fn evidence_names_the_very_ask() {
        let send = SendId::new(uuid::Uuid::from_u128(7));
        let to: EmailAddress = "ada@example.com".parse().unwrap();
        let message_id: MessageId = "x@example.com".parse().unwrap();
        let sought = Sought { send, attempt: 2, to: &to, message_id: &message_id };
        let event = |id: &str, attempt: Value| serde_json::json!({ "user-variables": { "send_id": id, "attempt": attempt } });
        let own = send.to_string();
        assert!(names(&event(&own, "2".into()), &sought));
        assert!(names(&event(&own, 2.into()), &sought));
        assert!(!names(&event(&own, "1".into()), &sought), "an earlier ask proves nothing");
        assert!(!names(&event("other", "2".into()), &sought));
        assert!(!names(&serde_json::json!({}), &sought));
    }
}
