//! Posts that nobody signed, or somebody else: not a row is written.

use activities::endpoint_key::{EndpointKey, KeyUse};
use activities::ids;
use activities::store::{clock, webhook_endpoints, workspaces};
use hmac::{Hmac, KeyInit, Mac as _};
use reqwest::StatusCode;
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tests::emulators::Reports;
use tests::emulators::twilio::{TOKEN, deliver, fields, sign};
use tests::end_to_end::provider::client;

use super::shop::{ADA, Shop};

fn text(body: &str) -> Vec<(String, String)> {
    fields(&[("MessageSid", "SMx"), ("From", ADA), ("To", "+15550100"), ("Body", body)])
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_signed_over_our_own_address_is_taken() {
    let mut shop = Shop::open().await;
    shop.twilio.reports(Reports::None);
    shop.people(&["ada@example.com,+12025550101,yes"]).await;
    let steps = json!([
        { "key": "hello", "sms": { "body": "Hello" } },
        { "key": "rest", "wait": "9 days", "finish": {} },
    ]);
    shop.campaign("spring", steps).await;
    shop.texted(1).await;
    let callback = shop.twilio.accepted()[0].status_callback.clone();
    let status = fields(&[("MessageSid", "SM1"), ("MessageStatus", "delivered")]);
    let inbound = shop.texts_to.clone();
    for (url, form) in [(inbound.clone(), text("STOP")), (callback.clone(), status.clone())] {
        let other = url.replace("http://127.0.0.1", "https://evil.example");
        let signature = sign(&url, &form, TOKEN);
        let truncated = signature[..signature.len() - 4].to_owned();
        for signature in [
            String::new(),
            truncated,
            sign(&url, &form, "another token"),
            sign(&other, &form, TOKEN),
            sign(&url, &text("START"), TOKEN),
        ] {
            let request = client().post(&url).form(&form).header("X-Twilio-Signature", &signature);
            // What the request says about where it went is not asked.
            let request = request
                .header("X-Forwarded-Host", "evil.example")
                .header("X-Forwarded-Proto", "https");
            let answer = request.send().await.unwrap().status();
            assert_eq!(answer, StatusCode::UNAUTHORIZED, "{url} {signature}");
        }
        let unsigned = client().post(&url).form(&form).send().await.unwrap().status();
        assert_eq!(unsigned, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(shop.one("SELECT count(*)::text FROM inbound_events").await, "0");
    assert!(shop.suppressed().await.is_empty());

    let request = client().post(&inbound).form(&text("STOP"));
    let request = request.header("X-Twilio-Signature", sign(&inbound, &text("STOP"), TOKEN));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/xml"));
    assert!(answer.text().await.unwrap().ends_with("<Response/>"));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_counts_with_its_hash_in_the_address() {
    let mut shop = Shop::open().await;
    let body = json!({ "MessageSid": "SMj", "From": ADA, "Body": "stop" }).to_string();
    let hash = hex::encode(Sha256::digest(&body));
    let post = async |url: &str, body: &str| {
        let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(TOKEN.as_bytes()).unwrap();
        mac.update(url.as_bytes());
        let signature = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            mac.finalize().into_bytes(),
        );
        let request = client().post(url).header("content-type", "application/json");
        let request = request.header("X-Twilio-Signature", signature).body(body.to_owned());
        request.send().await.unwrap().status()
    };
    let plain = shop.texts_to.clone();
    let hashed = format!("{plain}?bodySHA256={hash}");
    assert_eq!(post(&plain, &body).await, StatusCode::UNAUTHORIZED, "no hash");
    let wrong = format!("{plain}?bodySHA256={}", "0".repeat(64));
    assert_eq!(post(&wrong, &body).await, StatusCode::UNAUTHORIZED, "another hash");
    let changed = body.replace("stop", "start");
    assert_eq!(post(&hashed, &changed).await, StatusCode::UNAUTHORIZED, "another body");
    assert_eq!(shop.one("SELECT count(*)::text FROM inbound_events").await, "0");
    assert_eq!(post(&hashed, &body).await, StatusCode::OK);
    assert_eq!(shop.suppressed().await, [format!("{ADA} opted_out")]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_workspace_speaks_for_another() {
    let mut shop = Shop::open().await;
    shop.people(&["ada@example.com,+12025550101,yes"]).await;
    let other = workspaces::ensure(shop.store(), "other").await.unwrap();
    let key = EndpointKey::generate(KeyUse::Webhook, other.uuid());
    let mut tx = shop.store().begin(other).await.unwrap();
    let now = clock::read(&mut tx).await.unwrap().wall;
    let keys = &shop.room.keys;
    let secret = b"token of the other";
    webhook_endpoints::add(&mut tx, keys, ids::new(), &key, "twilio", secret, now).await.unwrap();
    tx.commit().await.unwrap();
    let own = shop.texts_to.clone();
    let (base, _) = own.rsplit_once('/').unwrap();
    let theirs = format!("{base}/{}", key.reveal());
    // Their token for our endpoint, ours for theirs, and a path that opens nothing.
    assert_eq!(deliver(&own, &text("STOP"), "token of the other").await, 401);
    assert_eq!(deliver(&theirs, &text("STOP"), TOKEN).await, 401);
    assert_eq!(deliver(&format!("{base}/x"), &text("STOP"), TOKEN).await, 404);
    assert_eq!(deliver(&format!("{base}/status/x"), &text("STOP"), TOKEN).await, 404);
    let mailgun = shop.events_to.rsplit_once('/').unwrap().1.to_owned();
    assert_eq!(deliver(&format!("{base}/{mailgun}"), &text("STOP"), TOKEN).await, 404);
    assert_eq!(shop.one("SELECT count(*)::text FROM inbound_events").await, "0");
    // Their own STOP is theirs alone.
    assert_eq!(deliver(&theirs, &text("STOP"), "token of the other").await, 200);
    let at = "SELECT count(*)::text FROM suppressions WHERE workspace_id";
    let default = shop.workspace;
    assert_eq!(shop.one(&format!("{at} = '{default}'")).await, "0");
    assert_eq!(shop.one(&format!("{at} = '{other}'")).await, "1");
    shop.close().await;
}
