//! A campaign of mails and texts as its users have it: the real program, a mail server that is not ours,
//! a provider of texts over real HTTP, and another program that drives ours by its API.

use std::time::Duration;

use activities::inbound::{Envelope, InboundMail};
use activities::store::clock;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tests::emulators::Fault;
use tests::emulators::twilio::{self, TOKEN, Twilio};
use tests::end_to_end::installation::{Installation, SIGNING_KEY};
use tests::end_to_end::mail_server::{Accepted, Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none};
use tests::end_to_end::provider::{self, Provider};
use tests::end_to_end::temporal_server::{TemporalServer, engine};
use tests::end_to_end::until;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Who takes leads over.
const TEAM: &str = "sales@harbour.example";

/// A mail, then two texts, days apart; whoever answers is handed to a person.
fn campaign() -> Value {
    json!({
        "name": "spring",
        "senders": ["mails", "texts"],
        "zone": "UTC",
        "handover": { "to": TEAM, "answer_within": "300 days" },
        "steps": [
            {
                "key": "invitation",
                "email": { "subject": "A table for you, {{ name }}", "body": "Hello {{ name }}." },
            },
            {
                "key": "reminder",
                "wait": "5 days",
                "sms": { "body": "{{ name }}, did you see our mail? STOP ends this." },
            },
            {
                "key": "last-call",
                "wait": "10 days",
                "sms": { "body": "The last tables, {{ name }}." },
            },
        ],
    })
}

/// Who is written to, and on which number: each plays a part.
const PEOPLE: [(&str, &str, &str); 5] = [
    ("ada", "+12025550101", "granted"),
    ("ben", "+12025550102", "granted"),
    ("cleo", "+12025550103", "granted"),
    ("dora", "+12025550104", "unknown"),
    ("eve", "+12025550105", "granted"),
];

/// A program with a key, over HTTP.
struct Program {
    url: String,
    secret: String,
}

impl Program {
    /// Asks, until it is not too often, and returns the answer of this status.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>, status: u16) -> Value {
        loop {
            let url = format!("{}/api/v1{path}", self.url);
            let bearer = format!("Bearer {}", self.secret);
            let mut request =
                provider::client().request(method.clone(), url).header(AUTHORIZATION, bearer);
            if let Some(body) = body {
                request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
            }
            let answer = request.send().await.unwrap();
            let (told, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            if told != 429 {
                assert_eq!(told, status, "{method} {path}: {text}");
                return serde_json::from_str(&text).unwrap_or_default();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, None, 200).await
    }

    async fn post(&self, path: &str, body: Value, status: u16) -> Value {
        self.ask(Method::POST, path, Some(&body), status).await
    }

    /// Waits until a lead shows this word.
    async fn comes_to(&self, lead: &str, word: &str) {
        until(PATIENCE, async || {
            let shown = self.get(&format!("/leads/{lead}")).await;
            match shown["enrollments"][0]["state"].as_str() {
                Some(state) if state == word => Ok(()),
                _ => Err(format!("{lead} is not {word}: {}", shown["enrollments"])),
            }
        })
        .await;
    }

    /// A person closes a lead that was answered by mail.
    async fn close(&self, email: &str, result: &str) {
        let mut enrollment = String::new();
        until(PATIENCE, async || {
            let all = self.get("/handovers").await;
            let items = all["items"].as_array().unwrap();
            let Some(offer) = items.iter().find(|it| it["email"] == email) else {
                return Err(format!("nobody has {email}: {all}"));
            };
            offer["enrollment"].as_str().unwrap().clone_into(&mut enrollment);
            if offer["state"] == "answered" { Ok(()) } else { Err(format!("{offer}")) }
        })
        .await;
        let path = format!("/handovers/{enrollment}/close");
        self.post(&path, json!({ "result": result }), 204).await;
    }

    /// A person takes a lead, answers it and closes it.
    async fn take(&self, email: &str, result: &str) {
        let mut enrollment = String::new();
        until(PATIENCE, async || {
            let all = self.get("/handovers").await;
            let items = all["items"].as_array().unwrap();
            let Some(offer) = items.iter().find(|it| it["email"] == email) else {
                return Err(format!("nobody is offered {email}: {all}"));
            };
            offer["enrollment"].as_str().unwrap().clone_into(&mut enrollment);
            if offer["state"] == "offered" { Ok(()) } else { Err(format!("not offered: {offer}")) }
        })
        .await;
        let at = |verb: &str| format!("/handovers/{enrollment}/{verb}");
        self.post(&at("accept"), json!({}), 204).await;
        self.post(&at("answered"), json!({}), 204).await;
        self.post(&at("close"), json!({ "result": result }), 204).await;
    }
}

/// Waits until the mail server has accepted a mail to somebody.
async fn mail_to(mail_server: &MailServer, address: &str) -> Accepted {
    mails_to(mail_server, address, 1).await.remove(0)
}

/// Waits until the mail server has accepted so many mails to somebody.
async fn mails_to(mail_server: &MailServer, address: &str, count: usize) -> Vec<Accepted> {
    let mut found = Vec::new();
    until(PATIENCE, async || {
        found = mail_server.accepted().into_iter().filter(|mail| mail.to == address).collect();
        if found.len() >= count { Ok(()) } else { Err(format!("no mail to {address}")) }
    })
    .await;
    found
}

/// The text of a mail.
fn offered(mail_server: &MailServer, mail: &Accepted) -> String {
    let raw = mail_server.message(mail);
    InboundMail::from_raw(raw.as_bytes(), &Envelope::default()).unwrap().text
}

/// Waits until the provider has taken so many texts to a number.
async fn texts_to(twilio: &Twilio, number: &str, count: usize) {
    until(PATIENCE, async || match texts(twilio, number).len() {
        n if n >= count => Ok(()),
        n => Err(format!("{n} texts of {count} to {number}")),
    })
    .await;
}

fn texts(twilio: &Twilio, number: &str) -> Vec<String> {
    twilio.accepted().into_iter().filter(|it| it.to == number).map(|it| it.body).collect()
}

/// Somebody writes a text.
async fn says(endpoint: &str, sid: &str, number: &str, text: &str) {
    let form = twilio::fields(&[
        ("MessageSid", sid),
        ("SmsStatus", "received"),
        ("From", number),
        ("To", "+15550100"),
        ("Body", text),
    ]);
    assert!(twilio::deliver(endpoint, &form, SIGNING_KEY).await.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_and_texts_are_sent_answered_stopped_and_closed() {
    assert_all_comes_as_it_should("postgres", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_tell_whether_temporal_drives_them() {
    let temporal = TemporalServer::start().await;
    let address = temporal.address();
    assert_all_comes_as_it_should("temporal", &engine(&address)).await;
}

async fn assert_all_comes_as_it_should(engine: &str, settings: &[(&str, &str)]) {
    let mail_server = MailServer::start(Delays::default()).await;
    let twilio = Twilio::start().await;
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(settings);
    installation.ready(&mut serving).await;
    let key = installation.json(&["key", "create", "--role", "admin"]).await;
    let secret = key["secret"].as_str().unwrap().to_owned();
    let program = Program { url: installation.url(), secret };

    let mails = json!({ "name": "mails", "url": mail_server.url(), "from": "one@sender.example" });
    program.post("/senders", mails, 201).await;
    let texts_from =
        json!({ "name": "texts", "url": twilio.url(), "password": TOKEN, "from": "+15550100" });
    program.post("/senders", texts_from, 201).await;
    let endpoint = |added: Value| added["url"].as_str().unwrap().to_owned();
    let at = |provider: &str| json!({ "provider": provider, "signing_key": SIGNING_KEY });
    let texts_in = endpoint(program.post("/webhook-endpoints", at("twilio"), 201).await);
    let mails_in = endpoint(program.post("/webhook-endpoints", at("mailgun"), 201).await);
    let mut ids = Vec::new();
    for (name, phone, sms) in PEOPLE {
        let lead = json!({
            "emails": [format!("{name}@guests.example")],
            "phones": [phone],
            "consent": { "sms": sms },
            "attributes": { "name": name },
        });
        let added = program.post("/leads", lead, 201).await;
        ids.push(added["id"].as_str().unwrap().to_owned());
    }
    let [ada, ben, cleo, dora, eve] = &ids[..] else { panic!("five people") };

    // The provider takes the first text to Cleo and does not say so: only its reports do.
    twilio.fails(PEOPLE[2].1, Fault::ErrorAfterAccepting);
    let made = program.post("/campaigns", campaign(), 201).await;
    let path = format!("/campaigns/{}", made["id"].as_str().unwrap());
    let rehearsal = program.post(&format!("{path}/rehearse"), json!({}), 200).await;
    assert_eq!((&rehearsal["leads"], &rehearsal["touches"]), (&json!(5), &json!(13)));
    let mut owner = installation.database.owner().await;
    clock::set_factor(&mut owner, 86_400.0).await.unwrap();
    program.post(&format!("{path}/start"), json!({}), 202).await;

    let mail = mail_to(&mail_server, "eve@guests.example").await;
    let answer = Provider::new(&mails_in, 1).answer(&mail, "Yes, on Friday.", &[]);
    assert!(provider::post(&answer).await.unwrap().is_success());
    // Either text may be ten days late, after a call of the provider's that failed: nobody waits for the other.
    let answers = async |(name, number, _): (&str, &str, &str), text: &str| {
        texts_to(&twilio, number, 1).await;
        says(&texts_in, &format!("SM-{name}"), number, text).await;
    };
    tokio::join!(answers(PEOPLE[0], "For two, please"), answers(PEOPLE[1], "Stop it"));

    // The person who is offered the lead answers the offer by mail.
    let mut offers = mails_to(&mail_server, TEAM, 1).await;
    until(PATIENCE, async || {
        offers = mails_to(&mail_server, TEAM, 1).await;
        offers.retain(|offer| offer.subject.starts_with("eve"));
        if offers.is_empty() { Err("nobody is offered eve".to_owned()) } else { Ok(()) }
    })
    .await;
    let offer = offers.remove(0);
    let quoted: String =
        offered(&mail_server, &offer).lines().map(|line| format!("> {line}\n")).collect();
    let mail = format!("On Friday, then.\n\nOn Monday one@sender.example wrote:\n{quoted}");
    let vouched = [
        ("X-Mailgun-Dkim-Check-Result", "Pass"),
        ("Received", "from mail.harbour.example by mxa.mailgun.org"),
        ("DKIM-Signature", "v=1; d=harbour.example; s=x; h=from; b=aa"),
    ];
    let answer = Provider::new(&mails_in, 2).vouched(&offer, &mail, &vouched);
    for _ in 0..2 {
        assert!(provider::post(&answer).await.unwrap().is_success());
    }
    assert_eq!(program.get("/dead-letters").await["items"], json!([]));
    let answered = mails_to(&mail_server, "eve@guests.example", 2).await.remove(1);
    assert_eq!(answered.subject, "Re: A table for you, eve");
    assert!(answered.in_reply_to.as_deref().unwrap().ends_with("@recipients.example>"));
    assert_eq!(answered.unsubscribe, None);
    let said = mail_server.message(&answered);
    assert!(said.contains("On Friday, then.") && said.contains("reply-"), "{said}");
    assert!(!said.contains("Yes, on Friday") && !said.contains("meridian handover"), "{said}");

    program.close("eve@guests.example", "lost").await;
    program.take("ada@guests.example", "won").await;
    program.comes_to(ben, "opted_out").await;
    program.comes_to(cleo, "finished").await;
    program.comes_to(dora, "held").await;
    for lead in [ada, eve] {
        program.comes_to(lead, "replied").await;
    }
    let shown = program.get(&path).await;
    assert_eq!(shown["engine"], engine, "{shown}");
    let states = json!({ "finished": 1, "held": 1, "opted_out": 1, "replied": 2 });
    assert_eq!(shown["states"], states, "{shown}");
    let stopped = program.post(&format!("{path}/stop"), json!({}), 200).await;
    assert_eq!(stopped["status"], "stopped");
    program.comes_to(dora, "stopped").await;
    assert_eq!(program.get(&path).await["live"], 0);

    let counts = PEOPLE.map(|(_, number, _)| texts(&twilio, number).len());
    assert_eq!(counts, [1, 1, 2, 0, 0], "{:?}", twilio.accepted());
    assert_eq!(texts(&twilio, PEOPLE[2].1)[1], "The last tables, cleo.");
    let accepted = mail_server.accepted();
    for (name, ..) in PEOPLE {
        let address = format!("{name}@guests.example");
        let expected = if name == "eve" { 2 } else { 1 };
        let count = accepted.iter().filter(|mail| mail.to == address).count();
        assert_eq!(count, expected, "{address}");
    }
    let offers = accepted.iter().filter(|mail| mail.to == TEAM);
    let offers: Vec<String> = offers.map(|offer| mail_server.message(offer)).collect();
    assert_eq!(offers.len(), 2, "one for each who answered");
    assert!(offers.iter().any(|offer| offer.contains("For two, please")), "{offers:?}");
    let suppressed = program.get("/suppressions").await;
    assert_eq!(suppressed["items"].as_array().unwrap().len(), 1, "{suppressed}");
    assert_eq!(suppressed["items"][0]["value"], PEOPLE[1].1);

    assert!(serving.terminate().await.success());
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(&installation.database).await));
    assert_none("suspicious lines", oracle::suspicious(&installation.log()));
    installation.run(&["verify"]).await;
    installation.run(&["replay", "--all"]).await;
}
