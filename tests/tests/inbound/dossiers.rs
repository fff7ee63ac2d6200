//! What a person of ours reads before acting: what the lead said first of all, and that it stands
//! nowhere else.

use activities::handover_cause;
use activities::ingest::{self, Verb};
use activities::suppression_list::{self, Suppressed};
use chrono::TimeDelta;
use machine::ids::EnrollmentId;
use machine::signal::{ReplyTo, Signal};
use serde_json::{Value, json};

use crate::town::{Town, campaign};

const ADA: &str = "ada@example.com";
const SAID: &str = "Call me on Thursday after eleven.";

/// A campaign that hands over, and has written its first mail.
async fn town() -> Town {
    let mut town = Town::new(&[]).await;
    town.import("email,first_name,company,zone\nada@example.com,Ada,Novak & Sons,Asia/Tokyo\n")
        .await;
    let mut campaign = campaign("spring");
    campaign["handover"] = json!({ "to": "team@example.com", "fallback": "boss@example.com", "answer_within": "4 hours" });
    town.start(campaign).await;
    town.work().await;
    town
}

impl Town {
    /// Why a lead was handed over first, in words.
    async fn cause(&mut self, enrollment: EnrollmentId) -> String {
        let mut tx = self.room.store.begin(self.workspace).await.unwrap();
        let causes = handover_cause::causes(&mut tx, self.workspace, &[(enrollment, 1)]).await;
        causes.unwrap()[&(enrollment, 1)].to_string()
    }

    /// The offers that were made, oldest first: to whom, subject, plain part.
    async fn offers(&mut self) -> Vec<[String; 3]> {
        let sql = "SELECT coalesce(json_agg(json_build_array(s.address, c.subject, c.text)
                 ORDER BY s.gate_at), '[]')::text
             FROM sends s JOIN send_contents c USING (workspace_id, send_id)
             WHERE s.kind = 'handover'";
        serde_json::from_str(&self.one(sql, &[]).await).unwrap()
    }
}

#[tokio::test]
async fn an_offer_shows_what_the_lead_said_and_what_to_do_next() {
    let mut town = town().await;
    let send = town.send("spring", ADA, "intro").await;
    let quoted =
        format!("{SAID}\n\nOn 2 Mar 2026, at 10:00, Us\n<us@x.org> wrote:\n> Hello there.");
    town.replies("Ada <ada@example.com>", send, &quoted).await;
    town.work().await;
    let enrollment = town.enrollment("spring", ADA).await;
    let [offer] = town.offers().await.try_into().unwrap();
    let [to, subject, text] = &offer;
    assert_eq!(to, "team@example.com");
    assert_eq!(subject, "Ada, Novak & Sons answered (spring)");
    for part in [
        "Please answer by ",
        &format!("from {ADA}: Re: Hello\n> {SAID}\n"),
        "With the subject “Re: Hello” it stays in their conversation.",
        "there (Asia/Tokyo).",
        &format!("meridian handover close {enrollment} won"),
        "company: Novak & Sons",
        "`intro` was sent: Hello",
        "they answered `intro`",
        "> Hello there.",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(!text.contains("wrote:") && !text.contains("make sure"), "{text}");

    // It was read from the sealed mail, and nothing else has it.
    for place in ["journal", "enrollments", "signals", "handovers", "inbound_events"] {
        let sql = format!("SELECT count(*)::text FROM {place} t WHERE t::text LIKE '%Thursday%'");
        assert_eq!(town.one(&sql, &[]).await, "0", "{place}");
    }
    let snapshots = "SELECT count(*)::text FROM enrollments
         WHERE convert_from(snapshot, 'UTF8') LIKE '%Thursday%'";
    assert_eq!(town.one(snapshots, &[]).await, "0");
}

#[tokio::test]
async fn a_reminder_says_that_it_is_one_and_shows_the_answer_again() {
    let mut town = town().await;
    let send = town.send("spring", ADA, "intro").await;
    town.replies(ADA, send, SAID).await;
    town.work().await;
    for _ in 0..2 {
        town.after(TimeDelta::hours(5)).await;
        town.work().await;
    }
    let [_, passed_on, reminder] = town.offers().await.try_into().unwrap();
    assert_eq!(passed_on[..2], ["boss@example.com", "Ada, Novak & Sons answered (spring)"]);
    let subject = "Reminder: Ada, Novak & Sons waits for an answer (spring)";
    assert_eq!(reminder[..2], ["boss@example.com", subject]);
    assert!(reminder[2].contains("and nobody has."), "{}", reminder[2]);
    assert!(reminder[2].contains(SAID), "{}", reminder[2]);
}

#[tokio::test]
async fn an_answer_that_proves_nothing_is_shown_with_a_warning() {
    let mut town = town().await;
    town.mail(&format!("From: {ADA}\nSubject: Your mail\n\n{SAID}\n")).await;
    town.work().await;
    let [offer] = town.offers().await.try_into().unwrap();
    assert!(offer[2].contains("make sure that it is from them"), "{}", offer[2]);
    assert!(offer[2].contains(SAID), "{}", offer[2]);
}

#[tokio::test]
async fn an_answer_told_by_a_person_is_looked_for_in_the_mailbox() {
    let mut town = town().await;
    let signal = Signal::replied(ReplyTo::This, None);
    let enrollment = town.enrollment("spring", ADA).await;
    let verb = Verb { enrollment, signal, source_key: "cli/1".to_owned(), actor: "cli".to_owned() };
    ingest::verb(&town.room.store, town.workspace, verb).await.unwrap();
    town.work().await;
    let [offer] = town.offers().await.try_into().unwrap();
    assert!(
        offer[2].contains("it is in the mailbox of campaigns@meridian.example"),
        "{}",
        offer[2]
    );
}

#[tokio::test]
async fn an_answer_with_a_keyword_is_offered_where_others_end_the_sequence() {
    let mut town = Town::new(&[]).await;
    town.import("email,first_name\nada@example.com,Ada\nbob@example.com,Bob\n").await;
    let mut campaign = campaign("spring");
    campaign["reply"] = json!({ "rule": "stop" });
    campaign["keywords"] = json!({ "price": ["how much", "price"] });
    campaign["score"] = json!([{ "when": { "replied": "intro" }, "points": 40 }]);
    campaign["handover"] = json!({
        "to": "team@example.com",
        "triggers": [{ "key": "asks-price", "when": { "said": "price" } }],
    });
    town.start(campaign).await;
    town.work().await;
    let quoted = "Not now.\n\nOn 2 Mar 2026, at 10:00, Us\n<us@x.org> wrote:\n> How much is it?";
    for (who, said) in [("bob@example.com", quoted), (ADA, "How MUCH\nis it?")] {
        let send = town.send("spring", who, "intro").await;
        town.replies(who, send, said).await;
    }
    town.work().await;
    let [offer] = town.offers().await.try_into().unwrap();
    assert_eq!(offer[1], "Ada answered (spring)");
    let enrollment = town.enrollment("spring", ADA).await;
    assert_eq!(town.cause(enrollment).await, "the lead answered: trigger `asks-price`");
    for part in ["the campaign looks for: asks-price.", "Their score is 40."] {
        assert!(offer[2].contains(part), "{part}\n{}", offer[2]);
    }
}

#[tokio::test]
async fn an_offer_names_what_hands_over_and_whom_nobody_may_write_to() {
    let mut town = Town::new(&[]).await;
    town.import("email,first_name\nada@example.com,Ada\nbob@example.com,Bob\n").await;
    let mut campaign = campaign("spring");
    campaign["score"] = json!([{ "when": { "attribute": "rooms", "at_least": 20 }, "points": 40 }]);
    campaign["handover"] = json!({
        "to": "team@example.com",
        "triggers": [{ "key": "hot", "when": { "score_at_least": 40 } }],
    });
    campaign["steps"][3] = json!({ "key": "talk", "handover": {} });
    town.start(campaign).await;
    town.work().await;
    for address in ["ada@example.com", "example.com"] {
        let whom: Suppressed = address.parse().unwrap();
        suppression_list::add(&town.room, town.workspace, &whom, "test").await.unwrap();
    }
    town.import("email,rooms\nada@example.com,40\n").await;
    town.work().await;
    let [offer] = town.offers().await.try_into().unwrap();
    assert_eq!(offer[1], "Ada needs you (spring)");
    for part in [
        "Ada needs a person: the campaign looks for `hot` (the score is at least 40).",
        "Do not write to ada@example.com: one of us put it on the list of suppressions (",
        "Do not write to anybody at example.com: one of us",
        "Call them, and do not write to ada@example.com.",
    ] {
        assert!(offer[2].contains(part), "{part}\n{}", offer[2]);
    }
    let enrollment = town.enrollment("spring", ADA).await;
    assert_eq!(town.cause(enrollment).await, "trigger `hot`");

    // A step names itself.
    town.run("UPDATE suppressions SET lifted_at = now()").await;
    for _ in 0..3 {
        town.after(TimeDelta::days(4)).await;
        town.work().await;
    }
    let expected = "Bob needs a person: the campaign has come to its step `talk`.";
    let offers = town.offers().await;
    assert!(offers.iter().any(|offer| offer[2].contains(expected)), "{offers:?}");
    let enrollment = town.enrollment("spring", "bob@example.com").await;
    assert_eq!(town.cause(enrollment).await, "step `talk`");
}

#[tokio::test]
async fn a_lead_with_a_thousand_fields_is_offered_too() {
    let mut town = town().await;
    let many: serde_json::Map<String, Value> =
        (0..1_000).map(|n| (format!("field_{n}"), "x".repeat(2_000).into())).collect();
    let many = Value::Object(many).to_string();
    town.run(&format!("UPDATE leads SET attributes = '{many}', version = version + 1")).await;
    let send = town.send("spring", ADA, "intro").await;
    town.replies(ADA, send, &"word ".repeat(50_000)).await;
    town.work().await;
    let [offer] = town.offers().await.try_into().unwrap();
    assert!(offer[2].contains("word word"), "it is short enough to be sent");
}
