//! Many leads at once: more than the relay reads at a time, and more than mail may leave for. And one
//! alone, whose mail server takes its time, or that sleeps.

use activities::store::clock;
use serde_json::Value;
use tests::end_to_end::installation::{Installation, Serving};
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::temporal_server::{TemporalServer, engine};
use tests::end_to_end::{PATIENCE, until};

/// The relay reads five hundred at a time.
const MANY: usize = 1_200;

#[tokio::test(flavor = "multi_thread")]
async fn more_leads_than_the_relay_reads_at_a_time_get_their_workflows() {
    let temporal = TemporalServer::start().await;
    let (installation, mut serving) = installed(&temporal, &[]).await;
    let mail_server = MailServer::start(Delays::default()).await;
    installation.begin_one_mail(Some(&mail_server), &leads(MANY), "30 days").await;
    let campaign = shown(&installation).await["id"].as_str().unwrap().to_owned();
    let query = format!("MeridianCampaign='{campaign}' AND ExecutionStatus='Running'");
    let mut owner = installation.database.owner().await;
    until(PATIENCE, async || {
        serving.assert_running();
        let turned = "SELECT count(*) FROM enrollments WHERE turn > 0 AND parked_at IS NULL";
        let turned: i64 = sqlx::query_scalar(turned).fetch_one(&mut owner).await.unwrap();
        let counted = temporal.run(&["workflow", "count", "--query", &query]).await;
        let have_begun = counted.contains(&format!("Total: {MANY}"));
        let have_turned = usize::try_from(turned) == Ok(MANY);
        if have_begun && have_turned { Ok(()) } else { Err(format!("{counted}, {turned} turned")) }
    })
    .await;
    assert!(mail_server.accepted().is_empty(), "it is not time yet");
    assert!(serving.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_leaves_no_faster_than_it_may() {
    let temporal = TemporalServer::start().await;
    let slowly = ("MERIDIAN_TEMPORAL_EMAIL_PER_SECOND", "1");
    let (installation, mut serving) = installed(&temporal, &[slowly]).await;
    let mail_server = MailServer::start(Delays::default()).await;
    installation.begin_one_mail(Some(&mail_server), &leads(8), "0 days").await;
    until(PATIENCE, async || {
        serving.assert_running();
        let accepted = mail_server.accepted().len();
        if accepted == 8 { Ok(()) } else { Err(format!("{accepted} mails")) }
    })
    .await;
    let at: Vec<f64> = mail_server.accepted().iter().map(|accepted| accepted.at).collect();
    let first = at.iter().copied().fold(f64::INFINITY, f64::min);
    let last = at.iter().copied().fold(0.0, f64::max);
    assert!(last - first > 3.0, "eight mails in {:.1} s", last - first);
    assert!(serving.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_long_is_made_once() {
    let temporal = TemporalServer::start().await;
    let (installation, mut serving) = installed(&temporal, &[]).await;
    // Longer than Temporal waits for a heartbeat.
    let mail_server = MailServer::start(Delays { hold: 40_000, ..Delays::default() }).await;
    installation
        .begin_one_mail(Some(&mail_server), "unheard-1@recipients.example\n", "0 days")
        .await;
    installation.finish(&mut serving, 1).await;
    assert_eq!(mail_server.accepted().len(), 1);
    let events = only_history(&temporal, &installation).await;
    let started = |event: &Value| event["activityTaskStartedEventAttributes"]["attempt"].as_u64();
    let attempts: Vec<u64> = events.iter().filter_map(started).collect();
    assert_eq!(attempts, [1], "{events:?}");
    assert!(serving.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_sleeps_is_woken_by_its_timer() {
    let temporal = TemporalServer::start().await;
    let (installation, mut serving) = installed(&temporal, &[]).await;
    // A day is a second.
    let mut owner = installation.database.owner().await;
    clock::set_factor(&mut owner, 86_400.0).await.unwrap();
    let mail_server = MailServer::start(Delays::default()).await;
    installation.begin_one_mail(Some(&mail_server), &leads(1), "10 days").await;
    installation.finish(&mut serving, 1).await;
    let events = only_history(&temporal, &installation).await;
    let count = |kind: &str| events.iter().filter(|event| event["eventType"] == kind).count();
    // The relay pokes it once, to begin; twice if its timer had not fired long after its time.
    assert_eq!(count("EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED"), 1, "{events:?}");
    assert!(count("EVENT_TYPE_TIMER_FIRED") > 0, "{events:?}");
    assert!(serving.terminate().await.success());
}

async fn installed(
    temporal: &TemporalServer,
    settings: &[(&str, &str)],
) -> (Installation, Serving) {
    let installation = Installation::create().await;
    let address = temporal.address();
    let mut serving = installation.serve_with(&[&engine(&address), settings].concat());
    installation.ready(&mut serving).await;
    (installation, serving)
}

fn leads(count: usize) -> String {
    (1..=count).map(|n| format!("lead-{n}@recipients.example\n")).collect()
}

/// The history of the only lead.
async fn only_history(temporal: &TemporalServer, installation: &Installation) -> Vec<Value> {
    let campaign = shown(installation).await["id"].as_str().unwrap().to_owned();
    let query = format!("MeridianCampaign='{campaign}'");
    temporal.events(&temporal.found(&query).await[0]).await
}

async fn shown(installation: &Installation) -> Value {
    installation.json(&["campaign", "show", "spring"]).await
}
