//! A campaign that moves between engines while its leads are under way.

use tests::end_to_end::installation::Installation;
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::temporal_server::{TemporalServer, engine};
use tests::end_to_end::{PATIENCE, until};

use crate::stage::{CAMPAIGN, Stage};

const LEADS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_moves_to_postgres_and_back_with_leads_in_flight() {
    let (stage, mut serving) = Stage::set(LEADS).await;
    stage.accepted(&mut serving, 8).await;
    let moved = stage.installation.json(&["engine", "move", "--to", "postgres", CAMPAIGN]).await;
    assert_eq!(moved["leads"], LEADS, "{moved}");
    stage.accepted(&mut serving, 16).await;
    let moved = stage.installation.json(&["engine", "move", "--to", "temporal", CAMPAIGN]).await;
    assert_eq!(moved["leads"], LEADS, "{moved}");
    let again = stage.installation.json(&["engine", "move", "--to", "temporal", CAMPAIGN]).await;
    assert_eq!(again["leads"], 0, "{again}");
    stage.settled(&mut serving).await;
    stage.judge(serving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workflows_of_leads_that_moved_away_end_when_they_are_told_to_look() {
    let temporal = TemporalServer::start().await;
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(&engine(&temporal.address()));
    installation.ready(&mut serving).await;
    let mail_server = MailServer::start(Delays::default()).await;
    let leads = "ada@recipients.example\ngrace@recipients.example\n";
    installation.begin_one_mail(Some(&mail_server), leads, "30 days").await;
    let shown = installation.json(&["campaign", "show", "spring"]).await;
    let query = format!("MeridianCampaign = '{}'", shown["id"].as_str().unwrap());
    let running = format!("{query} AND ExecutionStatus = 'Running'");
    let are_running = async |count: u32| {
        until(PATIENCE, async || {
            let counted = temporal.run(&["workflow", "count", "--query", &running]).await;
            if counted.contains(&format!("Total: {count}")) { Ok(()) } else { Err(counted) }
        })
        .await;
    };
    are_running(2).await;
    installation.run(&["engine", "move", "--to", "postgres", "spring"]).await;
    let signal = ["workflow", "signal", "--name", "look_again", "--reason", "moved", "--yes"];
    temporal.run(&[&signal[..], &["--query", &query]].concat()).await;
    are_running(0).await;
    let shown = installation.json(&["campaign", "show", "spring"]).await;
    assert_eq!((&shown["engine"], &shown["live"]), (&"postgres".into(), &2.into()), "{shown}");
    assert!(serving.terminate().await.success());
}
