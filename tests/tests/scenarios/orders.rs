//! What our people order about one lead.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::signal::Signal;
use tests::scenarios;
use tests::world::{WEEKDAYS, days, sequence};

scenarios! {
    /// A skipped step is passed by, and the delay of the next one begins.
    async fn a_skipped_step_is_passed_by(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge").wait(days(2)).email("close")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(1)).await;
        ada.skip().await;
        ada.waits_for("close", "2026-03-05T08:00:00Z").await;
        world.after(days(30)).await;
        ada.received(&["intro", "close"]).await;
    }

    /// An order that arrives twice is one order.
    async fn a_step_is_skipped_once_though_the_order_comes_twice(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge").wait(days(2)).email("close")).await;
        let ada = world.enrolls("ada@example.com").await;
        let skip = Signal::Skipped { step: "nudge".parse().unwrap() };
        ada.order(skip.clone()).await;
        ada.order(skip).await;
        world.after(days(30)).await;
        ada.received(&["intro", "close"]).await;
    }

    /// What is in flight cannot be skipped.
    async fn a_message_in_flight_is_not_skipped(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        world.provider().holds_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        ada.skip().await;
        ada.is(Shown::Sending).await;
        world.provider().answers().await;
        world.after(days(30)).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// The last step skipped is the end.
    async fn skipping_the_last_step_finishes(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.skip().await;
        ada.ended(Outcome::Completed).await;
    }

    /// Send now waives the delay.
    async fn send_now_waives_the_delay(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge").wait(days(3)).email("close")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(1)).await;
        ada.send_now().await;
        ada.received_at(&[("intro", "2026-03-02T08:00:00Z"), ("nudge", "2026-03-03T08:00:00Z")]).await;
        ada.waits_for("close", "2026-03-06T08:00:00Z").await;
        world.after(days(30)).await;
        ada.received(&["intro", "nudge", "close"]).await;
    }

    /// Send now does not waive the window.
    async fn send_now_waits_for_the_window(world: World) {
        let campaign =
            sequence().open(&WEEKDAYS, "09:00", "17:00").email("intro").wait(days(3)).email("nudge");
        world.given(campaign).await;
        let ada = world.enrolls("ada@example.com").await;
        world.until("2026-03-02T20:00:00Z").await;
        ada.send_now().await;
        ada.waits_for("nudge", "2026-03-03T09:00:00Z").await;
        world.after(days(30)).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// A stopped lead hears no more, and stays stopped though it replies.
    async fn a_stopped_lead_is_left_alone(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.stop().await;
        ada.replies("Tell me more").await;
        world.after(days(30)).await;
        ada.received(&["intro"]).await;
        ada.ended(Outcome::Stopped).await;
        world.owner_was_told(0).await;
    }

    /// A stop during a send lets it arrive and nothing after it.
    async fn a_stop_during_a_send_stops_the_rest(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        world.provider().holds_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        ada.stop().await;
        world.provider().answers().await;
        world.after(days(30)).await;
        ada.received(&["intro"]).await;
        ada.ended(Outcome::Stopped).await;
    }
}
