//! Workspaces are walls. What holds for every table is read from the catalogue, so that a table of
//! tomorrow is tested too; then the wall is run against from every table there is.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use activities::store::{Store, workspaces};
use machine::ids::WorkspaceId;
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tests::cluster::Database;

/// Names of workspaces are found across the walls, so they are unique across them.
const GLOBAL_KEYS: [&str; 1] = ["workspaces_name_key"];

/// What the finder tells the program across the walls: ids, times and sums; the texts are words for
/// states and channels.
const FINDER_ANSWERS: [&str; 12] = [
    "campaign_states: TABLE(campaign_id uuid, state text, n bigint)",
    "due_workspaces: TABLE(workspace_id uuid, wake_at timestamp with time zone)",
    "find_workspace: uuid",
    "moving_campaigns: TABLE(workspace_id uuid, campaign_id uuid)",
    "oldest_untold_change: timestamp with time zone",
    "planned_starts: TABLE(workspace_id uuid, campaign_id uuid, start_at timestamp with time zone)",
    "playing_workspaces: TABLE(workspace_id uuid, play_at timestamp with time zone)",
    "relayed_workspaces: TABLE(workspace_id uuid, wake_at timestamp with time zone, unheard boolean, \
     unstarted boolean)",
    "sender_states: TABLE(sender_id uuid, channel text, status text, trouble_count integer, \
     trouble_until timestamp with time zone)",
    "sends_to_review: bigint",
    "uninterpreted_workspaces: TABLE(workspace_id uuid)",
    "untold_campaigns: TABLE(workspace_id uuid, campaign_id uuid)",
];

/// What the finder itself may read.
const FINDER_READS: [&str; 10] = [
    "campaigns: campaign_id, moving_to, start_at, status, verb_seq, verbs_told, workspace_id",
    "captured_messages: play_at, workspace_id",
    "changes: at, workspace_id, xid",
    "counter_deltas: campaign_id, measure, n",
    "enrollments: applied_seq, engine, enrollment_id, parked_at, signal_seq, turn, wake_at, workspace_id",
    "reviews: send_id, workspace_id",
    "senders: channel, sender_id, status, trouble_count, trouble_until",
    "sends: send_id, state, workspace_id",
    "signals: enrollment_id, kind, seq, workspace_id",
    "workspaces: created_at, name, workspace_id",
];

/// What a refusal by row security is called by the database.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

async fn texts(owner: &mut PgConnection, sql: &str) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(owner).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Every table with a workspace.
async fn tenant_tables(owner: &mut PgConnection) -> Vec<String> {
    let tables = texts(
        owner,
        "SELECT c.relname::text FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id'
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1",
    )
    .await;
    assert!(tables.len() >= 20, "{tables:?}");
    tables
}

#[tokio::test]
async fn every_table_is_either_a_tenant_s_or_known_to_be_none() {
    let database = Database::create().await;
    let mut owner = database.owner().await;
    let others = texts(
        &mut owner,
        "SELECT c.relname::text FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         AND NOT EXISTS (SELECT 1 FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attname = 'workspace_id') ORDER BY 1",
    );
    assert_eq!(
        others.await,
        ["_sqlx_migrations", "clock", "oldest_key", "runners", "usual_engine"]
    );
}

#[tokio::test]
async fn row_security_is_on_and_forced_for_every_tenant_table() {
    let database = Database::create().await;
    let mut owner = database.owner().await;
    tenant_tables(&mut owner).await;
    let open = texts(
        &mut owner,
        "SELECT c.relname::text FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id'
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
         AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND a.attnotnull)",
    );
    assert!(open.await.is_empty());
    // One policy for everybody, and beside it at most the finder's own to read.
    let unwalled = texts(
        &mut owner,
        "SELECT c.relname::text FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id'
         CROSS JOIN (VALUES ('(NULLIF(current_setting(''app.workspace_id''::text, true), '
             || '''''::text))::uuid')) AS s (workspace)
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
         AND (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid
              AND p.polname = c.relname || '_wall' AND p.polpermissive AND p.polcmd = '*'
              AND p.polroles = '{0}' AND p.polwithcheck IS NULL
              AND pg_get_expr(p.polqual, p.polrelid) IN (
                  '(workspace_id = ' || s.workspace || ')',
                  '(NOT (workspace_id IS DISTINCT FROM ( SELECT ' || s.workspace
                      || ' AS \"nullif\")))')) <> 1",
    );
    assert_eq!(unwalled.await, Vec::<String>::new());
    let wider = texts(
        &mut owner,
        "SELECT p.polname::text FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
         WHERE p.polname <> c.relname || '_wall'
         AND NOT (p.polcmd = 'r' AND p.polroles = ARRAY['meridian_finder'::regrole::oid])",
    );
    assert_eq!(wider.await, Vec::<String>::new());
}

#[tokio::test]
async fn every_key_of_a_tenant_table_begins_with_its_workspace() {
    let database = Database::create().await;
    let mut owner = database.owner().await;
    let unique = texts(
        &mut owner,
        "SELECT i.indexrelid::regclass::text FROM pg_index i
         JOIN pg_class c ON c.oid = i.indrelid
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id'
         WHERE c.relnamespace = 'public'::regnamespace AND i.indisunique
         AND i.indkey[0] <> a.attnum ORDER BY 1",
    );
    assert_eq!(unique.await, GLOBAL_KEYS);
    let foreign = texts(
        &mut owner,
        "SELECT f.conname::text FROM pg_constraint f
         JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attname = 'workspace_id'
         JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attname = 'workspace_id'
         WHERE f.contype = 'f' AND (f.conkey[1] <> a.attnum OR f.confkey[1] <> b.attnum)",
    );
    assert_eq!(foreign.await, Vec::<String>::new());
    let to_others = texts(
        &mut owner,
        "SELECT f.conname::text FROM pg_constraint f
         WHERE f.contype = 'f' AND NOT EXISTS (SELECT 1 FROM pg_attribute a
             WHERE a.attrelid = f.confrelid AND a.attname = 'workspace_id')",
    );
    assert_eq!(to_others.await, Vec::<String>::new());
}

#[tokio::test]
async fn the_program_s_role_owns_nothing_and_bypasses_nothing() {
    let database = Database::create().await;
    let mut owner = database.owner().await;
    for role in ["meridian_app", "meridian_finder"] {
        let powers = format!(
            "SELECT (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolcanlogin
                 OR rolreplication)::text FROM pg_roles WHERE rolname = '{role}'"
        );
        assert_eq!(texts(&mut owner, &powers).await, ["false"], "{role}");
        let memberships = format!(
            "SELECT m.roleid::regrole::text FROM pg_auth_members m
             WHERE m.member = '{role}'::regrole"
        );
        assert!(texts(&mut owner, &memberships).await.is_empty(), "{role}");
    }
    let owned = "SELECT relname::text FROM pg_class WHERE relowner = 'meridian_app'::regrole
        UNION ALL SELECT proname::text FROM pg_proc WHERE proowner = 'meridian_app'::regrole
        UNION ALL SELECT relname::text FROM pg_class WHERE relowner = 'meridian_finder'::regrole";
    assert!(texts(&mut owner, owned).await.is_empty());
    let creating = "SELECT has_schema_privilege(r, 'public', 'CREATE')::text
        FROM unnest(ARRAY['meridian_app', 'meridian_finder']) r";
    assert_eq!(texts(&mut owner, creating).await, ["false", "false"]);
    // What is seen across the walls is named here, so that more of it is a decision.
    let functions = texts(
        &mut owner,
        "SELECT p.proname::text || ': ' || pg_get_function_result(p.oid) FROM pg_proc p
         WHERE p.proowner = 'meridian_finder'::regrole ORDER BY 1",
    );
    assert_eq!(functions.await, FINDER_ANSWERS);
    let columns = texts(
        &mut owner,
        "SELECT c.relname::text || ': ' || string_agg(a.attname, ', ' ORDER BY a.attname)
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
         AND has_column_privilege('meridian_finder', c.oid, a.attnum, 'SELECT')
         GROUP BY c.relname ORDER BY 1",
    );
    assert_eq!(columns.await, FINDER_READS);
    let public = "SELECT p.proname::text FROM pg_proc p
        WHERE p.proowner = 'meridian_finder'::regrole
        AND (NOT p.prosecdef OR p.proconfig IS NULL OR EXISTS (
            SELECT 1 FROM aclexplode(p.proacl) a WHERE a.grantee = 0))";
    assert!(texts(&mut owner, public).await.is_empty());
}

#[tokio::test]
async fn no_row_of_another_workspace_can_be_read_changed_or_made() {
    let database = Database::create().await;
    let store = database.store().await;
    let mut owner = database.owner().await;
    let mine = workspaces::ensure(&store, "mine").await.unwrap();
    let theirs = workspaces::ensure(&store, "theirs").await.unwrap();
    for table in tenant_tables(&mut owner).await {
        let row = plant(&mut owner, &table, theirs).await;
        let has_row = format!("SELECT count(*) FROM {table}");
        assert_eq!(count(&store, theirs, &has_row).await, 1, "{table}: its own workspace sees it");
        let seen = format!("{has_row} WHERE workspace_id = '{theirs}'");
        assert_eq!(count(&store, mine, &seen).await, 0, "{table} can be read");
        assert_eq!(outside(&store, &has_row).await, 0, "{table} can be read outside");
        for change in [
            format!(
                "UPDATE {table} SET workspace_id = workspace_id WHERE workspace_id = '{theirs}'"
            ),
            format!("DELETE FROM {table} WHERE workspace_id = '{theirs}'"),
        ] {
            match run(&store, mine, &change).await {
                Ok(touched) => assert_eq!(touched, 0, "{change}"),
                Err(error) => assert_eq!(code(&error), INSUFFICIENT_PRIVILEGE, "{change}"),
            }
        }
        // The same row again, and the own row given away.
        let again = insertion(&table, &row);
        let error = run(&store, mine, &again).await.expect_err(&table);
        assert_eq!(code(&error), INSUFFICIENT_PRIVILEGE, "{table}: {error}");
        assert!(error.to_string().contains("row-level security"), "{table}: {error}");
        assert_eq!(count(&store, theirs, &has_row).await, 1, "{table} lost a row");
    }
}

#[tokio::test]
async fn a_transaction_leaves_no_workspace_behind_on_its_connection() {
    let database = Database::create().await;
    let store = Store::open(&database.url, 1).await.unwrap();
    let workspace = workspaces::ensure(&store, "mine").await.unwrap();
    let rows = "SELECT count(*) FROM workspaces";
    assert_eq!(count(&store, workspace, rows).await, 1);
    assert_eq!(outside(&store, rows).await, 0);
    let mut tx = store.begin_outside().await.unwrap();
    let role: String =
        sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(role, "meridian_app");
}

/// Puts one row of `workspace` into a table, made up from the types of its columns. References are
/// not looked at: whether the row means anything does not matter here.
async fn plant(owner: &mut PgConnection, table: &str, workspace: WorkspaceId) -> Value {
    let columns = sqlx::query(
        "SELECT a.attname::text, format_type(a.atttypid, NULL)::text, a.attidentity <> ''
         FROM pg_attribute a
         WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
         AND (a.attnotnull OR a.attname = 'workspace_id')",
    )
    .bind(table)
    .fetch_all(&mut *owner)
    .await
    .unwrap();
    let words = checked_words();
    let mut row = Map::new();
    for column in &columns {
        let (name, kind): (String, String) = (column.get(0), column.get(1));
        let word = words.get(&(table, name.as_str()));
        let value = match (name.as_str(), kind.as_str(), word) {
            ("workspace_id", _, _) => json!(workspace.to_string()),
            (_, _, Some(word)) => json!(word),
            (_, "uuid", _) => json!("018f0000-0000-7000-8000-000000000000"),
            (_, "smallint" | "integer" | "bigint" | "double precision", _) => json!(1),
            (_, "boolean", _) => json!(true),
            (_, "jsonb", _) => json!({}),
            (_, "bytea", _) => json!("\\x00"),
            (_, "date", _) => json!("2026-11-02"),
            (_, "timestamp with time zone", _) => json!("2026-11-02T09:00:00Z"),
            (_, "text", _) => json!("x"),
            (name, kind, _) => panic!("{table}.{name} is {kind}: say here how one looks"),
        };
        row.insert(name, value);
    }
    let row = Value::Object(row);
    if table != "workspaces" {
        let insertion = insertion(table, &row);
        let planted = format!(
            "SET session_replication_role = replica; {insertion}; RESET session_replication_role"
        );
        sqlx::raw_sql(AssertSqlSafe(planted)).execute(owner).await.unwrap();
    }
    row
}

/// Columns whose words are checked, with one that passes.
fn checked_words() -> BTreeMap<(&'static str, &'static str), &'static str> {
    [
        (("addresses", "channel"), "email"),
        (("api_keys", "role"), "viewer"),
        (("campaign_verbs", "verb"), "pause"),
        (("campaigns", "engine"), "postgres"),
        (("campaigns", "status"), "draft"),
        (("dead_letters", "kind"), "event"),
        (("handovers", "state"), "offered"),
        (("leads", "call_consent"), "unknown"),
        (("leads", "email_consent"), "unknown"),
        (("leads", "sms_consent"), "unknown"),
        (("quotas", "scope"), "sender_day"),
        (("senders", "channel"), "email"),
        (("senders", "status"), "active"),
        (("sends", "kind"), "step"),
        (("sends", "state"), "planned"),
        (("suppressions", "reason"), "opted_out"),
        (("suppressions", "scope"), "address"),
        (("tasks", "kind"), "call"),
    ]
    .into()
}

fn insertion(table: &str, row: &Value) -> String {
    let columns: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
    let columns = columns.join(", ");
    format!(
        "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
         SELECT {columns} FROM json_populate_record(NULL::{table}, '{row}')"
    )
}

async fn count(store: &Store, workspace: WorkspaceId, sql: &str) -> i64 {
    let mut tx = store.begin(workspace).await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *tx).await.unwrap()
}

async fn outside(store: &Store, sql: &str) -> i64 {
    let mut tx = store.begin_outside().await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *tx).await.unwrap()
}

async fn run(store: &Store, workspace: WorkspaceId, sql: &str) -> sqlx::Result<u64> {
    let mut tx = store.begin(workspace).await.unwrap();
    let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    tx.commit().await.unwrap();
    Ok(done.rows_affected())
}

fn code(error: &sqlx::Error) -> String {
    let code =
        error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    code.unwrap_or_else(|| panic!("{error}"))
}
