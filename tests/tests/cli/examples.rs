//! What is shipped as an example works, and stays so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use activities::campaigns::{check, compile};
use activities::capture::script::Script;
use server::campaign_file::CampaignFile;
use server::cli::schema;

use crate::desk::Desk;

pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

#[test]
fn the_schema_is_current() {
    let committed = std::fs::read_to_string(examples().join("campaign.schema.json")).unwrap();
    assert!(
        committed == schema::text(),
        "the campaign file has changed: run `meridian schema > examples/campaign.schema.json`"
    );
}

#[test]
fn the_campaign_is_sound_and_its_recipients_know_its_steps() {
    let file = CampaignFile::read(&examples().join("hotel-outreach.yaml")).unwrap();
    assert_eq!(check::faults(&file.document), []);
    let version = compile(&file.document).unwrap();
    let mut steps = BTreeSet::new();
    version.each_step(&mut |step| {
        steps.insert(step.key.clone());
    });
    let script = std::fs::read_to_string(examples().join("recipients.yaml")).unwrap();
    for rule in Script::parse(&script).unwrap().rules {
        assert!(steps.contains(&rule.on), "{}", rule.name);
    }
}

/// The whole way of the tour, up to the start.
#[tokio::test]
async fn two_hundred_hotels_enter_and_a_dozen_rows_are_refused() {
    let desk = Desk::new().await;
    let examples = examples();
    let examples = examples.display();
    let imported = desk.types(&format!("lead import {examples}/hotels.csv --json")).await.json();
    assert_eq!(imported["added"], 200);
    assert_eq!(imported["refused"], 12);
    assert_eq!(imported["faults"].as_array().unwrap().len(), 12);
    for name in ["ada", "ben"] {
        let line = format!(
            "sender add {name} capture:{examples}/recipients.yaml --from {name}@harbour.example \
             --from-name \"Harbour\" --per-day 60 --spacing 2m"
        );
        desk.types(&line).await.well();
    }
    desk.types(&format!("campaign apply {examples}/hotel-outreach.yaml")).await.well();
    let rehearsal = desk.types("campaign rehearse hotel-outreach --json").await.json();
    assert_eq!(rehearsal["leads"], 198);
    assert_eq!(rehearsal["filtered_out"], 2);
    assert_eq!(rehearsal["endings"], serde_json::json!({ "finished": 195, "held": 3 }));
    let days = rehearsal["days"].as_array().unwrap();
    assert!(days.iter().all(|day| day["total"].as_u64().unwrap() <= 60), "{days:#?}");
    let tried =
        desk.types("campaign send-test hotel-outreach --to me@example.com --json").await.json();
    assert_eq!(tried["mails"].as_array().unwrap().len(), 7);
    let started = desk.types("campaign start hotel-outreach --json").await.json();
    assert_eq!(started["added"], 198);
    let shown = desk.types("campaign show hotel-outreach").await.well();
    assert!(shown.contains("queued    198"), "{shown}");
}

/// Mails and texts without an account anywhere.
#[tokio::test]
async fn guests_are_texted_by_day_with_consent_and_a_number() {
    let desk = Desk::new().await;
    let examples = examples();
    let examples = examples.display();
    let imported =
        desk.types(&format!("lead import {examples}/guests.csv --country US --json")).await.json();
    assert_eq!(imported["added"], 6);
    assert_eq!(imported["faults"][0]["field"], "phone");
    let shown = desk.types("lead show +12025550142 --json").await.json();
    assert_eq!(shown["email"], "ben@guests.example");
    assert_eq!(
        (&shown["phone"], &shown["sms_consent"]),
        (&"+12025550142".into(), &"granted".into())
    );
    desk.types("sender add house capture: --from house@example.com").await.well();
    desk.types("sender add texts capture: --from +12025550100").await.well();
    desk.types(&format!("campaign apply {examples}/dinner-texts.yaml")).await.well();
    let rehearsal = desk.types("campaign rehearse dinner-texts --json").await.json();
    assert_eq!(rehearsal["endings"], serde_json::json!({ "finished": 4, "held": 2 }));
    assert_eq!(
        rehearsal["texts"]["reminder"],
        serde_json::json!({ "texts": 4, "parts": 4, "wide": 0 })
    );
    let held: Vec<_> = rehearsal["held"].as_array().unwrap().iter().map(|it| &it["why"]).collect();
    assert_eq!(held.len(), 2, "no consent, no number: {held:?}");
    let tried = desk.types("campaign send-test dinner-texts --to +12025550177 --json").await.json();
    let tried = tried["mails"].as_array().unwrap();
    assert_eq!(tried.len(), 2, "{tried:?}");
    assert!(tried[0]["text"].as_str().unwrap().starts_with("[test] Hello "), "{tried:?}");
    assert_eq!(tried[0]["parts"]["segments"], 1);
    let started = desk.types("campaign start dinner-texts --json").await.json();
    assert_eq!(started["added"], 6);
}
