//! `meridian migrate`: the schema of this build, and the roles it works under.

use std::fmt;
use std::process::ExitCode;

use activities::store::{pool, schema};
use anyhow::Context as _;
use serde::Serialize;

use crate::config::Config;
use crate::session;
use crate::terminal::{Output, Terminal};

#[derive(Debug, clap::Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Migrated {
    migrations: usize,
    applied: usize,
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.applied {
            0 => write!(f, "the database has all {} migrations", self.migrations),
            n => write!(f, "applied {n} of {} migrations", self.migrations),
        }
    }
}

pub(super) async fn run(
    command: Migrate,
    config: &Config,
    terminal: &mut Terminal,
) -> anyhow::Result<ExitCode> {
    let (url, postgres) = session::start_database(config).await?;
    let migrations = pool::MIGRATIONS.iter().count();
    let applied = match schema::state(&url).await.context("the database cannot be reached")? {
        schema::State::Behind { missing } => missing,
        schema::State::Current | schema::State::Ahead { .. } | schema::State::Unreadable => 0,
    };
    let done = pool::migrate(&url).await.context(
        "the database could not be migrated: `meridian doctor` prints statements for an \
         administrator",
    );
    if let Some(postgres) = postgres {
        postgres.stop().await;
    }
    done?;
    terminal.show(command.output.format(), &Migrated { migrations, applied })?;
    Ok(ExitCode::SUCCESS)
}
