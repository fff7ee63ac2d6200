//! The command line: one file per group of commands. A command reads its arguments, calls one
//! activity and prints what came of it; it decides nothing itself.

mod agent;
mod audit;
mod campaign;
mod dead_letter;
mod doctor;
mod engine;
mod enrollment;
mod handover;
mod key;
mod lead;
mod migrate;
mod replay;
mod review;
pub mod schema;
mod sender;
mod suppression;
mod up;
mod verify;
mod webhook;
mod workspace;

use std::env;
use std::process::ExitCode;
use std::sync::LazyLock;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::config::reader::{Environment, ProcessEnvironment};
use crate::config::{self, Config, Flags, LinkFlags, LogFormat, Needs, RunFlags};
use crate::session::Session;
use crate::telemetry;
use crate::terminal::Terminal;

/// Durable outreach campaigns: every lead is a state machine that sleeps, sends, listens, and hands
/// over to a person when a person is needed.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "\
Start with:  meridian up --demo
Then:        meridian lead import leads.csv
             meridian campaign apply campaign.yaml
             meridian campaign rehearse NAME
             meridian campaign start NAME")]
pub struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, on a private Postgres where no database is named
    Up(up::Up),
    /// Run the engine and answer HTTP, beside others on one database
    Serve(up::Serve),
    /// Run the engine alone; health and metrics where --listen is given
    Worker(up::Worker),
    /// Tell of every server and provider whether it works, or how to mend it
    Doctor(doctor::Doctor),
    /// Bring the database to this build's schema, and make the roles if they are missing
    Migrate(migrate::Migrate),
    /// Print the JSON Schema of the campaign file, or the OpenAPI document of the HTTP API
    Schema(schema::Schema),
    #[command(flatten)]
    Work(Work),
}

/// Under which name the command line's acts are recorded: that of whoever is logged in, as their system
/// tells it, also behind `sudo`.
static ACTOR: LazyLock<String> = LazyLock::new(|| {
    let names = ["SUDO_USER", "LOGNAME", "USER"].into_iter().filter_map(|it| env::var(it).ok());
    actor(names)
});

/// The most characters of a name that are recorded.
const LOGIN_MAX: usize = 64;

fn actor(logins: impl IntoIterator<Item = String>) -> String {
    let login = logins.into_iter().find(|login| !login.trim().is_empty());
    let plain = |letter: char| if letter.is_control() { '?' } else { letter };
    login.map_or_else(
        || "cli".to_owned(),
        |login| {
            let login: String = login.trim().chars().take(LOGIN_MAX).map(plain).collect();
            format!("cli/{login}")
        },
    )
}

/// Commands that work inside a workspace.
#[derive(Debug, Subcommand)]
enum Work {
    /// Leads: import, export, list, show, erase
    #[command(subcommand)]
    Lead(lead::Command),
    /// Suppressions: those we never write to
    #[command(subcommand)]
    Suppression(suppression::Command),
    /// Senders: the mailboxes and numbers that campaigns send from
    #[command(subcommand)]
    Sender(sender::Command),
    /// Campaigns: apply, rehearse, start, pause, show
    #[command(subcommand)]
    Campaign(Box<campaign::Command>),
    /// Engines: what drives campaigns
    #[command(subcommand)]
    Engine(engine::Command),
    /// Enrollments: what each lead of a campaign is doing, and why
    #[command(subcommand)]
    Enrollment(enrollment::Command),
    /// Agents: people who take leads over, in turn
    #[command(subcommand)]
    Agent(agent::Command),
    /// Handovers: leads that need a person
    #[command(subcommand)]
    Handover(handover::Command),
    /// Reviews: mails of which nobody knows whether they left
    #[command(subcommand)]
    Review(review::Command),
    /// Dead letters: work that was given up
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    /// Keys: programs that may use the HTTP API
    #[command(subcommand)]
    Key(key::Command),
    /// Webhooks: where providers bring bounces, complaints and replies
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Audit: who did what, sealed against changes
    #[command(subcommand)]
    Audit(audit::Command),
    /// Workspaces: one for each tenant
    #[command(subcommand)]
    Workspace(workspace::Command),
    /// Rebuild states from their journals and compare
    Replay(replay::Replay),
    /// Check the invariants of what is stored; exit with 1 if one does not hold
    Verify(verify::Verify),
}

impl Work {
    /// Returns what was said of links, by a command that makes some.
    fn links(&self) -> Option<&LinkFlags> {
        match self {
            Self::Campaign(command) => command.links(),
            Self::Lead(_)
            | Self::Suppression(_)
            | Self::Sender(_)
            | Self::Engine(_)
            | Self::Enrollment(_)
            | Self::Agent(_)
            | Self::Handover(_)
            | Self::Review(_)
            | Self::DeadLetter(_)
            | Self::Key(_)
            | Self::Webhook(_)
            | Self::Audit(_)
            | Self::Workspace(_)
            | Self::Replay(_)
            | Self::Verify(_) => None,
        }
    }
}

/// What a command works with.
struct Bench<'a> {
    config: &'a Config,
    session: &'a Session,
    environment: &'a dyn Environment,
    terminal: &'a mut Terminal,
}

/// Runs a command.
///
/// # Errors
///
/// What the person in front of the terminal has to know.
pub async fn run(cli: Cli, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
    run_in(cli, &ProcessEnvironment, terminal).await
}

/// Runs a command in an environment of choice.
///
/// # Errors
///
/// What the person in front of the terminal has to know.
pub async fn run_in(
    cli: Cli,
    environment: &dyn Environment,
    terminal: &mut Terminal,
) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Schema(command) => schema::run(command, terminal),
        Command::Up(command) => up::up(command, &cli.flags, environment, terminal).await,
        Command::Serve(command) => up::serve(command, &cli.flags, environment, terminal).await,
        Command::Worker(command) => up::worker(command, &cli.flags, environment, terminal).await,
        Command::Doctor(command) => doctor::run(command, &cli.flags, environment, terminal).await,
        Command::Migrate(command) => {
            let config = read_config(&cli.flags, &RunFlags::default(), environment, terminal)?;
            migrate::run(command, &config, terminal).await
        }
        Command::Work(command) => {
            let run = command.links().map(RunFlags::from).unwrap_or_default();
            let config = read_config(&cli.flags, &run, environment, terminal)?;
            let session = Session::open(&config).await?;
            let bench = Bench { config: &config, session: &session, environment, terminal };
            let done = work(command, bench).await;
            session.close().await;
            done
        }
    }
}

async fn work(command: Work, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Work::Lead(command) => lead::run(command, bench).await,
        Work::Suppression(command) => suppression::run(command, bench).await,
        Work::Sender(command) => sender::run(command, bench).await,
        Work::Campaign(command) => campaign::run(*command, bench).await,
        Work::Engine(command) => engine::run(command, bench).await,
        Work::Enrollment(command) => enrollment::run(command, bench).await,
        Work::Agent(command) => agent::run(command, bench).await,
        Work::Handover(command) => handover::run(command, bench).await,
        Work::Review(command) => review::run(command, bench).await,
        Work::DeadLetter(command) => dead_letter::run(command, bench).await,
        Work::Key(command) => key::run(command, bench).await,
        Work::Webhook(command) => webhook::run(command, bench).await,
        Work::Audit(command) => audit::run(command, bench).await,
        Work::Workspace(command) => workspace::run(command, bench).await,
        Work::Replay(command) => replay::run(command, bench).await,
        Work::Verify(command) => verify::run(command, bench).await,
    }
}

/// Reads the configuration of a command that ends by itself, which logs only what is wrong.
fn read_config(
    flags: &Flags,
    run: &RunFlags,
    environment: &dyn Environment,
    terminal: &mut Terminal,
) -> anyhow::Result<Config> {
    let config = config::read(flags, run, environment, Needs::Nothing)?;
    telemetry::init(
        config.log.as_deref().unwrap_or("warn"),
        config.log_format.unwrap_or(LogFormat::Text),
    );
    for warning in &config.warnings {
        terminal.remark(format_args!("warning: {warning}")).context("cannot write")?;
    }
    Ok(config)
}

/// Returns an error as it is told at the end: the message, and what led to it.
pub fn told(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some messages repeat the one below.
        if !told.contains(&cause) {
            told.push_str(": ");
            told.push_str(&cause);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_logged_in_is_on_record() {
        let named = |logins: &[&str]| actor(logins.iter().map(|login| (*login).to_owned()));
        assert_eq!(named(&["ana", "root"]), "cli/ana");
        assert_eq!(named(&["", " ", "root"]), "cli/root");
        assert_eq!(named(&["a\nb"]), "cli/a?b");
        assert_eq!(named(&[]), "cli");
    }
}
