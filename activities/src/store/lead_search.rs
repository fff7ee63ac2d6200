//! Which leads people look for. Each function answers with ids in their order; what is cheapest to
//! ask first is decided elsewhere.

use std::time::Duration;

use chrono::{DateTime, Utc};
use machine::ids::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

/// What is looked for: all of it at once.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Filter<'a> {
    /// An enrollment of the lead is in this state, as shown.
    pub state: Option<&'a str>,
    /// The lead has this tag.
    pub tag: Option<&'a str>,
    /// Its attribute `country` is this one, in any case of letters.
    pub country: Option<&'a str>,
    /// Its attribute `tier` is this one, in any case of letters.
    pub tier: Option<&'a str>,
    /// Its attribute `score` is this number or a larger one.
    pub score_min: Option<f64>,
    /// An address, its name, its last name or its company begins with this, in any case of letters.
    pub text: Option<&'a str>,
    /// It came to us then or later, in campaign time.
    pub since: Option<DateTime<Utc>>,
    /// What is known of how it came to us begins with this.
    pub source: Option<&'a str>,
    /// It stands there with us, in any case of letters.
    pub stage: Option<&'a str>,
    /// Whether it has a mail address.
    pub has_email: Option<bool>,
}

impl Filter<'_> {
    /// Whether it says something of columns that have an index, and something else besides.
    pub fn is_of_columns(&self) -> bool {
        let Self { country, tier, score_min, since, source, .. } = self;
        let columns = [
            country.is_some(),
            tier.is_some(),
            score_min.is_some(),
            since.is_some(),
            source.is_some(),
        ];
        match columns.into_iter().filter(|is_asked| *is_asked).count() {
            0 => false,
            1 => self.is_more_than_columns(),
            _ => true,
        }
    }

    fn is_more_than_columns(&self) -> bool {
        let Self { state, tag, text, stage, has_email, .. } = self;
        state.is_some() || tag.is_some() || text.is_some() || stage.is_some() || has_email.is_some()
    }
}

/// Of whom a statement asks whether they pass a filter.
#[derive(Debug, Clone, Copy)]
pub enum Among<'a> {
    /// Of everybody.
    Everybody,
    /// Of these.
    These(&'a [Uuid]),
    /// Of those with the filter's tag, who are looked up one by one.
    Tagged,
}

impl<'a> Among<'a> {
    fn these(self) -> Option<&'a [Uuid]> {
        match self {
            Self::These(leads) => Some(leads),
            Self::Everybody | Self::Tagged => None,
        }
    }

    fn is_tagged(self) -> bool {
        match self {
            Self::Tagged => true,
            Self::Everybody | Self::These(_) => false,
        }
    }
}

/// Ids from behind the first to the last, or to the end.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Behind this one.
    pub after: Uuid,
    /// Up to this one, itself too.
    pub up_to: Option<Uuid>,
}

/// Has the statements of this transaction planned for the values they are given: which index is right
/// depends on them, and half of the conditions fall away. A search that takes too long is given up.
pub async fn plan_for_values(conn: &mut PgConnection, within: Duration) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        SELECT
            set_config('plan_cache_mode', 'force_custom_plan', true) AS plans,
            set_config('jit', 'off', true) AS jit,
            set_config('statement_timeout', $1, true) AS timeout
        "#,
        format!("{}ms", within.as_millis()),
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Returns the lead at which the next `count` of them behind `after` end, or those with the tag; `None`
/// where there are fewer.
pub async fn end_of(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    tag: Option<&str>,
    after: Uuid,
    count: i64,
) -> sqlx::Result<Option<Uuid>> {
    match tag {
        Some(tag) => {
            sqlx::query_scalar!(
                r#"
                SELECT lead_id
                FROM lead_tags
                WHERE workspace_id = $1 AND tag = $2 AND lead_id > $3
                ORDER BY lead_id
                OFFSET $4
                LIMIT 1
                "#,
                workspace.uuid(),
                tag,
                after,
                count - 1,
            )
            .fetch_optional(conn)
            .await
        }
        None => {
            sqlx::query_scalar!(
                r#"
                SELECT lead_id
                FROM leads
                WHERE workspace_id = $1 AND lead_id > $2
                ORDER BY lead_id
                OFFSET $3
                LIMIT 1
                "#,
                workspace.uuid(),
                after,
                count - 1,
            )
            .fetch_optional(conn)
            .await
        }
    }
}

/// Returns the next `limit` leads behind `after` with an enrollment in this state.
pub async fn in_state(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    state: &str,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT DISTINCT e.lead_id
        FROM campaigns c
        CROSS JOIN LATERAL (
            SELECT lead_id
            FROM enrollments
            WHERE workspace_id = $1 AND campaign_id = c.campaign_id AND state = $2
                AND lead_id > $3
            ORDER BY lead_id
            LIMIT $4) e
        WHERE c.workspace_id = $1
        ORDER BY e.lead_id
        LIMIT $4
        "#,
        workspace.uuid(),
        state,
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns up to `limit` leads of which an address or a name begins with `text`: some twice, in no
/// order.
pub async fn named(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    text: &str,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT n.lead_id AS "lead_id!"
        FROM (
            SELECT lead_id
            FROM addresses
            WHERE workspace_id = $1 AND address COLLATE "C" >= lower($2)
                AND address COLLATE "C" < lower($2) || chr(1114111)
            UNION ALL
            SELECT lead_id
            FROM leads
            WHERE workspace_id = $1 AND name_key >= lower($2)
                AND name_key < lower($2) || chr(1114111)
            UNION ALL
            SELECT lead_id
            FROM leads
            WHERE workspace_id = $1 AND last_name_key >= lower($2)
                AND last_name_key < lower($2) || chr(1114111)
            UNION ALL
            SELECT lead_id
            FROM leads
            WHERE workspace_id = $1 AND company_key >= lower($2)
                AND company_key < lower($2) || chr(1114111)) n
        LIMIT $3
        "#,
        workspace.uuid(),
        text,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns up to `limit` leads that have a telephone number: some twice, in no order.
pub async fn of_numbers(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT lead_id
        FROM addresses
        WHERE workspace_id = $1 AND channel = 'sms'
        LIMIT $2
        "#,
        workspace.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns up to `limit` leads behind `after` that pass what the filter says of their columns, in no
/// order: the planner takes the index of the rarest.
pub async fn in_columns(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter<'_>,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT lead_id
        FROM leads
        WHERE workspace_id = $1 AND lead_id > $2 AND erased_at IS NULL
            AND ($3::text IS NULL OR country_key = lower($3))
            AND ($4::text IS NULL OR tier_key = lower($4))
            AND ($5::float8 IS NULL OR score >= $5)
            AND ($6::timestamptz IS NULL OR created_at >= $6)
            AND ($7::text IS NULL
                OR (source COLLATE "C" >= $7 AND source COLLATE "C" < $7 || chr(1114111)))
        LIMIT $8
        "#,
        workspace.uuid(),
        after,
        filter.country,
        filter.tier,
        filter.score_min,
        filter.since,
        filter.source,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns the first `limit` leads of a stretch that pass the filter.
///
/// What stands in other tables is looked up for each lead (`OFFSET 0` forbids anything else), so
/// whoever asks for something rare there brings the leads that have it.
pub async fn passing(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter<'_>,
    among: Among<'_>,
    stretch: Stretch,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT l.lead_id
        FROM leads l
        WHERE l.workspace_id = $1 AND l.lead_id > $2 AND l.erased_at IS NULL
            AND ($15::uuid IS NULL OR l.lead_id <= $15)
            AND (NOT $16::bool OR l.lead_id = ANY(ARRAY(
                SELECT t.lead_id
                FROM lead_tags t
                WHERE t.workspace_id = $1 AND t.tag = $7 AND t.lead_id > $2
                    AND ($15::uuid IS NULL OR t.lead_id <= $15))))
            AND ($3::text IS NULL OR l.country_key = lower($3))
            AND ($4::text IS NULL OR l.tier_key = lower($4))
            AND ($5::float8 IS NULL OR l.score >= $5)
            AND ($6::timestamptz IS NULL OR l.created_at >= $6)
            AND ($7::text IS NULL OR EXISTS (
                SELECT 1
                FROM lead_tags t
                WHERE t.workspace_id = $1 AND t.tag = $7 AND t.lead_id = l.lead_id
                OFFSET 0))
            AND ($8::text IS NULL OR EXISTS (
                SELECT 1
                FROM campaigns c
                CROSS JOIN LATERAL (
                    SELECT 1
                    FROM enrollments e
                    WHERE e.workspace_id = $1 AND e.campaign_id = c.campaign_id
                        AND e.lead_id = l.lead_id AND e.state = $8
                    OFFSET 0) e
                WHERE c.workspace_id = $1
                OFFSET 0))
            AND ($9::text IS NULL
                OR (l.name_key >= lower($9) AND l.name_key < lower($9) || chr(1114111))
                OR (l.last_name_key >= lower($9) AND l.last_name_key < lower($9) || chr(1114111))
                OR (l.company_key >= lower($9) AND l.company_key < lower($9) || chr(1114111))
                OR EXISTS (
                    SELECT 1
                    FROM addresses a
                    WHERE a.workspace_id = $1 AND a.lead_id = l.lead_id
                        AND a.address COLLATE "C" >= lower($9)
                        AND a.address COLLATE "C" < lower($9) || chr(1114111)
                    OFFSET 0))
            AND ($10::uuid[] IS NULL OR l.lead_id = ANY($10))
            AND ($12::text IS NULL
                OR (l.source COLLATE "C" >= $12 AND l.source COLLATE "C" < $12 || chr(1114111)))
            AND ($13::bool IS NULL OR $13 = EXISTS (
                SELECT 1
                FROM addresses a
                WHERE a.workspace_id = $1 AND a.lead_id = l.lead_id AND a.channel = 'email'
                OFFSET 0))
            AND ($14::text IS NULL OR lower($14) IN ('new', 'contacted', 'replied')
                OR l.stage_key = lower($14))
            AND ($14::text IS NULL OR lower($14) NOT IN ('new', 'contacted', 'replied')
                OR lower($14) = CASE
                    WHEN l.stage_key NOT IN ('new', 'contacted', 'replied') THEN l.stage_key
                    WHEN l.stage_key = 'replied'
                        OR EXISTS (
                            SELECT 1
                            FROM inbound_events v
                            WHERE v.workspace_id = $1 AND v.lead_id = l.lead_id
                                AND NOT v.is_automatic
                                AND v.kind IN ('mail', 'text', 'text_stop', 'text_start', 'text_help')
                            OFFSET 0)
                        OR EXISTS (
                            SELECT 1
                            FROM campaigns c
                            CROSS JOIN LATERAL (
                                SELECT 1
                                FROM enrollments e
                                WHERE e.workspace_id = $1 AND e.campaign_id = c.campaign_id
                                    AND e.lead_id = l.lead_id AND e.state = 'replied'
                                OFFSET 0) e
                            WHERE c.workspace_id = $1
                            OFFSET 0) THEN 'replied'
                    WHEN l.stage_key = 'contacted'
                        OR EXISTS (
                            SELECT 1
                            FROM campaigns c
                            CROSS JOIN LATERAL (
                                SELECT 1
                                FROM enrollments e
                                WHERE e.workspace_id = $1 AND e.campaign_id = c.campaign_id
                                    AND e.lead_id = l.lead_id AND e.contacted_at IS NOT NULL
                                OFFSET 0) e
                            WHERE c.workspace_id = $1
                            OFFSET 0) THEN 'contacted'
                    ELSE 'new' END)
        ORDER BY l.lead_id
        LIMIT $11
        "#,
        workspace.uuid(),
        stretch.after,
        filter.country,
        filter.tier,
        filter.score_min,
        filter.since,
        filter.tag,
        filter.state,
        filter.text,
        among.these(),
        limit,
        filter.source,
        filter.has_email,
        filter.stage,
        stretch.up_to,
        among.is_tagged(),
    )
    .fetch_all(conn)
    .await
}

/// Returns the next `limit` leads behind `after` that may be at the stage `replied`: who wrote to us, whose
/// reply a person told us of, and of whom a person says so.
pub async fn answering(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT DISTINCT f.lead_id AS "lead_id!"
        FROM (
            (SELECT DISTINCT v.lead_id
             FROM inbound_events v
             WHERE v.workspace_id = $1 AND v.lead_id > $2 AND NOT v.is_automatic
                 AND v.kind IN ('mail', 'text', 'text_stop', 'text_start', 'text_help')
             ORDER BY v.lead_id
             LIMIT $3)
            UNION ALL
            (SELECT l.lead_id
             FROM leads l
             WHERE l.workspace_id = $1 AND l.stage_key = 'replied' AND l.lead_id > $2
             ORDER BY l.lead_id
             LIMIT $3)
            UNION ALL
            (SELECT e.lead_id
             FROM campaigns c
             CROSS JOIN LATERAL (
                 SELECT lead_id
                 FROM enrollments
                 WHERE workspace_id = $1 AND campaign_id = c.campaign_id AND state = 'replied'
                     AND lead_id > $2
                 ORDER BY lead_id
                 LIMIT $3) e
             WHERE c.workspace_id = $1)) f
        ORDER BY 1
        LIMIT $3
        "#,
        workspace.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns the next `limit` leads behind `after` that may be at the stage `contacted`: who was written to, and
/// of whom a person says so.
pub async fn contacted(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"
        SELECT DISTINCT f.lead_id AS "lead_id!"
        FROM (
            (SELECT l.lead_id
             FROM leads l
             WHERE l.workspace_id = $1 AND l.stage_key = 'contacted' AND l.lead_id > $2
             ORDER BY l.lead_id
             LIMIT $3)
            UNION ALL
            (SELECT e.lead_id
             FROM campaigns c
             CROSS JOIN LATERAL (
                 SELECT lead_id
                 FROM enrollments
                 WHERE workspace_id = $1 AND campaign_id = c.campaign_id
                     AND contacted_at IS NOT NULL AND lead_id > $2
                 ORDER BY lead_id
                 LIMIT $3) e
             WHERE c.workspace_id = $1)) f
        ORDER BY 1
        LIMIT $3
        "#,
        workspace.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}
