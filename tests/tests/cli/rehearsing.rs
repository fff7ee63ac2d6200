//! Rehearsals: the real machine on the real calendar, and nothing stored.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::desk::Desk;

const CAMPAIGN: &str = "\
name: spring
zone: Europe/Lisbon
senders: [ada]
windows: [{ from: \"09:00\", to: \"17:00\" }]
caps: { per_day: 3 }
handover: { to: team@example.com }
steps:
  - { key: intro, email: { subject: \"Hello {{ name }}\", body: Good day } }
  - key: size
    condition:
      when: { attribute: rooms, at_least: 50 }
      then: [{ key: talk, handover: {} }]
      else: [{ key: nudge, wait: 2 days, email: { body: And now? } }]
";

async fn desk(leads: &str) -> Desk {
    let desk = Desk::new().await;
    desk.types("sender add ada capture: --from ada@example.com --spacing 10m").await.well();
    let leads = desk.file("leads.csv", leads);
    desk.types(&format!("lead import {leads}")).await.well();
    let file = desk.file("spring.yaml", CAMPAIGN);
    desk.types(&format!("campaign apply {file}")).await.well();
    desk
}

fn times(rehearsal: &Value) -> Vec<DateTime<Utc>> {
    let courses = rehearsal["courses"].as_array().unwrap().iter();
    let touches = courses.flat_map(|course| course["touches"].as_array().unwrap());
    let mut times: Vec<DateTime<Utc>> =
        touches.map(|touch| touch["at"].as_str().unwrap().parse().unwrap()).collect();
    times.sort();
    times
}

#[tokio::test]
async fn caps_and_spacing_are_honoured() {
    let rows: String = (0..10).map(|n| format!("l{n}@example.com,Lead {n},10\n")).collect();
    let mut desk = desk(&format!("email,name,rooms\n{rows}")).await;
    let rehearsal = desk.types("campaign rehearse spring --json").await.json();
    let times = times(&rehearsal);
    assert_eq!(times.len(), 20);
    for day in rehearsal["days"].as_array().unwrap() {
        assert!(day["total"].as_u64().unwrap() <= 3, "{day}");
    }
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= TimeDelta::minutes(10), "{pair:?}");
    }
    // Nothing was stored, so a second rehearsal says the same.
    for table in ["SELECT count(*) FROM enrollments", "SELECT count(*) FROM quotas"] {
        assert_eq!(desk.count(table).await, 0);
    }
}

#[tokio::test]
async fn who_would_be_held_is_named_with_the_reason() {
    let mut desk = desk(
        "email,name,rooms\nann@example.com,Ann,10\nbob@example.com,,10\ncy@example.com,Cy,90\n\
         dot@example.com,Dot,10\n",
    )
    .await;
    let room = activities::key_ring::KeyRing::load(&desk.place.path().join("key")).unwrap();
    let key = activities::suppression_key::SuppressionKey::new(&room);
    let hash = key.address("dot@example.com").to_vec();
    sqlx::query(
        "INSERT INTO suppressions
            (workspace_id, suppression_id, scope, value_hash, value, reason, suppressed_at)
         VALUES ($1, gen_random_uuid(), 'address', $2, 'dot@example.com', 'opted_out', now())",
    )
    .bind(desk.workspace.uuid())
    .bind(hash)
    .execute(&mut desk.owner)
    .await
    .unwrap();
    let rehearsal = desk.types("campaign rehearse spring --json").await.json();
    let endings = serde_json::json!({
        "finished": 1, "held": 1, "handed_over": 1, "suppressed": 1
    });
    assert_eq!(rehearsal["endings"], endings);
    assert_eq!(rehearsal["held"][0]["why"], "name is missing");
    assert_eq!(rehearsal["held"][0]["example"], "bob@example.com");
    let text = desk.types("campaign rehearse spring").await.well();
    assert!(text.contains("1 would be held at `intro`: name is missing"), "{text}");
    assert!(text.contains("\n3 messages to 2 of 4 leads, from "), "{text}");
    assert!(text.contains("1 would be handed over to a person: step `talk`"), "{text}");
    let one = desk.types("campaign rehearse spring --lead ann@example.com --json").await.json();
    assert_eq!(one["leads"], 1);
    assert_eq!(times(&one).len(), 2);
}

#[tokio::test]
async fn what_hands_over_in_a_rehearsal_is_named() {
    let desk = desk("email,name,rooms\nann@example.com,Ann,10\n").await;
    let trigger =
        "handover: { to: team@example.com, triggers: [{ key: early, when: { sent: intro } }] }";
    let campaign = CAMPAIGN.replace("handover: { to: team@example.com }", trigger);
    let file = desk.file("spring.yaml", &campaign);
    desk.types(&format!("campaign apply {file}")).await.well();
    let text = desk.types("campaign rehearse spring").await.well();
    assert!(text.contains("1 message to 1 lead, from "), "{text}");
    assert!(text.contains("1 would be handed over to a person: trigger `early`"), "{text}");
}
