//! `meridian workspace`: tenants.

use std::fmt;
use std::process::ExitCode;

use activities::store::workspaces;
use clap::Subcommand;
use machine::ids::WorkspaceId;
use serde::Serialize;

use super::Bench;
use crate::config::values;
use crate::terminal::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a workspace; there is always one called `default`
    Add {
        /// Its name
        #[arg(value_parser = values::workspace)]
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Serialize)]
struct Added {
    id: WorkspaceId,
    name: String,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workspace `{0}` is there: use it with --workspace {0}", self.name)
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    let Command::Add { name, output } = command;
    let id = workspaces::ensure(&bench.session.store, &name).await?;
    bench.terminal.show(output.format(), &Added { id, name })?;
    Ok(ExitCode::SUCCESS)
}
