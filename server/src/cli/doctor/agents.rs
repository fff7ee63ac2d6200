//! Whether somebody is there to take the leads of campaigns that ask agents in turn.

use activities::agents;
use activities::campaign_settings::HandoverAddresses;
use activities::campaigns::Campaign;
use activities::error::Result;
use activities::shell::word;
use activities::store::{Store, campaigns};
use machine::ids::WorkspaceId;

use super::Report;

/// The most running campaigns that are looked at.
const CAMPAIGNS_MAX: i64 = 1_000;

/// Examines the agents of a workspace.
///
/// # Errors
///
/// When the database fails, or what it holds is no campaign or no agent.
pub(super) async fn check(
    store: &Store,
    workspace: WorkspaceId,
    report: &mut Report,
) -> Result<()> {
    let mut tx = store.begin(workspace).await?;
    let running = campaigns::list(&mut tx, workspace, Some("active"), None, CAMPAIGNS_MAX).await?;
    drop(tx);
    let mut asking = Vec::new();
    for row in running {
        let campaign = Campaign::try_from(row)?;
        if let Some(HandoverAddresses { to: None, fallback, .. }) = campaign.settings.handover {
            asking.push((campaign.name, fallback));
        }
    }
    if asking.is_empty() {
        return Ok(());
    }
    let agents = agents::list(store, workspace).await?;
    let active = agents.iter().filter(|agent| agent.profile.active).count();
    if active > 0 {
        report.ok("agents", format!("{active} active"));
        return Ok(());
    }
    for (name, fallback) in asking {
        let name = word(&name);
        let fix = "run `meridian agent add NAME --email ADDRESS`, or `meridian agent resume NAME`";
        match fallback {
            Some(_) => {
                let found =
                    format!("none is active: campaign {name} tells its fallback of all leads");
                report.note("agents", found, fix);
            }
            None => {
                let found = format!("none is active: campaign {name} tells nobody of its leads");
                report.fault("agents", found, fix);
            }
        }
    }
    Ok(())
}
