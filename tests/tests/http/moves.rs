//! Leads moved to another version of their sequence.

use activities::api_keys::Role;
use activities::campaigns::apply;
use activities::campaigns::enroll::{self, Selection};
use activities::engine::Engine;
use activities::engine_move;
use activities::replay::{self, Replayed};
use activities::version_move;
use chrono::TimeDelta;
use machine::ids::{CampaignId, EnrollmentId};
use postgres_runner::{Runner, Settings};
use serde_json::{Value, json};
use tests::end_to_end::{PATIENCE, until};

use crate::campaigns::{made, spring, with};
use crate::programs::{Api, Program};

fn mail(key: &str, wait: &str) -> Value {
    json!({ "key": key, "wait": wait, "email": { "subject": key, "body": "Good day" } })
}

fn steps(steps: Value) -> Value {
    with(with(spring(), "steps", steps), "senders", json!(["capture"]))
}

/// A campaign whose three leads are at its three steps, and the paths of them all.
async fn at_every_step(api: &Api, operator: &Program<'_>) -> (String, [String; 3]) {
    let first = json!([mail("intro", "2 days"), mail("nudge", "3 days"), mail("last", "5 days")]);
    let path = made(operator, &with(spring(), "steps", first)).await;
    api.import("email\nann@example.com\nbob@example.com\neve@example.com\n").await;
    operator.post(&format!("{path}/start"), &json!({})).await.json(202);
    let everyone = json!({ "everyone": {} });
    let report = operator.post(&format!("{path}/enrollments"), &everyone).await.json(200);
    api.turn().await;
    let mut leads = Vec::new();
    for (address, skips) in [
        ("ann@example.com", vec![]),
        ("bob@example.com", vec!["intro"]),
        ("eve@example.com", vec!["intro", "nudge"]),
    ] {
        let lead = json!(api.lead(address).await);
        let entered = report["enrollments"].as_array().unwrap().iter();
        let own = entered.clone().find(|it| it["lead"] == lead).unwrap();
        let enrollment = format!("/enrollments/{}", own["enrollment"].as_str().unwrap());
        for step in skips {
            let order = json!({ "signal": "skip", "step": step });
            operator.post(&format!("{enrollment}/signals"), &order).await.json(202);
            api.turn().await;
        }
        leads.push(enrollment);
    }
    (path, leads.try_into().unwrap())
}

async fn replayed(api: &Api, enrollment: &str) -> Replayed {
    let id: EnrollmentId = enrollment.rsplit('/').next().unwrap().parse().unwrap();
    let room = &api.room;
    replay::replay(&room.store, &room.versions, api.workspace, id).await.unwrap()
}

#[tokio::test]
async fn a_campaign_moves_with_its_leads_as_was_foreseen() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let (path, leads) = at_every_step(&api, &operator).await;
    let second = json!([mail("intro", "2 days"), mail("extra", "1 day"), mail("last", "5 days")]);
    operator.post(&format!("{path}/versions"), &steps(second)).await.json(200);
    let dry = operator.order(&format!("{path}/move?dry_run=true")).await.json(200);
    assert_eq!((&dry["to_version"], &dry["ordered"]), (&json!(2), &json!(false)));
    let preview = &dry["preview"];
    let effects = json!({ "unaffected": 1, "on_removed_step": 1, "other_step": 1 });
    assert_eq!((&preview["looked_at"], &preview["effects"]), (&json!(3), &effects));
    assert_eq!((&preview["repeats"], &preview["complete"]), (&json!(0), &json!(true)));
    assert_eq!(operator.get(&leads[1]).await.json(200)["version"], 1);

    let runner = Runner::start(api.room.clone(), Settings::default()).await.unwrap();
    let ordered = operator.post(&format!("{path}/move"), &json!({ "to_version": 2 })).await;
    assert_eq!(ordered.json(200)["ordered"], true);
    operator.until(&path, |campaign| campaign.get("moving_to").is_none()).await;
    runner.drain().await;
    for (lead, next) in leads.iter().zip(["intro", "extra", "extra"]) {
        let shown = operator.get(lead).await.json(200);
        assert_eq!((&shown["version"], &shown["plan"]["next"]["step"]), (&json!(2), &json!(next)));
        let foreseen = preview["examples"].as_array().unwrap().iter();
        let mut foreseen = foreseen.filter(|it| lead.ends_with(it["enrollment"].as_str().unwrap()));
        if let Some(foreseen) = foreseen.next() {
            assert_eq!(foreseen["then_step"], next);
        }
        let journal = operator.get(&format!("{lead}/journal")).await.json(200);
        let last = journal["items"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["what"], "moved to another version of the sequence");
        assert!(matches!(replayed(&api, lead).await, Replayed::Equal { .. }));
    }
    let again = operator.order(&format!("{path}/move?dry_run=true")).await.json(200);
    assert_eq!(again["preview"]["effects"], json!({ "already": 3 }));
}

#[tokio::test]
async fn a_lead_that_is_moved_gets_no_message_of_a_step_that_is_gone() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let (path, [ann, bob, eve]) = at_every_step(&api, &operator).await;
    let second = json!([mail("last", "5 days")]);
    operator.post(&format!("{path}/versions"), &steps(second)).await.json(200);
    api.after(TimeDelta::days(4)).await;
    api.turn().await;
    assert_eq!(operator.get(&ann).await.json(200)["plan"]["state"], "sending");
    let wrong = operator.post(&format!("{ann}/move"), &json!({ "to_version": 3 })).await;
    assert_eq!(wrong.faulty_fields(), ["to_version"]);
    // What a pause had told it in the same turn is no hindrance.
    let pause = json!({ "signal": "pause" });
    operator.post(&format!("{bob}/signals"), &pause).await.json(202);
    for lead in [&ann, &bob] {
        let moved = operator.order(&format!("{lead}/move")).await.json(200);
        assert_eq!(moved["version"], 2);
        assert!(matches!(replayed(&api, lead).await, Replayed::Equal { .. }));
        operator.order(&format!("{lead}/move")).await.json(200);
    }
    let shown = operator.get(&ann).await.json(200);
    assert_eq!(
        (&shown["plan"]["next"]["step"], &shown["plan"]["state"]),
        (&json!("last"), &json!("waiting"))
    );
    let mut tx = api.room.store.begin(api.workspace).await.unwrap();
    let open: i64 = sqlx::query_scalar("SELECT count(*) FROM sends WHERE state <> 'cancelled'")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(open, 0);
    let back = operator.post(&format!("{ann}/move"), &json!({ "to_version": 1 })).await.json(200);
    assert_eq!(back["version"], 1);
    assert!(matches!(replayed(&api, &ann).await, Replayed::Equal { .. }));

    operator.post(&format!("{eve}/signals"), &json!({ "signal": "stop" })).await.json(202);
    api.turn().await;
    let over = operator.order(&format!("{eve}/move")).await.problem(409).1;
    assert_eq!(over, "it is over: stopped");
    let stranger = api.stranger(Role::Admin).await;
    let viewer = api.program(Role::Viewer).await;
    for path in [format!("{ann}/move"), format!("{path}/move"), format!("{path}/move?dry_run=true")]
    {
        assert_eq!(stranger.order(&path).await.problem(404).0, "not-found");
        assert_eq!(viewer.order(&path).await.problem(403).0, "forbidden");
    }
    operator.order(&format!("{path}/stop")).await.json(200);
    assert_eq!(operator.order(&format!("{path}/move")).await.problem(409).0, "conflict");
    assert_eq!(operator.order(&format!("{path}/move?dry=1")).await.faulty_fields(), ["dry"]);
}

/// A campaign of the mail `intro` with two more versions, and its leads.
async fn with_versions(api: &Api, operator: &Program<'_>, leads: usize) -> (String, CampaignId) {
    let path = made(operator, &with(spring(), "steps", json!([mail("intro", "2 days")]))).await;
    let rows: String = (0..leads).map(|n| format!("lead{n}@example.com\n")).collect();
    api.import(&format!("email\n{rows}")).await;
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    (path, id)
}

/// How many enrollments run each version.
async fn versions(api: &Api) -> Vec<(i32, i64)> {
    let mut tx = api.room.store.begin(api.workspace).await.unwrap();
    sqlx::query_as("SELECT version, count(*) FROM enrollments GROUP BY version ORDER BY version")
        .fetch_all(&mut *tx)
        .await
        .unwrap()
}

/// How many enrollments each engine drives.
async fn engines(api: &Api) -> Vec<(String, i64)> {
    let mut tx = api.room.store.begin(api.workspace).await.unwrap();
    sqlx::query_as("SELECT engine, count(*) FROM enrollments GROUP BY engine ORDER BY engine")
        .fetch_all(&mut *tx)
        .await
        .unwrap()
}

/// Waits for something inside a call that cannot wait.
fn meanwhile<T>(task: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(task))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_changed_half_way_reaches_everybody() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let (path, campaign) = with_versions(&api, &operator, 600).await;
    operator.post(&format!("{path}/start"), &json!({})).await.json(202);
    operator.post(&format!("{path}/enrollments"), &json!({ "everyone": {} })).await.json(200);
    api.turn().await;
    for wait in ["3 days", "4 days"] {
        let next = steps(json!([mail("intro", wait)]));
        operator.post(&format!("{path}/versions"), &next).await.json(200);
    }
    let (room, workspace) = (&api.room, api.workspace);
    let order = |to| version_move::order(&room.store, workspace, campaign, Some(to), "test");
    order(2).await.unwrap().unwrap();
    let mut pages = 0;
    let page = |_| {
        pages += 1;
        if pages == 1 {
            meanwhile(order(3)).unwrap().unwrap();
        }
    };
    version_move::perform(room, workspace, campaign, page).await.unwrap();
    assert_eq!(versions(&api).await, [(3, 600)]);
    assert!(operator.get(&path).await.json(200).get("moving_to").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_enters_gets_the_version_that_is_the_newest_then() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let (path, campaign) = with_versions(&api, &operator, 3).await;
    operator.post(&format!("{path}/start"), &json!({})).await.json(202);
    let (store, workspace) = (&api.room.store, api.workspace);
    let everyone = Selection::Matching { tags: Vec::new(), filter: None };
    let second = serde_json::from_value(steps(json!([mail("welcome", "1 day")]))).unwrap();
    let mut note = |progress: enroll::Progress<'_>| {
        if progress.seen == 0 {
            meanwhile(apply::apply(store, workspace, &second, "test")).unwrap().unwrap();
        }
    };
    let entered = enroll::enroll(store, workspace, campaign, &everyone, "test", &mut note).await;
    assert_eq!(entered.unwrap().unwrap().added, 3);
    assert_eq!(versions(&api).await, [(2, 3)]);
    let mut tx = store.begin(workspace).await.unwrap();
    let next: String = sqlx::query_scalar("SELECT DISTINCT next_step FROM enrollments")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(next, "welcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_to_another_engine_that_was_cut_off_is_repeated() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let (path, campaign) = with_versions(&api, &operator, 600).await;
    operator.post(&format!("{path}/start"), &json!({})).await.json(202);
    operator.post(&format!("{path}/enrollments"), &json!({ "everyone": {} })).await.json(200);
    let (store, workspace) = (api.room.store.clone(), api.workspace);
    let shares = |shares: &[(&str, i64)]| -> Vec<(String, i64)> {
        shares.iter().map(|(engine, count)| ((*engine).to_owned(), *count)).collect()
    };

    // Somebody has a lead of the second page.
    let mut elsewhere = store.begin(workspace).await.unwrap();
    sqlx::query("SELECT FROM enrollments ORDER BY lead_id DESC LIMIT 1 FOR UPDATE")
        .execute(&mut *elsewhere)
        .await
        .unwrap();
    let moving = {
        let store = store.clone();
        tokio::spawn(async move {
            engine_move::perform(&store, workspace, campaign, Engine::Temporal, "test").await
        })
    };
    let half = shares(&[("postgres", 100), ("temporal", 500)]);
    until(PATIENCE, async || {
        let found = engines(&api).await;
        if found == half { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    moving.abort();
    assert!(moving.await.unwrap_err().is_cancelled());
    drop(elsewhere);

    let again = engine_move::perform(&store, workspace, campaign, Engine::Temporal, "test").await;
    assert_eq!(again.unwrap(), 100);
    assert_eq!(engines(&api).await, shares(&[("temporal", 600)]));
}
