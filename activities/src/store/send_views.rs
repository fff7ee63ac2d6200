//! One message as people look at it: the ledger's row, what it said, what was heard of it.

use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, SendId, WorkspaceId};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

/// A send.
#[derive(Debug, Clone)]
pub struct SendView {
    /// Its id.
    pub send_id: Uuid,
    /// Whose.
    pub enrollment_id: Uuid,
    /// The campaign's name.
    pub campaign: String,
    /// The person.
    pub lead_id: Uuid,
    /// `step` or `handover`.
    pub kind: String,
    /// The step, or whom a handover is offered to.
    pub step_key: String,
    /// Which ask of it.
    pub attempt: i32,
    /// `email` or `sms`.
    pub channel: String,
    /// The wording.
    pub variant: Option<String>,
    /// Where it stands.
    pub state: String,
    /// Why it stands there.
    pub detail: Option<String>,
    /// The sender's name.
    pub sender: Option<String>,
    /// To whom; empty once erased.
    pub address: Option<String>,
    /// Campaign time of its slot.
    pub slot_at: Option<DateTime<Utc>>,
    /// Campaign time of its gate.
    pub gate_at: Option<DateTime<Utc>>,
    /// What it said in its subject; empty once erased.
    pub subject: Option<String>,
    /// The provider's name for it.
    pub provider_id: Option<String>,
    /// Its Message-ID.
    pub message_id: Option<String>,
    /// The furthest that was heard of it: of this attempt, where what was heard says of which.
    pub heard: Option<String>,
    /// When that was heard last, campaign time.
    pub heard_at: Option<DateTime<Utc>>,
}

impl SendView {
    /// Returns what became of it, as far as anybody knows.
    pub fn became(&self) -> Option<Became> {
        Became::of(&self.state, self.gate_at, self.heard.as_deref(), self.heard_at)
    }

    /// Whether nobody knows that it left, and a person must say.
    pub fn is_in_doubt(&self) -> bool {
        self.state == "needs_review"
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "MessageOutcome")]
pub struct Became {
    /// The furthest that is known: `accepted` or `rejected` by the provider, `bounced_soft`,
    /// `delivered`, `opened`, `clicked`, `bounced_hard`, `opted_out` or `complained`.
    pub what: String,
    /// When, campaign time: of what is heard again and again, the last time.
    pub at: DateTime<Utc>,
}

impl Became {
    /// Whether somebody told us, and not only the answer to our own call.
    pub fn is_heard(&self) -> bool {
        !matches!(self.what.as_str(), "accepted" | "rejected")
    }

    fn of(
        state: &str,
        gate_at: Option<DateTime<Utc>>,
        heard: Option<&str>,
        heard_at: Option<DateTime<Utc>>,
    ) -> Option<Self> {
        if let (Some(what), Some(at)) = (heard, heard_at) {
            return Some(Self { what: what.to_owned(), at });
        }
        let is_known = matches!(state, "accepted" | "rejected");
        gate_at.filter(|_| is_known).map(|at| Self { what: state.to_owned(), at })
    }
}

/// What a send said.
#[derive(Debug, Clone)]
pub struct Content {
    /// The subject.
    pub subject: Option<String>,
    /// The plain text.
    pub text: String,
    /// The HTML.
    pub html: Option<String>,
}

/// Something that was heard of a send.
#[derive(Debug, Clone)]
pub struct Heard {
    /// What, in a word.
    pub kind: String,
    /// From whom.
    pub provider: String,
    /// Campaign time.
    pub at: DateTime<Utc>,
}

/// Returns those of `sends` that the ledger has, in the order of their gates.
pub async fn by_ids(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sends: &[Uuid],
) -> sqlx::Result<Vec<SendView>> {
    sqlx::query_as!(
        SendView,
        r#"
        SELECT
            s.send_id, s.enrollment_id, c.name AS campaign, s.lead_id, s.kind, s.step_key,
            s.attempt, s.channel, s.variant, s.state, s.detail, n.name AS "sender?", s.address,
            s.slot_at, s.gate_at, t.subject AS "subject?", s.provider_id, s.message_id,
            h.kind AS "heard?", h.at AS "heard_at?"
        FROM unnest($2::uuid[]) AS u (send_id)
        JOIN sends s ON s.workspace_id = $1 AND s.send_id = u.send_id
        JOIN campaigns c ON c.workspace_id = $1 AND c.campaign_id = s.campaign_id
        LEFT JOIN senders n ON n.workspace_id = $1 AND n.sender_id = s.sender_id
        LEFT JOIN send_contents t ON t.workspace_id = $1 AND t.send_id = s.send_id
        LEFT JOIN LATERAL (
            SELECT v.kind, v.at
            FROM inbound_events v
            WHERE v.workspace_id = $1 AND v.send_id = s.send_id
              AND (v.attempt IS NULL OR v.attempt = s.attempt)
              AND v.kind IN ('bounced_soft', 'delivered', 'opened', 'clicked', 'bounced_hard',
                             'opted_out', 'complained')
            ORDER BY array_position(
                ARRAY['bounced_soft', 'delivered', 'opened', 'clicked', 'bounced_hard', 'opted_out',
                      'complained'], v.kind) DESC, v.at DESC
            LIMIT 1) AS h ON true
        ORDER BY s.gate_at NULLS LAST, s.send_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        sends
    )
    .fetch_all(conn)
    .await
}

/// Returns at most `limit` sends that wait for a person's word, in the order of their ids, from
/// behind `after`.
pub async fn to_review(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<SendView>> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT send_id
        FROM sends
        WHERE workspace_id = $1 AND state = 'needs_review' AND send_id > $2
        ORDER BY send_id
        LIMIT $3
        "#,
        workspace.uuid(),
        after,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut sends = by_ids(conn, workspace, &ids).await?;
    sends.sort_by_key(|send| send.send_id);
    Ok(sends)
}

/// Returns what a send said, if it was written.
pub async fn content(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    send: SendId,
) -> sqlx::Result<Option<Content>> {
    sqlx::query_as!(
        Content,
        r#"
        SELECT subject, text, html
        FROM send_contents
        WHERE workspace_id = $1
          AND send_id = $2
        "#,
        workspace.uuid(),
        send.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// Returns what was heard of a send, oldest first.
pub async fn heard(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    send: SendId,
) -> sqlx::Result<Vec<Heard>> {
    sqlx::query_as!(
        Heard,
        r#"
        SELECT kind, provider, at
        FROM inbound_events
        WHERE workspace_id = $1
          AND send_id = $2
        ORDER BY at, event_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        send.uuid()
    )
    .fetch_all(conn)
    .await
}

/// Returns the enrollments of a lead, one for each campaign at most.
pub async fn enrollments_of_lead(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    lead: Uuid,
) -> sqlx::Result<Vec<EnrollmentId>> {
    // By the key of (campaign, lead): there is no index that begins with the lead.
    let ids = sqlx::query_scalar!(
        r#"
        SELECT e.enrollment_id
        FROM campaigns c
        JOIN enrollments e
            ON e.workspace_id = $1 AND e.campaign_id = c.campaign_id AND e.lead_id = $2
        WHERE c.workspace_id = $1
        ORDER BY e.enrollment_id
        LIMIT 1000
        "#,
        workspace.uuid(),
        lead
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(EnrollmentId::new).collect())
}
