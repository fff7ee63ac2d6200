//! One lead among others that cannot move, and no outage is the cause: it is put out of the way with the
//! cause, and holds nobody up.

use serde_json::Value;
use tests::end_to_end::installation::{Installation, Serving};
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::temporal_server::{Histories, TemporalServer, engine};
use tests::end_to_end::{PATIENCE, until};

/// Why the database refuses, where it does. Nothing of it may reach Temporal.
const CAUSE: &str = "no luck with this one";

/// What the database refuses of the third of eight leads.
#[derive(Debug, Clone, Copy)]
enum Refused {
    Turn,
    Gate,
    Outcome,
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
            Self::Outcome => {
                ["sends", "UPDATE", "NEW.state = 'accepted' AND NEW.address LIKE 'lead-3@%'"]
            }
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

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_cannot_be_written_holds_no_other_up() {
    assert_others_finish(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_cannot_be_written_holds_no_other_lead_of_temporal_up() {
    let temporal = TemporalServer::start().await;
    assert_others_finish(&engine(&temporal.address())).await;
}

/// Eight leads of a campaign of one mail, under way.
struct Eight {
    installation: Installation,
    serving: Serving,
    mail_server: MailServer,
}

impl Eight {
    async fn set(refused: Refused, settings: &[(&str, &str)]) -> Self {
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
        installation.begin_one_mail(Some(&mail_server), &leads, "0 days").await;
        Self { installation, serving, mail_server }
    }

    /// Waits until so many have finished.
    async fn finish(&mut self, count: u64) {
        self.installation.finish(&mut self.serving, count).await;
    }

    /// Waits until something is given up, and returns what.
    async fn dead_letters(&mut self) -> Vec<Value> {
        let mut letters = Vec::new();
        until(PATIENCE, async || {
            self.serving.assert_running();
            let mut listed = self.installation.json(&["dead-letter", "list"]).await;
            letters = serde_json::from_value(listed["dead_letters"].take()).unwrap();
            if letters.is_empty() { Err("nothing is given up".to_owned()) } else { Ok(()) }
        })
        .await;
        letters
    }
}

async fn assert_others_finish(settings: &[(&str, &str)]) {
    let mut eight = Eight::set(Refused::Outcome, settings).await;
    eight.finish(7).await;
    // The one that cannot be written down may be the last to leave.
    until(PATIENCE, async || {
        eight.serving.assert_running();
        match eight.mail_server.accepted().len() {
            accepted if accepted < 8 => Err(format!("{accepted} of 8 have left")),
            _ => Ok(()),
        }
    })
    .await;
    assert!(eight.serving.terminate().await.success());
    assert_eq!(eight.mail_server.accepted().len(), 8);
}

async fn assert_parked_of_temporal(refused: Refused) {
    let temporal = TemporalServer::of_its_own(Histories::Long).await;
    assert_parked(refused, &engine(&temporal.address())).await;
    temporal.replay_histories().await;
    let stored = temporal.stored();
    let holds = |text: &str| stored.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds("lead.v1"), "nothing was looked at");
    assert!(!holds(CAUSE), "Temporal was told why");
}

async fn assert_parked(refused: Refused, settings: &[(&str, &str)]) {
    let mut eight = Eight::set(refused, settings).await;
    eight.finish(7).await;
    let letters = eight.dead_letters().await;
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert!(letter["cause"].as_str().unwrap().contains(CAUSE), "{letter}");
    let mut owner = eight.installation.database.owner().await;
    let failures = "SELECT failures FROM enrollments WHERE parked_at IS NOT NULL";
    let failures: i16 = sqlx::query_scalar(failures).fetch_one(&mut owner).await.unwrap();
    assert_eq!(failures, 5);

    // The cause is mended, and somebody has it tried again.
    let [table, ..] = refused.terms();
    let mended = format!("DROP TRIGGER refuses ON {table}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(mended)).execute(&mut owner).await.unwrap();
    let id = letter["id"].as_str().unwrap();
    eight.installation.run(&["dead-letter", "retry", id]).await;
    eight.finish(8).await;
    assert_eq!(eight.mail_server.accepted().len(), 8);
    assert!(eight.serving.terminate().await.success());
    eight.installation.run(&["verify"]).await;
}
