//! A file of leads that comes in, and what is told of it.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use activities::import::{self, ImportError, KeptColumn, Options, Progress, Report, Unreadable};
use activities::suppression_key::SuppressionKey;
use anyhow::Context as _;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::cli::{ACTOR, Bench};
use crate::session::Session;
use crate::terminal::{Output, Terminal};

/// Faults that are printed one by one; `--json` has them all.
const FAULTS_SHOWN: usize = 50;

#[derive(Serialize)]
pub(in crate::cli) struct Imported {
    file: String,
    added: u64,
    changed: u64,
    unchanged: u64,
    refused: u64,
    faults: Vec<FaultView>,
    faults_omitted: u64,
    ignored_columns: Vec<String>,
    foreign_columns: Vec<KeptView>,
    misspelt_columns: Vec<KeptView>,
}

/// A column that is kept as an attribute, and whose header may mean what has a name here.
#[derive(Serialize)]
struct KeptView {
    header: String,
    attribute: String,
    meaning: &'static str,
}

/// A file that could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
struct BrokenOff {
    why: Unreadable,
    before: Box<Report>,
}

#[derive(Serialize)]
struct FaultView {
    line: u64,
    field: String,
    reason: String,
    /// Whether the row was left out for it.
    refuses: bool,
}

impl fmt::Display for FaultView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, field, reason, refuses } = self;
        let refused = if *refuses { " refused" } else { "" };
        write!(f, "line {line}{refused}, {field}: {reason}")
    }
}

impl From<KeptColumn> for KeptView {
    fn from(column: KeptColumn) -> Self {
        Self {
            header: column.header,
            attribute: column.attribute.to_string(),
            meaning: column.meaning,
        }
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, added, changed, unchanged, refused, .. } = self;
        writeln!(
            f,
            "{file}: {added} new, {changed} changed, {unchanged} as before, {refused} refused"
        )?;
        for fault in self.faults.iter().take(FAULTS_SHOWN) {
            writeln!(f, "  {fault}")?;
        }
        let more = self.faults_omitted
            + u64::try_from(self.faults.len().saturating_sub(FAULTS_SHOWN)).unwrap_or(u64::MAX);
        if more > 0 {
            writeln!(f, "  and {more} more faults")?;
        }
        for column in &self.ignored_columns {
            writeln!(
                f,
                "  column `{column}` was left out: its header is no name, or another column holds the \
                 same; `--map \"{column}=NAME\"` gives it one"
            )?;
        }
        for KeptView { header, attribute, meaning } in &self.misspelt_columns {
            writeln!(
                f,
                "  column `{header}` is kept as the attribute `{attribute}`; did you mean \
                 `{meaning}`? `--map \"{header}={meaning}\"` says so"
            )?;
        }
        for KeptView { header, attribute, meaning } in &self.foreign_columns {
            writeln!(
                f,
                "  column `{header}` is kept as the attribute `{attribute}`; `--map \
                 \"{header}={meaning}\"` names it as texts and rules do"
            )?;
        }
        Ok(())
    }
}

impl Imported {
    fn of(path: &Path, report: Report) -> Self {
        let faults = report.faults.into_iter().map(|fault| FaultView {
            line: fault.line,
            field: fault.field,
            refuses: fault.reason.refuses(),
            reason: fault.reason.to_string(),
        });
        let kept = |columns: Vec<KeptColumn>| columns.into_iter().map(KeptView::from).collect();
        Self {
            file: path.display().to_string(),
            added: report.totals.added,
            changed: report.totals.changed,
            unchanged: report.totals.unchanged,
            refused: report.totals.refused,
            faults: faults.collect(),
            faults_omitted: report.faults_omitted,
            ignored_columns: report.ignored_columns,
            foreign_columns: kept(report.foreign_columns),
            misspelt_columns: kept(report.misspelt_columns),
        }
    }
}

pub(super) async fn run(
    path: &Path,
    options: Options,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let bar = bench.terminal.progress("importing", 0);
    let imported = import_file(bench.session, path, options, &bar).await;
    bar.finish_and_clear();
    match imported {
        Ok(imported) => bench.terminal.show(output.format(), &imported)?,
        Err(error) => return Err(tell_before(error, path, output, bench.terminal)?),
    }
    Ok(())
}

/// Tells what became of the rows before the place where a file cannot be read on, if that is the error.
pub(in crate::cli) fn tell_before(
    error: anyhow::Error,
    path: &Path,
    output: Output,
    terminal: &mut Terminal,
) -> io::Result<anyhow::Error> {
    let BrokenOff { why, before } = match error.downcast() {
        Ok(broken_off) => broken_off,
        Err(error) => return Ok(error),
    };
    if *before != Report::default() {
        terminal.show(output.format(), &Imported::of(path, *before))?;
    }
    Ok(why.into())
}

/// Imports a file under a bar that counts its bytes.
pub(in crate::cli) async fn import_file(
    session: &Session,
    path: &Path,
    options: Options,
    bar: &ProgressBar,
) -> anyhow::Result<Imported> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let source = format!("import/{}", name.unwrap_or_default());
    let options = Options { source, actor: ACTOR.clone(), ..options };
    let (store, key) = (&session.store, SuppressionKey::new(&session.keys));
    let progress = |progress: Progress| {
        bar.set_length(progress.bytes);
        bar.set_position(progress.bytes_read);
    };
    let done = import::leads(store, &key, session.workspace, file, &options, progress).await;
    match done {
        Ok(report) => Ok(Imported::of(path, report)),
        Err(ImportError::Unreadable { why, before }) => Err(BrokenOff { why, before }.into()),
        Err(error @ ImportError::Store(_)) => Err(error.into()),
    }
}
