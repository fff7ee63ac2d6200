//! A process that is frozen in the middle of a call while another one goes on: its calls count as lost
//! until it comes back and says what became of them.

use std::sync::Arc;
use std::time::Duration;

use tests::end_to_end::installation::Installation;
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none, nothing};
use tests::end_to_end::provider::Provider;
use tests::end_to_end::recipients::{self, Part, Recipients};
use tests::end_to_end::{seed, until};
use tokio_util::sync::CancellationToken;

/// Few enough that one mail server alone holds its answer back.
const LEADS: u32 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_process_tells_what_it_knows_when_it_comes_back() {
    let seed = seed();
    // Longer than the others take to give its call up: silent for 15 seconds, looked for every 5.
    let delays = Delays { before: 5, after: 5, slow: 100, hold: 25_000 };
    let mail_server = Arc::new(MailServer::start(delays).await);
    let installation = Installation::create().await;
    let endpoint = installation.begin(&mail_server, LEADS, 86_400.0).await;
    let database = installation.database.clone();
    let provider = Provider::new(&endpoint, seed);
    let recipients = Recipients::new(Arc::clone(&mail_server), provider, database.clone());
    let stop = CancellationToken::new();
    let playing = tokio::spawn(recipients.play(stop.clone()));

    let mut frozen = installation.work();
    let held = (0..LEADS).find(|number| Part::of(*number) == Part::Unanswered).unwrap();
    let held = recipients::address(held);
    until(Duration::from_secs(60), async || {
        frozen.assert_running();
        let is_accepted = mail_server.accepted().iter().any(|one| one.to == held);
        if is_accepted { Ok(()) } else { Err(format!("nothing to {held} yet")) }
    })
    .await;
    frozen.freeze();

    let mut serving = installation.serve();
    until(Duration::from_secs(60), async || {
        serving.assert_running();
        let sends = oracle::sends(&database).await;
        let flagged = oracle::to_review(&sends);
        let is_given_up = flagged.iter().any(|send| send.address.as_deref() == Some(&held));
        if is_given_up { Ok(()) } else { Err(format!("the mail to {held} is not given up")) }
    })
    .await;
    frozen.thaw();

    until(Duration::from_secs(60), async || {
        serving.assert_running();
        frozen.assert_running();
        let mut missing = oracle::unsettled(&database, &mail_server).await;
        let sends = oracle::sends(&database).await;
        missing.extend(oracle::to_review(&sends).iter().map(|send| format!("{send:?} waits")));
        nothing(missing)
    })
    .await;
    stop.cancel();
    let done = playing.await.unwrap();
    assert!(frozen.terminate().await.success());
    assert!(serving.terminate().await.success());
    assert_none("accepted twice", oracle::accepted_twice(&mail_server.accepted()));
    assert_none("not stored once", oracle::not_stored_once(&database, &done).await);
    assert_none("suspicious lines", oracle::suspicious(&installation.log()));
    installation.run(&["verify"]).await;
    installation.run(&["replay", "--all"]).await;
}
