//! The database of a run: leads, senders, a campaign, and every lead due.

use activities::campaign_settings::CampaignSettings;
use activities::ids;
use activities::store::{Store, clock};
use chrono::{DateTime, TimeDelta, Utc};
use machine::document::{CampaignDocument, compile};
use machine::enrollment::Enrollment;
use machine::ids::{CampaignId, SenderId, SequenceId, WorkspaceId};
use serde_json::json;
use uuid::Uuid;

/// How many senders share the work.
const SENDERS: usize = 50;

/// Every this many leads one waits after its first message and gets an answer.
pub const REPLY_EVERY: i64 = 20;

/// The campaign of a run.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its id.
    pub campaign: CampaignId,
    /// How many leads it has.
    pub n: i64,
}

/// Fills an empty database: `n` leads due within the past minute in random order, and `sleeping`
/// others that wait for days.
pub async fn fill(store: &Store, n: i64, sleeping: i64) -> anyhow::Result<Campaign> {
    let workspace: WorkspaceId = ids::new();
    let campaign: CampaignId = ids::new();
    let sequence: SequenceId = ids::new();
    let mut tx = store.begin(workspace).await?;
    let now = clock::read(&mut tx).await?.campaign;
    sqlx::query("INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, 'bench', $2)")
        .bind(workspace.uuid())
        .bind(now)
        .execute(&mut *tx)
        .await?;
    let senders: Vec<SenderId> = (0..SENDERS).map(|_| ids::new()).collect();
    for (index, sender) in senders.iter().enumerate() {
        sqlx::query(
            "INSERT INTO senders (workspace_id, sender_id, name, channel, url, from_address, \
             postal_address, per_day, created_at) \
             VALUES ($1, $2, $3, 'email', 'discard:', $4, '1 Bench Street', 1000000, $5)",
        )
        .bind(workspace.uuid())
        .bind(sender.uuid())
        .bind(format!("sender {index}"))
        .bind(format!("s{index}@bench.example"))
        .bind(now)
        .execute(&mut *tx)
        .await?;
    }
    let mut first = None;
    for (version, wait) in [(1, "0 seconds"), (2, "1 hour")] {
        let document = document(wait)?;
        let compiled = compile(&document).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        first = Some(compiled.steps[0].clone());
        sqlx::query(
            "INSERT INTO sequence_versions (workspace_id, sequence_id, version, document, hash, \
             created_at) VALUES ($1, $2, $3, $4, '', $5)",
        )
        .bind(workspace.uuid())
        .bind(sequence.uuid())
        .bind(version)
        .bind(serde_json::to_value(&document)?)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    }
    let settings = CampaignSettings {
        senders,
        per_day: Some(100_000_000),
        zone: chrono_tz::UTC,
        handover: None,
    };
    sqlx::query(
        "INSERT INTO campaigns (workspace_id, campaign_id, name, status, sequence_id, version, \
         settings, created_at) VALUES ($1, $2, 'L', 'active', $3, 1, $4, $5)",
    )
    .bind(workspace.uuid())
    .bind(campaign.uuid())
    .bind(sequence.uuid())
    .bind(serde_json::to_value(&settings)?)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let first = first.expect("a version was made");
    let snapshot = serde_json::to_vec(&Enrollment::begin(&first, now))?;
    enroll(store, workspace, campaign, n, snapshot.clone(), now, None).await?;
    if sleeping > 0 {
        let until = now + TimeDelta::days(1);
        enroll(store, workspace, campaign, sleeping, snapshot, now, Some(until)).await?;
    }
    Ok(Campaign { workspace, campaign, n })
}

async fn enroll(
    store: &Store,
    workspace: WorkspaceId,
    campaign: CampaignId,
    n: i64,
    snapshot: Vec<u8>,
    now: DateTime<Utc>,
    asleep_until: Option<DateTime<Utc>>,
) -> anyhow::Result<()> {
    let mut number = 0;
    while number < n {
        let upto = (number + 5_000).min(n);
        let ids: Vec<Uuid> = (number..upto).map(|_| Uuid::from_bytes(rand::random())).collect();
        let numbers: Vec<i64> = (number..upto).collect();
        let mut tx = store.begin(workspace).await?;
        sqlx::query(
            "INSERT INTO leads (workspace_id, lead_id, attributes, source, created_at, changed_at) \
             SELECT $1, u.id, $4, 'bench', $3, $3 FROM unnest($2::uuid[]) AS u (id)",
        )
        .bind(workspace.uuid())
        .bind(&ids)
        .bind(now)
        .bind(json!({ "first_name": "Ada", "company": "Analytical Engines" }))
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO addresses (workspace_id, channel, address, lead_id) \
             SELECT $1, 'email', u.id::text || '@leads.example', u.id \
             FROM unnest($2::uuid[]) AS u (id)",
        )
        .bind(workspace.uuid())
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
        // Due order is not key order: the ids are random, and so are the times.
        sqlx::query(
            "INSERT INTO enrollments (workspace_id, enrollment_id, campaign_id, lead_id, version, \
             engine, snapshot, state, changed_at, wake_at) \
             SELECT $1, gen_random_uuid(), $2, u.id, \
                    CASE WHEN u.n % $6 = 0 THEN 2 ELSE 1 END, 'postgres', $4, 'queued', $5, \
                    coalesce($8 + random() * interval '59 days', \
                             $5 - random() * interval '1 minute') \
             FROM unnest($3::uuid[], $7::bigint[]) AS u (id, n)",
        )
        .bind(workspace.uuid())
        .bind(campaign.uuid())
        .bind(&ids)
        .bind(&snapshot)
        .bind(now)
        .bind(REPLY_EVERY)
        .bind(&numbers)
        .bind(asleep_until)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO counter_deltas (workspace_id, campaign_id, measure, n) \
             VALUES ($1, $2, 'state/queued', $3)",
        )
        .bind(workspace.uuid())
        .bind(campaign.uuid())
        .bind(upto - number)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        number = upto;
    }
    Ok(())
}

fn document(wait: &str) -> anyhow::Result<CampaignDocument> {
    let mail = |key: &str, wait: &str| {
        json!({
            "key": key,
            "wait": wait,
            "email": {
                "subject": "{{ company }} and us",
                "body": "Hello {{ first_name }},\n\nthree short lines about {{ company }}.\n\nBest\n{{ sender.address }}",
            },
        })
    };
    let document = json!({
        "name": "L",
        "senders": [],
        "zone": "UTC",
        "reply": { "rule": "stop" },
        "steps": [mail("one", "0 seconds"), mail("two", wait), mail("three", wait)],
    });
    Ok(serde_json::from_value(document)?)
}
