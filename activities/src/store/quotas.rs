//! How much has left and how much is promised, by day. Rows are always locked and written in the
//! order of their keys.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::sends::Share;

/// Whose quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A campaign's day, on the campaign's own calendar.
    Campaign,
    /// A sender's day, on the sender's own calendar.
    Sender,
}

impl Scope {
    /// Returns the word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Campaign => "campaign_day",
            Self::Sender => "sender_day",
        }
    }
}

/// Names one quota.
pub type Key = (Scope, Uuid, NaiveDate);

/// One quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Slots promised.
    pub booked: i32,
    /// Sends past the gate.
    pub used: i32,
    /// The limit when it was last looked at.
    pub max: i32,
}

/// Locks and returns the quotas of `owners` from `since` on.
pub async fn lock(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    owners: &[(Scope, Uuid)],
    since: NaiveDate,
) -> sqlx::Result<BTreeMap<Key, Count>> {
    let scopes: Vec<&str> = owners.iter().map(|(scope, _)| scope.as_str()).collect();
    let ids: Vec<Uuid> = owners.iter().map(|(_, id)| *id).collect();
    let rows = sqlx::query!(
        r#"
        SELECT q.scope, q.scope_id, q.day, q.booked, q.used, q.max
        FROM quotas q
        JOIN unnest($2::text[], $3::uuid[]) AS u (scope, scope_id)
          ON q.scope = u.scope AND q.scope_id = u.scope_id
        WHERE q.workspace_id = $1 AND q.day >= $4
        ORDER BY q.scope, q.scope_id, q.day
        FOR UPDATE OF q
        "#,
        workspace.uuid(),
        &scopes as _,
        &ids,
        since,
    )
    .fetch_all(conn)
    .await?;
    let scope = |word: &str| if word == "sender_day" { Scope::Sender } else { Scope::Campaign };
    Ok(rows
        .into_iter()
        .map(|row| {
            let count = Count { booked: row.booked, used: row.used, max: row.max };
            ((scope(&row.scope), row.scope_id, row.day), count)
        })
        .collect())
}

/// Writes quotas that were locked before, or did not exist while their owner was locked.
pub async fn put(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    counts: &BTreeMap<Key, Count>,
) -> sqlx::Result<()> {
    if counts.is_empty() {
        return Ok(());
    }
    let scopes: Vec<&str> = counts.keys().map(|key| key.0.as_str()).collect();
    let ids: Vec<Uuid> = counts.keys().map(|key| key.1).collect();
    let days: Vec<NaiveDate> = counts.keys().map(|key| key.2).collect();
    let booked: Vec<i32> = counts.values().map(|count| count.booked).collect();
    let used: Vec<i32> = counts.values().map(|count| count.used).collect();
    let max: Vec<i32> = counts.values().map(|count| count.max).collect();
    sqlx::query!(
        r#"
        INSERT INTO quotas (workspace_id, scope, scope_id, day, booked, used, max)
        SELECT $1, u.*
        FROM unnest($2::text[], $3::uuid[], $4::date[], $5::int[], $6::int[], $7::int[]) AS u
        ON CONFLICT (workspace_id, scope, scope_id, day) DO UPDATE
        SET booked = excluded.booked, used = excluded.used, max = excluded.max
        "#,
        workspace.uuid(),
        &scopes as _,
        &ids,
        &days,
        &booked,
        &used,
        &max,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a transaction gives back.
#[derive(Debug, Clone, Default)]
pub struct Released {
    /// Slots that were promised.
    pub booked: Vec<Share>,
    /// Room of sends that were refused after their gate.
    pub used: Vec<Share>,
}

/// Gives shares back, all of a transaction in one go: rows are taken in the order of their keys.
/// Called last in its transaction: quotas come after everything else.
pub async fn give_back(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    released: &Released,
) -> sqlx::Result<()> {
    let mut sums = BTreeMap::<Key, (i32, i32)>::new();
    for key in released.booked.iter().flat_map(Share::keys) {
        sums.entry(key).or_default().0 += 1;
    }
    for key in released.used.iter().flat_map(Share::keys) {
        sums.entry(key).or_default().1 += 1;
    }
    for ((scope, id, day), (booked, used)) in sums {
        sqlx::query!(
            r#"
            UPDATE quotas SET booked = booked - $5, used = used - $6
            WHERE workspace_id = $1 AND scope = $2 AND scope_id = $3 AND day = $4
            "#,
            workspace.uuid(),
            scope.as_str(),
            id,
            day,
            booked,
            used,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

impl Share {
    /// Returns the quotas it was taken from.
    fn keys(&self) -> impl Iterator<Item = Key> + use<> {
        let sender = self.sender_id.zip(self.sender_day);
        let sender = sender.map(|(sender, day)| (Scope::Sender, sender, day));
        let campaign = self.campaign_day.map(|day| (Scope::Campaign, self.campaign_id, day));
        sender.into_iter().chain(campaign)
    }
}
