//! Enrollments that were given up until a person acts, each with its cause.

use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids;

/// Puts the cause on record.
pub async fn record(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    cause: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let id: Uuid = ids::new::<machine::ids::Send>().uuid();
    sqlx::query!(
        r#"
        INSERT INTO dead_letters (workspace_id, dead_letter_id, kind, enrollment_id, cause, at)
        VALUES ($1, $2, 'enrollment', $3, $4, $5)
        "#,
        workspace.uuid(),
        id,
        enrollment.uuid(),
        cause,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
