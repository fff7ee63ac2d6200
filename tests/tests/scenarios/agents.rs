//! Agents take leads in turn: who can, and nobody else; what nobody takes moves on and is never lost.

use machine::explain::Shown;
use machine::signal::HandoverResult;
use tests::scenarios;
use tests::world::{Sequence, WEEKDAYS, agent, days, hours, minutes, sequence};

/// A campaign whose leads are offered in turn and must be answered within two hours.
fn offered_in_turn() -> Sequence {
    let campaign = sequence().offered_in_turn().answered_within("2 hours");
    campaign.email("intro").wait(days(9)).email("nudge")
}

scenarios! {
    /// Whoever was asked longest ago is asked next.
    async fn leads_are_offered_in_turn(world: World) {
        world.agents([agent("beata"), agent("anna"), agent("carla")]).await;
        world.given(offered_in_turn()).await;
        for name in ["one", "two", "three", "four"] {
            let person = world.enrolls(format!("{name}@example.com").as_str()).await;
            person.replies("Tell me more").await;
            person.accept().await;
            person.answer().await;
            world.after(minutes(1)).await;
        }
        world.agents_were_told(&["anna", "beata", "carla", "anna"]).await;
        world.owner_was_told(0).await;
    }

    /// Who has as many leads as they may is passed over until one is closed.
    async fn nobody_gets_more_than_they_may_have(world: World) {
        world.agents([agent("anna").at_most(1), agent("beata").at_most(1)]).await;
        world.given(offered_in_turn().answered_within("2 days")).await;
        let one = world.enrolls("one@example.com").await;
        let two = world.enrolls("two@example.com").await;
        let three = world.enrolls("three@example.com").await;
        one.replies("Tell me more").await;
        one.accept().await;
        one.answer().await;
        world.after(minutes(1)).await;
        two.replies("Tell me more").await;
        two.accept().await;
        two.answer().await;
        world.after(minutes(1)).await;
        three.replies("Tell me more").await;
        world.after(hours(3)).await;
        world.agents_were_told(&["anna", "beata"]).await;
        three.is(Shown::WithPerson).await;
        // It does not wait for its next look: who has room again is asked at once.
        two.close(HandoverResult::Won).await;
        world.agents_were_told(&["anna", "beata", "beata"]).await;
        three.accept().await;
        three.answer().await;
    }

    /// At night it waits for the first who comes to work, whose time begins then.
    async fn a_lead_waits_for_the_first_who_comes_to_work(world: World) {
        world.agents([
            agent("anna").works(&WEEKDAYS, "10:00", "18:00"),
            agent("beata").works(&WEEKDAYS, "09:00", "17:00"),
        ]).await;
        world.given(offered_in_turn()).await;
        let ada = world.enrolls("ada@example.com").await;
        world.until("2026-03-06T20:00:00Z").await;
        ada.replies("Tell me more").await;
        world.until("2026-03-09T08:59:00Z").await;
        world.agents_were_told(&[]).await;
        world.until("2026-03-09T10:58:00Z").await;
        world.agents_were_told(&["beata"]).await;
        // Beata missed it: Anna is at work by now.
        world.until("2026-03-09T11:01:00Z").await;
        world.agents_were_told(&["beata", "anna"]).await;
        ada.accept().await;
        ada.answer().await;
    }

    /// Who is away is not asked.
    async fn nobody_is_asked_who_is_away(world: World) {
        world.agents([agent("anna"), agent("beata")]).await;
        world.agent_is_away("anna", "2026-03-04T08:00:00Z").await;
        world.given(offered_in_turn().answered_within("5 days")).await;
        let one = world.enrolls("one@example.com").await;
        let two = world.enrolls("two@example.com").await;
        one.replies("Tell me more").await;
        world.agents_were_told(&["beata"]).await;
        one.accept().await;
        one.answer().await;
        world.agent_is_away("beata", "2026-03-05T08:00:00Z").await;
        two.replies("Tell me more").await;
        world.after(days(1)).await;
        world.agents_were_told(&["beata"]).await;
        world.after(days(1)).await;
        world.agents_were_told(&["beata", "anna"]).await;
        two.accept().await;
        two.answer().await;
    }

    /// A missed deadline moves on, once to everybody, and then to the fallback.
    async fn a_missed_deadline_moves_on_to_the_next_and_then_to_the_fallback(world: World) {
        world.agents([agent("anna"), agent("beata")]).await;
        world.given(offered_in_turn().with_fallback()).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        world.agents_were_told(&["anna"]).await;
        world.after(hours(2)).await;
        world.agents_were_told(&["anna", "beata"]).await;
        // Beata takes it and does not answer: that moves on, too.
        ada.accept().await;
        world.after(hours(2)).await;
        world.agents_were_told(&["anna", "beata"]).await;
        world.fallback_was_told(1).await;
        world.after(days(2)).await;
        world.fallback_was_told(3).await;
        ada.accept_as_fallback().await;
        ada.answer().await;
        ada.close(HandoverResult::Won).await;
    }

    /// Without a fallback it is overdue when everybody missed it, and whoever is free is reminded.
    async fn what_everybody_missed_is_overdue_and_somebody_is_reminded_every_day(world: World) {
        world.agents([agent("anna"), agent("beata")]).await;
        world.given(offered_in_turn()).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        world.after(hours(4)).await;
        world.agents_were_told(&["anna", "beata"]).await;
        world.after(hours(1)).await;
        world.agents_were_told(&["anna", "beata", "anna"]).await;
        world.after(days(2)).await;
        world.agents_were_told(&["anna", "beata", "anna", "beata", "anna"]).await;
        ada.is(Shown::WithPerson).await;
        ada.accept().await;
        ada.answer().await;
        world.after(days(9)).await;
        world.agents_were_told(&["anna", "beata", "anna", "beata", "anna"]).await;
    }

    /// Where nobody can take it before it would be late, the fallback is asked at once.
    async fn the_fallback_is_asked_where_nobody_comes_to_work_in_time(world: World) {
        world.agents([agent("anna").works(&WEEKDAYS, "09:00", "17:00")]).await;
        world.given(offered_in_turn().with_fallback()).await;
        let ada = world.enrolls("ada@example.com").await;
        world.until("2026-03-06T20:00:00Z").await;
        ada.replies("Tell me more").await;
        world.agents_were_told(&[]).await;
        world.fallback_was_told(1).await;
        ada.accept_as_fallback().await;
        ada.answer().await;
    }

    /// A team of nobody: the lead is with a person, overdue, and taken up when somebody joins.
    async fn a_lead_is_not_lost_where_there_are_no_agents(world: World) {
        world.given(offered_in_turn()).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.replies("Tell me more").await;
        world.after(days(2)).await;
        ada.is(Shown::WithPerson).await;
        world.agents([agent("anna")]).await;
        world.after(minutes(1)).await;
        world.agents_were_told(&["anna"]).await;
        ada.accept().await;
        ada.answer().await;
    }

    /// An agent whose address is refused is passed over.
    async fn an_agent_who_cannot_be_mailed_is_passed_over(world: World) {
        world.agents([agent("anna"), agent("beata")]).await;
        world.given(offered_in_turn()).await;
        let ada = world.enrolls("ada@example.com").await;
        world.provider().refuses_mails_to_the_team(1, machine::signal::Refusal::Recipient).await;
        ada.replies("Tell me more").await;
        world.agents_were_told(&["beata"]).await;
        ada.accept().await;
        ada.answer().await;
    }
}
