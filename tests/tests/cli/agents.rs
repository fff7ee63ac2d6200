//! Agents at the terminal.

use serde_json::{Value, json};

use crate::desk::Desk;

#[tokio::test]
async fn an_agent_is_added_away_back_and_removed() {
    let desk = Desk::new().await;
    let missing = desk.types("agent add Ann --hours \"mon-fri 09:00-17:00\"").await.error();
    assert!(missing.contains("add --email"), "{missing}");
    let added = desk
        .types(
            "agent add Ann --email ann@agents.example --zone Europe/Lisbon \
             --hours \"mon-thu 09:00-17:00\" --hours \"fri 09:00-13:00\" --open-max 5",
        )
        .await
        .well();
    assert!(added.contains("mon-thu 09:00-17:00, fri 09:00-13:00"), "{added}");
    assert!(added.contains("0 of 5"), "{added}");

    let changed = desk.types("agent add Ann --hours always --json").await.json();
    assert_eq!((&changed["hours"], &changed["open_max"]), (&json!([]), &json!(5)));
    assert_eq!(changed["email"], "ann@agents.example");
    assert!(desk.types("agent list").await.well().contains("free"));

    let away = desk.types("agent away Ann --until 2199-03-09").await.well();
    assert!(away.contains("Sat 9 Mar 2199 00:00 Europe/Lisbon"), "{away}");
    let shown = desk.types("agent show Ann").await.well();
    assert!(shown.contains("works from Sat 9 Mar 2199 00:00"), "{shown}");
    let backwards = desk.types("agent away Ann --until 2001-01-01").await.error();
    assert!(backwards.contains("before it begins"), "{backwards}");
    assert!(desk.types("agent back Ann").await.well().contains("is back"));
    assert!(desk.types("agent back Ann").await.well().contains("was not away"));

    desk.types("agent pause Ann").await.well();
    assert!(desk.types("agent list").await.well().contains("paused"));
    desk.types("agent resume Ann").await.well();
    desk.types("agent remove Ann").await.well();
    let gone = desk.types("agent show Ann").await.error();
    assert!(gone.contains("run `meridian agent list`"), "{gone}");
    assert!(desk.types("agent list").await.well().contains("run `meridian agent add`"));
}

#[tokio::test]
async fn the_doctor_says_when_no_agent_is_there_to_take_leads() {
    let desk = Desk::new().await;
    desk.types("sender add capture capture: --from crew@example.com").await.well();
    for (name, handover) in
        [("alone", "agents: in_turn"), ("backed", "agents: in_turn, fallback: boss@example.com")]
    {
        let text = format!(
            "name: {name}\nzone: UTC\nsenders: [capture]\nhandover: {{ {handover} }}\nsteps:\n  \
             - {{ key: intro, email: {{ subject: Hello, body: Good day }} }}\n"
        );
        let file = desk.file(&format!("{name}.yaml"), &text);
        desk.types(&format!("campaign apply {file}")).await.well();
        desk.types(&format!("campaign start {name}")).await.well();
    }
    let verdicts = async || {
        let report: Value = serde_json::from_str(&desk.types("doctor --json").await.out).unwrap();
        let checks = report["checks"].as_array().unwrap().iter();
        let agents = checks.filter(|check| check["what"] == "agents");
        agents.map(|check| check["verdict"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(verdicts().await, ["fault", "note"]);
    desk.types("agent add Ann --email ann@agents.example").await.well();
    assert_eq!(verdicts().await, ["ok"]);
    desk.types("agent pause Ann").await.well();
    assert_eq!(verdicts().await, ["fault", "note"]);
}
