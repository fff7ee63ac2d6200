//! Messages that come back.

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::signal::Refusal;
use tests::scenarios;
use tests::world::{days, hours, sequence};

scenarios! {
    /// An address that does not exist ends the sequence, and no other campaign tries it.
    async fn a_hard_bounce_ends_every_sequence_to_the_address(world: World) {
        let first = world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = first.enrolls("ada@example.com").await;
        let second =
            world.given(sequence().named("Second").wait(days(1)).email("hello")).await;
        let again = second.enrolls("ada@example.com").await;
        ada.bounces().await;
        world.after(days(10)).await;
        ada.received(&["intro"]).await;
        ada.ended(Outcome::Bounced).await;
        again.received(&[]).await;
        again.ended(Outcome::Bounced).await;
    }

    /// A full mailbox does not end it; one that is full on three days does.
    async fn soft_bounces_end_it_on_the_third_day(world: World) {
        world.given(sequence().email("intro").wait(days(10)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.bounces_softly().await;
        world.after(hours(2)).await;
        ada.bounces_softly().await;
        world.after(days(1)).await;
        ada.bounces_softly().await;
        ada.is(Shown::Waiting).await;
        world.after(days(1)).await;
        ada.bounces_softly().await;
        ada.ended(Outcome::Bounced).await;
        world.after(days(30)).await;
        ada.received(&["intro"]).await;
    }

    /// A message that arrives makes earlier trouble with the mailbox forgotten.
    async fn a_delivery_forgives_soft_bounces(world: World) {
        world.given(sequence().email("intro").wait(days(10)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        for _ in 0..4 {
            ada.bounces_softly().await;
            world.after(days(1)).await;
            ada.was_delivered("intro").await;
        }
        world.after(days(30)).await;
        ada.received(&["intro", "nudge"]).await;
        ada.ended(Outcome::Completed).await;
    }

    /// A recipient whom the provider refuses at the door has a bad address, too.
    async fn a_recipient_refused_at_the_door_ends_as_bounced(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        world.provider().refuses(1, Refusal::Recipient).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.ended(Outcome::Bounced).await;
        world.after(days(10)).await;
        ada.received(&[]).await;
    }

    /// A bounce that arrives after the sequence is over still marks it.
    async fn a_late_bounce_marks_a_finished_lead(world: World) {
        world.given(sequence().email("intro")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.ended(Outcome::Completed).await;
        ada.bounces().await;
        ada.ended(Outcome::Bounced).await;
    }
}
