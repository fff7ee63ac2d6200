//! The invariants as SQL: each statement returns the rows that break one, in a column `example`.
//! `$1` is the workspace, `$2` the campaign time and `$3` the wall time since which nothing may be
//! due.

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use uuid::Uuid;

/// One invariant.
#[derive(Debug)]
pub struct Invariant {
    /// Its short name.
    pub id: &'static str,
    /// What must hold.
    pub holds: &'static str,
    /// Returns the rows that break it.
    sql: &'static str,
}

/// Every invariant that SQL can tell.
pub const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "I01",
        holds: "no row points to something that is not there",
        sql: "SELECT 'send ' || s.send_id AS example FROM sends s
              LEFT JOIN enrollments e ON (e.workspace_id, e.enrollment_id) = (s.workspace_id, s.enrollment_id)
              WHERE s.workspace_id = $1 AND e.enrollment_id IS NULL
              UNION ALL
              SELECT 'journal of ' || j.enrollment_id FROM journal j
              LEFT JOIN enrollments e ON (e.workspace_id, e.enrollment_id) = (j.workspace_id, j.enrollment_id)
              WHERE j.workspace_id = $1 AND e.enrollment_id IS NULL
              UNION ALL
              SELECT 'content of ' || c.send_id FROM send_contents c
              LEFT JOIN sends s ON (s.workspace_id, s.send_id) = (c.workspace_id, c.send_id)
              WHERE c.workspace_id = $1 AND s.send_id IS NULL",
    },
    Invariant {
        id: "I02",
        holds: "the counted leads of each state are the leads in that state",
        sql: "SELECT coalesce(d.campaign_id, e.campaign_id) || ' ' || coalesce(d.measure, e.measure) AS example
              FROM (SELECT campaign_id, measure, sum(n) AS n FROM counter_deltas
                    WHERE workspace_id = $1 AND measure LIKE 'state/%' GROUP BY 1, 2) d
              FULL JOIN (SELECT campaign_id, 'state/' || state AS measure, count(*) AS n
                         FROM enrollments WHERE workspace_id = $1 GROUP BY 1, 2) e
                ON (d.campaign_id, d.measure) = (e.campaign_id, e.measure)
              WHERE coalesce(d.n, 0) <> coalesce(e.n, 0)",
    },
    Invariant {
        id: "I03",
        holds: "the counted messages of each step are the accepted ones",
        sql: "SELECT coalesce(d.step_key, s.step_key) AS example
              FROM (SELECT campaign_id, step_key, sum(n) AS n FROM counter_deltas
                    WHERE workspace_id = $1 AND measure = 'sent' GROUP BY 1, 2) d
              FULL JOIN (SELECT campaign_id, step_key, count(*) AS n FROM sends
                         WHERE workspace_id = $1 AND kind = 'step' AND state = 'accepted'
                         GROUP BY 1, 2) s
                ON (d.campaign_id, d.step_key) = (s.campaign_id, s.step_key)
              WHERE coalesce(d.n, 0) <> coalesce(s.n, 0)",
    },
    Invariant {
        id: "I05",
        holds: "no counter is negative",
        sql: "SELECT campaign_id || ' ' || measure AS example FROM counter_deltas
              WHERE workspace_id = $1 GROUP BY campaign_id, step_key, variant, measure
              HAVING sum(n) < 0",
    },
    Invariant {
        id: "I07",
        holds: "an ended lead has no message waiting to leave but a person's own answer",
        sql: "SELECT e.enrollment_id::text AS example FROM enrollments e
              JOIN sends s ON (s.workspace_id, s.enrollment_id) = (e.workspace_id, e.enrollment_id)
              WHERE e.workspace_id = $1 AND e.ended_at IS NOT NULL AND s.kind <> 'answer'
                AND s.state IN ('planned', 'deferred')",
    },
    Invariant {
        id: "I10",
        holds: "no message was accepted twice by the capture sender",
        sql: "SELECT send_id::text AS example FROM captured_messages
              WHERE workspace_id = $1 GROUP BY send_id, attempt HAVING count(*) > 1",
    },
    Invariant {
        id: "I11",
        holds: "every message the capture sender has is accepted, or open for all to see",
        sql: "SELECT m.send_id::text AS example FROM captured_messages m
              LEFT JOIN sends s ON (s.workspace_id, s.send_id) = (m.workspace_id, m.send_id)
              WHERE m.workspace_id = $1
                AND (s.send_id IS NULL OR s.state NOT IN
                     ('accepted', 'dispatching', 'unknown', 'needs_review'))",
    },
    Invariant {
        id: "I13",
        holds: "no message passed the gate after a stop that its turn had not seen",
        sql: "SELECT s.send_id::text AS example FROM sends s
              JOIN signals g ON (g.workspace_id, g.enrollment_id) = (s.workspace_id, s.enrollment_id)
              WHERE s.workspace_id = $1 AND g.holds AND g.seq > s.after_seq AND g.at < s.gate_at",
    },
    Invariant {
        id: "I15",
        holds: "no message went to an address that was suppressed",
        sql: "SELECT s.send_id::text AS example FROM sends s
              JOIN suppressions x ON x.workspace_id = s.workspace_id AND x.scope = 'address'
                                 AND x.value = s.address
              WHERE s.workspace_id = $1 AND s.kind IN ('step', 'answer')
                AND s.gate_at > x.suppressed_at
                AND (x.lifted_at IS NULL OR s.gate_at < x.lifted_at)",
    },
    Invariant {
        id: "I17",
        holds: "every quota counts the messages that left and the slots that are promised",
        sql: "WITH used AS (
                  SELECT sender_id, campaign_id, gate_day, gate_campaign_day FROM sends
                  WHERE workspace_id = $1 AND kind IN ('step', 'answer')
                    AND state IN ('dispatching', 'accepted', 'unknown', 'needs_review')),
              booked AS (
                  SELECT sender_id, campaign_id, slot_day, slot_campaign_day FROM sends
                  WHERE workspace_id = $1 AND slot_day IS NOT NULL),
              facts (scope, scope_id, day, used, booked) AS (
                  SELECT 'sender_day', sender_id, gate_day, count(*), 0 FROM used GROUP BY 2, 3
                  UNION ALL
                  SELECT 'campaign_day', campaign_id, gate_campaign_day, count(*), 0
                  FROM used GROUP BY 2, 3
                  UNION ALL
                  SELECT 'sender_day', sender_id, slot_day, 0, count(*) FROM booked GROUP BY 2, 3
                  UNION ALL
                  SELECT 'campaign_day', campaign_id, slot_campaign_day, 0, count(*)
                  FROM booked GROUP BY 2, 3)
              SELECT q.scope || ' ' || q.scope_id || ' ' || q.day AS example FROM quotas q
              LEFT JOIN facts f ON (f.scope, f.scope_id, f.day) = (q.scope, q.scope_id, q.day)
              WHERE q.workspace_id = $1
              GROUP BY q.scope, q.scope_id, q.day, q.used, q.booked
              HAVING (q.used, q.booked)
                  <> (coalesce(sum(f.used), 0), coalesce(sum(f.booked), 0))",
    },
    Invariant {
        id: "I19",
        holds: "every event of a provider is stored once",
        sql: "SELECT provider || ' ' || event_key AS example FROM inbound_events
              WHERE workspace_id = $1 GROUP BY provider, event_key HAVING count(*) > 1",
    },
    Invariant {
        id: "I20",
        holds: "nothing has been due for more than a minute",
        sql: "SELECT 'enrollment ' || enrollment_id AS example FROM enrollments
              WHERE workspace_id = $1 AND wake_at < $2 AND parked_at IS NULL
              UNION ALL
              SELECT 'send ' || send_id FROM sends
              WHERE workspace_id = $1 AND state = 'dispatching' AND lease_until < $3
              UNION ALL
              SELECT 'signal of ' || s.enrollment_id FROM signals s
              JOIN inbound_events i ON (i.workspace_id, i.event_id) = (s.workspace_id, s.event_id)
              WHERE s.workspace_id = $1 AND s.kind IS NULL AND i.received_at < $3
              UNION ALL
              SELECT 'signal of ' || e.enrollment_id FROM enrollments e
              WHERE e.workspace_id = $1 AND e.signal_seq > e.applied_seq AND e.wake_at IS NULL
                AND e.parked_at IS NULL",
    },
    Invariant {
        id: "I21",
        holds: "every step of every lead has one row in the ledger",
        sql: "SELECT enrollment_id || ' ' || step_key AS example FROM sends
              WHERE workspace_id = $1 AND kind = 'step'
              GROUP BY enrollment_id, step_key, visit HAVING count(*) > 1",
    },
    Invariant {
        id: "I23",
        holds: "no message belongs to another workspace's lead",
        sql: "SELECT s.send_id::text AS example FROM sends s
              LEFT JOIN leads l ON (l.workspace_id, l.lead_id) = (s.workspace_id, s.lead_id)
              WHERE s.workspace_id = $1 AND l.lead_id IS NULL",
    },
    Invariant {
        id: "I24",
        holds: "every tenant's table is behind a wall that holds for its owner too",
        sql: "SELECT c.relname::text AS example FROM pg_class c
              JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND $1::uuid IS NOT NULL
                AND EXISTS (SELECT 1 FROM pg_attribute a
                            WHERE a.attrelid = c.oid AND a.attname = 'workspace_id')
                AND (NOT c.relrowsecurity OR NOT c.relforcerowsecurity
                     OR NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid))
              UNION ALL
              SELECT rolname::text FROM pg_roles
              WHERE rolname IN ('meridian_app', 'meridian_finder') AND (rolsuper OR rolbypassrls)",
    },
    Invariant {
        id: "I27",
        holds: "nothing that names an erased person is left",
        sql: "SELECT l.lead_id::text AS example FROM leads l
              WHERE l.workspace_id = $1 AND l.erased_at IS NOT NULL
                AND (l.attributes <> '{}'::jsonb
                     OR EXISTS (SELECT 1 FROM addresses a
                                WHERE (a.workspace_id, a.lead_id) = (l.workspace_id, l.lead_id))
                     OR EXISTS (SELECT 1 FROM lead_tags t
                                WHERE (t.workspace_id, t.lead_id) = (l.workspace_id, l.lead_id)))",
    },
    Invariant {
        id: "I28",
        holds: "a finished campaign has no live lead",
        sql: "SELECT c.name AS example FROM campaigns c
              WHERE c.workspace_id = $1 AND c.status = 'finished'
                AND EXISTS (SELECT 1 FROM enrollments e
                            WHERE e.workspace_id = $1 AND e.campaign_id = c.campaign_id
                              AND e.ended_at IS NULL)",
    },
];

/// What breaks an invariant.
#[derive(Debug, Clone)]
pub struct Found {
    /// How many rows.
    pub broken: i64,
    /// One of them.
    pub example: Option<String>,
}

/// Checks one invariant.
pub async fn check(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    invariant: &Invariant,
    stuck_since: DateTime<Utc>,
    wall_since: DateTime<Utc>,
) -> sqlx::Result<Found> {
    let sql = format!(
        "SELECT count(*) AS broken, min(example) AS example FROM ({}) AS rows
         WHERE $2::timestamptz IS NOT NULL AND $3::timestamptz IS NOT NULL",
        invariant.sql
    );
    // The statements are our own constants.
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(workspace.uuid())
        .bind(stuck_since)
        .bind(wall_since)
        .fetch_one(conn)
        .await?;
    Ok(Found { broken: row.try_get("broken")?, example: row.try_get("example")? })
}

/// The next step of a live enrollment.
#[derive(Debug, Clone)]
pub struct NextStep {
    /// Whose.
    pub enrollment_id: Uuid,
    /// What it runs.
    pub sequence_id: Uuid,
    /// Which version.
    pub version: i32,
    /// The step.
    pub next_step: String,
}

/// Returns the next steps of live enrollments, in the order of their ids.
pub async fn next_steps(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<NextStep>> {
    sqlx::query_as!(
        NextStep,
        r#"
        SELECT e.enrollment_id, c.sequence_id, e.version, e.next_step AS "next_step!"
        FROM enrollments e
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = e.campaign_id
        WHERE e.workspace_id = $1 AND e.enrollment_id > $2 AND e.next_step IS NOT NULL
        ORDER BY e.enrollment_id
        LIMIT $3
        "#,
        workspace.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// A message that passed its gate.
#[derive(Debug, Clone)]
pub struct Gated {
    /// Which.
    pub send_id: Uuid,
    /// What its lead runs.
    pub sequence_id: Uuid,
    /// Which version.
    pub version: i32,
    /// The lead's zone.
    pub zone: Option<String>,
    /// The lead's country, where the zone is not known.
    pub country: Option<String>,
    /// When it passed.
    pub gate_at: DateTime<Utc>,
    /// On which channel.
    pub channel: String,
}

/// Returns accepted messages of steps to leads that have not changed since, in the order of their
/// ids: a zone that was corrected says nothing about the time at which a message left.
pub async fn gated(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Gated>> {
    sqlx::query_as!(
        Gated,
        r#"
        SELECT s.send_id, c.sequence_id, e.version, l.zone,
               CASE WHEN l.zone IS NULL THEN l.attributes ->> 'country' END AS country,
               s.channel, s.gate_at AS "gate_at!"
        FROM sends s
        JOIN enrollments e ON e.workspace_id = $1 AND e.enrollment_id = s.enrollment_id
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = s.campaign_id
        JOIN leads l ON l.workspace_id = $1 AND l.lead_id = s.lead_id
        WHERE s.workspace_id = $1 AND s.send_id > $2 AND s.kind = 'step'
          AND s.state IN ('accepted', 'unknown', 'needs_review')
          AND l.changed_at <= s.gate_at
        ORDER BY s.send_id
        LIMIT $3
        "#,
        workspace.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}
