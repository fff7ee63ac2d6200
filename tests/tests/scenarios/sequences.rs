//! A sequence that nobody disturbs: delays, windows, holidays, wordings, goals.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::state::Why;
use serde_json::json;
use tests::scenarios;
use tests::world::{WEEKDAYS, days, hours, lead, sequence};

scenarios! {
    /// Every step is sent once, at its time, and then it is over.
    async fn a_whole_sequence_is_sent_and_finishes(world: World) {
        world
            .given(sequence().email("intro").wait(days(3)).email("nudge").wait(hours(5)).email("close"))
            .await;
        let ada = world.enrolls("ada@example.com").await;

        ada.received(&["intro"]).await;
        ada.waits_for("nudge", "2026-03-05T08:00:00Z").await;

        world.after(days(30)).await;
        ada.received_at(&[
            ("intro", "2026-03-02T08:00:00Z"),
            ("nudge", "2026-03-05T08:00:00Z"),
            ("close", "2026-03-05T13:00:00Z"),
        ])
        .await;
        ada.ended(Outcome::Completed).await;
        ada.is(Shown::Finished).await;
        world.owner_was_told(0).await;
    }

    /// Messages leave inside the windows of the lead's own wall clock, and on no holiday.
    async fn messages_leave_inside_windows_of_the_leads_own_clock(world: World) {
        let campaign = sequence()
            .open(&WEEKDAYS, "09:00", "12:00")
            .open(&WEEKDAYS, "14:00", "17:00")
            .closed_on("2026-03-05")
            .email("intro")
            .wait(days(3))
            .email("nudge");
        world.given(campaign).await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls(lead("grace@example.com").in_zone(chrono_tz::America::New_York)).await;
        ada.is(Shown::Queued).await;
        assert_eq!(ada.plan().await.constraints.last().unwrap().kind, Why::Holiday);

        world.after(days(10)).await;
        ada.received_at(&[("intro", "2026-03-02T09:00:00Z"), ("nudge", "2026-03-06T09:00:00Z")]).await;
        grace
            .received_at(&[("intro", "2026-03-02T14:00:00Z"), ("nudge", "2026-03-06T14:00:00Z")])
            .await;
    }

    /// A delay may end at a local time of day.
    async fn a_delay_may_end_at_a_local_time(world: World) {
        world.given(sequence().email("intro").wait_until("2 days at 10:30").email("nudge")).await;
        let ada = world.enrolls(lead("ada@example.com").in_zone(chrono_tz::Asia::Kathmandu)).await;
        world.after(days(10)).await;
        // Two days later it is 13:45 in Kathmandu: the next 10:30 is on the day after.
        ada.received_at(&[("intro", "2026-03-02T08:00:00Z"), ("nudge", "2026-03-05T04:45:00Z")]).await;
    }

    /// A campaign's goal, met by an attribute, ends the sequence at once.
    async fn a_lead_that_meets_the_goal_leaves(world: World) {
        let goal = json!({ "attribute": "stage", "equals": "won" });
        world.given(sequence().goal(goal).email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls(lead("grace@example.com").with("stage", "Won")).await;
        grace.received(&[]).await;
        grace.ended(Outcome::Met).await;

        world.after(days(1)).await;
        ada.has("stage", "lost").await;
        ada.is(Shown::Waiting).await;
        ada.has("stage", "won").await;
        ada.ended(Outcome::Met).await;

        world.after(days(10)).await;
        ada.received(&["intro"]).await;
    }

    /// The leads of a campaign get its wordings by weight, and each keeps the one it got.
    async fn wordings_are_shared_out_by_weight_and_kept(world: World) {
        let campaign = sequence()
            .email_in_variants("intro", &[("plain", 1), ("bold", 3), ("never", 0)])
            .wait(days(1))
            .email("nudge");
        world.given(campaign).await;
        let mut people = Vec::new();
        for number in 0..120 {
            if number == 119 {
                world.provider().refuses(1, machine::signal::Refusal::Retry).await;
            }
            people.push(world.enrolls(format!("lead{number}@example.com").as_str()).await);
        }
        world.after(days(3)).await;

        let mut bold = 0;
        for person in &people {
            let mails = person.mails().await;
            assert_eq!(mails.len(), 2);
            match mails[0].variant.as_deref() {
                Some("bold") => bold += 1,
                Some("plain") => {}
                other => panic!("nobody should get {other:?}"),
            }
            assert_eq!(mails[1].variant, None);
        }
        // Three standard deviations around three quarters.
        assert!((76..=104).contains(&bold), "{bold} of 120 got the bold one");
    }

    /// A wording that was refused is tried again as it was.
    async fn a_refused_wording_is_tried_again_as_it_was(world: World) {
        world.given(sequence().email_in_variants("intro", &[("plain", 1), ("bold", 1)])).await;
        world.provider().refuses(1, machine::signal::Refusal::Retry).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.is(Shown::Retrying).await;
        let planned = ada.plan().await.next.unwrap().variant.unwrap();
        world.after(hours(1)).await;
        assert_eq!(ada.mails().await[0].variant.as_deref(), Some(planned.as_str()));
    }
}
