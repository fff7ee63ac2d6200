//! Lists in pages. A cursor names the last item of a page by its sort key, so that what is added or
//! removed meanwhile makes nothing repeat or disappear; it holds the list it belongs to, and works
//! with no other.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::problem::Problem;

/// Items of a page where nobody says how many.
const LIMIT: u16 = 50;

/// The most items of a page.
const LIMIT_MAX: u16 = 500;

/// One page of a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub(super) struct Page<T> {
    /// The items, in the list's order.
    pub(super) items: Vec<T>,
    /// Asks for the next page as `cursor`; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// The query of a list without filters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Items of the page.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Which page is wanted. Part of every list's query; flattening is not possible in a query string.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    limit: u16,
    cursor: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct Cursor<K> {
    list: String,
    after: K,
}

impl<'a> Wanted<'a> {
    /// Reads `limit` and `cursor` of a query.
    ///
    /// # Errors
    ///
    /// When the limit is none or too large.
    pub(super) fn new(limit: Option<u16>, cursor: Option<&'a str>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid_field("limit", format!("use 1 to {LIMIT_MAX}")));
        }
        Ok(Self { limit, cursor })
    }

    /// As [`Wanted::new`], of a query without filters.
    pub(super) fn of(query: &'a PageQuery) -> Result<Self, Problem> {
        Self::new(query.limit, query.cursor.as_deref())
    }

    /// How many rows to read: one more than is shown, which tells whether there is a next page.
    pub(super) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Returns the sort key after which the page of `list` begins. `list` says which list it is, with
    /// its filters.
    ///
    /// # Errors
    ///
    /// When the cursor is not one of this list.
    pub(super) fn after<K: DeserializeOwned>(
        &self,
        list: &impl Serialize,
    ) -> Result<Option<K>, Problem> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let cursor: Option<Cursor<K>> =
            URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|json| serde_json::from_slice(&json).ok());
        match cursor {
            Some(cursor) if cursor.list == fingerprint(list) => Ok(Some(cursor.after)),
            Some(_) | None => Err(Problem::invalid_field(
                "cursor",
                "it belongs to another list: use the `next` of the page before, with the same filters",
            )),
        }
    }

    /// Makes the page of what was read. `key` names an item for the next cursor.
    pub(super) fn page<R, T: From<R>, K: Serialize>(
        &self,
        list: &impl Serialize,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> K,
    ) -> Page<T> {
        let limit = usize::from(self.limit);
        let is_last = rows.len() <= limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| !is_last).map(|last| {
            let cursor = Cursor { list: fingerprint(list), after: key(last) };
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).expect("keys are JSON"))
        });
        Page { items: rows.into_iter().map(T::from).collect(), next }
    }
}

/// Tells lists apart.
fn fingerprint(list: &impl Serialize) -> String {
    let json = serde_json::to_vec(list).expect("filters are JSON");
    URL_SAFE_NO_PAD.encode(&Sha256::digest(json)[..9])
}
