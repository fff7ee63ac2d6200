//! The protocol as moves between states: each transaction is one move, and between any two of them
//! anything may happen.

use machine::signal::PauseScope;

use crate::lead::{Ask, Lead, Leads, STEPS, Told};

/// Signals that may arrive, in all.
const SIGNALS_MAX: usize = 2;

/// The rules that can be left out, to see that the model would notice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The gate refuses what was asked for before a holding signal was seen.
    pub(crate) after_seq: bool,
    /// The machine is told which sends are past the gate.
    pub(crate) in_flight: bool,
    /// An answer that a turn brings counts as in flight until the machine has heard it.
    pub(crate) unheard_answers: bool,
    /// What is past the gate is not marked as having seen the newest signals.
    pub(crate) only_planned_are_raised: bool,
    /// A call that was lost is never made again by a program.
    pub(crate) lost_is_not_repeated: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self {
        after_seq: true,
        in_flight: true,
        unheard_answers: true,
        only_planned_are_raised: true,
        lost_is_not_repeated: true,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stand {
    Nothing,
    Planned,
    Cancelled,
    Dispatching,
    Accepted,
    Rejected,
    Unknown,
    NeedsReview,
}

impl Stand {
    /// Whether an outcome still counts. What the provider answered counts even late: nobody knows
    /// better than the call itself.
    fn hears(self, outcome: Outcome) -> bool {
        match self {
            Self::Dispatching => true,
            Self::Unknown | Self::NeedsReview => outcome != Outcome::Unknown,
            Self::Nothing | Self::Planned | Self::Cancelled | Self::Accepted | Self::Rejected => {
                false
            }
        }
    }
}

/// One row of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    stand: Stand,
    attempt: u8,
    after_seq: u8,
    fence: u8,
    /// How often the provider took it.
    accepts: u8,
}

/// What a worker has in its hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Worker {
    Idle,
    /// It will go to the gate.
    Prepared {
        row: u8,
        attempt: u8,
    },
    /// It is past the gate and will call, unless half its lease is over by then.
    Passed {
        row: u8,
        attempt: u8,
        fence: u8,
        late: bool,
    },
    /// It has called and will record.
    Called {
        row: u8,
        attempt: u8,
        fence: u8,
        outcome: Outcome,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Outcome {
    Accepted,
    Refused,
    Unknown,
}

/// Something that is stored for the lead: a signal, or a verb about its campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stored {
    kind: Kind,
    told: Told,
    heard: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Signal,
    Verb,
}

/// Everything, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct World {
    lead: Lead,
    rows: [Row; 2],
    workers: [Worker; 2],
    stored: [Option<Stored>; SIGNALS_MAX],
    crashes: u8,
    /// A gate let something pass that it had to refuse.
    pub(crate) broken: bool,
}

/// How a move comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The program, or time: it will happen in the end.
    Ours,
    /// Chance: it may never happen.
    Theirs,
}

impl World {
    pub(crate) fn new(leads: &mut Leads) -> Self {
        let row = Row { stand: Stand::Nothing, attempt: 0, after_seq: 0, fence: 0, accepts: 0 };
        Self {
            lead: leads.entered(),
            rows: [row; 2],
            workers: [Worker::Idle; 2],
            stored: [None; SIGNALS_MAX],
            crashes: 2,
            broken: false,
        }
    }

    /// Whether the provider took a message twice.
    pub(crate) fn is_doubled(&self) -> bool {
        self.rows.iter().any(|row| row.accepts > 1)
    }

    /// Whether something has happened that must not.
    pub(crate) fn is_wrong(&self) -> bool {
        self.broken || self.is_doubled()
    }

    /// Whether the lead may stay like this for ever: it is over or waits for a person, everything
    /// stored was heard, and nothing is on its way.
    pub(crate) fn is_at_rest(&self, leads: &Leads) -> bool {
        let seen = leads.seen(self.lead);
        let in_review = |row: &Row| row.stand == Stand::NeedsReview;
        let settled = seen.open.iter().all(|(row, _)| in_review(&self.rows[usize::from(*row)]));
        let waits_for_review =
            seen.open.iter().any(|(row, _)| in_review(&self.rows[usize::from(*row)]));
        let all_heard = self.stored.iter().flatten().all(|stored| stored.heard);
        let under_way =
            |row: &Row| matches!(row.stand, Stand::Planned | Stand::Dispatching | Stand::Unknown);
        all_heard
            && settled
            && (!seen.is_moving || waits_for_review)
            && !self.rows.iter().any(under_way)
    }

    /// Every move that is possible now.
    pub(crate) fn moves(&self, leads: &mut Leads, rules: Rules) -> Vec<(Cause, Self)> {
        let mut moves = Vec::new();
        self.arrivals(&mut moves);
        // Turns are run beside the workers, too: a busy worker keeps nobody from hearing a stop.
        let mut next = *self;
        next.turn_by_nobody(None, leads, rules);
        moves.push((Cause::Ours, next));
        for worker in 0..self.workers.len() {
            self.work(worker, leads, rules, &mut moves);
            if self.crashes > 0 && self.workers[worker] != Worker::Idle {
                let mut next = *self;
                next.workers[worker] = Worker::Idle;
                next.crashes -= 1;
                moves.push((Cause::Theirs, next));
            }
        }
        for row in 0..2 {
            self.pass_time(row, leads, rules, &mut moves);
        }
        for (_, next) in &mut moves {
            next.forget_what_cannot_matter();
        }
        moves.retain(|(_, next)| next != self);
        moves
    }

    /// Worlds that differ only in what nothing will look at again are one.
    fn forget_what_cannot_matter(&mut self) {
        let newest_verb = self
            .stored
            .iter()
            .rposition(|stored| stored.is_some_and(|stored| stored.kind == Kind::Verb));
        for (index, stored) in self.stored.iter_mut().enumerate() {
            let Some(stored) = stored.as_mut().filter(|stored| stored.heard) else { continue };
            stored.told = match (stored.kind, stored.told) {
                (Kind::Verb, told) if newest_verb == Some(index) => told,
                (Kind::Signal, Told::OptOut) => Told::OptOut,
                (Kind::Signal, told) if holds(told) => Told::Reply,
                (Kind::Signal | Kind::Verb, _) => Told::Woke,
            };
        }
        for worker in &mut self.workers {
            let row = match worker {
                Worker::Idle => continue,
                Worker::Prepared { row, .. }
                | Worker::Passed { row, .. }
                | Worker::Called { row, .. } => self.rows[usize::from(*row)],
            };
            let is_over = match worker {
                Worker::Idle => true,
                Worker::Prepared { attempt, .. } => {
                    row.attempt != *attempt
                        || !matches!(row.stand, Stand::Planned | Stand::Dispatching)
                }
                // Who is past the gate may still call, whatever became of the row.
                Worker::Passed { .. } => false,
                Worker::Called { fence, outcome, .. } => {
                    row.fence != *fence || !row.stand.hears(*outcome)
                }
            };
            if is_over {
                *worker = Worker::Idle;
            }
        }
        self.workers.sort_unstable();
        for index in 0..2 {
            let row = &mut self.rows[usize::from(index)];
            // Of the numbers of gates only this matters: which is the newest.
            for worker in &mut self.workers {
                if let Worker::Passed { row: of, fence, .. } | Worker::Called { row: of, fence, .. } =
                    worker
                    && *of == index
                {
                    *fence = u8::from(*fence == row.fence);
                }
            }
            row.fence = 1;
            if !matches!(row.stand, Stand::Planned | Stand::Dispatching) {
                row.after_seq = 0;
            }
        }
    }

    fn arrivals(&self, moves: &mut Vec<(Cause, Self)>) {
        let Some(free) = self.stored.iter().position(Option::is_none) else { return };
        let (lead, campaign) = (PauseScope::Lead, PauseScope::Campaign);
        let arrivals = [
            (Kind::Signal, Told::Reply),
            (Kind::Signal, Told::OptOut),
            (Kind::Signal, Told::Pause(lead)),
            (Kind::Signal, Told::Resume(lead)),
            (Kind::Signal, Told::GiveBack),
            (Kind::Signal, Told::SkipFirst),
            (Kind::Verb, Told::Pause(campaign)),
            (Kind::Verb, Told::Resume(campaign)),
        ];
        for (kind, told) in arrivals {
            let mut next = *self;
            next.stored[free] = Some(Stored { kind, told, heard: false });
            moves.push((Cause::Theirs, next));
        }
    }

    fn work(&self, worker: usize, leads: &mut Leads, rules: Rules, moves: &mut Vec<(Cause, Self)>) {
        match self.workers[worker] {
            Worker::Idle => {
                let mut next = *self;
                next.turn(worker, None, leads, rules);
                moves.push((Cause::Ours, next));
            }
            Worker::Prepared { row, attempt } => {
                let mut next = *self;
                next.gate(worker, row, attempt, rules);
                moves.push((Cause::Ours, next));
            }
            Worker::Passed { row, attempt, fence, late: false } => {
                self.call(worker, row, attempt, fence, moves);
                let mut next = *self;
                next.workers[worker] = Worker::Passed { row, attempt, fence, late: true };
                moves.push((Cause::Ours, next));
            }
            Worker::Passed { row, attempt, fence, late: true } => {
                // Too late to call: it is planned again, unless somebody gave it up.
                let mut next = *self;
                next.workers[worker] = Worker::Idle;
                let entry = &mut next.rows[usize::from(row)];
                let mine = entry.fence == fence && entry.attempt == attempt;
                if mine && entry.stand == Stand::Dispatching {
                    entry.stand = Stand::Planned;
                }
                moves.push((Cause::Ours, next));
            }
            Worker::Called { row, attempt, fence, outcome } => {
                let mut next = *self;
                next.workers[worker] = Worker::Idle;
                let entry = next.rows[usize::from(row)];
                if entry.fence == fence && entry.attempt == attempt {
                    next.record(worker, row, outcome, leads, rules);
                }
                moves.push((Cause::Ours, next));
            }
        }
    }

    /// CALL: the provider takes the message or refuses it, and may not be heard.
    fn call(&self, worker: usize, row: u8, attempt: u8, fence: u8, moves: &mut Vec<(Cause, Self)>) {
        let outcomes = [
            (Outcome::Accepted, 1),
            (Outcome::Refused, 0),
            (Outcome::Unknown, 1),
            (Outcome::Unknown, 0),
        ];
        for (outcome, taken) in outcomes {
            let mut next = *self;
            next.rows[usize::from(row)].accepts += taken;
            next.workers[worker] = Worker::Called { row, attempt, fence, outcome };
            moves.push((Cause::Ours, next));
        }
    }

    /// GATE: the one transaction in which a send may pass.
    fn gate(&mut self, worker: usize, row: u8, attempt: u8, rules: Rules) {
        self.workers[worker] = Worker::Idle;
        let entry = self.rows[usize::from(row)];
        if entry.stand != Stand::Planned || entry.attempt != attempt {
            return;
        }
        let held_up =
            rules.after_seq && self.signals().skip(usize::from(entry.after_seq)).any(holds);
        let stale = !self.unheard_verbs().is_empty();
        let paused = matches!(self.verbs().last(), Some(Told::Pause(_)));
        if held_up || stale || paused {
            return;
        }
        let opted_out = self.signals().any(|signal| signal == Told::OptOut);
        let unheard = self.unheard_signals().into_iter().any(holds);
        self.broken |= opted_out || unheard;
        let entry = &mut self.rows[usize::from(row)];
        entry.stand = Stand::Dispatching;
        entry.fence += 1;
        let fence = entry.fence;
        self.workers[worker] = Worker::Passed { row, attempt, fence, late: false };
    }

    /// RECORD, under the number of the newest gate: the outcome enters the ledger and the lead is
    /// told, in one transaction.
    fn record(
        &mut self,
        worker: usize,
        row: u8,
        outcome: Outcome,
        leads: &mut Leads,
        rules: Rules,
    ) {
        let entry = &mut self.rows[usize::from(row)];
        if !entry.stand.hears(outcome) {
            return;
        }
        let attempt = entry.attempt;
        let accepted = match outcome {
            Outcome::Unknown => {
                entry.stand = Stand::Unknown;
                return;
            }
            Outcome::Accepted => true,
            Outcome::Refused => false,
        };
        entry.stand = if accepted { Stand::Accepted } else { Stand::Rejected };
        self.turn(worker, Some(Told::Answer { row, attempt, accepted }), leads, rules);
    }

    /// What time, and evidence, do to a row.
    fn pass_time(&self, row: u8, leads: &mut Leads, rules: Rules, moves: &mut Vec<(Cause, Self)>) {
        let entry = self.rows[usize::from(row)];
        // SWEEP: the lease is over, or its runner was silent too long, alive or not.
        if entry.stand == Stand::Dispatching {
            let mut next = *self;
            next.rows[usize::from(row)].stand =
                if rules.lost_is_not_repeated { Stand::Unknown } else { Stand::Planned };
            moves.push((Cause::Ours, next));
        }
        if entry.stand == Stand::Unknown {
            let mut next = *self;
            next.rows[usize::from(row)].stand = Stand::NeedsReview;
            moves.push((Cause::Ours, next));
        }
        let told = |accepted| Told::Answer { row, attempt: entry.attempt, accepted };
        let in_doubt = matches!(entry.stand, Stand::Unknown | Stand::NeedsReview);
        if in_doubt && entry.accepts > 0 {
            // Evidence, or a person's word.
            let mut next = *self;
            next.rows[usize::from(row)].stand = Stand::Accepted;
            next.turn_by_nobody(Some(told(true)), leads, rules);
            moves.push((Cause::Theirs, next));
        }
        // A person looks when nobody can call any more, and orders the next attempt.
        let may_call = self.workers.iter().any(
            |worker| matches!(worker, Worker::Passed { row: of, late: false, .. } if *of == row),
        );
        if entry.stand == Stand::NeedsReview && entry.accepts == 0 && !may_call {
            let mut next = *self;
            next.rows[usize::from(row)].stand = Stand::Rejected;
            next.turn_by_nobody(Some(told(false)), leads, rules);
            moves.push((Cause::Theirs, next));
        }
    }

    /// A turn whose hand-outs nobody takes: the next look finds them.
    fn turn_by_nobody(&mut self, answer: Option<Told>, leads: &mut Leads, rules: Rules) {
        let workers = self.workers;
        self.turn(0, answer, leads, rules);
        self.workers = workers;
    }

    /// TURN: verbs, then the answer, then signals, then the timer; all of it or nothing.
    fn turn(&mut self, worker: usize, answer: Option<Told>, leads: &mut Leads, rules: Rules) {
        let mut asked = Vec::new();
        let mut unheard = match answer {
            Some(Told::Answer { row, .. }) if rules.unheard_answers => Some(row),
            _ => None,
        };
        for verb in self.unheard_verbs() {
            self.tell(verb, unheard, &mut asked, leads, rules);
        }
        if let Some(answer) = answer {
            self.tell(answer, unheard, &mut asked, leads, rules);
            unheard = None;
        }
        for signal in self.unheard_signals() {
            self.tell(signal, unheard, &mut asked, leads, rules);
        }
        for stored in self.stored.iter_mut().flatten() {
            stored.heard = true;
        }
        while leads.seen(self.lead).is_due {
            self.tell(Told::Woke, unheard, &mut asked, leads, rules);
        }
        // A look at what is open, too.
        self.tell(Told::Woke, unheard, &mut asked, leads, rules);
        self.write(worker, &asked, leads, rules);
    }

    fn tell(
        &mut self,
        told: Told,
        unheard: Option<u8>,
        asked: &mut Vec<Ask>,
        leads: &mut Leads,
        rules: Rules,
    ) {
        let past_the_gate = |row: u8| {
            let stand = self.rows[usize::from(row)].stand;
            matches!(stand, Stand::Dispatching | Stand::Unknown | Stand::NeedsReview)
                || unheard == Some(row)
        };
        let in_flight = [0, 1].map(|row| rules.in_flight && past_the_gate(row));
        let heard = leads.tell(self.lead, told, in_flight);
        self.lead = heard.lead;
        for withdrawn in heard.withdrawn {
            asked.retain(|ask| *ask != withdrawn);
            let entry = &mut self.rows[usize::from(withdrawn.0)];
            if entry.stand == Stand::Planned && entry.attempt == withdrawn.1 {
                entry.stand = Stand::Cancelled;
            }
        }
        asked.extend(heard.asked);
    }

    fn write(&mut self, worker: usize, asked: &[Ask], leads: &Leads, rules: Rules) {
        let after_seq = u8::try_from(self.signals().count()).expect("few signals");
        for (row, attempt) in asked {
            let entry = &mut self.rows[usize::from(*row)];
            let may = matches!(
                entry.stand,
                Stand::Nothing | Stand::Planned | Stand::Cancelled | Stand::Rejected
            );
            if may && entry.attempt < *attempt {
                entry.stand = Stand::Planned;
                entry.attempt = *attempt;
                entry.after_seq = after_seq;
            }
        }
        for (row, attempt) in &leads.seen(self.lead).open {
            let entry = &mut self.rows[usize::from(*row)];
            let planned = entry.stand == Stand::Planned && entry.attempt == *attempt;
            if planned || !rules.only_planned_are_raised {
                entry.after_seq = after_seq;
            }
            if planned && self.workers[worker] == Worker::Idle {
                self.workers[worker] = Worker::Prepared { row: *row, attempt: *attempt };
            }
        }
    }

    fn stored(&self, kind: Kind) -> impl Iterator<Item = Stored> + use<> {
        self.stored.into_iter().flatten().filter(move |stored| stored.kind == kind)
    }

    fn signals(&self) -> impl Iterator<Item = Told> + use<> {
        self.stored(Kind::Signal).map(|stored| stored.told)
    }

    fn verbs(&self) -> impl Iterator<Item = Told> + use<> {
        self.stored(Kind::Verb).map(|stored| stored.told)
    }

    fn unheard_signals(&self) -> Vec<Told> {
        let unheard = self.stored(Kind::Signal).filter(|stored| !stored.heard);
        unheard.map(|stored| stored.told).collect()
    }

    fn unheard_verbs(&self) -> Vec<Told> {
        let unheard = self.stored(Kind::Verb).filter(|stored| !stored.heard);
        unheard.map(|stored| stored.told).collect()
    }
}

/// Whether the gate refuses until a turn has seen it.
fn holds(signal: Told) -> bool {
    match signal {
        Told::Reply | Told::OptOut | Told::Pause(_) | Told::SkipFirst => true,
        Told::Enrolled | Told::Woke | Told::Resume(_) | Told::GiveBack | Told::Answer { .. } => {
            false
        }
    }
}

const _: () = assert!(STEPS.len() == 2, "a row for each step");
