//! `meridian verify`: the invariants of what is stored.

use std::fmt;
use std::process::ExitCode;

use activities::verify::{self, Check};
use activities::versions::Versions;
use serde::Serialize;

use super::Bench;
use crate::tables::{Column, Table};
use crate::terminal::Output;

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Report {
    holds: bool,
    checks: Vec<CheckView>,
}

#[derive(Serialize)]
struct CheckView {
    id: &'static str,
    must_hold: &'static str,
    broken: i64,
    example: Option<String>,
}

impl From<Check> for CheckView {
    fn from(check: Check) -> Self {
        Self { id: check.id, must_hold: check.holds, broken: check.broken, example: check.example }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text(""),
            Column::Text("invariant"),
            Column::Number("broken"),
            Column::Text("for example"),
        ];
        let mut table = Table::new(&columns, "nothing to check");
        for check in &self.checks {
            table.row([
                check.id.to_owned(),
                check.must_hold.to_owned(),
                check.broken.to_string(),
                check.example.clone().unwrap_or_default(),
            ]);
        }
        table.fmt(f)?;
        let broken = self.checks.iter().filter(|check| check.broken > 0).count();
        match broken {
            0 => writeln!(f, "\nall {} hold", self.checks.len()),
            n => writeln!(f, "\n{n} of {} do not hold", self.checks.len()),
        }
    }
}

pub(super) async fn run(command: Verify, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    let session = bench.session;
    let checks = verify::verify(&session.store, &Versions::default(), session.workspace).await?;
    let holds = checks.iter().all(|check| check.broken == 0);
    let report = Report { holds, checks: checks.into_iter().map(CheckView::from).collect() };
    bench.terminal.show(command.output.format(), &report)?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
