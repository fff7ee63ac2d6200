//! `meridian enrollment move`: one lead goes on with another version of its campaign.

use activities::version_move::{self, Moved};
use activities::versions::Versions;

use super::find;
use crate::cli::{ACTOR, Bench};

pub(super) async fn move_to(
    who: &str,
    campaign: Option<&str>,
    to: Option<i32>,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who, campaign).await?;
    let (store, workspace, versions) = (&session.store, session.workspace, Versions::default());
    let moved = version_move::one(store, &versions, workspace, id, to, &ACTOR).await??;
    bench.terminal.print(&match moved {
        Moved::Done => format!("enrollment {id} goes on with the other version"),
        Moved::Already => format!("enrollment {id} runs that version already"),
    })?;
    Ok(())
}
