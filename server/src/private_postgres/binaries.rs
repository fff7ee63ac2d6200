//! Where the server's programs are. Nothing is downloaded: they come with the machine or are named.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::StartError;

/// Directories whose children may hold a server in `bin`: Debian, Homebrew, Postgres.app.
const ROOTS: [&str; 4] = [
    "/usr/lib/postgresql",
    "/opt/homebrew/opt",
    "/usr/local/opt",
    "/Applications/Postgres.app/Contents/Versions",
];

/// A directory with `postgres`, `initdb` and what belongs to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    fn at(dir: &Path) -> Option<Self> {
        let postgres = dir.join("postgres");
        if !postgres.is_file() || !dir.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(&postgres).arg("--version").output().ok()?;
        let major = major(&String::from_utf8_lossy(&output.stdout))?;
        // A directory of links works only from its real place, where the other files are.
        let dir = fs::canonicalize(&postgres).ok()?.parent()?.to_owned();
        Some(Self { dir, major })
    }
}

/// Finds the programs to run: in `named` if given, else the newest on the machine; for an existing
/// cluster only those of its own major version.
pub(super) fn find(
    named: Option<&Path>,
    search_path: Option<&OsStr>,
    data: &Path,
    cluster_major: Option<u32>,
) -> Result<Binaries, StartError> {
    let mut found = match named {
        Some(dir) => {
            let unusable = || StartError::UnusableBinaries { dir: dir.to_owned() };
            vec![Binaries::at(dir).ok_or_else(unusable)?]
        }
        None => candidates(search_path).iter().filter_map(|dir| Binaries::at(dir)).collect(),
    };
    if found.is_empty() {
        return Err(StartError::NoBinaries);
    }
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    found.dedup_by_key(|binaries| binaries.major);
    let Some(cluster) = cluster_major else { return Ok(found.remove(0)) };
    let majors = found.iter().map(|binaries| binaries.major).collect();
    found.into_iter().find(|binaries| binaries.major == cluster).ok_or(StartError::OtherMajor {
        data: data.to_owned(),
        cluster,
        found: majors,
    })
}

fn candidates(search_path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        search_path.map(|path| env::split_paths(path).collect()).unwrap_or_default();
    dirs.extend(ROOTS.iter().flat_map(|root| children(root)).map(|dir| dir.join("bin")));
    // Packages for Red Hat put each version in a directory of its own, right below /usr.
    let numbered = |dir: &PathBuf| dir.to_string_lossy().starts_with("/usr/pgsql-");
    dirs.extend(children("/usr").filter(numbered).map(|dir| dir.join("bin")));
    dirs
}

fn children(root: &str) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The major version in the likes of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
pub(super) fn major(text: &str) -> Option<u32> {
    let number =
        text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn server(root: &Path, name: &str, version: &str) -> PathBuf {
        let dir = root.join(name);
        fs::create_dir(&dir).unwrap();
        for program in ["postgres", "initdb"] {
            let path = dir.join(program);
            fs::write(&path, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n"))
                .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("15\n"), Some(15));
        assert_eq!(major("not a server"), None);
    }

    #[test]
    fn the_newest_server_is_taken_and_an_old_cluster_keeps_its_own() {
        let root = tempfile::tempdir().unwrap();
        // Versions no machine has, so that its own servers do not matter.
        let old = server(root.path(), "old", "901.4");
        let new = server(root.path(), "new", "902.0");
        let path = env::join_paths([&old, &new]).unwrap();
        let find = |major| find(None, Some(&path), Path::new("/data"), major);

        assert_eq!(find(None).unwrap().major, 902);
        assert_eq!(find(Some(901)).unwrap().dir, fs::canonicalize(&old).unwrap());
        let error = find(Some(900)).unwrap_err().to_string();
        assert!(error.contains("made by PostgreSQL 900"), "{error}");
        assert!(error.contains("902, 901"), "{error}");
    }

    #[test]
    fn a_link_leads_to_the_directory_it_points_into() {
        let root = tempfile::tempdir().unwrap();
        let real = server(root.path(), "real", "17.2");
        let links = root.path().join("links");
        fs::create_dir(&links).unwrap();
        for program in ["postgres", "initdb"] {
            std::os::unix::fs::symlink(real.join(program), links.join(program)).unwrap();
        }

        let found = find(Some(&links), None, Path::new("/data"), None).unwrap();
        assert_eq!(found, Binaries { dir: fs::canonicalize(&real).unwrap(), major: 17 });
    }

    #[test]
    fn a_named_directory_without_a_server_is_an_error() {
        let empty = tempfile::tempdir().unwrap();
        let found = find(Some(empty.path()), None, Path::new("/data"), None);
        assert!(matches!(found, Err(StartError::UnusableBinaries { .. })));
    }
}
