//! A lead's answer, as a webhook brings it.

use std::sync::atomic::Ordering;

use activities::store::clock;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::Shared;

/// A lead answers: the event is stored and acknowledged, then read, and the lead is due.
pub(super) async fn answer(
    shared: &Shared,
    conn: &mut PgConnection,
    lead: usize,
) -> anyhow::Result<()> {
    let row = &shared.leads[lead];
    let workspace = shared.job.campaign.workspace.uuid();
    let reply = shared.course(lead).turns.last().and_then(|turn| turn.journal.first());
    let reply: serde_json::Value = match reply {
        Some(row) => serde_json::from_str(&row.signal)?,
        None => serde_json::Value::Null,
    };
    let event: Uuid = Uuid::from_bytes(rand::random());
    let mut tx = conn.begin().await?;
    let now = clock::read(&mut tx).await?;
    sqlx::query(
        "INSERT INTO inbound_events (workspace_id, event_id, provider, event_key, kind, payload, \
             received_at, at, send_id) \
         VALUES ($1, $2, 'capture', $3, 'mail', $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(workspace)
    .bind(event)
    .bind(event.to_string())
    .bind(vec![7_u8; 1_000])
    .bind(now.wall)
    .bind(now.campaign)
    .bind(row.sends[0])
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO signals (workspace_id, enrollment_id, seq, holds, source_key, event_id, at) \
         VALUES ($1, $2, 1, true, $3, $4, $5)",
    )
    .bind(workspace)
    .bind(row.enrollment)
    .bind(event.to_string())
    .bind(event)
    .bind(now.campaign)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE enrollments SET signal_seq = 1 WHERE workspace_id = $1 AND enrollment_id = $2",
    )
    .bind(workspace)
    .bind(row.enrollment)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut tx = conn.begin().await?;
    sqlx::query(
        "UPDATE signals SET kind = 'replied', signal = $3 \
         WHERE workspace_id = $1 AND enrollment_id = $2 AND seq = 1",
    )
    .bind(workspace)
    .bind(row.enrollment)
    .bind(reply)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE inbound_events SET processed_at = $3 WHERE workspace_id = $1 AND event_id = $2",
    )
    .bind(workspace)
    .bind(event)
    .bind(now.wall)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE enrollments SET wake_at = $3 WHERE workspace_id = $1 AND enrollment_id = $2",
    )
    .bind(workspace)
    .bind(row.enrollment)
    .bind(now.campaign)
    .execute(&mut *tx)
    .await?;
    shared.answered.lock().expect("no holder panics")[lead] = true;
    tx.commit().await?;
    shared.due.store(true, Ordering::SeqCst);
    shared.bell.notify_one();
    Ok(())
}
