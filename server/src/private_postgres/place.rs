//! The directory of the private Postgres: which file is where, and who may be in it at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use super::{StartError, account, patience::Patience};

/// A log longer than this is put aside at the next start.
const LOG_BYTES_MAX: u64 = 10_000_000;

/// How much of the log's end goes into an error.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: u64 = 4_000;

/// The files of one private Postgres.
#[derive(Debug)]
pub(super) struct Place {
    /// Ours; everything else is in it.
    pub(super) dir: PathBuf,
    /// The cluster, owned by the server's user.
    pub(super) data: PathBuf,
    /// The password of the cluster's owner, for us alone.
    pub(super) password: PathBuf,
    /// What the server writes, for us alone.
    pub(super) log: PathBuf,
    port: PathBuf,
    lock: PathBuf,
}

impl Place {
    /// Creates the directory for the server in `state_dir`, and `state_dir` itself if absent.
    pub(super) fn create(state_dir: &Path) -> Result<Self, StartError> {
        make_dir(state_dir)?;
        let state_dir = fs::canonicalize(state_dir).map_err(StartError::io("find", state_dir))?;
        let dir = state_dir.join("postgres");
        make_dir(&dir)?;
        Ok(Self {
            data: dir.join("data"),
            password: dir.join("password"),
            log: dir.join("server.log"),
            port: dir.join("port"),
            lock: dir.join("lock"),
            dir,
        })
    }

    /// Waits until no other process starts a server here; lasts as long as the answer lives.
    pub(super) async fn lock(&self) -> Result<File, StartError> {
        let failed = || StartError::io("lock", &self.lock);
        let file = open_private(&self.lock, OpenOptions::new().write(true)).map_err(failed())?;
        let mut patience = Patience::new();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed()(error)),
            }
            if patience.is_over("another process that is starting the private Postgres") {
                return Err(StartError::Busy(self.dir.clone()));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The port of the last start, if there was one.
    pub(super) fn last_port(&self) -> Option<u16> {
        fs::read_to_string(&self.port).ok()?.trim().parse().ok()
    }

    /// Keeps `port` for the next start.
    pub(super) fn remember_port(&self, port: u16) -> Result<(), StartError> {
        fs::write(&self.port, port.to_string()).map_err(StartError::io("write", &self.port))
    }

    /// Opens the log to append to.
    pub(super) fn open_log(&self) -> Result<File, StartError> {
        open_private(&self.log, OpenOptions::new().append(true))
            .map_err(StartError::io("open", &self.log))
    }

    /// Puts a log aside that has grown long; the one before it goes.
    pub(super) fn turn_log(&self) -> Result<(), StartError> {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            fs::rename(&self.log, self.log.with_extension("log.1"))
                .map_err(StartError::io("rename", &self.log))?;
        }
        Ok(())
    }

    /// The last lines of the log, as far as it can be read.
    pub(super) fn log_tail(&self) -> String {
        let text = read_end(&self.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

/// Creates `dir` if absent. Root's can be entered by the server's user, other people's by themselves.
fn make_dir(dir: &Path) -> Result<(), StartError> {
    if dir.is_dir() {
        return Ok(());
    }
    let mode = if account::is_root() { 0o711 } else { 0o700 };
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(dir)
        .map_err(StartError::io("create", dir))?;
    // Once more, because the umask may have taken something away.
    fs::set_permissions(dir, Permissions::from_mode(mode)).map_err(StartError::io("open up", dir))
}

fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.create(true).mode(0o600).open(path)
}

fn read_end(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end_of_a_long_log() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::create(dir.path()).unwrap();
        let lines: Vec<String> = (0..5_000).map(|n| format!("line {n}")).collect();
        fs::write(&place.log, lines.join("\n")).unwrap();

        assert_eq!(place.log_tail(), lines[5_000 - TAIL_LINES..].join("\n"));
    }

    #[test]
    fn a_long_log_is_put_aside_and_a_short_one_kept() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::create(dir.path()).unwrap();
        place.open_log().unwrap();
        place.turn_log().unwrap();
        assert!(place.log.exists());

        place.open_log().unwrap().set_len(LOG_BYTES_MAX + 1).unwrap();
        place.turn_log().unwrap();
        assert!(!place.log.exists());
        assert!(place.dir.join("server.log.1").exists());
    }

    #[test]
    fn nobody_else_reads_what_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::create(&dir.path().join("new/state")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;

        let log = place.open_log().unwrap();
        assert_eq!(log.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(mode(&place.dir) & 0o066, 0);
    }
}
