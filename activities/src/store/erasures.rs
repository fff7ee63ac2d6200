//! Where the personal data of one lead are, and how each place is emptied. Rows stay where statistics,
//! the ledger or evidence need them; what names a person does not. What is listed here is one person's,
//! and listed whole: an erase that leaves something out has not erased.

use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, LeadId, WorkspaceId};
use machine::signal::Signal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::clock::Clocks;
use super::inbound_events::EventId;
use crate::suppression_key::SuppressionHash;

/// Returns every request that enrollments made of the world: of those that are sends, the id is that
/// of a row in the ledger, which has no index by lead.
pub async fn requests(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[EnrollmentId],
) -> sqlx::Result<Vec<Uuid>> {
    let enrollments = uuids(enrollments);
    sqlx::query_scalar!(
        r#"
        SELECT DISTINCT (asked #>> '{id,send}')::uuid AS "send_id!"
        FROM journal
        CROSS JOIN LATERAL jsonb_array_elements(effects::jsonb -> 'asked') AS asked
        WHERE workspace_id = $1
          AND enrollment_id = ANY($2)
          AND effects IS NOT NULL
          AND asked #>> '{id,send}' IS NOT NULL
        "#,
        workspace.uuid(),
        &enrollments
    )
    .fetch_all(conn)
    .await
}

/// Returns the addresses of the lead that messages of these went to.
pub async fn written_to(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
        SELECT DISTINCT address AS "address!"
        FROM sends
        WHERE workspace_id = $1
          AND send_id = ANY($2)
          AND kind IN ('step', 'answer')
          AND address IS NOT NULL
        "#,
        workspace.uuid(),
        sends
    )
    .fetch_all(conn)
    .await
}

/// Returns those of `enrollments` that are not over.
pub async fn live(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[EnrollmentId],
) -> sqlx::Result<Vec<EnrollmentId>> {
    let enrollments = uuids(enrollments);
    let live = sqlx::query_scalar!(
        r#"
        SELECT enrollment_id
        FROM enrollments
        WHERE workspace_id = $1
          AND enrollment_id = ANY($2)
          AND ended_at IS NULL
        ORDER BY enrollment_id
        "#,
        workspace.uuid(),
        &enrollments
    )
    .fetch_all(conn)
    .await?;
    Ok(live.into_iter().map(EnrollmentId::new).collect())
}

/// Empties the lead itself, with its addresses and tags. It stays as somebody who was erased.
pub async fn empty_lead(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
    now: Clocks,
    again_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE leads
        SET version = version + 1,
            zone = NULL,
            email_consent = 'unknown',
            sms_consent = 'unknown',
            call_consent = 'unknown',
            attributes = '{}',
            source = split_part(source, '/', 1),
            changed_at = $3,
            erased_at = coalesce(erased_at, $3),
            erase_again_at = $4
        WHERE workspace_id = $1
          AND lead_id = $2
        "#,
        workspace.uuid(),
        lead.uuid(),
        now.campaign,
        again_at
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM addresses WHERE workspace_id = $1 AND lead_id = $2",
        workspace.uuid(),
        lead.uuid()
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM lead_tags WHERE workspace_id = $1 AND lead_id = $2",
        workspace.uuid(),
        lead.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Empties the plain values of suppressions, lifted ones too; the promises stand.
pub async fn empty_suppressions(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    hashes: &[SuppressionHash],
) -> sqlx::Result<()> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    sqlx::query!(
        r#"
        UPDATE suppressions
        SET value = NULL
        WHERE workspace_id = $1
          AND scope = 'address'
          AND value_hash = ANY($2)
        "#,
        workspace.uuid(),
        &hashes
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Empties what turns read about the lead.
pub async fn empty_journal(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[EnrollmentId],
) -> sqlx::Result<()> {
    let enrollments = uuids(enrollments);
    sqlx::query!(
        r#"
        UPDATE journal
        SET facts = NULL
        WHERE workspace_id = $1
          AND enrollment_id = ANY($2)
          AND facts IS NOT NULL
        "#,
        workspace.uuid(),
        &enrollments
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Empties messages: whom they went to, what they said, what a server said about them. That a capture
/// exists stays, because it is the proof that its message was taken. An offer keeps the address of
/// the person of ours it went to.
///
/// The caller has locked the enrollments.
pub async fn empty_sends(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE sends
        SET address = CASE WHEN kind = 'handover' THEN address END,
            detail = CASE WHEN state IN ('planned', 'deferred', 'cancelled') THEN detail END
        WHERE workspace_id = $1
          AND send_id = ANY($2)
        "#,
        workspace.uuid(),
        sends
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM send_contents WHERE workspace_id = $1 AND send_id = ANY($2)",
        workspace.uuid(),
        sends
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        UPDATE captured_messages
        SET recipient = '', message = '', play_at = NULL
        WHERE workspace_id = $1
          AND send_id = ANY($2)
        "#,
        workspace.uuid(),
        sends
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the events about a lead: those that name one of its messages, those that one of its
/// enrollments heard of, and those that came from it.
pub async fn events(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
    sends: &[Uuid],
    enrollments: &[EnrollmentId],
) -> sqlx::Result<Vec<EventId>> {
    let enrollments = uuids(enrollments);
    let events = sqlx::query_scalar!(
        r#"
        SELECT event_id AS "event_id!"
        FROM inbound_events
        WHERE workspace_id = $1 AND lead_id = $2
        UNION
        SELECT event_id
        FROM inbound_events
        WHERE workspace_id = $1 AND send_id = ANY($3)
        UNION
        SELECT event_id
        FROM signals
        WHERE workspace_id = $1 AND enrollment_id = ANY($4) AND event_id IS NOT NULL
        ORDER BY 1
        "#,
        workspace.uuid(),
        lead.uuid(),
        sends,
        &enrollments
    )
    .fetch_all(conn)
    .await?;
    Ok(events.into_iter().map(EventId::new).collect())
}

/// Puts `payloads`, one for each of `events`, in the place of what came with them; nobody has to read
/// or to look at them any more.
pub async fn empty_events(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    events: &[EventId],
    payloads: &[Vec<u8>],
    now: Clocks,
) -> sqlx::Result<()> {
    let events: Vec<Uuid> = events.iter().map(|event| event.uuid()).collect();
    sqlx::query!(
        r#"
        UPDATE inbound_events AS e
        SET payload = n.payload, processed_at = coalesce(e.processed_at, $4)
        FROM unnest($2::uuid[], $3::bytea[]) AS n (event_id, payload)
        WHERE e.workspace_id = $1
          AND e.event_id = n.event_id
        "#,
        workspace.uuid(),
        &events,
        payloads,
        now.wall
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        UPDATE dead_letters
        SET resolved_at = $3, resolution = 'erased'
        WHERE workspace_id = $1
          AND event_id = ANY($2)
          AND resolved_at IS NULL
        "#,
        workspace.uuid(),
        &events,
        now.campaign
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives mails that nobody has read yet the meaning `meaning`.
pub async fn settle_unread(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[EnrollmentId],
    meaning: &Signal,
) -> sqlx::Result<()> {
    let enrollments = uuids(enrollments);
    let signal = serde_json::to_value(meaning).expect("signals are JSON");
    sqlx::query!(
        r#"
        UPDATE signals
        SET kind = $3, signal = $4
        WHERE workspace_id = $1
          AND enrollment_id = ANY($2)
          AND kind IS NULL
        "#,
        workspace.uuid(),
        &enrollments,
        meaning.kind(),
        signal
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns leads that are to be looked at again by `wall`.
pub async fn due(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    wall: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<LeadId>> {
    let leads = sqlx::query_scalar!(
        r#"
        SELECT lead_id
        FROM leads
        WHERE workspace_id = $1
          AND erase_again_at <= $2
        ORDER BY erase_again_at
        LIMIT $3
        "#,
        workspace.uuid(),
        wall,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(leads.into_iter().map(LeadId::new).collect())
}

/// Notes that nothing of a lead can come in any more.
pub async fn finish(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE leads SET erase_again_at = NULL WHERE workspace_id = $1 AND lead_id = $2",
        workspace.uuid(),
        lead.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn uuids(enrollments: &[EnrollmentId]) -> Vec<Uuid> {
    enrollments.iter().map(|enrollment| enrollment.uuid()).collect()
}
