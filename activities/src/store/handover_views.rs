//! Handovers as people look at them: who has which lead, and until when an answer is expected.

use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, WorkspaceId};
use serde::{Deserialize, Serialize};
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
    /// The agent who has it, or is asked.
    pub agent: Option<String>,
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

/// Where a handover stands in the list.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    closed_at: Option<DateTime<Utc>>,
    answer_by: Option<DateTime<Utc>>,
    enrollment_id: Uuid,
    visit: i32,
}

impl HandoverView {
    /// Returns where it stands in the list.
    pub fn standing(&self) -> Standing {
        Standing {
            closed_at: self.closed_at,
            answer_by: self.answer_by,
            enrollment_id: self.enrollment_id,
            visit: self.visit,
        }
    }
}

/// Returns at most `limit` handovers, the most urgent first, from behind `after`.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    which: Which,
    after: Option<Standing>,
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
            h.state, h.responder,
            (SELECT a.name FROM agents a
             WHERE a.workspace_id = $1 AND a.agent_id = h.agent_id) AS agent,
            h.answer_by, h.result, h.opened_at, h.closed_at
        FROM handovers h
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = h.campaign_id
        WHERE h.workspace_id = $1
          AND ($2 OR h.state NOT IN ('closed', 'given_back'))
          AND ($5::uuid IS NULL
               OR (coalesce(h.closed_at, '-infinity'), coalesce(h.answer_by, 'infinity'),
                   h.enrollment_id, h.visit)
                > (coalesce($3::timestamptz, '-infinity'), coalesce($4::timestamptz, 'infinity'),
                   $5, $6::int))
        ORDER BY coalesce(h.closed_at, '-infinity'), coalesce(h.answer_by, 'infinity'),
            h.enrollment_id, h.visit
        LIMIT $7
        "#,
        workspace.uuid(),
        which == Which::All,
        after.and_then(|after| after.closed_at),
        after.and_then(|after| after.answer_by),
        after.map(|after| after.enrollment_id),
        after.map(|after| after.visit),
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
