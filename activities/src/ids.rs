//! New random ids: the one place that draws them.

use machine::ids::Id;
use uuid::Uuid;

/// Returns a new id. Ids made later sort later (UUID version 7, RFC 9562), which keeps the pages of
/// an index that is filled in order warm.
#[expect(clippy::disallowed_methods, reason = "the one place that draws ids")]
pub fn new<K>() -> Id<K> {
    Id::new(Uuid::now_v7())
}
