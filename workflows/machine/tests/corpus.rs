//! Snapshots that earlier builds wrote. State names and fields are the storage format: every build
//! loads all of these and writes the same values back. Files are added, never changed; new ones
//! come from `cargo test -p machine --test laws -- --ignored`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use machine::enrollment::Enrollment;
use serde_json::Value;

#[test]
fn every_snapshot_of_the_past_loads_and_is_written_back_the_same() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut states = BTreeSet::new();
    let mut count = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let stored: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let enrollment: Enrollment = serde_json::from_value(stored.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(serde_json::to_value(&enrollment).unwrap(), stored, "{}", path.display());
        states.insert(stored["state"]["state"].as_str().unwrap().to_owned());
        count += 1;
    }
    assert!(count >= 30, "only {count} snapshots");
    assert_eq!(states.len(), 10, "not every state: {states:?}");
}
