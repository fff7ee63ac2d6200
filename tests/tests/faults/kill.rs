//! A campaign of 200 leads through a real SMTP server and back by signed webhooks, while the process
//! is killed twenty times. Nothing is lost, nothing is sent twice, and what nobody can know is left to
//! a person.

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
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LEADS: u32 = 200;
const KILLS: u32 = 20;
const SENDERS: usize = 2;

/// A day of the campaign is a second.
const FACTOR: f64 = 86_400.0;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing_and_send_nothing_twice() {
    let begun = Instant::now();
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let delays = Delays { before: 15, after: 15, slow: 150, hold: 6_000, ask: 0 };
    let mail_server = Arc::new(MailServer::start(delays).await);
    let installation = Installation::create().await;
    let endpoint = installation.begin(&mail_server, LEADS, FACTOR).await;
    let database = installation.database.clone();
    let provider = Provider::new(&endpoint, random.random());
    let recipients = Recipients::new(Arc::clone(&mail_server), provider, database.clone());
    let stop = CancellationToken::new();
    let playing = tokio::spawn(recipients.play(stop.clone()));

    tell(format_args!("{:.0?}: set up", begun.elapsed()));
    let mut serving = installation.serve();
    let mut at_kills = Vec::new();
    for _ in 0..KILLS {
        until_moment(&mut random, &mail_server).await;
        serving.kill().await;
        at_kills.push(mail_server.accepted().len());
        serving = installation.serve();
    }
    tell(format_args!("{:.0?}: mails accepted at the kills: {at_kills:?}", begun.elapsed()));

    until(PATIENCE, async || {
        serving.assert_running();
        nothing(oracle::unsettled(&database, &mail_server).await)
    })
    .await;
    let sends = oracle::sends(&database).await;
    let flagged = oracle::to_review(&sends);
    tell(format_args!("{:.0?}: {} mails to be reviewed", begun.elapsed(), flagged.len()));
    let calls = postgres_runner::Settings::default().calls_per_mailbox;
    let in_flight = usize::try_from(KILLS).unwrap() * SENDERS * calls;
    assert!(flagged.len() <= in_flight, "{} of {in_flight}: {flagged:?}", flagged.len());

    let (sent, again) = installation.review(&mail_server).await;
    tell(format_args!("{sent} had been sent, {again} had not"));
    assert!(sent > 0 && again > 0, "both happen: two mail servers of each kind see to it");
    until(PATIENCE, async || {
        serving.assert_running();
        let mut missing = oracle::unsettled(&database, &mail_server).await;
        let sends = oracle::sends(&database).await;
        let flagged = oracle::to_review(&sends);
        missing.extend(flagged.into_iter().map(|send| format!("{send:?} waits")));
        nothing(missing)
    })
    .await;
    tell(format_args!("{:.0?}: everybody has ended as scripted", begun.elapsed()));
    stop.cancel();
    let done = playing.await.unwrap();

    let accepted = mail_server.accepted();
    tell(format_args!("{} mails, {} answers", accepted.len(), done.len()));
    assert_none("accepted twice", oracle::accepted_twice(&accepted));
    assert_none("sent after a stop", oracle::sent_after_stop(&accepted, &done));
    assert_none("sent during absences", oracle::sent_during_absence(&database, &done).await);
    assert_none("not stored once", oracle::not_stored_once(&database, &done).await);
    assert!(serving.terminate().await.success());
    assert_none("suspicious lines", oracle::suspicious(&installation.log()));
    installation.run(&["verify"]).await;
    let replayed = installation.json(&["replay", "--all"]).await;
    assert_eq!(replayed["equal"], LEADS, "{replayed}");
}

/// Waits for the moment of a kill: at any time while the process starts, or between any two mails.
async fn until_moment(random: &mut StdRng, mail_server: &MailServer) {
    if random.random_bool(0.25) {
        return tokio::time::sleep(Duration::from_millis(random.random_range(0..800))).await;
    }
    let enough = mail_server.accepted().len() + random.random_range(1..25);
    let begun = Instant::now();
    // Everything may wait for its time just now.
    while mail_server.accepted().len() < enough && begun.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
}
