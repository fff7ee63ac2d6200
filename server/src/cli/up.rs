//! `meridian up`, `serve` and `worker`: processes that run leads until they are told to end.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use activities::engine::Engine;
use anyhow::bail;
use console::Term;
use machine::ids::CampaignId;
use url::Url;

use super::doctor;
use crate::config::reader::Environment;
use crate::config::{self, Config, Flags, LogFormat, Needs, RunFlags};
use crate::demo;
use crate::process::{Ending, Http, Process};
use crate::session::Session;
use crate::telemetry::{self, Telemetry};
use crate::temporal_server;
use crate::terminal::Terminal;
use crate::workflow_pages::WorkflowPages;

/// How often the demonstration is drawn for people.
const FRAME: Duration = Duration::from_millis(700);

/// How often it is told in one line where nobody watches.
const LINE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Up {
    #[command(flatten)]
    run: RunFlags,
    /// Show the example campaign: 200 leads, three weeks in minutes, nothing leaves this machine
    #[arg(long)]
    demo: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    run: RunFlags,
}

#[derive(Debug, clap::Args)]
pub(super) struct Worker {
    #[command(flatten)]
    run: RunFlags,
}

pub(super) async fn up(
    command: Up,
    flags: &Flags,
    environment: &dyn Environment,
    terminal: &mut Terminal,
) -> anyhow::Result<ExitCode> {
    let usual = if command.demo { "warn" } else { "info" };
    let config = read(flags, &command.run, environment, Needs::Nothing, terminal)?;
    let config = if command.demo { demo::configure(config)? } else { config };
    let telemetry = log(&config, usual, LogFormat::Text)?;
    if command.demo {
        std::fs::create_dir_all(&config.data_dir)?;
    }
    let session = Session::open_migrated(&config).await?;
    if command.demo {
        demo::take_up(&session).await?;
    } else {
        doctor::tell_what_lacks(&session, &config).await;
    }
    let mut ending = Ending::listen()?;
    let process = Process::start(session, config.clone(), Http::All).await?;
    let done = if command.demo {
        show_demo(&process, &config, &mut ending, terminal).await
    } else {
        stay(&process, &config, &mut ending, terminal).await
    };
    terminal.remark("ending: calls under way finish first")?;
    process.stop().await;
    telemetry.end().await;
    done.map(|()| ExitCode::SUCCESS)
}

pub(super) async fn serve(
    command: Serve,
    flags: &Flags,
    environment: &dyn Environment,
    terminal: &mut Terminal,
) -> anyhow::Result<ExitCode> {
    let config = read(flags, &command.run, environment, Needs::Production, terminal)?;
    let telemetry = log(&config, "info", LogFormat::Json)?;
    run_until_told(config, Http::All, telemetry).await
}

pub(super) async fn worker(
    command: Worker,
    flags: &Flags,
    environment: &dyn Environment,
    terminal: &mut Terminal,
) -> anyhow::Result<ExitCode> {
    let config = read(flags, &command.run, environment, Needs::Production, terminal)?;
    // A server of its own would be one that no other process knows.
    if config.engine == Some(Engine::Temporal)
        && temporal_runner::address()?.is_none()
        && !temporal_server::was_started(&config.data_dir)
    {
        bail!(
            "a worker is told where Temporal is: set TEMPORAL_ADDRESS, or give it the data directory of \
             the process that started a server"
        );
    }
    let telemetry = log(&config, "info", LogFormat::Json)?;
    let http = if config.listen_was_set { Http::Probes } else { Http::Off };
    run_until_told(config, http, telemetry).await
}

async fn run_until_told(
    config: Config,
    http: Http,
    telemetry: Telemetry,
) -> anyhow::Result<ExitCode> {
    let session = Session::open(&config).await?;
    doctor::tell_what_lacks(&session, &config).await;
    let mut ending = Ending::listen()?;
    let process = Process::start(session, config, http).await?;
    tracing::info!(http.address = process.address().map(|it| it.to_string()), "running");
    ending.told().await;
    tracing::info!("ending: calls under way finish first");
    process.stop().await;
    telemetry.end().await;
    Ok(ExitCode::SUCCESS)
}

fn read(
    flags: &Flags,
    run: &RunFlags,
    environment: &dyn Environment,
    needs: Needs,
    terminal: &mut Terminal,
) -> anyhow::Result<Config> {
    let config = config::read(flags, run, environment, needs)?;
    for warning in &config.warnings {
        terminal.remark(format_args!("warning: {warning}"))?;
    }
    Ok(config)
}

fn log(config: &Config, filter: &str, format: LogFormat) -> anyhow::Result<Telemetry> {
    let filter = config.log.as_deref().unwrap_or(filter);
    telemetry::begin(filter, config.log_format.unwrap_or(format), config.traces.as_ref())
}

async fn stay(
    process: &Process,
    config: &Config,
    ending: &mut Ending,
    terminal: &mut Terminal,
) -> anyhow::Result<()> {
    let address = process.address().unwrap_or(config.listen);
    terminal.print(&format!(
        "\
Meridian is up at http://{address}
  health      http://{address}/healthz, /readyz, /metrics
  data        {data}
  try it      meridian up --demo
  begin       meridian lead import FILE, sender add, campaign apply FILE, campaign start NAME
  programs    http://{address}/api/v1/openapi.json, with a key: meridian key create --role operator
Ctrl-C ends it; at the next start everything goes on where it was.",
        data = place(config),
    ))?;
    if let Some(pages) = config.engine.and_then(|engine| temporal_pages(engine, config)) {
        terminal.print(&format!("New campaigns are driven by Temporal, to be seen at {pages}"))?;
    }
    ending.told().await;
    Ok(())
}

/// Returns where the pages of an engine are, if it has some and they are known.
fn temporal_pages(engine: Engine, config: &Config) -> Option<Url> {
    match engine {
        Engine::Temporal => WorkflowPages::find_or_warn(config).map(|pages| pages.ui().clone()),
        Engine::Postgres => None,
    }
}

fn place(config: &Config) -> String {
    match &config.database {
        config::Database::Private => config.data_dir.display().to_string(),
        config::Database::Url(_) => "the database of DATABASE_URL".to_owned(),
    }
}

async fn show_demo(
    process: &Process,
    config: &Config,
    ending: &mut Ending,
    terminal: &mut Terminal,
) -> anyhow::Result<()> {
    let address = process.address().unwrap_or(config.listen);
    // New campaigns take the engine that the process has made the usual one.
    demo::set_stage(process.session(), &config.data_dir).await?;
    let header = demo::make_key(process.session(), &config.data_dir).await?;
    let campaign = demo::begin(process.session()).await?;
    terminal.print(&welcome(address, &config.data_dir, campaign.id, &header))?;
    if let Some(pages) = temporal_pages(campaign.engine, config) {
        terminal.print(&format!("Temporal drives its leads, to be seen at {pages}\n"))?;
    }
    let term = Term::stdout();
    let is_watched = term.is_term();
    let mut drawn = 0;
    loop {
        demo::run_clock(process.session()).await?;
        let scene = demo::look(process.session()).await?;
        if is_watched {
            term.clear_last_lines(drawn)?;
            let text = scene.to_string();
            term.write_line(&text)?;
            drawn = text.lines().count() + 1;
        } else {
            terminal.print(&scene.line())?;
        }
        if scene.is_over() {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(if is_watched { FRAME } else { LINE }) => {}
            () = ending.told() => return Ok(()),
        }
    }
    demo::end(process.session(), &config.data_dir).await?;
    terminal.print(&farewell(&config.data_dir))?;
    ending.told().await;
    Ok(())
}

fn welcome(address: SocketAddr, dir: &Path, campaign: CampaignId, header: &Path) -> String {
    let meridian = format!("meridian --data-dir {}", dir.display());
    let curl = format!("curl -H \"@{}\"", header.display());
    let campaign = format!("http://{address}/api/v1/campaigns/{campaign}");
    format!(
        "\
The demonstration: 200 invented hotels in eight time zones, three weeks in seven minutes.
Nothing leaves this machine; the recipients are played from examples/recipients.yaml.

  http://{address}/metrics
  {meridian} campaign show {name}
  {meridian} enrollment list --campaign {name} --state with_person
  {meridian} enrollment show ADDRESS
  {meridian} enrollment mails ADDRESS
  {meridian} handover list

Programs use the HTTP API, which http://{address}/api/v1/openapi.json describes. Look, pause, go on:

  {curl} {campaign}
  {curl} -X POST {campaign}/pause
  {curl} -H 'Content-Type: application/json' -d '{{\"rule\":\"shift\"}}' {campaign}/resume

Kill it at any moment and start it again: it goes on where it was.
",
        name = demo::CAMPAIGN,
    )
}

fn farewell(dir: &Path) -> String {
    let meridian = format!("meridian --data-dir {}", dir.display());
    format!(
        "\
The three weeks are over. The clock takes its usual pace now; look around as long as you like:

  {meridian} campaign show {name}
  {meridian} replay --all
  {meridian} verify

Ctrl-C ends it. The next demonstration begins anew.",
        name = demo::CAMPAIGN,
    )
}
