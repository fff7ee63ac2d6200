//! Removes what a test process leaves behind, however it ends: values of statics are never dropped, and
//! neither is anything in a process that is interrupted or killed.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};

/// Hears of places, one in a line, until the process that tells them is gone. A server that ends with
/// that process is given the time to write its last.
const SCRIPT: &str = r#"
places=
while IFS= read -r place; do places="$places$place
"; done
printf %s "$places" | while IFS= read -r place; do
    looks=0
    while [ -e "$place/postgres/data/postmaster.pid" ] && [ $looks -lt 100 ]; do
        sleep 0.1
        looks=$((looks + 1))
    done
    rm -rf -- "$place"
done
"#;

static JANITOR: LazyLock<Mutex<Child>> = LazyLock::new(|| {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // A Ctrl-C is for us.
    Mutex::new(command.process_group(0).spawn().expect("every system has a shell"))
});

/// Has `place` removed when this process is gone, if it is still there.
///
/// # Panics
///
/// When there is nobody to do it.
pub fn remove_at_end(place: &Path) {
    let mut janitor = JANITOR.lock().expect("no holder panics");
    let ears = janitor.stdin.as_mut().expect("it is piped");
    let line = [place.as_os_str().as_bytes(), b"\n"].concat();
    ears.write_all(&line).expect("the janitor lives as long as we do");
}
