//! Leads in campaigns: entering, plan, journal, orders.

use activities::api_keys::Role;
use activities::ingest::{self, Verb};
use chrono::TimeDelta;
use machine::effect::EffectId;
use machine::ids::{EnrollmentId, Subject, send_id};
use machine::signal::{Answer, Refusal, Signal};
use postgres_runner::{Runner, Settings};
use serde_json::{Value, json};

use crate::campaigns::{made, spring, with};
use crate::programs::{Api, Program};

const LEADS: &str = "\
email,first_name,tags,rooms
ann@example.com,Ann,hotel;seaside,40
bob@example.com,Bob,hotel,8
eve@example.com,Eve,,90
";

/// A campaign whose first mail waits for two days.
fn slow() -> Value {
    let mut document = spring();
    document["steps"][0]["wait"] = json!("2 days");
    document
}

/// A campaign with an audience of nobody, started.
async fn started(api: &Api, operator: &Program<'_>, document: Value) -> String {
    let audience = json!({ "filter": { "attribute": "rooms", "at_least": 1_000 } });
    let path = made(operator, &with(document, "audience", audience)).await;
    api.import(LEADS).await;
    operator.order(&format!("{path}/start")).await.json(202);
    path
}

/// Lets a lead enter and returns the path of its enrollment.
async fn entered(api: &Api, operator: &Program<'_>, path: &str, address: &str) -> String {
    let lead = api.lead(address).await;
    let report = operator.post(&format!("{path}/enrollments"), &json!({ "leads": [lead] })).await;
    let report = report.json(200);
    api.turn().await;
    format!("/enrollments/{}", report["enrollments"][0]["enrollment"].as_str().unwrap())
}

#[tokio::test]
async fn leads_enter_once_and_each_that_does_not_is_told_why() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let path = made(&operator, &spring()).await;
    let enrollments = format!("{path}/enrollments");
    let everyone = json!({ "everyone": {} });
    assert_eq!(operator.post(&enrollments, &everyone).await.problem(409).0, "conflict");
    api.import(LEADS).await;
    let mut tx = api.room.store.begin(api.workspace).await.unwrap();
    let (ann, bob) = (api.lead("ann@example.com").await, api.lead("bob@example.com").await);
    sqlx::query("DELETE FROM addresses WHERE lead_id = $1")
        .bind(bob.uuid())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let nobody = json!({ "tags": ["nobody"] });
    operator
        .patch(&path, &with(with(spring(), "audience", nobody), "senders", json!(["capture"])))
        .await
        .json(200);
    operator.order(&format!("{path}/start")).await.json(202);

    let ghost = uuid::Uuid::from_u128(7);
    let named = json!({ "leads": [ann, bob, ghost] });
    let report = operator.post(&enrollments, &named).await.json(200);
    assert_eq!((&report["added"], &report["skipped"]), (&json!(1), &json!(2)));
    assert_eq!(report["enrollments"][0]["lead"], json!(ann));
    let left_out = report["left_out"].as_array().unwrap();
    assert!(left_out.contains(&json!({ "lead": bob, "reason": "no_address" })), "{left_out:?}");
    assert!(left_out.contains(&json!({ "lead": ghost, "reason": "unknown" })), "{left_out:?}");
    let tagged = json!({ "matching": { "tags": ["hotel", "seaside"] } });
    let again = operator.post(&enrollments, &tagged).await.json(200);
    assert_eq!(again["left_out"], json!([{ "lead": ann, "reason": "already_in" }]));
    let large = json!({ "attribute": "rooms", "at_least": 80 });
    let filtered = json!({ "matching": { "filter": large } });
    let report = operator.post(&enrollments, &filtered).await.json(200);
    assert_eq!(report["added"], 1);
    assert_eq!(
        report["reasons"],
        json!({
            "already_in": 0, "no_address": 1, "filtered_out": 1, "recently_contacted": 0,
            "with_person": 0, "unknown": 0,
        })
    );

    let wrong = async |body: Value| operator.post(&enrollments, &body).await.faulty_fields();
    assert_eq!(wrong(json!({ "leads": [] })).await, ["leads"]);
    assert_eq!(wrong(json!({ "leads": ["ann"] })).await, ["leads[0]"]);
    assert_eq!(wrong(json!({ "matching": {} })).await, ["matching"]);
    assert_eq!(wrong(json!({ "matching": { "tag": "hotel" } })).await, ["matching.tag"]);
    let early = json!({ "matching": { "filter": { "sent": "intro" } } });
    assert_eq!(wrong(early).await, ["matching.filter"]);
    let strangers = api.stranger(Role::Operator).await;
    let theirs = made(&strangers, &spring()).await;
    strangers.order(&format!("{theirs}/start")).await.json(202);
    let stolen = json!({ "leads": [ann] });
    let stolen = strangers.post(&format!("{theirs}/enrollments"), &stolen).await.json(200);
    assert_eq!(stolen["left_out"], json!([{ "lead": ann, "reason": "unknown" }]));
}

#[tokio::test]
async fn whom_another_campaign_has_is_left_alone() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let mut one_mail = with(spring(), "handover", json!({ "to": "sales@example.com" }));
    one_mail["steps"].as_array_mut().unwrap().truncate(1);
    let spring = started(&api, &operator, one_mail.clone()).await;
    let runner = Runner::start(api.room.clone(), Settings::default()).await.unwrap();
    let (ann, bob) = (api.lead("ann@example.com").await, api.lead("bob@example.com").await);
    let report = json!({ "leads": [ann, bob] });
    let report = operator.post(&format!("{spring}/enrollments"), &report).await.json(200);
    let of_ann = report["enrollments"].as_array().unwrap();
    let of_ann = of_ann.iter().find(|it| it["lead"] == json!(ann)).unwrap();
    let of_ann = format!("/enrollments/{}", of_ann["enrollment"].as_str().unwrap());
    operator.until(&spring, |campaign| campaign["sent"] == 2).await;
    let hand_over = json!({ "signal": "hand_over" });
    operator.post(&format!("{of_ann}/signals"), &hand_over).await.json(202);
    operator.until(&of_ann, |shown| shown["plan"]["state"] == "with_person").await;

    let another = |name: &str, recontact: Value| {
        let mut document =
            with(with(one_mail.clone(), "name", json!(name)), "recontact", recontact);
        document["senders"] = json!(["capture"]);
        with(document, "audience", json!({ "tags": ["hotel"] }))
    };
    let guarded = made(&operator, &another("guarded", json!({ "not_within": "30 days" }))).await;
    let rehearsed = operator.order(&format!("{guarded}/rehearse")).await.json(200);
    assert_eq!(
        (&rehearsed["leads"], &rehearsed["recently_contacted"], &rehearsed["with_person"]),
        (&json!(0), &json!(1), &json!(1))
    );
    operator.order(&format!("{guarded}/start")).await.json(202);
    let everyone = json!({ "matching": { "tags": ["hotel"] } });
    let enters =
        async |path: &str| operator.post(&format!("{path}/enrollments"), &everyone).await.json(200);
    let report = enters(&guarded).await;
    assert_eq!(report["added"], 0, "{report}");
    assert_eq!(
        (&report["reasons"]["recently_contacted"], &report["reasons"]["with_person"]),
        (&json!(1), &json!(1))
    );
    let left_out = report["left_out"].as_array().unwrap();
    let told = json!({ "lead": bob, "reason": "recently_contacted" });
    assert!(left_out.contains(&told), "{left_out:?}");
    let told = json!({ "lead": ann, "reason": "with_person" });
    assert!(left_out.contains(&told), "{left_out:?}");

    api.after(TimeDelta::days(31)).await;
    let report = enters(&guarded).await;
    assert_eq!((&report["added"], &report["reasons"]["with_person"]), (&json!(1), &json!(1)));
    let again = enters(&guarded).await;
    assert_eq!(again["reasons"]["already_in"], 1, "its own message keeps nobody out: {again}");
    let open = made(&operator, &another("open", json!({ "with_person": "enter" }))).await;
    operator.order(&format!("{open}/start")).await.json(202);
    operator.until(&open, |campaign| campaign["sent"] == 2).await;
    runner.drain().await;
}

#[tokio::test]
async fn enrollments_are_listed_by_state_in_pages() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let path = started(&api, &operator, slow()).await;
    let enrollments = format!("{path}/enrollments");
    operator.post(&enrollments, &json!({ "everyone": {} })).await.json(200);
    api.turn().await;
    let first = operator.get(&format!("{enrollments}?limit=2")).await.json(200);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let next = first["next"].as_str().unwrap();
    let rest = operator.get(&format!("{enrollments}?limit=2&cursor={next}")).await.json(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    let one = rest["items"][0]["id"].as_str().unwrap();
    operator.post(&format!("/enrollments/{one}/signals"), &json!({ "signal": "pause" })).await;
    api.turn().await;
    let paused = operator.get(&format!("{enrollments}?state=paused")).await.json(200);
    assert_eq!(paused["items"][0]["id"], one);
    assert_eq!(paused["items"].as_array().unwrap().len(), 1);
    let queued = operator.get(&format!("{enrollments}?state=queued")).await.json(200);
    assert_eq!(queued["items"].as_array().unwrap().len(), 2);
    let wrong = operator.get(&format!("{enrollments}?state=asleep")).await;
    assert_eq!(wrong.faulty_fields(), ["state"]);
    let states = operator.get(&path).await.json(200)["states"].clone();
    assert_eq!(states, json!({ "queued": 2, "paused": 1 }));
}

#[tokio::test]
async fn a_lead_is_explained_with_its_journal() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let path = started(&api, &operator, slow()).await;
    let ann = entered(&api, &operator, &path, "ann@example.com").await;
    let viewer = api.program(Role::Viewer).await;
    let read = viewer.get(&ann).await.json(200);
    assert_eq!((&read["plan"]["state"], &read["unseen"]), (&json!("queued"), &json!(0)));
    assert_eq!(read["plan"]["next"]["step"], "intro");
    assert_eq!(read["email"], "ann@example.com");
    for signal in ["pause", "stop"] {
        operator.post(&format!("{ann}/signals"), &json!({ "signal": signal })).await.json(202);
        api.turn().await;
    }
    let journal = format!("{ann}/journal");
    let page = viewer.get(&format!("{journal}?limit=2")).await.json(200);
    assert_eq!(page["items"][0]["what"], "entered the campaign");
    assert_eq!(page["items"][1]["kind"], "paused");
    assert_eq!(page["items"][1]["signal"], json!({ "kind": "paused", "scope": "lead" }));
    assert_eq!(page["items"][1]["why"], "lead_paused");
    let next = page["next"].as_str().unwrap();
    let rest = viewer.get(&format!("{journal}?limit=2&cursor={next}")).await.json(200);
    assert_eq!(rest["items"][0]["turn"], 3);
    assert_eq!(rest["items"][0]["state"], "stopped");
    let stranger = api.stranger(Role::Admin).await;
    assert_eq!(stranger.get(&ann).await.problem(404).0, "not-found");
    assert_eq!(stranger.get(&journal).await.problem(404).0, "not-found");
    let order = json!({ "signal": "pause" });
    let signals = format!("{ann}/signals");
    assert_eq!(stranger.post(&signals, &order).await.problem(404).0, "not-found");
    assert_eq!(viewer.post(&signals, &order).await.problem(403).0, "forbidden");
}

#[tokio::test]
async fn an_order_that_means_nothing_is_refused() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let path = started(&api, &operator, slow()).await;
    let ann = entered(&api, &operator, &path, "ann@example.com").await;
    let signals = format!("{ann}/signals");
    let order = async |body: Value| operator.post(&signals, &body).await;
    for (body, field) in [
        (json!({ "signal": "resume" }), "rule"),
        (json!({ "signal": "pause", "rule": "keep" }), "rule"),
        (json!({ "signal": "resume", "rule": "later" }), "rule"),
        (json!({ "signal": "stop", "step": "intro" }), "step"),
        (json!({ "signal": "called" }), "result"),
        (json!({ "signal": "dance" }), "signal"),
        (json!({ "signal": "stop", "why": "x" }), "why"),
    ] {
        assert_eq!(order(body).await.faulty_fields(), [field]);
    }
    let refused = async |body: Value| order(body).await.problem(409).1;
    assert_eq!(refused(json!({ "signal": "approve" })).await, "no draft of it waits; it is queued");
    let called = json!({ "signal": "called", "result": "reached" });
    assert_eq!(refused(called).await, "no call of it is due; it is queued");
    let resume = json!({ "signal": "resume", "rule": "keep" });
    assert_eq!(refused(resume.clone()).await, "it is not paused; it is queued");
    let wrong = json!({ "signal": "skip", "step": "nudge" });
    assert!(refused(wrong).await.contains("`intro`"));
    assert!(refused(json!({ "signal": "hand_over" })).await.contains("handover.to"));

    order(json!({ "signal": "pause" })).await.json(202);
    api.turn().await;
    assert_eq!(refused(json!({ "signal": "pause" })).await, "it is paused already");
    assert_eq!(
        refused(json!({ "signal": "send_now" })).await,
        "no delay holds it up; it is paused"
    );
    order(resume).await.json(202);
    api.turn().await;
    let told = order(json!({ "signal": "skip", "step": "intro" })).await.json(202);
    assert_eq!(told["told"], json!({ "kind": "skipped", "step": "intro" }));
    api.turn().await;
    assert_eq!(operator.get(&ann).await.json(200)["plan"]["next"]["step"], "nudge");
    order(json!({ "signal": "send_now" })).await.json(202);
    api.turn().await;
    // Nobody sends here, so the message waits for its gate and can still be called back.
    assert_eq!(operator.get(&ann).await.json(200)["plan"]["state"], "sending");
    assert_eq!(
        refused(json!({ "signal": "send_now" })).await,
        "no delay holds it up; it is sending"
    );
    order(json!({ "signal": "stop" })).await.json(202);
    api.turn().await;
    for signal in ["pause", "skip", "send_now", "stop", "replied"] {
        assert_eq!(refused(json!({ "signal": signal })).await, "it is over: stopped", "{signal}");
    }
}

#[tokio::test]
async fn an_order_repeated_under_its_name_is_given_once() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let path = started(&api, &operator, slow()).await;
    let ann = entered(&api, &operator, &path, "ann@example.com").await;
    let signals = format!("{ann}/signals");
    let skip = json!({ "signal": "skip" });
    operator.post_once("skip", &signals, &skip).await.json(202);
    // As if the first answer had been lost on its way from the database.
    let mut tx = api.room.store.begin(api.workspace).await.unwrap();
    sqlx::query("DELETE FROM idempotent_answers").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    api.turn().await;
    let again = operator.post_once("skip", &signals, &skip).await.json(202);
    assert_eq!(again["told"]["step"], "intro");
    api.turn().await;
    assert_eq!(operator.get(&ann).await.json(200)["plan"]["next"]["step"], "nudge");
}

#[tokio::test]
async fn what_was_given_up_is_tried_again_one_by_one_or_all_at_once() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let path = started(&api, &operator, spring()).await;
    let (ann, bob) = (
        entered(&api, &operator, &path, "ann@example.com").await,
        entered(&api, &operator, &path, "bob@example.com").await,
    );
    entered(&api, &operator, &path, "eve@example.com").await;
    let retry = json!({ "signal": "retry" });
    let (kind, detail) = operator.post(&format!("{ann}/signals"), &retry).await.problem(409);
    assert_eq!(
        (kind.as_str(), detail.as_str()),
        ("conflict", "nothing of it was given up; it is sending")
    );
    let fails = async || {
        for path in [&ann, &bob] {
            let enrollment: EnrollmentId = path.rsplit('/').next().unwrap().parse().unwrap();
            let (subject, asked) = (Subject::Step("intro"), operator.get(path).await.json(200));
            let send = send_id(api.workspace, enrollment, subject, 1);
            let attempt = u32::try_from(asked["sends"][0]["attempt"].as_u64().unwrap()).unwrap();
            let answer = Answer::Rejected { class: Refusal::Content, retry_after_s: None };
            let effect = EffectId { send, attempt };
            let signal = Signal::SendAnswered { effect, answer };
            let (source_key, actor) = (format!("refused/{attempt}"), "test".to_owned());
            let verb = Verb { enrollment, signal, source_key, actor };
            ingest::verb(&api.room.store, api.workspace, verb).await.unwrap();
        }
        api.turn().await;
    };
    fails().await;
    let failed = format!("{path}/enrollments?state=failed");
    assert_eq!(operator.get(&failed).await.json(200)["items"].as_array().unwrap().len(), 2);

    let told = operator.post(&format!("{ann}/signals"), &retry).await.json(202);
    assert_eq!(told["told"], json!({ "kind": "retried" }));
    api.turn().await;
    let shown = operator.get(&ann).await.json(200);
    assert_eq!(
        (&shown["plan"]["state"], &shown["sends"][0]["attempt"]),
        (&json!("sending"), &json!(2))
    );
    let campaign_retry = format!("{path}/retry");
    let foreseen = operator.order(&format!("{campaign_retry}?dry_run=true")).await.json(200);
    assert_eq!(foreseen, json!({ "leads": 1, "ordered": false }));
    let told = operator.order(&campaign_retry).await.json(200);
    assert_eq!(told, json!({ "leads": 1, "ordered": true }));
    api.turn().await;
    assert_eq!(operator.get(&bob).await.json(200)["plan"]["state"], "sending");
    assert_eq!(operator.order(&campaign_retry).await.json(200)["leads"], 0);

    // What nobody may write to any more is not tried again.
    fails().await;
    let admin = api.program(Role::Admin).await;
    let lead = api.lead("ann@example.com").await;
    assert_eq!(admin.delete(&format!("/leads/{lead}")).await.status, 204);
    let refused = operator.post(&format!("{ann}/signals"), &retry).await.problem(409).1;
    assert_eq!(refused, "the person was erased");
    assert_eq!(
        operator.order(&format!("{campaign_retry}?dry_run=true")).await.json(200)["leads"],
        1
    );
    operator.order(&format!("{path}/stop")).await.json(200);
    assert_eq!(operator.order(&campaign_retry).await.problem(409).0, "conflict");
    let refused = operator.post(&format!("{bob}/signals"), &retry).await.problem(409).1;
    assert_eq!(refused, "its campaign is stopped for good");
}

#[tokio::test]
async fn leads_enter_by_what_leads_are_found_by() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let path = started(&api, &operator, slow()).await;
    api.import("email,stage,tier,tags\nfay@example.com,Qualified,A,hotel\ngus@example.com,qualified,B,hotel\n")
        .await;
    let enrollments = format!("{path}/enrollments");
    let added = async |matching: Value| {
        let body = json!({ "matching": matching });
        operator.post(&enrollments, &body).await.json(200)["added"].clone()
    };
    assert_eq!(added(json!({ "stage": "QUALIFIED", "tags": ["hotel"], "tier": "a" })).await, 1);
    assert_eq!(added(json!({ "stage": "qualified", "tags": ["hotel", "seaside"] })).await, 0);
    let large = json!({ "attribute": "rooms", "at_least": 80 });
    assert_eq!(added(json!({ "has_email": true, "filter": large })).await, 1);
    assert_eq!(added(json!({ "has_email": false })).await, 0);
    assert_eq!(added(json!({ "text": "ann" })).await, 1);
    assert_eq!(added(json!({ "stage": "new", "source": "" })).await, 1);
    let wrong = json!({ "matching": { "stage": "a\nb" } });
    assert_eq!(operator.post(&enrollments, &wrong).await.faulty_fields(), ["matching.stage"]);
}
