//! `meridian replay`: rebuilds states from their journals and compares.

use std::fmt;
use std::process::ExitCode;

use activities::replay::{self, Replayed};
use activities::versions::Versions;
use machine::ids::EnrollmentId;
use serde::Serialize;

use super::Bench;
use super::enrollment;
use crate::terminal::Output;

/// Enrollments that are read at a time.
const PAGE: i64 = 1_000;

/// Differences that are told one by one.
const DIFFERENCES_SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
#[group(id = "which", required = true, multiple = false, args = ["enrollment", "all"])]
pub(super) struct Replay {
    /// The id of an enrollment, or the mail address of its lead
    enrollment: Option<String>,
    /// Every enrollment of the workspace
    #[arg(long)]
    all: bool,
    /// The campaign, where a lead is in several
    #[arg(long)]
    campaign: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Default, Serialize)]
struct Report {
    enrollments: u64,
    equal: u64,
    rows: u64,
    skipped: u64,
    different: Vec<Difference>,
}

#[derive(Serialize)]
struct Difference {
    enrollment: EnrollmentId,
    replayed: String,
    stored: String,
}

impl Report {
    fn add(&mut self, enrollment: EnrollmentId, replayed: Replayed) {
        self.enrollments += 1;
        match replayed {
            Replayed::Equal { rows } => {
                self.equal += 1;
                self.rows += u64::try_from(rows).unwrap_or(u64::MAX);
            }
            Replayed::Skipped(_) => self.skipped += 1,
            Replayed::Differs { replayed, stored } => {
                self.different.push(Difference { enrollment, replayed, stored });
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { enrollments, equal, rows, skipped, different } = self;
        writeln!(f, "{equal} of {enrollments} journals lead to the stored state ({rows} rows)")?;
        if *skipped > 0 {
            writeln!(
                f,
                "{skipped} cannot be told: their people were erased, or the rules are older"
            )?;
        }
        for difference in different.iter().take(DIFFERENCES_SHOWN) {
            writeln!(f, "{} differs", difference.enrollment)?;
            writeln!(f, "  journal: {}", difference.replayed)?;
            writeln!(f, "  stored:  {}", difference.stored)?;
        }
        if different.len() > DIFFERENCES_SHOWN {
            writeln!(f, "and {} more differ", different.len() - DIFFERENCES_SHOWN)?;
        }
        Ok(())
    }
}

pub(super) async fn run(command: Replay, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    let versions = Versions::default();
    let mut report = Report::default();
    match &command.enrollment {
        Some(who) => {
            let id = enrollment::find(session, who, command.campaign.as_deref()).await?;
            report.add(id, replay::replay(store, &versions, workspace, id).await?);
        }
        None => {
            let bar = bench.terminal.progress("replaying", 0);
            let mut after = None;
            loop {
                let page = replay::page(store, workspace, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(*last);
                bar.inc_length(u64::try_from(page.len()).unwrap_or_default());
                for id in page {
                    report.add(id, replay::replay(store, &versions, workspace, id).await?);
                    bar.inc(1);
                }
            }
            bar.finish_and_clear();
        }
    }
    let is_equal = report.different.is_empty();
    bench.terminal.show(command.output.format(), &report)?;
    Ok(if is_equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
