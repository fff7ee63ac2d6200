//! `meridian audit`: who did what, and whether anybody changed the record of it.

use std::fmt;
use std::process::ExitCode;

use activities::audit_chain::{self, Anchor};
use activities::store::audit::{self, Recorded};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::Bench;
use crate::tables::{Column, Table};
use crate::terminal::Output;
use crate::times;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List who did what, newest first
    List {
        /// How many acts
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Check that nothing on record was changed, taken out or slipped in; exit with 1 if something was
    Check {
        /// What an earlier check or the log told: finds also what was cut off the end, or written anew
        #[arg(long)]
        anchor: Option<Anchor>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Serialize)]
struct List {
    acts: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    id: i64,
    at: DateTime<Utc>,
    actor: String,
    act: String,
    subject: String,
    details: Option<serde_json::Value>,
}

impl From<Recorded> for Listed {
    fn from(act: Recorded) -> Self {
        Self {
            id: act.audit_id,
            at: act.at,
            actor: act.actor,
            act: act.act,
            subject: act.subject,
            details: act.details.and_then(|details| serde_json::from_str(&details).ok()),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Number("#"),
            Column::Text("when"),
            Column::Text("who"),
            Column::Text("what"),
            Column::Text("to what"),
            Column::Text("more"),
        ];
        let mut table = Table::new(&columns, "nobody has done anything");
        for act in &self.acts {
            table.row([
                act.id.to_string(),
                times::utc(act.at),
                act.actor.clone(),
                act.act.clone(),
                act.subject.clone(),
                act.details.as_ref().map(ToString::to_string).unwrap_or_default(),
            ]);
        }
        table.fmt(f)
    }
}

#[derive(Serialize)]
struct Report {
    holds: bool,
    sealed: u64,
    broken: Option<i64>,
    anchor: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(act) = self.broken {
            let before = self.sealed;
            return writeln!(
                f,
                "act {act} is not as it was: it was changed or taken out, or something was slipped in \
                 before it; the {before} acts before it hold"
            );
        }
        writeln!(f, "all {} sealed acts hold", self.sealed)?;
        match &self.anchor {
            Some(anchor) => writeln!(
                f,
                "keep this outside of the database, for a later check with --anchor:\n{anchor}"
            ),
            None => Ok(()),
        }
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    let session = bench.session;
    match command {
        Command::List { limit, output } => {
            let mut tx = session.store.begin(session.workspace).await?;
            let acts = audit::before(&mut tx, session.workspace, i64::MAX, limit).await?;
            let acts = acts.into_iter().map(Listed::from).collect();
            bench.terminal.show(output.format(), &List { acts })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { anchor, output } => {
            let looked =
                audit_chain::look(&session.store, session.workspace, anchor.as_ref()).await?;
            let holds = looked.broken.is_none();
            let report = Report {
                holds,
                sealed: looked.sealed,
                broken: looked.broken,
                anchor: looked.end.map(|end| end.to_string()),
            };
            bench.terminal.show(output.format(), &report)?;
            Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
