//! A campaign that moves between engines while its leads are under way.

use crate::stage::{CAMPAIGN, Stage};

const LEADS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_moves_to_postgres_and_back_with_leads_in_flight() {
    let (stage, mut serving) = Stage::set(LEADS).await;
    stage.accepted(&mut serving, 8).await;
    let moved = stage.installation.json(&["engine", "move", "--to", "postgres", CAMPAIGN]).await;
    assert_eq!(moved["leads"], LEADS, "{moved}");
    stage.accepted(&mut serving, 16).await;
    let moved = stage.installation.json(&["engine", "move", "--to", "temporal", CAMPAIGN]).await;
    assert_eq!(moved["leads"], LEADS, "{moved}");
    let again = stage.installation.json(&["engine", "move", "--to", "temporal", CAMPAIGN]).await;
    assert_eq!(again["leads"], 0, "{again}");
    stage.settled(&mut serving).await;
    stage.judge(serving).await;
}
