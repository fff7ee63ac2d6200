//! A text on its way: out through the gate, reported, followed by the next step, kept from the night.

use activities::store::measures;
use chrono::TimeDelta;
use machine::signal::Missing;
use machine::state::{State, Why};
use serde_json::json;
use tests::emulators::Reports;

use super::shop::{ADA, BOB, Shop};

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_sent_and_delivered_and_the_next_step_follows() {
    let mut shop = Shop::open().await;
    shop.people(&["ada@example.com,+1 (202) 555-0101,yes"]).await;
    shop.campaign(
        "spring",
        json!([
            { "key": "hello", "sms": { "body": "Hello {{ email }} – it’s {{ campaign.name }}" } },
            { "key": "follow", "wait": "1 day", "email": { "subject": "Hello", "body": "By mail." } },
        ]),
    )
    .await;
    shop.texted(1).await;
    let text = shop.twilio.accepted().remove(0);
    assert_eq!((text.to.as_str(), text.from.as_str()), (ADA, "+15550100"));
    assert_eq!(text.body, "Hello ada@example.com - it's spring", "one part, not two");
    assert!((32_000..=32_400).contains(&text.validity), "until nine: {}", text.validity);
    shop.until("SELECT count(*) = 2 FROM inbound_events WHERE kind IN ('sent', 'delivered')").await;
    shop.comes_to("spring", ADA, "waiting").await;
    shop.until("SELECT count(*) = 1 FROM signals WHERE kind = 'delivered' AND seq IS NOT NULL")
        .await;
    assert_eq!(shop.send("hello").await, format!("accepted: queued as {}", text.sid));

    shop.after(TimeDelta::days(1)).await;
    shop.mailed(1).await;
    assert_eq!(shop.mailgun.accepted()[0].to, "ada@example.com");
    shop.comes_to("spring", ADA, "finished").await;
    let history = shop.view("spring", ADA).await.enrollment.data.history;
    assert!(history.delivered.contains(&"hello".parse().unwrap()));
    assert_eq!(shop.twilio.asked(), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_texted_without_consent_or_number() {
    let mut shop = Shop::open().await;
    let people =
        ["ada@example.com,+12025550101,", "bob@example.com,+12025550102,no", "c@example.com,,yes"];
    shop.people(&people).await;
    let hello = json!([{ "key": "hello", "sms": { "body": "Hello" } }]);
    shop.campaign("spring", hello).await;
    for address in ["ada@example.com", "bob@example.com"] {
        shop.comes_to("spring", address, "held").await;
        let state = shop.view("spring", address).await.enrollment.state;
        let lacks = matches!(state, State::Held { missing: Missing::Consent { .. }, .. });
        assert!(lacks, "{address}: {state:?}");
    }
    shop.until("SELECT count(*) = 2 FROM enrollments").await;
    shop.people(&["ada@example.com,,yes"]).await;
    shop.texted(1).await;
    assert_eq!(shop.twilio.accepted()[0].to, ADA);
    assert_eq!(shop.twilio.asked(), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_leaves_at_night_and_the_plan_says_why() {
    let mut shop = Shop::open().await;
    shop.after(TimeDelta::hours(10)).await;
    shop.people(&["ada@example.com,+12025550101,yes"]).await;
    shop.campaign("spring", json!([{ "key": "hello", "sms": { "body": "Hello" } }])).await;
    shop.until("SELECT count(*) = 1 FROM enrollments WHERE why = 'quiet_hours'").await;
    let plan = shop.view("spring", ADA).await.plan;
    assert_eq!(plan.next.unwrap().at, Some("2031-01-07T08:00:00Z".parse().unwrap()));
    let quiet = plan.constraints.iter().find(|it| it.kind == Why::QuietHours).unwrap();
    assert!(quiet.binding && quiet.label.contains("08:00 to 21:00"), "{quiet:?}");
    assert_eq!(shop.twilio.asked(), 0);
    shop.after(TimeDelta::hours(10)).await;
    shop.texted(1).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_come_twice_or_late_change_nothing() {
    let mut shop = Shop::open().await;
    shop.twilio.reports(Reports::Twice(
        ["delivered", "sent", "queued"].map(tests::emulators::Report::of).to_vec(),
    ));
    shop.people(&["ada@example.com,+12025550101,yes"]).await;
    let steps = json!([
        { "key": "hello", "sms": { "body": "Hello" } },
        { "key": "rest", "wait": "9 days", "finish": {} },
    ]);
    shop.campaign("spring", steps).await;
    shop.texted(1).await;
    shop.until("SELECT count(*) = 3 FROM inbound_events").await;
    let text = shop.twilio.accepted().remove(0);
    // A contradiction, after the fact.
    for word in ["undelivered", "failed"] {
        assert!(shop.twilio.reports_about(&text, word, Some(30_005)).await.is_success());
    }
    shop.comes_to("spring", ADA, "waiting").await;
    shop.until("SELECT count(*) = 1 FROM signals").await;
    assert!(shop.suppressed().await.is_empty());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_takes_no_texts_is_not_texted_again_and_its_owner_is_still_mailed() {
    let mut shop = Shop::open().await;
    let reports = vec![tests::emulators::Report::because("undelivered", 30_006)];
    shop.twilio.reports(Reports::Of(reports));
    let people = ["ada@example.com,+12025550101,yes", "bob@example.com,+12025550102,yes"];
    shop.people(&people).await;
    let text = json!([
        { "key": "hello", "sms": { "body": "Hello" } },
        { "key": "rest", "wait": "9 days", "finish": {} },
    ]);
    let mail = json!([
        { "key": "later", "wait": "1 hour", "email": { "subject": "Hello", "body": "By mail." } },
        { "key": "rest", "wait": "9 days", "finish": {} },
    ]);
    shop.campaign("mails", mail).await;
    shop.campaign("texts", text).await;
    for number in [ADA, BOB] {
        shop.comes_to("texts", number, "bounced").await;
    }
    let expected = [format!("{ADA} hard_bounce"), format!("{BOB} hard_bounce")];
    assert_eq!(shop.suppressed().await, expected);
    shop.after(TimeDelta::hours(2)).await;
    shop.mailed(2).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_are_counted_by_state() {
    let shop = Shop::open().await;
    let mut conn = shop.store().begin_outside().await.unwrap();
    let states = measures::sender_states(&mut conn).await.unwrap();
    let mut told: Vec<_> =
        states.iter().map(|it| (it.channel.as_str(), it.status.as_str())).collect();
    told.sort_unstable();
    assert_eq!(told, [("email", "active"), ("sms", "active")]);
    drop(conn);
    shop.close().await;
}
