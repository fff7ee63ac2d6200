//! A campaign that moves between engines while its leads are under way.

use std::collections::HashMap;

use tests::end_to_end::installation::{Installation, Serving};
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none};
use tests::end_to_end::proxy::{Losses, Lost, Proxy, Then};
use tests::end_to_end::temporal_server::{TemporalServer, engine};
use tests::end_to_end::{PATIENCE, until};

use crate::stage::{CAMPAIGN, Stage};

const LEADS: u32 = 20;

/// As many as one transaction moves.
const PAGE: u32 = 500;

/// Those that are left when a move of all is killed after its first transaction.
const REST: u32 = 60;

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
async fn a_move_that_is_killed_half_way_is_repeated_with_leads_in_flight() {
    let (stage, mut serving) = Stage::set(PAGE + REST).await;
    // Drives whoever is on Postgres.
    let beside = stage.installation.work();
    stage.accepted(&mut serving, 100).await;
    for (from, to) in [("temporal", "postgres"), ("postgres", "temporal")] {
        kill_half_way(&stage, to).await;
        assert_eq!(driven(&stage, [from, to]).await, [REST, PAGE]);
        each_sends(&stage, &mut serving).await;
        assert_eq!(driven(&stage, [from, to]).await, [REST, PAGE]);
        let moved = stage.installation.json(&["engine", "move", "--to", to, CAMPAIGN]).await;
        assert_eq!(moved["leads"], REST, "{moved}");
        assert_eq!(driven(&stage, [from, to]).await, [0, PAGE + REST]);
    }
    stage.settled(&mut serving).await;
    assert_eq!(driven(&stage, ["postgres", "temporal"]).await, [0, PAGE + REST]);
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(&stage.database).await));
    assert!(beside.terminate().await.success());
    stage.judge(serving).await;
}

/// Begins to move everybody to an engine, and kills whoever does it when the first of them are moved,
/// before it hears of it.
async fn kill_half_way(stage: &Stage, to: &str) {
    let (lost, then) = (Lost::Answer, Then::Silence);
    let losses = Losses::First { changing: "enrollments", lost, then };
    let proxy = Proxy::start(&stage.database.url, losses).await;
    let command = ["engine", "move", "--to", to, CAMPAIGN];
    let moving = stage.installation.start_through(proxy.url(), &command);
    let struck = tokio::time::timeout(PATIENCE, proxy.struck()).await;
    assert!(struck.is_ok(), "nobody is moved");
    moving.kill().await;
    stage.tell(&format!("the move to {to} is killed"));
}

/// Returns how many leads each engine drives.
async fn driven(stage: &Stage, engines: [&str; 2]) -> [u32; 2] {
    let query = "SELECT engine, count(*) FROM enrollments GROUP BY engine";
    let mut owner = stage.database.owner().await;
    let driven: HashMap<String, i64> =
        sqlx::query_as(query).fetch_all(&mut owner).await.unwrap().into_iter().collect();
    engines.map(|engine| driven.get(engine).map_or(0, |count| u32::try_from(*count).unwrap()))
}

/// Waits until more mails than now have left to leads of each engine, or none of its leads is left.
async fn each_sends(stage: &Stage, serving: &mut Serving) {
    let before = sent(stage).await;
    until(PATIENCE, async || {
        serving.assert_running();
        let sent = sent(stage).await;
        let mut both = sent.iter().zip(&before);
        let all = both.all(|((_, now, open), (_, then, _))| now > then || *open == 0);
        if all { Ok(()) } else { Err(format!("{before:?}, then {sent:?}")) }
    })
    .await;
    stage.tell("both engines send");
}

/// An engine, how many mails have left to its leads, and how many of these are under way.
type Sent = (String, i64, i64);

async fn sent(stage: &Stage) -> [Sent; 2] {
    let query = "SELECT engine, sum(mails)::bigint, count(*) FILTER (WHERE ended_at IS NULL)
                 FROM enrollments AS e, LATERAL (
                     SELECT count(*) AS mails FROM sends AS s
                     WHERE s.workspace_id = e.workspace_id AND s.enrollment_id = e.enrollment_id
                         AND s.state = 'accepted') AS of_one
                 GROUP BY engine ORDER BY engine";
    let mut owner = stage.database.owner().await;
    let sent: Vec<Sent> = sqlx::query_as(query).fetch_all(&mut owner).await.unwrap();
    sent.try_into().expect("leads of both engines")
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
