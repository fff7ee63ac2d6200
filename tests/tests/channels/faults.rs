//! Each row of the table of faults: what a lead comes to, and that no text is ever taken twice.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::emulators::{Fault, Reports};

use super::shop::{ADA, Shop};

fn hello() -> Value {
    json!([
        { "key": "hello", "sms": { "body": "Hello" } },
        { "key": "rest", "wait": "20 days", "finish": {} },
    ])
}

/// A shop whose first text to Ada meets `fault`.
async fn meets(fault: Fault, reports: Reports) -> Shop {
    let shop = Shop::open().await;
    shop.twilio.fails(ADA, fault);
    shop.twilio.reports(reports);
    shop.people(&["ada@example.com,+12025550101,yes"]).await;
    shop.campaign("spring", hello()).await;
    shop
}

fn delivered() -> Reports {
    Reports::words(&["sent", "delivered"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_waited_for() {
    let mut shop = meets(Fault::Slow(Duration::from_secs(2)), delivered()).await;
    shop.comes_to("spring", ADA, "sending").await;
    shop.comes_to("spring", ADA, "waiting").await;
    assert_eq!((shop.twilio.asked(), shop.twilio.accepted().len()), (1, 1));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_make_the_sender_rest_and_the_text_leaves_later() {
    let mut shop = meets(Fault::TooMany(30), delivered()).await;
    shop.comes_to("spring", ADA, "retrying").await;
    let sender = shop.sender_named("texts").await;
    let trouble = sender.trouble.expect("it is noted");
    assert!(trouble.until.is_some() && trouble.detail.contains("20429"), "{trouble:?}");
    shop.time_passes().await;
    shop.after(TimeDelta::minutes(10)).await;
    shop.comes_to("spring", ADA, "waiting").await;
    assert_eq!((shop.twilio.asked(), shop.twilio.accepted().len()), (2, 1));
    shop.until("SELECT bool_and(trouble_count = 0) FROM senders").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_behind_which_the_text_went_is_settled_by_its_report() {
    for fault in
        [Fault::ErrorAfterAccepting, Fault::ResetAfterAccepting, Fault::NonsenseAfterAccepting]
    {
        let mut shop = meets(
            fault,
            Reports::Twice(vec![
                tests::emulators::Report::of("delivered"),
                tests::emulators::Report::of("sent"),
            ]),
        )
        .await;
        shop.comes_to("spring", ADA, "waiting").await;
        assert!(shop.send("hello").await.starts_with("accepted: "), "{fault:?}");
        assert_eq!((shop.twilio.asked(), shop.twilio.accepted().len()), (1, 1), "{fault:?}");
        shop.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_nobody_reports_about_is_found_where_it_is_listed() {
    let mut shop = meets(Fault::ErrorAfterAccepting, Reports::None).await;
    shop.until("SELECT count(*) = 1 FROM sends WHERE state = 'unknown' AND settle_at > now()")
        .await;
    shop.comes_to("spring", ADA, "sending").await;
    shop.time_passes().await;
    shop.comes_to("spring", ADA, "waiting").await;
    let sid = &shop.twilio.accepted()[0].sid;
    let found = format!("accepted: its provider lists it as {sid}");
    assert_eq!(shop.send("hello").await, found);
    assert_eq!(shop.twilio.asked(), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_nowhere_needs_a_person_and_is_never_repeated_by_a_program() {
    let mut shop = meets(Fault::Error, Reports::None).await;
    shop.until("SELECT count(*) = 1 FROM sends WHERE state = 'unknown' AND settle_at > now()")
        .await;
    shop.time_passes().await;
    shop.until("SELECT bool_and(looks = 1 AND settle_at > now()) FROM sends").await;
    shop.time_passes().await;
    shop.until("SELECT bool_and(state = 'needs_review') FROM sends").await;
    shop.after(TimeDelta::days(2)).await;
    assert!(shop.send("hello").await.contains("does not know the message"));
    assert_eq!((shop.twilio.asked(), shop.twilio.accepted().len()), (1, 0));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_report_settles_what_waits_for_a_person() {
    let mut shop = meets(Fault::ErrorAfterAccepting, Reports::None).await;
    shop.until("SELECT count(*) = 1 FROM sends WHERE state = 'unknown' AND settle_at > now()")
        .await;
    shop.run("UPDATE sends SET state = 'needs_review'").await;
    let text = shop.twilio.accepted().remove(0);
    assert!(shop.twilio.reports_about(&text, "sent", None).await.is_success());
    shop.comes_to("spring", ADA, "waiting").await;
    assert_eq!(shop.twilio.asked(), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_end_hold_or_stop_as_their_codes_say() {
    for (status, code, word) in
        [(400, 21_211, "bounced"), (400, 21_614, "bounced"), (400, 21_602, "failed")]
    {
        let mut shop = meets(Fault::Refused(status, code), Reports::None).await;
        shop.comes_to("spring", ADA, word).await;
        assert!(shop.suppressed().await.is_empty(), "{code}");
        assert_eq!((shop.twilio.asked(), shop.twilio.accepted().len()), (1, 0), "{code}");
        assert!(shop.sender_named("texts").await.status_reason.is_none(), "{code}");
        shop.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_an_opt_out_is_one() {
    let mut shop = meets(Fault::Refused(400, 21_610), Reports::None).await;
    shop.comes_to("spring", ADA, "opted_out").await;
    assert_eq!(shop.suppressed().await, [format!("{ADA} opted_out")]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_account_pauses_its_sender_until_a_person_has_acted() {
    for (status, code) in [(401, 20_003), (403, 20_403)] {
        let mut shop = meets(Fault::Refused(status, code), delivered()).await;
        shop.comes_to("spring", ADA, "held").await;
        let sender = shop.sender_named("texts").await;
        let reason = sender.status_reason.expect("it is paused with the reason");
        assert!(reason.contains(&code.to_string()), "{reason}");
        assert_eq!(shop.twilio.asked(), 1);
        shop.resume("texts").await;
        shop.comes_to("spring", ADA, "waiting").await;
        assert_eq!((shop.twilio.asked(), shop.twilio.accepted().len()), (2, 1));
        shop.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_against_our_account_pauses_the_sender() {
    let reports = vec![tests::emulators::Report::because("undelivered", 30_034)];
    let mut shop = Shop::open().await;
    shop.twilio.reports(Reports::Of(reports));
    shop.people(&["ada@example.com,+12025550101,yes"]).await;
    shop.campaign("spring", hello()).await;
    shop.until("SELECT status_reason LIKE '30034%' FROM senders WHERE name = 'texts'").await;
    shop.comes_to("spring", ADA, "waiting").await;
    assert!(shop.suppressed().await.is_empty());
    shop.close().await;
}
