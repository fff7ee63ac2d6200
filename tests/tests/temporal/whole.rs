//! A campaign through Temporal and a real mail server, with replies, reports and stops that come back as
//! signed posts, a pause in the middle, and a Temporal server that is killed.

use tests::end_to_end::oracle::{self, assert_none};
use tests::end_to_end::recipients;
use tests::end_to_end::{PATIENCE, until};
use tests::personal::Personal;

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
    stage.signal_nonsense().await;
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
    assert_readable(&stage).await;

    let mut owner = stage.database.owner().await;
    let personal = Personal::of(&mut owner, &[recipients::ANSWER.to_owned()]).await;
    let engines: Vec<String> = sqlx::query_scalar("SELECT DISTINCT engine FROM enrollments")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    assert_eq!(engines, ["temporal"]);

    let stored = stage.judge(serving).await;
    let holds = |text: &str| stored.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    // What is looked for stands there as it is, neither packed nor encoded.
    assert!(holds("lead.v1") && holds("\"enrollment\":"), "nothing was looked at");
    assert_none("told to Temporal", personal.told_in(&stored));
    for text in ["recipients.example", "sender.example"] {
        assert!(!holds(text), "Temporal has stored {text:?}");
    }
}

/// Temporal's own program finds a lead by where it stands, and tells what it did in our words.
async fn assert_readable(stage: &Stage) {
    let campaign = stage.installation.json(&["campaign", "show", CAMPAIGN]).await;
    let campaign = campaign["id"].as_str().unwrap();
    let who_replied =
        format!("MeridianCampaign='{campaign}' AND MeridianState='replied' AND MeridianStep='-'");
    let temporal = &stage.temporal;
    let mut workflow = String::new();
    until(PATIENCE, async || {
        workflow =
            temporal.found(&who_replied).await.into_iter().next().ok_or("nobody is found")?;
        Ok(())
    })
    .await;

    let asked = ["workflow", "query", "--workflow-id", &workflow, "--type", "view"];
    let view = temporal.json(&asked).await;
    let headline = "Finished well: the lead replied";
    assert_eq!(view["queryResult"][0]["headline"], headline, "{view}");
    let metadata = temporal.json(&["workflow", "metadata", "--workflow-id", &workflow]).await;
    assert_eq!(metadata["queryResult"][0]["currentDetails"], headline, "{metadata}");

    // The one above may have been written to before its workflow began anew.
    let mut summaries = Vec::new();
    for workflow in temporal.found("WorkflowType='lead.v1'").await {
        let words = temporal.summaries(&workflow).await.into_iter().map(|(_, summary)| summary);
        summaries.extend(words);
    }
    assert!(summaries.contains(&"second: email".to_owned()), "{summaries:?}");
}
