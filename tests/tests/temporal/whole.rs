//! A campaign through Temporal and a real mail server, with replies, reports and stops that come back as
//! signed posts, a pause in the middle, and a Temporal server that is killed.

use tests::end_to_end::oracle::{self, assert_none};
use tests::end_to_end::{PATIENCE, until};

use crate::stage::{CAMPAIGN, Stage};

const LEADS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_goes_through_temporal_whose_server_is_killed() {
    let (mut stage, mut serving) = Stage::set(LEADS).await;
    stage.accepted(&mut serving, 10).await;
    stage.temporal.kill().await;
    until(PATIENCE, async || {
        let is_missed = stage.installation.log().contains("leads cannot be relayed to Temporal");
        if is_missed { Ok(()) } else { Err("nobody misses Temporal".to_owned()) }
    })
    .await;
    stage.temporal.start_again().await;
    stage.tell("Temporal is back");

    stage.installation.run(&["campaign", "pause", CAMPAIGN]).await;
    stage.paused().await;
    let at_rest = stage.mail_server.accepted().len();
    stage.days_pass(3).await;
    assert_eq!(stage.mail_server.accepted().len(), at_rest, "sent in spite of the pause");
    stage.installation.run(&["campaign", "resume", CAMPAIGN, "--rule", "keep"]).await;

    stage.settled(&mut serving).await;
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(&stage.database).await));
    until(PATIENCE, async || {
        let running = stage.count("ExecutionStatus='Running'").await;
        if running.contains("Total: 0") { Ok(()) } else { Err(format!("still run: {running}")) }
    })
    .await;
    let mut owner = stage.database.owner().await;
    let engines: Vec<String> = sqlx::query_scalar("SELECT DISTINCT engine FROM enrollments")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    assert_eq!(engines, ["temporal"]);

    let stored = stage.judge(serving).await;
    let holds = |text: &str| stored.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    // What is looked for stands there as it is, neither packed nor encoded.
    assert!(holds("lead.v1") && holds("\"enrollment\":"), "nothing was looked at");
    for text in ["recipients.example", "sender.example", "First, number", "Did you see my mail"] {
        assert!(!holds(text), "Temporal has stored {text:?}");
    }
}
