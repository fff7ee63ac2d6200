//! Whether those who watch are told what changes as it happens.

use activities::changes::{self, Delay};
use activities::store::Store;
use chrono::TimeDelta;

use super::{Report, seconds};

/// How late they may be told.
const LATE: TimeDelta = TimeDelta::seconds(30);

/// The stream waits for every transaction of this database that writes: one that nobody ends holds
/// back everything after it.
pub(super) async fn check(store: &Store, report: &mut Report) -> anyhow::Result<()> {
    let what = "stream";
    let Delay { waits, holder } = changes::delay(store).await?;
    if waits <= LATE {
        report.ok(what, "what changes is told as it happens");
        return Ok(());
    }
    let found = format!("what changed is held back for {:.0} s", seconds(waits));
    let fix = match holder.map(|holder| (holder.pid, holder.name)) {
        Some((Some(pid), name)) => format!(
            "the transaction of process {pid} of the database (`{name}`) is open: let whoever began \
             it end it, or run SELECT pg_terminate_backend({pid});"
        ),
        Some((None, name)) => format!(
            "the prepared transaction `{name}` is open: COMMIT PREPARED or ROLLBACK PREPARED ends it"
        ),
        None => "the transaction that did has ended: run `meridian doctor` again".to_owned(),
    };
    report.note(what, found, fix);
    Ok(())
}
