//! Work that was given up, with its cause, until a person retries or dismisses it.

use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, Id, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::inbound_events::EventId;
use crate::ids;

/// Names a dead letter.
pub enum DeadLetterKind {}

/// A dead letter.
pub type DeadLetterId = Id<DeadLetterKind>;

/// What was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// An enrollment that fails to move: it is parked.
    Enrollment(EnrollmentId),
    /// A mail nobody could read: it counts as a reply.
    Event(EventId),
    /// A mail that belongs to no lead.
    Unmatched(EventId),
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// What was given up.
    pub subject: Subject,
    /// Why.
    pub cause: String,
    /// When, in campaign time.
    pub at: DateTime<Utc>,
    /// What a person made of it; `None`: nobody has dealt with it.
    pub resolution: Option<Resolution>,
}

/// What a person made of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// `retried` or `dismissed`.
    pub word: String,
    /// When, in campaign time.
    pub at: DateTime<Utc>,
}

/// Adds a dead letter.
pub async fn add(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    subject: Subject,
    cause: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<DeadLetterId> {
    let id: DeadLetterId = ids::new();
    let (kind, enrollment, event) = subject.columns();
    sqlx::query!(
        r#"
        INSERT INTO dead_letters
            (workspace_id, dead_letter_id, kind, enrollment_id, event_id, cause, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        workspace.uuid(),
        id.uuid(),
        kind,
        enrollment,
        event,
        cause,
        now
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// Where a letter stands among the open ones.
pub type Standing = (DateTime<Utc>, DeadLetterId);

/// Returns the open dead letters, newest first, at most `limit`, from behind `before`.
pub async fn open(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    before: Option<Standing>,
    limit: i64,
) -> sqlx::Result<Vec<DeadLetter>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT dead_letter_id, kind, enrollment_id, event_id, cause, at, resolution, resolved_at
        FROM dead_letters
        WHERE workspace_id = $1
          AND resolved_at IS NULL
          AND ($2::timestamptz IS NULL OR (at, dead_letter_id) < ($2, $3::uuid))
        ORDER BY at DESC, dead_letter_id DESC
        LIMIT $4
        "#,
        workspace.uuid(),
        before.map(|(at, _)| at),
        before.map(|(_, id)| id.uuid()),
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Returns a dead letter, open or dealt with.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: DeadLetterId,
) -> sqlx::Result<Option<DeadLetter>> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT dead_letter_id, kind, enrollment_id, event_id, cause, at, resolution, resolved_at
        FROM dead_letters
        WHERE workspace_id = $1
          AND dead_letter_id = $2
        "#,
        workspace.uuid(),
        id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Closes a dead letter. Returns whether it was open.
pub async fn resolve(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: DeadLetterId,
    resolution: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE dead_letters
        SET resolved_at = $3, resolution = $4
        WHERE workspace_id = $1
          AND dead_letter_id = $2
          AND resolved_at IS NULL
        "#,
        workspace.uuid(),
        id.uuid(),
        now,
        resolution
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

impl Subject {
    fn columns(self) -> (&'static str, Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Enrollment(id) => ("enrollment", Some(id.uuid()), None),
            Self::Event(id) => ("event", None, Some(id.uuid())),
            Self::Unmatched(id) => ("unmatched", None, Some(id.uuid())),
        }
    }
}

struct Row {
    dead_letter_id: Uuid,
    kind: String,
    enrollment_id: Option<Uuid>,
    event_id: Option<Uuid>,
    cause: String,
    at: DateTime<Utc>,
    resolution: Option<String>,
    resolved_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for DeadLetter {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let subject = match (row.kind.as_str(), row.enrollment_id, row.event_id) {
            ("enrollment", Some(id), None) => Subject::Enrollment(id.into()),
            ("event", None, Some(id)) => Subject::Event(id.into()),
            ("unmatched", None, Some(id)) => Subject::Unmatched(id.into()),
            (kind, _, _) => {
                return Err(sqlx::Error::Decode(format!("dead letter of kind {kind}").into()));
            }
        };
        let resolution = row.resolution.zip(row.resolved_at);
        Ok(Self {
            id: row.dead_letter_id.into(),
            subject,
            cause: row.cause,
            at: row.at,
            resolution: resolution.map(|(word, at)| Resolution { word, at }),
        })
    }
}
