//! Answers of people of ours: whom the mail they answer was addressed to, who has its lead now, and what
//! is needed to pass them on.

use machine::ids::{SendId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

/// Whom a mail about a lead was addressed to.
#[derive(Debug, Clone)]
pub struct Addressed {
    /// `first` or `fallback`.
    pub responder: String,
    /// The agent it offered the lead to, where agents are asked in turn.
    pub offered_to: Option<Uuid>,
    /// The agent who has the lead now, or is asked.
    pub agent: Option<Uuid>,
    /// That agent's address, as it is now.
    pub agent_email: Option<String>,
    /// Whether it said that answers are passed on.
    pub asks_for_an_answer: bool,
}

/// Returns whom `send` was addressed to; `line` is what it says where answers are passed on.
pub async fn addressed(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    send: SendId,
    line: &str,
) -> sqlx::Result<Option<Addressed>> {
    sqlx::query_as!(
        Addressed,
        r#"
        SELECT s.step_key AS responder, o.agent_id AS "offered_to?", h.agent_id AS "agent?",
               a.email AS "agent_email?",
               coalesce(strpos(c.text, $3) > 0, false) AS "asks_for_an_answer!"
        FROM sends s
        LEFT JOIN send_contents c ON c.workspace_id = $1 AND c.send_id = s.send_id
        LEFT JOIN handover_offers o ON o.workspace_id = $1 AND o.send_id = s.send_id
        LEFT JOIN LATERAL (
            SELECT agent_id FROM handovers
            WHERE workspace_id = $1 AND enrollment_id = s.enrollment_id
            ORDER BY visit DESC
            LIMIT 1) AS h ON true
        LEFT JOIN agents a ON a.workspace_id = $1 AND a.agent_id = h.agent_id
        WHERE s.workspace_id = $1 AND s.send_id = $2
        "#,
        workspace.uuid(),
        send.uuid(),
        line,
    )
    .fetch_optional(conn)
    .await
}

/// An agent who has a lead.
#[derive(Debug, Clone)]
pub struct Having {
    /// The lead's enrollment.
    pub enrollment_id: Uuid,
    /// Where the agent is written to.
    pub email: String,
}

/// Returns the agents who have the leads of `enrollments`.
pub async fn having(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
) -> sqlx::Result<Vec<Having>> {
    if enrollments.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        Having,
        r#"
        SELECT u.enrollment_id AS "enrollment_id!", a.email
        FROM unnest($2::uuid[]) AS u (enrollment_id)
        CROSS JOIN LATERAL (
            SELECT agent_id FROM handovers
            WHERE workspace_id = $1 AND enrollment_id = u.enrollment_id
            ORDER BY visit DESC
            LIMIT 1) AS h
        JOIN agents a ON a.workspace_id = $1 AND a.agent_id = h.agent_id
        "#,
        workspace.uuid(),
        enrollments,
    )
    .fetch_all(conn)
    .await
}

/// The mail that an answer answers.
#[derive(Debug, Clone)]
pub struct Dossier {
    /// The event the answer came with.
    pub event_id: Uuid,
    /// From whom the mail was.
    pub from_address: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// Its plain part; emptied by erase.
    pub text: String,
}

/// Returns what the answers that came with `events` answer.
pub async fn answered(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    events: &[Uuid],
) -> sqlx::Result<Vec<Dossier>> {
    sqlx::query_as!(
        Dossier,
        r#"
        SELECT v.event_id, d.from_address AS "from_address?", c.subject, c.text
        FROM unnest($2::uuid[]) AS u (event_id)
        JOIN inbound_events v ON v.workspace_id = $1 AND v.event_id = u.event_id
        JOIN sends s ON s.workspace_id = $1 AND s.send_id = v.send_id
        JOIN send_contents c ON c.workspace_id = $1 AND c.send_id = v.send_id
        LEFT JOIN senders d ON d.workspace_id = $1 AND d.sender_id = s.sender_id
        "#,
        workspace.uuid(),
        events,
    )
    .fetch_all(conn)
    .await
}
