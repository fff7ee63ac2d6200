//! What is read of the exchange with a lead: who wrote, and one thread over channels and campaigns.

use activities::api_keys::Role;
use activities::inbound::Envelope;
use activities::ingest::{self, NewEvent, Played, Provider};
use serde_json::{Value, json};

use crate::programs::{Api, Program};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

fn campaign(name: &str) -> Value {
    json!({
        "name": name,
        "zone": "UTC",
        "handover": { "to": "sales@harbour.example", "answer_within": "2 hours" },
        "reply": { "rule": "hand_over", "scope": "campaign" },
        "steps": [
            { "key": "intro", "email": { "subject": "Hello", "body": "Hello there." } },
            { "key": "rest", "wait": "30 days", "finish": {} },
        ],
    })
}

/// A mail comes in that answers a message of ours.
pub(crate) async fn writes(api: &Api, from: &str, send: &str, head: &str, text: &str) {
    let raw = format!(
        "From: <{from}>\r\nSubject: Re: Hello\r\nMessage-ID: <{text}@q.example>\r\n\
         In-Reply-To: <{send}@harbour.example>\r\n{head}\r\n{text}\r\n"
    );
    let (room, workspace, now) = (&api.room, api.workspace, api.now().await);
    let (envelope, key) = (Envelope::default(), format!("{from}/{text}"));
    let event = NewEvent::of_raw_mail(
        room,
        workspace,
        Provider::Capture,
        key,
        raw.as_bytes(),
        envelope,
        now,
    );
    ingest::signal(room, workspace, event).await.unwrap();
}

/// The message of step `intro` that a lead got in a campaign.
async fn intro(program: &Program<'_>, lead: &str, campaign: &str) -> String {
    let ours = |send: &Value| {
        send["campaign"] == campaign && send["step"] == "intro" && send["state"] == "accepted"
    };
    let path = format!("/sends?lead={lead}");
    let sends =
        program.until(&path, |page| page["items"].as_array().unwrap().iter().any(ours)).await;
    let send = sends["items"].as_array().unwrap().iter().find(|send| ours(send)).unwrap();
    send["id"].as_str().unwrap().to_owned()
}

/// The types of a thread's items, each with what tells it from others of its type.
fn told(thread: &Value) -> Vec<(String, String)> {
    let items = thread["items"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    items
        .map(|item| {
            let kind = word(&item["type"]);
            let what = match kind.as_str() {
                "sent" => &item["campaign"],
                "received" => &item["meaning"],
                "event" => &item["kind"],
                _ => &item["act"],
            };
            (kind, word(what))
        })
        .collect()
}

#[tokio::test]
async fn everything_between_a_lead_and_us_is_one_thread() {
    let api = Api::new().await;
    let _engine = api.runs(&campaign("spring"), &[ADA, BOB]).await;
    let operator = api.program(Role::Operator).await;
    let mut document = campaign("autumn");
    document["senders"] = json!(["capture"]);
    document["audience"] = json!({ "tags": ["nobody"] });
    let made = operator.post("/campaigns", &document).await.json(201);
    let autumn = made["id"].as_str().unwrap();
    let (ada, bob) = (api.lead(ADA).await.to_string(), api.lead(BOB).await.to_string());
    operator.order(&format!("/campaigns/{autumn}/start")).await.json(202);
    let enrolled = json!({ "leads": [ada] });
    operator.post(&format!("/campaigns/{autumn}/enrollments"), &enrolled).await;
    let spring = intro(&operator, &ada, "spring").await;
    let autumn_send = intro(&operator, &ada, "autumn").await;
    let to_bob = intro(&operator, &bob, "spring").await;
    let nobody = operator.get("/conversations").await.json(200);
    assert_eq!(nobody, json!({ "items": [] }));

    let away = "Auto-Submitted: auto-replied\r\n";
    writes(&api, BOB, &to_bob, away, "I am away.").await;
    writes(&api, ADA, &spring, "", "Tell me more.").await;
    let waiting = operator
        .until("/conversations?waiting=true", |page| page["items"].as_array().unwrap().len() == 1);
    let waiting = waiting.await;
    assert_eq!(
        (&waiting["items"][0]["lead"], &waiting["items"][0]["email"]),
        (&json!(ada), &json!(ADA))
    );
    // A machine's answer begins no conversation, but stands in the thread as what it is.
    assert_eq!(
        operator.get("/conversations").await.json(200)["items"].as_array().unwrap().len(),
        1
    );
    let thread = format!("/conversations/{bob}");
    let read = operator.until(&thread, |page| page["items"][1]["meaning"] == "auto_replied").await;
    assert_eq!(
        (&read["items"][1]["automatic"], &read["items"][1]["text"]),
        (&json!(true), &json!("I am away."))
    );

    let enrollment = waiting["items"][0]["waiting"].as_str().unwrap();
    for verb in ["accept", "answered"] {
        let path = format!("/handovers/{enrollment}/{verb}");
        assert_eq!(operator.post(&path, &json!({})).await.status, 204);
    }
    let none = |page: &Value| page["items"] == json!([]);
    operator.until("/conversations?waiting=true", none).await;
    let link =
        NewEvent::of_played(autumn_send.parse().unwrap(), "out".to_owned(), Played::OptedOut);
    ingest::signal(&api.room, api.workspace, link).await.unwrap();

    let thread = format!("/conversations/{ada}");
    let read = operator.get(&thread).await.json(200);
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        told(&read),
        [
            pair("sent", "spring"),
            pair("sent", "autumn"),
            pair("received", "replied"),
            pair("handover", "offered"),
            pair("handover", "accepted"),
            pair("handover", "answered"),
            pair("event", "opted_out"),
        ]
    );
    let items = read["items"].as_array().unwrap();
    assert_eq!((&items[0]["subject"], &items[0]["step"]), (&json!("Hello"), &json!("intro")));
    assert!(items[0]["text"].as_str().unwrap().starts_with("Hello there."));
    assert_eq!((&items[2]["text"], &items[2]["step"]), (&json!("Tell me more."), &json!("intro")));
    assert_eq!(items[0]["outcome"]["what"], "accepted");
    assert_eq!(items[0]["message_id"], format!("{spring}@meridian.example"));
    assert_eq!(items[1]["outcome"]["what"], "opted_out");
    assert_eq!(items[2]["message_id"], "Tellmemore.@q.example");
    assert_eq!((&items[2]["campaign"], &items[2]["proven"]), (&json!("spring"), &json!(true)));
    // Page by page it is the same.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = operator.get(&format!("{thread}?limit=2{cursor}")).await.json(200);
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(&paged, items);
    let heard =
        |played| NewEvent::of_played(spring.parse().unwrap(), format!("{played:?}"), played);
    for (played, outcome) in [
        (Played::Clicked, "clicked"),
        (Played::Delivered, "clicked"),
        (Played::BouncedSoft, "clicked"),
        (Played::Complained, "complained"),
    ] {
        ingest::signal(&api.room, api.workspace, heard(played)).await.unwrap();
        let sends = operator.get(&format!("/sends?lead={ada}")).await.json(200);
        let send = sends["items"].as_array().unwrap().iter().find(|it| it["id"] == spring.as_str());
        assert_eq!(send.unwrap()["outcome"]["what"], outcome);
    }

    writes(&api, BOB, &to_bob, "", "Back again.").await;
    let first = operator.get("/conversations?limit=1").await.json(200);
    assert_eq!(first["items"][0]["lead"], json!(bob));
    let next = format!("/conversations?limit=1&cursor={}", first["next"].as_str().unwrap());
    assert_eq!(operator.get(&next).await.json(200)["items"][0]["lead"], json!(ada));
    let of_autumn = operator.get(&format!("/conversations?campaign={autumn}")).await.json(200);
    assert_eq!(of_autumn["items"].as_array().unwrap().len(), 1);
    let stranger = api.stranger(Role::Admin).await;
    assert_eq!(stranger.get(&thread).await.problem(404).0, "not-found");
    assert_eq!(stranger.get("/conversations").await.json(200)["items"], json!([]));

    let admin = api.program(Role::Admin).await;
    assert_eq!(admin.delete(&format!("/leads/{ada}")).await.status, 204);
    let read = admin.get(&thread).await.json(200);
    assert_eq!(read["items"][2]["erased"], json!(true));
    let text = read.to_string();
    assert!(!text.contains("Tell me more") && !text.contains("Hello there"), "{text}");
    let list = admin.get("/conversations").await.json(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}
