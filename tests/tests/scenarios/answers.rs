//! A person of ours answers a lead by mail: the answer is passed on, once, and the lead's next one finds
//! that person.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::sequence::Channel;
use machine::signal::{HandoverResult, Refusal, ResumeRule};
use tests::scenarios;
use tests::world::{ANSWER, WEEKDAYS, agent, days, hours, minutes, sender, sequence};

scenarios! {
    /// The offer's answer is the lead's answer: nobody has to take it, or to say that it was answered.
    async fn an_answer_by_mail_reaches_the_lead_and_takes_the_lead(world: World) {
        world.given(sequence().with_fallback().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        ada.is_written_to("Gladly: it is a boat.").await;
        ada.received(&["intro", ANSWER]).await;
        ada.was_answered().await;
        world.after(days(9)).await;
        world.owner_was_told(1).await;
        world.fallback_was_told(0).await;
        ada.close(HandoverResult::Won).await;
        ada.ended(Outcome::Replied).await;
        ada.received(&["intro", ANSWER]).await;
    }

    /// They write to each other, through us, as often as they like.
    async fn whoever_has_the_lead_is_told_what_it_writes(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        for round in 1..=3 {
            ada.is_written_to("It is a boat.").await;
            world.after(minutes(10)).await;
            ada.replies("How long is it?").await;
            world.owner_was_told(1 + round).await;
            world.after(minutes(10)).await;
        }
        ada.received(&["intro", ANSWER, ANSWER, ANSWER]).await;
        ada.is(Shown::WithPerson).await;
        ada.close(HandoverResult::Lost).await;
    }

    /// Somebody who took the lead and has not answered yet is told of the next mail, too.
    async fn a_lead_that_was_taken_and_writes_again_is_told_to_who_took_it(world: World) {
        world.given(sequence().with_fallback().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        ada.accept().await;
        ada.replies("Are you there?").await;
        ada.replies("Hello?").await;
        world.owner_was_told(3).await;
        world.fallback_was_told(0).await;
        ada.is_written_to("Here I am.").await;
        ada.received(&["intro", ANSWER]).await;
        ada.close(HandoverResult::Won).await;
    }

    /// An agent's lead is that agent's: nobody else is told.
    async fn an_agent_who_has_the_lead_is_told_what_it_writes(world: World) {
        world.agents([agent("anna"), agent("beata")]).await;
        world.given(sequence().offered_in_turn().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        ada.is_written_to("It is a boat.").await;
        ada.replies("How long is it?").await;
        world.agents_were_told(&["anna", "anna"]).await;
        ada.is_written_to("Ten metres.").await;
        ada.received(&["intro", ANSWER, ANSWER]).await;
        ada.close(HandoverResult::Won).await;
    }

    /// What was offered to the fallback since is not the owner's alone, but the first who answers has it.
    async fn a_late_answer_of_the_owner_takes_the_lead_from_the_offer(world: World) {
        world.given(sequence().with_fallback().email("intro").wait(days(9)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        world.after(days(1)).await;
        world.fallback_was_told(1).await;
        ada.is_written_to("Sorry, I was away.").await;
        ada.received(&["intro", ANSWER]).await;
        // Somebody else has it now.
        ada.is_written_to_by_the_fallback("I take this.").await;
        ada.received(&["intro", ANSWER]).await;
        ada.close(HandoverResult::Won).await;
    }

    /// A stop wins over everything that was not sent.
    async fn a_lead_that_opted_out_is_written_to_by_nobody(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        ada.opts_out().await;
        ada.is_written_to("Gladly: it is a boat.").await;
        ada.received(&["intro"]).await;
        ada.ended(Outcome::OptedOut).await;
        world.owner_was_told(1).await;
    }

    /// An address that is not to be written to, of a lead that a person has all the same.
    async fn a_lead_without_consent_is_not_written_to_and_stays_with_its_person(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Call me, do not write").await;
        ada.takes_no(Channel::Email).await;
        ada.is_written_to("Gladly: it is a boat.").await;
        ada.received(&["intro"]).await;
        ada.is(Shown::WithPerson).await;
        ada.close(HandoverResult::Lost).await;
    }

    /// Nobody vouches for an author, or it is a machine: nothing is passed on, and the offer stands.
    async fn what_no_person_of_ours_wrote_is_not_passed_on(world: World) {
        world.given(sequence().with_fallback().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        ada.is_written_to_by_a_stranger("Click here").await;
        ada.finds_the_owner_away().await;
        ada.is_written_to("").await;
        ada.received(&["intro"]).await;
        world.after(days(1)).await;
        world.fallback_was_told(1).await;
        ada.close(HandoverResult::Lost).await;
    }

    /// No window holds an answer, but the sender's limits do.
    async fn an_answer_waits_for_the_senders_limit_and_for_no_window(world: World) {
        let campaign = sequence().open(&WEEKDAYS, "09:00", "10:00").from(sender("busy").per_day(1));
        world.given(campaign.email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(hours(12)).await;
        ada.replies("Tell me more").await;
        ada.is_written_to("Gladly: it is a boat.").await;
        ada.received(&["intro"]).await;
        world.after(hours(24)).await;
        ada.received(&["intro", ANSWER]).await;
        ada.close(HandoverResult::Won).await;
    }

    /// What is closed meanwhile is answered all the same, and what is stopped is not.
    async fn an_answer_that_waits_outlives_its_handover_and_not_a_stop(world: World) {
        let campaign = sequence().from(sender("busy").per_day(2));
        world.given(campaign.email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        let eve = world.enrolls("eve@example.com").await;
        ada.replies("Tell me more").await;
        eve.replies("Tell me more").await;
        ada.is_written_to("Gladly: it is a boat.").await;
        eve.is_written_to("Gladly: it is a boat.").await;
        ada.close(HandoverResult::Won).await;
        eve.stop().await;
        world.after(days(2)).await;
        ada.received(&["intro", ANSWER]).await;
        eve.received(&["intro"]).await;
    }

    /// A pause of the campaign holds it, and nothing is lost by it.
    async fn an_answer_waits_for_the_end_of_a_pause(world: World) {
        let campaign = world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        campaign.pause().await;
        ada.is_written_to("Gladly: it is a boat.").await;
        ada.received(&["intro"]).await;
        campaign.resume(ResumeRule::Keep).await;
        ada.received(&["intro", ANSWER]).await;
        ada.close(HandoverResult::Won).await;
    }

    /// What the mail server refuses for now is tried again, what it refuses for good is not.
    async fn an_answer_that_is_refused_is_tried_again(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        world.provider().refuses(2, Refusal::Retry).await;
        ada.is_written_to("Gladly: it is a boat.").await;
        ada.received(&["intro"]).await;
        world.after(hours(3)).await;
        ada.received(&["intro", ANSWER]).await;
        world.provider().refuses(1, Refusal::Content).await;
        ada.is_written_to("And it is blue.").await;
        world.after(days(2)).await;
        ada.received(&["intro", ANSWER]).await;
        ada.is(Shown::WithPerson).await;
        ada.close(HandoverResult::Won).await;
    }

    /// Nobody knows whether it left: a person looks, and it is never sent twice by itself.
    async fn an_answer_whose_call_was_lost_waits_for_a_person(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        world.provider().loses_its_answers().await;
        ada.is_written_to("Gladly: it is a boat.").await;
        world.provider().recovers().await;
        world.after(days(1)).await;
        ada.is_in_review(1).await;
        ada.received(&["intro", ANSWER]).await;
        ada.is_found_to_have_it().await;
        ada.was_answered().await;
        ada.close(HandoverResult::Won).await;
    }
}
