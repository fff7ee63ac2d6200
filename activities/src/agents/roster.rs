//! Whose turn it is. Pure, so that a world in memory asks exactly as the gate does.
//!
//! Asked is the agent who was offered a lead longest ago among those who can take one: active, at
//! work, and with fewer leads than they may have. Where nobody can, the roster says when somebody
//! will, as far as that is known.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use machine::calendar::Calendar;
use machine::ids::AgentId;
use machine::state::Why;

/// How soon it is looked again whether an agent who has too many leads has room, should nobody tell that
/// there is.
const ROOM_AGAIN: TimeDelta = TimeDelta::minutes(15);

/// How many openings and absences are looked through for an agent's next working hour.
const STRETCHES_MAX: usize = 100;

/// A time in which an agent takes no leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// Its beginning, campaign time.
    pub from: DateTime<Utc>,
    /// Its end, campaign time; `None` where nobody knows.
    pub until: Option<DateTime<Utc>>,
}

/// An agent who may be asked at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Which.
    pub id: AgentId,
    /// Unique in the workspace.
    pub name: String,
    /// Where offers go.
    pub email: String,
    /// The hours of work.
    pub hours: Calendar,
    /// On whose clock.
    pub zone: Tz,
    /// When they do not count.
    pub absences: Vec<Absence>,
    /// How many leads the agent may have.
    pub open_max: usize,
    /// How many there are.
    pub open: usize,
    /// The number of the newest offer.
    pub turn_no: i64,
}

impl Agent {
    /// Returns the first instant from `from` on at which the agent works; `None`: never, as far as
    /// is known.
    pub fn works_from(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut at = from;
        for _ in 0..STRETCHES_MAX {
            at = self.hours.next_opening(self.zone, at).ok()?.at;
            let away = self
                .absences
                .iter()
                .find(|absence| absence.from <= at && absence.until.is_none_or(|until| at < until));
            match away {
                None => return Some(at),
                Some(absence) => at = absence.until?,
            }
        }
        None
    }
}

/// What is known of the handover that needs somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// Who was asked already, by other mails about it.
    pub asked: BTreeSet<AgentId>,
    /// Who has it or is asked now: it is one of the leads that agent has.
    pub with: Option<AgentId>,
    /// Whom this very mail went to before.
    pub mailed: Option<AgentId>,
}

/// Who may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Those who were not asked yet.
    Fresh,
    /// Everybody: it is overdue.
    Anybody,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This agent.
    Agent(AgentId),
    /// Nobody now.
    Later {
        /// When somebody may be.
        until: DateTime<Utc>,
        /// [`Why::AgentsAway`] or [`Why::AgentsBusy`].
        reason: Why,
    },
    /// Nobody who was not asked yet.
    Nobody,
    /// The mail is for an agent who cannot take the lead any more: another mail is needed.
    Elsewhere,
}

/// The active agents of a workspace.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    /// In any order.
    pub agents: Vec<Agent>,
}

impl Roster {
    /// Returns whose turn it is at `now`.
    pub fn choose(&self, past: &Past, round: Round, now: DateTime<Utc>) -> Choice {
        let has_room = |agent: &Agent| {
            agent.open - usize::from(past.with == Some(agent.id)).min(agent.open) < agent.open_max
        };
        let is_free = |agent: &Agent| has_room(agent) && agent.works_from(now) == Some(now);
        if let Some(mailed) = past.mailed {
            let free = self.get(mailed).is_some_and(is_free);
            return if free { Choice::Agent(mailed) } else { Choice::Elsewhere };
        }
        let may_be_asked = |agent: &&Agent| match round {
            Round::Fresh => !past.asked.contains(&agent.id),
            Round::Anybody => true,
        };
        let candidates: Vec<&Agent> = self.agents.iter().filter(may_be_asked).collect();
        let free = candidates.iter().copied().filter(|agent| is_free(agent));
        if let Some(next) = free.min_by_key(|agent| (agent.turn_no, &agent.name, agent.id)) {
            return Choice::Agent(next.id);
        }
        let first = candidates.iter().filter_map(|agent| match has_room(agent) {
            true => Some((agent.works_from(now)?, Why::AgentsAway)),
            false => Some((agent.works_from(now + ROOM_AGAIN)?, Why::AgentsBusy)),
        });
        match first.min() {
            Some((until, reason)) => Choice::Later { until, reason },
            None => Choice::Nobody,
        }
    }

    /// Notes that the agent was given a lead, and returns the number of the offer.
    pub fn take(&mut self, id: AgentId, past: &Past) -> i64 {
        let number = self.agents.iter().map(|agent| agent.turn_no).max().unwrap_or_default() + 1;
        if let Some(agent) = self.agents.iter_mut().find(|agent| agent.id == id) {
            agent.turn_no = number;
            if past.with != Some(id) {
                agent.open += 1;
            }
        }
        number
    }

    /// Returns one of them.
    pub fn get(&self, id: AgentId) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.id == id)
    }
}

#[cfg(test)]
mod tests {
    use machine::calendar::{Weekday, Window};
    use uuid::Uuid;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn agent(n: u128) -> Agent {
        Agent {
            id: Uuid::from_u128(n).into(),
            name: format!("agent {n}"),
            email: format!("agent{n}@example.com"),
            hours: Calendar::default(),
            zone: Tz::UTC,
            absences: Vec::new(),
            open_max: 1,
            open: 0,
            turn_no: 0,
        }
    }

    fn office() -> Calendar {
        let days = vec![Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];
        let window = Window { days, from: "09:00".parse().unwrap(), to: "17:00".parse().unwrap() };
        Calendar { windows: vec![window], ..Calendar::default() }
    }

    fn chosen(roster: &Roster, past: &Past, now: &str) -> Choice {
        roster.choose(past, Round::Fresh, at(now))
    }

    const MONDAY: &str = "2026-03-02T10:00:00Z";
    const NIGHT: &str = "2026-03-02T22:00:00Z";

    #[test]
    fn who_was_asked_longest_ago_is_next_and_a_full_one_is_passed_over() {
        let mut roster = Roster { agents: vec![agent(1), agent(2)] };
        let past = Past::default();
        let (one, two) = (roster.agents[0].id, roster.agents[1].id);
        assert_eq!(chosen(&roster, &past, MONDAY), Choice::Agent(one));
        assert_eq!(roster.take(one, &past), 1);
        assert_eq!(chosen(&roster, &past, MONDAY), Choice::Agent(two));
        assert_eq!(roster.take(two, &past), 2);
        let until = at(MONDAY) + ROOM_AGAIN;
        let later = Choice::Later { until, reason: Why::AgentsBusy };
        assert_eq!(chosen(&roster, &past, MONDAY), later);
        // The lead that an agent has already takes no further room.
        let own = Past { with: Some(two), ..Past::default() };
        assert_eq!(chosen(&roster, &own, MONDAY), Choice::Agent(two));
    }

    #[test]
    fn it_waits_for_the_first_who_comes_to_work() {
        let mut early = agent(1);
        early.hours = office();
        let mut late = agent(2);
        late.hours = office();
        late.zone = Tz::America__New_York;
        let mut roster = Roster { agents: vec![early, late] };
        let away = |until: &str| Choice::Later { until: at(until), reason: Why::AgentsAway };
        let past = Past::default();
        assert_eq!(chosen(&roster, &past, NIGHT), away("2026-03-03T09:00:00Z"));
        roster.agents[0].absences =
            vec![Absence { from: at(MONDAY), until: Some(at("2026-03-03T20:00:00Z")) }];
        assert_eq!(chosen(&roster, &past, NIGHT), away("2026-03-03T14:00:00Z"));
        roster.agents[1].absences = vec![Absence { from: at(MONDAY), until: None }];
        assert_eq!(chosen(&roster, &past, NIGHT), away("2026-03-04T09:00:00Z"));
        roster.agents.remove(0);
        assert_eq!(chosen(&roster, &past, NIGHT), Choice::Nobody);
    }

    #[test]
    fn nobody_is_asked_twice_before_it_is_overdue() {
        let roster = Roster { agents: vec![agent(1), agent(2)] };
        let asked =
            |n: u128| Past { asked: (1..=n).map(|n| agent(n).id).collect(), ..Past::default() };
        assert_eq!(chosen(&roster, &asked(1), MONDAY), Choice::Agent(agent(2).id));
        assert_eq!(chosen(&roster, &asked(2), MONDAY), Choice::Nobody);
        let again = roster.choose(&asked(2), Round::Anybody, at(MONDAY));
        assert_eq!(again, Choice::Agent(agent(1).id));
    }

    #[test]
    fn a_mail_is_for_one_agent_for_ever() {
        let mut roster = Roster { agents: vec![agent(1), agent(2)] };
        let past = Past { mailed: Some(agent(2).id), ..Past::default() };
        assert_eq!(chosen(&roster, &past, MONDAY), Choice::Agent(agent(2).id));
        roster.agents[1].open = 1;
        assert_eq!(chosen(&roster, &past, MONDAY), Choice::Elsewhere);
        roster.agents.remove(1);
        assert_eq!(chosen(&roster, &past, MONDAY), Choice::Elsewhere);
    }
}
