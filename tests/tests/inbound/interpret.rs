//! INTERPRET: what mails mean for those they hold.

use activities::campaign_verb::{self, Verb};
use activities::campaigns;
use activities::ingest::Signalled;
use activities::token::Claim;
use activities::versions::Versions;
use chrono::TimeDelta;
use postgres_runner::{Runner, Settings};
use serde_json::json;

use super::town::{Town, campaign};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

#[tokio::test]
async fn one_reply_is_told_to_both_campaigns_and_belongs_to_one() {
    let mut town = Town::written_to(&[ADA]).await;
    town.start(campaign("autumn")).await;
    town.work().await;
    let send = town.send("spring", ADA, "intro").await;
    let Signalled::Stored { enrollments } = town.replies(ADA, send, "Tell me more").await else {
        panic!("stored")
    };
    assert_eq!(enrollments.len(), 2);
    town.work().await;
    assert_eq!(
        town.signals("spring", ADA).await,
        [json!({ "kind": "replied", "to": "this", "step": "intro" })]
    );
    assert_eq!(town.signals("autumn", ADA).await, [json!({ "kind": "replied", "to": "other" })]);
    assert_eq!(town.state("spring", ADA).await, "replied");
    assert_eq!(town.state("autumn", ADA).await, "replied");
}

#[tokio::test]
async fn a_reply_without_references_is_matched_by_its_token() {
    let mut town = Town::written_to(&[ADA]).await;
    town.start(campaign("autumn")).await;
    town.work().await;
    let send = town.send("spring", ADA, "intro").await;
    let claim = Claim { workspace: town.workspace.uuid(), id: send.uuid() };
    let local = town.room.tokens.reply_local_part(claim);
    // From another address, as an assistant would write.
    town.mail(&format!(
        "From: office@example.com\nTo: {local}@in.meridian.example\n\nYes please\n"
    ))
    .await;
    town.work().await;
    assert_eq!(
        town.signals("spring", ADA).await,
        [json!({ "kind": "replied", "to": "this", "step": "intro" })]
    );
    assert_eq!(town.signals("autumn", ADA).await, [json!({ "kind": "replied", "to": "other" })]);
}

#[tokio::test]
async fn a_reply_with_neither_belongs_to_the_newest_mail_and_is_marked_as_unproven() {
    let mut town = Town::written_to(&[ADA]).await;
    town.after(TimeDelta::hours(1)).await;
    town.start(campaign("autumn")).await;
    town.work().await;
    town.mail("From: Ada <Ada@Example.com>\nSubject: Your offer\n\nSounds good, call me.\n").await;
    town.work().await;
    assert_eq!(
        town.signals("autumn", ADA).await,
        [json!({ "kind": "replied", "to": "this", "step": "intro" })]
    );
    assert_eq!(town.signals("spring", ADA).await, [json!({ "kind": "replied", "to": "other" })]);
    let by = town.one("SELECT DISTINCT refs ->> 'by' FROM signals", &[]).await;
    assert_eq!(by, "sender");
    assert_eq!(town.count("inbound_events WHERE send_id IS NOT NULL").await, 0);
}

#[tokio::test]
async fn a_token_of_another_workspace_proves_nothing() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    let claim = Claim { workspace: uuid::Uuid::from_bytes(rand::random()), id: send.uuid() };
    let local = town.room.tokens.reply_local_part(claim);
    let answer =
        town.mail(&format!("From: x@example.org\nTo: {local}@in.meridian.example\n\nHi\n")).await;
    assert_eq!(answer, Signalled::Unmatched);
}

#[tokio::test]
async fn an_absence_moves_the_next_mail_and_is_no_reply() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    let back_on = (town.now().await + TimeDelta::days(20)).date_naive();
    town.mail(&format!(
        "From: {ADA}\nSubject: Out of office\nAuto-Submitted: auto-replied\n\
         In-Reply-To: <{send}@meridian.example>\n\nI am back on {back_on}.\n"
    ))
    .await;
    town.work().await;
    assert_eq!(
        town.signals("spring", ADA).await,
        [json!({ "kind": "auto_replied", "back_on": back_on.to_string() })]
    );
    town.after(TimeDelta::days(10)).await;
    town.work().await;
    assert_eq!(town.count("sends").await, 1, "nothing is sent to somebody who is away");
    town.after(TimeDelta::days(11)).await;
    town.work().await;
    assert_eq!(town.count("sends").await, 2);
}

#[tokio::test]
async fn a_thousand_automatic_answers_stop_nobody() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    for number in 0..150 {
        town.mail(&format!(
            "From: {ADA}\nSubject: Ticket {number}\nAuto-Submitted: auto-generated\n\
             In-Reply-To: <{send}@meridian.example>\n\nWe got your mail.\n"
        ))
        .await;
    }
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "waiting");
    assert_eq!(town.count("signals WHERE kind = 'auto_replied'").await, 150);
}

#[tokio::test]
async fn a_request_to_stop_is_a_promise_kept() {
    let mut town = Town::written_to(&[ADA, BOB]).await;
    town.start(campaign("autumn")).await;
    town.work().await;
    let send = town.send("spring", ADA, "intro").await;
    town.replies(ADA, send, "Unsubscribe").await;
    town.work().await;
    assert_eq!(town.suppressed().await, [(ADA.to_owned(), "opted_out".to_owned())]);
    assert_eq!(town.state("spring", ADA).await, "opted_out");
    assert_eq!(town.state("autumn", ADA).await, "opted_out");
    assert_eq!(town.state("spring", BOB).await, "waiting");
}

#[tokio::test]
async fn a_request_to_stop_from_somebody_in_no_campaign_is_kept_too() {
    let mut town = Town::new(&[ADA]).await;
    let answer = town.mail(&format!("From: {ADA}\nSubject: unsubscribe\n\n\n")).await;
    assert_eq!(answer, Signalled::Stored { enrollments: vec![] });
    assert_eq!(town.suppressed().await, [(ADA.to_owned(), "opted_out".to_owned())]);
    town.mail(&format!("From: {ADA}\nSubject: Hello\n\nWho are you?\n")).await;
    assert_eq!(town.count("dead_letters WHERE kind = 'unmatched'").await, 1);
    assert_eq!(town.count("inbound_events WHERE processed_at IS NULL").await, 0);
}

fn report(returned: &str, status: &str) -> String {
    format!(
        "From: MAILER-DAEMON@theirs.example\nReturn-Path: <>\nSubject: Undelivered\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\nContent-Type: text/plain\n\nIt did not work.\n\
         --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; theirs.example\n\n\
         Final-Recipient: rfc822; {ADA}\nAction: failed\nStatus: {status}\n\n\
         --b\nContent-Type: message/rfc822\n\nFrom: us@meridian.example\n\
         Message-ID: <{returned}>\n\nHello\n--b--\n"
    )
}

#[tokio::test]
async fn a_report_that_returns_our_mail_is_a_bounce() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    town.mail(&report(&format!("{send}@meridian.example"), "5.1.1")).await;
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "bounced");
    assert_eq!(town.suppressed().await, [(ADA.to_owned(), "hard_bounce".to_owned())]);
}

#[tokio::test]
async fn a_report_that_returns_a_stranger_s_mail_is_ignored() {
    let mut town = Town::written_to(&[ADA]).await;
    let foreign = format!("{}@meridian.example", uuid::Uuid::from_bytes(rand::random()));
    assert_eq!(town.mail(&report(&foreign, "5.1.1")).await, Signalled::Unmatched);
    // Even one that seems to come from the lead.
    let forged = report(&foreign, "5.1.1").replace("MAILER-DAEMON@theirs.example", ADA);
    town.mail(&forged).await;
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "waiting");
    assert!(town.suppressed().await.is_empty());
    assert_eq!(town.count("dead_letters").await, 0);
}

#[tokio::test]
async fn a_report_about_our_own_reputation_is_nobody_s_bounce() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    town.mail(&report(&format!("{send}@meridian.example"), "5.7.1")).await;
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "waiting");
    assert!(town.suppressed().await.is_empty());
}

#[tokio::test]
async fn a_mail_from_a_stranger_waits_for_a_person() {
    let mut town = Town::written_to(&[ADA]).await;
    let answer = town.mail("From: eve@example.org\nSubject: Hello\n\nWho are you?\n").await;
    assert_eq!(answer, Signalled::Unmatched);
    assert_eq!(town.count("dead_letters WHERE kind = 'unmatched'").await, 1);
    town.mail("From: eve@example.org\nSubject: x\nAuto-Submitted: auto-replied\n\nAway.\n").await;
    assert_eq!(town.count("dead_letters").await, 1, "machines write to everybody");
}

#[tokio::test]
async fn a_mail_that_cannot_be_read_five_times_is_a_reply() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    town.replies(ADA, send, "Unsubscribe").await;
    town.run("UPDATE inbound_events SET payload = payload || '\\x00'").await;
    for attempt in 1..=4 {
        assert_eq!(town.interpret().await.failed, 1, "attempt {attempt}");
        assert_eq!(town.count("signals WHERE kind IS NULL").await, 1);
    }
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "replied");
    assert_eq!(town.count("dead_letters WHERE kind = 'event'").await, 1);
    assert_eq!(town.count("inbound_events WHERE dead_at IS NOT NULL").await, 1);
}

#[tokio::test]
async fn two_readers_of_one_mail_tell_once() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    town.replies(ADA, send, "Stop").await;
    let (one, two) = futures::join!(
        activities::interpret::interpret(&town.room, town.workspace),
        activities::interpret::interpret(&town.room, town.workspace)
    );
    assert!(one.unwrap().mails + two.unwrap().mails >= 1);
    town.work().await;
    assert_eq!(town.signals("spring", ADA).await, [json!({ "kind": "opted_out" })]);
    assert_eq!(town.count("suppressions").await, 1);
    assert_eq!(town.count("journal WHERE cause = 'opted_out'").await, 1);
}

#[tokio::test]
async fn a_version_that_cannot_be_read_holds_no_answer_up() {
    let mut town = Town::written_to(&[ADA, BOB]).await;
    let intro = town.send("spring", ADA, "intro").await;
    let other = town.send("spring", BOB, "intro").await;
    town.run("UPDATE sequence_versions SET document = '{}'").await;
    town.room.versions = Versions::default();
    town.replies(ADA, intro, "Tell me more").await;
    assert_eq!(town.interpret().await.mails, 1);
    assert_eq!(
        town.signals("spring", ADA).await,
        [json!({ "kind": "replied", "to": "this", "step": "intro" })]
    );
    let Signalled::Stored { enrollments } = town.hears("clicked", other).await else { panic!() };
    assert_eq!(enrollments.len(), 1);
}

#[tokio::test]
async fn mail_is_read_while_the_leads_of_a_campaign_cannot_be_told() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    town.start(campaign("autumn")).await;
    town.work().await;
    town.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
         AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON enrollments
         FOR EACH ROW WHEN (NEW.verb_seq > OLD.verb_seq) EXECUTE FUNCTION refuse()",
    )
    .await;
    let (store, workspace) = (&town.room.store, town.workspace);
    let autumn = campaigns::by_name(store, workspace, "autumn").await.unwrap().unwrap().id;
    campaign_verb::order(store, workspace, autumn, Verb::Pause, "test").await.unwrap();
    let runner = Runner::start(town.room.clone(), Settings::default()).await.unwrap();
    town.replies(ADA, send, "Tell me more").await;
    town.until("SELECT count(*) = 0 FROM signals WHERE kind IS NULL").await;
    runner.drain().await;
}

#[tokio::test]
async fn what_is_asked_for_and_withdrawn_at_once_is_not_planned() {
    let mut town = Town::new(&[ADA]).await;
    let mut spring = campaign("spring");
    spring["handover"] = json!({
        "to": "team@example.com",
        "triggers": [{ "key": "large", "when": { "attribute": "rooms", "at_least": 20 } }],
    });
    spring["steps"] = json!([
        { "key": "intro", "email": { "subject": "Hello", "body": "Hello there." } },
        { "key": "nudge", "wait": "3 days", "email": { "body": "Still there?" } },
    ]);
    town.start(spring).await;
    town.work().await;
    town.after(TimeDelta::days(4)).await;
    // A turn may read a value before it hears that there is one.
    town.run("UPDATE leads SET attributes = '{\"rooms\": 40}'").await;
    let asks = town.turn().await;
    assert_eq!(asks.len(), 1, "the offer alone");
    assert_eq!(town.state("spring", ADA).await, "offered");
    let nudge = "SELECT effects FROM journal ORDER BY turn DESC LIMIT 1";
    assert!(town.one(nudge, &[]).await.contains("nudge"), "it was asked for");
    assert_eq!(town.count("sends WHERE step_key = 'nudge'").await, 0);
}
