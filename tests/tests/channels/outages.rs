//! A provider that does not answer closes its own senders, says so in the plans of their leads, and
//! stops nobody else.

use activities::senders::trouble::Breaker;
use activities::store::clock;
use machine::state::Why;
use serde_json::json;

use super::shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn one_provider_that_is_away_rests_alone_and_comes_back_by_one_call() {
    let mut shop = Shop::open().await;
    let people: Vec<String> =
        (0..12).map(|n| format!("lead{n}@example.com,+120255501{n:02},yes")).collect();
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    shop.people(&people).await;
    shop.twilio.stop().await;
    let rest = json!({ "key": "rest", "wait": "20 days", "finish": {} });
    let text = json!([{ "key": "hello", "sms": { "body": "Hello" } }, rest]);
    shop.campaign("texts", text).await;
    shop.until("SELECT trouble_until > now() FROM senders WHERE name = 'texts'").await;
    shop.until("SELECT count(*) = 12 FROM enrollments WHERE why IS NOT NULL").await;
    let waits = "SELECT count(*) FROM enrollments WHERE why";
    let outage = shop.one(&format!("SELECT ({waits} = 'provider_outage')::text")).await;
    let retries = shop.one(&format!("SELECT ({waits} = 'retry_backoff')::text")).await;
    let (outage, retries): (u32, u32) = (outage.parse().unwrap(), retries.parse().unwrap());
    // As many calls as were under way together; nobody's patience is spent while nothing can leave.
    assert!(outage >= 1 && retries >= 5 && outage + retries == 12, "{outage} and {retries}");
    let address = shop
        .one(
            "SELECT a.address FROM enrollments e JOIN addresses a USING (workspace_id, lead_id)
              WHERE e.why = 'provider_outage' AND a.channel = 'sms' LIMIT 1",
        )
        .await;
    let plan = shop.view("texts", &address).await.plan;
    assert!(plan.headline.ends_with("the sender's provider is not working"), "{}", plan.headline);
    assert!(plan.constraints.iter().any(|it| it.kind == Why::ProviderOutage));

    // The others are not concerned.
    let mail = json!([{ "key": "note", "email": { "subject": "Hello", "body": "By mail." } }]);
    shop.campaign("mails", mail).await;
    shop.mailed(12).await;
    let sender = shop.sender_named("texts").await;
    let wall = clock::read(&mut shop.owner).await.unwrap().wall;
    assert!(matches!(sender.breaker(wall), Breaker::Open { .. }));
    assert_eq!(shop.sender_named("mails").await.breaker(wall), Breaker::Closed);

    shop.twilio.resume().await;
    shop.time_passes().await;
    shop.texted_in_time(12).await;
    // Everybody rests, so nothing is due however far the clock was moved.
    shop.until("SELECT bool_and(state = 'accepted') FROM sends").await;
    shop.until("SELECT bool_and(wake_at IS NULL OR next_step = 'rest') FROM enrollments").await;
    // A report of a text wakes its lead for a moment, and the clock may be moved just then.
    shop.nothing_is_due().await;
    let mut numbers: Vec<_> = shop.twilio.accepted().into_iter().map(|text| text.to).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 12, "each once");
    shop.until("SELECT bool_and(trouble_count = 0 AND trouble_until IS NULL) FROM senders").await;
    shop.close().await;
}
