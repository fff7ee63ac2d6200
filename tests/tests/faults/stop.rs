//! An orderly stop in the middle of the work leaves nothing that a person would have to look at.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tests::end_to_end::installation::Installation;
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none, nothing};
use tests::end_to_end::provider::Provider;
use tests::end_to_end::recipients::Recipients;
use tests::end_to_end::{PATIENCE, seed, tell, until};
use tokio_util::sync::CancellationToken;

const LEADS: u32 = 60;
const STOPS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_leaves_no_call_in_doubt() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let delays = Delays { before: 40, after: 40, slow: 400, hold: 1_500, ask: 0 };
    let mail_server = Arc::new(MailServer::start(delays).await);
    let installation = Installation::create().await;
    let endpoint = installation.begin(&mail_server, LEADS, 86_400.0).await;
    let database = installation.database.clone();
    let provider = Provider::new(&endpoint, random.random());
    let recipients = Recipients::new(Arc::clone(&mail_server), provider, database.clone());
    let stop = CancellationToken::new();
    let playing = tokio::spawn(recipients.play(stop.clone()));

    for n in 0..STOPS {
        let mut serving = installation.serve();
        installation.ready(&mut serving).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        assert!(serving.terminate().await.success(), "stop {n}");
        let open = oracle::sends(&database).await.into_iter().filter(|send| {
            ["dispatching", "unknown", "needs_review"].contains(&send.state.as_str())
        });
        assert_none("in doubt", open.map(|send| format!("after stop {n}: {send:?}")));
    }
    tell(format_args!("{} mails accepted at the last stop", mail_server.accepted().len()));

    let mut serving = installation.serve();
    until(PATIENCE, async || {
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
    assert_none("not stored once", oracle::not_stored_once(&database, &done).await);
    assert_none("suspicious lines", oracle::suspicious(&installation.log()));
    installation.run(&["verify"]).await;
    installation.run(&["replay", "--all"]).await;
}
