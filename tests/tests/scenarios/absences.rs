//! People who are away: an automatic answer is never a reply.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::state::Why;
use tests::scenarios;
use tests::world::{WEEKDAYS, days, sequence};

scenarios! {
    /// An out-of-office moves the next message to the day of return.
    async fn an_out_of_office_moves_the_timer(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge").wait(days(1)).email("close")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.is_away_until("2026-03-16").await;
        ada.is_away_until("2026-03-09").await;
        ada.waits_for("nudge", "2026-03-16T00:00:00Z").await;
        assert_eq!(ada.plan().await.constraints.last().unwrap().kind, Why::LeadAsked);
        world.after(days(30)).await;
        ada.received_at(&[
            ("intro", "2026-03-02T08:00:00Z"),
            ("nudge", "2026-03-16T00:00:00Z"),
            ("close", "2026-03-17T00:00:00Z"),
        ])
        .await;
        ada.ended(Outcome::Completed).await;
        world.owner_was_told(0).await;
    }

    /// The return counts from the lead's own midnight, and the window still holds.
    async fn the_day_of_return_has_its_window(world: World) {
        let campaign =
            sequence().open(&WEEKDAYS, "09:00", "17:00").email("intro").wait(days(1)).email("nudge");
        world.given(campaign).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(1)).await;
        // A Saturday.
        ada.is_away_until("2026-03-07").await;
        world.after(days(30)).await;
        ada.received_at(&[("intro", "2026-03-02T09:00:00Z"), ("nudge", "2026-03-09T09:00:00Z")]).await;
    }

    /// An automatic answer without a date changes nothing.
    async fn an_automatic_answer_without_a_date_changes_nothing(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.is_away().await;
        ada.waits_for("nudge", "2026-03-05T08:00:00Z").await;
        world.after(days(30)).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// Heard while a message is in flight, it is remembered for the next wait.
    async fn an_absence_heard_during_a_send_counts_for_the_next_wait(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        world.provider().holds_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        ada.is_away_until("2026-03-12").await;
        ada.is(Shown::Sending).await;
        world.provider().answers().await;
        ada.waits_for("nudge", "2026-03-12T00:00:00Z").await;
        world.after(days(30)).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// A person who knows better sends all the same.
    async fn send_now_waives_the_absence(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.is_away_until("2026-03-16").await;
        ada.send_now().await;
        ada.received_at(&[("intro", "2026-03-02T08:00:00Z"), ("nudge", "2026-03-02T08:00:00Z")]).await;
    }
}
