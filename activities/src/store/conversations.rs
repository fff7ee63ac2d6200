//! What was exchanged with leads, as people look at it: who wrote, and everything between a lead and
//! us in one order.

use chrono::{DateTime, Utc};
use machine::ids::{CampaignId, LeadId, WorkspaceId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// A lead that wrote to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Who.
    pub lead_id: Uuid,
    /// The newest mail or text it wrote.
    pub event_id: Uuid,
    /// When that came, campaign time.
    pub at: DateTime<Utc>,
    /// `email` or `sms`.
    pub channel: String,
    /// Its mail address.
    pub email: Option<String>,
    /// Its telephone number.
    pub phone: Option<String>,
    /// The handover in which a person of ours owes it an answer: its enrollment.
    pub waiting: Option<Uuid>,
    /// Until when, campaign time.
    pub answer_by: Option<DateTime<Utc>>,
}

/// Whose conversations are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// Of leads in this campaign.
    pub campaign: Option<CampaignId>,
    /// Only of those to whom a person of ours owes an answer.
    pub waiting: bool,
}

/// Returns up to `limit` leads that wrote to us, who wrote last first, from behind the event `after`.
/// Those that were erased are left out.
pub async fn authors(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: Filter,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Author>> {
    sqlx::query_as!(
        Author,
        r#"
        SELECT
            v.lead_id AS "lead_id!", v.event_id, v.at,
            CASE v.kind WHEN 'mail' THEN 'email' ELSE 'sms' END AS "channel!",
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = v.lead_id AND a.channel = 'email'
             ORDER BY a.address LIMIT 1) AS email,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = v.lead_id AND a.channel = 'sms'
             ORDER BY a.address LIMIT 1) AS phone,
            h.enrollment_id AS "waiting?", h.answer_by AS "answer_by?"
        FROM inbound_events v
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = v.lead_id AND l.erased_at IS NULL
        LEFT JOIN LATERAL (
            SELECT o.enrollment_id, o.answer_by
            FROM handovers o
            WHERE o.workspace_id = $1 AND o.lead_id = v.lead_id
              AND o.state IN ('offered', 'accepted')
            ORDER BY o.answer_by NULLS LAST, o.enrollment_id
            LIMIT 1) AS h ON true
        WHERE v.workspace_id = $1 AND v.lead_id IS NOT NULL AND NOT v.is_automatic
          AND v.kind IN ('mail', 'text', 'text_stop', 'text_start', 'text_help')
          AND v.event_id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
          AND NOT EXISTS (
              SELECT FROM inbound_events n
              WHERE n.workspace_id = $1 AND n.lead_id = v.lead_id AND n.event_id > v.event_id
                AND NOT n.is_automatic
                AND n.kind IN ('mail', 'text', 'text_stop', 'text_start', 'text_help'))
          AND (NOT $3 OR h.enrollment_id IS NOT NULL)
          AND ($4::uuid IS NULL OR EXISTS (
              SELECT FROM enrollments e
              WHERE e.workspace_id = $1 AND e.campaign_id = $4 AND e.lead_id = v.lead_id))
        ORDER BY v.event_id DESC
        LIMIT $5
        "#,
        workspace.uuid(),
        after,
        filter.waiting,
        filter.campaign.map(CampaignId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Whether there is such a lead, and whether it was erased.
pub async fn is_erased(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar!(
        r#"
        SELECT erased_at IS NOT NULL AS "erased!"
        FROM leads
        WHERE workspace_id = $1 AND lead_id = $2
        "#,
        workspace.uuid(),
        lead.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Where something stands in a thread: its time, and what tells it from others of that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Campaign time.
    pub at: DateTime<Utc>,
    /// 0: a message of ours, 1: an event that came in, 2: a row of a journal.
    pub source: i32,
    /// The send, the event, or the enrollment.
    pub id: Uuid,
    /// The number of the journal's row, else 0.
    pub turn: i32,
}

/// Returns where things stand that were exchanged with a lead, oldest first, at most `limit` behind
/// `after`: its messages among `sends`, what it sent or let us hear, and what people of ours did.
pub async fn thread(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: LeadId,
    enrollments: &[Uuid],
    sends: &[Uuid],
    after: Option<Spot>,
    limit: i64,
) -> sqlx::Result<Vec<Spot>> {
    sqlx::query_as!(
        Spot,
        r#"
        SELECT t.at AS "at!", t.source AS "source!", t.id AS "id!", t.turn AS "turn!"
        FROM (
            SELECT s.gate_at AS at, 0 AS source, s.send_id AS id, 0 AS turn
            FROM unnest($4::uuid[]) AS u (send_id)
            JOIN sends s ON s.workspace_id = $1 AND s.send_id = u.send_id
            WHERE s.kind IN ('step', 'answer') AND s.gate_at IS NOT NULL
              AND s.state IN ('dispatching', 'accepted', 'rejected', 'unknown', 'needs_review')
            UNION ALL
            SELECT v.at, 1, v.event_id, 0
            FROM inbound_events v
            WHERE v.workspace_id = $1 AND v.lead_id = $2
              AND v.kind IN ('mail', 'text', 'text_stop', 'text_start', 'text_help',
                             'bounced_hard', 'bounced_soft', 'complained', 'opted_out')
            UNION ALL
            SELECT j.at, 2, j.enrollment_id, j.turn
            FROM unnest($3::uuid[]) AS e (enrollment_id)
            JOIN journal j ON j.workspace_id = $1 AND j.enrollment_id = e.enrollment_id
            WHERE j.cause IN ('handover_accepted', 'handover_answered', 'handover_closed',
                              'given_back', 'person_wrote')
               OR j.effects LIKE '%"effect":"offer_handover"%') AS t
        WHERE $5::timestamptz IS NULL OR (t.at, t.source, t.id, t.turn) > ($5, $6, $7, $8)
        ORDER BY t.at, t.source, t.id, t.turn
        LIMIT $9
        "#,
        workspace.uuid(),
        lead.uuid(),
        enrollments,
        sends,
        after.map(|spot| spot.at),
        after.map(|spot| spot.source),
        after.map(|spot| spot.id),
        after.map(|spot| spot.turn),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// What a message of ours said.
#[derive(Debug, Clone)]
pub struct Said {
    /// The message.
    pub send_id: Uuid,
    /// Its subject.
    pub subject: Option<String>,
    /// Its plain text.
    pub text: String,
}

/// Returns what `sends` said.
pub async fn said(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<Vec<Said>> {
    sqlx::query_as!(
        Said,
        r#"
        SELECT send_id, subject, text
        FROM send_contents
        WHERE workspace_id = $1 AND send_id = ANY($2)
        LIMIT 1000
        "#,
        workspace.uuid(),
        sends,
    )
    .fetch_all(conn)
    .await
}

/// What came in, with what one of the lead's enrollments was told of it.
#[derive(Debug)]
pub struct Heard {
    /// The event.
    pub event_id: Uuid,
    /// Campaign time.
    pub at: DateTime<Utc>,
    /// What it is, in a word.
    pub kind: String,
    /// From whom we have it.
    pub provider: String,
    /// The message of ours it is about.
    pub send_id: Option<Uuid>,
    /// How often reading it failed.
    pub attempts: i16,
    /// What came, sealed.
    pub payload: Vec<u8>,
    /// Whether a machine wrote it.
    pub is_automatic: bool,
    /// The enrollment it answers.
    pub enrollment_id: Option<Uuid>,
    /// The name of that enrollment's campaign.
    pub campaign: Option<String>,
    /// What it was taken for.
    pub meaning: Option<String>,
    /// What is known about where it came from.
    pub refs: Option<Value>,
}

/// Returns `events` as `enrollments` heard of them; of several, the one that was answered.
pub async fn heard(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    events: &[Uuid],
    enrollments: &[Uuid],
) -> sqlx::Result<Vec<Heard>> {
    sqlx::query_as!(
        Heard,
        r#"
        SELECT
            v.event_id, v.at, v.kind, v.provider, v.send_id, v.attempts, v.payload,
            v.is_automatic, s.enrollment_id AS "enrollment_id?", s.campaign AS "campaign?",
            s.kind AS "meaning?", s.refs AS "refs?"
        FROM inbound_events v
        LEFT JOIN LATERAL (
            SELECT g.enrollment_id, c.name AS campaign, g.kind, g.refs
            FROM unnest($3::uuid[]) AS u (enrollment_id)
            JOIN signals g ON g.workspace_id = $1 AND g.enrollment_id = u.enrollment_id
            JOIN enrollments e ON e.workspace_id = $1 AND e.enrollment_id = u.enrollment_id
            JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = e.campaign_id
            WHERE g.event_id = v.event_id
            ORDER BY g.refs ->> 'to' = 'this' DESC NULLS LAST, g.enrollment_id
            LIMIT 1) AS s ON true
        WHERE v.workspace_id = $1 AND v.event_id = ANY($2)
        LIMIT 1000
        "#,
        workspace.uuid(),
        events,
        enrollments,
    )
    .fetch_all(conn)
    .await
}

/// What a person of ours did about a lead, or was asked to do.
#[derive(Debug, Clone)]
pub struct Act {
    /// Whose handover.
    pub enrollment_id: Uuid,
    /// The number of its journal row.
    pub turn: i32,
    /// Campaign time.
    pub at: DateTime<Utc>,
    /// The campaign's name.
    pub campaign: String,
    /// The signal, JSON.
    pub signal: String,
    /// What was asked for, JSON.
    pub effects: Option<String>,
}

/// Returns the rows of journals that `enrollments` and `turns` name, pair by pair.
pub async fn acts(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
    turns: &[i32],
) -> sqlx::Result<Vec<Act>> {
    sqlx::query_as!(
        Act,
        r#"
        SELECT j.enrollment_id, j.turn, j.at, c.name AS campaign, j.signal, j.effects
        FROM unnest($2::uuid[], $3::int[]) AS u (enrollment_id, turn)
        JOIN journal j
            ON j.workspace_id = $1 AND j.enrollment_id = u.enrollment_id AND j.turn = u.turn
        JOIN enrollments e ON e.workspace_id = $1 AND e.enrollment_id = u.enrollment_id
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = e.campaign_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        enrollments,
        turns,
    )
    .fetch_all(conn)
    .await
}
