//! What is shipped as an example works, and stays so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use activities::campaigns::{apply, compile};
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
    assert_eq!(apply::faults(&file.document), []);
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
