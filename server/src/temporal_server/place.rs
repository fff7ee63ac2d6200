//! Where a development server lives: its files, its port, and a lock that it inherits and holds as long
//! as it lives, whatever becomes of us. So the lock tells whether a server runs on these files; that somebody
//! answers at the port of last time does not, for it may have become anybody's.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// How many ports are tried.
const PORTS: usize = 20;

/// A directory of a server.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

/// The right to run a server in a place.
#[derive(Debug)]
pub(super) struct Claim(File);

impl Claim {
    /// Returns the lock, for the server to inherit.
    pub(super) fn into_file(self) -> File {
        self.0
    }
}

impl Place {
    /// Returns the place below a data directory, which may not be there.
    pub(super) fn below(data_dir: &Path) -> Self {
        Self(data_dir.join("temporal"))
    }

    /// Makes the directory.
    pub(super) fn make(&self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.0).with_context(|| format!("cannot create {}", self.0.display()))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    pub(super) fn database(&self) -> PathBuf {
        self.0.join("server.db")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("server.log")
    }

    /// Claims the place; `None` while a server runs here, or somebody is about to start one.
    pub(super) fn claim(&self) -> io::Result<Option<Claim>> {
        let file = File::options().create(true).append(true).open(self.0.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Claim(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The port of the last start, if there was one.
    pub(super) fn last_port(&self) -> Option<u16> {
        fs::read_to_string(self.port()).ok()?.trim().parse().ok()
    }

    /// Chooses a port for whoever holds the claim, and keeps it: that of last time where it is free.
    pub(super) fn choose_port(&self, _: &Claim) -> anyhow::Result<u16> {
        if let Some(last) = self.last_port()
            && is_free(last)
        {
            return Ok(last);
        }
        for _ in 0..PORTS {
            let any = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
            let port = any.local_addr().context("a listener has an address")?.port();
            drop(any);
            if is_free(port) {
                let file = self.port();
                fs::write(&file, port.to_string())
                    .with_context(|| format!("cannot write {}", file.display()))?;
                return Ok(port);
            }
        }
        bail!("no two ports are free for Temporal's server")
    }

    fn port(&self) -> PathBuf {
        self.0.join("port")
    }
}

/// The port of the server's own pages follows from its other one.
pub(super) fn ui_port(port: u16) -> u16 {
    port.checked_add(1_000).unwrap_or_else(|| port - 1_000)
}

fn is_free(port: u16) -> bool {
    [port, ui_port(port)].iter().all(|it| TcpListener::bind((Ipv4Addr::LOCALHOST, *it)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::below(dir.path());
        place.make().unwrap();
        (dir, place)
    }

    #[test]
    fn a_place_has_one_claim_at_a_time() {
        let (_dir, place) = place();
        let claim = place.claim().unwrap().unwrap();
        assert!(place.claim().unwrap().is_none());
        drop(claim);
        assert!(place.claim().unwrap().is_some());
    }

    #[test]
    fn the_port_of_last_time_is_kept_until_it_is_somebody_elses() {
        let (_dir, place) = place();
        let claim = place.claim().unwrap().unwrap();
        let port = place.choose_port(&claim).unwrap();
        assert_eq!(place.last_port(), Some(port));
        assert_eq!(place.choose_port(&claim).unwrap(), port);
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let other = place.choose_port(&claim).unwrap();
        assert_ne!(other, port);
        assert_eq!(place.last_port(), Some(other));
        drop(stranger);
        let _of_pages = TcpListener::bind((Ipv4Addr::LOCALHOST, ui_port(other))).unwrap();
        assert_ne!(place.choose_port(&claim).unwrap(), other);
    }
}
