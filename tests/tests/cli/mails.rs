//! Reading at the terminal what went out and what came in.

use std::sync::Arc;
use std::time::Duration;

use activities::inbound::Envelope;
use activities::ingest::{self, NewEvent, Provider};
use activities::key_ring::KeyRing;
use activities::mailroom::Mailroom;
use activities::store::clock;
use postgres_runner::{Runner, Settings};

use crate::desk::Desk;

const SPRING: &str = "\
name: spring
zone: UTC
reply: { rule: stop }
steps:
  - { key: intro, email: { subject: Hello, body: How many of you are there? } }
  - { key: nudge, wait: 3 days, email: { body: Still there? } }
";

/// What hands over in the next version.
const TEAM: &str = "senders: [capture]\nhandover: { to: team@example.com }\n";

/// A desk beside which an engine runs, and the room it works in.
async fn with_engine() -> (Desk, Mailroom, Runner) {
    let desk = Desk::new().await;
    let leads = desk.file("leads.csv", "email\nann@example.com\n");
    desk.types(&format!("lead import {leads}")).await.well();
    let file = desk.file("spring.yaml", SPRING);
    desk.types(&format!("campaign apply {file}")).await.well();
    desk.types("campaign start spring").await.well();
    let keys = Arc::new(KeyRing::load_or_create(&desk.place.path().join("key")).unwrap());
    let url = "https://mail.example.com/".parse().unwrap();
    let room = Mailroom::new(desk.store.clone(), keys, url, None, uuid::Uuid::nil());
    let runner = Runner::start(room.clone(), Settings::default()).await.unwrap();
    (desk, room, runner)
}

async fn until(desk: &mut Desk, sql: &'static str) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while desk.count(sql).await == 0 {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came true: {sql}"));
}

async fn comes_in(room: &Mailroom, desk: &mut Desk, key: &str, raw: &str) {
    let now = clock::read(&mut desk.owner).await.unwrap().campaign;
    let (raw, envelope) = (raw.replace('\n', "\r\n"), Envelope::default());
    let (capture, key) = (Provider::Capture, key.to_owned());
    let workspace = desk.workspace;
    let event = NewEvent::of_raw_mail(room, workspace, capture, key, raw.as_bytes(), envelope, now);
    ingest::signal(room, workspace, event).await.unwrap();
}

#[tokio::test]
async fn what_was_written_and_answered_is_read_in_its_order() {
    let (mut desk, room, runner) = with_engine().await;
    until(&mut desk, "SELECT count(*) FROM sends WHERE state = 'accepted'").await;
    let mail = "From: Ann <ann@example.com>\nSubject: Re: Hello\n\nSeven of us.\x1b[2J\n\n\
                On 2 Mar 2026, at 10:00, Us\n<us@x.org> wrote:\n> How many of you are there?\n";
    comes_in(&room, &mut desk, "one", mail).await;
    until(&mut desk, "SELECT count(*) FROM signals WHERE kind = 'replied'").await;
    runner.drain().await;

    let told = desk.types("enrollment mails ann@example.com").await.well();
    let parts = [
        "`intro` to ann@example.com\n  Hello\n\n    How many of you are there?\n",
        "replied to `intro`, from ann@example.com (it names no mail of ours",
        "\n  Re: Hello\n\n    Seven of us.[2J\n",
    ];
    let mut rest = told.as_str();
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not in:\n{told}"));
        rest = &rest[at..];
    }
    let json = desk.types("enrollment mails ann@example.com --json").await.json();
    let directions = json["mails"].as_array().unwrap().iter().map(|mail| &mail["direction"]);
    assert_eq!(directions.collect::<Vec<_>>(), ["sent", "received"]);
    assert_eq!(json["mails"][1]["read"]["text"], "Seven of us.[2J");
}

#[tokio::test]
async fn what_the_team_was_told_is_read_too() {
    let (mut desk, _, runner) = with_engine().await;
    until(&mut desk, "SELECT count(*) FROM sends WHERE state = 'accepted'").await;
    let file = desk.file("spring.yaml", &format!("{SPRING}{TEAM}"));
    desk.types(&format!("campaign apply {file}")).await.well();
    desk.types("enrollment move ann@example.com").await.well();
    desk.types("enrollment signal ann@example.com hand-over").await.well();
    let sql = "SELECT count(*) FROM sends WHERE state = 'accepted' AND kind = 'handover'";
    until(&mut desk, sql).await;
    runner.drain().await;
    let told = desk.types("enrollment mails ann@example.com").await.well();
    assert!(told.contains("  to the team\n  ann@example.com needs you (spring)\n"), "{told}");
    let list = desk.types("handover list").await.well();
    assert!(list.contains("a person asked"), "{list}");
    let shown = desk.types("enrollment show ann@example.com").await.well();
    assert!(shown.contains("a person asked for a handover"), "{shown}");
}

#[tokio::test]
async fn a_mail_without_a_lead_can_be_read_before_it_is_put_aside() {
    let (mut desk, room, runner) = with_engine().await;
    let mail =
        "From: eve@example.org\nSubject: Your mail to Ann\n\nAnn has left us. Write to me.\n";
    comes_in(&room, &mut desk, "two", mail).await;
    runner.drain().await;
    let list = desk.types("dead-letter list --json").await.json();
    let id = list["dead_letters"][0]["id"].as_str().unwrap();
    let told = desk.types(&format!("dead-letter show {id}")).await.well();
    for part in ["eve@example.org", "Your mail to Ann", "    Ann has left us. Write to me."] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
    desk.types(&format!("dead-letter dismiss {id}")).await.well();
    let error = desk.types(&format!("dead-letter show {id}")).await.error();
    assert!(error.contains("there is no such dead letter"), "{error}");
}

#[tokio::test]
async fn of_a_mail_in_doubt_every_view_says_that_a_person_must_decide() {
    let (mut desk, _, runner) = with_engine().await;
    until(&mut desk, "SELECT count(*) FROM sends WHERE state = 'accepted'").await;
    runner.drain().await;
    assert_eq!(desk.types("sender list --json").await.json()["senders"][0]["sent_today"], 1);
    for sql in [
        // As it was before its provider answered, but for the journal.
        "UPDATE sends SET state = 'needs_review', detail = 'lost at the end of the data'",
        "INSERT INTO reviews (workspace_id, send_id) SELECT workspace_id, send_id FROM sends",
        "UPDATE enrollments SET state = 'sending', snapshot = convert_to(jsonb_set(jsonb_set(
             convert_from(snapshot, 'UTF8')::jsonb, '{state}', jsonb_build_object(
                 'state', 'dispatching', 'step', 'intro', 'effect',
                 (SELECT jsonb_build_object('send', send_id, 'attempt', 1) FROM sends))),
             '{data,open}', (SELECT jsonb_build_array(jsonb_build_object('step', 'intro', 'id',
                 jsonb_build_object('send', send_id, 'attempt', 1))) FROM sends))::text, 'UTF8')",
    ] {
        sqlx::raw_sql(sql).execute(&mut desk.owner).await.unwrap();
    }
    let told = desk.types("enrollment show ann@example.com").await.well();
    for part in [
        "Nobody knows whether `intro` went out: a person must look, and say",
        "it went out:  meridian review sent ",
        "it did not:   meridian review again ",
        "wakes on  review",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("Is sending"), "{told}");
    let told = desk.types("campaign show spring").await.well();
    assert!(told.contains("of 1 message nobody knows whether it went out"), "{told}");
    assert!(told.contains("`meridian review list`"), "{told}");
    assert_eq!(desk.types("campaign show spring --json").await.json()["in_doubt"], 1);
    let told = desk.types("doctor").await.out;
    assert!(told.contains("of 1 message nobody knows whether it went out"), "{told}");

    let list = desk.types("review list --json").await.json();
    let send = list["reviews"][0]["id"].as_str().unwrap().to_owned();
    desk.types(&format!("review again {send}")).await.well();
    let told = desk.types("enrollment show ann@example.com").await.well();
    assert!(told.contains("`intro` did not go out, says a person: it is sent again"), "{told}");
    assert!(!told.contains("refused"), "{told}");
    assert_eq!(desk.types("campaign show spring --json").await.json()["in_doubt"], 0);
}
