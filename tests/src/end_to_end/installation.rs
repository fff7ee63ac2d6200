//! One installation: a database, a directory with the key file, and the program `meridian`, driven
//! as its operator would.

use std::ffi::OsStr;
#[cfg(target_os = "linux")]
use std::fs::DirEntry;
use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use activities::store::clock;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::mail_server::MailServer;
use super::{PATIENCE, program, provider, recipients, tell, until};
use crate::cluster::Database;
use crate::janitor;

/// The provider's webhook signing key.
pub const SIGNING_KEY: &str = "key-of-the-tests-0123456789abcdef";

/// What processes that stay write to.
const LOG: &str = "meridian.log";

/// An installation.
pub struct Installation {
    /// Its database.
    pub database: Database,
    program: PathBuf,
    place: TempDir,
    listen: SocketAddr,
}

/// The program while it serves.
pub struct Serving {
    child: Child,
    log: PathBuf,
}

impl Installation {
    /// Makes an installation with an empty database.
    pub async fn create() -> Self {
        Self::on(Database::create().await).await
    }

    /// Makes an installation on a database.
    pub async fn on(database: Database) -> Self {
        let place = tempfile::tempdir().expect("a directory for the installation");
        janitor::remove_at_end(place.path());
        let installation = Self {
            database,
            program: program::path(),
            place,
            listen: (Ipv4Addr::LOCALHOST, port()).into(),
        };
        installation.run(&["migrate"]).await;
        installation
    }

    /// Sets a campaign for so many recipients up, as an operator would, and starts it. Campaign time
    /// runs at `factor`. Returns where the provider posts to.
    pub async fn begin(&self, mail_server: &MailServer, count: u32, factor: f64) -> String {
        let limits = [["--spacing", "1 hour"], ["--per-day", "30"]];
        self.begin_within(limits, mail_server, count, factor).await
    }

    /// Does the same with other limits of the two senders.
    pub async fn begin_within(
        &self,
        limits: [[&str; 2]; 2],
        mail_server: &MailServer,
        count: u32,
        factor: f64,
    ) -> String {
        let url = mail_server.url();
        for (name, limits) in ["one", "two"].into_iter().zip(limits) {
            let from = format!("{name}@sender.example");
            let sender = ["sender", "add", name, &url, "--from", &from, "--from-name", "Sender"];
            self.run(&[&sender[..], &limits].concat()).await;
        }
        let leads = self.write("leads.csv", &recipients::as_csv(count));
        let imported = self.json(&["lead", "import", &leads]).await;
        assert_eq!(imported["added"], count, "{imported}");
        let endpoint = self.json(&["webhook", "add", "mailgun"]).await;
        let campaign = self.write("campaign.yaml", recipients::CAMPAIGN);
        self.run(&["campaign", "apply", &campaign]).await;
        let mut owner = self.database.owner().await;
        clock::set_factor(&mut owner, factor).await.expect("the clock is there");
        let started = self.json(&["campaign", "start", "three-mails"]).await;
        assert_eq!(started["added"], count, "{started}");
        endpoint["url"].as_str().expect("the address of the endpoint").to_owned()
    }

    /// Starts the campaign `spring` of one mail, after a wait, for these addresses, one a line. The mails are
    /// only kept where there is no server.
    pub async fn begin_one_mail(&self, to: Option<&MailServer>, leads: &str, wait: &str) {
        let mut senders = "";
        if let Some(mail_server) = to {
            senders = "senders: [one]\n";
            let url = mail_server.url();
            let sender = ["sender", "add", "one", &url, "--from", "one@sender.example"];
            self.run(&[&sender[..], &["--spacing", "0 minutes"]].concat()).await;
        }
        let leads = self.write("leads.csv", &format!("email\n{leads}"));
        self.run(&["lead", "import", &leads]).await;
        let campaign = format!(
            "name: spring\nzone: UTC\n{senders}steps:\n  - key: intro\n    wait: {wait}\n\
             \x20   email: {{ subject: Hello, body: Hello. }}\n"
        );
        let campaign = self.write("campaign.yaml", &campaign);
        self.run(&["campaign", "apply", &campaign]).await;
        self.run(&["campaign", "start", "spring"]).await;
    }

    /// Waits until so many leads of that campaign have finished.
    pub async fn finish(&self, serving: &mut Serving, count: u64) {
        until(PATIENCE, async || {
            serving.assert_running();
            let shown = self.json(&["campaign", "show", "spring"]).await;
            let finished = shown["states"]["finished"].as_u64();
            if finished == Some(count) { Ok(()) } else { Err(shown["states"].to_string()) }
        })
        .await;
    }

    /// Goes on with another build of the program, which does the same.
    pub fn build_anew(&mut self) {
        let program = self.place.path().join("meridian-of-tomorrow");
        std::fs::copy(&self.program, &program).expect("a program can be copied");
        let mut file = File::options().append(true).open(&program).expect("the copy is ours");
        // A build is known by the sum of its bytes.
        file.write_all(b"tomorrow").expect("a file can be written");
        self.program = program;
    }

    /// Goes on with another database and an empty log.
    pub fn move_to(&mut self, database: Database) {
        self.database = database;
        std::fs::write(self.place.path().join(LOG), "").expect("the log is ours");
    }

    /// A person looks at each mail of which nobody knows whether it went, finds out at the mail
    /// server, and says so. Returns how many had been sent, and how many had not.
    pub async fn review(&self, mail_server: &MailServer) -> (usize, usize) {
        let accepted = mail_server.accepted();
        let listed = self.json(&["review", "list"]).await;
        let (mut sent, mut again) = (0, 0);
        for review in listed["reviews"].as_array().expect("a list") {
            let Value::String(id) = &review["id"] else { panic!("{review}") };
            let went = accepted.iter().any(|one| one.send.to_string() == *id);
            self.run(&["review", if went { "sent" } else { "again" }, id]).await;
            if went { sent += 1 } else { again += 1 }
        }
        (sent, again)
    }

    /// Returns the beginning of every link.
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Returns the operator's directory.
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    /// Writes a file that the operator has at hand, and returns its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.place.path().join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path.to_str().expect("a temporary directory has a plain name").to_owned()
    }

    /// Runs a command that ends by itself, and returns what it printed.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let (status, stdout, stderr) = self.try_run(arguments).await;
        assert!(status.success(), "meridian {} failed: {stdout}{stderr}", arguments.join(" "));
        stdout
    }

    /// Runs a command and returns what it printed with `--json`.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let printed = self.run(&all).await;
        serde_json::from_str(&printed).expect("a command with --json prints JSON")
    }

    /// Runs a command, and returns how it ended and what it printed.
    pub async fn try_run(&self, arguments: &[&str]) -> (ExitStatus, String, String) {
        self.try_run_with(&[], arguments).await
    }

    /// Does the same with more in its environment.
    pub async fn try_run_with(
        &self,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> (ExitStatus, String, String) {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        let output = command.output().await.expect("the program runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
        (output.status, text(output.stdout), text(output.stderr))
    }

    /// Starts a command that may be killed before it ends, and reaches the database through `url`.
    pub fn start_through(&self, url: &str, arguments: &[&str]) -> Serving {
        self.stay(self.command(arguments).env("DATABASE_URL", url))
    }

    /// Starts `meridian serve`; it may not be ready yet.
    pub fn serve(&self) -> Serving {
        self.stay(&mut self.command(&["serve"]))
    }

    /// Starts `meridian serve` with more in its environment.
    pub fn serve_with(&self, variables: &[(&str, &str)]) -> Serving {
        self.stay(self.command(&["serve"]).envs(variables.iter().copied()))
    }

    /// Starts `meridian serve`, which reaches the database through `url`.
    pub fn serve_through(&self, url: &str) -> Serving {
        self.start_through(url, &["serve"])
    }

    /// Starts `meridian worker`.
    pub fn work(&self) -> Serving {
        self.work_through(&self.database.url)
    }

    /// Starts `meridian worker` with more in its environment.
    pub fn work_with(&self, variables: &[(&str, &str)]) -> Serving {
        let mut command = self.command(&["worker"]);
        self.stay(command.env_remove("MERIDIAN_LISTEN").envs(variables.iter().copied()))
    }

    /// Starts `meridian worker`, which reaches the database through `url`.
    pub fn work_through(&self, url: &str) -> Serving {
        let mut command = self.command(&["worker"]);
        self.stay(command.env_remove("MERIDIAN_LISTEN").env("DATABASE_URL", url))
    }

    fn stay(&self, command: &mut Command) -> Serving {
        let log = self.place.path().join(LOG);
        let open = || File::options().create(true).append(true).open(&log).expect("a log file");
        command.stdout(open()).stderr(open());
        Serving { child: command.spawn().expect("the program runs"), log }
    }

    /// Waits until leads move.
    pub async fn ready(&self, serving: &mut Serving) {
        let url = format!("{}/readyz", self.url());
        until(Duration::from_secs(30), async || {
            serving.assert_running();
            match provider::client().get(&url).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(format!("/readyz answers {}", answer.status())),
                Err(error) => Err(format!("/readyz does not answer: {error}")),
            }
        })
        .await;
    }

    /// Waits until the process says that leads do not move, which it has to within 15 seconds.
    pub async fn unready(&self, serving: &mut Serving) {
        let url = format!("{}/readyz", self.url());
        until(Duration::from_secs(15), async || {
            serving.assert_running();
            match provider::client().get(&url).send().await {
                Ok(answer) if answer.status() == 503 => Ok(()),
                Ok(answer) => Err(format!("/readyz answers {}", answer.status())),
                Err(error) => Err(format!("/readyz does not answer: {error}")),
            }
        })
        .await;
    }

    /// Returns everything `serve` has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.path().join(LOG)).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.place)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DATABASE_URL", &self.database.url)
            .env("MERIDIAN_DATA_DIR", self.place.path())
            .env("MERIDIAN_LISTEN", self.listen.to_string())
            .env("MERIDIAN_PUBLIC_URL", self.url())
            .env("MERIDIAN_REPLY_DOMAIN", "in.sender.example")
            .env("MERIDIAN_WEBHOOK_SIGNING_KEY", OsStr::new(SIGNING_KEY))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(target_os = "linux")]
        die_with_us(&mut command);
        command
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Under another name: the janitor knows this one.
            let name = format!("meridian-failed-{:08x}", rand::random::<u32>());
            let kept = self.place.path().with_file_name(name);
            match std::fs::rename(self.place.path(), &kept) {
                Ok(()) => tell(format_args!("the installation is kept in {}", kept.display())),
                Err(error) => tell(format_args!("the installation is lost: {error}")),
            }
        }
    }
}

impl Serving {
    /// Ends the process as a power cut would.
    pub async fn kill(mut self) {
        self.assert_running();
        self.child.kill().await.expect("our own child can be killed");
    }

    /// Asks the process to end, and returns how it did.
    ///
    /// # Panics
    ///
    /// When it still runs after 30 seconds.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        ended.expect("it ends within 30 seconds").expect("our own child can be waited for")
    }

    /// Freezes the process where it is.
    pub fn freeze(&mut self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets a frozen process go on.
    pub fn thaw(&mut self) {
        self.signal(libc::SIGCONT);
    }

    /// The names of its threads, as far as the kernel keeps them: fifteen letters.
    #[cfg(target_os = "linux")]
    pub fn threads(&mut self) -> Vec<String> {
        let tasks = format!("/proc/{}/task", self.id());
        let tasks = std::fs::read_dir(tasks).expect("a process that runs has threads");
        // One may end meanwhile.
        let name = |task: DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        let names = tasks.filter_map(Result::ok).filter_map(name);
        names.map(|name| name.trim_end().to_owned()).collect()
    }

    /// The number of the process.
    pub fn id(&mut self) -> u32 {
        self.assert_running();
        self.child.id().expect("it has not ended")
    }

    fn signal(&mut self, signal: libc::c_int) {
        let pid = self.id();
        let pid = libc::pid_t::try_from(pid).expect("a process id");
        #[expect(unsafe_code, reason = "std has no call for it; the child was not waited for yet")]
        unsafe {
            libc::kill(pid, signal);
        }
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child can be asked").is_some()
    }

    /// # Panics
    ///
    /// When the process has ended by itself.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("our own child can be asked") {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(20)..].join("\n");
            panic!("meridian serve ended by itself, {status}:\n{tail}");
        }
    }
}

/// Makes the kernel end the program when the thread that starts it is gone, which is the test's: one that
/// is killed or interrupted leaves nothing running, not even what it has frozen.
#[cfg(target_os = "linux")]
fn die_with_us(command: &mut Command) {
    let wish = || {
        #[expect(unsafe_code, reason = "prctl takes plain numbers and may follow a fork")]
        let asked = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if asked == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    #[expect(unsafe_code, reason = "the closure makes one system call: no memory, no locks")]
    unsafe {
        command.pre_exec(wish);
    }
}

/// Returns a port that stays free while the program is down: one that the system gives to nobody who
/// merely connects.
fn port() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = range.ok().and_then(|range| range.split_whitespace().next()?.parse().ok());
    let first: u16 = first.unwrap_or(32_768);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut tries = (0..1_000).map(|_| rand::random_range(10_000..first.max(10_001)));
    tries.find(free).expect("one of many ports is free")
}
