//! Webhooks: a provider posts its reports and answers at a steady rate, some of them twice, some by
//! clients that hang up first, in any order, while leads sleep. The program runs as a process of its
//! own, over HTTP, on a disk. What counts is that all that was acknowledged is stored once; how long the
//! answers took is told.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use activities::engine::Engine;
use activities::key_ring::KeyRing;
use anyhow::{Context as _, bail};
use machine::ids::{EnrollmentId, Subject, WorkspaceId, send_id};
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::fill::{self, Campaign, Group};
use super::host::{Reading, Watched};
use super::report::Percentiles;
use super::server::{self, Server};
use crate::cluster::Database;
use crate::end_to_end::installation::Installation;
use crate::end_to_end::mail_server::Accepted;
use crate::end_to_end::provider::{self, Manner, Post, Provider};
use crate::end_to_end::{until, wall_seconds};

/// How long what was posted may wait to be read, after the last post.
const READ_WITHIN: Duration = Duration::from_secs(120);

/// Posts a minute.
const PER_MINUTE: u32 = 10_000;

/// Of so many messages the provider reports something.
const MESSAGES: i64 = 20_000;

/// What was measured.
struct Taken {
    /// What names the post in our tables.
    name: String,
    /// From the moment it was to be made until it was acknowledged.
    ms: f64,
}

/// Posts `n` events at 10,000 a minute while `sleeping` leads sleep.
///
/// # Errors
///
/// When an acknowledged event is not stored exactly once, or an answer fails.
pub async fn measure(
    server: &Server,
    n: usize,
    sleeping: i64,
    say: &mut dyn FnMut(String),
) -> anyhow::Result<()> {
    let url = server.database().await?;
    let store = server::store(&url, 4).await?;
    let campaign = fill::campaign(&store, Engine::Postgres).await?;
    fill::enroll(&store, campaign, Group::Asleep(sleeping)).await?;
    store.close().await;
    let mut owner = server::connect(&url).await?;
    let sent = sent(&mut owner, campaign).await?;
    server::settle(&url).await?;

    let installation = Installation::on(Database { url: url.clone() }).await;
    // None is made for a database that was used, as this one was.
    KeyRing::load_or_create(&installation.place().join("key"))?;
    let endpoint = installation.json(&["webhook", "add", "mailgun"]).await;
    let endpoint = endpoint["url"].as_str().context("the endpoint has an address")?;
    let mut serving = installation.serve();
    installation.ready(&mut serving).await;
    let posts = posts(&Provider::new(endpoint, rand::random()), &sent, n);

    let before = Reading::take(Watched::own(server.pid()))?;
    let taken = post_all(posts).await?;
    let after = Reading::take(Watched::own(server.pid()))?;
    let stored = stored(&mut owner, campaign.workspace).await?;
    // What was acknowledged is read and heard, however late.
    let waiting = "SELECT (SELECT count(*) FROM signals WHERE kind IS NULL)
                        + (SELECT count(*) FROM enrollments WHERE signal_seq > applied_seq)";
    until(READ_WITHIN, async || {
        let waiting = sqlx::query_scalar(waiting).fetch_one(&mut owner).await;
        let waiting: i64 = waiting.expect("the database answers");
        if waiting == 0 { Ok(()) } else { Err(format!("{waiting} signals wait")) }
    })
    .await;
    if !serving.terminate().await.success() {
        bail!("the program did not end as it should");
    }
    let wrong = taken.iter().filter(|it| stored.get(&it.name) != Some(&1)).count();
    if wrong > 0 {
        bail!("{wrong} of {} acknowledged events are not stored exactly once", taken.len());
    }
    installation.run(&["verify"]).await;
    let seconds = after.at().duration_since(before.at()).as_secs_f64();
    let cpu = after.since(&before);
    let ms =
        Percentiles::of(taken.iter().map(|it| it.ms).collect()).context("nothing was posted")?;
    say(format!(
        "bench webhooks n={} sleeping={sleeping} seconds={seconds:.1} stored_once={} p50_ms={:.1} \
         p95_ms={:.1} p99_ms={:.1} max_ms={:.1} store_cpu_s={:.1}",
        taken.len(),
        taken.len(),
        ms.p50,
        ms.p95,
        ms.p99,
        ms.max,
        cpu.store,
    ));
    server.forget(&url).await
}

/// Makes the first messages of some sleeping leads, as they went out.
async fn sent(owner: &mut PgConnection, campaign: Campaign) -> anyhow::Result<Vec<Accepted>> {
    let leads: Vec<(Uuid, Uuid, String)> = sqlx::query_as(
        "SELECT e.enrollment_id, e.lead_id, a.address FROM enrollments e \
         JOIN addresses a USING (workspace_id, lead_id) ORDER BY e.enrollment_id LIMIT $1",
    )
    .bind(MESSAGES)
    .fetch_all(&mut *owner)
    .await?;
    let step = Subject::Step("one");
    let sends: Vec<Uuid> = leads
        .iter()
        .map(|(id, ..)| send_id(campaign.workspace, EnrollmentId::new(*id), step, 1).uuid())
        .collect();
    let (enrollments, people): (Vec<Uuid>, Vec<Uuid>) =
        leads.iter().map(|(enrollment, lead, _)| (*enrollment, *lead)).unzip();
    let addresses: Vec<&str> = leads.iter().map(|(.., address)| address.as_str()).collect();
    sqlx::query(
        "INSERT INTO sends (workspace_id, send_id, enrollment_id, campaign_id, lead_id, kind, \
         step_key, visit, attempt, after_seq, channel, sender_id, state, address, gate_at) \
         SELECT $1, u.send, u.enrollment, $2, u.lead, 'step', 'one', 1, 0, 0, 'email', \
                (SELECT sender_id FROM senders LIMIT 1), 'accepted', u.address, now() \
         FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[]) AS u (send, enrollment, lead, address)",
    )
    .bind(campaign.workspace.uuid())
    .bind(campaign.campaign.uuid())
    .bind(&sends)
    .bind(&enrollments)
    .bind(&people)
    .bind(&addresses)
    .execute(&mut *owner)
    .await?;
    sqlx::query(
        "INSERT INTO counter_deltas (workspace_id, campaign_id, step_key, measure, n) \
         VALUES ($1, $2, 'one', 'sent', $3)",
    )
    .bind(campaign.workspace.uuid())
    .bind(campaign.campaign.uuid())
    .bind(i64::try_from(sends.len())?)
    .execute(owner)
    .await?;
    let accepted = |(send, address): (&Uuid, &&str)| Accepted {
        send: *send,
        message_id: format!("<{send}@bench.example>"),
        in_reply_to: None,
        subject: "Analytical Engines and us".to_owned(),
        unsubscribe: None,
        to: (*address).to_owned(),
        at: wall_seconds(),
        file: "none".into(),
    };
    Ok(sends.iter().zip(&addresses).map(accepted).collect())
}

/// Mostly deliveries, some clicks, bounces and answers, in any order.
fn posts(provider: &Provider, sent: &[Accepted], n: usize) -> Vec<(Post, Manner)> {
    let random = &mut rand::rng();
    let mut posts: Vec<(Post, Manner)> = (0..n)
        .map(|number| {
            let mail = sent.choose(random).expect("something was sent");
            let post = match number % 20 {
                0..=13 => provider.event(mail, "delivered", &json!({})),
                14..=16 => {
                    let url = json!({ "url": "https://bench.example/" });
                    provider.event(mail, "clicked", &url)
                }
                17 => provider.event(mail, "failed", &permanent()),
                _ => provider.answer(mail, "Tell me more, please.", &[]),
            };
            (post, provider.manner())
        })
        .collect();
    posts.shuffle(random);
    posts
}

fn permanent() -> Value {
    json!({
        "severity": "permanent",
        "reason": "bounce",
        "delivery-status": { "code": 550, "message": "5.1.1 no such user" },
    })
}

/// Makes each post at its time, whatever became of those before it.
async fn post_all(posts: Vec<(Post, Manner)>) -> anyhow::Result<Vec<Taken>> {
    let between = Duration::from_secs(60) / PER_MINUTE;
    let (began, began_at) = (Instant::now(), wall_seconds());
    let mut under_way = JoinSet::new();
    for ((post, manner), number) in posts.into_iter().zip(0_u32..) {
        let due = between * number;
        tokio::time::sleep_until((began + due).into()).await;
        let due_at = began_at + due.as_secs_f64();
        under_way.spawn(async move {
            let taken_at = provider::deliver(&post, manner).await;
            Taken { name: post.name, ms: (taken_at - due_at) * 1e3 }
        });
    }
    let mut taken = Vec::new();
    while let Some(done) = under_way.join_next().await {
        taken.push(done?);
    }
    Ok(taken)
}

/// How often each event is stored, by its token.
async fn stored(
    owner: &mut PgConnection,
    workspace: WorkspaceId,
) -> anyhow::Result<HashMap<String, i64>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT token, count(*) FROM inbound_events \
         WHERE workspace_id = $1 AND token IS NOT NULL GROUP BY token",
    )
    .bind(workspace.uuid())
    .fetch_all(owner)
    .await?;
    Ok(rows.into_iter().collect())
}
