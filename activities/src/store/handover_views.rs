//! Handovers as people look at them: who has which lead, and until when an answer is expected.

use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

/// A handover in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct HandoverView {
    /// Whose.
    pub enrollment_id: Uuid,
    /// Which handover of the enrollment, from 1.
    pub visit: i32,
    /// The campaign's name.
    pub campaign: String,
    /// The person's mail address.
    pub email: Option<String>,
    /// `offered`, `accepted`, `answered`, `closed` or `given_back`.
    pub state: String,
    /// `first` or `fallback`.
    pub responder: String,
    /// Until when an answer is expected.
    pub answer_by: Option<DateTime<Utc>>,
    /// How it ended.
    pub result: Option<String>,
    /// Campaign time of its beginning.
    pub opened_at: DateTime<Utc>,
    /// Campaign time of its end.
    pub closed_at: Option<DateTime<Utc>>,
}

/// Which handovers are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those a person has to do something about.
    Open,
    /// Every one.
    All,
}

/// Returns the first `limit` handovers, the most urgent first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    which: Which,
    limit: i64,
) -> sqlx::Result<Vec<HandoverView>> {
    sqlx::query_as!(
        HandoverView,
        r#"
        SELECT
            h.enrollment_id, h.visit, c.name AS campaign,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = h.lead_id AND a.channel = 'email'
             ORDER BY a.address LIMIT 1) AS email,
            h.state, h.responder, h.answer_by, h.result, h.opened_at, h.closed_at
        FROM handovers h
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = h.campaign_id
        WHERE h.workspace_id = $1 AND ($2 OR h.state NOT IN ('closed', 'given_back'))
        ORDER BY h.closed_at NULLS FIRST, h.answer_by NULLS LAST, h.enrollment_id, h.visit
        LIMIT $3
        "#,
        workspace.uuid(),
        which == Which::All,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns the newest handover of an enrollment that is not over.
pub async fn open(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
) -> sqlx::Result<Option<(i32, String)>> {
    let row = sqlx::query!(
        r#"
        SELECT visit, state
        FROM handovers
        WHERE workspace_id = $1 AND enrollment_id = $2 AND state NOT IN ('closed', 'given_back')
        ORDER BY visit DESC
        LIMIT 1
        "#,
        workspace.uuid(),
        enrollment.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.visit, row.state)))
}

/// The journal row with which a handover began.
#[derive(Debug, Clone, PartialEq)]
pub struct Beginning {
    /// Whose.
    pub enrollment_id: Uuid,
    /// Which handover of the enrollment, from 1.
    pub visit: i32,
    /// The kind of the signal.
    pub cause: String,
    /// What was asked for, JSON.
    pub effects: Option<String>,
    /// The step that was to come next before.
    pub step: Option<String>,
}

/// Returns the beginnings of handovers, which are named by enrollment and number.
pub async fn beginnings(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
    visits: &[i32],
) -> sqlx::Result<Vec<Beginning>> {
    sqlx::query_as!(
        Beginning,
        r#"
        SELECT u.enrollment_id AS "enrollment_id!", u.visit AS "visit!", j.cause, j.effects,
               (SELECT b.next_step FROM journal b
                WHERE b.workspace_id = $1 AND b.enrollment_id = u.enrollment_id
                  AND b.turn = j.turn - 1) AS step
        FROM unnest($2::uuid[], $3::int[]) AS u (enrollment_id, visit)
        CROSS JOIN LATERAL (
            SELECT turn, cause, effects
            FROM journal
            WHERE workspace_id = $1 AND enrollment_id = u.enrollment_id
              AND effects LIKE '%"offer_handover"%'
              AND effects::jsonb @> jsonb_build_object('asked', jsonb_build_array(
                  jsonb_build_object('effect', 'offer_handover', 'handover', u.visit)))
            ORDER BY turn
            LIMIT 1) AS j
        LIMIT 1000
        "#,
        workspace.uuid(),
        enrollments,
        visits,
    )
    .fetch_all(conn)
    .await
}
