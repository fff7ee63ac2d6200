//! What Temporal's own program tells whoever operates it: which leads there are, by whose they are and
//! where they stand.

use std::collections::BTreeSet;

use machine::ids::{EnrollmentId, WorkspaceId};
use temporal_runner::workflow_id;
use tests::end_to_end::installation::Installation;
use tests::end_to_end::temporal_server::{TemporalServer, engine};
use tests::end_to_end::{PATIENCE, until};
use uuid::Uuid;

/// Has sent one mail when it waits for days.
const TWO_MAILS: &str = "
name: two-mails
senders: [one]
zone: Europe/Lisbon
steps:
  - { key: intro, email: { subject: Hello, body: Hello. } }
  - { key: nudge, wait: 10 days, email: { body: Hello again. } }
";

const ONE_MAIL: &str = "
name: one-mail
senders: [one]
zone: UTC
steps: [{ key: intro, wait: 30 days, email: { subject: Hello, body: Hello. } }]
";

/// A lead, as rows tell it.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
struct Lead {
    workspace_id: Uuid,
    campaign_id: Uuid,
    enrollment_id: Uuid,
    state: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_are_found_by_workspace_campaign_and_state() {
    let temporal = TemporalServer::start().await;
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(&engine(&temporal.address()));
    installation.ready(&mut serving).await;
    installation.run(&["workspace", "add", "harbour"]).await;
    let people = "email\nada@recipients.example\ngrace@recipients.example\n";
    let people = installation.write("leads.csv", people);
    let two_mails = installation.write("two-mails.yaml", TWO_MAILS);
    let one_mail = installation.write("one-mail.yaml", ONE_MAIL);
    let sender = [
        "sender",
        "add",
        "one",
        "capture:",
        "--from",
        "one@sender.example",
        "--spacing",
        "0 minutes",
    ];
    let with_one_mail: [&[&str]; 4] = [
        &sender,
        &["lead", "import", &people],
        &["campaign", "apply", &one_mail],
        &["campaign", "start", "one-mail"],
    ];
    for command in with_one_mail {
        installation.run(command).await;
        installation.run(&[&["--workspace", "harbour"], command].concat()).await;
    }
    installation.run(&["campaign", "apply", &two_mails]).await;
    installation.run(&["campaign", "start", "two-mails"]).await;
    // The first mail of two has left.
    let queued = ["queued"; 4];
    stand(&installation, &[&queued[..], &["waiting", "waiting"]].concat()).await;
    let pause = ["enrollment", "signal", "grace@recipients.example", "pause"];
    installation.run(&[&pause[..], &["--campaign", "two-mails"]].concat()).await;
    let leads = stand(&installation, &[&["paused"], &queued[..], &["waiting"]].concat()).await;

    for of in &leads {
        let workspace = format!("MeridianWorkspace='{}'", of.workspace_id);
        let campaign = format!("MeridianCampaign='{}'", of.campaign_id);
        let state = format!("{workspace} AND MeridianState='{}'", of.state);
        let expect = async |query, is_meant: &dyn Fn(&Lead) -> bool| {
            let meant = leads.iter().filter(|lead| is_meant(lead)).map(workflow).collect();
            is_found(&temporal, query, &meant).await;
        };
        expect(&workspace, &|lead| lead.workspace_id == of.workspace_id).await;
        expect(&campaign, &|lead| lead.campaign_id == of.campaign_id).await;
        let is_beside =
            |lead: &Lead| lead.workspace_id == of.workspace_id && lead.state == of.state;
        expect(&state, &is_beside).await;
    }
    assert!(serving.terminate().await.success());
}

/// Waits until leads stand so, in the order of words. Returns them.
async fn stand(installation: &Installation, states: &[&str]) -> Vec<Lead> {
    let mut owner = installation.database.owner().await;
    let mut leads = Vec::new();
    until(PATIENCE, async || {
        let query = "SELECT workspace_id, campaign_id, enrollment_id, state FROM enrollments ORDER BY state";
        leads = sqlx::query_as::<_, Lead>(query).fetch_all(&mut owner).await.unwrap();
        let found: Vec<&str> = leads.iter().map(|lead| lead.state.as_str()).collect();
        if found == states { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    leads
}

fn workflow(lead: &Lead) -> String {
    workflow_id(WorkspaceId::new(lead.workspace_id), EnrollmentId::new(lead.enrollment_id))
}

/// Waits until a query finds these workflows and no other.
async fn is_found(temporal: &TemporalServer, query: &str, meant: &BTreeSet<String>) {
    until(PATIENCE, async || {
        let listed = temporal.json(&["workflow", "list", "--query", query]).await;
        let ids = listed.as_array().unwrap().iter();
        let ids = ids.map(|it| it["execution"]["workflowId"].as_str().unwrap().to_owned());
        let found: BTreeSet<String> = ids.collect();
        if found == *meant { Ok(()) } else { Err(format!("{query}: {found:?}, not {meant:?}")) }
    })
    .await;
}
