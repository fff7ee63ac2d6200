//! `meridian doctor`: for every server and provider, whether it works, or what is missing and how to
//! mend it.

mod agents;
mod failed;
mod senders;
mod stream;
mod temporal;

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use activities::key_ring::{KeyId, KeyRing};
use activities::senders::{self as stored, Transport};
use activities::store::health::{self, Health};
use activities::store::{
    Store, clock, endpoint_views, engines, oldest_key, reviews, schema, turns, workspaces,
};
use activities::turn::RUNNER_SILENCE;
use chrono::{DateTime, TimeDelta, Utc};
use machine::ids::WorkspaceId;
use secrecy::ExposeSecret;
use serde::Serialize;
use url::{Host, Url};

use super::campaign::show::nobody_knows;
use crate::config::reader::{Environment, Faults};
use crate::config::{
    self, Config, Database, Flags, KeySource, LinkFlags, LogFormat, Needs, RunFlags,
};
use crate::private_postgres;
use crate::session::Session;
use crate::tables::{Column, Table};
use crate::terminal::{Output, Terminal};
use crate::{session, telemetry};

/// The oldest Postgres that is tested against, as `server_version_num` has it.
const POSTGRES_MIN: i32 = 140_000;

/// How far the clocks may be apart.
const SKEW_MAX: TimeDelta = TimeDelta::seconds(30);

/// Our roles, as the migrations expect them.
const ROLES: [&str; 2] = ["meridian_app", "meridian_finder"];

#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    links: LinkFlags,
    #[command(flatten)]
    output: Output,
}

/// Who is asked whether it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// The providers of the senders.
    Providers,
    /// Only what is stored is looked at.
    Nobody,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It works.
    Ok,
    /// It works, and something about it is worth a word.
    Note,
    /// It does not work.
    Fault,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Fault => "FAULT",
        }
    }
}

#[derive(Debug, Serialize)]
struct Check {
    what: String,
    verdict: Verdict,
    found: String,
    fix: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    checks: Vec<Check>,
}

impl Report {
    fn ok(&mut self, what: &str, found: impl Into<String>) {
        self.add(what, Verdict::Ok, found, None);
    }

    fn note(&mut self, what: &str, found: impl Into<String>, fix: impl Into<String>) {
        self.add(what, Verdict::Note, found, Some(fix.into()));
    }

    fn fault(&mut self, what: &str, found: impl Into<String>, fix: impl Into<String>) {
        self.add(what, Verdict::Fault, found, Some(fix.into()));
    }

    fn add(&mut self, what: &str, verdict: Verdict, found: impl Into<String>, fix: Option<String>) {
        self.checks.push(Check { what: what.to_owned(), verdict, found: found.into(), fix });
    }

    fn has_faults(&self) -> bool {
        self.checks.iter().any(|check| check.verdict == Verdict::Fault)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [Column::Text(""), Column::Text("what"), Column::Text("found")];
        let mut table = Table::new(&columns, "nothing to check");
        for check in &self.checks {
            table.row([check.verdict.as_str(), check.what.as_str(), check.found.as_str()]);
        }
        write!(f, "{table}")?;
        for check in &self.checks {
            if let Some(fix) = &check.fix {
                writeln!(f, "\n{}: {}", check.what, check.found)?;
                for line in fix.lines() {
                    writeln!(f, "  {line}")?;
                }
            }
        }
        Ok(())
    }
}

pub(super) async fn run(
    command: Doctor,
    flags: &Flags,
    environment: &dyn Environment,
    terminal: &mut Terminal,
) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    match config::read(flags, &RunFlags::from(&command.links), environment, Needs::Nothing) {
        Ok(config) => {
            let filter = config.log.as_deref().unwrap_or("warn");
            telemetry::init(filter, config.log_format.unwrap_or(LogFormat::Text));
            report.ok("configuration", "every setting reads well");
            for warning in &config.warnings {
                report.note("configuration", warning.clone(), "correct or unset it");
            }
            examine(&config, &mut report).await;
        }
        Err(Faults(faults)) => {
            for fault in faults {
                report.fault("configuration", fault.place, fault.message);
            }
        }
    }
    let has_faults = report.has_faults();
    terminal.show(command.output.format(), &report)?;
    Ok(if has_faults { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Logs what is not set up as it should be, at the start of a process. Nobody else is asked.
pub(super) async fn tell_what_lacks(session: &Session, config: &Config) {
    let mut report = Report::default();
    check_addresses(config, &mut report);
    let (store, workspace, keys) = (&session.store, session.workspace, Some(&session.keys));
    let looked = check_set_up(store, workspace, keys, config, Probe::Nobody, &mut report).await;
    if let Err(error) = looked {
        tracing::error!(error = super::told(&error), "nobody knows whether all is set up");
    }
    for check in report.checks {
        let Check { what, verdict, found, fix } = check;
        match verdict {
            Verdict::Ok => {}
            Verdict::Note => tracing::info!(what, found, fix, "worth a look"),
            Verdict::Fault => tracing::warn!(what, found, fix, "not set up"),
        }
    }
}

async fn examine(config: &Config, report: &mut Report) {
    check_programs(config, report);
    check_addresses(config, report);
    let (url, postgres) = match session::start_database(config).await {
        Ok(started) => started,
        Err(error) => {
            let fix = "mend that, or name a database that runs elsewhere in DATABASE_URL";
            report.fault("database", super::told(&error), fix);
            check_keys(config, None, report);
            return;
        }
    };
    match open_store(&url, config, report).await {
        Some(store) => {
            check_work(&store, config, report).await;
            store.close().await;
        }
        None => {
            check_keys(config, None, report);
        }
    }
    if let Some(postgres) = postgres {
        postgres.stop().await;
    }
}

/// Returns the database if it can be worked on.
async fn open_store(url: &str, config: &Config, report: &mut Report) -> Option<Store> {
    if !check_database(url, config, report).await {
        return None;
    }
    match Store::open(url, 4).await {
        Ok(store) => Some(store),
        Err(error) => {
            let fix = "mend what it says, then run `meridian doctor` again";
            report.fault("database", activities::error::chain(&error), fix);
            None
        }
    }
}

/// The programs of a private Postgres.
fn check_programs(config: &Config, report: &mut Report) {
    let what = "private Postgres";
    match (private_postgres::programs(&config.data_dir), &config.database) {
        (Ok((dir, major)), _) => {
            report.ok(what, format!("PostgreSQL {major} in {}", dir.display()));
        }
        (Err(error), Database::Private) => {
            report.fault(what, error.to_string(), "without it `meridian up` needs DATABASE_URL");
        }
        (Err(_), Database::Url(_)) => {
            report.ok(what, "not installed, and not needed: DATABASE_URL is set");
        }
    }
}

/// Returns the master keys if they are those that the database was first used with.
fn check_keys(config: &Config, used: Option<KeyId>, report: &mut Report) -> Option<Arc<KeyRing>> {
    let ring = match (&config.keys, used) {
        (KeySource::Hex(hex), _) => KeyRing::from_hex(hex.expose_secret()),
        (KeySource::File(path), _) if path.exists() => KeyRing::load(path),
        (KeySource::File(path), Some(used)) => {
            let found = format!("{} is not there", path.display());
            report.fault("key", found, session::wants_key(used));
            return None;
        }
        (KeySource::File(path), None) => {
            let found = format!("{} is not there yet", path.display());
            let fix = "it is made at the first use of a new database; keep a copy of it apart from \
                       the database, which is of no use without it";
            report.note("key", found, fix);
            return None;
        }
    };
    match ring {
        Ok(ring) => match used.filter(|used| *used != ring.oldest()) {
            Some(used) => {
                let found = format!("{} begins with another key, {}", config.keys, ring.oldest());
                report.fault("key", found, session::wants_key(used));
                None
            }
            None => {
                report.ok("key", format!("{}, newest {}", config.keys, ring.newest()));
                Some(Arc::new(ring))
            }
        },
        Err(error) => {
            let fix = "restore the key from its copy: what was sealed with it cannot be read \
                       without it";
            report.fault("key", activities::error::chain(&error), fix);
            None
        }
    }
}

fn check_addresses(config: &Config, report: &mut Report) {
    let what = "public address";
    match &config.public_url {
        Some(url) if url.scheme() == "https" => report.ok(what, url.as_str()),
        Some(url) if is_loopback(url) => report.note(
            what,
            url.as_str(),
            "links that begin so work on this machine alone: write to nobody else",
        ),
        Some(url) => report.note(
            what,
            format!("{url} is not encrypted"),
            "put https:// in front of it: mail programs offer one-click unsubscribing for https:// \
             only, and what readers and providers send would travel in the open",
        ),
        None => report.note(
            what,
            format!("MERIDIAN_PUBLIC_URL is not set, so links begin with {}", config.link_base()),
            "set it to the address under which the world reaches this process before a campaign \
             writes to anybody; a process that was given `--listen` or `--public-url` has links of \
             its own: name the same here",
        ),
    }
    match &config.reply_domain {
        Some(domain) => report.ok("replies", format!("come back to reply-…@{domain}")),
        None => report.note(
            "replies",
            "MERIDIAN_REPLY_DOMAIN is not set, so replies go to the senders' mailboxes",
            "set it to a domain whose mail a provider posts to us, or run `meridian enrollment signal \
             ADDRESS replied` for every reply",
        ),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Returns whether it can be worked on.
async fn check_database(url: &str, config: &Config, report: &mut Report) -> bool {
    let what = "database";
    let health = match health::read(url).await {
        Ok(health) => health,
        Err(error) => {
            let fix = match config.database {
                Database::Url(_) => "check DATABASE_URL, and that the server accepts us",
                Database::Private => "see its log below the data directory",
            };
            report.fault(what, activities::error::chain(&error), fix);
            return false;
        }
    };
    if health.version_number < POSTGRES_MIN {
        let fix = "install PostgreSQL 14 or later";
        report.fault(what, format!("PostgreSQL {} is too old", health.version), fix);
        return false;
    }
    report.ok(what, format!("PostgreSQL {}, as {}", health.version, health.role));
    for (name, value) in &health.unsafe_settings {
        report.fault(
            what,
            format!("{name} = {value}: acknowledged work could be lost"),
            format!("ALTER SYSTEM SET {name} = 'on'; SELECT pg_reload_conf();"),
        );
    }
    check_clock(&health, report);
    check_roles(&health, report) && check_schema(url, report).await
}

fn check_clock(health: &Health, report: &mut Report) {
    let apart = (process_clock() - health.wall).abs();
    let found = format!("{:.1} s from the database's", seconds(apart));
    if apart > SKEW_MAX {
        report.fault("clock", found, "set both clocks by NTP: nothing is sent while they disagree");
    } else {
        report.ok("clock", found);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is what is compared with the database's")]
fn process_clock() -> DateTime<Utc> {
    Utc::now()
}

#[expect(clippy::cast_precision_loss, reason = "a difference for people")]
fn seconds(delta: TimeDelta) -> f64 {
    delta.num_milliseconds() as f64 / 1_000.0
}

fn check_roles(health: &Health, report: &mut Report) -> bool {
    let missing: Vec<&str> =
        ROLES.into_iter().filter(|role| !health.roles.iter().any(|it| it == role)).collect();
    let closed: Vec<&str> =
        ROLES.into_iter().filter(|role| !health.may_become.iter().any(|it| it == role)).collect();
    if closed.is_empty() {
        report.ok("roles", "meridian_app and meridian_finder, and we may become them");
        return true;
    }
    if health.may_create_roles {
        report.note("roles", format!("{} to be made", closed.join(", ")), "run `meridian migrate`");
        return false;
    }
    let mut statements: Vec<String> =
        missing.iter().map(|role| format!("CREATE ROLE {role} NOLOGIN;")).collect();
    let role = health.role.replace('"', "\"\"");
    statements.push(format!("GRANT {} TO \"{role}\";", closed.join(", ")));
    report.fault(
        "roles",
        format!("{} may not make or become {}", health.role, closed.join(", ")),
        format!("let an administrator run:\n{}", statements.join("\n")),
    );
    false
}

async fn check_schema(url: &str, report: &mut Report) -> bool {
    match schema::state(url).await {
        Ok(schema::State::Current) => {
            report.ok("schema", "this build's");
            true
        }
        Ok(schema::State::Behind { missing }) => {
            let found = format!("{missing} migrations are missing");
            report.fault("schema", found, "run `meridian migrate`");
            false
        }
        Ok(schema::State::Ahead { unknown }) => {
            let found = format!("{unknown} migrations of a later build");
            report.fault("schema", found, "run that build");
            false
        }
        Ok(schema::State::Unreadable) => {
            report.note("schema", "our role may not see the migrations", "run `meridian migrate`");
            true
        }
        Err(error) => {
            report.fault("schema", activities::error::chain(&error), "run `meridian doctor` again");
            false
        }
    }
}

async fn check_work(store: &Store, config: &Config, report: &mut Report) {
    if let Err(error) = look_at_work(store, config, report).await {
        let fix = "run `meridian doctor` again; if it stays so, `meridian verify`";
        report.fault("database", super::told(&error), fix);
    }
}

async fn look_at_work(store: &Store, config: &Config, report: &mut Report) -> anyhow::Result<()> {
    let mut tx = store.begin_outside().await?;
    let keys = check_keys(config, oldest_key::find(&mut tx).await?, report);
    let clocks = clock::read(&mut tx).await?;
    let living = turns::live_runners(&mut tx, clocks.wall - RUNNER_SILENCE).await?.len();
    let workspace = workspaces::find(&mut tx, &config.workspace).await?;
    let usual = engines::usual(&mut tx).await?;
    let relayed = engines::relayed_workspaces(&mut tx).await?;
    tx.rollback().await?;
    match living {
        0 => {
            report.note("engine", "no process runs leads", "run `meridian up` or `meridian serve`");
        }
        1 => report.ok("engine", format!("one process runs leads; {usual} drives new campaigns")),
        n => {
            report.ok("engine", format!("{n} processes run leads; {usual} drives new campaigns"));
        }
    }
    temporal::report(usual, &relayed, clocks, config, report).await;
    if (clocks.factor - 1.0).abs() > f64::EPSILON {
        let found = format!("campaign time runs {} times as fast", clocks.factor);
        report.note("campaign clock", found, "lawful in a demonstration only");
    }
    stream::check(store, report).await?;
    let Some(workspace) = workspace else {
        report.note(
            "workspace",
            format!("`{}` is not there yet", config.workspace),
            format!("run `meridian workspace add {}`", config.workspace),
        );
        return Ok(());
    };
    check_set_up(store, workspace, keys.as_ref(), config, Probe::Providers, report).await?;
    let mut tx = store.begin(workspace).await?;
    let in_doubt = reviews::count(&mut tx, workspace, None).await?;
    if in_doubt > 0 {
        let fix = "run `meridian review list`, look into the mailboxes, and say";
        report.note("sends in doubt", nobody_knows(in_doubt), fix);
    }
    Ok(())
}

/// What a workspace needs to send and to hear.
async fn check_set_up(
    store: &Store,
    workspace: WorkspaceId,
    keys: Option<&Arc<KeyRing>>,
    config: &Config,
    probe: Probe,
    report: &mut Report,
) -> anyhow::Result<()> {
    let senders = stored::list(store, workspace).await?;
    let mut tx = store.begin(workspace).await?;
    let clocks = clock::read(&mut tx).await?;
    drop(tx);
    if senders.is_empty() {
        report.note("senders", "none yet", "run `meridian sender add NAME URL --from ADDRESS`");
    }
    for sender in &senders {
        let (reach, wall) = (config.reach, clocks.wall);
        senders::check(sender, workspace, keys, reach, wall, probe, report).await;
    }
    let reaches_us = config.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
    if !reaches_us && senders.iter().any(|it| matches!(it.transport, Transport::Twilio(_))) {
        report.fault(
            "public address",
            format!("Twilio cannot report to {}", config.link_base()),
            "set MERIDIAN_PUBLIC_URL to the https address under which the world reaches this process",
        );
    }
    agents::check(store, workspace, report).await?;
    failed::check(store, workspace, report).await?;
    let mut tx = store.begin(workspace).await?;
    let endpoints = endpoint_views::list(&mut tx, workspace, None, 1_000).await?;
    let open: Vec<_> = endpoints.iter().filter(|it| it.revoked_at.is_none()).collect();
    let is_open = |provider: &str| open.iter().any(|endpoint| endpoint.provider == provider);
    let mails =
        senders.iter().any(|it| matches!(it.transport, Transport::Smtp(_) | Transport::Mailgun(_)));
    if mails && !is_open("mailgun") {
        report.note(
            "webhooks",
            "no endpoint is open for mails, so bounces and complaints are not heard",
            "run `meridian webhook add mailgun`, or watch the mailboxes yourself",
        );
    }
    let texts = senders.iter().any(|it| matches!(it.transport, Transport::Twilio(_)));
    if texts && !is_open("twilio") {
        report.fault(
            "webhooks",
            "no endpoint is open for texts, so nobody hears STOP and no answer",
            "run `meridian webhook add twilio`, and enter the address it prints at Twilio",
        );
    }
    match (open.len(), mails || texts) {
        (0, false) => report.ok("webhooks", "none, and nothing leaves this machine"),
        (0, true) => {}
        (n, _) => report.ok("webhooks", format!("{n} open")),
    }
    Ok(())
}
