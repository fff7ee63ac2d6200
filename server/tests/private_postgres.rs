//! The private Postgres against the server programs of this machine, as root or as a user.

use std::{
    env,
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use server::private_postgres::{Keeper, PrivatePostgres, Settings, StartError, start};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

/// Set for a copy of this test program that is to own a server until it is killed.
const OWNER_OF: &str = "PRIVATE_POSTGRES_TEST_OWNER_OF";

/// A state directory in memory where there is such a place, which the server's user can enter.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
    tempfile::Builder::new()
        .prefix("meridian-test-")
        .permissions(Permissions::from_mode(0o711))
        .tempdir_in(base)
        .expect("a temporary directory can be made")
}

fn settings(state_dir: &Path) -> Settings {
    // A small server: several run at once here.
    let extra = [("shared_buffers", "16MB"), ("max_connections", "20")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Settings {
        state_dir: state_dir.to_owned(),
        database: "meridian".to_owned(),
        extra: extra.into(),
    }
}

async fn started(state_dir: &Path) -> PrivatePostgres {
    start(settings(state_dir)).await.expect("a private Postgres starts")
}

async fn ask(url: &str, query: &'static str) -> String {
    let mut conn = PgConnection::connect(url).await.expect("the server answers");
    let answer = sqlx::query_scalar(query).fetch_one(&mut conn).await.expect("the query is right");
    conn.close().await.expect("the connection closes");
    answer
}

async fn run(url: &str, statement: &'static str) {
    let mut conn = PgConnection::connect(url).await.expect("the server answers");
    sqlx::raw_sql(statement).execute(&mut conn).await.expect("the statement is right");
    conn.close().await.expect("the connection closes");
}

fn port(postgres: &PrivatePostgres) -> u16 {
    let url: url::Url = postgres.url().parse().expect("a URL");
    url.port().expect("with a port")
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

fn kill(pid: u32) {
    // The shell's own: a small machine has no program of that name.
    let done = Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]).status();
    assert!(done.expect("sh runs").success());
}

/// Waits on a condition, looking often.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_first_start_makes_a_durable_server_for_us_alone() {
    let state = scratch();
    let postgres = started(state.path()).await;
    let url = postgres.url().to_owned();

    assert!(!postgres.attached());
    assert!(url.starts_with("postgres://meridian:"), "{url}");
    for (setting, value) in [
        ("SHOW fsync", "on"),
        ("SHOW full_page_writes", "on"),
        ("SHOW synchronous_commit", "on"),
        ("SHOW data_checksums", "on"),
        ("SHOW listen_addresses", "127.0.0.1"),
        ("SHOW autovacuum_vacuum_scale_factor", "0.02"),
        ("SHOW idle_in_transaction_session_timeout", "1min"),
        // Ours is 100: what the caller asks for wins.
        ("SHOW max_connections", "20"),
        ("SELECT current_database()::text", "meridian"),
        ("SELECT datcollate::text FROM pg_database WHERE datname = 'meridian'", "C.UTF-8"),
    ] {
        assert_eq!(ask(&url, setting).await, value, "{setting}");
    }
    assert!(
        PgConnection::connect(&format!(
            "postgres://meridian@127.0.0.1:{}/meridian",
            port(&postgres)
        ))
        .await
        .is_err()
    );

    let place = state.path().join("postgres");
    let mode = |name| fs::metadata(place.join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("data"), mode("password"), mode("server.log")), (0o700, 0o600, 0o600));
    let leftover = |name: &str| name.starts_with("unfinished-");
    assert!(
        !fs::read_dir(&place)
            .unwrap()
            .any(|entry| leftover(&entry.unwrap().file_name().to_string_lossy()))
    );

    let pid = postgres.pid();
    postgres.stop().await;
    assert!(is_gone(pid));
}

#[tokio::test]
async fn a_restart_keeps_the_data_and_the_port() {
    let state = scratch();
    let first = started(state.path()).await;
    run(first.url(), "CREATE TABLE kept AS SELECT 'still here' AS word").await;
    let url = first.url().to_owned();
    first.stop().await;

    let second = started(state.path()).await;
    assert_eq!(second.url(), url);
    assert_eq!(ask(&url, "SELECT word FROM kept").await, "still here");

    // Somebody takes the port while the server is down.
    let taken = port(&second);
    second.stop().await;
    let _other = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let third = started(state.path()).await;
    assert_ne!(port(&third), taken);
    assert_eq!(ask(third.url(), "SELECT word FROM kept").await, "still here");
    third.stop().await;
}

#[tokio::test]
async fn of_two_first_starts_one_owns_and_the_other_attaches() {
    let state = scratch();
    let (a, b) = tokio::join!(started(state.path()), started(state.path()));
    assert_eq!((a.pid(), a.url()), (b.pid(), b.url()));
    assert_ne!(a.attached(), b.attached());
    let (owner, guest) = if a.attached() { (b, a) } else { (a, b) };

    // Another database on the same server is one more guest's business.
    let other = Settings { database: "other".to_owned(), ..settings(state.path()) };
    let other = start(other).await.unwrap();
    assert_eq!(ask(other.url(), "SELECT current_database()::text").await, "other");
    other.stop().await;

    guest.stop().await;
    assert_eq!(ask(owner.url(), "SHOW fsync").await, "on");
    let pid = owner.pid();
    owner.stop().await;
    assert!(is_gone(pid));
}

#[tokio::test]
async fn a_server_that_was_killed_recovers() {
    let state = scratch();
    let first = started(state.path()).await;
    run(first.url(), "CREATE TABLE kept AS SELECT 'still here' AS word").await;
    kill(first.pid());

    let second = started(state.path()).await;
    assert!(!second.attached());
    assert_eq!(ask(second.url(), "SELECT word FROM kept").await, "still here");
    second.stop().await;
    // The owner of a dead server has nothing to stop.
    first.stop().await;
}

#[tokio::test]
async fn a_stale_pid_file_that_names_somebody_else_is_no_server() {
    let state = scratch();
    let first = started(state.path()).await;
    let data = first.data_dir().to_owned();
    let file = data.join("postmaster.pid");
    let text = fs::read_to_string(&file).unwrap();
    let (pid, port) = (first.pid(), port(&first));
    kill(pid);
    until("the server is gone", || is_gone(pid)).await;

    // The number now belongs to a process of the very same user, and the file says "ready".
    let owner = fs::metadata(&data).unwrap();
    let mut stranger = Command::new("sleep");
    stranger.arg("300").current_dir("/");
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        stranger.uid(owner.uid()).gid(owner.gid());
    }
    let mut stranger = stranger.spawn().unwrap();
    fs::write(&file, text.replacen(&pid.to_string(), &stranger.id().to_string(), 1)).unwrap();

    let second = started(state.path()).await;
    assert!(!second.attached());
    assert_ne!(second.pid(), stranger.id());
    assert!(second.url().contains(&format!(":{port}/")));
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    second.stop().await;
    drop(first);
}

/// Not a test but the child of one: owns a server until it is killed. Does nothing in a normal run.
#[tokio::test]
async fn owns_a_server_until_killed() {
    let Some(state) = env::var_os(OWNER_OF) else { return };
    let postgres = started(&PathBuf::from(state)).await;
    fs::write(env::current_dir().unwrap().join("owned"), postgres.url()).unwrap();
    std::future::pending::<()>().await;
}

/// Runs this program once more, as the owner of the server in `state`, and waits until it is.
async fn owner(state: &Path) -> (Child, String) {
    let told = tempfile::tempdir().expect("a temporary directory can be made");
    let mut child = Command::new(env::current_exe().expect("a program knows itself"))
        .args(["--exact", "owns_a_server_until_killed", "--nocapture"])
        .env(OWNER_OF, state)
        .current_dir(told.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a program can be run once more");
    let file = told.path().join("owned");
    until("the child owns a server", || {
        assert!(
            child.try_wait().expect("our own child").is_none(),
            "the child ended: {:?}",
            output(&mut child)
        );
        fs::read_to_string(&file).is_ok_and(|url| !url.is_empty())
    })
    .await;
    let url = fs::read_to_string(file).expect("it was there a moment ago");
    (child, url)
}

fn output(child: &mut Child) -> Vec<String> {
    let pipe = child.stdout.take().expect("piped");
    BufReader::new(pipe).lines().map_while(Result::ok).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_server_goes_with_its_killed_owner() {
    let state = scratch();
    let (mut child, url) = owner(state.path()).await;
    let guest = started(state.path()).await;
    assert!(guest.attached());
    assert_eq!(guest.url(), url);

    child.kill().unwrap();
    child.wait().unwrap();

    // At once, so that it meets the dying server and has to wait for it.
    let next = started(state.path()).await;
    assert!(!next.attached());
    assert_ne!(next.pid(), guest.pid());
    assert_eq!(next.url(), url);
    until("the old server is gone", || is_gone(guest.pid())).await;
    next.stop().await;
}

#[tokio::test]
async fn a_guest_that_is_kept_takes_over_when_the_owner_goes() {
    let state = scratch();
    let owner = started(state.path()).await;
    let guest = started(state.path()).await;
    let (url, first) = (owner.url().to_owned(), owner.pid());
    run(&url, "CREATE TABLE kept AS SELECT 'still here' AS word").await;
    let keeper = Keeper::new(guest, settings(state.path()));

    owner.stop().await;

    let mut answer = None;
    let started_at = Instant::now();
    while answer.is_none() && started_at.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = PgConnection::connect(&url).await.ok();
    }
    answer.expect("the server is back at its place").close().await.unwrap();
    assert_eq!(ask(&url, "SELECT word FROM kept").await, "still here");
    let guest = started(state.path()).await;
    let second = guest.pid();
    assert_ne!(second, first);
    keeper.stop().await;
    assert!(is_gone(second), "whoever took over stops it in the end");
}

#[tokio::test]
async fn dropping_the_owner_stops_the_server() {
    let state = scratch();
    let postgres = started(state.path()).await;
    let pid = postgres.pid();
    drop(postgres);
    until("the server is gone", || is_gone(pid)).await;
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let state = scratch();
    let deep = state.path().join("a-rather-long-name-".repeat(8));
    let postgres = started(&deep).await;
    assert!(postgres.data_dir().as_os_str().len() > 110);
    postgres.stop().await;
}

#[tokio::test]
async fn a_lost_password_is_said_and_nothing_is_thrown_away() {
    let state = scratch();
    started(state.path()).await.stop().await;
    fs::remove_file(state.path().join("postgres/password")).unwrap();

    match start(settings(state.path())).await {
        Err(StartError::NoPassword { data, .. }) => assert!(data.join("PG_VERSION").exists()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_setting_the_server_refuses_is_told_from_its_log() {
    let state = scratch();
    let mut settings = settings(state.path());
    settings.extra.push(("shared_buffers".to_owned(), "plenty".to_owned()));

    match start(settings).await {
        Err(error @ StartError::Ended { .. }) => {
            assert!(error.to_string().contains("shared_buffers"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_place_the_servers_user_cannot_enter_is_named() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return; // A user runs the server as themselves and can always enter.
    }
    let state = scratch();
    fs::set_permissions(state.path(), Permissions::from_mode(0o700)).unwrap();

    match start(settings(state.path())).await {
        Err(error @ StartError::Blocked { .. }) => {
            let fix = format!("chmod o+x {}", state.path().display());
            assert!(error.to_string().contains(&fix), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_name_that_would_need_quoting_is_refused() {
    let state = scratch();
    let settings = Settings { database: "a;b".to_owned(), ..settings(state.path()) };
    assert!(matches!(start(settings).await, Err(StartError::DatabaseName(_))));
}
