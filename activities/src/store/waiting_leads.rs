//! Leads that wait for something that others have. They are locked as they are found; one that is
//! locked already is left out, because whoever asks holds locks that come later.

use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

/// Locks enrollments that are offered and that no agent has or is asked about, the longest waiting
/// first, without `except`.
pub async fn lock_for_an_agent(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    except: &[Uuid],
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT e.enrollment_id
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
        FOR UPDATE OF e SKIP LOCKED
        "#,
        workspace.uuid(),
        except,
        limit,
    )
    .fetch_all(conn)
    .await
}
