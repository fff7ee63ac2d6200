//! The runner of a world: mail is read, orders told, leads turned, messages gated and called, one
//! after another, until nothing moves.

use activities::campaign_verb;
use activities::interpret;
use activities::outcome::{Detail, Outcome as Told, Refusal as Refused, RefusalClass};
use activities::send::gate::Dispatch;
use activities::send::prepare::{Prepared, Readied};
use activities::send::record::Known;
use activities::send::{Recorded, gate, prepare, record, sweep};
use activities::store::{clock, work};
use activities::turn::{self, Ask, Due, Turned, What};
use chrono::TimeDelta;
use machine::signal::Refusal;

use uuid::Uuid;

use super::{Inner, Times, times};
use crate::world::backend::{ANSWER, Mail, Reading, Sent};
use crate::world::provider::{Reception, Whose};

/// After this long a call counts as lost, in campaign time.
pub(super) const LEASE: TimeDelta = TimeDelta::minutes(15);

/// How many rounds may follow one another at one moment.
const ROUNDS_MAX: usize = 1_000;

impl Inner {
    /// Everything that is due happens; then the house is kept.
    pub(super) async fn settle(&mut self) {
        if self.driven.is_some() {
            self.wait().await;
        } else {
            self.work().await;
        }
        self.keep_house().await;
    }

    /// What any process does for all leads, whoever drives them: mail is read, orders are told.
    /// Returns whether there was something to do.
    pub(super) async fn do_chores(&mut self) -> bool {
        let mut moved = false;
        if self.reading == Reading::AtOnce {
            let read = interpret::interpret(&self.room, self.workspace).await;
            moved |= read.expect("mail is read").mails > 0;
        }
        moved |= self.tell().await;
        moved | self.notice_lost().await
    }

    /// Turns, gates and calls until nothing moves.
    async fn work(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = self.do_chores().await;
            let due = Due::take(&self.store, self.workspace, None, 500).await;
            let turned = due.expect("due leads are taken").turn(&self.room.versions).await;
            let turned = turned.expect("turns run");
            moved |= turned.taken > 0;
            let asks = self.take_up(turned).await;
            self.send(asks).await;
            if !moved {
                return self.repeat().await;
            }
        }
        panic!("the world does not come to rest");
    }

    async fn keep_house(&self) {
        let mut tx = self.store.begin(self.workspace).await.expect("the database answers");
        let now = clock::read(&mut tx).await.expect("a clock").campaign;
        work::fold_counters(&mut tx, self.workspace).await.expect("counters are folded");
        work::finish_campaigns(&mut tx, self.workspace, now).await.expect("campaigns finish");
        tx.commit().await.expect("a commit");
    }

    /// Does once more what was done some time ago, where everything is done twice.
    async fn repeat(&mut self) {
        if self.times == Times::Once {
            return;
        }
        let records: Vec<Recorded> = self.old_records.iter().cloned().collect();
        self.record(&records).await;
        let ids: Vec<Uuid> = self.order.iter().map(|id| id.uuid()).collect();
        let turned = turn::these(&self.store, &self.room.versions, self.workspace, &ids).await;
        // A snapshot that was spoiled is found again and again.
        let mut asks = turned.map(|turned| turned.asks).unwrap_or_default();
        asks.extend(self.old_asks.iter().cloned());
        self.send(asks).await;
    }

    async fn tell(&mut self) -> bool {
        let mut conn = self.store.begin_outside().await.expect("the database answers");
        let untold = work::untold_campaigns(&mut conn).await.expect("the database answers");
        conn.commit().await.expect("a commit");
        let mut turned = Vec::new();
        for (workspace, campaign) in &untold {
            campaign_verb::tell(&self.room, *workspace, *campaign, |it| turned.push(it))
                .await
                .expect("orders are told");
        }
        for turned in turned {
            let asks = self.take_up(turned).await;
            self.send(asks).await;
        }
        !untold.is_empty()
    }

    /// Calls whose time is over are swept.
    async fn notice_lost(&mut self) -> bool {
        let now = self.now().await;
        let over: Vec<_> = self.lost.iter().filter(|(at, _, _)| *at <= now).copied().collect();
        let mut moved = false;
        for (_, send, enrollment) in over {
            // One that goes out once more has another lease.
            if self.driven.as_ref().is_some_and(|driven| !driven.mail_server.give_up(send)) {
                continue;
            }
            let done = sqlx::query(
                "UPDATE sends SET lease_until = now() - interval '1 hour' \
                 WHERE send_id = $1 AND state = 'dispatching'",
            )
            .bind(send.uuid())
            .execute(&mut self.owner)
            .await
            .expect("the lease ends");
            if done.rows_affected() == 0 {
                continue;
            }
            moved = true;
            if self.driven.is_some() {
                // Its lease has not run out in truth: it is to be found by the one who looks for the late.
                sqlx::query("UPDATE enrollments SET wake_at = $2 WHERE enrollment_id = $1")
                    .bind(enrollment.uuid())
                    .bind(self.overdue().await - TimeDelta::minutes(1))
                    .execute(&mut self.owner)
                    .await
                    .expect("the lead is due");
                continue;
            }
            let ids = [enrollment.uuid()];
            let turned = turn::these(&self.store, &self.room.versions, self.workspace, &ids).await;
            let asks = self.take_up(turned.expect("turns run")).await;
            self.send(asks).await;
        }
        moved
    }

    /// Sweeps what a turn found lost; returns what it asked for.
    async fn take_up(&mut self, turned: Turned) -> Vec<Ask> {
        let mut asks = turned.asks;
        if !turned.lost.is_empty() {
            let lost: Vec<_> = turned.lost.into_iter().map(|(_, send)| send).collect();
            let swept = sweep(&self.room, self.workspace, &lost).await;
            if let Some(turned) = swept.expect("the sweep runs") {
                asks.extend(turned.asks);
            }
        }
        asks
    }

    /// Takes asks through the gate until none is left.
    pub(super) async fn send(&mut self, mut asks: Vec<Ask>) {
        while !asks.is_empty() {
            let mut recorded = Vec::new();
            let mut ready = Vec::new();
            let round = std::mem::take(&mut asks);
            let is_new = |ask: &&Ask| !self.old_asks.iter().any(|old| times::is_same(old, ask));
            let new: Vec<Ask> = round.iter().filter(is_new).cloned().collect();
            times::remember(&mut self.old_asks, &new);
            for round in self.times.of(round) {
                let readied = prepare(&self.room, self.workspace, round).await;
                for readied in readied.expect("messages are prepared") {
                    match readied {
                        Readied::Ready(message) => ready.push(*message),
                        Readied::Answered(ask, answer) => {
                            recorded.push(of_ask(&ask, Known::Gate(answer)));
                        }
                    }
                }
            }
            for ready in apart(ready) {
                let gated = gate(&self.room, self.workspace, ready).await.expect("the gate works");
                assert!(gated.busy.is_empty(), "nobody else is here");
                asks.extend(gated.changed);
                for (ask, answer) in gated.answered {
                    recorded.push(of_ask(&ask, Known::Gate(answer)));
                }
                for dispatch in gated.dispatched {
                    if let Some(known) = self.call(&dispatch).await {
                        recorded.push(answered(&dispatch, known));
                    }
                }
            }
            self.note(&recorded, &mut asks).await;
        }
    }

    pub(super) async fn note(&mut self, recorded: &[Recorded], asks: &mut Vec<Ask>) {
        if recorded.is_empty() {
            return;
        }
        times::remember(&mut self.old_records, recorded);
        for recorded in self.times.of(recorded) {
            asks.extend(self.record(recorded).await);
        }
    }

    async fn record(&mut self, recorded: &[Recorded]) -> Vec<Ask> {
        let turned = record(&self.room, self.workspace, recorded).await.expect("it is recorded");
        self.take_up(turned).await
    }

    /// The provider's answer, as the scenario scripts it.
    async fn call(&mut self, dispatch: &Dispatch) -> Option<Told> {
        let ask = &dispatch.message.ask;
        let whose = if ask.what.is_to_the_team() { Whose::Team } else { Whose::Lead };
        match self.script.judge(whose) {
            Reception::Take => {
                self.take(dispatch);
                Some(accepted())
            }
            Reception::Refuse(class) => Some(refused(class)),
            Reception::Hold => {
                self.held.push(copy(dispatch));
                None
            }
            Reception::LoseAnswer => {
                self.take(dispatch);
                self.lost.push((dispatch.gate_at + LEASE, ask.send, ask.enrollment));
                None
            }
        }
    }

    /// The provider has a message.
    pub(super) fn take(&mut self, dispatch: &Dispatch) {
        let ask = &dispatch.message.ask;
        let (to, at) = (dispatch.message.content.address().to_owned(), dispatch.gate_at);
        match &ask.what {
            What::Handover { .. } | What::Forward { .. } => self.team_mails.push(Mail { to, at }),
            What::Answer { .. } => {
                let sent = Sent { step: ANSWER.to_owned(), variant: None, to, at };
                self.sent.push((ask.enrollment, ask.send, sent));
            }
            What::Step { step, variant, .. } => {
                let variant = variant.as_ref().map(ToString::to_string);
                let sent = Sent { step: step.to_string(), variant, to, at };
                self.sent.push((ask.enrollment, ask.send, sent));
            }
        }
    }
}

/// Lets each of several that are the same come to a gate of its own, as it does to another runner.
fn apart(ready: Vec<Prepared>) -> Vec<Vec<Prepared>> {
    let mut gates: Vec<Vec<Prepared>> = Vec::new();
    for message in ready {
        let knows =
            |gate: &Vec<Prepared>| gate.iter().any(|known| known.ask.send == message.ask.send);
        match gates.iter().position(|gate| !knows(gate)) {
            Some(gate) => gates[gate].push(message),
            None => gates.push(vec![message]),
        }
    }
    gates
}

fn of_ask(ask: &Ask, what: Known) -> Recorded {
    Recorded { send: ask.send, attempt: ask.attempt, enrollment: ask.enrollment, what }
}

pub(super) fn answered(dispatch: &Dispatch, outcome: Told) -> Recorded {
    of_ask(&dispatch.message.ask, Known::Call { fence: dispatch.fence, outcome })
}

fn copy(dispatch: &Dispatch) -> Dispatch {
    Dispatch { message: dispatch.message.clone(), ..*dispatch }
}

pub(super) fn accepted() -> Told {
    Told::Accepted { provider_id: None, detail: Detail::new("taken") }
}

fn refused(class: Refusal) -> Told {
    let class = match class {
        Refusal::Retry => RefusalClass::Retry,
        Refusal::Recipient => RefusalClass::Recipient,
        Refusal::Content => RefusalClass::Content,
        Refusal::Account => RefusalClass::Account,
        Refusal::Suppressed => panic!("no provider knows our suppressions"),
    };
    Told::Refused(Refused::of(class, "refused by the scenario"))
}
