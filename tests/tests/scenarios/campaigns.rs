//! One person in two campaigns.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::signal::HandoverResult;
use tests::scenarios;
use tests::world::{days, sequence};

scenarios! {
    /// A reply to one campaign ends the other one, too, and tells one person once.
    async fn a_reply_to_one_campaign_ends_the_other(world: World) {
        let first = world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = first.enrolls("ada@example.com").await;
        let second = world.given(sequence().named("Second").email("hello").wait(days(3)).email("again")).await;
        let same = second.enrolls("ada@example.com").await;
        world.after(days(1)).await;
        ada.replies("Tell me more").await;
        ada.is(Shown::WithPerson).await;
        same.ended(Outcome::Replied).await;
        ada.accept().await;
        ada.answer().await;
        world.after(days(30)).await;
        ada.received(&["intro"]).await;
        same.received(&["hello"]).await;
        world.owner_was_told(1).await;
        ada.close(HandoverResult::Won).await;
    }

    /// A campaign may hear only its own answers.
    async fn a_campaign_may_hear_only_its_own(world: World) {
        let first = world.given(sequence().replies_stop().email("intro").wait(days(3)).email("nudge")).await;
        let ada = first.enrolls("ada@example.com").await;
        let second = world
            .given(sequence().named("Second").hears_only_its_own().email("hello").wait(days(3)).email("again"))
            .await;
        let same = second.enrolls("ada@example.com").await;
        ada.replies("No, thank you").await;
        world.after(days(30)).await;
        ada.received(&["intro"]).await;
        ada.ended(Outcome::Replied).await;
        same.received(&["hello", "again"]).await;
        same.ended(Outcome::Completed).await;
    }

    /// The reply stops the other campaign even while its message is about to leave.
    async fn a_reply_holds_the_other_campaign_before_anybody_read_it(world: World) {
        let first = world.given(sequence().replies_stop().email("intro")).await;
        let ada = first.enrolls("ada@example.com").await;
        let second = world.given(sequence().named("Second").email("hello").wait(days(1)).email("again")).await;
        let same = second.enrolls("ada@example.com").await;
        ada.replies_unread("Not now").await;
        world.after(days(3)).await;
        same.received(&["hello"]).await;
        ada.is_read().await;
        same.ended(Outcome::Replied).await;
        world.after(days(3)).await;
        same.received(&["hello"]).await;
    }

    /// An absence is the person's, not the campaign's.
    async fn an_absence_counts_in_every_campaign(world: World) {
        let first = world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = first.enrolls("ada@example.com").await;
        let second = world.given(sequence().named("Second").email("hello").wait(days(3)).email("again")).await;
        let same = second.enrolls("ada@example.com").await;
        ada.is_away_until("2026-03-16").await;
        ada.waits_for("nudge", "2026-03-16T00:00:00Z").await;
        same.waits_for("again", "2026-03-16T00:00:00Z").await;
        ada.stop().await;
        same.stop().await;
    }
}
