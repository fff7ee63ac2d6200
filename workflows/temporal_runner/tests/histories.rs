//! Every history in `histories/` was recorded by a real server and must go the same way in this build. A
//! change of the loop that fails here would leave leads behind that are asleep: `patched` guards it.

use std::path::Path;

use temporal_runner::histories;

#[tokio::test(flavor = "multi_thread")]
async fn recorded_histories_go_the_same_way() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("histories");
    let mut replayed = 0;
    for entry in std::fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let history = std::fs::read(&path).unwrap();
            let done = histories::replay(&history).await;
            assert_eq!(done, Ok(()), "{}", path.display());
            replayed += 1;
        }
    }
    assert!(replayed >= 15, "only {replayed} histories are there");
}
