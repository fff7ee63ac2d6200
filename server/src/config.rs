//! Configuration: flags over the environment over `meridian.toml`. Everything is read and checked
//! here, once, and every fault is told at once with its fix; nothing deeper in the program reads
//! the environment.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use url::Url;

use crate::private_postgres;

/// The file that is read where none is named.
const FILE: &str = "meridian.toml";

/// Variables that are read elsewhere, each in one place.
const OTHER_VARIABLES: [&str; 5] = [
    "MERIDIAN_CONFIG",
    "MERIDIAN_PG_BIN",
    "MERIDIAN_PG_USER",
    "MERIDIAN_SENDER_PASSWORD",
    "MERIDIAN_WEBHOOK_SIGNING_KEY",
];

/// What the command line may say about configuration.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Read configuration from this file instead of ./meridian.toml [env: MERIDIAN_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Work on this Postgres; without one, on a private one of our own [env: DATABASE_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "Configuration")]
    pub database_url: Option<String>,
    /// Keep the private Postgres and the key file here [env: MERIDIAN_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Configuration")]
    pub data_dir: Option<String>,
    /// Work in this workspace [env: MERIDIAN_WORKSPACE] [default: default]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Configuration")]
    pub workspace: Option<String>,
    /// Log at this level: error, warn, info, debug, or per module [env: MERIDIAN_LOG]
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Configuration")]
    pub log: Option<String>,
}

/// What the commands that run leads may say beside that.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RunFlags {
    /// Answer HTTP on this address [env: MERIDIAN_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The address under which the world reaches us: links in mails begin with it [env:
    /// MERIDIAN_PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Open at most this many connections to the database [env: MERIDIAN_CONNECTIONS] [default: 20]
    #[arg(long, value_name = "N")]
    pub connections: Option<String>,
    /// Write logs as `json` or as `text` [env: MERIDIAN_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Where the data are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// On a server that somebody runs. The URL may hold a password: not for logs.
    Url(String),
    /// On a server of our own, below the data directory.
    Private,
}

/// Where the master key is.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// In the environment, in hexadecimal.
    Hex(SecretString),
    /// In a file, made on first use.
    File(PathBuf),
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people.
    Text,
}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the data are.
    pub database: Database,
    /// The private Postgres and the key file live below it.
    pub data_dir: PathBuf,
    /// The name of the workspace.
    pub workspace: String,
    /// Where the master key is.
    pub keys: KeySource,
    /// Where HTTP is answered.
    pub listen: SocketAddr,
    /// Whether somebody said where.
    pub listen_was_set: bool,
    /// The address under which the world reaches us, if somebody said so.
    pub public_url: Option<Url>,
    /// The mail domain whose mail comes back to us through a webhook.
    pub reply_domain: Option<String>,
    /// The most connections to the database.
    pub connections: u32,
    /// What is logged, where somebody said so.
    pub log: Option<String>,
    /// How logs are written, where somebody said so.
    pub log_format: Option<LogFormat>,
    /// Variables and the like that have no effect; worth a word.
    pub warnings: Vec<String>,
}

impl Config {
    /// Returns the address that links in mails begin with, without a slash at the end.
    pub fn link_base(&self) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.listen),
        }
    }
}

/// One thing wrong with the configuration, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was said: a flag, a variable, a file.
    pub place: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Every fault of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.0.len() == 1 { "fault" } else { "faults" };
        write!(f, "the configuration has {} {many}", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}

/// What a command needs beyond the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// To be reachable, and to stand beside others: a database and a public address of one's own.
    Production,
}

/// One setting under its three names.
struct Setting {
    key: &'static str,
    flag: Option<&'static str>,
    variable: &'static str,
}

const DATABASE_URL: Setting =
    Setting { key: "database_url", flag: Some("--database-url"), variable: "DATABASE_URL" };
const DATA_DIR: Setting =
    Setting { key: "data_dir", flag: Some("--data-dir"), variable: "MERIDIAN_DATA_DIR" };
const WORKSPACE: Setting =
    Setting { key: "workspace", flag: Some("--workspace"), variable: "MERIDIAN_WORKSPACE" };
const LISTEN: Setting =
    Setting { key: "listen", flag: Some("--listen"), variable: "MERIDIAN_LISTEN" };
const PUBLIC_URL: Setting =
    Setting { key: "public_url", flag: Some("--public-url"), variable: "MERIDIAN_PUBLIC_URL" };
const CONNECTIONS: Setting =
    Setting { key: "connections", flag: Some("--connections"), variable: "MERIDIAN_CONNECTIONS" };
const LOG: Setting = Setting { key: "log", flag: Some("--log"), variable: "MERIDIAN_LOG" };
const LOG_FORMAT: Setting =
    Setting { key: "log_format", flag: Some("--log-format"), variable: "MERIDIAN_LOG_FORMAT" };
const REPLY_DOMAIN: Setting =
    Setting { key: "reply_domain", flag: None, variable: "MERIDIAN_REPLY_DOMAIN" };
const KEY_FILE: Setting = Setting { key: "key_file", flag: None, variable: "MERIDIAN_KEY_FILE" };
/// A key has no flag and no place in a file: both would be read by others.
const KEY_VARIABLE: &str = "MERIDIAN_KEY";

const SETTINGS: [&Setting; 10] = [
    &DATABASE_URL,
    &DATA_DIR,
    &WORKSPACE,
    &LISTEN,
    &PUBLIC_URL,
    &CONNECTIONS,
    &LOG,
    &LOG_FORMAT,
    &REPLY_DOMAIN,
    &KEY_FILE,
];

/// The process's environment, or a made-up one.
pub trait Environment {
    /// Returns a variable, if it is set and not empty.
    fn get(&self, name: &str) -> Option<String>;
    /// Returns the names of all variables.
    fn names(&self) -> Vec<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        // Text that is no Unicode is told as the fault it will be where it is read.
        let value = std::env::var_os(name)?.to_string_lossy().into_owned();
        Some(value).filter(|value| !value.is_empty())
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }
}

/// Reads and checks the configuration.
///
/// # Errors
///
/// Every fault at once.
pub fn read(
    flags: &Flags,
    run: &RunFlags,
    environment: &dyn Environment,
    needs: Needs,
) -> Result<Config, Faults> {
    let mut reader = Reader::new(flags, run, environment);
    let data_dir =
        reader.take(&DATA_DIR, directory).unwrap_or_else(private_postgres::default_state_dir);
    let database = reader.take(&DATABASE_URL, database_url);
    let key_file = reader.take(&KEY_FILE, |text| Ok(PathBuf::from(text)));
    let keys = match environment.get(KEY_VARIABLE) {
        Some(hex) => KeySource::Hex(hex.into()),
        None => KeySource::File(key_file.unwrap_or_else(|| data_dir.join("key"))),
    };
    let listen = reader.take(&LISTEN, listen);
    let config = Config {
        database: database.map_or(Database::Private, Database::Url),
        data_dir,
        workspace: reader.take(&WORKSPACE, workspace).unwrap_or_else(|| "default".to_owned()),
        keys,
        listen_was_set: listen.is_some(),
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
        public_url: reader.take(&PUBLIC_URL, public_url),
        reply_domain: reader.take(&REPLY_DOMAIN, domain),
        connections: reader.take(&CONNECTIONS, connections).unwrap_or(20),
        log: reader.take(&LOG, log_filter),
        log_format: reader.take(&LOG_FORMAT, log_format),
        warnings: reader.warnings(),
    };
    if needs == Needs::Production {
        reader.require(&DATABASE_URL, "name the database, or run `meridian up` for a private one");
        reader
            .require(&PUBLIC_URL, "links in mails need it: write it like https://mail.example.com");
    }
    reader.finish(config)
}

struct Reader<'a> {
    flags: [(&'static str, Option<&'a String>); 8],
    environment: &'a dyn Environment,
    file: toml::Table,
    file_name: String,
    faults: Vec<Fault>,
    /// Settings that were said somewhere, rightly or wrongly.
    said: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(flags: &'a Flags, run: &'a RunFlags, environment: &'a dyn Environment) -> Self {
        let mut faults = Vec::new();
        let named =
            flags.config.clone().or_else(|| environment.get("MERIDIAN_CONFIG").map(PathBuf::from));
        let (file, file_name) = load(named.as_deref(), &mut faults);
        for key in file.keys() {
            if SETTINGS.iter().all(|setting| setting.key != key) {
                let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
                let message = match nearest(key, &known) {
                    Some(meant) => format!("is not a setting: did you mean `{meant}`?"),
                    None => format!("is not a setting: there are {}", known.join(", ")),
                };
                faults.push(Fault { place: format!("{key} in {file_name}"), message });
            }
        }
        Self {
            flags: [
                ("--database-url", flags.database_url.as_ref()),
                ("--data-dir", flags.data_dir.as_ref()),
                ("--workspace", flags.workspace.as_ref()),
                ("--log", flags.log.as_ref()),
                ("--listen", run.listen.as_ref()),
                ("--public-url", run.public_url.as_ref()),
                ("--connections", run.connections.as_ref()),
                ("--log-format", run.log_format.as_ref()),
            ],
            environment,
            file,
            file_name,
            faults,
            said: Vec::new(),
        }
    }

    /// Returns a setting from the first place that says it, if that reads well.
    fn take<T>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (place, text) = self.find(setting)?;
        self.said.push(setting.key);
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.faults.push(Fault { place, message });
                None
            }
        }
    }

    fn find(&mut self, setting: &Setting) -> Option<(String, String)> {
        let flag = self.flags.iter().find(|(name, _)| Some(*name) == setting.flag);
        if let Some((name, Some(text))) = flag {
            return Some(((*name).to_owned(), (*text).clone()));
        }
        if let Some(text) = self.environment.get(setting.variable) {
            return Some((setting.variable.to_owned(), text));
        }
        let place = format!("{} in {}", setting.key, self.file_name);
        match self.file.get(setting.key)? {
            toml::Value::String(text) => Some((place, text.clone())),
            toml::Value::Integer(number) => Some((place, number.to_string())),
            toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => {
                self.said.push(setting.key);
                let message = "is neither a text nor a whole number".to_owned();
                self.faults.push(Fault { place, message });
                None
            }
        }
    }

    fn require(&mut self, setting: &Setting, fix: &str) {
        if !self.said.contains(&setting.key) {
            let message = format!("is missing: {fix}");
            self.faults.push(Fault { place: setting.variable.to_owned(), message });
        }
    }

    fn warnings(&self) -> Vec<String> {
        let known: Vec<&str> = SETTINGS
            .iter()
            .map(|setting| setting.variable)
            .chain(OTHER_VARIABLES)
            .chain([KEY_VARIABLE])
            .collect();
        let mut unknown: Vec<String> = self.environment.names();
        unknown.retain(|name| name.starts_with("MERIDIAN_") && !known.contains(&name.as_str()));
        unknown.sort();
        unknown
            .into_iter()
            .map(|name| match nearest(&name, &known) {
                Some(meant) => format!("{name} has no effect: did you mean {meant}?"),
                None => format!("{name} has no effect: no setting has this name"),
            })
            .collect()
    }

    fn finish(self, config: Config) -> Result<Config, Faults> {
        if self.faults.is_empty() { Ok(config) } else { Err(Faults(self.faults)) }
    }
}

/// Reads the file that was named, or the usual one if it is there.
fn load(named: Option<&Path>, faults: &mut Vec<Fault>) -> (toml::Table, String) {
    let path = named.unwrap_or(Path::new(FILE));
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return (toml::Table::new(), name);
        }
        Err(error) => {
            let message = format!("cannot be read ({error}): correct the path, or leave it out");
            faults.push(Fault { place: name.clone(), message });
            return (toml::Table::new(), name);
        }
    };
    match text.parse::<toml::Table>() {
        Ok(table) => (table, name),
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            let message = error.message().replace('\n', " ");
            faults.push(Fault { place: format!("{name}:{line}"), message });
            (toml::Table::new(), name)
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn directory(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.exists() && !path.is_dir() {
        return Err(format!("{text} is not a directory: name one, it is made if it is not there"));
    }
    std::path::absolute(&path).map_err(|error| format!("{text} is no path ({error})"))
}

fn database_url(text: &str) -> Result<String, String> {
    let fix = "write it like postgres://user@host:5432/database";
    let url = Url::parse(text).map_err(|_| format!("is no address of a database: {fix}"))?;
    match url.scheme() {
        "postgres" | "postgresql" => Ok(text.to_owned()),
        // The rest may hold a password.
        other => Err(format!("begins with {other}://, and only Postgres will do: {fix}")),
    }
}

/// Reads the name of a workspace.
///
/// # Errors
///
/// What is wrong with it, and what to write instead.
pub fn workspace(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if (1..=60).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no name of a workspace: use up to 60 lower-case letters, digits, - and _"
    ))
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address to listen on: write it like 127.0.0.1:8080")
    })
}

fn public_url(text: &str) -> Result<Url, String> {
    let fix = "write it like https://mail.example.com";
    let url = Url::parse(text).map_err(|_| format!("`{text}` is not a web address: {fix}"))?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.password().is_none();
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) if plain => Ok(url),
        _ => Err(format!("`{text}` is not the beginning of a link: {fix}")),
    }
}

fn domain(text: &str) -> Result<String, String> {
    match format!("reply@{text}").parse::<activities::address::EmailAddress>() {
        Ok(address) => Ok(address.ascii_domain()),
        Err(_) => Err(format!("`{text}` is not a mail domain: write it like replies.example.com")),
    }
}

fn connections(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ 2..=1_000) => Ok(number),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a number of connections: use 2 to 1000")),
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    // A word alone that is no level would be taken for a module, and everything else fall silent.
    let is_level = |part: &str| part.parse::<tracing::level_filters::LevelFilter>().is_ok();
    let is_told = text.split(',').all(|part| part.contains('=') || is_level(part.trim()));
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) if is_told => Ok(text.to_owned()),
        Ok(_) | Err(_) => {
            Err(format!("`{text}` is not a log filter: write it like info or activities=debug"))
        }
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        other => Err(format!("`{other}` is not a format: write json or text")),
    }
}

/// Returns the known name that was probably meant: one that differs by few letters.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let nearest = known.iter().map(|known| (distance(name, known), *known)).min()?;
    (nearest.0 <= 2.max(name.len() / 5)).then_some(nearest.1)
}

/// How many letters to insert, remove or change.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
