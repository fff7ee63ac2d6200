//! A campaign through Temporal and a real mail server, with replies, reports and stops that come back as
//! signed posts, a pause in the middle, and a Temporal server that is killed.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tests::end_to_end::installation::Installation;
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none, nothing};
use tests::end_to_end::provider::Provider;
use tests::end_to_end::recipients::Recipients;
use tests::end_to_end::temporal_server::TemporalServer;
use tests::end_to_end::{PATIENCE, seed, tell, until};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LEADS: u32 = 20;

/// A day of the campaign is a second.
const FACTOR: f64 = 86_400.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_goes_through_temporal_whose_server_is_killed() {
    let begun = Instant::now();
    let mut random = StdRng::seed_from_u64(seed());
    let mut temporal = TemporalServer::start().await;
    tell(format_args!("{:.0?}: Temporal answers", begun.elapsed()));
    let delays = Delays { before: 15, after: 15, slow: 150, hold: 1_500, ask: 0 };
    let mail_server = Arc::new(MailServer::start(delays).await);
    let installation = Installation::create().await;
    let address = temporal.address();
    let engine = [("MERIDIAN_ENGINE", "temporal"), ("TEMPORAL_ADDRESS", address.as_str())];
    // First, for it says which engine new campaigns get.
    let mut serving = installation.serve_with(&engine);
    installation.ready(&mut serving).await;
    let endpoint = installation.begin(&mail_server, LEADS, FACTOR).await;
    let database = installation.database.clone();
    let provider = Provider::new(&endpoint, random.random());
    let recipients = Recipients::new(Arc::clone(&mail_server), provider, database.clone());
    let stop = CancellationToken::new();
    let playing = tokio::spawn(recipients.play(stop.clone()));

    until(PATIENCE, async || {
        serving.assert_running();
        let accepted = mail_server.accepted().len();
        if accepted >= 10 { Ok(()) } else { Err(format!("{accepted} mails accepted")) }
    })
    .await;
    tell(format_args!("{:.0?}: ten mails", begun.elapsed()));
    temporal.kill().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    temporal.start_again().await;
    tell(format_args!("{:.0?}: Temporal is back", begun.elapsed()));

    installation.run(&["campaign", "pause", "three-mails"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let at_rest = mail_server.accepted().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(mail_server.accepted().len(), at_rest, "sent in spite of the pause");
    installation.run(&["campaign", "resume", "three-mails"]).await;

    until(PATIENCE, async || {
        serving.assert_running();
        nothing(oracle::unsettled(&database, &mail_server).await)
    })
    .await;
    tell(format_args!("{:.0?}: everybody has ended as scripted", begun.elapsed()));
    stop.cancel();
    let done = playing.await.unwrap();
    let accepted = mail_server.accepted();
    tell(format_args!("{} mails, {} answers", accepted.len(), done.len()));
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(&database).await));
    assert_none("accepted twice", oracle::accepted_twice(&accepted));
    assert_none("sent after a stop", oracle::sent_after_stop(&accepted, &done));
    assert_none("not stored once", oracle::not_stored_once(&database, &done).await);
    until(PATIENCE, async || {
        let running = temporal.run(&["workflow", "count", "--query", "ExecutionStatus='Running'"]);
        let running = running.await;
        if running.contains("Total: 0") { Ok(()) } else { Err(format!("workflows run: {running}")) }
    })
    .await;
    assert!(serving.terminate().await.success());
    let logged = installation.log();
    assert!(!logged.contains("panicked") && !logged.contains("@recipients.example"), "{logged}");
    installation.run(&["verify"]).await;
    let replayed = installation.json(&["replay", "--all"]).await;
    assert_eq!(replayed["equal"], LEADS, "{replayed}");

    let engines: Vec<String> = {
        let mut owner = database.owner().await;
        sqlx::query_scalar("SELECT DISTINCT engine FROM enrollments").fetch_all(&mut owner).await
    }
    .unwrap();
    assert_eq!(engines, ["temporal"]);
    temporal.kill().await;
    let stored = temporal.stored();
    let holds = |text: &str| stored.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds("lead.v1"), "nothing was looked at");
    for text in ["recipients.example", "sender.example", "First, number", "Did you see my mail"] {
        assert!(!holds(text), "Temporal has stored {text:?}");
    }
}
