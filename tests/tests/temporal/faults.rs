//! What a person or a power cut does to workflows and workers: rows know what is to be done.

use tests::end_to_end::oracle::{self, assert_none};

use crate::stage::Stage;

const LEADS: u32 = 20;

/// A mailbox has one call open in each process.
const SENDERS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn workflows_that_are_terminated_by_hand_come_back() {
    let (stage, mut serving) = Stage::set(LEADS).await;
    stage.accepted(&mut serving, 10).await;
    let all = "WorkflowType='lead.v1' AND ExecutionStatus='Running'";
    let terminate = ["workflow", "terminate", "--query", all, "--reason", "test", "--yes"];
    let told = stage.temporal.run(&terminate).await;
    stage.tell(&format!("workflows are terminated: {told}"));
    stage.settled(&mut serving).await;
    stage.judge(serving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_lose_nothing_and_send_nothing_twice() {
    let (stage, mut serving) = Stage::set(LEADS).await;
    stage.accepted(&mut serving, 5).await;
    serving.kill().await;
    let mut serving = stage.serve();
    stage.accepted(&mut serving, 15).await;
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
async fn of_two_workers_at_once_one_may_end() {
    let (stage, mut serving) = Stage::set(LEADS).await;
    let beside = stage.work();
    stage.accepted(&mut serving, 15).await;
    assert!(beside.terminate().await.success());
    stage.settled(&mut serving).await;
    let sends = oracle::sends(&stage.database).await;
    assert_none("to be reviewed", oracle::to_review(&sends));
    stage.judge(serving).await;
}
