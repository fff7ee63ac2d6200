//! Whether each sender works: what keeps it from sending, and whether its provider takes us.

use std::sync::Arc;

use activities::key_ring::KeyRing;
use activities::mail::account::SmtpAccount;
use activities::mail::reach::Reach;
use activities::mail::smtp::SmtpTransport;
use activities::mailgun::client::{MailgunClient, Rights};
use activities::senders::trouble::Breaker;
use activities::senders::{Sender, SenderStatus, Transport};
use activities::shell::word;
use activities::twilio::client::TwilioClient;
use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use machine::sequence::Channel;
use secrecy::SecretString;

use super::{Probe, Report};
use crate::times;

/// Examines one sender, at this wall time.
pub(super) async fn check(
    sender: &Sender,
    workspace: WorkspaceId,
    keys: Option<&Arc<KeyRing>>,
    reach: Reach,
    wall: DateTime<Utc>,
    probe: Probe,
    report: &mut Report,
) {
    let what = format!("sender {}", word(&sender.name));
    check_state(sender, &what, wall, report);
    if sender.postal_address.is_none() && sender.channel == Channel::Email {
        let fix = "the law of many countries wants one under every mail: --postal-address TEXT";
        report.note(&what, "has no postal address", fix);
    }
    match &sender.transport {
        Transport::Capture { .. } => return report.ok(&what, "keeps every message here"),
        Transport::Discard => return report.ok(&what, "forgets every message"),
        Transport::Smtp(_) | Transport::Mailgun(_) | Transport::Twilio(_) => {}
    }
    let Some(keys) = keys else {
        return report.fault(&what, "its password cannot be opened", "see the key above");
    };
    let password = match sender.password(workspace, keys) {
        Ok(password) => password,
        Err(error) => {
            let fix = format!(
                "run `meridian sender add {} …` with its password again",
                word(&sender.name)
            );
            return report.fault(&what, error.to_string(), fix);
        }
    };
    match (&sender.transport, password) {
        (Transport::Mailgun(_) | Transport::Twilio(_), None) => {
            let fix = format!("run `meridian sender add {} …` with its key", word(&sender.name));
            report.fault(&what, "no key is stored", fix);
        }
        _ if probe == Probe::Nobody => report.ok(&what, "set up"),
        (Transport::Smtp(account), password) => {
            check_smtp(sender, account, password.as_ref(), reach, &what, report).await;
        }
        (Transport::Mailgun(account), Some(key)) => {
            match MailgunClient::new(account.clone(), key).probe().await {
                Ok(Rights::Full) => report.ok(&what, format!("{account} takes the key")),
                Ok(Rights::SendingOnly) => report.note(
                    &what,
                    format!("{account} lets the key send, or does not say"),
                    "with a key that may read events, mails of unknown outcome are looked up",
                ),
                Err(fault) => report.fault(&what, fault.detail.as_str(), fault.fix),
            }
        }
        (Transport::Twilio(account), Some(token)) => {
            match TwilioClient::new(account.clone(), token).probe().await {
                Ok(()) => report.ok(&what, format!("{account} takes the token")),
                Err(fault) => report.fault(&what, fault.detail.as_str(), fault.fix),
            }
        }
        (Transport::Capture { .. } | Transport::Discard, _) => {}
    }
}

/// What keeps a sender from sending: a person, its account, or trouble with its provider.
fn check_state(sender: &Sender, what: &str, wall: DateTime<Utc>, report: &mut Report) {
    if sender.status == SenderStatus::Paused {
        let reason = sender.status_reason.as_deref().unwrap_or("by a person");
        let fix =
            format!("run `meridian sender resume {}` when that is mended", word(&sender.name));
        report.note(what, format!("paused ({reason})"), fix);
    }
    let Some(trouble) = &sender.trouble else { return };
    let (calls, detail) = (trouble.count, &trouble.detail);
    let fix = format!(
        "its leads wait and go on by themselves; `meridian sender resume {}` tries at once",
        word(&sender.name)
    );
    match sender.breaker(wall) {
        Breaker::Closed if calls == 1 => {
            report.note(what, format!("the last call was not answered ({detail})"), fix);
        }
        Breaker::Closed => {
            report.note(what, format!("{calls} calls in a row were not answered ({detail})"), fix);
        }
        Breaker::Open { until } => {
            let until = times::utc(until);
            let found = format!("rests until {until} after {calls} calls in vain ({detail})");
            report.fault(what, found, fix);
        }
        Breaker::HalfOpen => {
            report.note(what, format!("tries again after {calls} calls in vain ({detail})"), fix);
        }
    }
}

async fn check_smtp(
    sender: &Sender,
    account: &SmtpAccount,
    password: Option<&SecretString>,
    reach: Reach,
    what: &str,
    report: &mut Report,
) {
    let Some(from) = sender.from.mailbox() else {
        return report.fault(what, "has no mail address", "set it up again with --from ADDRESS");
    };
    let transport = match SmtpTransport::new(account.clone(), password) {
        Ok(transport) => transport,
        Err(fault) => {
            let fix = format!("set it up again: `meridian sender add {} …`", word(&sender.name));
            return report.fault(what, activities::error::chain(&fault), fix);
        }
    };
    match transport.within(reach).probe(from).await {
        Ok(probed) => {
            let how = if probed.encrypted { "encrypted" } else { "in the open" };
            let who = if probed.logged_in { ", logged in" } else { "" };
            report.ok(what, format!("{account} answers, {how}{who}"));
        }
        Err(fault) => report.fault(what, fault.detail.as_str(), fault.fix),
    }
}
