//! One lead among others that cannot move, and no outage is the cause: it is put out of the way with the
//! cause, and holds nobody up.

use serde_json::{Value, json};
use tests::end_to_end::installation::Installation;
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::temporal_server::{TemporalServer, engine};
use tests::end_to_end::{PATIENCE, until};

/// Why the database refuses, where it does. Nothing of it may reach Temporal.
const CAUSE: &str = "no luck with this one";

/// What the database refuses of the third of eight leads.
#[derive(Debug, Clone, Copy)]
enum Refused {
    Turn,
    Gate,
}

impl Refused {
    /// The table, what is done to it, and when that is refused.
    fn terms(self) -> [&'static str; 3] {
        match self {
            Self::Turn => [
                "journal",
                "INSERT",
                "NEW.cause = 'woke' AND EXISTS (
                     SELECT 1 FROM enrollments AS e JOIN addresses AS a USING (workspace_id, lead_id)
                     WHERE e.enrollment_id = NEW.enrollment_id AND a.address LIKE 'lead-3@%')",
            ],
            Self::Gate => [
                "sends",
                "UPDATE",
                "NEW.state = 'dispatching' AND NEW.address LIKE 'lead-3@%'",
            ],
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_whose_turn_fails_is_parked() {
    assert_parked(Refused::Turn, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_whose_message_fails_at_the_gate_is_parked() {
    assert_parked(Refused::Gate, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_of_temporal_whose_turn_fails_is_parked() {
    assert_parked_of_temporal(Refused::Turn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_of_temporal_whose_message_fails_at_the_gate_is_parked() {
    assert_parked_of_temporal(Refused::Gate).await;
}

async fn assert_parked_of_temporal(refused: Refused) {
    let temporal = TemporalServer::start().await;
    assert_parked(refused, &engine(&temporal.address())).await;
    let stored = temporal.stored();
    let told = stored.windows(CAUSE.len()).any(|bytes| bytes == CAUSE.as_bytes());
    assert!(!told, "Temporal was told why");
}

async fn assert_parked(refused: Refused, settings: &[(&str, &str)]) {
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(settings);
    installation.ready(&mut serving).await;
    let [table, act, terms] = refused.terms();
    let refusing = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
             IF {terms} THEN RAISE EXCEPTION '{CAUSE}'; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER refuses BEFORE {act} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse();"
    );
    let mut owner = installation.database.owner().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(refusing)).execute(&mut owner).await.unwrap();
    let mail_server = MailServer::start(Delays::default()).await;
    let leads: String = (1..=8).map(|n| format!("lead-{n}@recipients.example\n")).collect();
    installation.begin_one_mail(&mail_server, &leads, "0 days").await;
    let shown = async || installation.json(&["campaign", "show", "spring"]).await;
    let mut letters = Value::Null;
    until(PATIENCE, async || {
        serving.assert_running();
        let finished = shown().await["states"]["finished"].as_u64();
        letters = installation.json(&["dead-letter", "list"]).await["dead_letters"].take();
        let is_done = finished == Some(7) && letters != json!([]);
        if is_done { Ok(()) } else { Err(format!("{finished:?} finished, parked: {letters}")) }
    })
    .await;
    let [letter] = &letters.as_array().unwrap()[..] else { panic!("{letters}") };
    assert!(letter["cause"].as_str().unwrap().contains(CAUSE), "{letter}");

    // The cause is mended, and somebody has it tried again.
    let mended = format!("DROP TRIGGER refuses ON {table}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(mended)).execute(&mut owner).await.unwrap();
    installation.run(&["dead-letter", "retry", letter["id"].as_str().unwrap()]).await;
    until(PATIENCE, async || {
        serving.assert_running();
        let finished = shown().await["states"]["finished"].as_u64();
        if finished == Some(8) { Ok(()) } else { Err(format!("{finished:?} finished")) }
    })
    .await;
    assert_eq!(mail_server.accepted().len(), 8);
    assert!(serving.terminate().await.success());
    installation.run(&["verify"]).await;
}
