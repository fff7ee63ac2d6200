//! Whose turn it is, by the product's own roster; who has which lead is written here once more.

use std::collections::BTreeMap;

use activities::agents::roster::{Absence, Agent as OnRoster, Choice, Past, Roster, Round};
use chrono::{DateTime, Utc};
use machine::calendar::Calendar;
use machine::enrollment::Enrollment;
use machine::ids::{AgentId, EnrollmentId, SendId};
use machine::sequence::FirstAsked;
use machine::signal::{Answer, Missing, Refusal, Signal};
use machine::state::{Responder, State};

use super::Inner;
use crate::world::agent::{self, Agent};
use crate::world::names;

/// The agents, and what was offered to them.
#[derive(Default)]
pub(super) struct Team {
    roster: Roster,
    offers: Vec<Offer>,
    /// Who has which lead, or is asked.
    with: BTreeMap<EnrollmentId, AgentId>,
}

struct Offer {
    enrollment: EnrollmentId,
    visit: u32,
    send: SendId,
    agent: AgentId,
}

impl Team {
    pub(super) fn hire(&mut self, agent: &Agent) {
        self.roster.agents.push(OnRoster {
            id: names::of("agent", &agent.name).into(),
            name: agent.name.clone(),
            email: agent::address(&agent.name),
            hours: Calendar { windows: agent.hours.clone(), ..Calendar::default() },
            zone: agent.zone,
            absences: Vec::new(),
            open_max: usize::try_from(agent.open_max).expect("a small number"),
            open: 0,
            turn_no: 0,
        });
    }

    pub(super) fn leave(&mut self, name: &str, absence: Absence) {
        let agent = self.roster.agents.iter_mut().find(|agent| agent.name == name);
        agent.expect("somebody of the team").absences.push(absence);
    }
}

impl Inner {
    /// A turn is over: who is asked anew, or goes on without an agent, is with none.
    /// Returns whether an agent has one lead less by it.
    pub(super) fn note_handover(
        &mut self,
        id: EnrollmentId,
        state: &State,
        asks_anew: bool,
    ) -> bool {
        let stays = match state {
            State::Offered { to, .. } => *to == Responder::First,
            State::Accepted { by, .. } | State::Answered { by } => *by == Responder::First,
            _ => false,
        };
        (asks_anew || !stays) && self.team.with.remove(&id).is_some()
    }

    /// Tells everybody else who is offered and whom no agent has to ask once more.
    pub(super) fn tell_who_waits_for_an_agent(&mut self, except: Option<EnrollmentId>) {
        let waits = |id: &EnrollmentId| {
            let row = &self.enrollments[id];
            let stored: Option<Enrollment> = serde_json::from_slice(&row.snapshot).ok();
            let state = stored.map(|stored| stored.state);
            matches!(state, Some(State::Offered { to: Responder::First, .. }))
                && row.parked.is_none()
                && !self.team.with.contains_key(id)
        };
        let waiting = self.order.iter().copied().filter(|id| Some(*id) != except && waits(id));
        for id in waiting.collect::<Vec<_>>() {
            self.tell(id, Signal::Freed, true);
        }
    }

    /// Returns where an offer goes, or what the machine is answered.
    pub(super) fn recipient(
        &mut self,
        send: SendId,
        to: Responder,
        answer_by: DateTime<Utc>,
    ) -> Result<String, Answer> {
        let id = self.ledger.row(send).enrollment;
        match self.address_of(id, to) {
            Some(address) => Ok(address),
            None => self.agent(id, send, answer_by),
        }
    }

    /// Returns where the person is written to who has a lead.
    pub(super) fn who_has(&mut self, send: SendId, to: Responder) -> Result<String, Answer> {
        let id = self.ledger.row(send).enrollment;
        if let Some(address) = self.address_of(id, to) {
            return Ok(address);
        }
        let agent = self.team.with.get(&id).and_then(|id| self.team.roster.get(*id));
        let agent = agent.ok_or(Answer::Held { missing: Missing::Agent })?;
        Ok(agent.email.clone())
    }

    /// Returns the address that a campaign names; `None` where it asks agents in turn.
    fn address_of(&self, id: EnrollmentId, to: Responder) -> Option<String> {
        let campaign = &self.campaigns[&self.enrollments[&id].campaign];
        let handover = campaign.document.handover.clone().expect("somebody is named");
        let first = campaign.version.handover.as_ref().map(|rule| rule.first);
        match to {
            Responder::Fallback => Some(handover.fallback.expect("a fallback is named")),
            Responder::First if first == Some(FirstAsked::AgentsInTurn) => None,
            Responder::First => Some(handover.to.expect("an owner is named")),
        }
    }

    fn agent(
        &mut self,
        id: EnrollmentId,
        send: SendId,
        answer_by: DateTime<Utc>,
    ) -> Result<String, Answer> {
        let stored: Enrollment =
            serde_json::from_slice(&self.enrollments[&id].snapshot).expect("it loads");
        let visit = stored.data.handovers.visits;
        let about = self.team.offers.iter().filter(|it| it.enrollment == id && it.visit == visit);
        let (own, others): (Vec<&Offer>, Vec<&Offer>) = about.partition(|it| it.send == send);
        let past = Past {
            asked: others.iter().map(|it| it.agent).collect(),
            with: self.team.with.get(&id).copied(),
            mailed: own.first().map(|it| it.agent),
        };
        let team = &mut self.team;
        for agent in &mut team.roster.agents {
            agent.open = team.with.values().filter(|it| **it == agent.id).count();
        }
        let round = if answer_by <= self.now { Round::Anybody } else { Round::Fresh };
        match team.roster.choose(&past, round, self.now) {
            Choice::Agent(agent) => {
                team.roster.take(agent, &past);
                team.offers.push(Offer { enrollment: id, visit, send, agent });
                team.with.insert(id, agent);
                Ok(team.roster.get(agent).expect("it was just chosen").email.clone())
            }
            Choice::Later { until, reason } => Err(Answer::Deferred { until, reason }),
            Choice::Nobody => Err(Answer::Held { missing: Missing::Agent }),
            Choice::Elsewhere => {
                Err(Answer::Rejected { class: Refusal::Recipient, retry_after_s: None })
            }
        }
    }

    /// Nobody has more leads than they may.
    pub(super) fn judge_agents(&self, faults: &mut Vec<String>) {
        for agent in &self.team.roster.agents {
            let open = self.team.with.values().filter(|it| **it == agent.id).count();
            if open > agent.open_max {
                faults.push(format!("{} has {open} leads", agent.name));
            }
        }
    }
}
