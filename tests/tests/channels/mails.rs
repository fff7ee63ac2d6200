//! Mails through Mailgun's HTTP interface.

use activities::campaigns::apply;
use serde_json::{Value, json};
use tests::emulators::mailgun::{self, Accepted};
use tests::emulators::{Fault, Report, Reports};

use super::shop::Shop;

const MAIL: &str = "ada@example.com";

fn hello() -> Value {
    json!([
        { "key": "hello", "email": { "subject": "Hello", "body": "How are you?" } },
        { "key": "rest", "wait": "20 days", "finish": {} },
    ])
}

/// What Mailgun was asked to track: anything, clicks, opens.
fn tracked(mail: &Accepted) -> [&str; 3] {
    ["o:tracking", "o:tracking-clicks", "o:tracking-opens"].map(|name| {
        let field = mail.fields.iter().find(|(key, _)| key == name);
        field.map_or("nothing", |(_, value)| value.as_str())
    })
}

async fn meets(fault: Option<Fault>, reports: Reports) -> Shop {
    let shop = Shop::open().await;
    if let Some(fault) = fault {
        shop.mailgun.fails(MAIL, fault);
    }
    shop.mailgun.reports(&shop.events_to, reports);
    shop.people(&["ada@example.com,,"]).await;
    shop.campaign("spring", hello()).await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_goes_over_whole_and_its_events_name_it() {
    let mut shop = meets(None, Reports::words(&["accepted", "delivered"])).await;
    shop.mailed(1).await;
    shop.comes_to("spring", MAIL, "waiting").await;
    let mail = shop.mailgun.accepted().remove(0);
    let send = shop.one("SELECT send_id::text FROM sends").await;
    assert_eq!((mail.send.as_str(), mail.attempt.as_str()), (send.as_str(), "1"));
    assert_eq!(mail.message_id, format!("{send}@sender.example"), "ours");
    for header in ["List-Unsubscribe-Post: List-Unsubscribe=One-Click", "From: one@sender.example"]
    {
        assert!(mail.message.contains(header), "{}", mail.message);
    }
    assert_eq!(tracked(&mail), ["no", "no", "no"]);
    shop.until("SELECT count(*) = 1 FROM signals WHERE kind = 'delivered'").await;
    shop.until("SELECT count(*) = 2 FROM inbound_events WHERE attempt = 1 AND send_id IS NOT NULL")
        .await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mailgun_tells_of_clicks_where_it_is_asked_to() {
    let mut shop = Shop::open().await;
    let asked = format!("{}?tracking=clicks", shop.mailgun.url());
    shop.sender("asked", &asked, mailgun::KEY, "two@sender.example").await;
    shop.mailgun.reports(&shop.events_to, Reports::words(&["delivered", "clicked"]));
    shop.people(&["ada@example.com,,"]).await;
    let steps = json!([
        { "key": "hello", "email": { "subject": "Hello", "body": "How are you?" } },
        { "key": "read", "wait_until": { "for": "20 days", "clicks": ["hello"] } },
    ]);
    let silent =
        json!({ "name": "silent", "zone": "UTC", "senders": ["mails", "asked"], "steps": steps });
    let silent = serde_json::from_value(silent).unwrap();
    let applied =
        apply::apply(shop.store(), shop.workspace, &silent, "test").await.unwrap().unwrap();
    assert_eq!(applied.deaf, ["mails"]);
    shop.campaign_by("spring", &["asked"], steps).await;
    shop.comes_to("spring", MAIL, "finished").await;
    assert_eq!(tracked(&shop.mailgun.accepted().remove(0)), ["yes", "yes", "no"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_behind_an_error_is_settled_by_its_event() {
    for fault in [Fault::ErrorAfterAccepting, Fault::ResetAfterAccepting] {
        let reports = Reports::Twice(vec![Report::of("accepted")]);
        let mut shop = meets(Some(fault), reports).await;
        shop.comes_to("spring", MAIL, "waiting").await;
        assert_eq!((shop.mailgun.asked(), shop.mailgun.accepted().len()), (1, 1), "{fault:?}");
        shop.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_nobody_posts_about_is_looked_up() {
    let mut shop = meets(Some(Fault::ErrorAfterAccepting), Reports::None).await;
    shop.until("SELECT count(*) = 1 FROM sends WHERE state = 'unknown' AND settle_at > now()")
        .await;
    shop.time_passes().await;
    shop.comes_to("spring", MAIL, "waiting").await;
    assert_eq!(shop.send("hello").await, "accepted: its provider lists it: accepted");
    assert_eq!(shop.mailgun.asked(), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_not_found_three_times_needs_a_person() {
    let mut shop = meets(Some(Fault::Error), Reports::None).await;
    for looks in 1..3 {
        let waits = "SELECT count(*) = 1 FROM sends WHERE state = 'unknown' AND settle_at > now()";
        shop.until(waits).await;
        shop.time_passes().await;
        shop.until(&format!("SELECT bool_and(looks = {looks}) FROM sends")).await;
    }
    shop.time_passes().await;
    shop.until("SELECT bool_and(state = 'needs_review') FROM sends").await;
    shop.until("SELECT sends_to_review() = 1").await;
    // Those who watch heard once that nobody knows.
    shop.until("SELECT count(*) = 1 FROM changes WHERE news LIKE '%\"unknown\"%'").await;
    assert!(shop.send("hello").await.contains("does not know the message"));
    assert_eq!((shop.mailgun.asked(), shop.mailgun.accepted().len()), (1, 0));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_read_by_status() {
    for (status, word) in [(400, "bounced"), (413, "failed"), (401, "held"), (429, "retrying")] {
        let mut shop = meets(Some(Fault::Refused(status, 0)), Reports::None).await;
        shop.comes_to("spring", MAIL, word).await;
        assert_eq!((shop.mailgun.asked(), shop.mailgun.accepted().len()), (1, 0), "{status}");
        let is_paused = shop.sender_named("mails").await.status_reason.is_some();
        assert_eq!(is_paused, status == 401, "{status}");
        shop.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_that_is_posted_ends_the_lead() {
    let reports = Reports::Of(vec![Report::because("failed", 550)]);
    let mut shop = meets(None, reports).await;
    shop.comes_to("spring", MAIL, "bounced").await;
    assert_eq!(shop.suppressed().await, [format!("{MAIL} hard_bounce")]);
    shop.close().await;
}
