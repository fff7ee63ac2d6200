//! Limits: what finds no room today has a slot of its own.

use std::collections::BTreeMap;

use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::signal::Refusal;
use machine::state::Why;
use tests::scenarios;
use tests::world::{
    HandoverResult, Person, WEEKDAYS, World, days, hours, lead, minutes, sender, sequence,
};

/// How many messages were received on each day, in Lisbon.
async fn by_day(people: &[Person]) -> BTreeMap<String, usize> {
    let mut days = BTreeMap::new();
    for person in people {
        for mail in person.mails().await {
            let local = mail.at.with_timezone(&chrono_tz::Europe::Lisbon);
            *days.entry(local.format("%a %-d").to_string()).or_default() += 1;
        }
    }
    days
}

async fn enroll(world: &World, number: usize) -> Vec<Person> {
    let mut people = Vec::new();
    for number in 0..number {
        people.push(world.enrolls(format!("lead{number}@example.com").as_str()).await);
    }
    people
}

fn counted(days: &[(&str, usize)]) -> BTreeMap<String, usize> {
    days.iter().map(|(day, count)| ((*day).to_owned(), *count)).collect()
}

scenarios! {
    /// A sender's limit pushes the rest to the days after, and each lead can say when.
    async fn a_senders_limit_pushes_leads_to_the_next_days(world: World) {
        world.leads_compete();
        let campaign = sequence()
            .from(sender("anna").per_day(3))
            .open(&WEEKDAYS, "09:00", "17:00")
            .email("intro");
        world.given(campaign).await;
        let people = enroll(&world, 8).await;
        world.until("2026-03-02T12:00:00Z").await;
        assert_eq!(by_day(&people).await, counted(&[("Mon 2", 3)]));
        let mut waiting = 0;
        for person in &people {
            let plan = person.plan().await;
            if let Some(next) = plan.next {
                let because = plan.constraints.first().unwrap().kind;
                assert_eq!(because, Why::SenderDailyLimit);
                assert!(next.at.unwrap() >= "2026-03-03T09:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap());
                waiting += 1;
            }
        }
        assert_eq!(waiting, 5);
        world.after(days(10)).await;
        assert_eq!(by_day(&people).await, counted(&[("Mon 2", 3), ("Tue 3", 3), ("Wed 4", 2)]));
        for person in &people {
            person.ended(Outcome::Completed).await;
        }
    }

    /// A campaign's limit does the same.
    async fn a_campaigns_limit_pushes_leads_to_the_next_days(world: World) {
        world.leads_compete();
        world.given(sequence().open(&WEEKDAYS, "09:00", "17:00").per_day(2).email("intro")).await;
        let people = enroll(&world, 5).await;
        world.after(days(10)).await;
        assert_eq!(by_day(&people).await, counted(&[("Mon 2", 2), ("Tue 3", 2), ("Wed 4", 1)]));
    }

    /// Slots skip the days on which the window is closed.
    async fn slots_lie_on_open_days(world: World) {
        world.given(sequence().open(&WEEKDAYS, "09:00", "17:00").closed_on("2026-03-09").per_day(1).email("intro")).await;
        world.until("2026-03-06T09:30:00Z").await;
        let people = enroll(&world, 3).await;
        world.after(days(10)).await;
        assert_eq!(by_day(&people).await, counted(&[("Fri 6", 1), ("Tue 10", 1), ("Wed 11", 1)]));
    }

    /// A sender leaves time between two messages.
    async fn a_sender_leaves_time_between_messages(world: World) {
        world.given(sequence().from(sender("anna").spacing(minutes(10))).email("intro")).await;
        let people = enroll(&world, 4).await;
        world.after(days(1)).await;
        let mut times = Vec::new();
        for person in &people {
            times.push(person.mails().await[0].at);
        }
        times.sort();
        for pair in times.windows(2) {
            assert!(pair[1] - pair[0] >= minutes(10), "{times:?}");
        }
        assert_eq!(times.last().unwrap().to_rfc3339(), "2026-03-02T08:30:00+00:00");
    }

    /// Two campaigns that share a sender share its limit.
    async fn campaigns_share_the_limit_of_their_sender(world: World) {
        world.leads_compete();
        let anna = || sender("anna").per_day(2);
        let first = world.given(sequence().from(anna()).open(&WEEKDAYS, "09:00", "17:00").email("intro")).await;
        let second = world
            .given(sequence().named("Second").from(anna()).open(&WEEKDAYS, "09:00", "17:00").email("hello"))
            .await;
        let mut people = Vec::new();
        for number in 0..2 {
            people.push(first.enrolls(format!("lead{number}@example.com").as_str()).await);
            people.push(second.enrolls(format!("other{number}@example.com").as_str()).await);
        }
        world.after(days(10)).await;
        assert_eq!(by_day(&people).await, counted(&[("Mon 2", 2), ("Tue 3", 2)]));
    }

    /// A lead that stops gives its slot back, and nothing is counted for it.
    async fn a_lead_that_stops_gives_its_slot_back(world: World) {
        world.leads_compete();
        world.given(sequence().replies_stop().open(&WEEKDAYS, "09:00", "17:00").per_day(1).email("intro")).await;
        let people = enroll(&world, 3).await;
        world.until("2026-03-02T12:00:00Z").await;
        let mut waiting = Vec::new();
        for person in &people {
            if person.mails().await.is_empty() {
                waiting.push(person);
            }
        }
        waiting[0].opts_out().await;
        let late = world.enrolls("late@example.com").await;
        world.after(days(10)).await;
        waiting[0].received(&[]).await;
        waiting[1].received(&["intro"]).await;
        late.received(&["intro"]).await;
        let mut all = people;
        all.push(late);
        assert_eq!(by_day(&all).await, counted(&[("Mon 2", 1), ("Tue 3", 1), ("Wed 4", 1)]));
    }

    /// A refused message does not use up the day.
    async fn a_refused_message_gives_its_room_back(world: World) {
        world.given(sequence().per_day(1).email("intro")).await;
        world.provider().refuses(1, Refusal::Content).await;
        let people = enroll(&world, 2).await;
        world.after(days(1)).await;
        assert_eq!(by_day(&people).await, counted(&[("Mon 2", 1)]));
    }

    /// Paused while it waits for its slot, and stopped later, a lead gives the slot back all the same.
    async fn a_lead_stopped_in_a_pause_gives_its_slot_back(world: World) {
        world.leads_compete();
        world.given(sequence().open(&WEEKDAYS, "09:00", "17:00").per_day(1).email("intro")).await;
        let people = enroll(&world, 2).await;
        world.until("2026-03-02T12:00:00Z").await;
        let sent = people[0].mails().await.len();
        let waiting = if sent == 0 { &people[0] } else { &people[1] };
        waiting.pause().await;
        world.after(hours(1)).await;
        waiting.stop().await;
        let late = world.enrolls("late@example.com").await;
        world.after(days(10)).await;
        waiting.received(&[]).await;
        late.received_at(&[("intro", "2026-03-03T09:00:00Z")]).await;
    }

    /// A message that came to the gate as the window closed leaves nothing behind when its lead stops.
    async fn a_lead_that_stops_while_the_window_is_closed_leaves_nothing_behind(world: World) {
        world.given(sequence().open(&WEEKDAYS, "09:00", "17:00").email("intro")).await;
        world.until("2026-03-02T16:59:59.9995Z").await;
        let ada = world.enrolls("ada@example.com").await;
        ada.waits_for("intro", "2026-03-03T09:00:00Z").await;
        ada.opts_out().await;
        world.after(days(10)).await;
        ada.received(&[]).await;
        ada.ended(Outcome::OptedOut).await;
    }

    /// A lead that turns out to lack something when its slot comes does not keep the slot.
    async fn a_held_lead_gives_its_slot_back(world: World) {
        world.leads_compete();
        let campaign = sequence().open(&WEEKDAYS, "09:00", "17:00").per_day(1);
        world.given(campaign.email_saying("intro", "Hello {{ name }}")).await;
        let mut people = Vec::new();
        for address in ["ada@example.com", "bob@example.com"] {
            people.push(world.enrolls(lead(address).with("name", "Adele")).await);
        }
        world.until("2026-03-02T12:00:00Z").await;
        let sent = people[0].mails().await.len();
        let waiting = if sent == 0 { &people[0] } else { &people[1] };
        waiting.has("name", serde_json::Value::Null).await;
        world.until("2026-03-03T12:00:00Z").await;
        waiting.is(Shown::Held).await;
        waiting.stop().await;
        waiting.received(&[]).await;
    }

    /// A mail to our own people takes no room, and gives none back when it is refused.
    async fn a_refused_offer_does_not_change_what_is_left_of_the_day(world: World) {
        let campaign = sequence().from(sender("anna").per_day(2)).with_fallback();
        world.given(campaign.open(&WEEKDAYS, "09:00", "17:00").email("intro")).await;
        let ada = world.enrolls("ada@example.com").await;
        world.until("2026-03-02T10:00:00Z").await;
        world.provider().refuses_mails_to_the_team(1, Refusal::Recipient).await;
        ada.replies("Tell me more").await;
        world.owner_was_told(0).await;
        world.fallback_was_told(1).await;
        let more = enroll(&world, 2).await;
        world.after(days(3)).await;
        assert_eq!(by_day(&more).await, counted(&[("Mon 2", 1), ("Tue 3", 1)]));
        ada.close(HandoverResult::Won).await;
    }
}
