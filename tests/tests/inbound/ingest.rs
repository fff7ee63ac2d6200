//! SIGNAL: what each event does, and that nothing makes it do so twice or never.

use std::time::Duration;

use activities::error::ActivityError;
use activities::ingest::{self, Signalled, Verb};
use activities::token::Claim;
use chrono::TimeDelta;
use machine::ids::SendId;
use machine::signal::{PauseScope, Signal};
use serde_json::json;
use uuid::Uuid;

use super::town::{Town, about, campaign};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

#[tokio::test]
async fn an_event_that_is_repeated_counts_once() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    let data = about("delivered", send);
    let mut posts = Vec::new();
    // A provider signs each of its repeats anew.
    for number in 0..20 {
        posts.push(town.event(&format!("token {number}"), data.clone()).await);
    }
    let answers = posts.into_iter().map(|event| ingest::signal(&town.room, town.workspace, event));
    let answers = futures::future::join_all(answers).await;
    let stored = answers.iter().filter(|answer| matches!(answer, Ok(Signalled::Stored { .. })));
    assert_eq!(stored.count(), 1);
    let repeated = answers.iter().filter(|answer| matches!(answer, Ok(Signalled::Repeated)));
    assert_eq!(repeated.count(), 19);
    assert_eq!(town.signals("spring", ADA).await.len(), 1);
    assert_eq!(town.count("inbound_events").await, 1);
}

#[tokio::test]
async fn a_token_is_used_up_by_its_first_event() {
    let mut town = Town::written_to(&[ADA, BOB]).await;
    let (ada, bob) =
        (town.send("spring", ADA, "intro").await, town.send("spring", BOB, "intro").await);
    let genuine = town.event("seen", about("delivered", ada)).await;
    let forged = town.event("seen", about("complained", bob)).await;
    assert!(matches!(town.signal(genuine).await, Signalled::Stored { .. }));
    assert_eq!(town.signal(forged).await, Signalled::Repeated);
    assert!(town.signals("spring", BOB).await.is_empty());
    assert!(town.suppressed().await.is_empty());
}

#[tokio::test]
async fn an_event_is_believed_only_about_the_send_it_names() {
    let mut town = Town::written_to(&[ADA, BOB]).await;
    // Names an address of ours, and no send: another program's mail over the same account.
    let mut foreign = about("complained", SendId::new(Uuid::from_bytes(rand::random())));
    foreign["recipient"] = BOB.into();
    let foreign = town.event("one", foreign).await;
    assert_eq!(town.signal(foreign).await, Signalled::Unmatched);
    // Names a send, and somebody else's address.
    let mut twisted = about("complained", town.send("spring", ADA, "intro").await);
    twisted["recipient"] = BOB.into();
    let twisted = town.event("two", twisted).await;
    assert!(matches!(town.signal(twisted).await, Signalled::Stored { .. }));
    assert_eq!(town.suppressed().await, [(ADA.to_owned(), "complained".to_owned())]);
    assert!(town.signals("spring", BOB).await.is_empty());
    assert_eq!(town.count("dead_letters").await, 0);
}

#[tokio::test]
async fn an_event_is_matched_by_our_message_id_where_it_has_no_variable() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    let data = json!({
        "event": "unsubscribed", "id": "x", "timestamp": 1_700_000_000,
        "message": { "headers": { "message-id": format!("{send}@meridian.example") } },
    });
    let event = town.event("one", data).await;
    assert!(matches!(town.signal(event).await, Signalled::Stored { .. }));
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "opted_out");
}

#[tokio::test]
async fn a_hard_bounce_ends_every_campaign_of_the_person() {
    let mut town = Town::written_to(&[ADA, BOB]).await;
    town.start(campaign("autumn")).await;
    let send = town.send("spring", ADA, "intro").await;
    let Signalled::Stored { enrollments } = town.bounces("5.1.1", send).await else { panic!() };
    assert_eq!(enrollments.len(), 2);
    town.work().await;
    for name in ["spring", "autumn"] {
        assert_eq!(town.state(name, ADA).await, "bounced");
        assert_eq!(town.state(name, BOB).await, "waiting");
    }
    assert_eq!(town.suppressed().await, [(ADA.to_owned(), "hard_bounce".to_owned())]);
}

#[tokio::test]
async fn a_soft_bounce_is_told_to_its_own_campaign_and_suppresses_nothing() {
    let mut town = Town::written_to(&[ADA]).await;
    town.start(campaign("autumn")).await;
    let send = town.send("spring", ADA, "intro").await;
    town.bounces("5.2.2", send).await;
    assert_eq!(
        town.signals("spring", ADA).await,
        [json!({ "kind": "bounced", "step": "intro", "severity": "soft" })]
    );
    assert!(town.signals("autumn", ADA).await.is_empty());
    // Our own reputation is nobody's bounce.
    assert_eq!(town.bounces("5.7.1", send).await, Signalled::Stored { enrollments: vec![] });
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "waiting");
    assert!(town.suppressed().await.is_empty());
}

#[tokio::test]
async fn the_order_of_arrival_does_not_matter() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1]] {
        let mut town = Town::written_to(&[ADA]).await;
        let send = town.send("spring", ADA, "intro").await;
        for event in order {
            match event {
                0 => town.hears("delivered", send).await,
                1 => town.bounces("5.1.1", send).await,
                _ => town.hears("complained", send).await,
            };
            if event == 1 {
                town.work().await;
            }
        }
        town.work().await;
        assert_eq!(town.state("spring", ADA).await, "opted_out", "{order:?}");
    }
}

#[tokio::test]
async fn a_click_counts_once_where_a_person_made_it_and_moves_who_waits_for_it() {
    let mut town = Town::written_to(&[ADA, BOB]).await;
    let (ada, bob) =
        (town.send("spring", ADA, "intro").await, town.send("spring", BOB, "intro").await);
    let mut by_machine = about("clicked", bob);
    by_machine["client-info"] = json!({ "bot": "generic" });
    let by_machine = town.event("one", by_machine).await;
    assert_eq!(town.signal(by_machine).await, Signalled::Stored { enrollments: vec![] });
    assert_eq!(town.hears("opened", bob).await, Signalled::Stored { enrollments: vec![] });
    town.hears("clicked", ada).await;
    town.work().await;
    // The click ended Ada's wait, so the next mail went out.
    let nudge = town.send("spring", ADA, "nudge").await;
    assert!(town.signals("spring", BOB).await.is_empty());
    // Nobody waits for this one.
    for kind in ["clicked", "delivered"] {
        for nth in ["first", "second"] {
            let event = town.event(&format!("{kind}-{nth}"), about(kind, nudge)).await;
            town.signal(event).await;
            town.work().await;
        }
    }
    assert_eq!(town.state("spring", ADA).await, "waiting");
    assert_eq!(town.count("journal WHERE cause = 'clicked'").await, 2);
    let counted = |measure: &str| {
        format!("counter_deltas WHERE step_key = 'nudge' AND measure = '{measure}'")
    };
    assert_eq!(town.count(&counted("clicked")).await, 1);
    assert_eq!(town.count(&counted("delivered")).await, 1);
}

#[tokio::test]
async fn what_is_reported_counts_at_the_wording_that_was_sent() {
    let mut town = Town::new(&[ADA, BOB]).await;
    let mut document = campaign("spring");
    let wording = |key: &str| json!({ "key": key, "weight": 1, "subject": "Hello", "body": key });
    document["steps"][0]["email"] = json!({ "variants": [wording("plain"), wording("bold")] });
    town.start(document).await;
    town.work().await;
    for (address, nth) in [(ADA, "first"), (ADA, "second"), (BOB, "first")] {
        let send = town.send("spring", address, "intro").await;
        for kind in ["delivered", "clicked", "complained"] {
            let event = town.event(&format!("{address}-{kind}-{nth}"), about(kind, send)).await;
            town.signal(event).await;
            town.work().await;
        }
    }
    let sums = |rows: &str| {
        format!(
            "SELECT string_agg(variant || ' ' || n, ', ' ORDER BY variant)
             FROM (SELECT variant, sum(n) AS n FROM {rows} AND step_key = 'intro' GROUP BY variant) AS v"
        )
    };
    let sent = sums("(SELECT *, 1 AS n FROM sends) AS s WHERE state = 'accepted'");
    let sent = town.one(&sent, &[]).await;
    for measure in ["sent", "delivered", "clicked"] {
        let counted = sums("counter_deltas WHERE measure = $1");
        assert_eq!(town.one(&counted, &[measure]).await, sent, "{measure}");
    }
    assert_eq!(town.count("counter_deltas WHERE measure = 'complained'").await, 2);
}

#[tokio::test]
async fn a_caller_that_hangs_up_loses_nothing() {
    let addresses: Vec<String> = (0..60).map(|n| format!("lead{n}@example.com")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut town = Town::written_to(&addresses).await;
    let mut sends = Vec::new();
    for address in &addresses {
        sends.push(town.send("spring", address, "intro").await);
    }
    for (number, send) in (0..).zip(&sends) {
        let patience = Duration::from_micros(number * 11);
        // Whether it was done in time does not matter: it was begun.
        if number % 2 == 0 {
            let event = town.event(&send.to_string(), about("complained", *send)).await;
            let work = ingest::signal(&town.room, town.workspace, event);
            let _ = tokio::time::timeout(patience, work).await;
        } else {
            let claim = Claim { workspace: town.workspace.uuid(), id: send.uuid() };
            let _ = tokio::time::timeout(patience, ingest::opt_out(&town.room, claim)).await;
        }
    }
    town.until("SELECT count(*) = 60 FROM suppressions").await;
    assert_eq!(town.count("signals").await, 60);
    town.until(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database()
         AND state LIKE 'idle in transaction%'",
    )
    .await;
    town.work().await;
    for address in &addresses {
        assert_eq!(town.state("spring", address).await, "opted_out");
    }
}

#[tokio::test]
async fn an_opt_out_works_for_any_link_ever_mailed_and_again_after_it_was_lifted() {
    let mut town = Town::written_to(&[ADA]).await;
    let send = town.send("spring", ADA, "intro").await;
    let claim = Claim { workspace: town.workspace.uuid(), id: send.uuid() };
    let first = ingest::opt_out(&town.room, claim).await.unwrap();
    assert!(matches!(first, Signalled::Stored { .. }));
    assert_eq!(ingest::opt_out(&town.room, claim).await.unwrap(), Signalled::Repeated);
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "opted_out");

    town.run("UPDATE suppressions SET lifted_at = now()").await;
    let again = ingest::opt_out(&town.room, claim).await.unwrap();
    assert!(matches!(again, Signalled::Stored { .. }));
    assert_eq!(town.suppressed().await, [(ADA.to_owned(), "opted_out".to_owned())]);

    town.run("UPDATE sends SET address = NULL; DELETE FROM addresses").await;
    for _ in 0..3 {
        ingest::opt_out(&town.room, claim).await.unwrap();
    }
    let gone = Claim { id: Uuid::from_bytes(rand::random()), ..claim };
    assert_eq!(ingest::opt_out(&town.room, gone).await.unwrap(), Signalled::Unmatched);
}

#[tokio::test]
async fn an_event_settles_a_call_of_which_nobody_knew_the_outcome() {
    for state in ["unknown", "needs_review"] {
        let mut town = Town::new(&[ADA]).await;
        town.start(campaign("spring")).await;
        let asks = town.turn().await;
        let ready = town.prepare(asks).await;
        town.gate(ready).await;
        let send = town.send("spring", ADA, "intro").await;
        town.run(&format!("UPDATE sends SET state = '{state}'")).await;
        town.hears("accepted", send).await;
        assert_eq!(town.one("SELECT state FROM sends", &[]).await, "accepted");
        town.work().await;
        assert_eq!(town.state("spring", ADA).await, "waiting");
    }
}

#[tokio::test]
async fn an_order_is_obeyed_once_and_put_on_record() {
    let mut town = Town::written_to(&[ADA]).await;
    let enrollment = town.enrollment("spring", ADA).await;
    let order = |enrollment| Verb {
        enrollment,
        signal: Signal::Paused { scope: PauseScope::Lead },
        source_key: "order/1".to_owned(),
        actor: "maria".to_owned(),
    };
    let (store, workspace) = (town.room.store.clone(), town.workspace);
    let first = ingest::verb(&store, workspace, order(enrollment)).await.unwrap();
    assert_eq!(first, Signalled::Stored { enrollments: vec![enrollment] });
    let again = ingest::verb(&store, workspace, order(enrollment)).await.unwrap();
    assert_eq!(again, Signalled::Repeated);
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "paused");
    let acts = "SELECT count(*)::text FROM audit WHERE actor = 'maria'";
    assert_eq!(town.one(acts, &[]).await, "1");
    let stranger =
        ingest::verb(&store, workspace, order(Uuid::from_bytes(rand::random()).into())).await;
    assert!(matches!(stranger, Err(ActivityError::NoSuchEnrollment(_))));
}

#[tokio::test]
async fn an_offer_to_a_person_of_ours_is_no_mail_to_the_lead() {
    let mut town = Town::new(&[ADA]).await;
    let mut document = campaign("spring");
    document["handover"] = json!({ "to": "sales@meridian.example" });
    document["steps"] = json!([{ "key": "hand", "handover": {} }]);
    town.start(document).await;
    town.work().await;
    let offer = town.one("SELECT send_id::text FROM sends WHERE kind = 'handover'", &[]).await;
    let offer: SendId = offer.parse().unwrap();
    assert_eq!(town.bounces("5.1.1", offer).await, Signalled::Unmatched);
    let answer = town.replies("mallory@evil.example", offer, "Who is this?").await;
    assert_eq!(answer, Signalled::Unmatched);
    assert!(town.suppressed().await.is_empty());
    assert!(town.signals("spring", ADA).await.is_empty());
    assert_eq!(town.count("dead_letters").await, 1);
}

#[tokio::test]
async fn a_late_event_for_an_ended_lead_is_still_told() {
    let mut town = Town::written_to(&[ADA]).await;
    town.after(TimeDelta::days(4)).await;
    town.work().await;
    town.after(TimeDelta::days(40)).await;
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "completed");
    let send = town.send("spring", ADA, "nudge").await;
    town.hears("unsubscribed", send).await;
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "opted_out");
}
