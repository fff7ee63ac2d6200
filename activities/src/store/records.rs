//! How outcomes enter the ledger.

use chrono::{DateTime, Utc};
use machine::ids::{SendId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::reviews;
use super::sends::{Open, Share};

/// Outcomes, column by column.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Which send.
    pub ids: Vec<Uuid>,
    /// Which ask of it.
    pub attempts: Vec<i32>,
    /// Which gate; `None` where there was none.
    pub fences: Vec<Option<i32>>,
    /// Where the row must be: `planned`, `dispatching` or `open`.
    pub froms: Vec<&'static str>,
    /// Where it goes.
    pub states: Vec<&'static str>,
    /// What was said.
    pub details: Vec<Option<String>>,
    /// The provider's own name for the message.
    pub provider_ids: Vec<Option<String>>,
}

/// A row that moved.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Whose.
    pub enrollment_id: Uuid,
    /// As it is now; who has just written it holds its lock.
    pub open: Open,
    /// The room it took at its gate and does not need any more.
    pub used: Option<Share>,
    /// The slot that it was promised and does not need any more.
    pub booked: Option<Share>,
}

/// Moves each row from where it must be, and nowhere else. Returns those that moved.
///
/// `runner` speaks of its own calls only: two runners may have tried the same gate, and of one that
/// was not committed the other has the number. What the provider answered counts even if the row was
/// given up meanwhile, as it is when its runner was frozen or cut off for a while: nobody knows
/// better than the call itself.
pub async fn record(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    outcomes: &Outcomes,
    runner: Uuid,
) -> sqlx::Result<Vec<Moved>> {
    let rows = sqlx::query!(
        r#"
        UPDATE sends AS s
        SET state = u.state, detail = u.detail,
            provider_id = coalesce(u.provider_id, s.provider_id)
        FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::text[], $6::text[],
                    $7::text[], $8::text[])
             AS u (workspace_id, send_id, attempt, fence, was, state, detail, provider_id)
        WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id
          AND s.attempt = u.attempt
          AND ((u.was = 'planned' AND s.state IN ('planned', 'deferred'))
               OR (u.was = 'dispatching' AND s.fence = u.fence AND s.runner_id = $9
                   AND (s.state = 'dispatching'
                        OR s.state IN ('unknown', 'needs_review')
                           AND u.state IN ('accepted', 'rejected', 'planned')))
               OR (u.was = 'open' AND s.state IN ('unknown', 'needs_review')))
        RETURNING s.send_id, s.attempt, s.enrollment_id, s.campaign_id, s.state, s.detail,
                  s.slot_at, s.lease_until, s.runner_id, s.settle_at, s.sender_id,
                  s.gate_day, s.gate_campaign_day, s.slot_day, s.slot_campaign_day,
                  s.kind IN ('step', 'answer') AND u.was <> 'planned'
                      AND s.state IN ('rejected', 'planned') AS "leaves_its_gate!",
                  u.was = 'planned' AND s.slot_day IS NOT NULL
                      AND s.state IN ('rejected', 'cancelled') AS "leaves_its_slot!"
        "#,
        &vec![workspace.uuid(); outcomes.ids.len()],
        &outcomes.ids,
        &outcomes.attempts,
        &outcomes.fences as _,
        &outcomes.froms as _,
        &outcomes.states as _,
        &outcomes.details as _,
        &outcomes.provider_ids as _,
        runner,
    )
    .fetch_all(&mut *conn)
    .await?;
    let share = |sender_day, campaign_day, sender_id, campaign_id| Share {
        sender_id,
        sender_day,
        campaign_id,
        campaign_day,
    };
    let moved: Vec<Moved> = rows
        .into_iter()
        .map(|row| Moved {
            enrollment_id: row.enrollment_id,
            open: Open {
                send_id: row.send_id,
                attempt: row.attempt,
                state: row.state,
                detail: row.detail,
                slot_at: row.slot_at,
                lease_until: row.lease_until,
                runner_id: row.runner_id,
                settle_at: row.settle_at,
            },
            used: row.leaves_its_gate.then(|| {
                share(row.gate_day, row.gate_campaign_day, row.sender_id, row.campaign_id)
            }),
            booked: row.leaves_its_slot.then(|| {
                share(row.slot_day, row.slot_campaign_day, row.sender_id, row.campaign_id)
            }),
        })
        .collect();
    let unbooked: Vec<Uuid> =
        moved.iter().filter(|row| row.booked.is_some()).map(|row| row.open.send_id).collect();
    clear_slots(conn, workspace, &unbooked).await?;
    let to_review = moved.iter().filter(|row| row.open.state == "needs_review");
    let to_review: Vec<Uuid> = to_review.map(|row| row.open.send_id).collect();
    reviews::note(conn, workspace, &to_review).await?;
    Ok(moved)
}

async fn clear_slots(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<()> {
    if sends.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        UPDATE sends AS s SET slot_at = NULL, slot_day = NULL, slot_campaign_day = NULL
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, send_id)
        WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id
        "#,
        &vec![workspace.uuid(); sends.len()],
        sends,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A send that may have been lost.
#[derive(Debug, Clone)]
pub struct Lost {
    /// Which.
    pub send_id: Uuid,
    /// Which ask of it.
    pub attempt: i32,
    /// Whose.
    pub enrollment_id: Uuid,
    /// Where it is.
    pub state: String,
    /// How it was sent.
    pub sender_id: Option<Uuid>,
    /// How often its provider was asked for it.
    pub looks: i16,
    /// When it is asked next, wall time; `None`: nobody has thought of that yet.
    pub settle_at: Option<DateTime<Utc>>,
}

/// Marks those of `sends` as unknown whose lease is over or whose runner is silent, and returns
/// those, and every one of them that is unknown now. `runner` itself is not silent, whatever the list says: after
/// an outage it may look before it could show that it lives.
pub async fn give_up(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
    wall: DateTime<Utc>,
    silent_since: DateTime<Utc>,
    runner: Uuid,
) -> sqlx::Result<(Vec<SendId>, Vec<Lost>)> {
    let given_up = sqlx::query_scalar!(
        r#"
        UPDATE sends AS s SET state = 'unknown', detail = 'the call was lost'
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, send_id)
        WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id
          AND s.state = 'dispatching'
          AND (s.lease_until < $3
               OR s.runner_id IS DISTINCT FROM $5
                  AND NOT EXISTS (SELECT 1 FROM runners r
                                  WHERE r.runner_id = s.runner_id AND r.beat_at > $4))
        RETURNING s.send_id
        "#,
        &vec![workspace.uuid(); sends.len()],
        sends,
        wall,
        silent_since,
        runner,
    )
    .fetch_all(&mut *conn)
    .await?;
    let lost = sqlx::query_as!(
        Lost,
        r#"
        SELECT s.send_id, s.attempt, s.enrollment_id, s.state, s.sender_id, s.looks, s.settle_at
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, send_id)
        JOIN sends s ON s.workspace_id = u.workspace_id AND s.send_id = u.send_id
        WHERE s.state = 'unknown'
        ORDER BY s.send_id
        "#,
        &vec![workspace.uuid(); sends.len()],
        sends,
    )
    .fetch_all(conn)
    .await?;
    Ok((given_up.into_iter().map(SendId::new).collect(), lost))
}

/// A message that a provider may be asked for.
#[derive(Debug, Clone)]
pub struct Sought {
    /// Which send.
    pub send_id: Uuid,
    /// Where it went; erased meanwhile: `None`.
    pub address: Option<String>,
    /// Its name, where its channel has names.
    pub message_id: Option<String>,
    /// What it said.
    pub text: Option<String>,
    /// Until when its call might take, wall time.
    pub lease_until: Option<DateTime<Utc>>,
}

/// Returns what is known of messages whose outcome is not.
pub async fn sought(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<Vec<Sought>> {
    sqlx::query_as!(
        Sought,
        r#"
        SELECT s.send_id, s.address, s.message_id, c.text AS "text?", s.lease_until
        FROM sends s
        LEFT JOIN send_contents c ON c.workspace_id = $1 AND c.send_id = s.send_id
        WHERE s.workspace_id = $1 AND s.send_id = ANY ($2) AND s.state = 'unknown'
        LIMIT 1000
        "#,
        workspace.uuid(),
        sends,
    )
    .fetch_all(conn)
    .await
}

/// Notes how often the providers of unknown sends were asked for them, and when they are asked next.
pub async fn look_again(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
    looks: &[i16],
    settle_ats: &[DateTime<Utc>],
) -> sqlx::Result<()> {
    if sends.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        UPDATE sends AS s SET looks = u.looks, settle_at = u.settle_at
        FROM unnest($2::uuid[], $3::smallint[], $4::timestamptz[])
             AS u (send_id, looks, settle_at)
        WHERE s.workspace_id = $1 AND s.send_id = u.send_id AND s.state = 'unknown'
        "#,
        workspace.uuid(),
        sends,
        looks,
        settle_ats,
    )
    .execute(conn)
    .await?;
    Ok(())
}
