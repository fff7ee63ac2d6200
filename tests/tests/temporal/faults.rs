//! What a person or a power cut does to workflows and workers: rows know what is to be done.

use tests::end_to_end::oracle::{self, assert_none};
use tests::end_to_end::provider::{self, Manner, Provider};
use tests::end_to_end::recipients::{self, Mail};
use tests::end_to_end::{PATIENCE, until};

use crate::stage::Stage;

/// As many as are in the middle of something when a process is killed.
const LEADS: u32 = 200;

const FEW: u32 = 20;

/// A day of the campaign is a second.
const TWO_MINUTES: i64 = 120;

/// A mailbox has one call open in each process.
const SENDERS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn workflows_that_are_terminated_by_hand_come_back() {
    let (stage, mut serving) = Stage::set(FEW).await;
    stage.accepted(&mut serving, 10).await;
    let all = "WorkflowType='lead.v1' AND ExecutionStatus='Running'";
    let terminate = ["workflow", "terminate", "--query", all, "--reason", "test", "--yes"];
    stage.temporal.run(&terminate).await;
    until(PATIENCE, async || {
        let terminated = stage.count("ExecutionStatus='Terminated'").await;
        if terminated.contains("Total: 0") { Err(terminated) } else { Ok(()) }
    })
    .await;
    stage.tell("workflows are terminated");
    stage.settled(&mut serving).await;
    stage.judge(serving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_lose_nothing_and_send_nothing_twice() {
    let (stage, mut serving) = Stage::set(LEADS).await;
    stage.accepted(&mut serving, 60).await;
    serving.kill().await;
    let mut serving = stage.serve();
    stage.accepted(&mut serving, 180).await;
    serving.kill().await;
    let mut serving = stage.serve();
    stage.settled(&mut serving).await;
    let sends = oracle::sends(&stage.database).await;
    let flagged = oracle::to_review(&sends);
    assert!(flagged.len() <= 2 * SENDERS, "{flagged:?}");
    stage.installation.review(&stage.mail_server).await;
    stage.settled(&mut serving).await;
    stage.judge(serving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_away_for_two_minutes_loses_no_stop() {
    let (mut stage, mut serving) = Stage::set(LEADS).await;
    stage.accepted(&mut serving, LEADS as usize / 2).await;
    let mut firsts = Vec::new();
    until(PATIENCE, async || {
        firsts = stage.first_mails_of_who_opts_out();
        if firsts.is_empty() { Err("nobody may opt out early".to_owned()) } else { Ok(()) }
    })
    .await;
    stage.temporal.kill().await;
    for first in &firsts {
        provider::deliver(&Provider::one_click(first), Manner::Once).await;
    }
    stage.tell(&format!("Temporal is away, and {} opt out", firsts.len()));
    stage.days_pass(TWO_MINUTES).await;
    stage.temporal.start_again().await;
    stage.tell("Temporal is back");
    stage.settled(&mut serving).await;
    let later = stage.mail_server.accepted();
    let later = later.iter().filter(|one| firsts.iter().any(|first| first.to == one.to));
    assert_none("sent after a stop", later.filter(|one| recipients::mail(one) != Mail::First));
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(&stage.database).await));
    stage.judge(serving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_build_goes_on_with_leads_in_flight() {
    let (mut stage, mut serving) = Stage::set(FEW).await;
    stage.accepted(&mut serving, 15).await;
    stage.installation.build_anew();
    // For a while both work.
    let beside = stage.work();
    stage.accepted(&mut serving, 25).await;
    assert!(serving.terminate().await.success());
    let mut serving = stage.serve();
    stage.accepted(&mut serving, 35).await;
    assert!(beside.terminate().await.success());
    stage.settled(&mut serving).await;
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(&stage.database).await));
    stage.judge(serving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_processes_that_share_the_leads_two_may_end() {
    let (stage, mut serving) = Stage::set(FEW).await;
    let beside = [stage.serve_elsewhere(), stage.work(), stage.work()];
    stage.accepted(&mut serving, 15).await;
    let [another, worker, mut last] = beside;
    assert!(worker.terminate().await.success());
    stage.accepted(&mut serving, 30).await;
    assert!(another.terminate().await.success());
    stage.settled(&mut serving).await;
    last.assert_running();
    assert!(last.terminate().await.success());
    let sends = oracle::sends(&stage.database).await;
    assert_none("to be reviewed", oracle::to_review(&sends));
    stage.judge(serving).await;
}
