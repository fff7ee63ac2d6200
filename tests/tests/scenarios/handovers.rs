//! A person takes over: offered, accepted, escalated, closed, given back.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::signal::HandoverResult;
use serde_json::json;
use tests::scenarios;
use tests::world::{FALLBACK, OWNER, WEEKDAYS, days, hours, minutes, sequence};

scenarios! {
    /// Offered, accepted, answered, closed.
    async fn a_handover_is_offered_accepted_answered_and_closed(world: World) {
        world.given(sequence().with_fallback().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        world.owner_was_told(1).await;
        world.after(hours(2)).await;
        ada.accept().await;
        world.after(hours(2)).await;
        ada.answer().await;
        world.after(days(30)).await;
        ada.is(Shown::WithPerson).await;
        ada.close(HandoverResult::Won).await;
        ada.ended(Outcome::Replied).await;
        ada.received(&["intro"]).await;
        world.owner_was_told(1).await;
        world.fallback_was_told(0).await;
    }

    /// A score that is reached hands the lead over by itself, once.
    async fn a_lead_that_is_worth_it_is_handed_over_once(world: World) {
        let campaign = sequence()
            .points(20, json!({ "clicked": "intro" }))
            .points(30, json!({ "delivered": "intro" }))
            .trigger("hot", json!({ "score_at_least": 50 }));
        world.given(campaign.email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.clicks("intro").await;
        world.owner_was_told(0).await;
        ada.was_delivered("intro").await;
        world.owner_was_told(1).await;
        ada.is(Shown::WithPerson).await;
        ada.give_back().await;
        world.after(days(9)).await;
        world.owner_was_told(1).await;
        ada.received(&["intro", "nudge"]).await;
        ada.ended(Outcome::Completed).await;
    }

    /// What the owner does not take in time goes to the fallback, and then is reminded daily.
    async fn an_offer_nobody_takes_is_escalated_and_then_reminded(world: World) {
        world.given(sequence().with_fallback().email("intro").wait(days(9)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        world.after(days(1)).await;
        world.owner_was_told(1).await;
        world.fallback_was_told(1).await;
        world.after(days(1)).await;
        world.fallback_was_told(2).await;
        world.after(days(3)).await;
        world.owner_was_told(1).await;
        world.fallback_was_told(5).await;
        ada.is(Shown::WithPerson).await;
        ada.accept_as_fallback().await;
        ada.answer().await;
        world.after(days(30)).await;
        world.fallback_was_told(5).await;
        ada.received(&["intro"]).await;
        ada.close(HandoverResult::Lost).await;
    }

    /// Deadlines begin in the team's working hours: here within the campaign's own.
    async fn somebody_who_took_a_lead_and_does_not_answer_is_passed_over(world: World) {
        let campaign = sequence().with_fallback().answered_within("2 hours");
        world.given(campaign.email("intro").wait(days(9)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        ada.accept().await;
        world.after(hours(3)).await;
        world.owner_was_told(1).await;
        world.fallback_was_told(1).await;
        ada.accept_as_fallback().await;
        ada.answer().await;
        ada.close(HandoverResult::Won).await;
    }

    /// Given back, the sequence goes on where it was.
    async fn a_lead_given_back_goes_on(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Wrong person, ask my colleague").await;
        ada.accept().await;
        world.after(hours(12)).await;
        ada.give_back().await;
        ada.is(Shown::Waiting).await;
        world.after(days(30)).await;
        ada.received_at(&[("intro", "2026-03-02T08:00:00Z"), ("nudge", "2026-03-05T20:00:00Z")]).await;
        ada.ended(Outcome::Replied).await;
        world.owner_was_told(1).await;
    }

    /// A person may ask for a lead before it said a word.
    async fn a_person_may_take_a_lead_at_any_time(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.hand_over().await;
        world.owner_was_told(1).await;
        ada.accept().await;
        ada.close(HandoverResult::Won).await;
        ada.ended(Outcome::Completed).await;
        ada.received(&["intro"]).await;
    }

    /// A step may hand over; given back, the sequence goes on after it.
    async fn a_step_hands_over(world: World) {
        world.given(sequence().email("intro").wait(days(3)).hand_over("team").wait(days(1)).email("close")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(3)).await;
        world.owner_was_told(1).await;
        ada.give_back().await;
        world.after(days(10)).await;
        ada.received(&["intro", "close"]).await;
        ada.ended(Outcome::Completed).await;
        world.owner_was_told(1).await;
    }

    /// A second reply after everything was closed is a second handover.
    async fn a_reply_after_the_end_is_a_new_handover(world: World) {
        world.given(sequence().email("intro")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        ada.close(HandoverResult::Lost).await;
        world.after(days(60)).await;
        ada.replies("We are ready now").await;
        world.owner_was_told(2).await;
        ada.accept().await;
        ada.close(HandoverResult::Won).await;
        ada.ended(Outcome::Replied).await;
    }

    /// Offers are mail to our own people: no window and no limit of the leads' mail holds them.
    async fn an_offer_leaves_outside_windows_and_limits(world: World) {
        let campaign = sequence()
            .open(&WEEKDAYS, "09:00", "10:00")
            .per_day(1)
            .email("intro")
            .wait(days(3))
            .email("nudge");
        world.given(campaign).await;
        let ada = world.enrolls("ada@example.com").await;
        world.until("2026-03-02T23:00:00Z").await;
        ada.replies("Tell me more").await;
        world.owner_was_told(1).await;
        ada.close(HandoverResult::Won).await;
        ada.received(&["intro"]).await;
        assert_ne!(OWNER, FALLBACK);
    }

    /// Two machines that answer each other for ever: one offer, and nothing else leaves.
    async fn a_loop_of_answers_makes_one_offer(world: World) {
        world.given(sequence().with_fallback().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        for _ in 0..20 {
            ada.replies("Thank you for your message, we will look into it").await;
            ada.is_away().await;
            world.after(minutes(10)).await;
        }
        world.owner_was_told(1).await;
        world.fallback_was_told(0).await;
        ada.received(&["intro"]).await;
        ada.close(HandoverResult::Lost).await;
    }

    /// Automatic answers alone reach nobody and stop nothing.
    async fn a_loop_of_automatic_answers_makes_no_offer(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        for _ in 0..20 {
            ada.is_away().await;
            world.after(minutes(10)).await;
        }
        world.after(days(10)).await;
        world.owner_was_told(0).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// A campaign that was finished goes on with a lead that comes back.
    async fn a_lead_given_back_after_its_campaign_finished_goes_on(world: World) {
        world.given(sequence().replies_stop().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Not now, ask me again next week").await;
        ada.ended(Outcome::Replied).await;
        world.after(days(1)).await;
        ada.hand_over().await;
        world.owner_was_told(1).await;
        ada.give_back().await;
        world.after(days(10)).await;
        ada.received(&["intro", "nudge"]).await;
        ada.ended(Outcome::Replied).await;
    }
}
