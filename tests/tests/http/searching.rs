//! Finding leads among more than are asked at once.

use activities::api_keys::Role;
use activities::leads::search::{self, Query};
use machine::ids::LeadId;
use uuid::Uuid;

use crate::programs::{Api, Program};

/// More than are asked in any one statement.
const LEADS: usize = 31_000;

/// Adds leads that are numbered in the order of their ids.
async fn add_many(api: &Api) {
    let mut owner = api.database.owner().await;
    let workspace = api.workspace.uuid();
    let add = format!(
        "INSERT INTO leads (workspace_id, lead_id, attributes, source, created_at, changed_at)
         SELECT '{workspace}', lpad(to_hex(n), 32, '0')::uuid,
                jsonb_strip_nulls(jsonb_build_object(
                    'first_name', 'Lea', 'last_name', n::text,
                    'country', CASE WHEN n <= 27000 THEN 'PT' END,
                    'tier', CASE WHEN n % 7000 = 3 THEN 'X' END,
                    'score', CASE WHEN n > 30900 THEN 9 ELSE n % 5 END,
                    'stage', CASE WHEN n % 15000 = 980 THEN 'qualified' END)),
                'test', now(), now()
         FROM generate_series(1, {LEADS}) n;
         INSERT INTO lead_tags (workspace_id, tag, lead_id)
         SELECT workspace_id, tag, lead_id
         FROM leads, unnest(ARRAY['many', 'half', 'few']) tag
         WHERE tag = 'many'
             OR tag = 'half' AND (attributes ->> 'last_name')::int % 2 = 0
             OR tag = 'few' AND (attributes ->> 'last_name')::int % 10 = 0;
         INSERT INTO addresses (workspace_id, channel, address, lead_id)
         SELECT workspace_id, CASE WHEN n % 6000 = 10 THEN 'sms' ELSE 'email' END, n || '@example.com', lead_id
         FROM leads, LATERAL (SELECT (attributes ->> 'last_name')::int n) l;
         ANALYZE leads, lead_tags, addresses"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(add)).execute(&mut owner).await.unwrap();
}

async fn numbers(viewer: &Program<'_>, query: &str, limit: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut path = format!("/leads?limit={limit}&{query}");
    loop {
        let page = viewer.get(&path).await.json(200);
        for lead in page["items"].as_array().unwrap() {
            found.push(lead["attributes"]["last_name"].as_str().unwrap().parse().unwrap());
        }
        let Some(next) = page["next"].as_str() else { return found };
        path = format!("/leads?limit={limit}&{query}&cursor={next}");
    }
}

#[tokio::test]
async fn one_lead_is_found_behind_many_who_do_not_pass() {
    let api = Api::new().await;
    add_many(&api).await;
    let store = api.database.store().await;
    let mut tx = store.begin(api.workspace).await.unwrap();
    let of_columns = Query { score_min: Some(9.0), has_email: Some(true), ..Query::default() };
    let tag = Some("many".parse().unwrap());
    let tagged = Query { score_min: Some(9.0), tag, ..Query::default() };
    for query in [of_columns, tagged] {
        let found = search::ids(&mut tx, api.workspace, &query, None, 1).await.unwrap();
        assert_eq!(found, [LeadId::new(Uuid::from_u128(30_901))], "{query:?}");
    }
}

fn expected(is_asked: impl Fn(usize) -> bool) -> Vec<usize> {
    (1..=LEADS).filter(|n| is_asked(*n)).collect()
}

#[tokio::test]
async fn whoever_passes_is_found_among_very_many_in_order_and_once() {
    let api = Api::new().await;
    add_many(&api).await;
    let viewer = api.program(Role::Viewer).await;
    let is_x = |n: usize| n % 7_000 == 3;
    let is_qualified = |n: usize| n % 15_000 == 980;
    let is_called = |n: usize| n % 6_000 == 10;
    let has_nine = |n: usize| n > 30_900;
    // What is rare lies near the beginning, near the end and between.
    for (query, numbers_wanted) in [
        ("tag=many&tier=x", expected(is_x)),
        ("tag=half&tier=x", expected(|n| is_x(n) && n % 2 == 0)),
        ("tag=few&tier=x", expected(|n| is_x(n) && n % 10 == 0)),
        ("tag=many&stage=qualified", expected(is_qualified)),
        ("tag=half&stage=qualified", expected(is_qualified)),
        ("tag=many&has_email=false", expected(is_called)),
        ("tag=few&has_email=false&country=pt", expected(|n| is_called(n) && n <= 27_000)),
        ("country=pt&has_email=false", expected(|n| is_called(n) && n <= 27_000)),
        ("country=pt&stage=qualified", expected(|n| is_qualified(n) && n <= 27_000)),
        ("country=pt&text=lea%20980", expected(|n| n == 980 || (9_800..9_810).contains(&n))),
        ("tag=many&country=pt&text=lea&tier=x", expected(|n| is_x(n) && n <= 27_000)),
        ("country=pt&text=lea&tier=x", expected(|n| is_x(n) && n <= 27_000)),
        ("tag=many&country=pt&score_min=9", Vec::new()),
        ("country=pt&score_min=9", Vec::new()),
        ("stage=contacted&tag=many", Vec::new()),
    ] {
        assert_eq!(numbers(&viewer, query, 2).await, numbers_wanted, "{query}");
        assert_eq!(numbers(&viewer, query, 500).await, numbers_wanted, "{query}");
    }
    // What is frequent at the end only.
    for query in ["tag=many&score_min=9", "tag=many&score_min=9&text=lea", "text=lea&score_min=9"] {
        assert_eq!(numbers(&viewer, query, 40).await, expected(has_nine), "{query}");
    }
    // What is everywhere fills its pages, each from where the one before ended.
    assert_eq!(
        numbers(&viewer, "tag=few&country=pt", 450).await,
        expected(|n| n % 10 == 0 && n <= 27_000)
    );
}
