//! `meridian suppression`: those we never write to.

use std::fmt;
use std::process::ExitCode;

use activities::store::suppression_views::{self, SuppressionView};
use activities::store::suppressions::SuppressionId;
use activities::suppression_list::{self, Suppressed};
use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::{ACTOR, Bench};
use crate::tables::{Column, Table};
use crate::terminal::Output;
use crate::times;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Never write to somebody again, whatever campaign they are in or come into
    Add {
        /// A mail address, a telephone number, or a domain with everybody in it
        who: Suppressed,
        #[command(flatten)]
        output: Output,
    },
    /// List those we never write to, the newest first
    List {
        /// Go on behind this entry
        #[arg(long, value_name = "ID")]
        after: Option<SuppressionId>,
        /// At most this many
        #[arg(long, default_value = "100", value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Take an entry off the list, on record
    Lift {
        /// Its id
        suppression: SuppressionId,
    },
}

#[derive(Serialize)]
struct Entry {
    id: SuppressionId,
    scope: String,
    /// Empty once the person was erased, though the promise stands.
    value: Option<String>,
    reason: String,
    suppressed_at: DateTime<Utc>,
}

impl From<SuppressionView> for Entry {
    fn from(view: SuppressionView) -> Self {
        Self {
            id: view.suppression_id.into(),
            scope: view.scope,
            value: view.value,
            reason: view.reason,
            suppressed_at: view.suppressed_at,
        }
    }
}

impl Entry {
    fn whom(&self) -> &str {
        self.value.as_deref().unwrap_or("(erased)")
    }
}

#[derive(Serialize)]
struct Added {
    #[serde(flatten)]
    entry: Entry,
    is_new: bool,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, is_new } = self;
        match is_new {
            true => writeln!(f, "{} is never written to from now on", entry.whom())?,
            false => writeln!(f, "{} is on the list already ({})", entry.whom(), entry.reason)?,
        }
        writeln!(f, "  take it off:  meridian suppression lift {}", entry.id)
    }
}

#[derive(Serialize)]
struct List {
    suppressions: Vec<Entry>,
    /// Where the next page begins.
    next: Option<SuppressionId>,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text("whom"),
            Column::Text("why"),
            Column::Text("since"),
            Column::Text("suppression"),
        ];
        let mut table = Table::new(&columns, "nobody: run `meridian suppression add ADDRESS`");
        for entry in &self.suppressions {
            table.row([
                entry.whom().to_owned(),
                entry.reason.clone(),
                times::utc(entry.suppressed_at),
                entry.id.to_string(),
            ]);
        }
        table.fmt(f)?;
        match &self.next {
            Some(next) => writeln!(f, "\nthere are more: --after {next}"),
            None => Ok(()),
        }
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    let session = bench.session;
    match command {
        Command::Add { who, output } => {
            let room = session.mailroom(bench.config)?;
            let added = suppression_list::add(&room, session.workspace, &who, &ACTOR).await?;
            let (entry, is_new) = added;
            bench.terminal.show(output.format(), &Added { entry: entry.into(), is_new })?;
        }
        Command::List { after, limit, output } => {
            let after = after.map(|entry| entry.uuid());
            let mut tx = session.store.begin(session.workspace).await?;
            let rows =
                suppression_views::in_force(&mut tx, session.workspace, after, limit).await?;
            let is_full = i64::try_from(rows.len()).is_ok_and(|n| n == limit);
            let next = rows.last().filter(|_| is_full).map(|row| row.suppression_id.into());
            let list = List { suppressions: rows.into_iter().map(Entry::from).collect(), next };
            bench.terminal.show(output.format(), &list)?;
        }
        Command::Lift { suppression } => {
            let room = session.mailroom(bench.config)?;
            if !suppression_list::lift(&room, session.workspace, suppression, &ACTOR).await? {
                bail!("there is no entry {suppression} in force: run `meridian suppression list`");
            }
            bench.terminal.print(&format!(
                "entry {suppression} is off the list: campaigns may write there again\n  what had \
                 ended for it stays ended; a campaign of another name can take the lead in\n"
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
