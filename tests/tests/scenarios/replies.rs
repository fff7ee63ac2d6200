//! A person answers, at every moment of a sequence.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::signal::HandoverResult;
use serde_json::json;
use tests::scenarios;
use tests::world::{WEEKDAYS, days, hours, sequence};

scenarios! {
    /// A reply ends the sequence and wakes the owner once.
    async fn a_reply_ends_the_sequence(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;

        world.after(days(1)).await;
        ada.replies("Tell me more").await;
        ada.is(Shown::WithPerson).await;
        ada.accept().await;
        ada.answer().await;

        world.after(days(30)).await;
        ada.received(&["intro"]).await;
        world.owner_was_told(1).await;
        ada.close(HandoverResult::Won).await;
        ada.ended(Outcome::Replied).await;
    }

    /// A campaign may end without telling anybody.
    async fn a_reply_may_end_the_sequence_in_silence(world: World) {
        world.given(sequence().replies_stop().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("No, thank you").await;
        ada.ended(Outcome::Replied).await;
        world.after(days(30)).await;
        ada.received(&["intro"]).await;
        world.owner_was_told(0).await;
    }

    /// Somebody who writes before the first message gets none.
    async fn a_reply_before_the_first_message_prevents_it(world: World) {
        world.given(sequence().replies_stop().open(&WEEKDAYS, "09:00", "17:00").email("intro")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("I heard of you").await;
        world.after(days(3)).await;
        ada.received(&[]).await;
        ada.ended(Outcome::Replied).await;
    }

    /// A reply while a message is in flight: it arrives, nothing follows, and it counts as sent.
    async fn a_reply_during_a_send_lets_it_arrive_and_stops_the_rest(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.provider().holds_its_answers().await;
        world.after(days(3)).await;
        ada.is(Shown::Sending).await;

        ada.replies("Tell me more").await;
        ada.is(Shown::WithPerson).await;
        world.provider().answers().await;
        ada.received(&["intro", "nudge"]).await;
        ada.close(HandoverResult::Lost).await;
        ada.ended(Outcome::Replied).await;
        world.after(days(30)).await;
        ada.received(&["intro", "nudge"]).await;
        world.owner_was_told(1).await;
    }

    /// A reply while a message is in flight, given back: it goes on after that message.
    async fn a_lead_given_back_during_a_send_goes_on_after_it(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        world.provider().holds_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Who is this?").await;
        ada.give_back().await;
        ada.is(Shown::Sending).await;
        world.provider().answers().await;
        world.after(days(10)).await;
        ada.received(&["intro", "nudge"]).await;
        ada.ended(Outcome::Replied).await;
    }

    /// A reply after the last message is offered to a person, too.
    async fn a_reply_after_the_last_message_is_offered_too(world: World) {
        world.given(sequence().email("intro")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.ended(Outcome::Completed).await;
        world.after(days(20)).await;
        ada.replies("Back from holidays: tell me more").await;
        world.owner_was_told(1).await;
        ada.is(Shown::WithPerson).await;
        ada.close(HandoverResult::Won).await;
        ada.ended(Outcome::Replied).await;
    }

    /// Two replies in a row are one handover; whoever has the lead is told what it writes after.
    async fn a_second_reply_is_no_second_handover(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        ada.replies("Hello?").await;
        world.owner_was_told(1).await;
        ada.accept().await;
        ada.replies("Are you there?").await;
        ada.answer().await;
        world.owner_was_told(2).await;
        ada.close(HandoverResult::Won).await;
    }

    /// A step that waits for a reply consumes it: the sequence decides what comes next.
    async fn a_wait_for_a_reply_consumes_it(world: World) {
        let when = json!({ "waited": "listen", "by": "reply" });
        let campaign = sequence().email("intro").wait_for_reply("listen", days(5)).branch(
            "answered",
            when,
            sequence().email("thanks"),
            sequence().email("nudge"),
        );
        world.given(campaign).await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls("grace@example.com").await;
        world.after(days(1)).await;
        ada.replies("Tell me more").await;
        world.after(days(10)).await;
        ada.received(&["intro", "thanks"]).await;
        ada.ended(Outcome::Replied).await;
        grace.received(&["intro", "nudge"]).await;
        grace.ended(Outcome::Completed).await;
        world.owner_was_told(0).await;
    }

    /// From the moment a message is stored nothing leaves, though nobody has read it yet.
    async fn mail_that_nobody_has_read_yet_holds_the_send(world: World) {
        world.given(sequence().replies_stop().email("intro").wait(hours(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies_unread("Stop this, please").await;
        world.after(days(2)).await;
        ada.received(&["intro"]).await;
        ada.is_read().await;
        world.after(days(2)).await;
        ada.received(&["intro"]).await;
        ada.ended(Outcome::Replied).await;
    }
}
