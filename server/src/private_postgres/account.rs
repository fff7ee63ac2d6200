//! Whom the server runs as: Postgres refuses root, so root lends it an unprivileged user.
//!
//! Everyone else runs it as themselves, and then there is no [`Account`] at all.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use super::StartError;

/// Users that exist on most machines and own little.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// An unprivileged user that root runs the server as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
    name: String,
}

impl Account {
    /// Makes `command` run as this user, without root's supplementary groups.
    pub(super) fn run(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives `path` to this user.
    pub(super) fn own(&self, path: &Path) -> Result<(), StartError> {
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(StartError::io("change the owner of", path))
    }

    fn named(name: &str) -> Option<Self> {
        // `id` knows users from every source the machine is set up for, not only /etc/passwd.
        let id = |what: &str| -> Option<u32> {
            let output = Command::new("id").args([what, "--", name]).output().ok()?;
            output.status.success().then_some(())?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        let (uid, gid) = (id("-u")?, id("-g")?);
        (uid != 0).then(|| Self { uid, gid, name: name.to_owned() })
    }

    fn may_enter(&self, directory: &fs::Metadata) -> bool {
        let bit = if directory.uid() == self.uid {
            0o100
        } else if directory.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        directory.mode() & bit != 0
    }
}

/// Whether this process has root's rights.
pub(super) fn is_root() -> bool {
    #[expect(unsafe_code, reason = "std has no call for it; geteuid takes nothing and cannot fail")]
    unsafe {
        libc::geteuid() == 0
    }
}

/// Chooses whom to run the server as: the owner of an existing cluster, else `wanted`, else one of
/// the usual users. `None` where we are not root and need nobody.
pub(super) fn choose(data: &Path, wanted: Option<&str>) -> Result<Option<Account>, StartError> {
    if !is_root() {
        return Ok(None);
    }
    match fs::metadata(data) {
        Ok(owner) if owner.uid() != 0 => {
            let (uid, gid) = (owner.uid(), owner.gid());
            return Ok(Some(Account { uid, gid, name: format!("user {uid}") }));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StartError::io("look at", data)(error)),
    }
    if let Some(name) = wanted {
        let unusable = || StartError::UnusableAccount(name.to_owned());
        return Account::named(name).map(Some).ok_or_else(unusable);
    }
    CANDIDATES.iter().find_map(|name| Account::named(name)).map(Some).ok_or(StartError::NoAccount)
}

/// Checks that the server's user can reach `data` through every directory above it.
///
/// Without this look the server would only say that it cannot find its files.
pub(super) fn check_way(data: &Path, account: Option<&Account>) -> Result<(), StartError> {
    let Some(account) = account else { return Ok(()) };
    for dir in data.ancestors().skip(1) {
        let found = fs::metadata(dir).map_err(StartError::io("look at", dir))?;
        if !account.may_enter(&found) {
            return Err(StartError::Blocked {
                account: account.name.clone(),
                dir: dir.to_owned(),
                mode: found.permissions().mode() & 0o7777,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(mode: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        dir
    }

    #[test]
    fn the_directory_that_blocks_the_way_is_named() {
        let outer = directory(0o711);
        let inner = outer.path().join("closed");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Account { uid: 4_000_000, gid: 4_000_000, name: "stranger".to_owned() };

        assert!(check_way(&inner, Some(&stranger)).is_ok());
        match check_way(&inner.join("data"), Some(&stranger)) {
            Err(StartError::Blocked { dir, mode, .. }) => assert_eq!((dir, mode), (inner, 0o700)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn root_is_never_the_servers_user() {
        assert_eq!(Account::named("root"), None);
        assert_eq!(Account::named("no such user"), None);
        assert_eq!(Account::named("--help"), None);
    }
}
