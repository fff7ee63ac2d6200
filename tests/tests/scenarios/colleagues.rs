//! One company is one conversation: while a person of ours has one of its people, the others wait.

use machine::signal::HandoverResult;
use machine::state::Why;
use tests::scenarios;
use tests::world::{Sequence, days, hours, sequence};

/// Two mails three days apart.
fn two_mails() -> Sequence {
    sequence().email("intro").wait(days(3)).email("nudge")
}

scenarios! {
    /// Colleagues wait from the answer to the end of the handover, and then go on at once; people of
    /// other companies, and those with a mailbox where anybody has one, do not wait.
    async fn colleagues_wait_until_the_handover_ends(world: World) {
        world.given(two_mails().holds_colleagues()).await;
        let ada = world.enrolls("ada@acme.example").await;
        let bob = world.enrolls("bob@acme.example").await;
        let eve = world.enrolls("eve@other.example").await;
        let cal = world.enrolls("cal@gmail.com").await;
        let dan = world.enrolls("dan@gmail.com").await;
        world.after(days(1)).await;
        ada.replies("Tell me more").await;
        cal.replies("Tell me more").await;
        // Who comes later is a colleague, too.
        let late = world.enrolls("late@acme.example").await;
        world.after(days(4)).await;
        eve.received(&["intro", "nudge"]).await;
        dan.received(&["intro", "nudge"]).await;
        bob.received(&["intro"]).await;
        late.received(&[]).await;
        let plan = bob.plan().await;
        assert_eq!(plan.constraints.first().unwrap().kind, Why::ColleagueWithPerson);
        ada.accept().await;
        ada.answer().await;
        world.after(hours(5)).await;
        bob.received(&["intro"]).await;
        ada.close(HandoverResult::Lost).await;
        bob.received(&["intro", "nudge"]).await;
        late.received(&["intro"]).await;
        cal.accept().await;
        cal.answer().await;
    }

    /// The last of them lets the others go, and a stop is an end of the handover like any other.
    async fn the_last_handover_of_a_company_lets_it_go(world: World) {
        world.given(two_mails().holds_colleagues()).await;
        let ada = world.enrolls("ada@acme.example").await;
        let bob = world.enrolls("bob@acme.example").await;
        let cal = world.enrolls("cal@acme.example").await;
        world.after(days(1)).await;
        ada.replies("Tell me more").await;
        bob.replies("Me too").await;
        world.after(days(4)).await;
        ada.give_back().await;
        world.after(days(4)).await;
        cal.received(&["intro"]).await;
        ada.received(&["intro"]).await;
        bob.stop().await;
        cal.received(&["intro", "nudge"]).await;
        ada.received(&["intro", "nudge"]).await;
    }

    /// What nobody has read may be an answer; an absence holds none of the others.
    async fn colleagues_wait_until_a_mail_is_read(world: World) {
        world.given(two_mails().holds_colleagues()).await;
        let ada = world.enrolls("ada@acme.example").await;
        let bob = world.enrolls("bob@acme.example").await;
        world.after(days(1)).await;
        ada.is_away().await;
        world.after(days(1)).await;
        ada.replies_unread("Tell me more").await;
        world.after(days(2)).await;
        bob.received(&["intro"]).await;
        ada.is_read().await;
        ada.give_back().await;
        bob.received(&["intro", "nudge"]).await;
    }
}
