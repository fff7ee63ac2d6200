//! Who waits while a colleague is with a person. What counts as a company is the product's own word.

use activities::companies::company_of;
use machine::enrollment::Enrollment;
use machine::ids::EnrollmentId;
use machine::sequence::ReplyScope;
use machine::signal::Signal;
use machine::state::{State, Why};

use super::Inner;

impl Inner {
    /// Whether the colleagues of this one wait: it is with a person, or wrote something that no turn has
    /// seen.
    pub(super) fn holds_its_company(&self, id: EnrollmentId) -> bool {
        let row = &self.enrollments[&id];
        let unseen = row.signals.iter().skip(row.applied_seq as usize);
        let wrote = |signal: &Signal| matches!(signal, Signal::Replied { .. });
        self.asks_for_colleagues(id)
            && (unseen.clone().any(|heard| !heard.read || wrote(&heard.signal))
                || matches!(
                    self.state(id),
                    Some(State::Offered { .. } | State::Accepted { .. } | State::Answered { .. })
                ))
    }

    pub(super) fn colleague_is_with_a_person(&self, id: EnrollmentId) -> bool {
        self.asks_for_colleagues(id)
            && self.colleagues_of(id).into_iter().any(|other| self.holds_its_company(other))
    }

    /// Somebody is with nobody any more: who waits for that asks once more.
    pub(super) fn let_colleagues_go(&mut self, id: EnrollmentId) {
        for other in self.colleagues_of(id) {
            let waits = match self.state(other) {
                Some(State::Waiting { wait, .. }) => wait.because == Why::ColleagueWithPerson,
                Some(_) | None => false,
            };
            if waits && !self.colleague_is_with_a_person(other) {
                self.tell(other, Signal::Freed, true);
            }
        }
    }

    fn asks_for_colleagues(&self, id: EnrollmentId) -> bool {
        let campaign = self.enrollments[&id].campaign;
        self.campaigns[&campaign].version.reply_scope == ReplyScope::Company
    }

    fn colleagues_of(&self, id: EnrollmentId) -> Vec<EnrollmentId> {
        let own = &self.enrollments[&id];
        let company = |lead| company_of(&self.leads[lead].address);
        let Some(of_own) = company(&own.lead) else { return Vec::new() };
        let others = self.enrollments.iter().filter(|(other, row)| {
            **other != id && row.campaign == own.campaign && company(&row.lead) == Some(of_own)
        });
        others.map(|(other, _)| *other).collect()
    }

    fn state(&self, id: EnrollmentId) -> Option<State> {
        let stored: Option<Enrollment> =
            serde_json::from_slice(&self.enrollments[&id].snapshot).ok();
        stored.map(|stored| stored.state)
    }
}
