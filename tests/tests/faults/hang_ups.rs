//! Clients that hang up at every moment of a request, thousands of them, beside others that wait for
//! their answer. What was acknowledged is there after a crash, and no connection is left in a
//! transaction that nobody will end.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tests::end_to_end::installation::Installation;
use tests::end_to_end::mail_server::{Accepted, Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none};
use tests::end_to_end::provider::{self, Manner, Provider};
use tests::end_to_end::recipients::{Done, What};
use tests::end_to_end::{seed, tell, until};
use tokio::task::JoinSet;
use uuid::Uuid;

const CLIENTS: u64 = 16;
const REQUESTS_EACH: u32 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_storm_of_clients_that_hang_up() {
    let seed = seed();
    let mail_server = Arc::new(MailServer::start(Delays::default()).await);
    let installation = Installation::create().await;
    let endpoint = installation.begin(&mail_server, 4, 86_400.0).await;
    let mut serving = installation.serve();
    installation.ready(&mut serving).await;

    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let endpoint = endpoint.clone();
        clients.spawn(async move { storm(&endpoint, seed + client).await });
    }
    let done: Vec<Done> = clients.join_all().await.concat();
    tell(format_args!("{} answers", done.len()));

    until(Duration::from_secs(10), async || match idle_in_transaction(&installation).await {
        0 => Ok(()),
        n => Err(format!("{n} connections are idle in a transaction")),
    })
    .await;
    // Whatever was not committed is gone with the process.
    serving.kill().await;
    assert_none("not stored once", oracle::not_stored_once(&installation.database, &done).await);
    assert_none("suspicious lines", oracle::suspicious(&installation.log()));
    installation.run(&["verify"]).await;
}

/// Posts events, each after one that nobody waits for. Returns those that were acknowledged.
async fn storm(endpoint: &str, seed: u64) -> Vec<Done> {
    let mut random = StdRng::seed_from_u64(seed);
    let provider = Provider::new(endpoint, random.random());
    let mut done = Vec::new();
    for number in 0..REQUESTS_EACH {
        let abandoned = provider.event(&nobodys(&mut random), "delivered", &json!({}));
        let after = Duration::from_micros(random.random_range(0..640));
        provider::hang_up(&abandoned, after).await;
        let post = provider.event(&nobodys(&mut random), "delivered", &json!({}));
        let taken_at = provider::deliver(&post, Manner::Once).await;
        done.push(Done { number, name: post.name, what: What::Nothing, taken_at });
    }
    done
}

/// A message that somebody else sent: its events are stored, and concern nobody.
fn nobodys(random: &mut StdRng) -> Accepted {
    let send = Uuid::from_u128(random.random());
    Accepted {
        send,
        message_id: format!("<{send}@elsewhere.example>"),
        in_reply_to: None,
        subject: String::new(),
        unsubscribe: None,
        to: "nobody@elsewhere.example".to_owned(),
        at: 0.0,
        file: "none".into(),
    }
}

async fn idle_in_transaction(installation: &Installation) -> i64 {
    let mut owner = installation.database.owner().await;
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND state LIKE 'idle in transaction%'
           AND state_change < clock_timestamp() - interval '1 second'",
    )
    .fetch_one(&mut owner)
    .await
    .expect("the server answers")
}
