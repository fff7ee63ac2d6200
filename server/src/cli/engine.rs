//! `meridian engine`: what drives campaigns.

use std::fmt;
use std::process::ExitCode;

use activities::engine::Engine;
use activities::engine_move;
use clap::Subcommand;
use serde::Serialize;

use super::{ACTOR, Bench, campaign};
use crate::terminal::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Let another engine drive a campaign; its leads go on there
    Move {
        /// The engine: postgres or temporal
        #[arg(long, value_name = "ENGINE")]
        to: Engine,
        /// The campaign
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Serialize)]
struct Moved {
    campaign: String,
    engine: Engine,
    leads: u64,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { campaign, engine, leads } = self;
        let moved = match leads {
            0 => "no lead of it was elsewhere".to_owned(),
            1 => "1 lead was moved".to_owned(),
            _ => format!("{leads} leads were moved"),
        };
        writeln!(f, "{engine} drives `{campaign}`; {moved}")?;
        match engine {
            Engine::Temporal => {
                writeln!(f, "  they go on where a process runs with --engine temporal")
            }
            Engine::Postgres if *leads > 0 => {
                writeln!(
                    f,
                    "  Temporal lists the workflow of each until it is next due: to end all now, see temporal/cluster.md"
                )
            }
            Engine::Postgres => Ok(()),
        }
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    let Command::Move { to, name, output } = command;
    let found = campaign::find(&bench, &name).await?;
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    let leads = engine_move::perform(store, workspace, found.id, to, &ACTOR).await?;
    let moved = Moved { campaign: name, engine: to, leads };
    bench.terminal.show(output.format(), &moved)?;
    Ok(ExitCode::SUCCESS)
}
