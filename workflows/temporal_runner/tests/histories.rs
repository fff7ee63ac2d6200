//! Every history in `histories/` was recorded by a real server and must go the same way in this build. A
//! change of the loop that fails here would leave leads behind that are asleep: `patched` guards it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use temporal_runner::histories;

/// What has to be in some history, by the numbers of Temporal's `EventType`: without it a part of the loop
/// was not tried.
const TRIED: [(u64, &str); 10] = [
    (2, "a workflow that completes"),
    (8, "a workflow task that times out"),
    (9, "a workflow task that fails"),
    (12, "an activity that completes"),
    (13, "an activity that fails"),
    (18, "a timer that fires"),
    (19, "a timer that is cancelled"),
    (26, "a signal"),
    (28, "a workflow that continues as new"),
    (40, "search attributes that change"),
];

#[tokio::test(flavor = "multi_thread")]
async fn recorded_histories_go_the_same_way() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("histories");
    let mut ways = BTreeSet::new();
    for entry in std::fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let history = std::fs::read(&path).unwrap();
            let done = histories::replay(&history).await;
            assert_eq!(done, Ok(()), "{}", path.display());
            let is_new = ways.insert(way(&history));
            assert!(is_new, "{} goes as another one does", path.display());
        }
    }
    assert!(ways.len() >= 15, "only {} histories are there", ways.len());
    for (kind, what) in TRIED {
        assert!(ways.iter().flatten().any(|event| *event == kind), "none has {what}");
    }
}

/// The kinds of its events, in order.
fn way(history: &[u8]) -> Vec<u64> {
    let history: Value = serde_json::from_slice(history).expect("it was replayed");
    let events = history["events"].as_array().expect("it has events");
    events.iter().map(|event| event["event_type"].as_u64().expect("it has a number")).collect()
}
