//! Who holds a data directory: read from the server's `postmaster.pid`, and checked, because that
//! file outlives its server and names a number that may since belong to anyone.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{StartError, guardian};

/// Who holds a data directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// A server may be started.
    Nobody,
    /// A server runs here. It takes connections on `ready_port`, unless it is starting.
    Server { pid: u32, ready_port: Option<u16> },
    /// The server is gone, a process of its still writes. It ends by itself, very soon.
    Remains { pid: u32 },
}

/// Looks who holds `data`, and removes a `postmaster.pid` that would keep a server from starting
/// though nobody does. Call it under the lock: a server that just starts has no readable file.
pub(super) fn look(data: &Path) -> Result<Holder, StartError> {
    let path = data.join("postmaster.pid");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
        Err(error) => return Err(StartError::io("read", &path)(error)),
    };
    let file = PidFile::parse(&text);
    if let Some(file) = &file
        && is_server(file.pid, data)
    {
        let ready_port = file.port.filter(|_| file.ready);
        return Ok(Holder::Server { pid: file.pid, ready_port });
    }
    // Starting a second server beside what a killed one left running would ruin the data.
    if let Some(pid) = processes().find(|pid| works_in(*pid, data).unwrap_or(false)) {
        return Ok(Holder::Remains { pid });
    }
    // A file that names a dead process stays: Postgres checks it once more and replaces it.
    if file.is_none_or(|file| guardian::is_alive(file.pid)) {
        tracing::info!(postgres.data_dir = %data.display(), "removing a stale postmaster.pid");
        fs::remove_file(&path).map_err(StartError::io("remove", &path))?;
    }
    Ok(Holder::Nobody)
}

/// Whether the server `pid` has written that it takes connections.
pub(super) fn is_ready(data: &Path, pid: u32) -> bool {
    fs::read_to_string(data.join("postmaster.pid"))
        .ok()
        .and_then(|text| PidFile::parse(&text))
        .is_some_and(|file| file.pid == pid && file.ready)
}

/// The lines of `postmaster.pid` that matter here: the first, the fourth and the eighth.
#[derive(Debug, PartialEq, Eq)]
struct PidFile {
    pid: u32,
    port: Option<u16>,
    ready: bool,
}

impl PidFile {
    fn parse(text: &str) -> Option<Self> {
        let line = |number: usize| text.lines().nth(number - 1).map(str::trim);
        Some(Self {
            pid: line(1)?.parse().ok().filter(|pid| *pid > 0)?,
            port: line(4).and_then(|port| port.parse().ok()),
            ready: line(8) == Some("ready"),
        })
    }
}

/// Whether `pid` is the server on `data`: it works in that directory.
///
/// A process may hide its directory, even from a root without the right to trace; then its owner
/// and its name decide. Without `/proc` the number alone has to do.
pub(super) fn is_server(pid: u32, data: &Path) -> bool {
    if !Path::new("/proc/self").exists() {
        return guardian::is_alive(pid);
    }
    works_in(pid, data).unwrap_or_else(|error| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let owner = |path: &Path| fs::metadata(path).map(|found| found.uid()).ok();
        error.kind() == io::ErrorKind::PermissionDenied
            && owner(&process) == owner(data)
            && fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "postgres")
    })
}

fn works_in(pid: u32, data: &Path) -> io::Result<bool> {
    Ok(fs::read_link(format!("/proc/{pid}/cwd"))? == fs::canonicalize(data)?)
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str =
        "4711\n/data\n1700000000\n5433\n\n127.0.0.1\n  1234567         5\nready   \n";

    #[test]
    fn the_servers_file_is_read_as_it_grows() {
        let file = |ready| Some(PidFile { pid: 4711, port: Some(5433), ready });
        assert_eq!(PidFile::parse(READY), file(true));
        assert_eq!(PidFile::parse(&READY.replace("ready   ", "starting")), file(false));
        assert_eq!(
            PidFile::parse("4711\n/data\n"),
            Some(PidFile { pid: 4711, port: None, ready: false })
        );
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(PidFile::parse("0\n"), None);
    }

    #[test]
    fn a_file_that_names_somebody_else_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("postmaster.pid");
        for text in [READY.replace("4711", &std::process::id().to_string()), String::new()] {
            fs::write(&path, text).unwrap();
            assert_eq!(look(data.path()).unwrap(), Holder::Nobody);
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_a_killed_server_left_running_holds_its_directory() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("postmaster.pid"), READY.replace("4711", "4194305")).unwrap();
        let mut child =
            std::process::Command::new("sleep").arg("60").current_dir(data.path()).spawn().unwrap();

        let held = look(data.path()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        assert_eq!(held, Holder::Remains { pid: child.id() });
        assert_eq!(look(data.path()).unwrap(), Holder::Nobody);
    }
}
