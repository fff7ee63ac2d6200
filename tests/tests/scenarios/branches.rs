//! Lanes that part and join, and waits that an event ends.

use machine::outcome::Outcome;
use serde_json::json;
use tests::scenarios;
use tests::world::{days, lead, sequence};

scenarios! {
    /// Lanes part by an attribute and join again.
    async fn lanes_part_and_join(world: World) {
        let campaign = sequence()
            .email("intro")
            .branch(
                "size",
                json!({ "attribute": "rooms", "at_least": 50 }),
                sequence().wait(days(1)).email("big"),
                sequence().wait(days(2)).email("small").wait(days(1)).email("smaller"),
            )
            .wait(days(1))
            .email("close");
        world.given(campaign).await;
        let ada = world.enrolls(lead("ada@example.com").with("rooms", "120")).await;
        let grace = world.enrolls(lead("grace@example.com").with("rooms", 12)).await;
        let nobody = world.enrolls("nobody@example.com").await;
        world.after(days(30)).await;
        ada.received(&["intro", "big", "close"]).await;
        grace.received(&["intro", "small", "smaller", "close"]).await;
        nobody.received(&["intro", "small", "smaller", "close"]).await;
        ada.ended(Outcome::Completed).await;
    }

    /// A lane is chosen once: what changes later does not lead back.
    async fn a_lane_is_chosen_once(world: World) {
        let campaign = sequence().email("intro").branch(
            "size",
            json!({ "attribute": "rooms", "at_least": 50 }),
            sequence().wait(days(1)).email("big"),
            sequence().wait(days(1)).email("small"),
        );
        world.given(campaign).await;
        let ada = world.enrolls(lead("ada@example.com").with("rooms", 10)).await;
        ada.has("rooms", 100).await;
        world.after(days(30)).await;
        ada.received(&["intro", "small"]).await;
    }

    /// Lanes may part by what happened.
    async fn lanes_part_by_what_happened(world: World) {
        let campaign = sequence().email("intro").wait(days(2)).branch(
            "looked",
            json!({ "clicked": "intro" }),
            sequence().email("warm"),
            sequence().email("cold"),
        );
        world.given(campaign).await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls("grace@example.com").await;
        world.after(days(1)).await;
        ada.clicks("intro").await;
        world.after(days(10)).await;
        ada.received(&["intro", "warm"]).await;
        grace.received(&["intro", "cold"]).await;
    }

    /// A click ends the wait for it; without one the wait runs out.
    async fn a_click_ends_the_wait_for_it(world: World) {
        let campaign = sequence().email("intro").wait_for_click("look", "intro", days(5)).email("next");
        world.given(campaign).await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls("grace@example.com").await;
        world.after(days(1)).await;
        ada.clicks("intro").await;
        world.after(days(30)).await;
        ada.received_at(&[("intro", "2026-03-02T08:00:00Z"), ("next", "2026-03-03T08:00:00Z")]).await;
        grace.received_at(&[("intro", "2026-03-02T08:00:00Z"), ("next", "2026-03-07T08:00:00Z")]).await;
    }

    /// So does an attribute; one that is there already ends it at once.
    async fn an_attribute_ends_the_wait_for_it(world: World) {
        let when = json!({ "attribute": "stage", "equals": "in trial" });
        let campaign = sequence().email("intro").wait_for_attribute("trial", when, days(5)).email("next");
        world.given(campaign).await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls(lead("grace@example.com").with("stage", "in trial")).await;
        grace.received(&["intro", "next"]).await;
        world.after(days(1)).await;
        ada.has("stage", "lead").await;
        ada.received(&["intro"]).await;
        ada.has("stage", "in trial").await;
        ada.received(&["intro", "next"]).await;
    }
}
