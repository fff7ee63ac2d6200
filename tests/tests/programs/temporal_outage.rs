//! The database goes while Temporal drives leads: each of its activities finds that out again and again,
//! and the log says it once.

use tests::end_to_end::installation::Installation;
use tests::end_to_end::proxy::{Losses, Proxy};
use tests::end_to_end::temporal_server::TemporalServer;
use tests::end_to_end::{PATIENCE, until};
use tokio::runtime::Runtime;

const LEADS: u64 = 20;

/// How many tries have to fail until it is enough.
const TRIES: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn that_the_database_is_away_is_said_once() {
    let temporal = TemporalServer::start().await;
    let address = temporal.address();
    let installation = Installation::create().await;
    // What it carries ends with the runtime it works on.
    let line = Runtime::new().unwrap();
    let behind = installation.database.url.clone();
    let proxy = line.spawn(async move { Proxy::start(&behind, Losses::None).await });
    let url = proxy.await.unwrap().url().to_owned();
    let mut serving = installation.serve_with(&[
        ("DATABASE_URL", url.as_str()),
        ("MERIDIAN_ENGINE", "temporal"),
        ("MERIDIAN_LOG", "info,temporal_runner=debug"),
        ("TEMPORAL_ADDRESS", address.as_str()),
    ]);
    installation.ready(&mut serving).await;
    let leads: String = (0..LEADS).map(|n| format!("lead{n}@wharf.example\n")).collect();
    let leads = installation.write("leads.csv", &format!("email\n{leads}"));
    installation.run(&["lead", "import", &leads]).await;
    let steps = "name: spring\nzone: UTC\nsteps:\n  - key: intro\n    email: { subject: Hello, body: Hello. }\n  \
                 - key: nudge\n    wait: 20 seconds\n    email: { body: Hello again. }\n";
    let campaign = installation.write("campaign.yaml", steps);
    installation.run(&["campaign", "apply", &campaign]).await;
    installation.run(&["campaign", "start", "spring"]).await;
    until(PATIENCE, async || {
        serving.assert_running();
        let shown = installation.json(&["campaign", "show", "spring"]).await;
        if shown["sent"].as_u64() >= Some(LEADS) { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;

    line.shutdown_background();
    until(PATIENCE, async || {
        serving.assert_running();
        let tries = installation.log().matches("a turn failed").count();
        if tries >= TRIES { Ok(()) } else { Err(format!("{tries} turns failed")) }
    })
    .await;
    let log = installation.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("of Temporal moves")).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].contains("ERROR"), "{}", said[0]);
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("a turn failed")).collect();
    assert!(failed.iter().all(|line| line.contains("DEBUG")), "{failed:#?}");
    serving.kill().await;
}
