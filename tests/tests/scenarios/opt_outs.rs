//! Nobody is written to who does not want it.

use machine::explain::Shown;
use machine::outcome::Outcome;
use tests::scenarios;
use tests::world::{days, sequence};

scenarios! {
    /// An opt-out ends the sequence for good.
    async fn an_opt_out_ends_the_sequence(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.opts_out().await;
        ada.opts_out().await;
        world.after(days(30)).await;
        ada.received(&["intro"]).await;
        ada.ended(Outcome::OptedOut).await;
        world.owner_was_told(0).await;
    }

    /// It takes the lead away from a person, too.
    async fn an_opt_out_while_with_a_person_ends_it(world: World) {
        world.given(sequence().with_fallback().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        ada.accept().await;
        ada.opts_out().await;
        ada.is(Shown::OptedOut).await;
        world.after(days(30)).await;
        ada.received(&["intro"]).await;
        world.owner_was_told(1).await;
        world.fallback_was_told(0).await;
    }

    /// It holds for every campaign, running and to come.
    async fn an_opt_out_holds_for_every_campaign(world: World) {
        let first = world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = first.enrolls("ada@example.com").await;
        let second = world.given(sequence().named("Second").wait(days(1)).email("hello")).await;
        let running = second.enrolls("ada@example.com").await;
        ada.opts_out().await;
        running.ended(Outcome::OptedOut).await;
        let third = world.given(sequence().named("Third").email("news")).await;
        let later = third.enrolls("ada@example.com").await;
        world.after(days(30)).await;
        running.received(&[]).await;
        later.received(&[]).await;
        later.ended(Outcome::OptedOut).await;
    }

    /// During a send it cannot call the message back, but nothing follows.
    async fn an_opt_out_during_a_send_stops_the_rest(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        world.provider().holds_its_answers().await;
        let ada = world.enrolls("ada@example.com").await;
        ada.opts_out().await;
        ada.ended(Outcome::OptedOut).await;
        world.provider().answers().await;
        world.after(days(30)).await;
        ada.received(&["intro"]).await;
        ada.ended(Outcome::OptedOut).await;
    }

    /// A complaint is an opt-out, also after a reply that a person answered.
    async fn a_complaint_wins_over_a_reply(world: World) {
        world.given(sequence().replies_stop().email("intro")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Thank you").await;
        ada.ended(Outcome::Replied).await;
        ada.complains().await;
        ada.ended(Outcome::OptedOut).await;
    }
}
