//! Leads to whom anything may happen at any time: random logs of events, many in one world, which must
//! come to the same on every backend. A run that failed is had again with its `SEED`.

use std::panic::AssertUnwindSafe;

use chrono::TimeDelta;
use futures::FutureExt as _;
use futures::stream::{self, StreamExt as _};
use machine::calendar::Weekday;
use machine::explain::Shown;
use machine::signal::{HandoverResult, ResumeRule, Signal};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tests::end_to_end::{seed, tell};
use tests::world::{
    Backend, Person, Sequence, WEEKDAYS, World, days, hours, minutes, run_as_in_memory, sequence,
};

/// How many logs there are, unless `LOGS` says so.
const LOGS: usize = 500;

/// Worlds that live at the same time: most of the time each of them waits for its workers.
const WORLDS: usize = 4;

/// How many leads are in one world.
const LEADS: usize = 50;

/// How often something happens to a lead, at most.
const DEEDS_MAX: usize = 6;

/// How many times the clock is moved.
const MOVES: usize = 10;

/// What happens to a lead, or is ordered.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Replies,
    IsAway,
    IsAwayForAWeek,
    BouncesSoftly,
    Bounces,
    OptsOut,
    Complains,
    Clicks,
    IsDelivered,
    Changes(u8),
    Pause,
    Resume(ResumeRule),
    Skip,
    SendNow,
    Stop,
    HandOver,
    Accept,
    Answer,
    Close(HandoverResult),
    GiveBack,
}

/// The likely ones stand here more than once.
const DEEDS: [Deed; 28] = [
    Deed::Replies,
    Deed::Replies,
    Deed::Replies,
    Deed::IsAway,
    Deed::IsAwayForAWeek,
    Deed::BouncesSoftly,
    Deed::Bounces,
    Deed::OptsOut,
    Deed::Complains,
    Deed::Clicks,
    Deed::Clicks,
    Deed::IsDelivered,
    Deed::Changes(1),
    Deed::Changes(2),
    Deed::Pause,
    Deed::Pause,
    Deed::Resume(ResumeRule::Keep),
    Deed::Resume(ResumeRule::Shift),
    Deed::Resume(ResumeRule::Restart),
    Deed::Skip,
    Deed::SendNow,
    Deed::Stop,
    Deed::HandOver,
    Deed::Accept,
    Deed::Answer,
    Deed::Close(HandoverResult::Won),
    Deed::GiveBack,
    Deed::GiveBack,
];

/// What everybody in a world lives through.
#[derive(Debug, Clone)]
struct Script {
    shape: usize,
    /// How far the clock is moved each time.
    moves: Vec<TimeDelta>,
    /// For each lead, what happens to it after which move, in order.
    logs: Vec<Vec<(usize, Deed)>>,
    /// After which move the provider keeps its answers back, until after the next one.
    holds: Option<usize>,
    /// After which move the campaign is paused, and by which rule it goes on after the next one.
    pause: Option<(usize, ResumeRule)>,
}

impl Script {
    fn random(seed: u64, leads: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let far = [minutes(10), hours(1), hours(6), days(1), days(1), days(2), days(4)];
        let moves = (0..MOVES).map(|_| *far.choose(&mut rng).unwrap()).collect();
        let log = |rng: &mut StdRng| {
            let deeds = rng.random_range(0..=DEEDS_MAX);
            let mut log: Vec<(usize, Deed)> = (0..deeds)
                .map(|_| (rng.random_range(0..MOVES), *DEEDS.choose(rng).unwrap()))
                .collect();
            log.sort_by_key(|(after, _)| *after);
            log
        };
        let logs = (0..leads).map(|_| log(&mut rng)).collect();
        let rule =
            *[ResumeRule::Keep, ResumeRule::Shift, ResumeRule::Restart].choose(&mut rng).unwrap();
        Self {
            shape: rng.random_range(0..SHAPES),
            moves,
            logs,
            holds: rng.random_bool(0.4).then(|| rng.random_range(0..MOVES)),
            pause: rng.random_bool(0.4).then(|| (rng.random_range(0..MOVES), rule)),
        }
    }

    /// Tells what befalls the lead of this number in `LEAD`, for whoever looks for the cause of a failure.
    fn tell_of_one_lead(&self) {
        let lead = std::env::var("LEAD").ok().and_then(|lead| lead.parse::<usize>().ok());
        let Some(log) = lead.and_then(|lead| self.logs.get(lead)) else { return };
        let Self { shape, moves, holds, pause, logs: _ } = self;
        tell(format_args!("shape {shape}, held after {holds:?}, paused after {pause:?}"));
        tell(format_args!("moves {moves:?}: {log:?}"));
    }

    async fn play(self, world: World) {
        let campaign = world.given(shape(self.shape)).await;
        let mut people = Vec::new();
        let enroll = async {
            for number in 0..self.logs.len() {
                people.push(world.enrolls(format!("lead{number}@example.com").as_str()).await);
            }
        };
        world.at_once(enroll).await;
        for (now, far) in self.moves.iter().enumerate() {
            world.after(*far).await;
            if self.holds == Some(now) {
                world.provider().holds_its_answers().await;
            }
            if let Some((after, rule)) = self.pause {
                if after == now {
                    campaign.pause().await;
                } else if after + 1 == now {
                    campaign.resume(rule).await;
                }
            }
            world.at_once(happen(&self.logs, &people, now)).await;
            if self.holds.is_some_and(|after| after + 1 == now) {
                world.provider().answers().await;
            }
        }
        world.provider().answers().await;
        if let Some((after, rule)) = self.pause
            && after + 1 == MOVES
        {
            campaign.resume(rule).await;
        }
        world.after(days(8)).await;
        // Nobody waits for a person for ever.
        world.at_once(stop_all(&people)).await;
    }
}

async fn happen(logs: &[Vec<(usize, Deed)>], people: &[Person], now: usize) {
    for (person, log) in people.iter().zip(logs) {
        for (_, deed) in log.iter().filter(|(after, _)| *after == now) {
            deed.befalls(person).await;
        }
    }
}

async fn stop_all(people: &[Person]) {
    for person in people {
        person.stop().await;
    }
}

impl Deed {
    /// Happens, if it can.
    async fn befalls(self, person: &Person) {
        let sight = person.sight().await;
        let last = sight.sends.last().map(|sent| sent.step.clone());
        let current = sight.plan.and_then(|plan| plan.next).map(|next| next.step);
        let is_shown = sight.state != Shown::Failed;
        match (self, last, current) {
            (Self::Replies, _, _) => person.replies("Tell me more").await,
            (Self::IsAway, Some(_), _) => person.is_away().await,
            (Self::IsAwayForAWeek, Some(_), _) => person.is_away_until("2026-03-20").await,
            (Self::BouncesSoftly, Some(_), _) => person.bounces_softly().await,
            (Self::Bounces, Some(_), _) => person.bounces().await,
            (Self::OptsOut, Some(_), _) => person.opts_out().await,
            (Self::Complains, Some(_), _) => person.complains().await,
            (Self::Clicks, Some(step), _) => person.clicks(&step).await,
            (Self::IsDelivered, Some(step), _) => person.was_delivered(&step).await,
            (Self::Changes(to), _, _) => person.has("interest", to).await,
            (Self::Pause, _, _) => person.pause().await,
            (Self::Resume(rule), _, _) => person.resume(rule).await,
            (Self::Skip, _, Some(step)) => person.order(Signal::Skipped { step }).await,
            (Self::SendNow, _, Some(step)) => person.order(Signal::SendNow { step }).await,
            (Self::Stop, _, _) => person.stop().await,
            (Self::HandOver, _, _) if is_shown => person.hand_over().await,
            (Self::Accept, _, _) => person.accept().await,
            (Self::Answer, _, _) => person.answer().await,
            (Self::Close(result), _, _) => person.close(result).await,
            (Self::GiveBack, _, _) => person.give_back().await,
            (
                Self::IsAway
                | Self::IsAwayForAWeek
                | Self::BouncesSoftly
                | Self::Bounces
                | Self::OptsOut
                | Self::Complains
                | Self::Clicks
                | Self::IsDelivered,
                None,
                _,
            )
            | (Self::Skip | Self::SendNow, _, None)
            | (Self::HandOver, _, _) => {}
        }
    }
}

/// How many shapes of campaigns there are.
const SHAPES: usize = 5;

fn shape(number: usize) -> Sequence {
    let three =
        || sequence().email("intro").wait(days(2)).email("nudge").wait(days(3)).email("close");
    match number {
        0 => three(),
        1 => three().open(&WEEKDAYS, "09:00", "17:00").with_fallback(),
        2 => three().replies_stop().open(&[Weekday::Mon, Weekday::Wed], "10:00", "12:00"),
        3 => {
            let then = sequence().email("offer").hand_over("ask");
            let otherwise = sequence().wait(days(1)).email("reminder");
            let interested = json!({ "attribute": "interest", "equals": 1 });
            let begun = sequence().email("intro").wait_for_click("click", "intro", days(2));
            begun.branch("fork", interested, then, otherwise).with_fallback()
        }
        _ => {
            let begun = sequence().email("intro").wait_for_reply("answer", days(3)).email("nudge");
            begun.goal(json!({ "attribute": "interest", "equals": 2 }))
        }
    }
}

/// Plays logs on a backend, in as many worlds as it takes.
async fn play<F: Future<Output = Backend>>(backend: impl Fn() -> F) {
    let seed = seed();
    let logs = std::env::var("LOGS").ok().map_or(LOGS, |logs| logs.parse().unwrap());
    let worlds = (seed..).zip((0..logs).step_by(LEADS)).map(|(seed, first)| {
        let script = Script::random(seed, LEADS.min(logs - first));
        let backend = &backend;
        async move {
            tell(format_args!("from log {first} on: SEED={seed} LOGS={}", script.logs.len()));
            script.tell_of_one_lead();
            let played = run_as_in_memory(backend().await, |world| script.clone().play(world));
            if let Err(panic) = AssertUnwindSafe(played).catch_unwind().await {
                tell(format_args!("failed: SEED={seed} LOGS={}", script.logs.len()));
                std::panic::resume_unwind(panic);
            }
        }
    });
    stream::iter(worlds).for_each_concurrent(WORLDS, |world| world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anything_may_happen_on_postgres() {
    play(Backend::postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anything_may_happen_on_temporal() {
    play(Backend::temporal_with_timers).await;
}
