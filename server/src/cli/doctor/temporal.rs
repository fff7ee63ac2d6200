//! Whether Temporal is there, whether the leads that it drives are looked at in time, and where its pages
//! are.

use activities::engine::Engine;
use activities::error::chain;
use activities::store::clock::Clocks;
use activities::store::engines::Relayed;
use chrono::TimeDelta;

use super::Report;
use crate::config::Config;
use crate::workflow_pages::WorkflowPages;

/// How late a lead may be, wall time, before somebody should know.
const LATE: TimeDelta = TimeDelta::seconds(120);

pub(super) async fn report(
    usual: Engine,
    relayed: &[Relayed],
    clocks: Clocks,
    config: &Config,
    report: &mut Report,
) {
    let mut due = relayed.iter().filter_map(|it| it.wake_at);
    if due.any(|at| clocks.wall_since(at) > LATE) {
        let found = "leads that Temporal drives have been due for minutes";
        let fix = "run a process with `--engine temporal`, and see that Temporal answers it";
        report.fault("temporal", found, fix);
    } else if usual == Engine::Temporal || !relayed.is_empty() {
        report.ok("temporal", "no lead of Temporal is late");
    } else {
        return;
    }
    // Whether our own development server answers, the process knows whose child it is.
    if let Ok(Some(address)) = temporal_runner::address() {
        let what = "temporal's server";
        match temporal_runner::probe().await {
            Ok(()) => report.ok(what, address),
            Err(error) => {
                let fix =
                    "see that it runs, and that TEMPORAL_… is set as for `temporal workflow list`";
                report.fault(what, chain(&error), fix);
            }
        }
    }
    let what = "temporal's pages";
    match WorkflowPages::find(config) {
        Ok(Some(pages)) => report.ok(what, pages.ui().as_str()),
        Ok(None) => report.note(
            what,
            "MERIDIAN_TEMPORAL_UI is not set, so nothing links to workflows",
            "set it to where they begin, such as http://127.0.0.1:8233 or https://cloud.temporal.io",
        ),
        Err(error) => {
            let fix = "correct it: no process can reach Temporal as it is";
            report.fault(what, chain(&error), fix);
        }
    }
}
