//! A clock change inside a wait: days keep the wall clock, hours are real time.

use tests::scenarios;
use tests::world::{WEEKDAYS, Weekday, days, hours, lead, sequence};

scenarios! {
    /// In spring a day is an hour short, and the message still leaves at the same local time.
    async fn days_keep_the_local_time_across_the_change_in_spring(world: World) {
        world.given(sequence().email("intro").wait(days(2)).email("nudge").wait(hours(48)).email("close")).await;
        world.until("2026-03-28T10:00:00Z").await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(10)).await;
        ada.received_at(&[
            ("intro", "2026-03-28T10:00:00Z"),
            ("nudge", "2026-03-30T09:00:00Z"),
            ("close", "2026-04-01T09:00:00Z"),
        ])
        .await;
    }

    /// Hours are hours, whatever the clock on the wall does.
    async fn hours_are_real_time_across_the_change(world: World) {
        world.given(sequence().email("intro").wait(hours(25)).email("nudge")).await;
        world.until("2026-03-28T10:00:00Z").await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(10)).await;
        ada.received_at(&[("intro", "2026-03-28T10:00:00Z"), ("nudge", "2026-03-29T11:00:00Z")]).await;
    }

    /// A local time that the change skips comes after the gap; one it repeats comes once.
    async fn a_time_in_the_gap_moves_and_one_in_the_fold_comes_once(world: World) {
        world.given(sequence().email("intro").wait_until("1 day at 01:30").email("nudge")).await;
        world.until("2026-03-28T00:00:00Z").await;
        let ada = world.enrolls(lead("ada@example.com").in_zone(chrono_tz::Europe::Lisbon)).await;
        world.until("2026-10-23T23:00:00Z").await;
        let grace = world.enrolls(lead("grace@example.com").in_zone(chrono_tz::Europe::Lisbon)).await;
        world.after(days(10)).await;
        ada.received_at(&[("intro", "2026-03-28T00:00:00Z"), ("nudge", "2026-03-29T01:30:00Z")]).await;
        grace.received_at(&[("intro", "2026-10-23T23:00:00Z"), ("nudge", "2026-10-25T00:30:00Z")]).await;
    }

    /// Windows are read on the wall clock on both sides of the change.
    async fn a_window_opens_at_its_local_hour_on_both_sides(world: World) {
        let every_day = [WEEKDAYS.as_slice(), &[Weekday::Sat, Weekday::Sun]].concat();
        world.given(sequence().open(&every_day, "09:00", "17:00").email("intro").wait(hours(20)).email("nudge")).await;
        world.until("2026-10-24T06:00:00Z").await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(3)).await;
        ada.received_at(&[("intro", "2026-10-24T08:00:00Z"), ("nudge", "2026-10-25T09:00:00Z")]).await;
    }
}
