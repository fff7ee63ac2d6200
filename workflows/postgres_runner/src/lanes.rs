//! Sends that wait for their gate, in one lane for each sender. A lane lets as many pass as its
//! sender may have calls open, so that no lease runs while its send waits for a free line.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use activities::mailroom::{Outlet, calls_max_at_first};
use activities::turn::Ask;
use machine::ids::{SendId, SenderId, WorkspaceId};
use tokio::sync::Notify;

type Name = (WorkspaceId, Option<SenderId>);

/// All lanes of a runner.
pub(crate) struct Lanes {
    state: Mutex<State>,
    bell: Notify,
    per_mailbox: usize,
}

#[derive(Default)]
struct State {
    lanes: HashMap<Name, Lane>,
    /// Lanes in the order in which their turn comes.
    order: VecDeque<Name>,
    /// Sends that wait or are under way: one that is handed out again is not taken twice.
    known: HashMap<(SendId, i32), Place>,
    closed: bool,
}

/// Where a send is.
enum Place {
    Waiting,
    /// With the gate or its provider. What was handed out meanwhile passes afterwards: the gate may
    /// have passed it by because the turn that hands it out had it locked.
    UnderWay {
        again: Option<Ask>,
    },
}

struct Lane {
    waiting: VecDeque<Ask>,
    under_way: usize,
    width: usize,
}

impl Lanes {
    pub(crate) fn new(per_mailbox: usize) -> Self {
        Self { state: Mutex::default(), bell: Notify::new(), per_mailbox }
    }

    /// Puts sends into their lanes.
    pub(crate) fn put(&self, workspace: WorkspaceId, asks: Vec<Ask>) {
        let mut state = self.state.lock().expect("no holder panics");
        if state.closed {
            return;
        }
        for ask in asks {
            match state.known.get_mut(&(ask.send, ask.attempt)) {
                None => state.push(workspace, ask, self.per_mailbox),
                Some(Place::Waiting) => {}
                Some(Place::UnderWay { again }) => *again = Some(ask),
            }
        }
        drop(state);
        self.bell.notify_waiters();
    }

    /// Puts sends back that were taken and could not pass yet.
    pub(crate) fn put_back(&self, workspace: WorkspaceId, asks: Vec<Ask>) {
        let mut state = self.state.lock().expect("no holder panics");
        for ask in asks {
            state.leave((workspace, ask.sender), 1);
            if !state.closed {
                state.push(workspace, ask, self.per_mailbox);
            }
        }
        drop(state);
        self.bell.notify_waiters();
    }

    /// Returns how many sends wait.
    pub(crate) fn waiting(&self) -> usize {
        let state = self.state.lock().expect("no holder panics");
        state.lanes.values().map(|lane| lane.waiting.len()).sum()
    }

    /// Takes up to `limit` sends of one workspace that have a free line; waits until there is one.
    ///
    /// Returns `None` when the lanes were closed.
    pub(crate) async fn take(&self, limit: usize) -> Option<(WorkspaceId, Vec<Ask>)> {
        loop {
            let bell = self.bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            {
                let mut state = self.state.lock().expect("no holder panics");
                if state.closed {
                    return None;
                }
                if let Some(taken) = state.take(limit) {
                    return Some(taken);
                }
            }
            bell.await;
        }
    }

    /// Notes that sends are answered, or wait for somebody else.
    pub(crate) fn done(&self, workspace: WorkspaceId, asks: &[(Option<SenderId>, SendId, i32)]) {
        let mut state = self.state.lock().expect("no holder panics");
        for (sender, send, attempt) in asks {
            state.leave((workspace, *sender), 1);
            let place = state.known.remove(&(*send, *attempt));
            if let Some(Place::UnderWay { again: Some(ask) }) = place
                && !state.closed
            {
                state.push(workspace, ask, self.per_mailbox);
            }
        }
        drop(state);
        self.bell.notify_waiters();
    }

    /// Learns what kind of sender a lane leads to.
    pub(crate) fn learn(&self, workspace: WorkspaceId, sender: SenderId, outlet: &Outlet) {
        let width = outlet.calls_max(self.per_mailbox);
        let mut state = self.state.lock().expect("no holder panics");
        if let Some(lane) = state.lanes.get_mut(&(workspace, Some(sender))) {
            lane.width = width;
        }
    }

    /// Waits until nothing is under way.
    pub(crate) async fn drained(&self) {
        loop {
            let bell = self.bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            {
                let state = self.state.lock().expect("no holder panics");
                if state.lanes.values().all(|lane| lane.under_way == 0) {
                    return;
                }
            }
            bell.await;
        }
    }

    /// Lets nothing in or out any more.
    pub(crate) fn close(&self) {
        self.state.lock().expect("no holder panics").closed = true;
        self.bell.notify_waiters();
    }
}

impl State {
    fn push(&mut self, workspace: WorkspaceId, ask: Ask, per_mailbox: usize) {
        let name = (workspace, ask.sender);
        let lane = self.lanes.entry(name).or_insert_with(|| {
            self.order.push_back(name);
            let width = calls_max_at_first(ask.sender, per_mailbox);
            Lane { waiting: VecDeque::new(), under_way: 0, width }
        });
        self.known.insert((ask.send, ask.attempt), Place::Waiting);
        lane.waiting.push_back(ask);
    }

    fn take(&mut self, limit: usize) -> Option<(WorkspaceId, Vec<Ask>)> {
        let mut taken: Vec<Ask> = Vec::new();
        let mut workspace = None;
        for _ in 0..self.order.len() {
            let name = self.order.pop_front()?;
            self.order.push_back(name);
            if workspace.is_some_and(|workspace| workspace != name.0) {
                continue;
            }
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            let free = lane.width.saturating_sub(lane.under_way);
            let n = free.min(limit - taken.len()).min(lane.waiting.len());
            if n > 0 {
                workspace = Some(name.0);
                lane.under_way += n;
                for ask in lane.waiting.drain(..n) {
                    self.known.insert((ask.send, ask.attempt), Place::UnderWay { again: None });
                    taken.push(ask);
                }
            }
            if taken.len() >= limit {
                break;
            }
        }
        Some((workspace?, taken))
    }

    fn leave(&mut self, name: Name, n: usize) {
        if let Some(lane) = self.lanes.get_mut(&name) {
            lane.under_way = lane.under_way.saturating_sub(n);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use activities::campaign_settings::CampaignSettings;
    use activities::ids;
    use activities::trace::TraceParent;
    use activities::turn::What;
    use activities::versions::{Loaded, wordings};
    use chrono::DateTime;
    use futures::FutureExt as _;
    use machine::document;

    use machine::state::Responder;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const WORKSPACE: WorkspaceId = WorkspaceId::new(Uuid::from_u128(1));

    fn ask() -> Ask {
        let steps = json!([{ "key": "intro", "email": { "subject": "Hello", "body": "Hello." } }]);
        let document = json!({ "name": "spring", "zone": "UTC", "steps": steps });
        let document = serde_json::from_value(document).unwrap();
        let version = Loaded {
            version: document::compile(&document).unwrap(),
            wordings: wordings(&document),
            document,
            sequence: ids::new(),
            number: 1,
            mails: Vec::new(),
            texts: Vec::new(),
        };
        let settings = CampaignSettings {
            senders: Vec::new(),
            per_day: None,
            zone: chrono_tz::UTC,
            handover: None,
        };
        Ask {
            send: ids::new(),
            attempt: 1,
            enrollment: ids::new(),
            campaign: ids::new(),
            lead: ids::new(),
            version: Arc::new(version),
            settings: Arc::new(settings),
            sender: Some(ids::new()),
            what: What::Handover { to: Responder::First, answer_by: None },
            wake_at: DateTime::UNIX_EPOCH,
            trace: TraceParent::default(),
        }
    }

    fn taken(lanes: &Lanes) -> Vec<SendId> {
        let taken = lanes.take(10).now_or_never().flatten();
        taken.map_or_else(Vec::new, |(_, asks)| asks.iter().map(|ask| ask.send).collect())
    }

    fn name(ask: &Ask) -> (Option<SenderId>, SendId, i32) {
        (ask.sender, ask.send, ask.attempt)
    }

    #[test]
    fn a_send_that_waits_is_not_put_twice() {
        let lanes = Lanes::new(5);
        let ask = ask();
        lanes.put(WORKSPACE, vec![ask.clone()]);
        lanes.put(WORKSPACE, vec![ask.clone()]);
        assert_eq!(taken(&lanes), [ask.send]);
        lanes.done(WORKSPACE, &[name(&ask)]);
        assert_eq!(taken(&lanes), []);
    }

    #[test]
    fn what_is_handed_out_while_the_gate_has_it_passes_afterwards() {
        let lanes = Lanes::new(5);
        let ask = ask();
        lanes.put(WORKSPACE, vec![ask.clone()]);
        assert_eq!(taken(&lanes), [ask.send]);
        lanes.put(WORKSPACE, vec![ask.clone()]);
        assert_eq!(taken(&lanes), []);
        lanes.done(WORKSPACE, &[name(&ask)]);
        assert_eq!(taken(&lanes), [ask.send]);
        lanes.done(WORKSPACE, &[name(&ask)]);
        assert_eq!(taken(&lanes), []);
    }

    #[test]
    fn a_narrow_lane_lets_one_pass_at_a_time() {
        let lanes = Lanes::new(1);
        let first = ask();
        let second = Ask { send: ids::new(), ..first.clone() };
        lanes.put(WORKSPACE, vec![first.clone(), second.clone()]);
        assert_eq!(taken(&lanes), [first.send]);
        assert_eq!(taken(&lanes), []);
        lanes.put_back(WORKSPACE, vec![first.clone()]);
        assert_eq!(taken(&lanes), [second.send]);
        lanes.done(WORKSPACE, &[name(&second)]);
        assert_eq!(taken(&lanes), [first.send]);
    }
}
