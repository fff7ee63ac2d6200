//! The send protocol, model-checked: one lead with two steps, two workers, two signals of any kind
//! at any moment, two crashes, lost answers, leases that run out, and a person who looks at what
//! was lost. Every order in which these can happen is tried, with the real machine inside.
//!
//! In no state has the provider taken a message twice, has the gate let anything pass that a
//! stored signal forbids, or is a lead stuck. A rule left out must be noticed: a model that finds
//! nothing wrong with a broken protocol is worth nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod lead;
mod protocol;

use std::collections::HashMap;

use lead::Leads;
use protocol::{Cause, Rules, World};

/// What a search found.
#[derive(Debug, Default)]
struct Findings {
    states: usize,
    /// States in which the provider took a message twice.
    doubled: usize,
    /// States after a gate that should have refused.
    broken: usize,
    /// States from which the lead never comes to rest by itself.
    stuck: usize,
    /// One state of each kind that is wrong.
    examples: Vec<World>,
}

/// Tries everything that can happen.
fn explore(rules: Rules) -> Findings {
    let mut leads = Leads::new();
    let first = World::new(&mut leads);
    let mut numbers: HashMap<World, u32> = HashMap::from([(first, 0)]);
    let mut worlds = vec![first];
    // Moves that will happen in the end, backwards.
    let mut led_here: Vec<(u32, u32)> = Vec::new();
    let mut next = 0;
    while next < worlds.len() {
        let world = worlds[next];
        let from = u32::try_from(next).unwrap();
        next += 1;
        if world.is_wrong() {
            // What follows from a fault says nothing more.
            continue;
        }
        for (cause, to) in world.moves(&mut leads, rules) {
            let number = *numbers.entry(to).or_insert_with(|| {
                worlds.push(to);
                u32::try_from(worlds.len() - 1).unwrap()
            });
            if cause == Cause::Ours {
                led_here.push((number, from));
            }
        }
    }
    let mut findings = Findings { states: worlds.len(), ..Findings::default() };
    let rests = can_rest(&worlds, led_here, &leads);
    for (world, rests) in worlds.iter().zip(rests) {
        let wrong = [
            (world.is_doubled(), &mut findings.doubled),
            (world.broken, &mut findings.broken),
            (!rests && !world.is_wrong(), &mut findings.stuck),
        ];
        for (is, count) in wrong {
            if is {
                *count += 1;
                if *count == 1 {
                    findings.examples.push(*world);
                }
            }
        }
    }
    findings
}

/// Tells of each world whether the program alone can bring it to rest: backwards from rest, along
/// the moves that will happen.
fn can_rest(worlds: &[World], mut led_here: Vec<(u32, u32)>, leads: &Leads) -> Vec<bool> {
    led_here.sort_unstable();
    let mut rests: Vec<bool> =
        worlds.iter().map(|world| world.is_wrong() || world.is_at_rest(leads)).collect();
    let mut queue: Vec<u32> = (0..u32::try_from(worlds.len()).unwrap())
        .filter(|number| rests[*number as usize])
        .collect();
    while let Some(to) = queue.pop() {
        let start = led_here.partition_point(|(number, _)| *number < to);
        for (_, from) in led_here[start..].iter().take_while(|(number, _)| *number == to) {
            if !rests[*from as usize] {
                rests[*from as usize] = true;
                queue.push(*from);
            }
        }
    }
    rests
}

#[test]
fn the_protocol_never_doubles_never_passes_a_stop_and_never_hangs() {
    let findings = explore(Rules::ALL);
    assert!(findings.states > 30_000, "{findings:#?}");
    assert_eq!((findings.doubled, findings.broken, findings.stuck), (0, 0, 0), "{findings:#?}");
}

#[test]
fn a_gate_that_does_not_look_at_unseen_signals_lets_something_pass() {
    let findings = explore(Rules { after_seq: false, ..Rules::ALL });
    assert!(findings.broken > 0, "{findings:#?}");
}

#[test]
fn a_machine_that_does_not_know_what_is_in_flight_hangs() {
    let findings = explore(Rules { in_flight: false, ..Rules::ALL });
    assert!(findings.stuck > 0, "{findings:#?}");
}

#[test]
fn an_answer_that_is_forgotten_before_it_was_heard_hangs() {
    let findings = explore(Rules { unheard_answers: false, ..Rules::ALL });
    assert!(findings.stuck > 0, "{findings:#?}");
}

#[test]
fn a_send_in_flight_marked_as_having_seen_a_stop_may_pass_the_gate_again() {
    let findings = explore(Rules { only_planned_are_raised: false, ..Rules::ALL });
    assert!(findings.broken > 0, "{findings:#?}");
}

#[test]
fn a_lost_call_that_is_made_again_doubles() {
    let findings = explore(Rules { lost_is_not_repeated: false, ..Rules::ALL });
    assert!(findings.doubled > 0, "{findings:#?}");
}
