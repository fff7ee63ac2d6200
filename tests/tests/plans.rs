//! How the database finds rows. The program's own statements are asked for their plans, on the
//! connection that prepared them, as the role that row security binds: first as they were planned before
//! there were statistics, then again with statistics.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use activities::engine::Engine;
use activities::mailroom::Mailroom;
use activities::outcome::Outcome;
use activities::send::call::{Called, call};
use activities::send::prepare::Readied;
use activities::send::record::Known;
use activities::send::{Recorded, gate, prepare, record};
use activities::store::Store;
use activities::turn::{Ask, Due};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tests::bench::engine;
use tests::bench::fill::{self, Campaign, Group};
use tests::cluster::Database;

/// Leads that sleep beside those that move.
const SLEEPING: i64 = 4_000;

/// A campaign on a store with a single connection, so that what was prepared can be found again.
struct Ground {
    database: Database,
    store: Store,
    room: Mailroom,
    campaign: Campaign,
}

/// A statement the program has prepared, and how the database goes about it.
struct Plan {
    statement: String,
    root: Value,
}

impl Ground {
    async fn new() -> Self {
        let database = Database::create().await;
        let store = Store::open(&database.url, 1).await.unwrap();
        let campaign = fill::campaign(&store, Engine::Postgres).await.unwrap();
        let room = engine::mailroom(&store).unwrap();
        Self { database, store, room, campaign }
    }

    /// One that grew before and after its statements were prepared.
    async fn grown() -> Self {
        let ground = Self::new().await;
        ground.grow().await;
        ground.run(200).await;
        ground.grow().await;
        ground
    }

    /// Lets `n` new leads run from their first turn to their last.
    async fn run(&self, n: i64) {
        let workspace = self.campaign.workspace;
        fill::enroll(&self.store, self.campaign, Group::Mixed(n)).await.unwrap();
        let due = Due::take(&self.store, workspace, None, 500).await.unwrap();
        let mut asks = due.turn(&self.room.versions).await.unwrap().asks;
        while !asks.is_empty() {
            asks = self.send(asks).await;
        }
    }

    /// Sends; returns what is asked for next.
    async fn send(&self, asks: Vec<Ask>) -> Vec<Ask> {
        let workspace = self.campaign.workspace;
        let mut ready = Vec::new();
        for readied in prepare(&self.room, workspace, asks).await.unwrap() {
            let Readied::Ready(message) = readied else { panic!("every message is ready") };
            ready.push(*message);
        }
        let gated = gate(&self.room, workspace, ready).await.unwrap();
        let mut recorded = Vec::new();
        for dispatch in &gated.dispatched {
            let called = call(&self.room, workspace, dispatch, Duration::ZERO, || true).await;
            let Called::Answered(outcome @ Outcome::Accepted { .. }) = called else {
                panic!("every message is accepted");
            };
            let ask = &dispatch.message.ask;
            recorded.push(Recorded {
                send: ask.send,
                attempt: ask.attempt,
                enrollment: ask.enrollment,
                what: Known::Call { fence: dispatch.fence, outcome },
            });
        }
        record(&self.room, workspace, &recorded).await.unwrap().asks
    }

    /// Fills the tables behind the back of what was prepared.
    async fn grow(&self) {
        let store = self.database.store().await;
        fill::enroll(&store, self.campaign, Group::Asleep(SLEEPING)).await.unwrap();
        store.close().await;
    }

    async fn analyze(&self) {
        sqlx::raw_sql("ANALYZE").execute(&mut self.database.owner().await).await.unwrap();
    }

    /// Explains the prepared statements that `like` describes.
    async fn plans(&self, like: &str) -> Vec<Plan> {
        let mut tx = self.store.begin_batch(self.campaign.workspace).await.unwrap();
        let prepared: Vec<(String, String, i32)> = sqlx::query_as(
            "SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements \
             WHERE statement LIKE $1 AND statement NOT LIKE '%pg_prepared_statements%'",
        )
        .bind(like)
        .fetch_all(&mut *tx)
        .await
        .unwrap();
        let mut plans = Vec::new();
        for (name, statement, parameters) in prepared {
            let nulls = vec!["NULL"; usize::try_from(parameters).unwrap()].join(", ");
            let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE {name} ({nulls})");
            let (explained,): (Value,) =
                sqlx::query_as(AssertSqlSafe(explain)).fetch_one(&mut *tx).await.unwrap();
            plans.push(Plan { statement, root: explained[0]["Plan"].clone() });
        }
        plans
    }
}

impl Plan {
    fn nodes(&self) -> Vec<&Value> {
        let mut nodes = vec![&self.root];
        let mut next = 0;
        while let Some(node) = nodes.get(next) {
            let children: Vec<&Value> = node["Plans"].as_array().into_iter().flatten().collect();
            nodes.extend(children);
            next += 1;
        }
        nodes
    }

    /// Where it reads tables: each node, the index it uses, and the condition on that.
    fn reads(&self) -> Vec<(&str, &str, &str)> {
        self.nodes()
            .into_iter()
            .filter(|node| node["Relation Name"].is_string() && node["Node Type"] != "ModifyTable")
            .map(|node| {
                let field = |name: &str| node[name].as_str().unwrap_or_default();
                (field("Node Type"), field("Index Name"), field("Index Cond"))
            })
            .collect()
    }
}

#[tokio::test]
async fn due_leads_are_read_in_the_order_of_their_index() {
    let ground = Ground::grown().await;
    for with_statistics in [false, true] {
        if with_statistics {
            ground.analyze().await;
        }
        let plans = ground.plans("%ORDER BY wake_at, enrollment_id%FOR UPDATE SKIP LOCKED%").await;
        let [plan] = plans.as_slice() else { panic!("there is one scan of due leads") };
        let types: Vec<_> = plan.nodes().iter().map(|node| node["Node Type"].clone()).collect();
        assert!(!types.contains(&Value::from("Sort")), "{:#}", plan.root);
        let [(node, index, condition)] = plan.reads()[..] else { panic!("{:#}", plan.root) };
        assert_eq!((node, index), ("Index Scan", "enrollments_due_idx"), "{:#}", plan.root);
        for part in ["workspace_id = ", "wake_at <= ", "ROW(wake_at, enrollment_id) > "] {
            assert!(condition.contains(part), "{condition}");
        }
    }
}

#[tokio::test]
async fn a_batch_finds_its_rows_by_their_whole_keys() {
    let ground = Ground::grown().await;
    for with_statistics in [false, true] {
        if with_statistics {
            ground.analyze().await;
        }
        let plans = ground.plans("%unnest($1::uuid[], $%::%[]%").await;
        assert!(plans.len() >= 8, "only {} statements work on batches", plans.len());
        for plan in plans {
            for (node, _, condition) in plan.reads() {
                let keys = condition.matches(" = ").count();
                assert!(
                    node.starts_with("Index") && keys >= 2,
                    "{}\n{:#}",
                    plan.statement,
                    plan.root
                );
            }
        }
    }
}
