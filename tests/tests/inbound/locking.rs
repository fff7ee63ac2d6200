//! A stop and the gate are serial: whichever comes second sees the other.

use activities::ingest;
use activities::store::locks;
use activities::suppression_list::{self, Suppressed};
use activities::token::Claim;
use chrono::TimeDelta;
use machine::signal::Answer;
use machine::state::Why;
use serde_json::{Value, json};

use super::town::{Town, about, campaign};

const ADA: &str = "ada@example.com";

#[tokio::test]
async fn nothing_passes_the_gate_after_an_opt_out_was_stored() {
    let mut town = Town::written_to(&[ADA]).await;
    town.after(TimeDelta::days(4)).await;
    let asks = town.turn().await;
    let ready = town.prepare(asks).await;
    assert_eq!(ready.len(), 1);
    let send = town.send("spring", ADA, "intro").await;
    let claim = Claim { workspace: town.workspace.uuid(), id: send.uuid() };
    ingest::opt_out(&town.room, claim).await.unwrap();
    let gated = town.gate(ready).await;
    assert!(gated.dispatched.is_empty());
}

#[tokio::test]
async fn nothing_passes_the_gate_once_a_mail_came_in_that_nobody_has_read() {
    let mut town = Town::written_to(&[ADA]).await;
    town.start(campaign("autumn")).await;
    let asks = town.turn().await;
    let ready = town.prepare(asks).await;
    assert_eq!(ready.len(), 1, "the first mail of autumn");
    let intro = town.send("spring", ADA, "intro").await;
    town.replies(ADA, intro, "Tell me more").await;
    let gated = town.gate(ready).await;
    assert!(gated.dispatched.is_empty() && gated.waiting.len() == 1);
}

#[tokio::test]
async fn an_opt_out_waits_for_a_gate_under_way() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    let lead = town.one("SELECT lead_id::text FROM leads", &[]).await.parse().unwrap();
    let claim = Claim { workspace: town.workspace.uuid(), id: send.uuid() };

    let mut gate = town.room.store.begin(town.workspace).await.unwrap();
    let key = locks::lead_key(town.workspace, lead);
    assert_eq!(locks::try_lock(&mut gate, &[key], &[false]).await.unwrap(), [true]);
    let room = town.room.clone();
    let stop = tokio::spawn(async move { ingest::opt_out(&room, claim).await });
    town.until("SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        .await;
    assert_eq!(town.count("suppressions").await, 0);
    let gate_at = town.now().await;
    gate.commit().await.unwrap();
    stop.await.unwrap().unwrap();
    // The stop is stamped after the gate that was before it.
    let gate_at = gate_at.to_rfc3339();
    let is_later = town.one("SELECT (at > $1::timestamptz)::text FROM signals", &[&gate_at]).await;
    assert_eq!(is_later, "true");
}

#[tokio::test]
async fn a_gate_passes_by_whoever_is_being_stopped() {
    let mut town = Town::new(&[ADA]).await;
    town.start(campaign("spring")).await;
    let asks = town.turn().await;
    let ready = town.prepare(asks).await;
    let lead = town.one("SELECT lead_id::text FROM leads", &[]).await.parse().unwrap();
    let mut stop = town.room.store.begin(town.workspace).await.unwrap();
    let key = locks::lead_key(town.workspace, lead);
    locks::lock_exclusive(&mut stop, &[key]).await.unwrap();
    let gated = town.gate(ready).await;
    assert!(gated.dispatched.is_empty() && gated.busy.len() == 1);
}

#[tokio::test]
async fn stops_of_many_kinds_at_once_end_without_a_deadlock() {
    let addresses: Vec<String> = (0..10).map(|n| format!("lead{n}@example.com")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut town = Town::written_to(&addresses).await;
    town.start(campaign("autumn")).await;
    town.work().await;
    let mut events = Vec::new();
    for address in &addresses {
        for name in ["spring", "autumn"] {
            let send = town.send(name, address, "intro").await;
            for kind in ["complained", "unsubscribed", "delivered"] {
                let token = format!("{send}{kind}");
                events.push(town.event(&token, about(kind, send)).await);
            }
        }
    }
    let stops = events.into_iter().map(|event| ingest::signal(&town.room, town.workspace, event));
    for answer in futures::future::join_all(stops).await {
        answer.unwrap();
    }
    town.work().await;
    for address in &addresses {
        assert_eq!(town.state("spring", address).await, "opted_out");
        assert_eq!(town.state("autumn", address).await, "opted_out");
    }
    assert_eq!(town.count("suppressions").await, 10);
}

/// A campaign that leaves alone for a month whom another one wrote to.
fn guarded(name: &str) -> Value {
    let mut document = campaign(name);
    document["recontact"] = json!({ "not_within": "30 days" });
    document
}

#[tokio::test]
async fn a_message_under_way_in_one_campaign_holds_back_the_other() {
    let mut town = Town::new(&[ADA]).await;
    town.start(guarded("spring")).await;
    town.start(guarded("autumn")).await;
    let asks = town.turn().await;
    let mut ready = town.prepare(asks).await;
    assert_eq!(ready.len(), 2);
    let (second, first) = (ready.pop().unwrap(), ready.pop().unwrap());

    // A gate of another runner has the person.
    let key = locks::lead_key(town.workspace, first.ask.lead);
    let mut other = town.room.store.begin(town.workspace).await.unwrap();
    assert_eq!(locks::try_lock(&mut other, &[key], &[false]).await.unwrap(), [true]);
    let gated = town.gate(vec![first.clone()]).await;
    assert_eq!((gated.dispatched.len(), gated.busy.len()), (0, 1));
    other.commit().await.unwrap();

    let passed = town.gate(vec![first]).await;
    assert_eq!(passed.dispatched.len(), 1);
    let gated = town.gate(vec![second]).await;
    let [(_, Answer::Deferred { until, reason: Why::RecontactGuard })] = gated.answered.as_slice()
    else {
        panic!("{:?} passed", gated.dispatched.len());
    };
    let waits = *until - passed.dispatched[0].gate_at;
    assert_eq!(waits, TimeDelta::days(30));
    town.call(gated).await;
    town.call(passed).await;
    town.work().await;
    assert_eq!(town.count("sends WHERE state = 'accepted'").await, 1);
    assert_eq!(town.count("enrollments WHERE why = 'recontact_guard'").await, 1);
}

#[tokio::test]
async fn a_promise_is_not_lifted_while_it_is_being_made() {
    let mut town = Town::new(&[]).await;
    for (whom, key) in [
        (ADA, locks::address_key(town.workspace, &town.room.suppressions.address(ADA))),
        ("example.org", locks::workspace_key(town.workspace)),
    ] {
        let whom: Suppressed = whom.parse().unwrap();
        let added = suppression_list::add(&town.room, town.workspace, &whom, "test").await;
        let entry = added.unwrap().0.suppression_id.into();
        let mut making = town.room.store.begin(town.workspace).await.unwrap();
        locks::lock_exclusive(&mut making, &[key]).await.unwrap();
        let (room, workspace) = (town.room.clone(), town.workspace);
        let lift = async move { suppression_list::lift(&room, workspace, entry, "test").await };
        let lift = tokio::spawn(lift);
        town.until("SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            .await;
        assert_eq!(town.suppressed().await.len(), 1);
        making.commit().await.unwrap();
        assert!(lift.await.unwrap().unwrap());
        let again = suppression_list::lift(&town.room, town.workspace, entry, "test").await;
        assert!(!again.unwrap());
    }
}
