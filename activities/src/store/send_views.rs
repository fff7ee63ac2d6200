//! One message as people look at it: the ledger's row, what it said, what was heard of it.

use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, SendId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

/// A send.
#[derive(Debug, Clone)]
pub struct SendView {
    /// Its id.
    pub send_id: Uuid,
    /// Whose.
    pub enrollment_id: Uuid,
    /// The campaign's name.
    pub campaign: String,
    /// The person.
    pub lead_id: Uuid,
    /// `step` or `handover`.
    pub kind: String,
    /// The step, or whom a handover is offered to.
    pub step_key: String,
    /// Which ask of it.
    pub attempt: i32,
    /// `email` or `sms`.
    pub channel: String,
    /// The wording.
    pub variant: Option<String>,
    /// Where it stands.
    pub state: String,
    /// Why it stands there.
    pub detail: Option<String>,
    /// The sender's name.
    pub sender: Option<String>,
    /// To whom; empty once erased.
    pub address: Option<String>,
    /// Campaign time of its slot.
    pub slot_at: Option<DateTime<Utc>>,
    /// Campaign time of its gate.
    pub gate_at: Option<DateTime<Utc>>,
    /// The provider's name for it.
    pub provider_id: Option<String>,
    /// Its Message-ID.
    pub message_id: Option<String>,
}

/// What a send said.
#[derive(Debug, Clone)]
pub struct Content {
    /// The subject.
    pub subject: Option<String>,
    /// The plain text.
    pub text: String,
    /// The HTML.
    pub html: Option<String>,
}

/// Something that was heard of a send.
#[derive(Debug, Clone)]
pub struct Heard {
    /// What, in a word.
    pub kind: String,
    /// From whom.
    pub provider: String,
    /// Campaign time.
    pub at: DateTime<Utc>,
}

/// Returns those of `sends` that the ledger has, in the order of their gates.
pub async fn by_ids(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<Vec<SendView>> {
    sqlx::query_as!(
        SendView,
        r#"
        SELECT
            s.send_id, s.enrollment_id, c.name AS campaign, s.lead_id, s.kind, s.step_key,
            s.attempt, s.channel, s.variant, s.state, s.detail, n.name AS "sender?", s.address,
            s.slot_at, s.gate_at, s.provider_id, s.message_id
        FROM unnest($2::uuid[]) AS u (send_id)
        JOIN sends s ON s.workspace_id = $1 AND s.send_id = u.send_id
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = s.campaign_id
        LEFT JOIN senders n ON n.workspace_id = $1 AND n.sender_id = s.sender_id
        ORDER BY s.gate_at NULLS LAST, s.send_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        sends
    )
    .fetch_all(conn)
    .await
}

/// Returns at most `limit` sends that wait for a person's word, in the order of their ids, from
/// behind `after`.
pub async fn to_review(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<SendView>> {
    sqlx::query_as!(
        SendView,
        r#"
        SELECT
            s.send_id, s.enrollment_id, c.name AS campaign, s.lead_id, s.kind, s.step_key,
            s.attempt, s.channel, s.variant, s.state, s.detail, n.name AS "sender?", s.address,
            s.slot_at, s.gate_at, s.provider_id, s.message_id
        FROM sends s
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = s.campaign_id
        LEFT JOIN senders n ON n.workspace_id = $1 AND n.sender_id = s.sender_id
        WHERE s.workspace_id = $1
          AND s.state = 'needs_review'
          AND s.send_id > $2
        ORDER BY s.send_id
        LIMIT $3
        "#,
        workspace.uuid(),
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Returns what a send said, if it was written.
pub async fn content(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    send: SendId,
) -> sqlx::Result<Option<Content>> {
    sqlx::query_as!(
        Content,
        r#"
        SELECT subject, text, html
        FROM send_contents
        WHERE workspace_id = $1
          AND send_id = $2
        "#,
        workspace.uuid(),
        send.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// Returns what was heard of a send, oldest first.
pub async fn heard(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    send: SendId,
) -> sqlx::Result<Vec<Heard>> {
    sqlx::query_as!(
        Heard,
        r#"
        SELECT kind, provider, at
        FROM inbound_events
        WHERE workspace_id = $1
          AND send_id = $2
        ORDER BY at, event_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        send.uuid()
    )
    .fetch_all(conn)
    .await
}

/// Returns the enrollments of a lead, one for each campaign at most.
pub async fn enrollments_of_lead(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: Uuid,
) -> sqlx::Result<Vec<EnrollmentId>> {
    // By the key of (campaign, lead): there is no index that begins with the lead.
    let ids = sqlx::query_scalar!(
        r#"
        SELECT e.enrollment_id
        FROM campaigns c
        JOIN enrollments e
            ON e.workspace_id = $1 AND e.campaign_id = c.campaign_id AND e.lead_id = $2
        WHERE c.workspace_id = $1
        ORDER BY e.enrollment_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        lead
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(EnrollmentId::new).collect())
}
