//! A lead that cannot be loaded is put out of the way; the others go on.

use machine::outcome::Outcome;
use tests::scenarios;
use tests::world::{days, sequence};

scenarios! {
    /// A poisoned snapshot is parked with its cause, and nobody else notices.
    async fn a_poisoned_lead_is_parked_and_the_others_go_on(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls("grace@example.com").await;
        ada.is_spoiled().await;
        world.after(days(10)).await;
        ada.is_parked("snapshot").await;
        ada.received(&["intro"]).await;
        grace.received(&["intro", "nudge"]).await;
        grace.ended(Outcome::Completed).await;
    }

    /// One that is parked stays so, whatever arrives for it.
    async fn a_parked_lead_stays_parked(world: World) {
        world.given(sequence().email("intro").wait(days(3)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.is_spoiled().await;
        ada.opts_out().await;
        world.after(days(10)).await;
        ada.is_parked("snapshot").await;
        ada.received(&["intro"]).await;
    }
}
