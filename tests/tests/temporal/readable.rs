//! What Temporal's own program tells whoever operates it: which leads there are, by whose they are and
//! where they stand, and what each does, in our words.

use std::collections::BTreeSet;

use activities::store::clock;
use chrono::TimeDelta;
use chrono_tz::Europe::Lisbon;
use machine::ids::{EnrollmentId, WorkspaceId};
use temporal_runner::workflow_id;
use tests::end_to_end::installation::Installation;
use tests::end_to_end::temporal_server::{TemporalServer, engine};
use tests::end_to_end::{PATIENCE, until};
use uuid::Uuid;

/// Waits for days when its first mail has left.
const TWO_MAILS: &str = "
name: two-mails
senders: [one]
zone: Europe/Lisbon
steps:
  - { key: intro, email: { subject: Hello, body: Hello. } }
  - { key: nudge, wait: 10 days, email: { body: Hello again. } }
";

/// Waits for its window, on a day to be filled in.
const ONE_MAIL: &str = "
name: one-mail
senders: [one]
zone: Europe/Lisbon
windows: [{ days: [DAY], from: 09:10, to: 17:00 }]
steps: [{ key: intro, email: { subject: Hello, body: Hello. } }]
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
async fn leads_are_found_by_where_they_stand_and_tell_what_they_do() {
    let temporal = TemporalServer::start().await;
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(&engine(&temporal.address()));
    installation.ready(&mut serving).await;
    let day = begin(&installation).await;
    let queued = ["queued"; 4];
    // Of two mails the first has left.
    stand(&installation, &[&queued[..], &["waiting", "waiting"]].concat()).await;
    let pause = ["enrollment", "signal", "grace@recipients.example", "pause"];
    installation.run(&[&pause[..], &["--campaign", "two-mails"]].concat()).await;
    let leads = stand(&installation, &[&["paused"], &queued[..], &["waiting"]].concat()).await;

    for of in &leads {
        let beside = |is_beside: &dyn Fn(&Lead) -> bool| {
            leads.iter().filter(|lead| is_beside(lead)).map(workflow).collect()
        };
        let workspace = format!("MeridianWorkspace='{}'", of.workspace_id);
        let meant = beside(&|lead| lead.workspace_id == of.workspace_id);
        are_found(&temporal, &workspace, &meant).await;
        let campaign = format!("MeridianCampaign='{}'", of.campaign_id);
        let meant = beside(&|lead| lead.campaign_id == of.campaign_id);
        are_found(&temporal, &campaign, &meant).await;
        let state = format!("{workspace} AND MeridianState='{}'", of.state);
        let meant = beside(&|it| it.workspace_id == of.workspace_id && it.state == of.state);
        are_found(&temporal, &state, &meant).await;
    }

    let (workflow, waits) = of_ada(&installation, &leads, "one-mail").await;
    let opens =
        format!("Waits until {day} 09:10 in Lisbon to send `intro`: outside the sending window");
    assert_eq!(waits, opens);
    has_begun(&temporal, &workflow, &[timer(&waits)]).await;
    let (workflow, waits) = of_ada(&installation, &leads, "two-mails").await;
    let waited = " in Lisbon to send `nudge`: 10 days after the step before";
    assert!(waits.ends_with(waited), "{waits}");
    has_begun(&temporal, &workflow, &[activity("intro: email"), timer(&waits)]).await;
    assert!(serving.terminate().await.success());
}

/// Starts both campaigns, and one of them in another workspace too, for the same two people. Returns the
/// day of the window.
async fn begin(installation: &Installation) -> String {
    let mut owner = installation.database.owner().await;
    let today = clock::read(&mut owner).await.unwrap().campaign.with_timezone(&Lisbon);
    let day = (today + TimeDelta::days(3)).format("%a").to_string();
    let people = "email\nada@recipients.example\ngrace@recipients.example\n";
    let people = installation.write("leads.csv", people);
    let one_mail = ONE_MAIL.replace("DAY", &day.to_lowercase());
    let one_mail = installation.write("one-mail.yaml", &one_mail);
    let two_mails = installation.write("two-mails.yaml", TWO_MAILS);
    let sender = ["sender", "add", "one", "capture:", "--from", "one@sender.example"];
    installation.run(&["workspace", "add", "harbour"]).await;
    for workspace in ["harbour", "default"] {
        for command in [
            &[&sender[..], &["--spacing", "0 minutes"]].concat()[..],
            &["lead", "import", &people],
            &["campaign", "apply", &one_mail],
            &["campaign", "start", "one-mail"],
        ] {
            installation.run(&[&["--workspace", workspace], command].concat()).await;
        }
    }
    installation.run(&["campaign", "apply", &two_mails]).await;
    installation.run(&["campaign", "start", "two-mails"]).await;
    day
}

/// Waits until leads that were looked at stand so, in the order of words. Returns them.
async fn stand(installation: &Installation, states: &[&str]) -> Vec<Lead> {
    let query = "SELECT workspace_id, campaign_id, enrollment_id, state FROM enrollments
                 WHERE turn > 0 ORDER BY state";
    let mut owner = installation.database.owner().await;
    let mut leads = Vec::new();
    until(PATIENCE, async || {
        leads = sqlx::query_as::<_, Lead>(query).fetch_all(&mut owner).await.unwrap();
        let found: Vec<&str> = leads.iter().map(|lead| lead.state.as_str()).collect();
        if found == states { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    leads
}

/// Returns Ada's workflow in a campaign, and what we say that she waits for.
async fn of_ada(installation: &Installation, leads: &[Lead], campaign: &str) -> (String, String) {
    let show = ["enrollment", "show", "ada@recipients.example", "--campaign", campaign];
    let shown = installation.json(&show).await;
    let is_hers = |lead: &&Lead| shown["id"] == lead.enrollment_id.to_string();
    let hers = leads.iter().find(is_hers).unwrap();
    (workflow(hers), shown["plan"]["headline"].as_str().unwrap().to_owned())
}

fn workflow(lead: &Lead) -> String {
    workflow_id(WorkspaceId::new(lead.workspace_id), EnrollmentId::new(lead.enrollment_id))
}

/// Waits until a query finds these workflows and no other.
async fn are_found(temporal: &TemporalServer, query: &str, meant: &BTreeSet<String>) {
    until(PATIENCE, async || {
        let found: BTreeSet<String> = temporal.found(query).await.into_iter().collect();
        if found == *meant { Ok(()) } else { Err(format!("{query}: {found:?}, not {meant:?}")) }
    })
    .await;
}

/// Waits until a workflow has begun this and nothing else, told in these words.
async fn has_begun(temporal: &TemporalServer, workflow: &str, meant: &[(String, String)]) {
    until(PATIENCE, async || {
        let begun = temporal.summaries(workflow).await;
        if begun == meant { Ok(()) } else { Err(format!("{begun:?}, not {meant:?}")) }
    })
    .await;
}

fn timer(summary: &str) -> (String, String) {
    ("EVENT_TYPE_TIMER_STARTED".to_owned(), summary.to_owned())
}

fn activity(summary: &str) -> (String, String) {
    ("EVENT_TYPE_ACTIVITY_TASK_SCHEDULED".to_owned(), summary.to_owned())
}
