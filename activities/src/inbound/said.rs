//! What an answer says, as far as the campaign it belongs to wants to know.

use std::collections::BTreeSet;
use std::sync::Arc;

use machine::ids::EnrollmentId;
use machine::key::KeywordKey;

use crate::error::{Result, chain};
use crate::store::{Tx, matches};
use crate::versions::{Loaded, Versions};

/// Returns the keywords of the enrollment's version that stand in an answer. Where this build cannot
/// read the version there are none: the answer is an answer all the same.
pub(crate) async fn read(
    tx: &mut Tx,
    versions: &Versions,
    enrollment: EnrollmentId,
    answer: &str,
) -> Result<BTreeSet<KeywordKey>> {
    let loaded = version(tx, versions, enrollment).await?;
    Ok(loaded.map(|loaded| loaded.version.keywords.said_in(answer)).unwrap_or_default())
}

/// Returns the version that an enrollment runs, unless this build cannot read it: what came in must not
/// wait for that.
pub(crate) async fn version(
    tx: &mut Tx,
    versions: &Versions,
    enrollment: EnrollmentId,
) -> Result<Option<Arc<Loaded>>> {
    let workspace = tx.workspace();
    let name = matches::version_of(tx, workspace, enrollment).await?;
    match versions.get(tx, workspace, &[name].into()).await {
        Ok(mut loaded) => Ok(loaded.remove(&name)),
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(enrollment.id = %enrollment, error, "what came in is read without its campaign");
            Ok(None)
        }
    }
}
