//! Many leads at once: more than the relay reads at a time, faster than mail may leave, and one among
//! them whose turn fails.

use tests::end_to_end::installation::{Installation, Serving};
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::temporal_server::TemporalServer;
use tests::end_to_end::{PATIENCE, until};

use crate::stage;

/// The relay reads five hundred at a time.
const MANY: usize = 1_200;

/// Why a turn fails, where it does. Nothing of it may reach Temporal.
const CAUSE: &str = "no luck with this one";

#[tokio::test(flavor = "multi_thread")]
async fn more_leads_than_the_relay_reads_at_a_time_get_their_workflows() {
    let temporal = TemporalServer::start().await;
    let (installation, mut serving) = installed(&temporal, &[]).await;
    let mail_server = MailServer::start(Delays::default()).await;
    begin(&installation, &mail_server, MANY, "wait: 30 days").await;
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
    begin(&installation, &mail_server, 8, "wait: 0 days").await;
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
async fn a_lead_whose_turn_fails_is_parked_and_holds_nobody_up() {
    let temporal = TemporalServer::start().await;
    let (installation, mut serving) = installed(&temporal, &[]).await;
    let failing = format!(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
             IF NEW.cause = 'woke' AND EXISTS (
                 SELECT 1 FROM enrollments AS e JOIN addresses AS a USING (workspace_id, lead_id)
                 WHERE e.enrollment_id = NEW.enrollment_id AND a.address LIKE 'lead-3@%')
             THEN RAISE EXCEPTION '{CAUSE}'; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER fails BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION fail();"
    );
    let mut owner = installation.database.owner().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(failing)).execute(&mut owner).await.unwrap();
    let mail_server = MailServer::start(Delays::default()).await;
    begin(&installation, &mail_server, 8, "wait: 0 days").await;
    let mut causes: Vec<String> = Vec::new();
    until(PATIENCE, async || {
        serving.assert_running();
        let finished = shown(&installation).await["states"]["finished"].as_u64();
        let why = "SELECT cause FROM dead_letters WHERE kind = 'enrollment'";
        causes = sqlx::query_scalar(why).fetch_all(&mut owner).await.unwrap();
        let is_done = finished == Some(7) && !causes.is_empty();
        if is_done { Ok(()) } else { Err(format!("{finished:?} finished")) }
    })
    .await;
    assert!(causes.len() == 1 && causes[0].contains(CAUSE), "{causes:?}");
    assert!(serving.terminate().await.success());
    let stored = temporal.stored();
    let told = stored.windows(CAUSE.len()).any(|bytes| bytes == CAUSE.as_bytes());
    assert!(!told, "Temporal was told why");
}

async fn installed(
    temporal: &TemporalServer,
    settings: &[(&str, &str)],
) -> (Installation, Serving) {
    let installation = Installation::create().await;
    let address = temporal.address();
    let mut serving = installation.serve_with(&[&stage::engine(&address), settings].concat());
    installation.ready(&mut serving).await;
    (installation, serving)
}

/// Starts a campaign of one mail for so many leads.
async fn begin(installation: &Installation, mail_server: &MailServer, leads: usize, wait: &str) {
    let url = mail_server.url();
    let sender = ["sender", "add", "one", &url, "--from", "one@sender.example"];
    installation.run(&[&sender[..], &["--spacing", "0 minutes"]].concat()).await;
    let lines: String = (1..=leads).map(|n| format!("lead-{n}@recipients.example\n")).collect();
    let leads = installation.write("leads.csv", &format!("email\n{lines}"));
    installation.run(&["lead", "import", &leads]).await;
    let campaign = format!(
        "name: spring\nzone: UTC\nsenders: [one]\nsteps:\n  - key: intro\n    {wait}\n\
         \x20   email: {{ subject: Hello, body: Hello. }}\n"
    );
    let campaign = installation.write("campaign.yaml", &campaign);
    installation.run(&["campaign", "apply", &campaign]).await;
    installation.run(&["campaign", "start", "spring"]).await;
}

async fn shown(installation: &Installation) -> serde_json::Value {
    installation.json(&["campaign", "show", "spring"]).await
}
