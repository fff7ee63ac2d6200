//! Where the program `meridian` is that belongs to this test.

use std::path::{Path, PathBuf};

/// Returns the program, which cargo built before the tests of this package.
///
/// # Panics
///
/// When it is not there.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    // target/debug/deps/test-hash
    let place = test.parent().and_then(Path::parent).expect("cargo puts tests into `deps`");
    let program = place.join("meridian-under-test");
    assert!(program.is_file(), "{} is missing: run `cargo test`", program.display());
    program
}
