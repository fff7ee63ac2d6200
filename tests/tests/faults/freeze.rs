//! A process that is frozen while another one goes on. In the middle of a call: the call counts as lost
//! until the process comes back and says what became of it. Before a call: it is never made. Before the
//! message of a call that has begun: it is never handed over.

use std::sync::Arc;

use tests::cluster::Database;
use tests::end_to_end::installation::{Installation, Serving};
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none, nothing};
use tests::end_to_end::provider::Provider;
use tests::end_to_end::proxy::{Losses, Lost, Proxy, Then};
use tests::end_to_end::recipients::{self, Done, Part, Recipients};
use tests::end_to_end::{PATIENCE, seed, until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Few enough that one mail server alone holds its answer back.
const LEADS: u32 = 16;

/// A campaign that has begun, and nobody who works on it yet.
struct Scene {
    mail_server: Arc<MailServer>,
    installation: Installation,
    database: Database,
    stop: CancellationToken,
    /// The recipients, until `stop`.
    playing: JoinHandle<Vec<Done>>,
}

impl Scene {
    async fn set(delays: Delays) -> Self {
        let seed = seed();
        let mail_server = Arc::new(MailServer::start(delays).await);
        let installation = Installation::create().await;
        let endpoint = installation.begin(&mail_server, LEADS, 86_400.0).await;
        let database = installation.database.clone();
        let provider = Provider::new(&endpoint, seed);
        let recipients = Recipients::new(Arc::clone(&mail_server), provider, database.clone());
        let stop = CancellationToken::new();
        let playing = tokio::spawn(recipients.play(stop.clone()));
        Self { mail_server, installation, database, stop, playing }
    }
}

/// Waits until a message is given up.
async fn until_given_up(database: &Database, serving: &mut Serving) {
    until(PATIENCE, async || {
        serving.assert_running();
        let sends = oracle::sends(database).await;
        let is_given_up = !oracle::to_review(&sends).is_empty();
        if is_given_up { Ok(()) } else { Err("nothing is given up".to_owned()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_process_tells_what_it_knows_when_it_comes_back() {
    // Longer than the others take to give its call up: silent for 15 seconds, looked for every 5.
    let delays = Delays { before: 5, after: 5, slow: 100, hold: 25_000, ask: 0 };
    let Scene { mail_server, installation, database, stop, playing } = Scene::set(delays).await;

    let mut frozen = installation.work();
    let held = (0..LEADS).find(|number| Part::of(*number) == Part::Unanswered).unwrap();
    let held = recipients::address(held);
    until(PATIENCE, async || {
        frozen.assert_running();
        let is_accepted = mail_server.accepted().iter().any(|one| one.to == held);
        if is_accepted { Ok(()) } else { Err(format!("nothing to {held} yet")) }
    })
    .await;
    frozen.freeze();

    let mut serving = installation.serve();
    until(PATIENCE, async || {
        serving.assert_running();
        let sends = oracle::sends(&database).await;
        let flagged = oracle::to_review(&sends);
        let is_given_up = flagged.iter().any(|send| send.address.as_deref() == Some(&held));
        if is_given_up { Ok(()) } else { Err(format!("the mail to {held} is not given up")) }
    })
    .await;
    frozen.thaw();

    until(PATIENCE, async || {
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
    let suspicious = oracle::suspicious(&installation.log());
    // It may have been frozen in the middle of a transaction, which the database ends then.
    let known = |line: &String| line.contains("idle-in-transaction timeout");
    assert_none("suspicious lines", suspicious.into_iter().filter(|line| !known(line)));
    installation.run(&["verify"]).await;
    installation.run(&["replay", "--all"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_before_its_call_does_not_make_it() {
    let Scene { mail_server, installation, database, stop, playing } =
        Scene::set(Delays::default()).await;

    // Past its first gate, and before it knows.
    let losses = Losses::First { changing: "send_contents", lost: Lost::Answer, then: Then::Late };
    let proxy = Proxy::start(&database.url, losses).await;
    let mut frozen = installation.work_through(proxy.url());
    proxy.struck().await;
    frozen.freeze();
    proxy.release();
    let mut serving = installation.serve();
    until_given_up(&database, &mut serving).await;

    assert_nothing_sent_twice(&installation, &mail_server, (frozen, serving), (stop, playing))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_before_the_message_does_not_hand_it_over() {
    let delays = Delays { ask: 20_000, ..Delays::default() };
    let Scene { mail_server, installation, database, stop, playing } = Scene::set(delays).await;

    let mut frozen = installation.work();
    until(PATIENCE, async || {
        frozen.assert_running();
        if mail_server.is_asked() { Ok(()) } else { Err("nobody asks to hand over".to_owned()) }
    })
    .await;
    frozen.freeze();
    let mut serving = installation.serve();
    until_given_up(&database, &mut serving).await;
    assert_nothing_sent_twice(&installation, &mail_server, (frozen, serving), (stop, playing))
        .await;
}

/// A person sends again what the frozen process had in hand; then it comes back.
async fn assert_nothing_sent_twice(
    installation: &Installation,
    mail_server: &MailServer,
    (mut frozen, mut serving): (Serving, Serving),
    (stop, playing): (CancellationToken, JoinHandle<Vec<Done>>),
) {
    let database = &installation.database;
    // What it handed over to another server before is not meant.
    let (_sent, again) = installation.review(mail_server).await;
    assert!(again > 0, "somebody waits");
    until(PATIENCE, async || {
        serving.assert_running();
        nothing(oracle::unsettled(database, mail_server).await)
    })
    .await;
    frozen.thaw();
    // It ends when every call that it has in mind is over.
    assert!(frozen.terminate().await.success());
    assert!(serving.terminate().await.success());
    stop.cancel();
    let done = playing.await.unwrap();
    assert_none("accepted twice", oracle::accepted_twice(&mail_server.accepted()));
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(database).await));
    assert_none("not stored once", oracle::not_stored_once(database, &done).await);
    installation.run(&["verify"]).await;
    installation.run(&["replay", "--all"]).await;
}
