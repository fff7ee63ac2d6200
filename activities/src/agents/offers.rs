//! Offers in turn, as PREPARE and GATE make them. PREPARE reads without locks whose turn it is, because
//! the mail is written to somebody; the gate locks the agents and looks again. If it is another's turn
//! by then the mail is prepared again, so nobody is ever offered more than they may have.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use machine::ids::{AgentId, EnrollmentId, SendId};
use machine::sequence::FirstAsked;
use machine::signal::{Answer, Missing, Refusal};
use machine::state::Responder;
use uuid::Uuid;

use super::known;
use super::roster::{Agent, Choice, Past, Roster, Round};
use crate::error::{Result, chain};
use crate::store::waiting_leads::Unasked;
use crate::store::{Tx, agents as store, clock};
use crate::turn::{Ask, What};

/// Whose turn it is, and what is known of the handovers that need somebody.
pub(crate) struct Turns {
    roster: Roster,
    /// By send: which handover of its enrollment, and what happened about it.
    handovers: HashMap<SendId, (i32, Past)>,
    offers: store::Offers,
    now: DateTime<Utc>,
}

fn in_turn<'a>(asks: impl Iterator<Item = &'a Ask>) -> Vec<(SendId, EnrollmentId)> {
    asks.filter(|ask| is_in_turn(ask)).map(|ask| (ask.send, ask.enrollment)).collect()
}

/// Whether `ask` is an offer to the agent whose turn it is.
pub(crate) fn is_in_turn(ask: &Ask) -> bool {
    let What::Handover { to: Responder::First, .. } = ask.what else { return false };
    match ask.version.version.handover.as_ref().map(|rule| rule.first) {
        Some(FirstAsked::AgentsInTurn) => true,
        Some(FirstAsked::Address) | None => false,
    }
}

/// Whether the deadline of the offer has passed: it is a reminder.
pub(crate) fn is_overdue(ask: &Ask, now: DateTime<Utc>) -> bool {
    match ask.what {
        What::Handover { answer_by, .. } => answer_by.is_some_and(|answer_by| answer_by <= now),
        What::Step { .. } | What::Answer { .. } | What::Forward { .. } => false,
    }
}

impl Turns {
    /// Reads what the offers in turn among `asks` need, as it is now; others may choose at the same
    /// time, so what is chosen has to be looked at again. Reads nothing if there is no such offer.
    pub(crate) async fn now(tx: &mut Tx, asks: &[Ask]) -> Result<Self> {
        let asked = in_turn(asks.iter());
        if asked.is_empty() {
            return Ok(Self::none(DateTime::UNIX_EPOCH));
        }
        let now = clock::read(tx).await?.campaign;
        Self::read(tx, asked, now).await
    }

    /// Reads what the offers in turn among `asks` need; nobody else chooses until the transaction ends.
    /// Reads nothing if there is no such offer.
    pub(crate) async fn locked(
        tx: &mut Tx,
        asks: impl Iterator<Item = &Ask>,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let asked = in_turn(asks);
        if asked.is_empty() {
            return Ok(Self::none(now));
        }
        let workspace = tx.workspace();
        store::lock_active(tx, workspace).await?;
        // Statements of their own after the lock: in the same one they would see the past.
        Self::read(tx, asked, now).await
    }

    fn none(now: DateTime<Utc>) -> Self {
        Self {
            roster: Roster::default(),
            handovers: HashMap::new(),
            offers: store::Offers::default(),
            now,
        }
    }

    async fn read(
        tx: &mut Tx,
        asked: Vec<(SendId, EnrollmentId)>,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let workspace = tx.workspace();
        let mut turns = Self::none(now);
        turns.roster = roster(tx, now).await?;
        let enrollments: Vec<Uuid> =
            asked.iter().map(|(_, enrollment)| enrollment.uuid()).collect();
        let standing = store::standing(tx, workspace, &enrollments).await?;
        let made = store::made(tx, workspace, &enrollments).await?;
        for (send, enrollment) in asked {
            let Some(row) = standing.iter().find(|row| row.enrollment_id == enrollment.uuid())
            else {
                continue;
            };
            let mut past = Past { with: row.agent_id.map(AgentId::new), ..Past::default() };
            let about = made
                .iter()
                .filter(|made| made.enrollment_id == enrollment.uuid() && made.visit == row.visit);
            for made in about {
                let agent = AgentId::new(made.agent_id);
                if made.send_id == send.uuid() {
                    past.mailed = Some(agent);
                } else {
                    past.asked.insert(agent);
                }
            }
            turns.handovers.insert(send, (row.visit, past));
        }
        Ok(turns)
    }

    /// Returns the agent whose turn `ask` is, or what the machine is answered where there is none.
    pub(crate) fn choose(&self, ask: &Ask) -> std::result::Result<&Agent, Answer> {
        let nobody = || Answer::Held { missing: Missing::Agent };
        let Some((_, past)) = self.handovers.get(&ask.send) else { return Err(nobody()) };
        let round = if is_overdue(ask, self.now) { Round::Anybody } else { Round::Fresh };
        match self.roster.choose(past, round, self.now) {
            Choice::Agent(agent) => self.roster.get(agent).ok_or_else(nobody),
            Choice::Later { until, reason } => Err(Answer::Deferred { until, reason }),
            Choice::Nobody => Err(nobody()),
            Choice::Elsewhere => {
                Err(Answer::Rejected { class: Refusal::Recipient, retry_after_s: None })
            }
        }
    }

    /// Whether it is this agent's turn.
    pub(crate) fn is_turn_of(&self, ask: &Ask, agent: AgentId) -> bool {
        self.choose(ask).is_ok_and(|chosen| chosen.id == agent)
    }

    /// Notes that `ask` goes to `agent`.
    pub(crate) fn take(&mut self, ask: &Ask, agent: AgentId) {
        let Some((visit, past)) = self.handovers.get(&ask.send) else { return };
        let number = self.roster.take(agent, past);
        self.offers.sends.push(ask.send.uuid());
        self.offers.enrollments.push(ask.enrollment.uuid());
        self.offers.visits.push(*visit);
        self.offers.agents.push(agent.uuid());
        self.offers.turn_nos.push(number);
    }

    /// Writes the offers that were taken note of.
    pub(crate) async fn write(&self, tx: &mut Tx) -> Result<()> {
        let workspace = tx.workspace();
        store::offer(tx, workspace, &self.offers, self.now).await?;
        Ok(())
    }
}

/// Returns those of `waiting` that agents can be asked about now, each taking its place, in this order.
pub(crate) async fn next_of(
    tx: &mut Tx,
    waiting: &[Unasked],
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>> {
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let workspace = tx.workspace();
    let mut roster = roster(tx, now).await?;
    let enrollments: Vec<Uuid> = waiting.iter().map(|one| one.enrollment_id).collect();
    let made = store::made(tx, workspace, &enrollments).await?;
    let mut next = Vec::new();
    for one in waiting {
        let about = made
            .iter()
            .filter(|made| (made.enrollment_id, made.visit) == (one.enrollment_id, one.visit));
        let asked = about.map(|made| AgentId::new(made.agent_id)).collect();
        let past = Past { asked, ..Past::default() };
        let is_overdue = one.answer_by.is_some_and(|answer_by| answer_by <= now);
        let round = if is_overdue { Round::Anybody } else { Round::Fresh };
        match roster.choose(&past, round, now) {
            Choice::Agent(agent) => {
                roster.take(agent, &past);
                next.push(one.enrollment_id);
            }
            Choice::Later { .. } | Choice::Nobody | Choice::Elsewhere => {}
        }
    }
    Ok(next)
}

/// Reads the active agents with their absences and what they have.
async fn roster(tx: &mut Tx, now: DateTime<Utc>) -> Result<Roster> {
    let mut agents = Vec::new();
    for known in known(tx, now).await?.into_iter().filter(|known| known.row.active) {
        match known.on_roster() {
            Ok(agent) => agents.push(agent),
            // What this build cannot read is that agent's trouble, not that of the others.
            Err(error) => {
                let agent = known.row.agent_id;
                tracing::error!(agent.id = %agent, error = %chain(&error), "an agent cannot be read");
            }
        }
    }
    Ok(Roster { agents })
}
