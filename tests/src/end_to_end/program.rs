//! Where the program `meridian` is that belongs to this test.
//!
//! Cargo hands a test only the programs of its own package. `cargo test --workspace` builds the
//! program anyway, because its own package has tests; `cargo test -p tests` does not. So it is looked
//! for beside the running test, taken if it is at least as new as every source that cargo noted for
//! it, and built where it is missing or older.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the program, up to date.
///
/// # Panics
///
/// When it cannot be built.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    // target/debug/deps/test-hash
    let place = test.parent().and_then(Path::parent).expect("cargo puts tests into `deps`");
    let program = place.join("meridian");
    if !is_current(&program) {
        build(place);
    }
    program
}

fn is_current(program: &Path) -> bool {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let Some(built) = modified(program) else { return false };
    // As make reads it: `program: source source …`, with blanks escaped.
    let Ok(noted) = std::fs::read_to_string(program.with_extension("d")) else { return false };
    let Some((_, sources)) = noted.split_once(": ") else { return false };
    let sources = sources.trim().replace("\\ ", "\0");
    sources.split(' ').all(|source| {
        let source = source.replace('\0', " ");
        modified(Path::new(&source)).is_some_and(|modified| modified <= built)
    })
}

fn build(place: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile = match place.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let arguments = ["build", "--package", "server", "--bin", "meridian", "--profile", profile];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's root");
    let target = place.parent().expect("profiles lie in the target directory");
    let built = Command::new(&cargo)
        .args(arguments)
        .current_dir(root)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo runs");
    let told = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "cargo {} failed: {told}", arguments.join(" "));
}
