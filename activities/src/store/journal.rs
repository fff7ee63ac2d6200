//! The journal: append-only, one row per application of the machine.

use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

/// New rows, column by column.
#[derive(Debug, Default)]
pub struct Rows {
    /// Whose.
    pub enrollments: Vec<Uuid>,
    /// Its number.
    pub turns: Vec<i32>,
    /// Campaign time.
    pub ats: Vec<DateTime<Utc>>,
    /// The kind of the signal.
    pub causes: Vec<&'static str>,
    /// The signal, JSON.
    pub signals: Vec<String>,
    /// The state before, as shown.
    pub from_states: Vec<&'static str>,
    /// The state after, as shown.
    pub to_states: Vec<&'static str>,
    /// What was asked for and withdrawn, JSON.
    pub effects: Vec<Option<String>>,
    /// What comes next.
    pub next_steps: Vec<Option<String>>,
    /// When.
    pub next_ats: Vec<Option<DateTime<Utc>>>,
    /// The constraint that binds.
    pub whys: Vec<Option<&'static str>>,
    /// What was read about the lead, JSON.
    pub facts: Vec<Option<String>>,
    /// The snapshot, where a replay may begin.
    pub snapshots: Vec<Option<Vec<u8>>>,
}

/// Appends rows.
pub async fn append(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    rows: &Rows,
    rules: i16,
) -> sqlx::Result<()> {
    if rows.enrollments.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO journal (
            workspace_id, enrollment_id, turn, at, cause, signal, from_state, to_state, effects,
            next_step, next_at, why, facts, snapshot, rules)
        SELECT $1, u.*, $15
        FROM unnest(
            $2::uuid[], $3::int[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::text[], $13::text[],
            $14::bytea[]) AS u
        "#,
        workspace.uuid(),
        &rows.enrollments,
        &rows.turns,
        &rows.ats,
        &rows.causes as _,
        &rows.signals,
        &rows.from_states as _,
        &rows.to_states as _,
        &rows.effects as _,
        &rows.next_steps as _,
        &rows.next_ats as _,
        &rows.whys as _,
        &rows.facts as _,
        &rows.snapshots as _,
        rules,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A stored row, as a replay and a timeline read it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number.
    pub turn: i32,
    /// Campaign time.
    pub at: DateTime<Utc>,
    /// The kind of the signal.
    pub cause: String,
    /// The signal, JSON.
    pub signal: String,
    /// The state before, as shown.
    pub from_state: String,
    /// The state after, as shown.
    pub to_state: String,
    /// What was asked for and withdrawn, JSON.
    pub effects: Option<String>,
    /// What was to come next.
    pub next_step: Option<String>,
    /// When.
    pub next_at: Option<DateTime<Utc>>,
    /// The constraint that bound.
    pub why: Option<String>,
    /// What was read about the lead, JSON; `None` once erased, or where nothing was read.
    pub facts: Option<String>,
    /// The rules that were applied.
    pub rules: i16,
    /// The snapshot, where a replay may begin.
    pub snapshot: Option<Vec<u8>>,
}

/// Returns the newest rows of an enrollment, at most `limit`, oldest first.
pub async fn newest(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"
        SELECT turn, at, cause, signal, from_state, to_state, effects, next_step, next_at, why,
               facts, rules, snapshot
        FROM (
            SELECT *
            FROM journal
            WHERE workspace_id = $1 AND enrollment_id = $2
            ORDER BY turn DESC
            LIMIT $3) AS newest
        ORDER BY turn
        "#,
        workspace.uuid(),
        enrollment.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns up to `limit` rows of an enrollment behind number `after`, oldest first.
pub async fn entries(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    after: i32,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"
        SELECT turn, at, cause, signal, from_state, to_state, effects, next_step, next_at, why,
               facts, rules, snapshot
        FROM journal
        WHERE workspace_id = $1 AND enrollment_id = $2 AND turn > $3
        ORDER BY turn
        LIMIT $4
        "#,
        workspace.uuid(),
        enrollment.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}
