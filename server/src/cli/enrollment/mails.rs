//! `meridian enrollment mails`: what was written to a lead and what came back, in full, texts too.

use std::fmt;

use activities::enrollment_view;
use activities::received::{self, Letter, Received};
use activities::store::dossiers::{self, Sent};
use activities::store::received_mails;
use activities::store::send_views::{Became, SendView};
use activities::versions::Versions;
use chrono::{DateTime, Utc};
use machine::state::Responder;
use serde::Serialize;

use super::find;
use crate::cli::Bench;
use crate::terminal::Output;
use crate::times;

/// How many of a lead's mails are shown, the newest.
const RECEIVED_MAX: i64 = 200;

#[derive(Serialize)]
struct Mails {
    lead: String,
    zone: &'static str,
    mails: Vec<Mail>,
}

#[derive(Serialize)]
#[serde(tag = "direction", rename_all = "snake_case")]
enum Mail {
    Sent {
        at: DateTime<Utc>,
        step: String,
        subject: Option<String>,
        text: Option<String>,
        provider_id: Option<String>,
        message_id: Option<String>,
        /// What became of it, as far as anybody knows.
        outcome: Option<Became>,
    },
    /// To the lead, from a person of ours.
    Answer {
        at: DateTime<Utc>,
        subject: Option<String>,
        text: Option<String>,
    },
    /// To a person of ours.
    Team {
        at: DateTime<Utc>,
        to: String,
        subject: Option<String>,
        text: Option<String>,
    },
    Received(Received),
}

impl Mail {
    fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Sent { at, .. } | Self::Answer { at, .. } | Self::Team { at, .. } => *at,
            Self::Received(received) => received.at,
        }
    }
}

impl Mail {
    fn to_lead(sent: Sent, rows: &[SendView]) -> Self {
        let Sent { send_id, step_key, gate_at, subject, text, .. } = sent;
        let row = rows.iter().find(|row| row.send_id == send_id);
        Self::Sent {
            at: gate_at,
            step: step_key,
            subject,
            text,
            provider_id: row.and_then(|row| row.provider_id.clone()),
            message_id: row.and_then(|row| row.message_id.clone()),
            outcome: row.and_then(SendView::became),
        }
    }

    fn of_a_person(sent: Sent) -> Self {
        let Sent { gate_at, subject, text, .. } = sent;
        Self::Answer { at: gate_at, subject, text }
    }

    fn to_team(sent: Sent) -> Self {
        let Sent { step_key, gate_at, subject, text, .. } = sent;
        Self::Team { at: gate_at, to: step_key, subject, text }
    }
}

impl fmt::Display for Mails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mails.is_empty() {
            return writeln!(f, "nothing was written to {} yet", self.lead);
        }
        let zone = self.zone.parse().unwrap_or_default();
        for (index, mail) in self.mails.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let at = times::on(zone, mail.at());
            match mail {
                Mail::Sent { step, subject, text, outcome, .. } => {
                    writeln!(f, "{at}  `{step}` to {}", self.lead)?;
                    // That it was taken is said by its being here.
                    if let Some(Became { what, at }) = outcome.as_ref().filter(|it| it.is_heard()) {
                        writeln!(f, "  {} {}", what.replace('_', " "), times::on(zone, *at))?;
                    }
                    let text = text.as_deref().unwrap_or("no longer kept");
                    write_letter(f, subject.as_deref(), text)?;
                }
                Mail::Answer { subject, text, .. } => {
                    writeln!(f, "{at}  an answer of ours to {}", self.lead)?;
                    let text = text.as_deref().unwrap_or("no longer kept");
                    write_letter(f, subject.as_deref(), text)?;
                }
                Mail::Team { to, subject, text, .. } => {
                    let is_fallback = to == Responder::Fallback.as_str();
                    let to = if is_fallback { "the fallback" } else { "the team" };
                    writeln!(f, "{at}  to {to}")?;
                    let text = text.as_deref().unwrap_or("no longer kept");
                    write_letter(f, subject.as_deref(), text)?;
                }
                Mail::Received(received) => {
                    let kind = received.kind.as_deref().unwrap_or("not read yet");
                    write!(f, "{at}  {}", kind.replace('_', " "))?;
                    if let Some(step) = &received.step {
                        write!(f, " to `{step}`")?;
                    }
                    write_received(f, received)?;
                }
            }
        }
        Ok(())
    }
}

fn write_received(f: &mut fmt::Formatter<'_>, received: &Received) -> fmt::Result {
    match &received.letter {
        Letter::Read { from, subject, text, .. } => {
            write!(f, ", from {}", from.as_deref().unwrap_or("nobody"))?;
            if !received.proven {
                write!(f, " (it names no mail of ours: make sure that it is from them)")?;
            }
            writeln!(f)?;
            write_letter(f, subject.as_deref(), text)
        }
        Letter::Unreadable(why) => writeln!(f, "\n  it cannot be read: {why}"),
    }
}

/// Writes a subject, if there is one, and, moved in, a text.
pub(in crate::cli) fn write_letter(
    f: &mut fmt::Formatter<'_>,
    subject: Option<&str>,
    text: &str,
) -> fmt::Result {
    if let Some(subject) = subject {
        writeln!(f, "  {subject}\n")?;
    }
    for line in text.trim_end().lines() {
        writeln!(f, "{}", format!("    {line}").trim_end())?;
    }
    Ok(())
}

/// Prints the mails of one enrollment.
pub(super) async fn show(
    who: &str,
    campaign: Option<&str>,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who, campaign).await?;
    let (store, workspace) = (&session.store, session.workspace);
    let view = enrollment_view::read(store, &Versions::default(), workspace, id).await?;
    let ids = |kind: &str| -> Vec<_> {
        let sends = view.sends.iter().filter(|send: &&SendView| send.kind == kind);
        sends.map(|send| send.send_id).collect()
    };
    let mut tx = store.begin(workspace).await?;
    let sent = dossiers::sent(&mut tx, workspace, &ids("step")).await?;
    let answered = dossiers::sent(&mut tx, workspace, &ids("answer")).await?;
    let offered = dossiers::sent(&mut tx, workspace, &ids("handover")).await?;
    let received =
        received_mails::newest(&mut tx, workspace, &[id.uuid()], None, RECEIVED_MAX).await?;
    tx.commit().await?;
    let received = received::open(&session.keys, workspace, received).await;
    let mut mails: Vec<Mail> = sent.into_iter().map(|it| Mail::to_lead(it, &view.sends)).collect();
    mails.extend(answered.into_iter().map(Mail::of_a_person));
    mails.extend(offered.into_iter().map(Mail::to_team));
    mails.extend(received.into_iter().map(Mail::Received));
    mails.sort_by_key(Mail::at);
    let lead = view.stored.email.unwrap_or_else(|| "a lead without an address".to_owned());
    bench.terminal.show(output.format(), &Mails { lead, zone: view.zone.name(), mails })?;
    Ok(())
}
