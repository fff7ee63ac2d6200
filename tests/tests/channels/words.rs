//! What people text back: answers, STOP, START, HELP.

use chrono::TimeDelta;
use serde_json::json;

use super::shop::{ADA, BOB, Shop};

/// Ada and Bob have been texted by one campaign, and will be mailed by another.
async fn texted() -> Shop {
    let shop = Shop::open().await;
    let people = ["ada@example.com,+12025550101,yes", "bob@example.com,+12025550102,yes"];
    shop.people(&people).await;
    let mail = json!([
        { "key": "later", "wait": "2 hours", "email": { "subject": "Hello", "body": "By mail." } },
    ]);
    shop.campaign("mails", mail).await;
    let text = json!([
        { "key": "hello", "sms": { "body": "Hello" } },
        { "key": "nudge", "wait": "1 hour", "sms": { "body": "Still there?" } },
        { "key": "rest", "wait": "9 days", "finish": {} },
    ]);
    shop.campaign("texts", text).await;
    shop.texted(2).await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_holds_all_campaigns_of_its_author_and_nobody_elses() {
    let mut shop = texted().await;
    shop.comes_to("texts", ADA, "waiting").await;
    let taken = shop.twilio.brings(&shop.texts_to, "SMa", ADA, "Tell me more").await;
    assert!(taken.is_success());
    // Before any turn has seen it, nothing can pass.
    assert_eq!(shop.one("SELECT count(*)::text FROM signals WHERE holds").await, "2");
    shop.comes_to("texts", ADA, "replied").await;
    shop.comes_to("mails", ADA, "replied").await;
    let again = shop.twilio.brings(&shop.texts_to, "SMa", ADA, "Tell me more").await;
    assert!(again.is_success(), "a repeat is taken");
    assert_eq!(shop.one("SELECT count(*)::text FROM signals WHERE holds").await, "2");
    let history = shop.view("texts", ADA).await.enrollment.data.history;
    assert!(history.replied.contains(&"hello".parse().unwrap()), "{history:?}");
    assert!(shop.suppressed().await.is_empty());

    shop.after(TimeDelta::hours(3)).await;
    shop.texted(3).await;
    shop.mailed(1).await;
    assert_eq!(shop.twilio.accepted()[2].to, BOB);
    assert_eq!(shop.mailgun.accepted()[0].to, "bob@example.com");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_is_kept_at_once_for_all_our_numbers_and_start_lifts_it_on_record() {
    let mut shop = texted().await;
    let taken = shop.twilio.brings(&shop.texts_to, "SMa", ADA, "ＳＴＯＰ please").await;
    assert!(taken.is_success());
    assert_eq!(shop.suppressed().await, [format!("{ADA} opted_out")], "before any turn");
    shop.comes_to("texts", ADA, "opted_out").await;
    shop.comes_to("mails", ADA, "opted_out").await;

    // Another campaign from another number.
    let (url, token) = (shop.twilio.url(), tests::emulators::twilio::TOKEN);
    shop.sender("other", &url, token, "+15550199").await;
    let text = json!([{ "key": "hi", "sms": { "body": "Hi" } }]);
    shop.campaign_by("autumn", &["other"], text.clone()).await;
    shop.texted(3).await;
    shop.comes_to("autumn", ADA, "opted_out").await;
    assert!(shop.twilio.accepted().iter().skip(2).all(|text| text.to == BOB));

    // HELP is nobody's answer; START from another number changes nothing for this one.
    for (sid, from, body) in [("SMb", BOB, "HELP"), ("SMc", "+12025550177", "START")] {
        assert!(shop.twilio.brings(&shop.texts_to, sid, from, body).await.is_success());
    }
    assert_eq!(shop.suppressed().await, [format!("{ADA} opted_out")]);
    assert_eq!(
        shop.one(
            "SELECT count(*)::text FROM signals s JOIN enrollments e USING (enrollment_id)
        JOIN addresses a USING (lead_id) WHERE a.address = '+12025550102' AND s.holds"
        )
        .await,
        "0"
    );

    assert!(shop.twilio.brings(&shop.texts_to, "SMd", ADA, "Start").await.is_success());
    assert!(shop.suppressed().await.is_empty());
    let record = "SELECT actor || ' ' || act FROM audit WHERE act = 'suppression.lift'";
    assert_eq!(shop.one(record).await, "recipient suppression.lift");
    shop.campaign_by("winter", &["other"], text).await;
    shop.texted(5).await;
    assert!(shop.twilio.accepted().iter().skip(3).any(|text| text.to == ADA));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_heard_too() {
    let mut shop = Shop::open().await;
    let stranger = "+12025550155";
    assert!(shop.twilio.brings(&shop.texts_to, "SMa", stranger, "stop").await.is_success());
    assert_eq!(shop.suppressed().await, [format!("{stranger} opted_out")]);
    assert!(shop.twilio.brings(&shop.texts_to, "SMb", stranger, "Who are you?").await.is_success());
    assert_eq!(shop.one("SELECT count(*)::text FROM dead_letters").await, "1");
    shop.people(&["ada@example.com,+12025550155,yes"]).await;
    shop.campaign("spring", json!([{ "key": "hello", "sms": { "body": "Hello" } }])).await;
    shop.comes_to("spring", stranger, "opted_out").await;
    assert_eq!(shop.twilio.asked(), 0);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_in_a_text_opts_its_number_out() {
    let mut shop = Shop::open().await;
    shop.people(&["ada@example.com,+12025550101,yes"]).await;
    let text = json!([
        { "key": "hello", "sms": { "body": "Hello. No more: {{ unsubscribe_url }}" } },
        { "key": "rest", "wait": "9 days", "finish": {} },
    ]);
    shop.campaign("spring", text).await;
    shop.texted(1).await;
    let body = shop.twilio.accepted()[0].body.clone();
    let link = body.split_whitespace().next_back().unwrap();
    let answer = tests::end_to_end::provider::client().post(link).send().await.unwrap();
    assert!(answer.status().is_success());
    assert_eq!(shop.suppressed().await, [format!("{ADA} opted_out")]);
    shop.comes_to("spring", ADA, "opted_out").await;
    shop.close().await;
}
