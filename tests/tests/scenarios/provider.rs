//! A provider in trouble: nothing is lost, nothing is sent twice, nothing is tried for ever.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::signal::Refusal;
use machine::state::Why;
use tests::scenarios;
use tests::world::{days, hours, minutes, sequence};

scenarios! {
    /// A provider that fails for ever: the attempts are bounded, and the lead fails.
    async fn a_provider_that_fails_for_ever_fails_the_lead(world: World) {
        world.given(sequence().refused_at_most(4).email("intro").wait(days(3)).email("nudge")).await;
        world.provider().refuses_for_ever().await;
        let ada = world.enrolls("ada@example.com").await;
        ada.is(Shown::Retrying).await;
        assert_eq!(ada.plan().await.constraints[0].kind, Why::RetryBackoff);
        world.after(days(30)).await;
        ada.received(&[]).await;
        ada.ended(Outcome::Failed).await;
        world.provider().recovers().await;
        world.after(days(30)).await;
        ada.received(&[]).await;
    }

    /// One that fails for a while: the message is sent once, later.
    async fn a_provider_that_recovers_gets_the_message_once(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        world.provider().refuses(2, Refusal::Retry).await;
        let ada = world.enrolls("ada@example.com").await;
        world.after(minutes(4)).await;
        ada.received(&[]).await;
        world.after(hours(1)).await;
        ada.received(&["intro"]).await;
        world.after(days(10)).await;
        ada.received(&["intro", "nudge"]).await;
        ada.ended(Outcome::Completed).await;
    }

    /// A message that the provider will never take fails at once.
    async fn a_message_refused_for_its_content_fails(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        world.provider().refuses(1, Refusal::Content).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.ended(Outcome::Failed).await;
        world.after(days(10)).await;
        ada.received(&[]).await;
    }

    /// What was given up is tried again when a person says so, as another attempt of one message; the
    /// rest of the sequence follows.
    async fn a_lead_that_failed_goes_on_where_it_failed(world: World) {
        let campaign =
            sequence().refused_at_most(2).email("intro").wait(days(3)).email("nudge").wait(days(2)).email("close");
        world.given(campaign).await;
        let ada = world.enrolls("ada@example.com").await;
        world.provider().refuses_for_ever().await;
        world.after(days(10)).await;
        ada.ended(Outcome::Failed).await;
        ada.retry().await;
        ada.is(Shown::Retrying).await;
        world.after(days(10)).await;
        ada.ended(Outcome::Failed).await;
        world.provider().recovers().await;
        ada.retry().await;
        ada.received(&["intro", "nudge"]).await;
        ada.retry().await;
        world.after(days(1)).await;
        ada.received(&["intro", "nudge"]).await;
        world.after(days(10)).await;
        ada.received(&["intro", "nudge", "close"]).await;
        ada.ended(Outcome::Completed).await;
        ada.retry().await;
        ada.ended(Outcome::Completed).await;
    }

    /// A lead that failed and opted out, or whose campaign was stopped, is not tried again.
    async fn no_retry_undoes_a_stop(world: World) {
        let campaign = sequence().refused_at_most(1).email("intro").wait(days(30)).email("nudge");
        let campaign = world.given(campaign).await;
        world.provider().refuses_for_ever().await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls("grace@example.com").await;
        world.provider().recovers().await;
        world.enrolls("rosa@example.com").await.received(&["intro"]).await;
        ada.ended(Outcome::Failed).await;
        ada.opts_out().await;
        ada.retry().await;
        campaign.stop().await;
        grace.retry().await;
        world.after(days(10)).await;
        ada.received(&[]).await;
        ada.ended(Outcome::OptedOut).await;
        grace.received(&[]).await;
        grace.ended(Outcome::Stopped).await;
    }

    /// A lost answer: nobody calls again, and a person says that it went.
    async fn a_message_whose_answer_is_lost_is_never_sent_again_by_itself(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        world.provider().loses_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        world.provider().recovers().await;
        world.after(days(10)).await;
        ada.received(&["intro"]).await;
        ada.is_in_review(1).await;
        ada.is(Shown::Sending).await;
        ada.is_found_to_have_it().await;
        world.after(days(10)).await;
        ada.received(&["intro", "nudge"]).await;
        ada.ended(Outcome::Completed).await;
    }

    /// A person may order another attempt of what was lost.
    async fn a_person_may_send_again_what_was_lost(world: World) {
        world.given(sequence().email("intro")).await;
        world.provider().loses_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        world.provider().recovers().await;
        world.after(hours(1)).await;
        ada.is_in_review(1).await;
        ada.is_sent_it_again().await;
        world.after(days(1)).await;
        ada.received(&["intro", "intro"]).await;
        ada.ended(Outcome::Completed).await;
    }

    /// A report that the message arrived is as good as the answer.
    async fn a_report_of_delivery_proves_a_lost_send(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        world.provider().loses_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        world.provider().recovers().await;
        world.after(hours(1)).await;
        ada.was_delivered("intro").await;
        ada.is_in_review(0).await;
        world.after(days(10)).await;
        ada.received(&["intro", "nudge"]).await;
        ada.ended(Outcome::Completed).await;
    }

    /// A reply to a message whose answer was lost stops the rest, and settles the message.
    async fn a_reply_to_a_lost_send_settles_it(world: World) {
        world.given(sequence().email("seen").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.provider().loses_its_answers().await;
        world.after(days(3)).await;
        world.provider().recovers().await;
        world.after(hours(1)).await;
        ada.is_in_review(1).await;
        ada.replies("Tell me more").await;
        ada.is_in_review(0).await;
        ada.close(machine::signal::HandoverResult::Won).await;
        ada.ended(Outcome::Replied).await;
    }
}
