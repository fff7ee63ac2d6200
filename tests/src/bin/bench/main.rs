//! `make bench`: measures the engine against the limit it carries itself.
#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use activities::key_ring::KeyRing;
use activities::mailroom::Mailroom;
use postgres_runner::{Runner, Settings};
use tests::bench::fill;
use tests::cluster::Database;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    server::init_tls();
    let n: i64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let database = Database::create().await;
    let store = database.store().await;
    let campaign = fill::fill(&store, n, 0).await?;
    let mut owner = database.owner().await;
    sqlx::raw_sql("ANALYZE; CHECKPOINT").execute(&mut owner).await?;
    let mailroom = Mailroom::new(
        store.clone(),
        Arc::new(KeyRing::generate()),
        "http://127.0.0.1:8080/".parse()?,
        None,
        uuid::Uuid::from_bytes(rand::random()),
    );
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let began = Instant::now();
    let runner = Runner::start(mailroom, Settings::default()).await?;
    let mut last = (0_i64, Instant::now());
    loop {
        let row: (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE ended_at IS NOT NULL OR version = 2 AND state = 'waiting'), (SELECT count(*) FROM sends WHERE state = 'accepted') FROM enrollments",
        )
        .fetch_one(&mut owner)
        .await?;
        if row.0 >= campaign.n {
            println!(
                "n={n} sends={} {:.2}s {:.0} leads/s",
                row.1,
                began.elapsed().as_secs_f64(),
                n as f64 / began.elapsed().as_secs_f64()
            );
            break;
        }
        if row.0 != last.0 {
            last = (row.0, Instant::now());
        }
        if last.1.elapsed() > Duration::from_secs(20) {
            println!("stuck: ended {} accepted {}", row.0, row.1);
            let rows: Vec<(String, Option<String>, i64)> =
                sqlx::query_as("SELECT state, detail, count(*) FROM sends GROUP BY 1,2")
                    .fetch_all(&mut owner)
                    .await?;
            println!("{rows:?}");
            let rows: Vec<(String, i64)> =
                sqlx::query_as("SELECT state, count(*) FROM enrollments GROUP BY 1")
                    .fetch_all(&mut owner)
                    .await?;
            println!("{rows:?}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    runner.drain().await;
    Ok(())
}
