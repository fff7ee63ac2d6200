//! Facts on their way to the machine. Every one is written here: its enrollment is locked, gets the
//! next number and is woken, and the runners hear of it once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, LeadId, SendId, WorkspaceId};
use machine::key::StepKey;
use machine::signal::{ReplyTo, Signal};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::bell;
use super::inbound_events::EventId;
use crate::error::{ActivityError, Result};
use crate::trace::TraceParent;

/// A signal to be stored.
#[derive(Debug, Clone)]
pub struct NewSignal {
    /// Who is told.
    pub enrollment: EnrollmentId,
    /// What.
    pub content: Content,
    /// What makes a repeat a repeat: the same key is stored once for each enrollment.
    pub source_key: String,
    /// The event it came with.
    pub event: Option<EventId>,
    /// What is known about where it came from.
    pub refs: Option<Refs>,
}

/// What is known of a signal when it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Everything.
    Known(Signal),
    /// A mail came in. Until somebody has read it, nothing may be sent.
    Uninterpreted,
}

/// Where a signal came from, as ingest found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refs {
    /// Whether it concerns this enrollment's own message or another campaign's.
    pub to: ReplyTo,
    /// The send it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<SendId>,
    /// The step of that send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepKey>,
    /// What it was matched by.
    pub by: MatchedBy,
}

/// What an event was matched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchedBy {
    /// It names a send of ours, or carries a token of one: proof.
    Send,
    /// Nothing but the sender's address, which anyone can write: it stops, and a person confirms.
    Sender,
    /// The number it came from, for which the provider vouches.
    Number,
}

/// A stored mail that nobody has read, and whom it may concern.
#[derive(Debug, Clone)]
pub struct Uninterpreted {
    /// The mail.
    pub event: EventId,
    /// Who is held by it, by id.
    pub enrollments: Vec<Held>,
}

/// An enrollment that a mail holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// Which.
    pub enrollment: EnrollmentId,
    /// Whose.
    pub lead: LeadId,
    /// What ingest found out.
    pub refs: Refs,
}

/// Stores signals and wakes their enrollments. Returns the enrollments that were told something new.
///
/// The caller holds the lead's exclusive lock where a signal may stop it. Enrollments that do not
/// exist are left out.
pub async fn write(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    signals: &[NewSignal],
    now: DateTime<Utc>,
) -> Result<Vec<EnrollmentId>> {
    let wanted: BTreeSet<EnrollmentId> = signals.iter().map(|one| one.enrollment).collect();
    let mut numbers = lock(conn, workspace, &wanted).await?;
    // A statement of its own after the lock: it sees what was stored while we waited.
    let mut seen = stored_keys(conn, workspace, signals).await?;
    let mut columns = Columns::default();
    for signal in signals {
        let Some(number) = numbers.get_mut(&signal.enrollment) else { continue };
        if seen.insert((signal.enrollment, signal.source_key.clone())) {
            *number += 1;
            columns.push(signal, *number)?;
        }
    }
    if columns.enrollments.is_empty() {
        return Ok(Vec::new());
    }
    columns.insert(conn, workspace, &TraceParent::current(), now).await?;
    wake(conn, workspace, &columns.enrollments, now).await?;
    let told: BTreeSet<EnrollmentId> = columns.enrollments.into_iter().map(Into::into).collect();
    Ok(told.into_iter().collect())
}

/// Returns the signal that an enrollment was told under a source key.
pub async fn by_source(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    source_key: &str,
) -> Result<Option<Signal>> {
    let stored = sqlx::query_scalar!(
        r#"
        SELECT signal
        FROM signals
        WHERE workspace_id = $1 AND enrollment_id = $2 AND source_key = $3
        "#,
        workspace.uuid(),
        enrollment.uuid(),
        source_key,
    )
    .fetch_optional(conn)
    .await?;
    let wrong =
        |error: serde_json::Error| ActivityError::Stored { what: "signal", why: error.to_string() };
    stored.flatten().map(serde_json::from_value).transpose().map_err(wrong)
}

/// Returns the mails that nobody has read, oldest enrollment first, from at most `limit` signals.
pub async fn uninterpreted(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    limit: u16,
) -> Result<Vec<Uninterpreted>> {
    let rows = sqlx::query!(
        r#"
        SELECT s.event_id AS "event_id!", s.enrollment_id, e.lead_id, s.refs
        FROM signals AS s
        JOIN enrollments AS e USING (workspace_id, enrollment_id)
        WHERE s.workspace_id = $1
          AND s.kind IS NULL
          AND s.event_id IN (
              SELECT event_id
              FROM signals
              WHERE workspace_id = $1
                AND kind IS NULL
              LIMIT $2)
        ORDER BY s.event_id, s.enrollment_id
        "#,
        workspace.uuid(),
        i64::from(limit)
    )
    .fetch_all(conn)
    .await?;
    let mut mails: Vec<Uninterpreted> = Vec::new();
    for row in rows {
        let event = EventId::new(row.event_id);
        let held = Held {
            enrollment: row.enrollment_id.into(),
            lead: row.lead_id.into(),
            refs: refs(row.refs)?,
        };
        match mails.last_mut() {
            Some(last) if last.event == event => last.enrollments.push(held),
            Some(_) | None => mails.push(Uninterpreted { event, enrollments: vec![held] }),
        }
    }
    Ok(mails)
}

/// What a mail means for one enrollment.
#[derive(Debug, Clone)]
pub struct Meant {
    /// The mail.
    pub event: EventId,
    /// Whom it holds.
    pub enrollment: EnrollmentId,
    /// What the machine is told.
    pub signal: Signal,
}

/// Says what the signals of mails mean, once: rows that are interpreted already stay. Wakes their
/// enrollments. Returns those that were told.
pub async fn interpret(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    meanings: &[Meant],
    now: DateTime<Utc>,
) -> Result<Vec<EnrollmentId>> {
    let wanted: BTreeSet<EnrollmentId> = meanings.iter().map(|meant| meant.enrollment).collect();
    lock(conn, workspace, &wanted).await?;
    let events: Vec<Uuid> = meanings.iter().map(|meant| meant.event.uuid()).collect();
    let enrollments: Vec<Uuid> = meanings.iter().map(|meant| meant.enrollment.uuid()).collect();
    let kinds: Vec<&str> = meanings.iter().map(|meant| meant.signal.kind()).collect();
    let signals = meanings.iter().map(|meant| json(&meant.signal)).collect::<Result<Vec<_>>>()?;
    let told = sqlx::query_scalar!(
        r#"
        UPDATE signals AS s
        SET kind = m.kind, signal = m.signal
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::jsonb[])
            AS m (workspace_id, event_id, enrollment_id, kind, signal)
        WHERE s.workspace_id = m.workspace_id
          AND s.event_id = m.event_id
          AND s.enrollment_id = m.enrollment_id
          AND s.kind IS NULL
        RETURNING s.enrollment_id
        "#,
        &vec![workspace.uuid(); meanings.len()],
        &events,
        &enrollments,
        &kinds as _,
        &signals
    )
    .fetch_all(&mut *conn)
    .await?;
    if !told.is_empty() {
        wake(conn, workspace, &told, now).await?;
    }
    Ok(told.into_iter().map(Into::into).collect())
}

/// Returns whose run `enrollment` is.
pub async fn lead_of(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
) -> sqlx::Result<Option<LeadId>> {
    let lead = sqlx::query_scalar!(
        r#"
        SELECT lead_id
        FROM enrollments
        WHERE workspace_id = $1
          AND enrollment_id = $2
        "#,
        workspace.uuid(),
        enrollment.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(lead.map(LeadId::new))
}

/// Returns the enrollments of `leads`, ended ones too, each with its lead, by id.
///
/// There is no index by lead, which every turn would have to write: a lead is in a campaign at most
/// once, so each campaign is asked.
pub async fn enrollments_of(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    leads: &[LeadId],
) -> sqlx::Result<Vec<(EnrollmentId, LeadId)>> {
    let leads: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT e.enrollment_id, l.lead_id AS "lead_id!"
        FROM campaigns AS c
        CROSS JOIN unnest($2::uuid[]) AS l (lead_id)
        CROSS JOIN LATERAL (
            SELECT enrollment_id
            FROM enrollments
            WHERE workspace_id = c.workspace_id
              AND campaign_id = c.campaign_id
              AND lead_id = l.lead_id
            OFFSET 0) AS e
        WHERE c.workspace_id = $1
        ORDER BY e.enrollment_id
        "#,
        workspace.uuid(),
        &leads
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.enrollment_id.into(), row.lead_id.into())).collect())
}

/// Locks enrollments by id; returns the number of the newest signal of each.
async fn lock(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &BTreeSet<EnrollmentId>,
) -> sqlx::Result<BTreeMap<EnrollmentId, i32>> {
    let enrollments: Vec<Uuid> = enrollments.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT e.enrollment_id, e.signal_seq
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, enrollment_id)
        JOIN enrollments AS e USING (workspace_id, enrollment_id)
        ORDER BY e.enrollment_id
        FOR UPDATE OF e
        "#,
        &vec![workspace.uuid(); enrollments.len()],
        &enrollments
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.enrollment_id.into(), row.signal_seq)).collect())
}

async fn stored_keys(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    signals: &[NewSignal],
) -> sqlx::Result<HashSet<(EnrollmentId, String)>> {
    let enrollments: Vec<Uuid> = signals.iter().map(|one| one.enrollment.uuid()).collect();
    let keys: Vec<String> = signals.iter().map(|one| one.source_key.clone()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT s.enrollment_id, s.source_key
        FROM unnest($1::uuid[], $2::uuid[], $3::text[])
            AS k (workspace_id, enrollment_id, source_key)
        JOIN signals AS s USING (workspace_id, enrollment_id, source_key)
        "#,
        &vec![workspace.uuid(); signals.len()],
        &enrollments,
        &keys
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.enrollment_id.into(), row.source_key)).collect())
}

/// Makes enrollments due and tells the runners. An enrollment that is overdue keeps its place.
async fn wake(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    enrollments: &[Uuid],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE enrollments AS e
        SET wake_at = least(e.wake_at, $3),
            signal_seq = greatest(e.signal_seq, (
                SELECT max(s.seq)
                FROM signals AS s
                WHERE s.workspace_id = e.workspace_id
                  AND s.enrollment_id = e.enrollment_id))
        FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, enrollment_id)
        WHERE e.workspace_id = u.workspace_id
          AND e.enrollment_id = u.enrollment_id
        "#,
        &vec![workspace.uuid(); enrollments.len()],
        enrollments,
        now
    )
    .execute(&mut *conn)
    .await?;
    bell::ring(conn, workspace).await
}

/// New rows, column by column.
#[derive(Default)]
struct Columns {
    enrollments: Vec<Uuid>,
    seqs: Vec<i32>,
    kinds: Vec<Option<String>>,
    signals: Vec<Option<Value>>,
    holds: Vec<bool>,
    source_keys: Vec<String>,
    events: Vec<Option<Uuid>>,
    refs: Vec<Option<Value>>,
}

impl Columns {
    fn push(&mut self, new: &NewSignal, seq: i32) -> Result<()> {
        let (kind, signal, holds) = match &new.content {
            Content::Known(signal) => {
                (Some(signal.kind().to_owned()), Some(json(signal)?), signal.holds())
            }
            Content::Uninterpreted => (None, None, true),
        };
        self.enrollments.push(new.enrollment.uuid());
        self.seqs.push(seq);
        self.kinds.push(kind);
        self.signals.push(signal);
        self.holds.push(holds);
        self.source_keys.push(new.source_key.clone());
        self.events.push(new.event.map(EventId::uuid));
        self.refs.push(new.refs.as_ref().map(json).transpose()?);
        Ok(())
    }

    async fn insert(
        &self,
        conn: &mut PgConnection,
        workspace: WorkspaceId,
        trace: &TraceParent,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        sqlx::query!(
            r#"
            INSERT INTO signals
                (workspace_id, enrollment_id, seq, kind, signal, holds, source_key, event_id, refs,
                 at, trace)
            SELECT $1, n.*, $10, $11
            FROM unnest($2::uuid[], $3::int[], $4::text[], $5::jsonb[], $6::bool[], $7::text[],
                $8::uuid[], $9::jsonb[]) AS n
            "#,
            workspace.uuid(),
            &self.enrollments,
            &self.seqs,
            &self.kinds as &[Option<String>],
            &self.signals as &[Option<Value>],
            &self.holds,
            &self.source_keys,
            &self.events as &[Option<Uuid>],
            &self.refs as &[Option<Value>],
            now,
            trace.as_str()
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

fn json<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|error| ActivityError::Stored { what: "signal", why: error.to_string() })
}

fn refs(stored: Option<Value>) -> Result<Refs> {
    let stored = stored.unwrap_or_default();
    serde_json::from_value(stored)
        .map_err(|error| ActivityError::Stored { what: "refs of a signal", why: error.to_string() })
}
