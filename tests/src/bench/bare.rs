//! The bare limit: the least that could do the same work. Small keys, a state of 300 bytes, two
//! indexes, a row in an outbox that lives for one batch; no journal, no lasting ledger, no gate. It
//! is the same in every version of the product, so that fat tables do not flatter an engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use super::fill::REPLY_EVERY;
use super::run::{Found, Job, LOOK, Stopwatch};
use super::server;

/// The tables.
const TABLES: &str = "
    CREATE TABLE bare_leads (
        id bigint PRIMARY KEY, wake_at timestamptz, step integer NOT NULL, state bytea NOT NULL
    ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
    CREATE INDEX bare_due_idx ON bare_leads (wake_at, id) WHERE wake_at IS NOT NULL;
    CREATE TABLE bare_outbox (id bigint PRIMARY KEY, step integer NOT NULL)
        WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
";

/// Where a lead's course ends: after its third message, or after its answer.
const END: i32 = 3;

/// Makes the tables and the leads.
pub async fn fill(url: &str, n: i64) -> anyhow::Result<()> {
    let mut conn = server::connect(url).await?;
    sqlx::raw_sql(TABLES).execute(&mut conn).await?;
    sqlx::query(
        "INSERT INTO bare_leads (id, wake_at, step, state) \
         SELECT i, now() - random() * interval '1 minute', 0, $2 FROM generate_series(0, $1 - 1) AS i",
    )
    .bind(n)
    .bind(state())
    .execute(&mut conn)
    .await?;
    conn.close().await?;
    Ok(())
}

fn state() -> Vec<u8> {
    (0..300).map(|_| rand::random()).collect()
}

/// Does the job.
pub async fn work(job: &Job) -> anyhow::Result<Found> {
    let ended = Arc::new(AtomicI64::new(0));
    let mut conns = Vec::new();
    for _ in 0..job.writers {
        let mut conn = server::connect(&job.url).await?;
        sqlx::raw_sql(
            "SET plan_cache_mode = force_generic_plan; SET enable_hashjoin = off; \
             SET enable_mergejoin = off; SET enable_seqscan = off; SET enable_bitmapscan = off",
        )
        .execute(&mut conn)
        .await?;
        conns.push(conn);
    }
    let watch = Stopwatch::start(job.watched())?;
    let mut writers = JoinSet::new();
    for conn in conns {
        writers.spawn(write(job.clone(), conn, Arc::clone(&ended)));
    }
    let mut done = watch.began();
    while let Some(last) = writers.join_next().await {
        done = done.max(last??);
    }
    watch.stop(done)
}

/// Writes until every lead has ended. Returns the time of its own last commit.
async fn write(job: Job, mut conn: PgConnection, ended: Arc<AtomicI64>) -> anyhow::Result<Instant> {
    let states: Vec<Vec<u8>> = (0..job.batch).map(|_| state()).collect();
    let mut last = Instant::now();
    while ended.load(Ordering::SeqCst) < job.n {
        let taken = take(&job, &mut conn, &states).await?;
        if taken.is_empty() {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let over = put(&mut conn, &states, &taken).await?;
        last = Instant::now();
        ended.fetch_add(over, Ordering::SeqCst);
    }
    Ok(last)
}

/// Transaction 1: takes due rows and puts their messages into the outbox. A lead whose answer is
/// due ends here.
async fn take(
    job: &Job,
    conn: &mut PgConnection,
    states: &[Vec<u8>],
) -> anyhow::Result<Vec<(i64, i32)>> {
    let mut tx = conn.begin().await?;
    let rows: Vec<(i64, i32)> = sqlx::query_as(
        "SELECT id, step FROM bare_leads WHERE wake_at IS NOT NULL AND wake_at <= clock_timestamp() \
         ORDER BY wake_at, id LIMIT $1 FOR UPDATE SKIP LOCKED",
    )
    .bind(i64::try_from(job.batch)?)
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(rows);
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let steps: Vec<i32> = rows.iter().map(|row| row.1).collect();
    sqlx::query(
        "UPDATE bare_leads AS l SET state = u.state, \
             wake_at = clock_timestamp() + interval '1 minute' \
         FROM unnest($1::bigint[], $2::bytea[]) AS u (id, state) WHERE l.id = u.id",
    )
    .bind(&ids)
    .bind(&states[..ids.len()])
    .execute(&mut *tx)
    .await?;
    sqlx::query("INSERT INTO bare_outbox (id, step) SELECT * FROM unnest($1::bigint[], $2::int[])")
        .bind(&ids)
        .bind(&steps)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rows)
}

/// Transaction 2: messages left; their rows go, and the leads go on. Returns how many ended.
async fn put(
    conn: &mut PgConnection,
    states: &[Vec<u8>],
    taken: &[(i64, i32)],
) -> anyhow::Result<i64> {
    let ids: Vec<i64> = taken.iter().map(|row| row.0).collect();
    // Who answers is written once more in the same transaction: the answer.
    let answers: Vec<i64> = ids.iter().copied().filter(|id| id % REPLY_EVERY == 0).collect();
    let steps: Vec<i32> =
        taken.iter().map(|(id, step)| if id % REPLY_EVERY == 0 { END } else { step + 1 }).collect();
    let mut tx = conn.begin().await?;
    sqlx::query("DELETE FROM bare_outbox WHERE id = ANY ($1)").bind(&ids).execute(&mut *tx).await?;
    sqlx::query(
        "UPDATE bare_leads AS l SET state = u.state, step = u.step, \
             wake_at = CASE WHEN u.step < $4 THEN clock_timestamp() END \
         FROM unnest($1::bigint[], $2::bytea[], $3::int[]) AS u (id, state, step) \
         WHERE l.id = u.id",
    )
    .bind(&ids)
    .bind(&states[..ids.len()])
    .bind(&steps)
    .bind(END)
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE bare_leads SET state = $2 WHERE id = ANY ($1)")
        .bind(&answers)
        .bind(&states[0])
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let over = steps.iter().filter(|step| **step == END).count();
    Ok(i64::try_from(over)?)
}
