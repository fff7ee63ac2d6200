//! Applying campaign files.

use crate::desk::Desk;

const SPRING: &str = "\
name: spring
zone: Europe/Lisbon
senders: [ada]
steps:
  - key: intro
    email: { subject: \"Hello {{ first_name }}\", body: \"Good day\" }
  - key: nudge
    wait: 3 days
    email: { body: \"Did you see it?\" }
";

async fn with_ada() -> Desk {
    let desk = Desk::new().await;
    desk.types("sender add ada capture: --from ada@example.com").await.well();
    desk
}

#[tokio::test]
async fn a_campaign_begins_as_a_draft_and_applying_again_changes_nothing() {
    let mut desk = with_ada().await;
    let file = desk.file("spring.yaml", SPRING);
    let first = desk.types(&format!("campaign apply {file} --json")).await.json();
    assert_eq!(first["change"], "created");
    assert_eq!(first["status"], "draft");
    let again = desk.types(&format!("campaign apply {file} --json")).await.json();
    assert_eq!(again["change"], "nothing");
    assert_eq!(desk.count("SELECT count(*) FROM sequence_versions").await, 1);
}

#[tokio::test]
async fn a_changed_file_is_a_new_version_and_running_leads_keep_theirs() {
    let mut desk = with_ada().await;
    let leads = desk.file("leads.csv", "email,first_name\nann@example.com,Ann\n");
    desk.types(&format!("lead import {leads}")).await.well();
    let file = desk.file("spring.yaml", SPRING);
    desk.types(&format!("campaign apply {file}")).await.well();
    desk.types("campaign start spring").await.well();
    let file = desk.file("spring.yaml", &SPRING.replace("3 days", "4 days"));
    let told = desk.types(&format!("campaign apply {file}")).await.well();
    assert!(told.contains("new version, 2"), "{told}");
    assert!(told.contains("leads in it go on with the version they began on"), "{told}");
    assert_eq!(desk.count("SELECT version::int8 FROM enrollments").await, 1);
    assert_eq!(desk.count("SELECT version::int8 FROM campaigns").await, 2);
    let foreseen = desk.types("campaign move spring --dry-run").await.well();
    assert!(foreseen.contains("to version 2, of 1 live lead of `spring`:"), "{foreseen}");
    assert!(foreseen.contains("  1 are not affected"), "{foreseen}");
    let file = desk.file("other.yaml", &SPRING.replace("key: intro", "key: hello"));
    desk.types(&format!("campaign apply {file}")).await.well();
    let foreseen = desk.types("campaign move spring --dry-run").await.well();
    assert!(foreseen.contains("\nann@example.com  `intro` "), "{foreseen}");
    assert!(foreseen.contains("times are those of Europe/Lisbon"), "{foreseen}");
    let file = desk.file("spring.yaml", &SPRING.replace("3 days", "4 days"));
    desk.types(&format!("campaign apply {file}")).await.well();
    desk.types("enrollment move ann@example.com --to-version 2").await.well();
    assert_eq!(desk.count("SELECT version::int8 FROM enrollments").await, 2);
    desk.types("campaign move spring --to-version 1").await.well();
    assert_eq!(desk.count("SELECT moving_to::int8 FROM campaigns").await, 1);
    let error = desk.types("campaign move spring --to-version 5").await.error();
    assert_eq!(error, "there is no version 5: the newest is 4");
    let file = desk.types("campaign show spring --file").await.well();
    let file = desk.file("shown.yaml", &file);
    let same = desk.types(&format!("campaign apply {file} --json")).await.json();
    assert_eq!(same["change"], "nothing");
}

#[tokio::test]
async fn every_fault_is_told_at_once_with_its_line() {
    let desk = with_ada().await;
    let faulty = SPRING
        .replace("[ada]", "[ada, bob]")
        .replace("key: nudge", "key: intro")
        .replace("Good day", "{% for x in y %}{% endfor %}");
    let file = desk.file("spring.yaml", &faulty);
    let error = desk.types(&format!("campaign apply {file}")).await.error();
    for part in [
        "has 3 faults",
        "spring.yaml:3:16: senders[1]: there is no sender `bob`",
        "spring.yaml:6:55: steps[0].email.body: line 1: ",
        "spring.yaml:7:10: steps[1].key: `intro` is already the key of steps[0]",
    ] {
        assert!(error.contains(part), "{part}\n{error}");
    }
}

#[tokio::test]
async fn without_any_sender_every_mail_is_kept() {
    let desk = Desk::new().await;
    let file = desk.file("spring.yaml", &SPRING.replace("senders: [ada]\n", ""));
    let told = desk.types(&format!("campaign apply {file}")).await.well();
    assert!(told.contains("sender `capture`"), "{told}");
    let file = desk
        .file("summer.yaml", &SPRING.replace("senders: [ada]\n", "").replace("spring", "summer"));
    let error = desk.types(&format!("campaign apply {file}")).await.error();
    assert!(error.contains("senders: names nobody: name one or more of capture"), "{error}");
}

#[tokio::test]
async fn a_step_that_no_sender_serves_is_named() {
    let desk = with_ada().await;
    let text = format!("{SPRING}  - {{ key: text, sms: {{ body: Hello }} }}\n");
    let file = desk.file("spring.yaml", &text);
    let told = desk.types(&format!("campaign apply {file}")).await.well();
    assert!(told.contains("no sender serves step `text`"), "{told}");
}

#[tokio::test]
async fn who_will_be_held_is_told_before_the_start_and_when_leads_are_added() {
    let desk = with_ada().await;
    let leads = desk.file("leads.csv", "email\nann@example.com\nbob@example.com\n");
    desk.types(&format!("lead import {leads}")).await.well();
    let wanting = SPRING.replace("Good day", "Good day {{ first_name }} {{ last_name }}");
    let file = desk.file("spring.yaml", &wanting);
    let applied = desk.types(&format!("campaign apply {file}")).await;
    assert!(
        applied.remarks.contains("warning: 2 of the 2 leads will be held"),
        "{}",
        applied.remarks
    );
    applied.well();
    let error = desk.types("campaign stop spring --yes").await.error();
    assert!(error.contains("is a draft, so there is nothing to stop: leave it"), "{error}");
    let said = desk.types("campaign start spring").await;
    let warning = "warning: 2 of the 2 leads will be held at `intro`: first_name, last_name \
                   are missing (for example ann@example.com)";
    assert!(said.remarks.contains(warning), "{}", said.remarks);
    said.well();
    let leads = desk.file("leads.csv", "email,first_name,last_name\neve@example.com,Eve,Egg\n");
    desk.types(&format!("lead import {leads}")).await.well();
    desk.types("campaign duplicate spring summer").await.well();
    let said = desk.types("campaign start summer").await;
    assert!(said.remarks.contains("warning: 2 of the 3 leads will be held"), "{}", said.remarks);
    said.well();
    let leads = desk.file("late.csv", "email,first_name\nfay@example.com,Fay\n");
    let said = desk.types(&format!("campaign enroll summer --file {leads}")).await;
    let warning = "warning: 1 of the 1 leads will be held at `intro`: last_name";
    assert!(said.remarks.contains(warning), "{}", said.remarks);
    said.well();
    let again = desk.types("campaign enroll summer --all").await;
    assert_eq!(again.remarks, "");
}

#[tokio::test]
async fn a_stopped_campaign_stays_as_it_is_and_can_be_duplicated() {
    let desk = with_ada().await;
    let file = desk.file("spring.yaml", SPRING);
    desk.types(&format!("campaign apply {file}")).await.well();
    let planned = desk.types("campaign start spring --at 2100-01-01T00:00:00Z").await.error();
    assert!(planned.contains("too far ahead"), "{planned}");
    desk.types("campaign start spring").await.well();
    desk.types("campaign pause spring").await.well();
    let resumed = desk.types("campaign resume spring --rule shift").await.well();
    assert_eq!(resumed, "campaign `spring` is active\n");
    // Nobody is there who could be asked.
    let error = desk.types("campaign stop spring").await.error();
    assert!(error.contains("for good, with 0 live leads, or run"), "{error}");
    assert!(error.contains("--yes"), "{error}");
    desk.types("campaign stop spring --yes").await.well();
    let again = desk.types("campaign stop spring --yes").await.well();
    assert_eq!(again, "campaign `spring` is stopped already\n");
    let error = desk.types("campaign pause spring").await.error();
    assert_eq!(error, "campaign `spring` is stopped, so it cannot be paused");
    let error = desk.types(&format!("campaign apply {file}")).await.error();
    assert!(error.contains("stopped for good"), "{error}");
    let error = desk.types("campaign start spring").await.error();
    assert!(error.contains("stopped for good"), "{error}");
    desk.types("campaign duplicate spring summer").await.well();
    let list = desk.types("campaign list --json").await.json();
    let names: Vec<_> =
        list["campaigns"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["spring", "summer"]);
}

#[tokio::test]
async fn what_is_not_there_is_told_with_what_to_do() {
    let desk = Desk::new().await;
    let error = desk.types("campaign show nothing").await.error();
    assert_eq!(error, "there is no campaign `nothing`: run `meridian campaign list`");
    let error = desk.types("campaign start nothing").await.error();
    assert_eq!(error, "there is no campaign `nothing`: run `meridian campaign list`");
    let error = desk.types("--workspace acme campaign list").await.error();
    assert_eq!(error, "there is no workspace `acme`: run `meridian workspace add acme`");
    desk.types("workspace add acme").await.well();
    let list = desk.types("--workspace acme campaign list").await.well();
    assert_eq!(list, "no campaign yet: run `meridian campaign apply FILE`\n");
}

#[tokio::test]
async fn a_sender_without_a_name_is_told_where_the_texts_print_one() {
    let desk = Desk::new().await;
    desk.types("sender add ada capture: --from ada@example.com --from-name Ada").await.well();
    let told = desk.types("sender add ben capture: --from ben@example.com").await.well();
    assert!(told.contains("--from-name NAME") && told.contains("--postal-address TEXT"), "{told}");
    let campaign = |body: &str| {
        format!(
            "name: spring\nzone: UTC\nsenders: [ada, ben]\nsteps:\n  \
             - {{ key: intro, email: {{ subject: Hello, body: \"{body}\" }} }}\n"
        )
    };
    for (body, is_told) in [
        ("Yours, {{ sender.name }}", true),
        ("Yours, {{ sender.name | default(campaign.name) }}", false),
        ("Yours", false),
    ] {
        let file = desk.file("spring.yaml", &campaign(body));
        let told = desk.types(&format!("campaign apply {file}")).await.well();
        assert_eq!(told.contains("`ben` has none: leads will be held"), is_told, "{told}");
        assert!(!told.contains("`ada` has none"), "{told}");
    }
}

#[tokio::test]
async fn what_temporal_drives_links_to_its_pages() {
    let mut desk = with_ada().await;
    desk.set("MERIDIAN_TEMPORAL_UI", "https://ops.example/temporal/");
    let leads = desk.file("leads.csv", "email,first_name\nann@example.com,Ann\n");
    desk.types(&format!("lead import {leads}")).await.well();
    let file = desk.file("spring.yaml", SPRING);
    desk.types(&format!("campaign apply {file}")).await.well();
    desk.types("campaign start spring").await.well();
    let shown = desk.types("enrollment show ann@example.com").await.well();
    assert!(shown.contains("postgres") && !shown.contains("ops.example"), "{shown}");

    let move_it = "engine move --to temporal spring";
    let moved = desk.types(move_it).await.well();
    assert!(moved.starts_with("temporal drives `spring`; 1 lead was moved\n"), "{moved}");
    let moved = desk.types(move_it).await.well();
    assert!(
        moved.starts_with("temporal drives `spring`; no lead of it was elsewhere\n"),
        "{moved}"
    );
    let list = desk.types("campaign list").await.well();
    assert!(list.contains("temporal"), "{list}");
    let campaign = desk.types("campaign show spring --json").await.json();
    assert_eq!(campaign["engine"], "temporal");
    let start = "https://ops.example/temporal/namespaces/default/workflows";
    let link = campaign["temporal_url"].as_str().unwrap();
    assert!(link.starts_with(&format!("{start}?query=MeridianCampaign")), "{link}");
    let shown = desk.types("campaign show spring").await.well();
    assert!(shown.contains(link), "{shown}");
    let lead = desk.types("enrollment show ann@example.com --json").await.json();
    assert_eq!(lead["engine"], "temporal");
    let (workspace, id) = (desk.workspace, lead["id"].as_str().unwrap());
    let link = format!("{start}/w%2F{workspace}%2Fe%2F{id}");
    assert_eq!(lead["temporal_url"], link);
    let shown = desk.types("enrollment show ann@example.com").await.well();
    assert!(shown.contains(&link), "{shown}");
    let checked = desk.types("doctor").await.out;
    assert!(checked.contains("temporal's pages") && checked.contains("ops.example"), "{checked}");

    // Of a development server of our own, the pages are known.
    desk.set("MERIDIAN_TEMPORAL_UI", "");
    let place = desk.place.path().join("temporal");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("port"), "7233").unwrap();
    let lead = desk.types("enrollment show ann@example.com --json").await.json();
    let link = lead["temporal_url"].as_str().unwrap();
    assert!(link.starts_with("http://127.0.0.1:8233/namespaces/default/workflows/w%2F"), "{link}");

    desk.set("MERIDIAN_TEMPORAL_UI", "ops.example");
    let error = desk.types("campaign show spring").await.error();
    assert!(error.contains("MERIDIAN_TEMPORAL_UI: `ops.example` is not a web address"), "{error}");
}
