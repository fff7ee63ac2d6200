//! The database goes away in the middle of the work and comes back. A process that lives through it
//! knows what it has sent, however long it took.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tests::cluster;
use tests::end_to_end::installation::Installation;
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none, nothing};
use tests::end_to_end::provider::Provider;
use tests::end_to_end::recipients::Recipients;
use tests::end_to_end::{seed, tell, until};
use tokio_util::sync::CancellationToken;

const LEADS: u32 = 60;

/// The last is longer than a runner may be silent before others take its calls for lost.
const OUTAGES: [Duration; 4] = [
    Duration::from_millis(0),
    Duration::from_millis(300),
    Duration::from_millis(2_000),
    Duration::from_millis(16_000),
];

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_of_the_database_lose_nothing_and_leave_nothing_in_doubt() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let delays = Delays { before: 30, after: 30, slow: 400, hold: 2_000 };
    let mail_server = Arc::new(MailServer::start(delays).await);
    let installation = Installation::create().await;
    let endpoint = installation.begin(&mail_server, LEADS, 86_400.0).await;
    let database = installation.database.clone();
    let provider = Provider::new(&endpoint, random.random());
    let recipients = Recipients::new(Arc::clone(&mail_server), provider, database.clone());
    let stop = CancellationToken::new();
    let playing = tokio::spawn(recipients.play(stop.clone()));

    let mut serving = installation.serve();
    for down in OUTAGES {
        let enough = mail_server.accepted().len() + random.random_range(5..20);
        until(Duration::from_secs(60), async || {
            serving.assert_running();
            let accepted = mail_server.accepted().len();
            if accepted >= enough { Ok(()) } else { Err(format!("{accepted} mails of {enough}")) }
        })
        .await;
        let outage = tokio::spawn(cluster::power_cut(tokio::time::sleep(down)));
        if down > Duration::from_secs(1) {
            installation.unready(&mut serving).await;
        }
        outage.await.unwrap();
        tell(format_args!("{} mails accepted after {down:?}", mail_server.accepted().len()));
    }

    until(Duration::from_secs(120), async || {
        serving.assert_running();
        nothing(oracle::unsettled(&database, &mail_server).await)
    })
    .await;
    stop.cancel();
    let done = playing.await.unwrap();
    assert!(serving.terminate().await.success());
    let accepted = mail_server.accepted();
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(&database).await));
    assert_none("accepted twice", oracle::accepted_twice(&accepted));
    assert_none("sent after a stop", oracle::sent_after_stop(&accepted, &done));
    assert_none("not stored once", oracle::not_stored_once(&database, &done).await);
    installation.run(&["verify"]).await;
    installation.run(&["replay", "--all"]).await;
}
