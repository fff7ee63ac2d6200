//! SWEEP: calls whose outcome nobody knows. Evidence makes them accepted: what a provider has reported,
//! or what it answers when it is asked, some times and not at once. Where there is none a person must
//! look. No program calls the provider again to send them.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use machine::ids::{EnrollmentId, SendId, SenderId, WorkspaceId};
use uuid::Uuid;

use super::record::{Known, Recorded, record};
use crate::address::EmailAddress;
use crate::changes::News;
use crate::error::Result;
use crate::mail::message_id::MessageId;
use crate::mailgun::client::Sought as SoughtMail;
use crate::mailroom::{Mailroom, Outlet};
use crate::origin::Origin;
use crate::outcome::Detail;
use crate::phone::PhoneNumber;
use crate::senders::{Sender, Transport};
use crate::store::records::{self, Lost, Sought};
use crate::store::{captures, clock, inbound_events, senders, sends};
use crate::turn::{RUNNER_SILENCE, Turned};
use crate::twilio::client::{From, Sought as SoughtText};

/// When Mailgun is asked for a mail, after it was given up: its list of events is not complete at once.
const MAILGUN_LOOKS: &[TimeDelta] =
    &[TimeDelta::minutes(5), TimeDelta::minutes(30), TimeDelta::minutes(120)];

/// When Twilio is asked for a text, after it was given up: mostly its report has come long before.
const TWILIO_LOOKS: &[TimeDelta] = &[TimeDelta::minutes(2), TimeDelta::minutes(10)];

/// Looks for evidence about `sends`, whose lease is over or whose runner is silent.
///
/// Returns `None` when none of them is settled by it.
///
/// # Errors
///
/// When the database fails. The call may be repeated.
pub async fn sweep(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    sends: &[SendId],
) -> Result<Option<Turned>> {
    let ids: Vec<Uuid> = sends.iter().map(|send| send.uuid()).collect();
    let mut tx = mailroom.store.begin_batch(workspace).await?;
    // In the order in which turns lock them.
    sends::lock(&mut tx, workspace, &ids).await?;
    let clocks = clock::read(&mut tx).await?;
    let silent_since = clocks.wall - RUNNER_SILENCE;
    let own = mailroom.runner;
    let (given_up, lost) =
        records::give_up(&mut tx, workspace, &ids, clocks.wall, silent_since, own).await?;
    if !given_up.is_empty() {
        tx.tell(News::Sends { state: "unknown".to_owned(), sends: given_up });
    }
    tx.commit().await?;
    if lost.is_empty() {
        return Ok(None);
    }
    let (senders, found) = evidence(mailroom, workspace, &lost).await?;
    let mut recorded = Vec::with_capacity(lost.len());
    let mut waiting = Waiting::default();
    let mut in_vain = HashMap::new();
    for lost in lost {
        let what = match found.get(&lost.send_id) {
            Some(detail) => Known::Found((*detail).to_owned()),
            None => {
                let sender = lost.sender_id.and_then(|id| senders.get(&id));
                let (wall, in_vain) = (clocks.wall, &mut in_vain);
                match look(mailroom, workspace, &lost, sender, wall, in_vain).await? {
                    Looked::Settled(known) => known,
                    Looked::Wait { looks, settle_at } => {
                        waiting.push(&lost, looks, settle_at);
                        continue;
                    }
                    Looked::TooEarly => continue,
                }
            }
        };
        recorded.push(Recorded {
            send: SendId::new(lost.send_id),
            attempt: lost.attempt,
            enrollment: EnrollmentId::new(lost.enrollment_id),
            what,
        });
    }
    let mut tx = mailroom.store.begin(workspace).await?;
    let Waiting { sends, looks, settle_ats } = &waiting;
    records::look_again(&mut tx, workspace, sends, looks, settle_ats).await?;
    tx.commit().await?;
    if recorded.is_empty() {
        return Ok(None);
    }
    for it in &recorded {
        let state = if matches!(it.what, Known::Found(_)) { "accepted" } else { "needs_review" };
        tracing::warn!(send.id = %it.send, enrollment.id = %it.enrollment, state, "lost call swept");
    }
    record(mailroom, workspace, &recorded).await.map(Some)
}

/// Sends that are looked for again, column by column.
#[derive(Default)]
struct Waiting {
    sends: Vec<Uuid>,
    looks: Vec<i16>,
    settle_ats: Vec<DateTime<Utc>>,
}

impl Waiting {
    fn push(&mut self, lost: &Lost, looks: i16, settle_at: DateTime<Utc>) {
        self.sends.push(lost.send_id);
        self.looks.push(looks);
        self.settle_ats.push(settle_at);
    }
}

type Evidence = (HashMap<Uuid, Sender>, HashMap<Uuid, &'static str>);

/// Gathers what is here already: what the capture sender keeps, and what providers have reported. A
/// report about an earlier ask proves nothing about this one.
async fn evidence(mailroom: &Mailroom, workspace: WorkspaceId, lost: &[Lost]) -> Result<Evidence> {
    let mut tx = mailroom.store.begin(workspace).await?;
    let mut ids: Vec<SenderId> =
        lost.iter().filter_map(|lost| lost.sender_id.map(SenderId::new)).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows = senders::by_ids(&mut tx, workspace, &ids).await?;
    let senders: HashMap<Uuid, Sender> =
        rows.into_iter().filter_map(|row| Some((row.sender_id, Sender::readable(row)?))).collect();
    let captures = |lost: &&Lost| {
        let sender = lost.sender_id.and_then(|id| senders.get(&id));
        sender.is_some_and(|it| matches!(it.transport, Transport::Capture { .. }))
    };
    let kept = lost.iter().filter(captures);
    let (sends, attempts): (Vec<Uuid>, Vec<i32>) = kept.map(|it| (it.send_id, it.attempt)).unzip();
    let captured = captures::kept(&mut tx, workspace, &sends, &attempts).await?;
    let (sends, attempts): (Vec<Uuid>, Vec<i32>) =
        lost.iter().map(|it| (it.send_id, it.attempt)).unzip();
    let reported = inbound_events::evidence(&mut tx, workspace, &sends, &attempts).await?;
    tx.commit().await?;
    let captured = captured.into_iter().map(|send| (send, "the capture sender has it"));
    let reported =
        reported.into_iter().map(|send| (send.uuid(), "its provider has reported about it"));
    Ok((senders, captured.chain(reported).collect()))
}

/// What looking for a lost message came to.
enum Looked {
    Settled(Known),
    Wait { looks: i16, settle_at: DateTime<Utc> },
    TooEarly,
}

/// Asks the provider of a lost message for it, if it can be asked and its time has come. `in_vain` are
/// the senders whose providers could not be asked this time: none is waited for twice.
async fn look(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    lost: &Lost,
    sender: Option<&Sender>,
    wall: DateTime<Utc>,
    in_vain: &mut HashMap<SenderId, Detail>,
) -> Result<Looked> {
    let not_found = |why: &str| Looked::Settled(Known::NotFound(why.to_owned()));
    let cannot = "the call was lost; its provider cannot be asked whether it arrived";
    let Some(sender) = sender else { return Ok(not_found(cannot)) };
    let times = looks_of(&sender.transport);
    let done = usize::try_from(lost.looks).unwrap_or_default();
    let Some(time) = times.get(done) else { return Ok(not_found(cannot)) };
    let Some(settle_at) = lost.settle_at else {
        return Ok(Looked::Wait { looks: lost.looks, settle_at: wall + *time });
    };
    if settle_at > wall {
        return Ok(Looked::TooEarly);
    }
    let asked = match in_vain.get(&sender.id) {
        Some(detail) => Err(detail.clone()),
        None => ask(mailroom, workspace, lost, sender).await?,
    };
    let why = match asked {
        Ok(Some(found)) => return Ok(Looked::Settled(Known::Found(found))),
        Ok(None) => "the call was lost; its provider does not know the message".to_owned(),
        Err(detail) => {
            let why = format!("the call was lost; its provider cannot be asked: {detail}");
            in_vain.insert(sender.id, detail);
            why
        }
    };
    Ok(match times.get(done + 1) {
        Some(next) => {
            let settle_at = settle_at + (*next - *time);
            Looked::Wait { looks: lost.looks + 1, settle_at: settle_at.max(wall) }
        }
        None => not_found(&why),
    })
}

fn looks_of(transport: &Transport) -> &'static [TimeDelta] {
    match transport {
        Transport::Mailgun(_) => MAILGUN_LOOKS,
        Transport::Twilio(_) => TWILIO_LOOKS,
        Transport::Smtp(_) | Transport::Capture { .. } | Transport::Discard => &[],
    }
}

/// Asks the provider. The inner error is what was seen if it cannot be asked.
async fn ask(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    lost: &Lost,
    sender: &Sender,
) -> Result<std::result::Result<Option<String>, Detail>> {
    let mut tx = mailroom.store.begin(workspace).await?;
    let sought = records::sought(&mut tx, workspace, &[lost.send_id]).await?;
    tx.commit().await?;
    let Some(sought) = sought.into_iter().next() else { return Ok(Ok(None)) };
    let outlet = match mailroom.outlet(workspace, sender) {
        Ok(outlet) => outlet,
        Err(why) => return Ok(Err(Detail::new(why))),
    };
    let erased = || Detail::new("its address was erased");
    Ok(match &outlet {
        Outlet::Mailgun(client) => match mail(&sought) {
            Some((to, message_id)) => {
                let (send, attempt) = (SendId::new(lost.send_id), lost.attempt);
                let (to, message_id) = (&to, &message_id);
                client.find(&SoughtMail { send, attempt, to, message_id }).await
            }
            None => Err(erased()),
        },
        Outlet::Twilio(client) => match text(&sought, sender, outlet.lease()) {
            Some((to, from, since)) => {
                let body = sought.text.as_deref().unwrap_or_default();
                let sought = SoughtText { from, to: &to, body, since };
                let found = client.find(&sought).await;
                found.map(|sid| sid.map(|sid| format!("its provider lists it as {sid}")))
            }
            None => Err(erased()),
        },
        Outlet::Smtp(_) | Outlet::Capture | Outlet::Discard => Ok(None),
    })
}

fn mail(sought: &Sought) -> Option<(EmailAddress, MessageId)> {
    let to = sought.address.as_deref()?.parse().ok()?;
    let message_id = sought.message_id.as_deref()?.parse().ok()?;
    Some((to, message_id))
}

fn text<'a>(
    sought: &Sought,
    sender: &'a Sender,
    lease: TimeDelta,
) -> Option<(PhoneNumber, From<'a>, DateTime<Utc>)> {
    let to = sought.address.as_deref()?.parse().ok()?;
    let from = match &sender.from {
        Origin::Number(number) => From::Number(number),
        Origin::Service(service) => From::Service(service),
        Origin::Mailbox(_) => return None,
    };
    Some((to, from, sought.lease_until? - lease))
}
