//! The cluster's files: made once by `initdb`, completely or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    process::{Command, Stdio},
};

use super::{OWNER, StartError, account::Account, binaries, binaries::Binaries, place::Place};

/// What the directories are called in which clusters are made before they are moved into place.
const UNFINISHED: &str = "unfinished-";

/// The major version that made the cluster; `None` if there is no cluster yet.
pub(super) fn major(place: &Place) -> Result<Option<u32>, StartError> {
    let path = place.data.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => binaries::major(&text)
            .map(Some)
            .ok_or_else(|| StartError::io("understand", &path)(io::ErrorKind::InvalidData.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartError::io("read", &path)(error)),
    }
}

/// The password of the cluster's owner.
pub(super) fn password(place: &Place) -> Result<String, StartError> {
    match fs::read_to_string(&place.password) {
        Ok(password) => Ok(password),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StartError::NoPassword {
            data: place.data.clone(),
            password: place.password.clone(),
        }),
        Err(error) => Err(StartError::io("read", &place.password)(error)),
    }
}

/// Makes the cluster and its password.
///
/// `initdb` works beside the final place and the result is renamed: whoever is killed here leaves
/// nothing that looks like a cluster.
pub(super) async fn create(
    place: &Place,
    binaries: &Binaries,
    account: Option<&Account>,
) -> Result<(), StartError> {
    tracing::info!(
        postgres.data_dir = %place.data.display(),
        postgres.major = binaries.major,
        "creating the private Postgres",
    );
    let password = random_hex::<24>();
    write_password(&place.password, &password)?;

    clear_unfinished(&place.dir);
    // A new name each time: an initdb whose starter was killed may still be writing to the old one.
    let fresh = &place.dir.join(format!("{UNFINISHED}{}", random_hex::<6>()));
    DirBuilder::new().mode(0o700).create(fresh).map_err(StartError::io("create", fresh))?;
    // The server's user reads this copy; the one that lasts stays ours.
    let lent = fresh.join("password");
    write_password(&lent, &password)?;
    if let Some(account) = account {
        account.own(&lent)?;
        account.own(fresh)?;
    }

    let data = fresh.join("data");
    initdb(&data, &lent, binaries, account).await?;
    fs::rename(&data, &place.data).map_err(StartError::io("create", &place.data))?;
    sync(&place.dir)?;
    fs::remove_dir_all(fresh).map_err(StartError::io("remove", fresh))
}

async fn initdb(
    data: &Path,
    password: &Path,
    binaries: &Binaries,
    account: Option<&Account>,
) -> Result<(), StartError> {
    let program = binaries.dir.join("initdb");
    let mut command = Command::new(&program);
    command
        .args(["-U", OWNER, "-E", "UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"])
        .arg("--data-checksums")
        .arg("--pwfile")
        .arg(password)
        .arg("-D")
        .arg(data)
        .current_dir("/")
        .env_remove("PGDATA")
        .stdin(Stdio::null());
    if let Some(account) = account {
        account.run(&mut command);
    }
    let output = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(StartError::io("run", &program))?;
    if output.status.success() {
        return Ok(());
    }
    Err(StartError::Initdb {
        data: data.to_owned(),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn random_hex<const BYTES: usize>() -> String {
    hex::encode(rand::random::<[u8; BYTES]>())
}

/// Removes what killed starts have left, as far as possible: it is only in the way of the disk.
fn clear_unfinished(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED))
    {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove an unfinished cluster");
        }
    }
}

fn write_password(path: &Path, password: &str) -> Result<(), StartError> {
    let failed = || StartError::io("write", path);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(failed())?;
    file.write_all(password.as_bytes()).map_err(failed())?;
    file.sync_all().map_err(failed())
}

/// Makes the names in `dir` survive a power cut.
fn sync(dir: &Path) -> Result<(), StartError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StartError::io("sync", dir))
}
