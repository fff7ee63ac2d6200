//! To whom something that came in belongs: by a send of ours that it names, else by its sender.

use machine::ids::{EnrollmentId, LeadId, SendId, SenderId, SequenceId, WorkspaceId};
use machine::key::StepKey;
use machine::sequence::Channel;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::{ActivityError, Result};
use crate::origin::Correspondent;

/// A send that something names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSend {
    /// The send.
    pub send: SendId,
    /// Whose enrollment it belongs to.
    pub enrollment: EnrollmentId,
    /// Whom it was for, or is about.
    pub lead: LeadId,
    /// What kind of message it is.
    pub message: Message,
    /// Which ask of it is the newest.
    pub attempt: i32,
    /// What is known about its call.
    pub call: Call,
    /// On which channel.
    pub channel: Channel,
    /// How it left.
    pub sender: Option<SenderId>,
    /// Where it went, unless that was erased or it never passed the gate.
    pub address: Option<String>,
    /// Whether its lead was erased.
    pub erased: bool,
}

/// What a send carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The message of a step, to the lead.
    Step(StepKey),
    /// What a person of ours wrote to the lead.
    Answer,
    /// An offer to a person of ours: what becomes of it says nothing about the lead.
    Handover,
}

/// What is known about the call of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Nobody knows whether it arrived, and whatever names the send proves that it did.
    Lost,
    /// It was not made, is being made, or was answered.
    Settled,
}

/// The enrollment that an answer without a reference most likely belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWrittenTo {
    /// The enrollment.
    pub enrollment: EnrollmentId,
    /// Its newest message, if one was accepted.
    pub sent: Option<(SendId, StepKey)>,
}

/// Returns the first of `candidates`, best first, that is a send of this workspace.
pub async fn first_send(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    candidates: &[SendId],
) -> Result<Option<NamedSend>> {
    let candidates: Vec<Uuid> = candidates.iter().map(|send| send.uuid()).collect();
    let row = sqlx::query!(
        r#"
        SELECT s.send_id, s.enrollment_id, s.lead_id, s.kind, s.step_key, s.attempt,
            s.state IN ('unknown', 'needs_review') AS "lost!", s.channel, s.sender_id, s.address,
            EXISTS (
                SELECT 1 FROM leads AS l
                WHERE l.workspace_id = s.workspace_id AND l.lead_id = s.lead_id
                  AND l.erased_at IS NOT NULL) AS "erased!"
        FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS c (workspace_id, send_id, place)
        JOIN sends AS s USING (workspace_id, send_id)
        ORDER BY c.place
        LIMIT 1
        "#,
        &vec![workspace.uuid(); candidates.len()],
        &candidates
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let message = match row.kind.as_str() {
        "handover" => Message::Handover,
        "answer" => Message::Answer,
        _ => Message::Step(step(&row.step_key)?),
    };
    Ok(Some(NamedSend {
        send: row.send_id.into(),
        enrollment: row.enrollment_id.into(),
        lead: row.lead_id.into(),
        message,
        attempt: row.attempt,
        call: if row.lost { Call::Lost } else { Call::Settled },
        channel: channel(&row.channel)?,
        sender: row.sender_id.map(SenderId::from),
        address: row.address,
        erased: row.erased,
    }))
}

/// Returns the lead who is reached there.
pub async fn lead_at(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    correspondent: &Correspondent,
) -> sqlx::Result<Option<LeadId>> {
    let lead = sqlx::query_scalar!(
        r#"
        SELECT lead_id
        FROM addresses
        WHERE workspace_id = $1
          AND channel = $2
          AND address = $3
        "#,
        workspace.uuid(),
        correspondent.channel().as_str(),
        correspondent.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(lead.map(LeadId::new))
}

/// Returns the addresses of a lead on a channel.
pub async fn addresses_of(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
    channel: Channel,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
        SELECT address
        FROM addresses
        WHERE workspace_id = $1
          AND lead_id = $2
          AND channel = $3
        ORDER BY address
        "#,
        workspace.uuid(),
        lead.uuid(),
        channel.as_str()
    )
    .fetch_all(conn)
    .await
}

/// Returns the enrollment of `lead` that we wrote to last on `channel`; without a message, the one whose
/// state changed last.
///
/// The ledger has no index by lead, so the journal tells which message was accepted last: a few rows
/// of each of the lead's few enrollments.
pub async fn last_written_to(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
    channel: Channel,
) -> Result<Option<LastWrittenTo>> {
    let row = sqlx::query!(
        r#"
        SELECT e.enrollment_id, sent.send_id AS "send_id?", sent.step_key AS "step_key?"
        FROM campaigns AS c
        CROSS JOIN LATERAL (
            SELECT workspace_id, enrollment_id, ended_at, changed_at
            FROM enrollments
            WHERE workspace_id = c.workspace_id
              AND campaign_id = c.campaign_id
              AND lead_id = $2
            OFFSET 0) AS e
        LEFT JOIN LATERAL (
            SELECT s.send_id, s.step_key, j.at
            FROM journal AS j
            JOIN sends AS s
                ON s.workspace_id = j.workspace_id
                AND s.send_id = (j.signal::json #>> '{effect,send}')::uuid
                AND s.kind = 'step'
                AND s.channel = $3
            WHERE j.workspace_id = e.workspace_id
              AND j.enrollment_id = e.enrollment_id
              AND j.cause = 'send_answered'
              AND j.signal::json #>> '{answer,answer}' = 'accepted'
            ORDER BY j.turn DESC
            LIMIT 1) AS sent ON true
        WHERE c.workspace_id = $1
        ORDER BY sent.at DESC NULLS LAST, e.ended_at IS NULL DESC, e.changed_at DESC,
            e.enrollment_id
        LIMIT 1
        "#,
        workspace.uuid(),
        lead.uuid(),
        channel.as_str()
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let sent = match (row.send_id, row.step_key) {
        (Some(send), Some(key)) => Some((send.into(), step(&key)?)),
        (None, _) | (_, None) => None,
    };
    Ok(Some(LastWrittenTo { enrollment: row.enrollment_id.into(), sent }))
}

/// Returns the version of its sequence that `enrollment` runs.
pub async fn version_of(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
) -> sqlx::Result<(SequenceId, i32)> {
    let row = sqlx::query!(
        r#"
        SELECT c.sequence_id, e.version
        FROM enrollments AS e
        JOIN campaigns AS c USING (workspace_id, campaign_id)
        WHERE e.workspace_id = $1
          AND e.enrollment_id = $2
        "#,
        workspace.uuid(),
        enrollment.uuid()
    )
    .fetch_one(conn)
    .await?;
    Ok((row.sequence_id.into(), row.version))
}

fn step(key: &str) -> Result<StepKey> {
    key.parse().map_err(|error: machine::key::InvalidKey| ActivityError::Stored {
        what: "step key",
        why: error.to_string(),
    })
}

fn channel(word: &str) -> Result<Channel> {
    let why = || format!("`{word}` is no channel");
    Channel::of_word(word).ok_or_else(|| ActivityError::Stored { what: "send", why: why() })
}
