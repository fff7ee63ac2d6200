//! Leads that wait for something that others have. They are locked after they were chosen; one that is
//! locked already is left out, because whoever asks holds locks that come later.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

/// A handover that no agent has or is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unasked {
    /// Whose.
    pub enrollment_id: Uuid,
    /// Which of its handovers.
    pub visit: i32,
    /// When it is overdue.
    pub answer_by: Option<DateTime<Utc>>,
}

/// Returns up to `limit` handovers that wait for an agent, the longest waiting first, without those of
/// `except`.
pub async fn for_an_agent(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    except: &[Uuid],
    limit: i64,
) -> sqlx::Result<Vec<Unasked>> {
    sqlx::query_as!(
        Unasked,
        r#"
        SELECT h.enrollment_id, h.visit, h.answer_by
        FROM handovers AS h
        JOIN enrollments AS e USING (workspace_id, enrollment_id)
        JOIN campaigns AS c ON c.workspace_id = h.workspace_id AND c.campaign_id = h.campaign_id
        WHERE h.workspace_id = $1
          AND h.state = 'offered'
          AND h.agent_id IS NULL
          AND h.responder = 'first'
          AND c.settings #>> '{handover,to}' IS NULL
          AND e.parked_at IS NULL
          AND e.enrollment_id <> ALL ($2)
        ORDER BY h.opened_at, h.enrollment_id
        LIMIT $3
        "#,
        workspace.uuid(),
        except,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Locks those of `enrollments` that nobody else has locked, and returns them.
pub async fn lock_free(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT enrollment_id
        FROM enrollments
        WHERE workspace_id = $1 AND enrollment_id = ANY ($2)
        ORDER BY enrollment_id
        FOR UPDATE SKIP LOCKED
        "#,
        workspace.uuid(),
        enrollments,
    )
    .fetch_all(conn)
    .await
}
