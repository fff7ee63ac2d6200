//! RECORD: outcomes enter the ledger, and the machine is told in the same transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::TimeDelta;
use machine::effect::EffectId;
use machine::ids::{EnrollmentId, SendId, WorkspaceId};
use machine::signal::{Answer, Missing, Refusal as Class, Signal};
use uuid::Uuid;

use crate::changes::News;
use crate::error::Result;
use crate::ingest::{self, NewEvent};
use crate::mailroom::Mailroom;
use crate::outcome::{Outcome, RefusalClass};
use crate::store::quotas::Released;
use crate::store::records::{self, Outcomes};
use crate::store::{Tx, bell, clock, enrollments};
use crate::turn::{self, Taken, Told, Turned};

/// One outcome to be recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Which send.
    pub send: SendId,
    /// Which ask of it.
    pub attempt: i32,
    /// Whose.
    pub enrollment: EnrollmentId,
    /// What is known.
    pub what: Known,
}

/// What is known about a send.
#[derive(Debug, Clone)]
pub enum Known {
    /// The gate answered; the provider was not asked.
    Gate(Answer),
    /// The provider answered a call past gate number `fence`.
    Call {
        /// The number of the gate.
        fence: i32,
        /// What it said.
        outcome: Outcome,
    },
    /// Nobody was asked: the send is planned again.
    NotCalled {
        /// The number of the gate.
        fence: i32,
    },
    /// Evidence about a lost call: the provider has the message.
    Found(String),
    /// There is none: a person must look.
    NotFound(String),
    /// A person says that it went.
    ReviewedAsSent,
    /// A person says that it did not go, and orders the next attempt.
    ReviewedAsLost,
}

impl Known {
    /// Returns the word under which it is counted.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Gate(Answer::Accepted) | Self::Found(_) | Self::ReviewedAsSent => "accepted",
            Self::Gate(Answer::Rejected { .. } | Answer::Lost) | Self::ReviewedAsLost => "rejected",
            Self::Gate(Answer::Deferred { .. }) => "deferred",
            Self::Gate(Answer::Held { .. }) => "held",
            Self::Call { outcome: Outcome::Accepted { .. }, .. } => "accepted",
            Self::Call { outcome: Outcome::Refused(_), .. } => "rejected",
            Self::Call { outcome: Outcome::Unknown { .. }, .. } => "unknown",
            Self::NotCalled { .. } => "planned",
            Self::NotFound(_) => "needs_review",
        }
    }
}

/// Records outcomes of one workspace and turns the leads they answer.
///
/// An outcome whose send has moved on meanwhile changes nothing: the row's state, attempt and fence
/// decide, so a repeat is harmless.
///
/// # Errors
///
/// When the database fails. The call may be repeated.
pub async fn record(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    recorded: &[Recorded],
) -> Result<Turned> {
    note_opt_outs(mailroom, workspace, recorded).await?;
    let mut tx = mailroom.store.begin_batch(workspace).await?;
    let turned = record_in(&mut tx, mailroom, recorded).await?;
    tx.commit().await?;
    Ok(turned)
}

/// A provider that refuses a recipient because they told it to stop tells us of an opt-out that we
/// have not heard: it is one like any other, and comes before the outcome it came with.
async fn note_opt_outs(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    recorded: &[Recorded],
) -> Result<()> {
    for it in recorded {
        if let Known::Call { outcome: Outcome::Refused(refusal), .. } = &it.what
            && refusal.class == RefusalClass::OptedOut
        {
            let event = NewEvent::of_refused_opt_out(it.send, it.attempt);
            ingest::signal(mailroom, workspace, event).await?;
        }
    }
    Ok(())
}

/// Records what somebody outside the runners knows, as [`record`] does, and wakes the runners: a lead
/// that is answered may be due before the time they sleep until, and what the turn asks for is theirs.
///
/// # Errors
///
/// As [`record`].
pub async fn record_and_wake(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    recorded: &[Recorded],
) -> Result<()> {
    let mut tx = mailroom.store.begin_batch(workspace).await?;
    let turned = record_in(&mut tx, mailroom, recorded).await?;
    let now = clock::read(&mut tx).await?.campaign;
    for ask in &turned.asks {
        enrollments::hurry(&mut tx, workspace, ask.enrollment, now).await?;
    }
    bell::ring(&mut tx, workspace).await?;
    tx.commit().await?;
    Ok(())
}

async fn record_in(tx: &mut Tx, mailroom: &Mailroom, recorded: &[Recorded]) -> Result<Turned> {
    let workspace = tx.workspace();
    let ids: BTreeSet<Uuid> = recorded.iter().map(|it| it.enrollment.uuid()).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let locked = enrollments::lock(tx, workspace, &ids).await?;
    let clocks = clock::read(tx).await?;
    let mut outcomes = Outcomes::default();
    let mut answers = HashMap::new();
    for it in recorded {
        let row = Row::of(&it.what);
        outcomes.ids.push(it.send.uuid());
        outcomes.attempts.push(it.attempt);
        outcomes.fences.push(row.fence);
        outcomes.froms.push(row.from);
        outcomes.states.push(row.to);
        outcomes.details.push(row.detail);
        outcomes.provider_ids.push(row.provider_id);
        answers.insert((it.send.uuid(), it.attempt), (row.to, row.answer));
    }
    let moved = records::record(tx, workspace, &outcomes, mailroom.runner).await?;
    let mut told = Vec::with_capacity(moved.len());
    let mut sends = Vec::with_capacity(moved.len());
    let mut released = Released::default();
    let mut known: BTreeMap<&'static str, Vec<SendId>> = BTreeMap::new();
    for row in moved {
        let open = row.open;
        let (to, answer) = answers.remove(&(open.send_id, open.attempt)).unzip();
        let answer = answer.flatten();
        known.entry(to.unwrap_or_default()).or_default().push(SendId::new(open.send_id));
        released.used.extend(row.used);
        released.booked.extend(row.booked);
        if let Some(answer) = answer {
            let attempt = u32::try_from(open.attempt).unwrap_or_default();
            let effect = EffectId { send: SendId::new(open.send_id), attempt };
            let enrollment = EnrollmentId::new(row.enrollment_id);
            told.push(Told { enrollment, signal: Signal::SendAnswered { effect, answer } });
        }
        sends.push(open);
    }
    for (state, sends) in known {
        tx.tell(News::Sends { state: state.to_owned(), sends });
    }
    let engine = mailroom.engine;
    let taken = Taken { engine, enrollments: locked, sends, told, released };
    turn::advance(tx, &mailroom.versions, clocks, taken).await
}

/// Where an outcome takes its row.
struct Row {
    fence: Option<i32>,
    from: &'static str,
    to: &'static str,
    detail: Option<String>,
    provider_id: Option<String>,
    /// What the machine is told; `unknown` is no answer.
    answer: Option<Answer>,
}

impl Row {
    fn of(known: &Known) -> Self {
        let plain = |from, to, answer| Self {
            fence: None,
            from,
            to,
            detail: None,
            provider_id: None,
            answer,
        };
        match known {
            Known::Gate(answer @ Answer::Deferred { reason, .. }) => Self {
                detail: Some(reason.as_str().to_owned()),
                ..plain("planned", "deferred", Some(answer.clone()))
            },
            Known::Gate(answer @ Answer::Held { missing }) => Self {
                detail: Some(missing.why().as_str().to_owned()),
                ..plain("planned", "cancelled", Some(answer.clone()))
            },
            Known::Gate(answer) => plain("planned", "rejected", Some(answer.clone())),
            Known::Call { fence, outcome } => {
                Self { fence: Some(*fence), ..Self::of_call(outcome) }
            }
            Known::NotCalled { fence } => {
                Self { fence: Some(*fence), ..plain("dispatching", "planned", None) }
            }
            Known::Found(detail) => Self {
                detail: Some(detail.clone()),
                ..plain("open", "accepted", Some(Answer::Accepted))
            },
            Known::NotFound(detail) => {
                Self { detail: Some(detail.clone()), ..plain("open", "needs_review", None) }
            }
            Known::ReviewedAsSent => Self {
                detail: Some("a person says that it went".to_owned()),
                ..plain("open", "accepted", Some(Answer::Accepted))
            },
            Known::ReviewedAsLost => Self {
                detail: Some("a person ordered another attempt".to_owned()),
                ..plain("open", "rejected", Some(Answer::Lost))
            },
        }
    }

    fn of_call(outcome: &Outcome) -> Self {
        let row = |to, detail: &crate::outcome::Detail, answer| Self {
            fence: None,
            from: "dispatching",
            to,
            detail: Some(detail.as_str().to_owned()),
            provider_id: None,
            answer,
        };
        match outcome {
            Outcome::Accepted { provider_id, detail } => Self {
                provider_id: provider_id.clone(),
                ..row("accepted", detail, Some(Answer::Accepted))
            },
            Outcome::Refused(refusal) => {
                let class = match refusal.class {
                    RefusalClass::SmtpUtf8 => {
                        let held = Answer::Held { missing: Missing::SmtpUtf8 };
                        return row("rejected", &refusal.detail, Some(held));
                    }
                    RefusalClass::Retry => Class::Retry,
                    RefusalClass::Recipient => Class::Recipient,
                    RefusalClass::Content => Class::Content,
                    RefusalClass::Account => Class::Account,
                    RefusalClass::OptedOut => Class::Suppressed,
                };
                let retry_after_s = refusal
                    .retry_after
                    .map(|after| after.max(TimeDelta::zero()).num_seconds())
                    .and_then(|seconds| u32::try_from(seconds).ok());
                let answer = Answer::Rejected { class, retry_after_s };
                row("rejected", &refusal.detail, Some(answer))
            }
            Outcome::Unknown { detail } => row("unknown", detail, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use machine::signal::{Answer, Missing};

    use super::Row;
    use crate::outcome::{Outcome, Refusal, RefusalClass};

    #[test]
    fn a_server_that_cannot_carry_a_mail_blames_no_address() {
        let refusal = Refusal::of(RefusalClass::SmtpUtf8, "the server takes no such names");
        let row = Row::of_call(&Outcome::Refused(refusal));
        assert_eq!(row.to, "rejected");
        assert_eq!(row.answer, Some(Answer::Held { missing: Missing::SmtpUtf8 }));
    }
}
