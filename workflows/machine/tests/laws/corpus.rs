//! Writes snapshots for the corpus: for each shape a state can have, the richest one that random
//! leads came by.

use std::collections::BTreeMap;
use std::path::Path;

use machine::enrollment::Enrollment;
use machine::state::{Resume, State};
use serde_json::Value;

use crate::dice::Dice;
use crate::watch;

#[test]
#[ignore = "writes files: run it when the format has grown"]
fn write_snapshots_of_every_shape() {
    let mut richest: BTreeMap<String, String> = BTreeMap::new();
    for seed in 0..20_000 {
        let mut dice = Dice::new(seed);
        let moves: Vec<u32> = (0..40).map(|_| u32::try_from(dice.roll() >> 32).unwrap()).collect();
        watch(seed, &moves, |change| {
            let snapshot = serde_json::to_string(change.after).unwrap();
            let known = richest.entry(shape(change.after)).or_default();
            if snapshot.len() > known.len() {
                *known = snapshot;
            }
        });
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (shape, snapshot) in richest {
        let path = corpus.join(format!("{shape}.json"));
        if !path.exists() {
            let snapshot: Value = serde_json::from_str(&snapshot).unwrap();
            std::fs::write(path, format!("{snapshot:#}\n")).unwrap();
        }
    }
}

fn shape(enrollment: &Enrollment) -> String {
    let state = serde_json::to_value(&enrollment.state).unwrap();
    let name = state["state"].as_str().unwrap();
    let detail = match &enrollment.state {
        State::Waiting { wait, .. } => format!("{}-{}", wait.because.as_str(), wait.why.as_str()),
        State::Dispatching { effect, .. } => format!("attempt-{}", effect.attempt.min(3)),
        State::AwaitingApproval { .. } | State::AwaitingCall { .. } => "open".to_owned(),
        State::Held { missing, .. } => missing.why().as_str().to_owned(),
        State::Paused { resume, .. } => match resume {
            Resume::Wait { .. } => "wait".to_owned(),
            Resume::Step { .. } => "step".to_owned(),
            Resume::Held { missing, .. } => format!("held-{}", missing.why().as_str()),
        },
        State::Offered { to, remind_at, .. } => {
            format!("{}{}", to.as_str(), if remind_at.is_some() { "-reminded" } else { "" })
        }
        State::Accepted { by, .. } | State::Answered { by } => by.as_str().to_owned(),
        State::Ended { outcome } => outcome.as_str().to_owned(),
    };
    // Letters lie beside the state.
    let data = &enrollment.data;
    let letters = data.forwarding.is_some() && !data.answers.is_empty();
    format!("{name}-{detail}{}", if letters { "-letters" } else { "" }).replace('_', "-")
}
