//! Leads as people look at them: a list by tag, one by address.

use chrono::{DateTime, Utc};
use machine::ids::{LeadId, WorkspaceId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// A lead in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct LeadView {
    /// Who.
    pub lead_id: Uuid,
    /// The first of its mail addresses.
    pub email: Option<String>,
    /// Its telephone number.
    pub phone: Option<String>,
    /// Its own zone.
    pub zone: Option<String>,
    /// Consent to mail.
    pub email_consent: String,
    /// Consent to texts.
    pub sms_consent: String,
    /// Everything else.
    pub attributes: Value,
    /// Its tags.
    pub tags: Vec<String>,
    /// How it came to us.
    pub source: String,
    /// When it came to us.
    pub created_at: DateTime<Utc>,
    /// When its data were erased.
    pub erased_at: Option<DateTime<Utc>>,
}

/// Returns up to `limit` leads behind `after`, those with `tag` if one is given.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    tag: Option<&str>,
    after: Option<LeadId>,
    limit: i64,
) -> sqlx::Result<Vec<LeadView>> {
    sqlx::query_as!(
        LeadView,
        r#"
        SELECT
            l.lead_id,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = l.lead_id AND a.channel = 'email'
             ORDER BY a.address LIMIT 1) AS email,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = l.lead_id AND a.channel = 'sms'
             ORDER BY a.address LIMIT 1) AS phone,
            l.zone, l.email_consent, l.sms_consent, l.attributes,
            ARRAY(
                SELECT t.tag FROM lead_tags t
                WHERE t.workspace_id = $1 AND t.lead_id = l.lead_id
                ORDER BY t.tag) AS "tags!",
            l.source, l.created_at, l.erased_at
        FROM leads l
        WHERE l.workspace_id = $1 AND l.lead_id > $3
            AND ($2::text IS NULL OR EXISTS (
                SELECT 1 FROM lead_tags t
                WHERE t.workspace_id = $1 AND t.tag = $2 AND t.lead_id = l.lead_id))
        ORDER BY l.lead_id
        LIMIT $4
        "#,
        workspace.uuid(),
        tag,
        after.map_or(Uuid::nil(), LeadId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Returns the leads of these ids.
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
            l.lead_id,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = l.lead_id AND a.channel = 'email'
             ORDER BY a.address LIMIT 1) AS email,
            (SELECT a.address FROM addresses a
             WHERE a.workspace_id = $1 AND a.lead_id = l.lead_id AND a.channel = 'sms'
             ORDER BY a.address LIMIT 1) AS phone,
            l.zone, l.email_consent, l.sms_consent, l.attributes,
            ARRAY(
                SELECT t.tag FROM lead_tags t
                WHERE t.workspace_id = $1 AND t.lead_id = l.lead_id
                ORDER BY t.tag) AS "tags!",
            l.source, l.created_at, l.erased_at
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
