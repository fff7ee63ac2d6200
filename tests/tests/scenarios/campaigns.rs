//! One person in two campaigns.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::signal::HandoverResult;
use machine::state::Why;
use tests::scenarios;
use tests::world::{WEEKDAYS, days, sequence};

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

    /// A lead that two campaigns wait for hears of the second when the time between them has passed.
    async fn a_lead_of_two_campaigns_is_left_alone_between_their_first_messages(world: World) {
        let first = world.given(sequence().open(&WEEKDAYS, "09:00", "17:00").email("intro").wait(days(3)).email("nudge")).await;
        let ada = first.enrolls("ada@example.com").await;
        let second = world
            .given(
                sequence()
                    .named("Second")
                    .open(&WEEKDAYS, "10:00", "17:00")
                    .not_within("10 days")
                    .email("hello")
                    .wait(days(3))
                    .email("again"),
            )
            .await;
        let same = second.enrolls("ada@example.com").await;
        let bob = second.enrolls("bob@example.com").await;
        world.until("2026-03-02T12:00:00Z").await;
        ada.received(&["intro"]).await;
        bob.received(&["hello"]).await;
        same.received(&[]).await;
        let plan = same.plan().await;
        assert_eq!(plan.constraints.first().unwrap().kind, Why::RecontactGuard);
        same.waits_for("hello", "2026-03-12T10:00:00Z").await;
        // Three days later the first campaign wrote again, and its ten days begin anew.
        world.until("2026-03-12T12:00:00Z").await;
        ada.received(&["intro", "nudge"]).await;
        same.waits_for("hello", "2026-03-16T10:00:00Z").await;
        world.until("2026-03-16T12:00:00Z").await;
        same.received(&["hello"]).await;
        // What it began it goes on with.
        world.after(days(7)).await;
        same.received(&["hello", "again"]).await;
        same.ended(Outcome::Completed).await;
    }

    /// Two campaigns that come to one lead at the same moment do not both write to it.
    async fn of_two_campaigns_that_come_at_once_one_writes(world: World) {
        world.leads_compete();
        let guarded = |name: &str| sequence().named(name).open(&WEEKDAYS, "09:00", "17:00").not_within("30 days").email("intro");
        let first = world.given(guarded("First")).await;
        let ada = first.enrolls("ada@example.com").await;
        let second = world.given(guarded("Second")).await;
        let same = second.enrolls("ada@example.com").await;
        world.until("2026-03-20T12:00:00Z").await;
        assert_eq!(ada.mails().await.len() + same.mails().await.len(), 1);
        world.until("2026-04-02T12:00:00Z").await;
        assert_eq!((ada.mails().await.len(), same.mails().await.len()), (1, 1));
    }
}
