//! Configuration: flags over the environment over `meridian.toml`. Everything is read and checked
//! here, once, and every fault is told at once with its fix; nothing deeper in the program reads
//! the environment.

pub mod reader;
pub mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use activities::engine::Engine;
use activities::mail::reach::Reach;
use secrecy::SecretString;
use temporal_runner::PerSecond;
use url::Url;

use crate::private_postgres;
use crate::serve::proxies::Proxies;
use reader::{Environment, Faults, Reader, Setting};

/// The file that is read where none is named.
const FILE: &str = "meridian.toml";

/// Variables that are read elsewhere, each in one place.
const OTHER_VARIABLES: [&str; 6] = [
    // Of programs that use the API, as our examples are.
    "MERIDIAN_API_KEY",
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
    /// Keep the private Postgres and the key file here [env: MERIDIAN_DATA_DIR] [default:
    /// ~/.local/state/meridian, and /var/lib/meridian for root]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Configuration")]
    pub data_dir: Option<String>,
    /// Work in this workspace [env: MERIDIAN_WORKSPACE] [default: default]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Configuration")]
    pub workspace: Option<String>,
    /// Speak to mail servers inside a network or on unusual ports [env:
    /// MERIDIAN_ALLOW_INTERNAL_HOSTS] [default: no]
    #[arg(long, global = true, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", help_heading = "Configuration")]
    pub allow_internal_hosts: Option<String>,
    /// Log at this level: error, warn, info, debug, or per module [env: MERIDIAN_LOG]
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Configuration")]
    pub log: Option<String>,
}

/// What the commands that run leads may say beside that.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RunFlags {
    /// Let `postgres` or `temporal` drive new campaigns; with `temporal`, drive those in Temporal too, at
    /// TEMPORAL_ADDRESS or on a development server of our own [env: MERIDIAN_ENGINE]
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,
    /// Answer HTTP on this address [env: MERIDIAN_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The address under which the world reaches us: links in mails begin with it [env:
    /// MERIDIAN_PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Answer /metrics on this address and nowhere else [env: MERIDIAN_METRICS_LISTEN] [default: that
    /// of --listen]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen: Option<String>,
    /// Open at most this many connections to the database [env: MERIDIAN_CONNECTIONS] [default: 20]
    #[arg(long, value_name = "N")]
    pub connections: Option<String>,
    /// Write logs as `json` or as `text` [env: MERIDIAN_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Send traces to the collector at this address, by OTLP over HTTP [env: MERIDIAN_OTLP_ENDPOINT]
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Trace this share of what begins, from 0 to 1 [env: MERIDIAN_OTLP_SHARE] [default: 1]
    #[arg(long, value_name = "SHARE")]
    pub otlp_share: Option<String>,
}

/// What the commands that tell links may say of the process that answers them.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LinkFlags {
    /// The process that runs leads answers HTTP on this address [env: MERIDIAN_LISTEN] [default:
    /// 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The address under which the world reaches us: links in mails begin with it [env:
    /// MERIDIAN_PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
}

impl From<&LinkFlags> for RunFlags {
    fn from(flags: &LinkFlags) -> Self {
        let LinkFlags { listen, public_url } = flags.clone();
        Self { listen, public_url, ..Self::default() }
    }
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
    /// In a file, made at the first use of a new database.
    File(PathBuf),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hex(_) => f.write_str("MERIDIAN_KEY"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people.
    Text,
}

/// Where traces go, and how many.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// The address of a collector, without `/v1/traces`.
    pub endpoint: Url,
    /// The share of traces that is kept, from 0 to 1.
    pub share: f64,
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
    /// Where metrics are answered, if not where the rest is.
    pub metrics_listen: Option<SocketAddr>,
    /// The address under which the world reaches us, if somebody said so.
    pub public_url: Option<Url>,
    /// The mail domain whose mail comes back to us through a webhook.
    pub reply_domain: Option<String>,
    /// Which mail servers may be spoken to.
    pub reach: Reach,
    /// Who may say for whom a request was passed on.
    pub proxies: Proxies,
    /// What drives new campaigns from now on, where somebody said so.
    pub engine: Option<Engine>,
    /// What the names of task queues in Temporal begin with, where somebody said so.
    pub temporal_queues: Option<String>,
    /// How many mails a second Temporal hands out, if there is a limit.
    pub temporal_email_per_second: Option<PerSecond>,
    /// How many texts a second Temporal hands out, if there is a limit.
    pub temporal_sms_per_second: Option<PerSecond>,
    /// Where Temporal's own pages begin, if somebody said so.
    pub temporal_ui: Option<Url>,
    /// The most connections to the database.
    pub connections: u32,
    /// What is logged, where somebody said so.
    pub log: Option<String>,
    /// How logs are written, where somebody said so.
    pub log_format: Option<LogFormat>,
    /// Where traces go, where somebody said so.
    pub traces: Option<Traces>,
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

/// What a command needs beyond the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// To be reachable, and to stand beside others: a database and a public address of one's own.
    Production,
}

const DATABASE_URL: Setting =
    Setting { key: "database_url", flag: Some("--database-url"), variable: "DATABASE_URL" };
const DATA_DIR: Setting =
    Setting { key: "data_dir", flag: Some("--data-dir"), variable: "MERIDIAN_DATA_DIR" };
const WORKSPACE: Setting =
    Setting { key: "workspace", flag: Some("--workspace"), variable: "MERIDIAN_WORKSPACE" };
const ENGINE: Setting =
    Setting { key: "engine", flag: Some("--engine"), variable: "MERIDIAN_ENGINE" };
const TEMPORAL_QUEUES: Setting =
    Setting { key: "temporal_queues", flag: None, variable: "MERIDIAN_TEMPORAL_QUEUES" };
const TEMPORAL_EMAIL_PER_SECOND: Setting = Setting {
    key: "temporal_email_per_second",
    flag: None,
    variable: "MERIDIAN_TEMPORAL_EMAIL_PER_SECOND",
};
const TEMPORAL_SMS_PER_SECOND: Setting = Setting {
    key: "temporal_sms_per_second",
    flag: None,
    variable: "MERIDIAN_TEMPORAL_SMS_PER_SECOND",
};
const TEMPORAL_UI: Setting =
    Setting { key: "temporal_ui", flag: None, variable: "MERIDIAN_TEMPORAL_UI" };
const LISTEN: Setting =
    Setting { key: "listen", flag: Some("--listen"), variable: "MERIDIAN_LISTEN" };
const METRICS_LISTEN: Setting = Setting {
    key: "metrics_listen",
    flag: Some("--metrics-listen"),
    variable: "MERIDIAN_METRICS_LISTEN",
};
const PUBLIC_URL: Setting =
    Setting { key: "public_url", flag: Some("--public-url"), variable: "MERIDIAN_PUBLIC_URL" };
const CONNECTIONS: Setting =
    Setting { key: "connections", flag: Some("--connections"), variable: "MERIDIAN_CONNECTIONS" };
const LOG: Setting = Setting { key: "log", flag: Some("--log"), variable: "MERIDIAN_LOG" };
const LOG_FORMAT: Setting =
    Setting { key: "log_format", flag: Some("--log-format"), variable: "MERIDIAN_LOG_FORMAT" };
const OTLP_ENDPOINT: Setting = Setting {
    key: "otlp_endpoint",
    flag: Some("--otlp-endpoint"),
    variable: "MERIDIAN_OTLP_ENDPOINT",
};
const OTLP_SHARE: Setting =
    Setting { key: "otlp_share", flag: Some("--otlp-share"), variable: "MERIDIAN_OTLP_SHARE" };
const REPLY_DOMAIN: Setting =
    Setting { key: "reply_domain", flag: None, variable: "MERIDIAN_REPLY_DOMAIN" };
const ALLOW_INTERNAL_HOSTS: Setting = Setting {
    key: "allow_internal_hosts",
    flag: Some("--allow-internal-hosts"),
    variable: "MERIDIAN_ALLOW_INTERNAL_HOSTS",
};
const TRUSTED_PROXIES: Setting =
    Setting { key: "trusted_proxies", flag: None, variable: "MERIDIAN_TRUSTED_PROXIES" };
const KEY_FILE: Setting = Setting { key: "key_file", flag: None, variable: "MERIDIAN_KEY_FILE" };
/// A key has no flag and no place in a file: both would be read by others.
const KEY_VARIABLE: &str = "MERIDIAN_KEY";

const SETTINGS: [&Setting; 20] = [
    &DATABASE_URL,
    &DATA_DIR,
    &WORKSPACE,
    &ENGINE,
    &TEMPORAL_QUEUES,
    &TEMPORAL_EMAIL_PER_SECOND,
    &TEMPORAL_SMS_PER_SECOND,
    &TEMPORAL_UI,
    &LISTEN,
    &METRICS_LISTEN,
    &PUBLIC_URL,
    &CONNECTIONS,
    &LOG,
    &LOG_FORMAT,
    &OTLP_ENDPOINT,
    &OTLP_SHARE,
    &REPLY_DOMAIN,
    &ALLOW_INTERNAL_HOSTS,
    &TRUSTED_PROXIES,
    &KEY_FILE,
];

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
    let data_dir = reader
        .take(&DATA_DIR, values::directory)
        .unwrap_or_else(private_postgres::default_state_dir);
    let database = reader.take(&DATABASE_URL, values::database_url);
    let key_file = reader.take(&KEY_FILE, |text| Ok(PathBuf::from(text)));
    let keys = match environment.get(KEY_VARIABLE) {
        Some(hex) => KeySource::Hex(hex.into()),
        None => KeySource::File(key_file.unwrap_or_else(|| data_dir.join("key"))),
    };
    let listen = reader.take(&LISTEN, values::listen);
    let endpoint = reader.take(&OTLP_ENDPOINT, values::otlp_endpoint);
    let share = reader.take(&OTLP_SHARE, values::share).unwrap_or(1.0);
    let config = Config {
        database: database.map_or(Database::Private, Database::Url),
        data_dir,
        workspace: reader
            .take(&WORKSPACE, values::workspace)
            .unwrap_or_else(|| "default".to_owned()),
        keys,
        listen_was_set: listen.is_some(),
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
        metrics_listen: reader.take(&METRICS_LISTEN, values::listen),
        public_url: reader.take(&PUBLIC_URL, values::public_url),
        reply_domain: reader.take(&REPLY_DOMAIN, values::domain),
        reach: reader.take(&ALLOW_INTERNAL_HOSTS, values::reach).unwrap_or_default(),
        proxies: reader.take(&TRUSTED_PROXIES, values::proxies).unwrap_or_default(),
        engine: reader.take(&ENGINE, values::engine),
        temporal_queues: reader.take(&TEMPORAL_QUEUES, values::queues),
        temporal_email_per_second: reader.take(&TEMPORAL_EMAIL_PER_SECOND, values::per_second),
        temporal_sms_per_second: reader.take(&TEMPORAL_SMS_PER_SECOND, values::per_second),
        temporal_ui: reader.take(&TEMPORAL_UI, values::temporal_ui),
        connections: reader.take(&CONNECTIONS, values::connections).unwrap_or(20),
        log: reader.take(&LOG, values::log_filter),
        log_format: reader.take(&LOG_FORMAT, values::log_format),
        traces: endpoint.map(|endpoint| Traces { endpoint, share }),
        warnings: reader.warnings(),
    };
    if needs == Needs::Production {
        reader.require(&DATABASE_URL, "name the database, or run `meridian up` for a private one");
        reader
            .require(&PUBLIC_URL, "links in mails need it: write it like https://mail.example.com");
    }
    reader.finish(config)
}
