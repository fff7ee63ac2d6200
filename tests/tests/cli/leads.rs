//! Leads, enrollments and webhooks at the terminal.

use crate::desk::Desk;

const CAMPAIGN: &str = "\
name: spring
zone: Europe/Lisbon
handover: { to: team@example.com }
steps:
  - { key: intro, email: { subject: Hello, body: Good day } }
";

async fn enrolled() -> Desk {
    let desk = Desk::new().await;
    let leads = desk.file(
        "leads.csv",
        "email,first_name,zone,tags\nann@example.com,Ann,Asia/Tokyo,vip\nbob@example.com,Bob,,\n",
    );
    desk.types(&format!("lead import {leads} --tag spring")).await.well();
    let file = desk.file("spring.yaml", CAMPAIGN);
    desk.types(&format!("campaign apply {file}")).await.well();
    desk.types("campaign start spring").await.well();
    desk
}

#[tokio::test]
async fn leads_are_listed_by_tag_in_pages_and_shown_by_address() {
    let desk = enrolled().await;
    let vip = desk.types("lead list --tag vip --json").await.json();
    assert_eq!(vip["leads"].as_array().unwrap().len(), 1);
    assert_eq!(vip["leads"][0]["tags"], serde_json::json!(["spring", "vip"]));
    let page = desk.types("lead list --limit 1 --json").await.json();
    let next = page["next"].as_str().unwrap();
    let rest = desk.types(&format!("lead list --after {next} --json")).await.json();
    assert_eq!(rest["leads"].as_array().unwrap().len(), 1);
    let ann = desk.types("lead show Ann@Example.com").await.well();
    for part in ["ann@example.com", "Asia/Tokyo", "first_name", "Ann", "spring", "queued"] {
        assert!(ann.contains(part), "{part}\n{ann}");
    }
    let error = desk.types("lead show eve@example.com").await.error();
    assert_eq!(error, "no lead has the address eve@example.com: run `meridian lead list`");
}

#[tokio::test]
async fn an_enrollment_is_explained_and_takes_orders() {
    let mut desk = enrolled().await;
    let listed = desk.types("enrollment list --campaign spring --state queued --json").await.json();
    assert_eq!(listed["enrollments"].as_array().unwrap().len(), 2);
    let shown = desk.types("enrollment show ann@example.com").await.well();
    for part in ["Asia/Tokyo", "next      `intro`", "wakes on  reply", "nothing yet"] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    for order in ["pause", "resume --rule shift", "skip", "send-now", "hand-over", "stop"] {
        desk.types(&format!("enrollment signal ann@example.com {order}")).await.well();
    }
    let error = desk.types("enrollment signal ann@example.com approve").await.error();
    assert_eq!(error, "no draft of it waits; it is queued");
    let error = desk.types("enrollment signal ann@example.com called reached").await.error();
    assert_eq!(error, "no call of it is due; it is queued");
    assert_eq!(desk.count("SELECT count(*) FROM signals").await, 6);
    assert_eq!(desk.count("SELECT count(*) FROM audit WHERE act = 'paused'").await, 1);
    let error = desk.types("handover accept ann@example.com").await.error();
    assert_eq!(error, "no person has ann@example.com: run `meridian handover list`");
    assert_eq!(desk.types("handover list").await.well(), "nobody waits for a person\n");
    assert_eq!(desk.types("dead-letter list").await.well(), "nothing was given up\n");
    let reviews = desk.types("review list").await.well();
    assert_eq!(reviews, "of every mail it is known whether it left\n");
}

#[tokio::test]
async fn a_parked_enrollment_is_put_back_to_work() {
    let mut desk = enrolled().await;
    sqlx::raw_sql(
        "UPDATE enrollments SET parked_at = now(), failures = 5;
         INSERT INTO dead_letters (workspace_id, dead_letter_id, kind, enrollment_id, cause, at)
         SELECT workspace_id, gen_random_uuid(), 'enrollment', enrollment_id, 'test', now()
         FROM enrollments",
    )
    .execute(&mut desk.owner)
    .await
    .unwrap();
    let letters = desk.types("dead-letter list --json").await.json();
    let id = |index: usize| letters["dead_letters"][index]["id"].as_str().unwrap().to_owned();
    desk.types(&format!("dead-letter retry {}", id(0))).await.well();
    desk.types(&format!("dead-letter dismiss {}", id(1))).await.well();
    assert_eq!(desk.count("SELECT count(*) FROM enrollments WHERE parked_at IS NULL").await, 1);
    let error = desk.types(&format!("dead-letter retry {}", id(0))).await.error();
    assert!(error.contains("no such dead letter"), "{error}");
}

#[tokio::test]
async fn an_endpoint_shows_its_address_once() {
    let mut desk = Desk::new().await;
    let error = desk.types("webhook add mailgun").await.error();
    assert!(error.contains("set MERIDIAN_WEBHOOK_SIGNING_KEY"), "{error}");
    desk.set("MERIDIAN_WEBHOOK_SIGNING_KEY", "key-1234567890");
    desk.set("MERIDIAN_PUBLIC_URL", "https://mail.example.com/");
    let added = desk.types("webhook add mailgun --json").await.json();
    let url = added["url"].as_str().unwrap();
    assert!(url.starts_with("https://mail.example.com/webhooks/mailgun/wk_"), "{url}");
    let list = desk.types("webhook list").await.well();
    assert!(list.contains("mailgun") && list.contains("open") && !list.contains("wk_"), "{list}");
    let id = added["id"].as_str().unwrap();
    desk.types(&format!("webhook revoke {id}")).await.well();
    let error = desk.types(&format!("webhook revoke {id}")).await.error();
    assert!(error.starts_with("there is no open endpoint"), "{error}");
    assert_eq!(desk.count("SELECT count(*) FROM audit").await, 2);
}

#[tokio::test]
async fn an_untouched_installation_replays_and_verifies() {
    let desk = enrolled().await;
    let replayed = desk.types("replay --all --json").await.json();
    assert_eq!(replayed["different"], serde_json::json!([]));
    let verified = desk.types("verify --json").await.json();
    assert_eq!(verified["holds"], true, "{verified:#}");
}

#[tokio::test]
async fn the_doctor_finds_what_is_missing() {
    let mut desk = Desk::new().await;
    desk.types("sender add ada smtp+plain://127.0.0.1:9 --from ada@example.com").await.well();
    let said = desk.types("doctor --json").await;
    assert_eq!(said.end, Ok(std::process::ExitCode::FAILURE));
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let verdict = |what: &str| {
        let of = |check: &&serde_json::Value| check["what"] == what;
        checks.iter().filter(of).map(|check| check["verdict"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(verdict("schema"), ["ok"]);
    assert_eq!(verdict("roles"), ["ok"]);
    assert_eq!(verdict("sender ada"), ["note", "fault"]);
    desk.set("DATABASE_URL", "mysql://example.com/x");
    desk.set("MERIDIAN_LISTEN", "everywhere");
    let said = desk.types("doctor").await;
    assert!(said.out.contains("begins with mysql://"), "{}", said.out);
    assert!(said.out.contains("write it like 127.0.0.1:8080"), "{}", said.out);
}

#[tokio::test]
async fn the_doctor_names_the_transaction_that_holds_the_stream_back() {
    let mut desk = Desk::new().await;
    let report = desk.types("doctor").await.out;
    assert!(report.contains("what changes is told as it happens"), "{report}");
    let hold = "BEGIN; SELECT set_config('application_name', 'a forgotten window', false),
                pg_current_xact_id()";
    sqlx::raw_sql(hold).execute(&mut desk.owner).await.unwrap();
    let mut tx = desk.store.begin(desk.workspace).await.unwrap();
    let sql = "INSERT INTO changes (workspace_id, at, news)
               VALUES ($1, clock_timestamp() - interval '40 s', '[]')";
    sqlx::query(sql).bind(desk.workspace.uuid()).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let report = desk.types("doctor").await.out;
    assert!(report.contains("held back for 40 s"), "{report}");
    assert!(report.contains("(`a forgotten window`) is open"), "{report}");
}

#[tokio::test]
async fn links_begin_with_the_address_that_is_named() {
    let mut desk = enrolled().await;
    let link = "links begin with http://127.0.0.1:9123";
    let report = desk.types("doctor --listen 127.0.0.1:9123").await.out;
    assert!(report.contains(link), "{report}");
    let mails = "campaign send-test spring --to me@example.com";
    let mails = desk.types(&format!("{mails} --public-url https://mail.example.com")).await.well();
    assert!(mails.contains("https://mail.example.com/u/"), "{mails}");
    desk.set("MERIDIAN_LISTEN", "127.0.0.1:9123");
    let report = desk.types("doctor").await.out;
    assert!(report.contains(link), "{report}");
}

#[tokio::test]
async fn the_doctor_warns_of_links_that_are_open_or_lead_nowhere() {
    let mut desk = Desk::new().await;
    for (url, verdict, found) in [
        ("https://mail.example.com", "ok", "https://mail.example.com/"),
        ("http://mail.example.com", "note", "http://mail.example.com/ is not encrypted"),
        ("http://127.0.0.1:8080", "note", "http://127.0.0.1:8080/"),
    ] {
        desk.set("MERIDIAN_PUBLIC_URL", url);
        let report = desk.types("doctor --json").await.out;
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["what"] == "public address").unwrap();
        assert_eq!((&check["verdict"], &check["found"]), (&verdict.into(), &found.into()), "{url}");
    }
}

#[tokio::test]
async fn whom_we_never_write_to_is_listed_shown_with_the_lead_and_taken_off() {
    let desk = enrolled().await;
    let added = desk.types("suppression add Ann@Example.com --json").await.json();
    assert_eq!(added["is_new"], true);
    let again = desk.types("suppression add ann@example.com").await.well();
    assert!(again.contains("on the list already (by_person)"), "{again}");
    desk.types("suppression add @example.org").await.well();
    let listed = desk.types("suppression list").await.well();
    assert!(listed.contains("ann@example.com") && listed.contains("example.org"), "{listed}");
    let shown = desk.types("lead show ann@example.com").await.well();
    assert!(shown.contains("never write") && shown.contains("by_person"), "{shown}");
    let id = added["id"].as_str().unwrap();
    let explained = desk.types("enrollment show ann@example.com").await.well();
    assert!(explained.contains("never write  to ann@example.com: by_person"), "{explained}");
    let lifted = desk.types(&format!("suppression lift {id}")).await.well();
    assert!(lifted.contains("stays ended"), "{lifted}");
    let shown = desk.types("lead show ann@example.com").await.well();
    assert!(!shown.contains("never write"), "{shown}");
    let error = desk.types(&format!("suppression lift {id}")).await.error();
    assert!(error.ends_with("in force: run `meridian suppression list`"), "{error}");
}

#[tokio::test]
async fn leads_are_exported_to_a_file_that_goes_in_again() {
    let desk = enrolled().await;
    let exported = desk.types("lead export").await.well();
    assert!(exported.contains("ann@example.com") && exported.contains("bob@example.com"));
    let vip = desk.types("lead export --tag vip").await;
    assert_eq!(vip.remarks, "1 lead\n");
    let vip = vip.well();
    assert!(vip.contains("ann@example.com") && !vip.contains("bob@example.com"), "{vip}");
    let file = desk.file("again.csv", &exported);
    let again = desk.types(&format!("lead import {file}")).await.well();
    assert!(again.contains("0 new, 0 changed, 2 as before, 0 refused"), "{again}");
    let error = desk.types(&format!("lead export --file {file}")).await.error();
    assert!(error.ends_with("is there already: `--force` writes over it"), "{error}");
    let over = desk.types(&format!("lead export --file {file} --force")).await.well();
    assert_eq!(over, format!("2 leads in {file}\n"));
    assert_eq!(std::fs::read_to_string(file).unwrap(), exported);
}

#[tokio::test]
async fn an_import_tells_what_went_in_before_it_broke_off_and_what_headers_may_mean() {
    let desk = Desk::new().await;
    let file = "email,Vorname\nann@example.com,Ann\nbob,Bob\neve@example.com,\"Eve\n";
    let file = desk.file("leads.csv", file);
    let said = desk.types(&format!("lead import {file}")).await;
    assert!(said.out.contains("1 new, 0 changed, 0 as before, 1 refused"), "{}", said.out);
    assert!(said.out.contains("line 3 refused, email: the address has no @"), "{}", said.out);
    assert!(said.out.contains("`--map \"Vorname=first_name\"` names it"), "{}", said.out);
    let error = said.error();
    assert!(error.contains("opens on line 4 is never closed"), "{error}");
    let file = desk.file("leads.csv", "email,Vorname\nann@example.com,Ann\n");
    let told = desk.types(&format!("lead import {file}")).await.well();
    assert!(told.contains("`--map \"Vorname=first_name\"` names it"), "{told}");
    let named = desk.types(&format!("lead import {file} --map Vorname=first_name")).await.well();
    assert!(!named.contains("--map"), "{named}");
    let file = desk.file("leads.csv", "email,consnet,note\nann@example.com,yes,=1\n");
    let told = desk.types(&format!("lead import {file}")).await.well();
    assert!(told.contains("did you mean `consent`? `--map \"consnet=consent\"` says so"), "{told}");
    assert!(told.contains("line 2, note: it reads as a formula"), "{told}");
    let named = desk.types(&format!("lead import {file} --map consnet=consent")).await.well();
    assert!(!named.contains("--map"), "{named}");
}

#[tokio::test]
async fn leads_are_found_by_what_is_known_of_them_and_said_to_stand_somewhere() {
    let desk = enrolled().await;
    let file = desk.file("texts.csv", "Mobile,name\n+351 912 345 678,Carl\n,Dora\n");
    let told = desk.types(&format!("lead import {file}")).await.well();
    assert!(told.contains("1 new") && told.contains("there is no telephone number"), "{told}");
    let found = async |flags: &str| -> usize {
        let list = desk.types(&format!("lead list {flags} --json")).await.json();
        list["leads"].as_array().unwrap().len()
    };
    assert_eq!(found("--has-email false").await, 1);
    assert_eq!(found("--has-email --stage new").await, 2);
    assert_eq!(found("--source import/texts").await, 1);
    let said_customer = desk.types("lead stage ann@example.com Customer").await.well();
    assert_eq!(said_customer.trim(), "ann@example.com is at the stage `customer`");
    assert_eq!(found("--stage customer --state queued").await, 1);
    assert_eq!(found("--stage new").await, 2);
    let said = desk.types("lead stage +351912345678 lost").await.well();
    assert!(said.contains("`lost`"), "{said}");
    let shown = desk.types("lead stage ann@example.com").await.well();
    assert_eq!(shown, said_customer);
    assert_eq!(found("--stage customer").await, 1);
    let said = desk.types("lead stage ann@example.com --clear").await.well();
    assert!(said.contains("`new`"), "{said}");
    let shown = desk.types("lead show +351912345678").await.well();
    assert!(shown.contains("lost"), "{shown}");
    let exported = desk.types("lead export --stage lost").await.well();
    assert!(exported.contains("+351912345678") && !exported.contains("ann@"), "{exported}");
}

#[tokio::test]
async fn who_failed_is_told_and_tried_again() {
    let mut desk = enrolled().await;
    let error = desk.types("enrollment retry ann@example.com").await.error();
    assert_eq!(error, "nothing of it was given up; it is queued");
    let none = desk.types("campaign retry spring").await.well();
    assert_eq!(none.trim(), "no lead of `spring` failed");
    sqlx::raw_sql(
        "UPDATE enrollments SET state = 'failed', ended_at = now(), wake_at = NULL, turn = 1,
             snapshot = convert_to((convert_from(snapshot, 'UTF8')::jsonb
                 || '{\"state\": {\"state\": \"ended\", \"outcome\": \"failed\"}}')::text, 'UTF8');
         INSERT INTO counter_deltas (workspace_id, campaign_id, measure, n)
         SELECT workspace_id, campaign_id, unnest(ARRAY['state/queued', 'state/failed']),
                unnest(ARRAY[-2, 2])
         FROM campaigns",
    )
    .execute(&mut desk.owner)
    .await
    .unwrap();
    let listed = desk.types("enrollment list --campaign spring --state failed --json").await.json();
    assert_eq!(listed["enrollments"].as_array().unwrap().len(), 2);
    let shown = desk.types("campaign show spring").await.well();
    for part in ["2 leads failed", "--state failed", "meridian campaign retry spring"] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let shown = desk.types("enrollment show ann@example.com").await.well();
    assert!(shown.contains("meridian enrollment retry"), "{shown}");
    let doctor = desk.types("doctor").await;
    assert!(doctor.out.contains("campaign `spring`: 2 leads failed"), "{}", doctor.out);
    let foreseen = desk.types("campaign retry spring --dry-run --json").await.json();
    assert_eq!((&foreseen["leads"], &foreseen["ordered"]), (&2.into(), &false.into()));
    assert_eq!(desk.count("SELECT count(*) FROM signals").await, 0);
    desk.types("enrollment retry ann@example.com").await.well();
    let all = desk.types("campaign retry spring").await.well();
    assert_eq!(all.trim(), "2 leads of `spring` go on from the step that failed");
    assert_eq!(desk.count("SELECT count(*) FROM signals WHERE kind = 'retried'").await, 3);
    assert_eq!(
        desk.count("SELECT count(*) FROM audit WHERE act IN ('retried', 'campaign.retry')").await,
        2
    );
}

#[tokio::test]
async fn a_campaign_that_names_nobody_hands_over_to_the_address_of_the_workspace() {
    let mut desk = Desk::new().await;
    let file = desk.file("spring.yaml", &CAMPAIGN.replace("{ to: team@example.com }", "{}"));
    let error = desk.types(&format!("campaign apply {file}")).await.error();
    assert!(error.contains("meridian handover address sales@example.com"), "{error}");
    let none = desk.types("handover address").await.well();
    assert!(none.contains("there is no address"), "{none}");
    let set = desk.types("handover address Sales@Example.com").await.well();
    assert!(set.contains("sales@example.com") && set.contains("no campaign uses it"), "{set}");
    desk.types(&format!("campaign apply {file}")).await.well();
    let to =
        "SELECT count(*) FROM campaigns WHERE settings #>> '{handover,to}' = 'sales@example.com'";
    assert_eq!(desk.count(to).await, 1);
    let error = desk.types("handover address --clear").await.error();
    assert!(error.contains("the campaign `spring` hands over to it"), "{error}");
    let set = desk.types("handover address team@example.com --json").await.json();
    assert_eq!((&set["address"], &set["campaigns"]), (&"team@example.com".into(), &1.into()));
    assert_eq!(desk.count(to).await, 0);
    let named = |text: &str| format!("{text}senders: [capture]\n");
    let file =
        desk.file("spring.yaml", &named(&CAMPAIGN.replace("{ to: team@example.com }", "{}")));
    desk.types(&format!("campaign apply {file}")).await.well();
    let to =
        "SELECT count(*) FROM campaigns WHERE settings #>> '{handover,to}' = 'team@example.com'";
    assert_eq!(desk.count(to).await, 1);
    let file = desk.file("spring.yaml", &named(CAMPAIGN));
    desk.types(&format!("campaign apply {file}")).await.well();
    desk.types("handover address --clear").await.well();
}
