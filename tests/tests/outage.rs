//! The database goes away in the middle of the work and comes back. A process that lives through it
//! says so, takes nothing that it could not store, and knows what it has sent, however long it took.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tests::cluster;
use tests::end_to_end::installation::{Installation, Serving};
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none, nothing};
use tests::end_to_end::provider::{self, Provider};
use tests::end_to_end::recipients::Recipients;
use tests::end_to_end::temporal_server::{self, TemporalServer, engine};
use tests::end_to_end::{PATIENCE, seed, tell, until};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

const LEADS: u32 = 60;

/// How long the database is away. The last is longer than a runner may be silent before others take
/// its calls for lost.
const OUTAGES: [Outage; 4] = [
    Outage::Unnoticed(Duration::from_millis(0)),
    Outage::Unnoticed(Duration::from_millis(300)),
    Outage::Noticed(Duration::from_millis(2_000)),
    Outage::Noticed(Duration::from_millis(16_000)),
];

#[derive(Debug, Clone, Copy)]
enum Outage {
    /// This long, whoever has noticed.
    Unnoticed(Duration),
    /// At least this long, and until the process has said that leads do not move and refused an event.
    Noticed(Duration),
}

/// The tests share a database, and each takes it away.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_of_the_database_lose_nothing_and_leave_nothing_in_doubt() {
    let _alone = ALONE.lock().await;
    assert_nothing_lost([["--spacing", "1 hour"], ["--per-day", "30"]], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_they_where_temporal_drives_the_leads() {
    let _alone = ALONE.lock().await;
    let temporal = TemporalServer::start().await;
    assert_nothing_lost(temporal_server::LIMITS, &engine(&temporal.address())).await;
}

async fn assert_nothing_lost(limits: [[&str; 2]; 2], settings: &[(&str, &str)]) {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let delays = Delays { before: 30, after: 30, slow: 400, hold: 2_000, ask: 0 };
    let mail_server = Arc::new(MailServer::start(delays).await);
    let installation = Installation::create().await;
    // First, for it says which engine new campaigns get.
    let mut serving = installation.serve_with(settings);
    installation.ready(&mut serving).await;
    let endpoint = installation.begin_within(limits, &mail_server, LEADS, 86_400.0).await;
    let database = installation.database.clone();
    let provider = Provider::new(&endpoint, random.random());
    let recipients = Recipients::new(Arc::clone(&mail_server), provider.clone(), database.clone());
    let stop = CancellationToken::new();
    let playing = tokio::spawn(recipients.play(stop.clone()));

    for outage in OUTAGES {
        let enough = mail_server.accepted().len() + random.random_range(5..20);
        until(PATIENCE, async || {
            serving.assert_running();
            let accepted = mail_server.accepted().len();
            if accepted >= enough { Ok(()) } else { Err(format!("{accepted} mails of {enough}")) }
        })
        .await;
        match outage {
            Outage::Unnoticed(down) => cluster::power_cut(tokio::time::sleep(down)).await,
            Outage::Noticed(down) => {
                let noticed = noticed(&installation, &mut serving, &mail_server, &provider);
                let both = async { tokio::join!(tokio::time::sleep(down), noticed) };
                cluster::power_cut(async { _ = both.await }).await;
                installation.ready(&mut serving).await;
            }
        }
        tell(format_args!("{} mails accepted after {outage:?}", mail_server.accepted().len()));
    }

    until(PATIENCE, async || {
        serving.assert_running();
        nothing(oracle::unsettled(&database, &mail_server).await)
    })
    .await;
    stop.cancel();
    let done = playing.await.expect("recipients do not panic");
    // An end without a database is an end all the same.
    cluster::power_cut(async { assert!(serving.terminate().await.success()) }).await;
    let accepted = mail_server.accepted();
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(&database).await));
    assert_none("accepted twice", oracle::accepted_twice(&accepted));
    assert_none("sent after a stop", oracle::sent_after_stop(&accepted, &done));
    assert_none("not stored once", oracle::not_stored_once(&database, &done).await);
    installation.run(&["verify"]).await;
    installation.run(&["replay", "--all"]).await;
}

/// The process says that leads do not move, and refuses what it cannot store in a way that brings the
/// provider back.
async fn noticed(
    installation: &Installation,
    serving: &mut Serving,
    mail_server: &MailServer,
    provider: &Provider,
) {
    installation.unready(serving).await;
    let about = mail_server.accepted().pop().expect("mails were accepted before");
    let event = provider.event(&about, "delivered", &json!({}));
    let status = provider::post(&event).await.expect("the process answers");
    assert_eq!(status, 503, "an event was posted without a database");
}
