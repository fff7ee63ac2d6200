//! What an answer says, as far as the campaign it belongs to wants to know.

use std::collections::BTreeSet;

use machine::ids::EnrollmentId;
use machine::key::KeywordKey;

use crate::error::Result;
use crate::store::{Tx, matches};
use crate::versions::Versions;

/// Returns the keywords of the enrollment's version that stand in an answer.
pub(crate) async fn read(
    tx: &mut Tx,
    versions: &Versions,
    enrollment: EnrollmentId,
    answer: &str,
) -> Result<BTreeSet<KeywordKey>> {
    let workspace = tx.workspace();
    let name = matches::version_of(tx, workspace, enrollment).await?;
    let loaded = versions.get(tx, workspace, &[name].into()).await?;
    Ok(loaded.values().flat_map(|it| it.version.keywords.said_in(answer)).collect())
}
