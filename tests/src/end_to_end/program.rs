//! Where the program `meridian` is that belongs to this test.

use std::path::PathBuf;

/// Returns the program, which cargo built before the tests of this package, or with the benchmark.
///
/// # Panics
///
/// When it is not there.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    // target/debug/deps/test-hash, or target/release/bench
    let place = test.parent().expect("a running program has a place");
    let place = if place.ends_with("deps") { place.parent().unwrap_or(place) } else { place };
    let program = place.join("meridian-under-test");
    assert!(
        program.is_file(),
        "{} is missing: run `cargo test` or `make bench`",
        program.display()
    );
    program
}
