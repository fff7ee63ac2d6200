//! What is told to those who watch: everything once, in order, to the right ones, and for as long as
//! they may.

use std::time::Duration;

use activities::api_keys::{self, Role};
use activities::changes::{self, News};
use activities::store::workspaces;
use axum::body::{Body, BodyDataStream};
use axum::http::{Method, StatusCode};
use chrono::TimeDelta;
use futures::StreamExt as _;
use machine::ids::WorkspaceId;
use serde_json::{Value, json};
use server::serve::Stopping;
use sqlx::{Connection as _, PgConnection};
use tests::cluster::Database;
use tokio_util::sync::CancellationToken;

use crate::programs::{Api, Program};

/// An event.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    id: String,
    event: String,
    data: Value,
}

/// A program that watches.
struct Watcher {
    body: BodyDataStream,
    text: String,
}

impl Watcher {
    async fn new(program: &Program<'_>, last: Option<&str>) -> Self {
        Self::until(program, last, CancellationToken::new()).await
    }

    async fn until(program: &Program<'_>, last: Option<&str>, stop: CancellationToken) -> Self {
        let mut request = program.request(Method::GET, "/stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Stopping(stop));
        let response = program.open(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; `None` when the stream is over.
    async fn next(&mut self) -> Option<Told> {
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, self.read()).await.expect("something was told")
    }

    async fn read(&mut self) -> Option<Told> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let start = format!("{name}: ");
                    let line = block.lines().find_map(|line| line.strip_prefix(&start));
                    line.unwrap_or_default().to_owned()
                };
                let told = Told {
                    id: field("id"),
                    event: field("event"),
                    data: serde_json::from_str(&field("data")).unwrap_or_default(),
                };
                self.text = rest.to_owned();
                if !told.event.is_empty() {
                    return Some(told);
                }
            }
            let chunk = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// What is told next of leads and their states.
    async fn next_of_leads(&mut self) -> Value {
        loop {
            let told = self.next().await.unwrap();
            let mut changes = told.data["changes"].as_array().into_iter().flatten();
            if let Some(of_leads) = changes.find(|change| change["kind"] == "enrollments") {
                return of_leads.clone();
            }
        }
    }

    /// Everything up to the end of an import, which ends it.
    async fn up_to_import(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        loop {
            let next = self.next().await.unwrap();
            let is_last = next.data["changes"][0]["kind"] == "import";
            told.push(next);
            if is_last {
                return told;
            }
        }
    }
}

fn campaign() -> Value {
    json!({
        "name": "spring",
        "zone": "UTC",
        "handover": { "to": "sales@harbour.example" },
        "steps": [
            { "key": "intro", "email": { "subject": "Hello", "body": "Hello there." } },
            { "key": "person", "handover": {} },
        ],
    })
}

/// Something changes in a workspace.
async fn change(api: &Api, workspace: WorkspaceId, n: u64) {
    let mut tx = api.room.store.begin(workspace).await.unwrap();
    tx.tell(News::Import { added: n, changed: 0, refused: 0 });
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn who_comes_back_is_told_everything_once() {
    let api = Api::new().await;
    let viewer = api.program(Role::Viewer).await;
    let mut whole = Watcher::new(&viewer, None).await;
    let ready = whole.next().await.unwrap();
    assert_eq!(ready.event, "ready");
    let mut pieces = Vec::new();
    let engine = api.runs(&campaign(), &["ada@example.com", "bob@example.com"]).await;
    let mut last = ready.id.clone();
    // Cut off again and again, in the middle of what happens.
    for _ in 0..6 {
        let mut watcher = Watcher::new(&viewer, Some(&last)).await;
        assert_eq!(watcher.next().await.unwrap().event, "ready");
        let told = watcher.next().await.unwrap();
        last = told.id.clone();
        pieces.push(told);
    }
    viewer
        .until("/handovers", |page| {
            let items = page["items"].as_array().unwrap();
            items.len() == 2 && items.iter().all(|it| it["state"] == "offered")
        })
        .await;
    engine.drain().await;
    api.import("email\ncarl@example.com\n").await;
    let mut watcher = Watcher::new(&viewer, Some(&last)).await;
    watcher.next().await.unwrap();
    pieces.extend(watcher.up_to_import().await);
    // The first import was told too: it was before the leads entered.
    let mut told = whole.up_to_import().await;
    told.extend(whole.up_to_import().await);
    assert_eq!(pieces, told);
    let changes: Vec<&Value> =
        told.iter().flat_map(|it| it.data["changes"].as_array().unwrap()).collect();
    for kind in ["enrollments", "handover", "campaign", "sends", "import"] {
        assert!(changes.iter().any(|it| it["kind"] == kind), "{kind}: {changes:?}");
    }
    let accepted = changes.iter().filter(|it| it["kind"] == "sends" && it["state"] == "accepted");
    let sends: usize = accepted.map(|it| it["sends"].as_array().unwrap().len()).sum();
    assert_eq!(sends, 4, "two messages, two offers");
    let text = format!("{told:?}");
    assert!(!text.contains("example") && !text.contains("Hello"), "{text}");
}

/// Adds a row in an open transaction.
async fn insert(conn: &mut PgConnection, workspace: WorkspaceId, n: u64) {
    sqlx::query("INSERT INTO changes (workspace_id, news) VALUES ($1, $2)")
        .bind(workspace.uuid())
        .bind(json!([{ "kind": "import", "added": n }]).to_string())
        .execute(conn)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_committed_late_is_not_passed_by() {
    let api = Api::new().await;
    let viewer = api.program(Role::Viewer).await;
    let mut watcher = Watcher::new(&viewer, None).await;
    watcher.next().await.unwrap();
    let (mut first, mut second) = (api.database.owner().await, api.database.owner().await);
    for late_row_first in [true, false] {
        let mut early = first.begin().await.unwrap();
        let mut late = second.begin().await.unwrap();
        // The one that began first ends last; its row has the lower number, or the higher one.
        sqlx::query("SELECT pg_current_xact_id()").execute(&mut *late).await.unwrap();
        if late_row_first {
            insert(&mut late, api.workspace, 1).await;
            insert(&mut early, api.workspace, 2).await;
        } else {
            insert(&mut early, api.workspace, 2).await;
            insert(&mut late, api.workspace, 1).await;
        }
        early.commit().await.unwrap();
        // Those who look now see nothing that would let them pass the other by.
        assert_eq!(changes::newest(&api.room.store, api.workspace).await.unwrap(), None);
        late.commit().await.unwrap();
        let mut told = Vec::new();
        for _ in 0..2 {
            told.push(watcher.next().await.unwrap().data["changes"][0]["added"].clone());
        }
        assert_eq!(told, [json!(1), json!(2)]);
        sqlx::query("DELETE FROM changes").execute(&mut first).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_is_told_of_another_workspace() {
    let api = Api::new().await;
    let (viewer, stranger) = (api.program(Role::Viewer).await, api.stranger(Role::Admin).await);
    let mut theirs = Watcher::new(&stranger, None).await;
    let ready = theirs.next().await.unwrap();
    let mut ours = Watcher::new(&viewer, Some(&ready.id)).await;
    ours.next().await.unwrap();
    change(&api, api.workspace, 1).await;
    assert_eq!(ours.next().await.unwrap().data["changes"][0]["added"], 1);
    let other = workspaces::ensure(&api.room.store, "other").await.unwrap();
    change(&api, other, 2).await;
    assert_eq!(theirs.next().await.unwrap().data["changes"][0]["added"], 2);
    let mut again = Watcher::new(&stranger, Some(&ready.id)).await;
    again.next().await.unwrap();
    assert_eq!(again.next().await.unwrap().data["changes"][0]["added"], 2);
}

#[tokio::test]
async fn who_comes_back_too_late_is_told_to_read_anew() {
    let api = Api::new().await;
    let viewer = api.program(Role::Viewer).await;
    let mut watcher = Watcher::new(&viewer, None).await;
    let ready = watcher.next().await.unwrap();
    for n in 0..3 {
        change(&api, api.workspace, n).await;
    }
    let first = watcher.next().await.unwrap();
    let second = watcher.next().await.unwrap();
    let mut owner = api.database.owner().await;
    let sql = "UPDATE changes SET at = at - interval '25 hours'
               WHERE change_id < (SELECT max(change_id) FROM changes)";
    sqlx::query(sql).execute(&mut owner).await.unwrap();
    assert_eq!(changes::forget(&api.room.store, api.workspace).await.unwrap(), 1);
    assert_eq!(changes::forget(&api.room.store, api.workspace).await.unwrap(), 0);
    for old in [&ready.id, &first.id] {
        let mut late = Watcher::new(&viewer, Some(old)).await;
        assert_eq!(late.next().await.unwrap().event, "ready");
        let reset = late.next().await.unwrap();
        assert_eq!(reset.event, "reset", "{old}");
        change(&api, api.workspace, 9).await;
        assert_eq!(late.next().await.unwrap().data["changes"][0]["added"], 9);
    }
    let mut in_time = Watcher::new(&viewer, Some(&second.id)).await;
    in_time.next().await.unwrap();
    assert_eq!(in_time.next().await.unwrap().data["changes"][0]["added"], 2);
    // Of another database, or of one that was brought back from yesterday.
    let mut strange = Watcher::new(&viewer, Some("9000000000000-1")).await;
    strange.next().await.unwrap();
    assert_eq!(strange.next().await.unwrap().event, "reset");
    let request = viewer.request(Method::GET, "/stream").header("last-event-id", "yesterday");
    let answer = viewer.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.problem(400).0, "malformed");
}

#[tokio::test]
async fn a_stream_ends_with_its_key_and_with_the_server() {
    let api = Api::new().await;
    let viewer = api.program(Role::Viewer).await;
    let stop = CancellationToken::new();
    let mut watcher = Watcher::until(&viewer, None, stop.clone()).await;
    watcher.next().await.unwrap();
    stop.cancel();
    assert_eq!(watcher.next().await, None);

    let mut watchers = Vec::new();
    for _ in 0..8 {
        watchers.push(Watcher::new(&viewer, None).await);
    }
    assert_eq!(viewer.get("/stream").await.problem(429).0, "too-many-requests");
    let mut watcher = watchers.pop().unwrap();
    drop(watchers);
    watcher.next().await.unwrap();
    let keys = api_keys::list(&api.room.store, api.workspace).await.unwrap();
    api_keys::revoke(&api.room.store, api.workspace, keys[0].id, "test").await.unwrap();
    // What happens after is told to nobody who may not know.
    change(&api, api.workspace, 1).await;
    assert_eq!(watcher.next().await, None);
    assert_eq!(viewer.get("/stream").await.problem(401).0, "unauthenticated");
}

/// An engine and every request work with the connections that streams ask through.
#[tokio::test(flavor = "multi_thread")]
async fn many_streams_leave_the_others_their_connections() {
    let api = Api::new().await;
    let (mut owner, mut looker) = (api.database.owner().await, api.database.owner().await);
    let mut programs = Vec::new();
    for _ in 0..3 {
        programs.push(api.program(Role::Viewer).await);
    }
    let mut watchers = Vec::new();
    for program in &programs {
        for _ in 0..8 {
            let mut watcher = Watcher::new(program, None).await;
            watcher.next().await.unwrap();
            watchers.push(watcher);
        }
    }
    // Whoever looks at what changed has to wait.
    let mut lock = owner.begin().await.unwrap();
    sqlx::query("LOCK TABLE changes IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let watching = watchers.into_iter().map(|mut watcher| {
        tokio::spawn(
            async move { watcher.next().await.unwrap().data["changes"][0]["added"].clone() },
        )
    });
    let watching: Vec<_> = watching.collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut waits = 0_i64;
    while waits < 2 {
        waits = sqlx::query_scalar(waiting).fetch_one(&mut looker).await.unwrap();
    }
    for program in &programs {
        assert_eq!(program.get("/handovers").await.status, StatusCode::OK);
    }
    let waits: i64 = sqlx::query_scalar(waiting).fetch_one(&mut looker).await.unwrap();
    assert_eq!(waits, 2);
    lock.rollback().await.unwrap();
    change(&api, api.workspace, 7).await;
    for told in watching {
        assert_eq!(told.await.unwrap(), 7);
    }
}

#[tokio::test]
async fn a_transaction_of_another_database_holds_nothing_back() {
    let api = Api::new().await;
    let viewer = api.program(Role::Viewer).await;
    let elsewhere = Database::create().await;
    let mut stranger = elsewhere.owner().await;
    let mut open = stranger.begin().await.unwrap();
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut *open).await.unwrap();
    let mut watcher = Watcher::new(&viewer, None).await;
    watcher.next().await.unwrap();
    change(&api, api.workspace, 1).await;
    assert_eq!(watcher.next().await.unwrap().data["changes"][0]["added"], 1);
    let delay = changes::delay(&api.room.store).await.unwrap();
    assert_eq!((delay.waits, delay.holder), (TimeDelta::zero(), None));
    open.rollback().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_holds_the_stream_back_is_named() {
    let api = Api::new().await;
    let (mut owner, mut other) = (api.database.owner().await, api.database.owner().await);
    let mut open = owner.begin().await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid() FROM pg_current_xact_id()")
        .fetch_one(&mut *open)
        .await
        .unwrap();
    change(&api, api.workspace, 1).await;
    let sql = "UPDATE changes SET at = at - interval '1 minute'";
    sqlx::query(sql).execute(&mut other).await.unwrap();
    let delay = changes::delay(&api.room.store).await.unwrap();
    assert!(delay.waits >= TimeDelta::minutes(1), "{delay:?}");
    assert_eq!(delay.holder.unwrap().pid, Some(pid));
    open.rollback().await.unwrap();
    assert_eq!(changes::delay(&api.room.store).await.unwrap().waits, TimeDelta::zero());
}

#[tokio::test]
async fn who_watches_hears_that_a_lead_is_parked_and_goes_on() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let engine = api.runs(&campaign(), &["ada@example.com"]).await;
    operator.until("/handovers", |page| page["items"][0]["state"] == "offered").await;
    let open = operator.get("/handovers").await.json(200);
    let enrollment = open["items"][0]["enrollment"].as_str().unwrap().to_owned();
    // The outcome of the offer's mail is a turn too: it comes first.
    let sends = format!("/sends?enrollment={enrollment}");
    let is_accepted = |page: &Value| {
        let items = page["items"].as_array().unwrap();
        items.len() == 2 && items.iter().all(|send| send["state"] == "accepted")
    };
    operator.until(&sends, is_accepted).await;
    let mut watcher = Watcher::new(&operator, None).await;
    watcher.next().await.unwrap();
    let mut owner = api.database.owner().await;
    let spoil = "UPDATE enrollments SET snapshot = '{}', wake_at = now() - interval '1 s'";
    sqlx::query(spoil).execute(&mut owner).await.unwrap();
    engine.wake();
    let told = watcher.next_of_leads().await;
    assert_eq!((&told["state"], &told["enrollments"]), (&json!("parked"), &json!([enrollment])));
    engine.drain().await;
    let letters = operator.get("/dead-letters").await.json(200);
    let letter = letters["items"][0]["id"].as_str().unwrap();
    let retry = format!("/dead-letters/{letter}/retry");
    assert_eq!(operator.post(&retry, &json!({})).await.status, 204);
    let told = watcher.next_of_leads().await;
    let back = (&json!("with_person"), &json!([enrollment]));
    assert_eq!((&told["state"], &told["enrollments"]), back);
}
