//! Leads as people look at them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use machine::ids::{LeadId, WorkspaceId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// A lead as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct LeadView {
    /// Who.
    pub lead_id: Uuid,
    /// Rises with every change.
    pub version: i32,
    /// Its mail addresses in their order; mail goes to the first.
    pub emails: Vec<String>,
    /// Its telephone numbers in their order; texts go to the first.
    pub phones: Vec<String>,
    /// Its own zone.
    pub zone: Option<String>,
    /// Consent to mail.
    pub email_consent: String,
    /// Consent to texts.
    pub sms_consent: String,
    /// Consent to calls.
    pub call_consent: String,
    /// Everything else.
    pub attributes: Value,
    /// Its tags.
    pub tags: Vec<String>,
    /// How it came to us.
    pub source: String,
    /// When it came to us, in campaign time.
    pub created_at: DateTime<Utc>,
    /// When it was changed last, in campaign time.
    pub changed_at: DateTime<Utc>,
    /// When its data were erased, in campaign time.
    pub erased_at: Option<DateTime<Utc>>,
}

/// Returns the leads of these ids, in the order of the ids.
pub async fn by_ids(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    leads: &[LeadId],
) -> sqlx::Result<Vec<LeadView>> {
    let leads: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    sqlx::query_as!(
        LeadView,
        r#"
        SELECT
            l.lead_id, l.version,
            ARRAY(
                SELECT a.address FROM addresses a
                WHERE a.workspace_id = $1 AND a.lead_id = l.lead_id AND a.channel = 'email'
                ORDER BY a.address) AS "emails!",
            ARRAY(
                SELECT a.address FROM addresses a
                WHERE a.workspace_id = $1 AND a.lead_id = l.lead_id AND a.channel = 'sms'
                ORDER BY a.address) AS "phones!",
            l.zone, l.email_consent, l.sms_consent, l.call_consent, l.attributes,
            ARRAY(
                SELECT t.tag FROM lead_tags t
                WHERE t.workspace_id = $1 AND t.lead_id = l.lead_id
                ORDER BY t.tag) AS "tags!",
            l.source, l.created_at, l.changed_at, l.erased_at
        FROM leads l
        WHERE l.workspace_id = $1 AND l.lead_id = ANY($2)
        ORDER BY l.lead_id
        LIMIT 10000
        "#,
        workspace.uuid(),
        &leads,
    )
    .fetch_all(conn)
    .await
}

/// Returns where leads stand with us: what people say of it, unless that is less than what happened.
pub async fn stages(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    leads: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, String>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            l.lead_id,
            CASE
                WHEN l.stage_key NOT IN ('new', 'contacted', 'replied') THEN l.stage_key
                WHEN l.stage_key = 'replied' OR h.has_replied
                    OR EXISTS (
                        SELECT 1
                        FROM inbound_events v
                        WHERE v.workspace_id = $1 AND v.lead_id = l.lead_id AND NOT v.is_automatic
                            AND v.kind IN ('mail', 'text', 'text_stop', 'text_start', 'text_help')
                        OFFSET 0) THEN 'replied'
                WHEN l.stage_key = 'contacted' OR h.was_contacted THEN 'contacted'
                ELSE 'new' END AS "stage!"
        FROM leads l
        CROSS JOIN LATERAL (
            SELECT
                bool_or(e.state = 'replied') AS has_replied,
                bool_or(e.contacted_at IS NOT NULL) AS was_contacted
            FROM campaigns c
            CROSS JOIN LATERAL (
                SELECT state, contacted_at
                FROM enrollments
                WHERE workspace_id = $1 AND campaign_id = c.campaign_id AND lead_id = l.lead_id
                OFFSET 0) e
            WHERE c.workspace_id = $1) h
        WHERE l.workspace_id = $1 AND l.lead_id = ANY($2)
        LIMIT 10000
        "#,
        workspace.uuid(),
        leads,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.lead_id, row.stage)).collect())
}
