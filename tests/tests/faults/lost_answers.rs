//! Commits whose answers are lost: nobody who asked knows whether it is done. Everything is safe to
//! ask for again, and nothing is done twice.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tests::end_to_end::installation::{Installation, Serving};
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none, nothing};
use tests::end_to_end::provider::{self, Provider};
use tests::end_to_end::proxy::{Losses, Proxy};
use tests::end_to_end::recipients::Recipients;
use tests::end_to_end::{PATIENCE, seed, tell, until};
use tokio_util::sync::CancellationToken;

const LEADS: u32 = 60;

/// This share of all commits is not answered.
const LOST: f64 = 0.03;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_without_an_answer_is_neither_lost_nor_done_twice() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let delays = Delays { before: 10, after: 10, slow: 100, hold: 1_000, ask: 0 };
    let mail_server = Arc::new(MailServer::start(delays).await);
    let installation = Installation::create().await;
    let endpoint = installation.begin(&mail_server, LEADS, 86_400.0).await;
    let database = installation.database.clone();
    let provider = Provider::new(&endpoint, random.random());
    let recipients = Recipients::new(Arc::clone(&mail_server), provider, database.clone());
    let stop = CancellationToken::new();
    let playing = tokio::spawn(recipients.play(stop.clone()));

    let losses = Losses::Share { share: LOST, seed: random.random() };
    let proxy = Proxy::start(&database.url, losses).await;
    let mut serving = started(&installation, &proxy).await;
    until(PATIENCE, async || {
        serving.assert_running();
        nothing(oracle::unsettled(&database, &mail_server).await)
    })
    .await;
    stop.cancel();
    let done = playing.await.unwrap();
    proxy.heal();
    assert!(serving.terminate().await.success());
    tell(format_args!("{} commits were not answered", proxy.cuts()));
    assert!(proxy.cuts() > 10, "only {} commits were not answered", proxy.cuts());
    let accepted = mail_server.accepted();
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(&database).await));
    assert_none("accepted twice", oracle::accepted_twice(&accepted));
    assert_none("not stored once", oracle::not_stored_once(&database, &done).await);
    installation.run(&["verify"]).await;
    installation.run(&["replay", "--all"]).await;
}

/// Starts the program. One that loses an answer before it is ready ends with an error, and is begun again,
/// as whoever watches over it would.
async fn started(installation: &Installation, proxy: &Proxy) -> Serving {
    loop {
        let mut serving = installation.serve_through(proxy.url());
        let mut is_ready = false;
        until(PATIENCE, async || {
            let asked = provider::client().get(format!("{}/readyz", installation.url()));
            is_ready = asked.send().await.is_ok_and(|answer| answer.status().is_success());
            match is_ready || serving.has_ended() {
                true => Ok(()),
                false => Err("it is not ready".to_owned()),
            }
        })
        .await;
        if is_ready {
            return serving;
        }
    }
}
