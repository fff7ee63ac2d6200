//! What the world told us: each event once, sealed, with the time it came.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use machine::ids::{Id, LeadId, SendId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::clock::Clocks;
use crate::error::{ActivityError, Result};
use crate::key_ring::KeyRing;
use crate::seal::{self, Place};

/// Names an inbound event.
pub enum EventKind {}

/// An inbound event.
pub type EventId = Id<EventKind>;

/// A row to be stored.
#[derive(Debug)]
pub struct NewRow<'a> {
    /// Its id.
    pub id: EventId,
    /// Who told us.
    pub provider: &'a str,
    /// The provider's own name for the event: what makes a repeat a repeat.
    pub event_key: &'a str,
    /// A token that may be used once.
    pub token: Option<&'a str>,
    /// What happened, in a word.
    pub kind: &'a str,
    /// The send it is about.
    pub send: Option<SendId>,
    /// Which ask of it, where the event says so.
    pub attempt: Option<i32>,
    /// The lead it is about.
    pub lead: Option<LeadId>,
    /// What came, from [`seal_payload`].
    pub sealed: &'a [u8],
    /// Whether somebody still has to read it.
    pub progress: Progress,
    /// Whether a machine wrote it, at first sight.
    pub is_automatic: bool,
}

/// Whether an event still has to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// What it means is known.
    Done,
    /// It is a mail that nobody has interpreted.
    Waiting,
}

/// A stored event.
#[derive(Debug)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// When it came, in campaign time.
    pub at: DateTime<Utc>,
    /// How often reading it failed.
    pub attempts: i16,
    /// What came.
    pub sealed: Vec<u8>,
}

/// Seals what came with an event.
pub fn seal_payload(
    keys: &KeyRing,
    workspace: WorkspaceId,
    event: EventId,
    payload: &[u8],
) -> Vec<u8> {
    seal::seal(keys, place(workspace, event), payload)
}

/// Opens what [`seal_payload`] sealed.
///
/// # Errors
///
/// When the key is missing or the payload was changed.
pub fn open_payload(
    keys: &KeyRing,
    workspace: WorkspaceId,
    event: &Event,
) -> Result<secrecy::SecretSlice<u8>> {
    seal::open(keys, place(workspace, event.id), &event.sealed)
        .map_err(|error| ActivityError::Secret(error.to_string()))
}

/// Stores an event. Returns whether it is new: neither its key nor its token was seen before.
pub async fn add(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    row: &NewRow<'_>,
    now: Clocks,
) -> sqlx::Result<bool> {
    let processed_at = match row.progress {
        Progress::Done => Some(now.wall),
        Progress::Waiting => None,
    };
    let done = sqlx::query!(
        r#"
        INSERT INTO inbound_events
            (workspace_id, event_id, provider, event_key, token, kind, send_id, lead_id, payload,
             received_at, at, processed_at, attempt, is_automatic)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        ON CONFLICT DO NOTHING
        "#,
        workspace.uuid(),
        row.id.uuid(),
        row.provider,
        row.event_key,
        row.token,
        row.kind,
        row.send.map(SendId::uuid),
        row.lead.map(LeadId::uuid),
        row.sealed,
        now.wall,
        now.campaign,
        processed_at,
        row.attempt,
        row.is_automatic
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns one event.
pub async fn get(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    event: EventId,
) -> sqlx::Result<Option<Event>> {
    let row = sqlx::query!(
        r#"
        SELECT at, attempts, payload
        FROM inbound_events
        WHERE workspace_id = $1
          AND event_id = $2
        "#,
        workspace.uuid(),
        event.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Event { id: event, at: row.at, attempts: row.attempts, sealed: row.payload }))
}

/// Returns how many events of `provider` name `send`.
pub async fn count(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    provider: &str,
    send: SendId,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!"
        FROM inbound_events
        WHERE workspace_id = $1
          AND send_id = $3
          AND provider = $2
        "#,
        workspace.uuid(),
        provider,
        send.uuid()
    )
    .fetch_one(conn)
    .await
}

/// Notes that events are dealt with.
pub async fn finish(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    events: &[EventId],
    wall: DateTime<Utc>,
) -> sqlx::Result<()> {
    let events: Vec<Uuid> = events.iter().map(|event| event.uuid()).collect();
    sqlx::query!(
        r#"
        UPDATE inbound_events AS i
        SET processed_at = coalesce(i.processed_at, $3)
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, event_id)
        WHERE i.workspace_id = u.workspace_id
          AND i.event_id = u.event_id
        "#,
        &vec![workspace.uuid(); events.len()],
        &events,
        wall
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that reading an event failed once more; returns how often by now, or `None` if it is gone.
pub async fn fail(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    event: EventId,
) -> sqlx::Result<Option<i16>> {
    sqlx::query_scalar!(
        r#"
        UPDATE inbound_events
        SET attempts = attempts + 1
        WHERE workspace_id = $1
          AND event_id = $2
        RETURNING attempts
        "#,
        workspace.uuid(),
        event.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// Gives an event up: it stays, and is not read again.
pub async fn give_up(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    event: EventId,
    wall: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE inbound_events
        SET dead_at = coalesce(dead_at, $3)
        WHERE workspace_id = $1
          AND event_id = $2
        "#,
        workspace.uuid(),
        event.uuid(),
        wall
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns those of `sends` that some event names: the provider took them. An event that names another
/// ask than the one beside the send proves nothing about this one, and a refusal proves the opposite.
pub async fn evidence(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
    attempts: &[i32],
) -> sqlx::Result<HashSet<SendId>> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT i.send_id AS "send_id!"
        FROM inbound_events AS i
        JOIN unnest($2::uuid[], $3::int[]) AS u (send_id, attempt)
            ON i.send_id = u.send_id AND coalesce(i.attempt, u.attempt) = u.attempt
        WHERE i.workspace_id = $1
          AND i.provider <> 'refusal'
        "#,
        workspace.uuid(),
        sends,
        attempts
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(SendId::new).collect())
}

/// Returns the keys of the events of `provider` about `send`, but for `own`.
pub async fn keys_about(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    provider: &str,
    send: SendId,
    own: EventId,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
        SELECT event_key
        FROM inbound_events
        WHERE workspace_id = $1
          AND send_id = $3
          AND provider = $2
          AND event_id <> $4
        LIMIT 1000
        "#,
        workspace.uuid(),
        provider,
        send.uuid(),
        own.uuid()
    )
    .fetch_all(conn)
    .await
}

fn place(workspace: WorkspaceId, event: EventId) -> Place<'static> {
    Place {
        table: "inbound_events",
        column: "payload",
        workspace: workspace.uuid(),
        row: event.uuid(),
    }
}
