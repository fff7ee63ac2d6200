//! Which leads are with people of ours, and which are not any more: their handovers, the agents that are free
//! again, and the companies that wait for it.

use chrono::{DateTime, Utc};
use machine::effect::Effect;
use machine::sequence::ReplyScope;
use machine::signal::{HandoverResult, Signal};
use machine::state::{Responder, State};
use uuid::Uuid;

use super::apply::{Applied, Done};
use crate::companies;
use crate::error::Result;
use crate::freed_leads;
use crate::store::turns::{self, HandoverRow};
use crate::store::{Tx, company_holds};

/// What a batch of turns changed about who is with a person.
#[derive(Default)]
pub(super) struct People {
    pub(super) handovers: Vec<HandoverRow>,
    /// Who is with a person, and whose colleagues wait for that.
    with_person: Vec<Uuid>,
    /// Who is with nobody, where colleagues would wait.
    with_nobody: Vec<Uuid>,
}

impl People {
    pub(super) fn add(&mut self, done: &Done) {
        self.note_handover(done);
        self.note_company(done);
    }

    /// Notes how the handover of a lead stands, where that is new.
    fn note_handover(&mut self, done: &Done) {
        let enrollment = &done.read.enrollment;
        let visits = enrollment.data.handovers.visits;
        if visits == 0 {
            return;
        }
        let (state, responder, answer_by) = match &enrollment.state {
            State::Offered { to, answer_by, .. } => ("offered", Some(*to), Some(*answer_by)),
            State::Accepted { by, answer_by } => ("accepted", Some(*by), Some(*answer_by)),
            State::Answered { by } => ("answered", Some(*by), None),
            _ if !with_person(&done.before) && !done.applied.iter().any(handed_over) => return,
            _ if done.applied.iter().any(|a| matches!(a.signal, Signal::GivenBack)) => {
                ("given_back", None, None)
            }
            _ => ("closed", None, None),
        };
        let asks_anew =
            done.asked.values().any(|effect| matches!(effect, Effect::OfferHandover { .. }));
        if enrollment.state == done.before && !asks_anew {
            return;
        }
        let result = done.applied.iter().rev().find_map(|applied| match applied.signal {
            Signal::HandoverClosed { result: HandoverResult::Won } => Some("won"),
            Signal::HandoverClosed { result: HandoverResult::Lost } => Some("lost"),
            _ => None,
        });
        self.handovers.push(HandoverRow {
            enrollment_id: done.read.row.enrollment_id,
            lead_id: done.read.row.lead_id,
            campaign_id: done.read.row.campaign_id,
            visit: visits.try_into().unwrap_or(i32::MAX),
            state,
            responder: responder.map(Responder::as_str),
            answer_by,
            result,
            leaves_agent: asks_anew || responder == Some(Responder::Fallback),
            at: done.now,
        });
    }

    /// Where colleagues wait for who is with a person, notes who is and who is not. As long as nobody has
    /// read what came in, nobody knows.
    fn note_company(&mut self, done: &Done) {
        let asks_for_it = done.read.version.version.reply_scope == ReplyScope::Company;
        let moved = done.applied.iter().any(|it| matches!(it.signal, Signal::VersionMoved));
        let by_itself = |it: &Applied| {
            matches!(it.signal, Signal::Enrolled | Signal::Woke | Signal::SendAnswered { .. })
        };
        if !asks_for_it && !moved || done.read.uninterpreted {
            return;
        }
        let id = done.read.row.enrollment_id;
        if asks_for_it && with_person(&done.read.enrollment.state) {
            if !with_person(&done.before) || moved {
                self.with_person.push(id);
            }
        } else if with_person(&done.before) || !done.applied.iter().all(by_itself) {
            self.with_nobody.push(id);
        }
    }

    /// Writes it, and tells who waited for it; `turned` are the enrollments of the batch.
    pub(super) async fn write(
        &self,
        tx: &mut Tx,
        turned: &[Uuid],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let workspace = tx.workspace();
        let mut frees_an_agent = false;
        for handover in &self.handovers {
            frees_an_agent |= turns::put_handover(tx, workspace, handover).await?;
        }
        company_holds::hold(tx, workspace, &self.with_person, companies::PUBLIC_DOMAINS).await?;
        freed_leads::let_companies_go(tx, &self.with_nobody, now).await?;
        if frees_an_agent {
            freed_leads::ask_for_an_agent(tx, turned, now).await?;
        }
        Ok(())
    }
}

fn with_person(state: &State) -> bool {
    matches!(state, State::Offered { .. } | State::Accepted { .. } | State::Answered { .. })
}

fn handed_over(applied: &Applied) -> bool {
    applied.effects.iter().any(|effect| matches!(effect, Effect::OfferHandover { .. }))
}
