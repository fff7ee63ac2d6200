//! Companies that a campaign leaves alone while one of their people is with us, and who waits for that
//! to end. A company is the domain of a lead's mail address; which domains are none is said by the
//! caller.

use machine::ids::{EnrollmentId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

/// Holds the companies of `enrollments` on their account. Domains in `public` are nobody's company.
pub async fn hold(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
    public: &[&str],
) -> sqlx::Result<()> {
    if enrollments.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO company_holds (workspace_id, campaign_id, company, enrollment_id)
        SELECT DISTINCT e.workspace_id, e.campaign_id, split_part(a.address, '@', 2), e.enrollment_id
        FROM enrollments AS e
        JOIN addresses AS a ON a.workspace_id = e.workspace_id AND a.lead_id = e.lead_id
                           AND a.channel = 'email'
        WHERE e.workspace_id = $1
          AND e.enrollment_id = ANY ($2)
          AND split_part(a.address, '@', 2) <> ALL ($3)
        ON CONFLICT DO NOTHING
        "#,
        workspace.uuid(),
        enrollments,
        public as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Holds the company of an enrollment to which an answer came, if its campaign asks for that.
pub async fn hold_for_an_answer(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    public: &[&str],
) -> sqlx::Result<()> {
    let asked = sqlx::query_scalar!(
        r#"
        SELECT e.enrollment_id
        FROM enrollments AS e
        JOIN campaigns AS c ON c.workspace_id = e.workspace_id AND c.campaign_id = e.campaign_id
        JOIN sequence_versions AS v ON v.workspace_id = e.workspace_id
                                   AND v.sequence_id = c.sequence_id AND v.version = e.version
        WHERE e.workspace_id = $1
          AND e.enrollment_id = $2
          AND v.document #>> '{reply,scope}' = 'company'
        "#,
        workspace.uuid(),
        enrollment.uuid(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    hold(conn, workspace, asked.as_slice(), public).await
}

/// A message of a lead whose company is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whose.
    pub enrollment_id: Uuid,
    /// In which campaign.
    pub campaign_id: Uuid,
    /// Which company.
    pub company: String,
}

/// Returns those of `enrollments` whose companies are held on another one's account. Until the
/// transaction ends none of these holds goes: who is let go afterwards sees who waits.
pub async fn held(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
) -> sqlx::Result<Vec<Held>> {
    if enrollments.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as!(
        Held,
        r#"
        SELECT e.enrollment_id, h.campaign_id, h.company
        FROM enrollments AS e
        JOIN addresses AS a ON a.workspace_id = e.workspace_id AND a.lead_id = e.lead_id
                           AND a.channel = 'email'
        JOIN company_holds AS h ON h.workspace_id = e.workspace_id
                               AND h.campaign_id = e.campaign_id
                               AND h.company = split_part(a.address, '@', 2)
                               AND h.enrollment_id <> e.enrollment_id
        WHERE e.workspace_id = $1
          AND e.enrollment_id = ANY ($2)
        ORDER BY h.campaign_id, h.company, h.enrollment_id
        FOR KEY SHARE OF h
        "#,
        workspace.uuid(),
        enrollments,
    )
    .fetch_all(conn)
    .await
}

/// Notes who waits for a company.
pub async fn wait(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    waiting: &[Held],
) -> sqlx::Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    let campaigns: Vec<Uuid> = waiting.iter().map(|one| one.campaign_id).collect();
    let companies: Vec<String> = waiting.iter().map(|one| one.company.clone()).collect();
    let enrollments: Vec<Uuid> = waiting.iter().map(|one| one.enrollment_id).collect();
    sqlx::query!(
        r#"
        INSERT INTO company_waits (workspace_id, campaign_id, company, enrollment_id)
        SELECT DISTINCT $1::uuid, u.*
        FROM unnest($2::uuid[], $3::text[], $4::uuid[]) AS u
        ON CONFLICT DO NOTHING
        "#,
        workspace.uuid(),
        &campaigns,
        &companies,
        &enrollments,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the companies go that were held on account of `enrollments`. Returns whether there were any.
pub async fn let_go(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
) -> sqlx::Result<bool> {
    if enrollments.is_empty() {
        return Ok(false);
    }
    let gone = sqlx::query!(
        "DELETE FROM company_holds WHERE workspace_id = $1 AND enrollment_id = ANY ($2)",
        workspace.uuid(),
        enrollments,
    )
    .execute(conn)
    .await?;
    Ok(gone.rows_affected() > 0)
}

/// Locks up to `limit` enrollments that wait for companies which nobody holds any more, and strikes them
/// off. One that is locked already stays on the list for the next time.
pub async fn strike_off(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    let free = sqlx::query_scalar!(
        r#"
        SELECT e.enrollment_id
        FROM enrollments AS e
        WHERE e.workspace_id = $1
          AND e.enrollment_id IN (
              SELECT w.enrollment_id
              FROM company_waits AS w
              WHERE w.workspace_id = $1
                AND NOT EXISTS (
                    SELECT 1
                    FROM company_holds AS h
                    WHERE h.workspace_id = w.workspace_id AND h.campaign_id = w.campaign_id
                      AND h.company = w.company))
        ORDER BY e.enrollment_id
        LIMIT $2
        FOR UPDATE OF e SKIP LOCKED
        "#,
        workspace.uuid(),
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM company_waits WHERE workspace_id = $1 AND enrollment_id = ANY ($2)",
        workspace.uuid(),
        &free,
    )
    .execute(conn)
    .await?;
    Ok(free)
}

/// Forgets for whose company `enrollments` wait.
pub async fn forget_waits(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM company_waits WHERE workspace_id = $1 AND enrollment_id = ANY ($2)",
        workspace.uuid(),
        enrollments,
    )
    .execute(conn)
    .await?;
    Ok(())
}
