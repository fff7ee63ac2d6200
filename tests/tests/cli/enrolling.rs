//! Starting campaigns and adding leads to them.

use std::time::Instant;

use activities::campaigns;
use activities::campaigns::enroll::{self, Selection};
use machine::enrollment::Enrollment;
use sqlx::Row as _;

use crate::desk::Desk;

const CAMPAIGN: &str = "\
name: spring
zone: Europe/Lisbon
audience: { tags: [hotel, seaside], filter: { attribute: rooms, at_least: 20 } }
steps:
  - { key: intro, email: { subject: Hello, body: Good day } }
";

const LEADS: &str = "\
email,tags,rooms
large@example.com,hotel;seaside,40
small@example.com,hotel;seaside,8
inland@example.com,hotel,60
guest@example.com,seaside,90
";

async fn with_leads() -> Desk {
    let desk = Desk::new().await;
    let leads = desk.file("leads.csv", LEADS);
    desk.types(&format!("lead import {leads}")).await.well();
    let file = desk.file("spring.yaml", CAMPAIGN);
    desk.types(&format!("campaign apply {file}")).await.well();
    desk
}

#[tokio::test]
async fn a_start_enrolls_the_audience_once() {
    let mut desk = with_leads().await;
    let started = desk.types("campaign start spring --json").await.json();
    assert_eq!(started["added"], 1);
    assert_eq!(started["filtered_out"], 1);
    let again = desk.types("campaign start spring --json").await.json();
    assert_eq!(again["added"], 0);
    assert_eq!(again["already_in"], 1);

    let row = sqlx::query(
        "SELECT e.*, a.address FROM enrollments e JOIN addresses a USING (workspace_id, lead_id)",
    );
    let row = row.fetch_one(&mut desk.owner).await.unwrap();
    assert_eq!(row.get::<&str, _>("address"), "large@example.com");
    assert_eq!(row.get::<&str, _>("state"), "queued");
    assert_eq!(row.get::<&str, _>("next_step"), "intro");
    let snapshot: Enrollment = serde_json::from_slice(row.get("snapshot")).unwrap();
    assert!(snapshot.data.entered_at.is_none());
    assert_eq!(
        desk.count("SELECT sum(n)::int8 FROM counter_deltas WHERE measure = 'state/queued'").await,
        1
    );
}

#[tokio::test]
async fn leads_without_an_address_are_counted_not_enrolled() {
    let mut desk = with_leads().await;
    sqlx::query("DELETE FROM addresses WHERE address = 'inland@example.com'")
        .execute(&mut desk.owner)
        .await
        .unwrap();
    desk.types("campaign start spring").await.well();
    let all = desk.types("campaign enroll spring --all --json").await.json();
    assert_eq!(all["added"], 2);
    assert_eq!(all["already_in"], 1);
    assert_eq!(all["no_address"], 1);
}

#[tokio::test]
async fn whom_nobody_writes_to_is_told_before_anything_is_sent() {
    let desk = with_leads().await;
    let leads = desk.file("odd.csv", "email\nbüro@example.com\n");
    let told = desk.types(&format!("lead import {leads}")).await.well();
    assert!(told.contains("1 new") && told.contains("(SMTPUTF8)"), "{told}");
    desk.types("suppression add büro+x@example.com").await.well();
    let started = desk.types("campaign start spring").await.well();
    assert!(!started.contains("suppressed"), "{started}");
    let all = desk.types("campaign enroll spring --all").await.well();
    assert!(all.contains("1 lead in it is suppressed and will not be written to"), "{all}");
    let shown = desk.types("enrollment show büro@example.com").await.well();
    assert!(shown.contains("never write") && shown.contains("nothing is sent"), "{shown}");
}

#[tokio::test]
async fn leads_are_added_by_tag_and_by_file() {
    let desk = with_leads().await;
    let error = desk.types("campaign enroll spring --all").await.error();
    assert_eq!(error, "the campaign `spring` is a draft: run `meridian campaign start spring`");
    desk.types("campaign start spring").await.well();
    let tagged = desk.types("campaign enroll spring --tag hotel --json").await.json();
    assert_eq!((&tagged["added"], &tagged["already_in"]), (&2.into(), &1.into()));
    let more = desk.file("more.csv", "email\nnew@example.com\nguest@example.com\nbad\n");
    let filed = desk.types(&format!("campaign enroll spring --file {more} --json")).await.json();
    assert_eq!((&filed["added"], &filed["imported"]["refused"]), (&2.into(), &1.into()));
    let again = desk.types(&format!("campaign enroll spring --file {more} --json")).await.json();
    assert_eq!((&again["added"], &again["already_in"]), (&0.into(), &2.into()));
    let found = desk
        .types("campaign enroll spring --tag hotel --text inland --has-email --json")
        .await
        .json();
    assert_eq!((&found["added"], &found["already_in"]), (&0.into(), &1.into()));
    let found = desk.types("campaign enroll spring --stage new --source import/leads --json").await;
    assert_eq!(found.json()["added"], 0);
}

#[tokio::test]
async fn who_enters_a_paused_campaign_has_yet_to_hear_of_the_pause() {
    let mut desk = with_leads().await;
    desk.types("campaign start spring").await.well();
    desk.types("campaign pause spring").await.well();
    desk.types("campaign resume spring --rule keep").await.well();
    desk.types("campaign pause spring").await.well();
    let error = desk.types("campaign start spring").await.error();
    assert!(error.contains("is paused: run `meridian campaign resume spring"), "{error}");
    desk.types("campaign enroll spring --tag hotel").await.well();
    assert_eq!(desk.count("SELECT max(verb_seq)::int8 FROM enrollments").await, 2);
    assert_eq!(desk.count("SELECT verb_seq::int8 FROM campaigns").await, 3);
}

#[tokio::test]
async fn a_campaign_that_had_finished_goes_on_when_leads_are_added() {
    let mut desk = with_leads().await;
    desk.types("campaign start spring").await.well();
    sqlx::query("UPDATE campaigns SET status = 'finished', finished_at = now()")
        .execute(&mut desk.owner)
        .await
        .unwrap();
    desk.types("campaign enroll spring --tag hotel").await.well();
    assert_eq!(desk.count("SELECT count(*) FROM campaigns WHERE status = 'active'").await, 1);
}

#[tokio::test]
async fn a_hundred_thousand_leads_enter_in_pages() {
    let mut desk = with_leads().await;
    sqlx::raw_sql(
        "INSERT INTO leads (workspace_id, lead_id, attributes, source, created_at, changed_at)
         SELECT workspace_id, gen_random_uuid(), '{\"rooms\": 30}', 'test', now(), now()
         FROM workspaces, generate_series(1, 100000);
         INSERT INTO addresses (workspace_id, channel, address, lead_id)
         SELECT workspace_id, 'email', lead_id || '@example.com', lead_id FROM leads
         WHERE source = 'test';
         ANALYZE leads, addresses",
    )
    .execute(&mut desk.owner)
    .await
    .unwrap();
    desk.types("campaign start spring").await.well();
    let began = Instant::now();
    let mut steps = Vec::new();
    let (store, workspace) = (&desk.store, desk.workspace);
    let mut note = |progress: enroll::Progress<'_>| steps.push(progress.seen);
    let everyone = &Selection::Matching { tags: Vec::new(), filter: None };
    let spring = campaigns::by_name(store, workspace, "spring").await.unwrap().unwrap().id;
    let enrolled = enroll::enroll(store, workspace, spring, everyone, "test", &mut note).await;
    let enrolled = enrolled.unwrap().unwrap();
    eprintln!("100,000 leads entered in {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(enrolled.added, 100_003);
    assert_eq!(enrolled.already_in, 1);
    assert_eq!(steps.len(), 22);
    assert!(steps.is_sorted());
    assert_eq!(desk.count("SELECT count(*) FROM enrollments").await, 100_004);

    sqlx::query(
        "UPDATE enrollments SET contacted_at = changed_at WHERE lead_id < '80000000-0000-0000-0000-000000000000'",
    )
    .execute(&mut desk.owner)
    .await
    .unwrap();
    let guarded = "name: autumn\nsenders: [capture]\nrecontact: { not_within: 30 days }";
    let autumn = CAMPAIGN.replace("name: spring", guarded);
    let file = desk.file("autumn.yaml", &autumn);
    desk.types(&format!("campaign apply {file}")).await.well();
    desk.types("campaign start autumn").await.well();
    let began = Instant::now();
    let all = desk.types("campaign enroll autumn --all --json").await.json();
    eprintln!("as many were looked at in {:.1} s", began.elapsed().as_secs_f64());
    let written_to = desk.count("SELECT count(contacted_at) FROM enrollments").await;
    assert_eq!(all["recently_contacted"], written_to);
    assert!((40_000..60_000).contains(&written_to), "{written_to}");
    assert_eq!(desk.count("SELECT count(*) FROM enrollments").await, 200_008 - written_to);
}
