//! Whether leads that Temporal drives are looked at in time.

use activities::engine::Engine;
use activities::store::clock::Clocks;
use activities::store::engines::Relayed;
use chrono::TimeDelta;

use super::Report;

/// How late a lead may be, wall time, before somebody should know.
const LATE: TimeDelta = TimeDelta::seconds(120);

pub(super) fn report(usual: Engine, relayed: &[Relayed], clocks: Clocks, report: &mut Report) {
    let mut due = relayed.iter().filter_map(|it| it.wake_at);
    if due.any(|at| clocks.wall_since(at) > LATE) {
        let found = "leads that Temporal drives have been due for minutes";
        let fix = "run a process with `--engine temporal`, and see that Temporal answers it";
        report.fault("temporal", found, fix);
    } else if usual == Engine::Temporal || !relayed.is_empty() {
        report.ok("temporal", format!("no lead of Temporal is late; {usual} drives new campaigns"));
    }
}
