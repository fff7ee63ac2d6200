//! Whether leads were given up.

use activities::campaigns::CampaignStatus;
use activities::campaigns::view;
use activities::shell::word;
use activities::store::Store;
use machine::explain::Shown;
use machine::ids::WorkspaceId;

use super::Report;
use crate::cli::campaign::show::given_up;

/// The most campaigns that are looked at.
const CAMPAIGNS_MAX: i64 = 1_000;

/// Tells of each campaign in which leads failed, and how they are tried again.
pub(super) async fn check(
    store: &Store,
    workspace: WorkspaceId,
    report: &mut Report,
) -> anyhow::Result<()> {
    for overview in view::list(store, workspace, None, None, CAMPAIGNS_MAX).await? {
        let failed = overview.states.get(Shown::Failed.as_str()).copied().unwrap_or_default();
        if failed == 0 || overview.campaign.status == CampaignStatus::Stopped {
            continue;
        }
        let name = overview.campaign.name;
        let fix = format!(
            "once what was in the way is mended, run `meridian campaign retry {}`",
            word(&name)
        );
        report.note(&format!("campaign `{name}`"), given_up(failed), fix);
    }
    Ok(())
}
