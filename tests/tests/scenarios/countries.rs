//! Leads of whom only the country is known: they are written to when it is the right hour wherever in
//! it they live.

use machine::explain::Shown;
use machine::outcome::Outcome;
use tests::scenarios;
use tests::world::{WEEKDAYS, days, lead, sequence};

scenarios! {
    /// A country with one zone is as good as a zone.
    async fn a_country_with_one_clock_gives_the_zone(world: World) {
        world.given(sequence().open(&WEEKDAYS, "09:00", "17:00").email("intro")).await;
        let ken = world.enrolls(lead("ken@example.com").with("country", "JP")).await;
        world.after(days(2)).await;
        ken.received_at(&[("intro", "2026-03-03T00:00:00Z")]).await;
    }

    /// From New York to Honolulu the window must be open.
    async fn a_country_with_many_clocks_narrows_the_window(world: World) {
        world.given(sequence().open(&WEEKDAYS, "09:00", "17:00").email("intro")).await;
        let ann = world.enrolls(lead("ann@example.com").with("country", "us")).await;
        ann.waits_for("intro", "2026-03-02T19:00:00Z").await;
        world.until("2026-03-02T21:59:00Z").await;
        let bob = world.enrolls(lead("bob@example.com").with("country", "US")).await;
        world.after(days(2)).await;
        ann.received_at(&[("intro", "2026-03-02T19:00:00Z")]).await;
        bob.received_at(&[("intro", "2026-03-02T21:59:00Z")]).await;
        world.until("2026-03-04T22:00:00Z").await;
        let cal = world.enrolls(lead("cal@example.com").with("country", "US")).await;
        cal.waits_for("intro", "2026-03-05T19:00:00Z").await;
        world.after(days(2)).await;
    }

    /// Where no hour is right everywhere, nothing leaves until somebody says where the lead lives.
    async fn a_country_without_a_common_hour_holds_the_lead(world: World) {
        world.given(sequence().open(&WEEKDAYS, "09:00", "17:00").email("intro")).await;
        let eva = world.enrolls(lead("eva@example.com").with("country", "RU")).await;
        world.after(days(9)).await;
        eva.is(Shown::Held).await;
        eva.received(&[]).await;
        eva.has("country", "EE").await;
        world.after(days(3)).await;
        eva.ended(Outcome::Completed).await;
        eva.received_at(&[("intro", "2026-03-11T08:00:00Z")]).await;
    }

    /// What names no country says nothing: the campaign's clock counts.
    async fn a_country_that_is_none_leaves_the_campaigns_clock(world: World) {
        world.given(sequence().open(&WEEKDAYS, "09:00", "17:00").email("intro")).await;
        let ivo = world.enrolls(lead("ivo@example.com").with("country", "Ruritania")).await;
        world.after(days(1)).await;
        ivo.received_at(&[("intro", "2026-03-02T09:00:00Z")]).await;
    }
}
