//! Pausing and resuming, one lead and whole campaigns, by the three rules.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::signal::{HandoverResult, ResumeRule};
use tests::scenarios;
use tests::world::{days, hours, sequence};

scenarios! {
    /// Keep: the original time, or at once where it has passed.
    async fn keep_resumes_at_the_original_time(world: World) {
        world.given(sequence().email("intro").wait(days(4)).email("nudge").wait(days(1)).email("close")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(1)).await;
        ada.pause().await;
        ada.is(Shown::Paused).await;
        world.after(days(1)).await;
        ada.resume(ResumeRule::Keep).await;
        ada.waits_for("nudge", "2026-03-06T08:00:00Z").await;
        world.after(days(2)).await;
        ada.received(&["intro", "nudge"]).await;
        ada.pause().await;
        world.after(days(20)).await;
        ada.received(&["intro", "nudge"]).await;
        ada.resume(ResumeRule::Keep).await;
        ada.received(&["intro", "nudge", "close"]).await;
    }

    /// Shift: the rest of the wait.
    async fn shift_resumes_with_the_rest_of_the_wait(world: World) {
        world.given(sequence().email("intro").wait(days(4)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(1)).await;
        ada.pause().await;
        world.after(days(10)).await;
        ada.resume(ResumeRule::Shift).await;
        ada.waits_for("nudge", "2026-03-16T08:00:00Z").await;
        world.after(days(3)).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// Restart: the whole wait.
    async fn restart_resumes_with_the_whole_wait(world: World) {
        world.given(sequence().email("intro").wait(days(4)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(1)).await;
        ada.pause().await;
        world.after(days(10)).await;
        ada.resume(ResumeRule::Restart).await;
        ada.waits_for("nudge", "2026-03-17T08:00:00Z").await;
        world.after(days(4)).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// Pause, resume, pause, resume: shift still knows the rest.
    async fn a_wait_that_is_paused_twice_keeps_its_rest(world: World) {
        world.given(sequence().email("intro").wait(days(4)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(1)).await;
        ada.pause().await;
        world.after(days(5)).await;
        ada.resume(ResumeRule::Shift).await;
        world.after(days(1)).await;
        ada.pause().await;
        ada.pause().await;
        world.after(days(5)).await;
        ada.resume(ResumeRule::Shift).await;
        ada.resume(ResumeRule::Restart).await;
        ada.waits_for("nudge", "2026-03-16T08:00:00Z").await;
        world.after(days(30)).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// A campaign's pause holds every lead, and its resumption moves all of them by one rule.
    async fn a_campaign_is_paused_and_resumed_as_a_whole(world: World) {
        let campaign = world.given(sequence().email("intro").wait(days(4)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(2)).await;
        let grace = world.enrolls("grace@example.com").await;
        campaign.pause().await;
        ada.is(Shown::Paused).await;
        grace.is(Shown::Paused).await;
        world.after(days(10)).await;
        ada.received(&["intro"]).await;
        campaign.resume(ResumeRule::Shift).await;
        ada.waits_for("nudge", "2026-03-16T08:00:00Z").await;
        grace.waits_for("nudge", "2026-03-18T08:00:00Z").await;
        world.after(days(10)).await;
        ada.ended(Outcome::Completed).await;
        grace.ended(Outcome::Completed).await;
    }

    /// The other two rules hold for campaigns, too, and a pause between two resumptions.
    async fn a_campaign_is_paused_again_before_its_leads_went_on(world: World) {
        let campaign = world.given(sequence().email("intro").wait(days(4)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(1)).await;
        campaign.pause().await;
        world.after(days(1)).await;
        campaign.resume(ResumeRule::Restart).await;
        ada.waits_for("nudge", "2026-03-08T08:00:00Z").await;
        campaign.pause().await;
        world.after(days(10)).await;
        ada.received(&["intro"]).await;
        campaign.resume(ResumeRule::Keep).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// Two pauses are two: both must be lifted.
    async fn lead_and_campaign_are_paused_independently(world: World) {
        let campaign = world.given(sequence().email("intro").wait(days(4)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.pause().await;
        campaign.pause().await;
        ada.resume(ResumeRule::Keep).await;
        ada.is(Shown::Paused).await;
        world.after(days(10)).await;
        ada.received(&["intro"]).await;
        campaign.resume(ResumeRule::Keep).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// What is in flight arrives; its answer is heard, and the rest waits.
    async fn a_pause_during_a_send_holds_the_next_step(world: World) {
        let campaign = world.given(sequence().email("intro").wait(hours(1)).email("nudge")).await;
        world.provider().holds_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        campaign.pause().await;
        ada.is(Shown::Paused).await;
        world.provider().answers().await;
        world.after(days(5)).await;
        ada.received(&["intro"]).await;
        ada.is(Shown::Paused).await;
        campaign.resume(ResumeRule::Shift).await;
        world.after(days(5)).await;
        ada.received(&["intro", "nudge"]).await;
        ada.ended(Outcome::Completed).await;
    }

    /// The order may meet the answer: what was sent is known as sent, and not sent again.
    async fn a_pause_that_meets_the_answer_does_not_lose_it(world: World) {
        let campaign = world.given(sequence().email("intro").wait(hours(1)).email("nudge")).await;
        world.provider().holds_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        campaign.pause_as_the_provider_answers().await;
        ada.is(Shown::Paused).await;
        world.after(days(5)).await;
        campaign.resume(ResumeRule::Shift).await;
        world.after(days(5)).await;
        ada.received(&["intro", "nudge"]).await;
        ada.ended(Outcome::Completed).await;
    }

    /// Resumed while the message is still in flight, the lead does not ask for it again.
    async fn a_lead_resumed_during_a_send_waits_for_its_answer(world: World) {
        world.given(sequence().email("intro").wait(hours(1)).email("nudge")).await;
        world.provider().holds_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        ada.pause().await;
        ada.resume(ResumeRule::Restart).await;
        ada.is(Shown::Sending).await;
        world.provider().answers().await;
        world.after(days(5)).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// Somebody who enters a paused campaign waits for it.
    async fn a_lead_enters_a_paused_campaign_and_waits(world: World) {
        let campaign = world.given(sequence().email("intro").wait(days(1)).email("nudge")).await;
        campaign.pause().await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(days(5)).await;
        ada.received(&[]).await;
        ada.is(Shown::Paused).await;
        campaign.resume(ResumeRule::Shift).await;
        ada.received(&["intro"]).await;
        world.after(days(5)).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// A reply reaches its person though the campaign is paused.
    async fn a_reply_in_a_paused_campaign_is_still_offered(world: World) {
        let campaign = world.given(sequence().email("intro").wait(days(1)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        campaign.pause().await;
        ada.replies("Tell me more").await;
        world.owner_was_told(1).await;
        ada.give_back().await;
        ada.is(Shown::Paused).await;
        campaign.resume(ResumeRule::Keep).await;
        ada.hand_over().await;
        ada.close(HandoverResult::Lost).await;
        ada.ended(Outcome::Replied).await;
        ada.received(&["intro"]).await;
    }

    /// Stopping a campaign ends every live lead, and leaves those alone that are over.
    async fn stopping_a_campaign_ends_every_live_lead(world: World) {
        let campaign = world.given(sequence().replies_stop().email("intro").wait(days(4)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls("grace@example.com").await;
        grace.opts_out().await;
        campaign.stop().await;
        ada.ended(Outcome::Stopped).await;
        grace.ended(Outcome::OptedOut).await;
        world.after(days(30)).await;
        ada.received(&["intro"]).await;
    }
}
