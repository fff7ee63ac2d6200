//! The database of a run: leads, senders, a campaign, and every lead enrolled.

use activities::campaign_settings::CampaignSettings;
use activities::engine::Engine;
use activities::ids;
use activities::store::{Store, Tx, bell, clock};
use chrono::{DateTime, Utc};
use machine::context::{Context, Facts};
use machine::document::{CampaignDocument, compile};
use machine::enrollment::Enrollment;
use machine::explain::{self, Summary};
use machine::ids::{CampaignId, SenderId, SequenceId, WorkspaceId};
use machine::sequence::Version;
use machine::signal::{Answer, Signal};
use machine::state::Why;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// How many senders share the work.
const SENDERS: usize = 50;

/// Every this many leads one waits after its first message and gets an answer.
pub const REPLY_EVERY: i64 = 20;

/// Returns how many of `n` leads will answer: the first is one of them.
pub fn replying(n: i64) -> i64 {
    (n + REPLY_EVERY - 1) / REPLY_EVERY
}

/// Leads that are written in one go.
const PAGE: i64 = 5_000;

/// Which of the campaign's versions leads run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// They go on at once after each message.
    None,
    /// They wait an hour after each message, long enough to get an answer.
    Hour,
    /// They wait a day after each message.
    Day,
    /// They wait a second after each message, as short as a timer can be.
    Second,
    /// They wait thirty days after each message.
    Month,
}

impl Waits {
    const ALL: [Self; 5] = [Self::None, Self::Hour, Self::Day, Self::Second, Self::Month];

    /// Returns the number of the version.
    pub fn version(self) -> i32 {
        match self {
            Self::None => 1,
            Self::Hour => 2,
            Self::Day => 3,
            Self::Second => 4,
            Self::Month => 5,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::None => "0 seconds",
            Self::Hour => "1 hour",
            Self::Day => "1 day",
            Self::Second => "1 second",
            Self::Month => "30 days",
        }
    }
}

/// Leads that are enrolled alike.
#[derive(Debug, Clone, Copy)]
pub enum Group {
    /// New ones, due within the past minute in random order; every twentieth will get an answer.
    Mixed(i64),
    /// New ones that wait alike after their messages, due within the past minute.
    New(i64, Waits),
    /// New ones, all due at one instant.
    At(i64, DateTime<Utc>),
    /// Ones that had their first message and sleep for one to sixty days.
    Asleep(i64),
}

/// The campaign of a run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Campaign {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its id.
    pub campaign: CampaignId,
}

/// Makes a campaign without leads in an empty database; `engine` will drive them.
pub async fn campaign(store: &Store, engine: Engine) -> anyhow::Result<Campaign> {
    let workspace: WorkspaceId = ids::new();
    let campaign: CampaignId = ids::new();
    let sequence: SequenceId = ids::new();
    let mut tx = store.begin(workspace).await?;
    let now = clock::read(&mut tx).await?.campaign;
    sqlx::query(
        "INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, 'default', $2)",
    )
    .bind(workspace.uuid())
    .bind(now)
    .execute(&mut *tx)
    .await?;
    let senders = senders(&mut tx, now).await?;
    for waits in Waits::ALL {
        sqlx::query(
            "INSERT INTO sequence_versions (workspace_id, sequence_id, version, document, hash, \
             created_at) VALUES ($1, $2, $3, $4, '', $5)",
        )
        .bind(workspace.uuid())
        .bind(sequence.uuid())
        .bind(waits.version())
        .bind(serde_json::to_value(document(waits)?)?)
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
         settings, created_at, engine) VALUES ($1, $2, 'L', 'active', $3, 1, $4, $5, $6)",
    )
    .bind(workspace.uuid())
    .bind(campaign.uuid())
    .bind(sequence.uuid())
    .bind(serde_json::to_value(&settings)?)
    .bind(now)
    .bind(engine.as_str())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Campaign { workspace, campaign })
}

/// Enrolls a group of leads.
pub async fn enroll(store: &Store, campaign: Campaign, group: Group) -> anyhow::Result<()> {
    let n = match group {
        Group::Mixed(n) | Group::New(n, _) | Group::At(n, _) | Group::Asleep(n) => n,
    };
    let mut number = 0;
    while number < n {
        let upto = (number + PAGE).min(n);
        let mut tx = store.begin(campaign.workspace).await?;
        let now = clock::read(&mut tx).await?.campaign;
        let ids = leads(&mut tx, upto - number, now).await?;
        let page = Page::of(group, number, &ids, now)?;
        page.write(&mut tx, campaign, &ids, now).await?;
        bell::ring(&mut tx, campaign.workspace).await?;
        tx.commit().await?;
        number = upto;
    }
    Ok(())
}

async fn senders(tx: &mut Tx, now: DateTime<Utc>) -> anyhow::Result<Vec<SenderId>> {
    let workspace = tx.workspace();
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
        .execute(&mut **tx)
        .await?;
    }
    Ok(senders)
}

/// Makes `n` people with an address each. Their ids are random, so due order is not key order.
async fn leads(tx: &mut Tx, n: i64, now: DateTime<Utc>) -> anyhow::Result<Vec<Uuid>> {
    let workspace = tx.workspace();
    let ids: Vec<Uuid> = (0..n).map(|_| Uuid::from_bytes(rand::random())).collect();
    sqlx::query(
        "INSERT INTO leads (workspace_id, lead_id, attributes, source, created_at, changed_at) \
         SELECT $1, u.id, $4, 'bench', $3, $3 FROM unnest($2::uuid[]) AS u (id)",
    )
    .bind(workspace.uuid())
    .bind(&ids)
    .bind(now)
    .bind(json!({ "first_name": "Ada", "company": "Analytical Engines" }))
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO addresses (workspace_id, channel, address, lead_id) \
         SELECT $1, 'email', u.id::text || '@leads.example', u.id FROM unnest($2::uuid[]) AS u (id)",
    )
    .bind(workspace.uuid())
    .bind(&ids)
    .execute(&mut **tx)
    .await?;
    Ok(ids)
}

/// Enrollments to be written, column by column.
struct Page {
    versions: Vec<i32>,
    wake_ats: Vec<DateTime<Utc>>,
    enrollment: Enrollment,
    summary: Summary,
    turn: i32,
}

impl Page {
    fn of(group: Group, from: i64, ids: &[Uuid], now: DateTime<Utc>) -> anyhow::Result<Self> {
        let numbers = (from..).take(ids.len());
        let versions = numbers.map(|number| match group {
            Group::Mixed(_) if number % REPLY_EVERY == 0 => Waits::Hour,
            Group::Mixed(_) | Group::At(..) => Waits::None,
            Group::New(_, waits) => waits,
            Group::Asleep(_) => Waits::Day,
        });
        let wake_ats = ids.iter().map(|_| {
            let some = |seconds: f64| {
                let micros = seconds * 1e6 * rand::random::<f64>();
                #[expect(clippy::cast_possible_truncation, reason = "less than sixty days")]
                chrono::TimeDelta::microseconds(micros as i64)
            };
            match group {
                Group::Mixed(_) | Group::New(..) => now - some(60.0),
                Group::At(_, at) => at,
                Group::Asleep(_) => now + chrono::TimeDelta::days(1) + some(59.0 * 86_400.0),
            }
        });
        let version = version(Waits::Day)?;
        let mut enrollment = Enrollment::begin(&version.steps[0], now);
        let mut turn = 0;
        if let Group::Asleep(_) = group {
            turn = after_one_message(&mut enrollment, &version, now);
        }
        Ok(Self {
            versions: versions.map(Waits::version).collect(),
            wake_ats: wake_ats.collect(),
            summary: explain::summary(&enrollment, &version),
            enrollment,
            turn,
        })
    }

    async fn write(
        &self,
        tx: &mut Tx,
        campaign: Campaign,
        leads: &[Uuid],
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let (state, why) = (self.summary.state.as_str(), self.summary.why.map(Why::as_str));
        sqlx::query(
            "INSERT INTO enrollments (workspace_id, enrollment_id, campaign_id, lead_id, version, \
             engine, snapshot, turn, state, why, until, next_step, next_at, changed_at, wake_at) \
             SELECT $1, gen_random_uuid(), $2, u.lead, u.version, c.engine, $6, $7, $8, $9, \
                    u.wake_at, $10, u.wake_at, $11, u.wake_at \
             FROM unnest($3::uuid[], $4::int[], $5::timestamptz[]) AS u (lead, version, wake_at), \
                  campaigns AS c \
             WHERE c.workspace_id = $1 AND c.campaign_id = $2",
        )
        .bind(campaign.workspace.uuid())
        .bind(campaign.campaign.uuid())
        .bind(leads)
        .bind(&self.versions)
        .bind(&self.wake_ats)
        .bind(serde_json::to_vec(&self.enrollment)?)
        .bind(self.turn)
        .bind(state)
        .bind(why)
        .bind(self.summary.next_step.as_ref().map(ToString::to_string))
        .bind(now)
        .execute(&mut **tx)
        .await?;
        sqlx::query(
            "INSERT INTO counter_deltas (workspace_id, campaign_id, measure, n) \
             VALUES ($1, $2, 'state/' || $3, $4)",
        )
        .bind(campaign.workspace.uuid())
        .bind(campaign.campaign.uuid())
        .bind(state)
        .bind(i64::try_from(leads.len())?)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

/// Takes an enrollment through its first message. Returns how many journal rows that makes.
fn after_one_message(enrollment: &mut Enrollment, version: &Version, now: DateTime<Utc>) -> i32 {
    let facts = Facts::default();
    let context = Context {
        now,
        workspace: ids::new(),
        enrollment: ids::new(),
        lead: ids::new(),
        version,
        facts: &facts,
    };
    enrollment.apply(&Signal::Enrolled, context);
    let asked = enrollment.apply(&Signal::Woke, context);
    let effect = asked.effects[0].id();
    enrollment.apply(&Signal::SendAnswered { effect, answer: Answer::Accepted }, context);
    3
}

fn version(waits: Waits) -> anyhow::Result<Version> {
    compile(&document(waits)?).map_err(|faults| anyhow::anyhow!("{faults:?}"))
}

fn document(waits: Waits) -> anyhow::Result<CampaignDocument> {
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
    let wait = waits.text();
    let document = json!({
        "name": "L",
        "senders": [],
        "zone": "UTC",
        "reply": { "rule": "stop" },
        "steps": [mail("one", "0 seconds"), mail("two", wait), mail("three", wait)],
    });
    Ok(serde_json::from_value(document)?)
}
